//! Through the callbacks, as a driver does it.

use super::*;

const SCOPE: vk::SystemAllocationScope = vk::SystemAllocationScope::OBJECT;

struct Driver<'a> {
    memory: &'a HostMemory,
    callbacks: vk::AllocationCallbacks<'a>,
    random: u64,
}

/// What a driver holds: all its bytes are `fill`.
struct Held {
    at: *mut u8,
    size: usize,
    alignment: usize,
    fill: u8,
}

impl<'a> Driver<'a> {
    fn new(memory: &'a HostMemory, seed: u64) -> Self {
        Driver { memory, callbacks: memory.callbacks(), random: seed }
    }

    fn allocate(&self, size: usize, alignment: usize) -> *mut u8 {
        let f = self.callbacks.pfn_allocation.unwrap();
        // SAFETY: the memory lives and is used by this thread only; so below.
        unsafe { f(self.callbacks.p_user_data, size, alignment, SCOPE) }.cast()
    }

    fn reallocate(&self, at: *mut u8, size: usize, alignment: usize) -> *mut u8 {
        let f = self.callbacks.pfn_reallocation.unwrap();
        // SAFETY: as above; the tests give what they got.
        unsafe { f(self.callbacks.p_user_data, at.cast(), size, alignment, SCOPE) }.cast()
    }

    fn free(&self, at: *mut u8) {
        let f = self.callbacks.pfn_free.unwrap();
        // SAFETY: as above.
        unsafe { f(self.callbacks.p_user_data, at.cast()) };
    }

    fn below(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % n
    }

    /// Mostly small.
    fn size(&mut self) -> usize {
        match self.below(10) {
            0 => 1 + self.below(200_000),
            1 => 1 + self.below(5000),
            _ => 1 + self.below(300),
        }
    }

    fn hold(&mut self, fill: u8) -> Held {
        let (size, alignment) = (self.size(), 1 << if self.below(8) == 0 { self.below(13) } else { 3 });
        let held = Held { at: self.allocate(size, alignment), size, alignment, fill };
        held.write();
        held
    }

    fn grow(&mut self, held: &mut Held) {
        let size = self.size();
        held.check(held.size);
        held.at = self.reallocate(held.at, size, held.alignment);
        held.check(size.min(held.size));
        held.size = size;
        held.write();
    }

    fn give_back(&self, held: &Held) {
        held.check(held.size);
        self.free(held.at);
    }

    fn chunks(&self) -> usize {
        // SAFETY: nobody uses the heap now; chunks begin with this.
        unsafe {
            let first = (*self.memory.heap.as_ref().heap.get()).chunks;
            std::iter::successors(first.as_ref(), |c| c.next.as_ref()).count()
        }
    }

    /// Free blocks of each list.
    fn free_blocks(&self) -> Vec<usize> {
        // SAFETY: nobody uses the heap now; free blocks hold the next one.
        unsafe {
            let next = |at: &Free| Some(at.cast::<Free>().read()).filter(|at| !at.is_null());
            let count = |at: &Free| std::iter::successors(Some(*at).filter(|at| !at.is_null()), next).count();
            (*self.memory.heap.as_ref().heap.get()).free.iter().map(count).collect()
        }
    }
}

impl Held {
    fn write(&self) {
        assert!(!self.at.is_null() && self.at.addr().is_multiple_of(self.alignment));
        // SAFETY: so many bytes were allocated.
        unsafe { self.at.write_bytes(self.fill, self.size) };
    }

    fn check(&self, size: usize) {
        // SAFETY: so many bytes were allocated and written.
        let bytes = unsafe { std::slice::from_raw_parts(self.at, size) };
        assert!(bytes.iter().all(|b| *b == self.fill));
    }
}

#[test]
fn blocks_hold_what_was_written_until_they_are_freed() {
    for seed in 0..4 {
        let memory = HostMemory::new();
        let mut driver = Driver::new(&memory, seed);
        let mut held: Vec<Held> = Vec::new();
        for step in 0..3000_usize {
            let at = driver.below(held.len() + 1);
            match (driver.below(5), held.get_mut(at)) {
                (0 | 1, Some(_)) => driver.give_back(&held.swap_remove(at)),
                (2, Some(held)) => driver.grow(held),
                _ => held.push(driver.hold(step as u8)),
            }
        }
        held.iter().for_each(|held| driver.give_back(held));
    }
}

#[test]
fn what_was_freed_serves_the_next_frame() {
    let memory = HostMemory::new();
    let mut driver = Driver::new(&memory, 0);
    let mut frame = |seed| {
        driver.random = seed;
        let mut held: Vec<Held> = (0..500).map(|i| driver.hold(i as u8)).collect();
        (0..100).for_each(|i| driver.grow(&mut held[i]));
        held.iter().for_each(|held| driver.give_back(held));
        (driver.chunks(), driver.free_blocks())
    };
    let first = frame(7);
    assert!(first.0 > 1 && first.1.iter().sum::<usize>() >= 500);
    assert_eq!([frame(7), frame(7)], [first.clone(), first]);
}

#[test]
fn every_list_holds_its_size() {
    for size in (0..5000).chain([1 << 20, (1 << 20) + 1, usize::MAX / 2 + 1]) {
        let list = list_of(size).unwrap();
        assert!(list < LISTS && size_of_list(list) >= size);
        assert!(list == 0 || size_of_list(list - 1) < size, "{size} fits the list before");
    }
    assert_eq!(list_of(usize::MAX), None);
}

#[test]
fn nothing_and_no_size_are_as_the_specification_says() {
    let memory = HostMemory::new();
    let driver = Driver::new(&memory, 0);
    driver.free(ptr::null_mut());
    let at = driver.reallocate(ptr::null_mut(), 40, 8);
    assert!(!at.is_null());
    assert!(driver.reallocate(at, 0, 8).is_null());
    assert_eq!(driver.allocate(48, 8), at, "it was freed");
    let none = driver.allocate(0, 1);
    assert!(!none.is_null(), "null would be a failure");
    driver.free(none);
    driver.free(at);
}

#[test]
fn what_cannot_be_had_is_null_and_leaves_the_rest() {
    let memory = HostMemory::new();
    let driver = Driver::new(&memory, 0);
    let held = Held { at: driver.allocate(100, 8), size: 100, alignment: 8, fill: 3 };
    held.write();
    for size in [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 2] {
        assert!(driver.allocate(size, 8).is_null());
        assert!(driver.allocate(size, 4096).is_null());
        assert!(driver.reallocate(held.at, size, 8).is_null());
    }
    assert!(driver.allocate(8, 1 << (usize::BITS - 1)).is_null());
    held.check(100);
    driver.give_back(&held);
}
