//! Closures kept without allocating for each: a bump arena that is emptied and used again.
//!
//! `Box<dyn FnOnce>` would cost an allocation a pass. Here the closure's bytes are moved into a block that is kept
//! from frame to frame; what is stored beside it is where it is, how to call it and how to drop it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Bytes of an ordinary block, and the alignment of every block.
const BLOCK: usize = 16 << 10;
const ALIGNMENT: usize = 16;

/// One piece of raw memory. Reached by pointers alone, so that making room for one value never disturbs another.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

impl Block {
    fn new(size: usize) -> Self {
        // A size beyond what a layout can say could not be allocated either; it would be the size of a value.
        let layout = Layout::from_size_align(size, ALIGNMENT).unwrap_or(Layout::new::<u128>());
        // SAFETY: the size is not zero.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        Block { at, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// Raw memory for values of any type. Values are never moved once stored.
#[derive(Default)]
struct Bump {
    blocks: Vec<Block>,
    block: usize,
    used: usize,
}

impl Bump {
    /// Moves `value` in and returns where it is: aligned, and valid until [`Bump::reset`].
    fn store<T>(&mut self, value: T) -> *mut u8 {
        loop {
            let Some(block) = self.blocks.get(self.block) else {
                // Room for the padding too, whatever the alignment.
                self.blocks.push(Block::new(BLOCK.max(size_of::<T>() + align_of::<T>())));
                continue;
            };
            let free = block.at.as_ptr().addr() + self.used;
            let start = self.used + (free.next_multiple_of(align_of::<T>()) - free);
            if start.checked_add(size_of::<T>()).is_some_and(|end| end <= block.layout.size()) {
                // SAFETY: `start` is within the block, or one past it for a value of no size.
                let at = unsafe { block.at.as_ptr().add(start) };
                // SAFETY: aligned, and the bytes up to `start + size_of::<T>()` are within the block and unused.
                unsafe { at.cast::<T>().write(value) };
                self.used = start + size_of::<T>();
                return at;
            }
            self.block += 1;
            self.used = 0;
        }
    }

    fn reset(&mut self) {
        self.block = 0;
        self.used = 0;
    }
}

/// How to call and how to drop a stored closure. `C` is the type of a function pointer whose first argument is where
/// the closure is; calling it moves the closure out.
struct Stored<C> {
    key: u32,
    at: *mut u8,
    call: C,
    drop: unsafe fn(*mut u8),
}

/// Closures by key, each called at most once.
///
/// `C` is an `unsafe fn(*mut u8, …)`: see [`Closures::push`].
pub(crate) struct Closures<C> {
    bump: Bump,
    stored: Vec<Stored<C>>,
    _not_auto: PhantomData<*mut u8>,
}

// SAFETY: `push` takes only closures that are `Send`; what points to them is owned here and moves with them.
unsafe impl<C: Send> Send for Closures<C> {}

impl<C> Default for Closures<C> {
    fn default() -> Self {
        Closures { bump: Bump::default(), stored: Vec::new(), _not_auto: PhantomData }
    }
}

impl<C: Copy> Closures<C> {
    /// Keeps a closure under `key`. Keys must ascend for [`take`](Self::take) to find them.
    ///
    /// # Safety
    /// `call(at, …)` must move an `F` out of `at` and nothing else. Whatever `F` borrows must live until the closure
    /// is taken and called or dropped, or [`clear`](Self::clear) is called.
    pub(crate) unsafe fn push<F: Send>(&mut self, key: u32, closure: F, call: C) {
        let at = self.bump.store(closure);
        self.stored.push(Stored { key, at, call, drop: drop_at::<F> });
    }

    /// Takes the closure under `key` out, to be called or dropped.
    pub(crate) fn take(&mut self, key: u32) -> Option<Taken<'_, C>> {
        let i = self.stored.binary_search_by_key(&key, |s| s.key).ok()?;
        let stored = &mut self.stored[i];
        let at = std::mem::replace(&mut stored.at, std::ptr::null_mut());
        // Not `then_some`: that would make a `Taken` of nothing, and drop it.
        (!at.is_null()).then(|| Taken { at, call: stored.call, drop: stored.drop, _arena: PhantomData })
    }

    /// Number of closures pushed since the last clear.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.stored.len()
    }
}

impl<C> Closures<C> {
    /// Drops what was not taken and keeps the memory.
    pub(crate) fn clear(&mut self) {
        // Popped one by one, so that a closure whose drop panics is not dropped again.
        while let Some(stored) = self.stored.pop() {
            if !stored.at.is_null() {
                // SAFETY: `at` holds a closure of the type `drop` was made for, not taken and not dropped yet.
                unsafe { (stored.drop)(stored.at) };
            }
        }
        self.bump.reset();
    }
}

impl<C> Drop for Closures<C> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A closure on its way out: dropped unless [`call`](Self::call)ed.
pub(crate) struct Taken<'a, C> {
    at: *mut u8,
    call: C,
    drop: unsafe fn(*mut u8),
    _arena: PhantomData<&'a mut u8>,
}

impl<C: Copy> Taken<'_, C> {
    /// Where the closure is and how to call it. From here on the caller owns it: it must call exactly once.
    pub(crate) fn into_parts(self) -> (*mut u8, C) {
        let this = std::mem::ManuallyDrop::new(self);
        (this.at, this.call)
    }
}

impl<C> Drop for Taken<'_, C> {
    fn drop(&mut self) {
        // SAFETY: the closure was taken out and not called, so it is still there and nobody else drops it.
        unsafe { (self.drop)(self.at) };
    }
}

/// Drops the `F` at `at`.
///
/// # Safety
/// `at` holds an `F` that nobody uses or drops afterwards.
unsafe fn drop_at<F>(at: *mut u8) {
    // SAFETY: by this function's contract.
    unsafe { at.cast::<F>().drop_in_place() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    type Call = unsafe fn(*mut u8, &mut Vec<u64>);

    unsafe fn call<F: FnOnce(&mut Vec<u64>)>(at: *mut u8, out: &mut Vec<u64>) {
        // SAFETY: `push` is given this function for an `F` only.
        let f = unsafe { at.cast::<F>().read() };
        f(out);
    }

    fn push<F: FnOnce(&mut Vec<u64>) + Send>(c: &mut Closures<Call>, key: u32, f: F) {
        // SAFETY: `call::<F>` moves an `F` out; the tests' closures own what they use.
        unsafe { c.push(key, f, call::<F>) };
    }

    fn run(c: &mut Closures<Call>, key: u32, out: &mut Vec<u64>) -> bool {
        let Some(taken) = c.take(key) else { return false };
        let (at, call) = taken.into_parts();
        // SAFETY: just taken, called once.
        unsafe { call(at, out) };
        true
    }

    #[test]
    fn closures_of_any_size_run_once_and_are_dropped_once() {
        let counted = Arc::new(());
        let mut closures = Closures::<Call>::default();
        for round in 0..3 {
            for key in 0..100u32 {
                let (big, held) = ([u64::from(key); 37], counted.clone());
                match key % 3 {
                    0 => push(&mut closures, key, move |out| {
                        drop(held);
                        out.push(big[36]);
                    }),
                    1 => push(&mut closures, key, move |out| {
                        let _held = held;
                        out.push(u64::from(key));
                    }),
                    _ => push(&mut closures, key, move |out| out.push(u64::from(key))),
                }
            }
            assert_eq!(closures.len(), 100);
            let mut out = Vec::new();
            for key in (0..100).rev().filter(|k| k % 2 == 0) {
                assert!(run(&mut closures, key, &mut out));
                assert!(!run(&mut closures, key, &mut out), "only once");
            }
            assert_eq!(out.len(), 50);
            assert_eq!(out[0], 98);
            closures.clear();
            assert_eq!(
                Arc::strong_count(&counted),
                1,
                "round {round}: nothing leaks, nothing is dropped twice"
            );
        }
    }

    #[test]
    fn a_closure_with_a_large_alignment_is_aligned() {
        #[repr(align(128))]
        struct Wide(u64);
        let mut closures = Closures::<Call>::default();
        for key in 0..300 {
            let (small, wide) = (key as u8, Wide(u64::from(key)));
            if key % 2 == 0 {
                push(&mut closures, key, move |out| out.push(u64::from(small)));
            } else {
                push(&mut closures, key, move |out| {
                    assert!((&raw const wide).addr().is_multiple_of(128));
                    out.push(wide.0);
                });
            }
        }
        let mut out = Vec::new();
        assert!((0..300).all(|key| run(&mut closures, key, &mut out)));
        assert_eq!(out[299], 299);
    }

    #[test]
    fn a_closure_of_no_size_runs() {
        let mut closures = Closures::<Call>::default();
        push(&mut closures, 0, |out| out.push(3));
        let mut out = Vec::new();
        assert!(run(&mut closures, 0, &mut out));
        assert_eq!(out, [3]);
    }

    #[test]
    fn a_closure_larger_than_a_block_fits() {
        let mut closures = Closures::<Call>::default();
        let big = [7u64; 4096];
        push(&mut closures, 0, move |out| out.push(big.iter().sum()));
        push(&mut closures, 1, |out| out.push(1));
        let mut out = Vec::new();
        run(&mut closures, 0, &mut out);
        run(&mut closures, 1, &mut out);
        assert_eq!(out, [7 * 4096, 1]);
    }

    #[test]
    fn taken_and_not_called_is_dropped() {
        let counted = Arc::new(());
        let held = counted.clone();
        let mut closures = Closures::<Call>::default();
        push(&mut closures, 5, move |_| drop(held));
        drop(closures.take(5));
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
