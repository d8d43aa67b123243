//! Host memory of one object's own, by `VkAllocationCallbacks`: for command pools, whose drivers allocate a few small
//! blocks for each command that is recorded, and free them one by one when the pool is reset.
//!
//! Blocks are cut from chunks. One that is freed goes on a list of its size, from where it is given out again; the chunks
//! stay until the memory is dropped: of each size it holds what was needed at most.

use ash::vk;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes from one small size to the next; alignment of all blocks; bytes of a header.
const UNIT: usize = 16;
/// The largest small size. Above, each size is twice the one before.
const SMALL: usize = 1024;
const LISTS: usize = SMALL / UNIT + (usize::BITS - 1 - SMALL.ilog2()) as usize;
/// Bytes of a chunk that small blocks are cut from. A larger block is a chunk of its own.
const CHUNK: usize = 64 << 10;

/// Memory that is allocated from by the callbacks of Vulkan 11.1, "Host Memory".
pub(super) struct HostMemory {
    /// From a `Box`. Reached by this pointer alone, as the callbacks have it too.
    heap: NonNull<Guarded>,
}

// SAFETY: it owns its heap and all chunks, and one thread at a time uses them: `Guarded::with`.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    pub(super) fn new() -> Self {
        HostMemory { heap: NonNull::from(Box::leak(Box::default())) }
    }

    /// Callbacks that allocate here. What is made with them must be destroyed before this memory is dropped.
    pub(super) fn callbacks(&self) -> vk::AllocationCallbacks<'_> {
        vk::AllocationCallbacks::default()
            .user_data(self.heap.as_ptr().cast())
            .pfn_allocation(Some(allocation))
            .pfn_reallocation(Some(reallocation))
            .pfn_free(Some(free))
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: from a `Box`, and nothing that was made with the callbacks is left.
        let guarded = unsafe { Box::from_raw(self.heap.as_ptr()) };
        let mut next = guarded.heap.into_inner().chunks;
        while !next.is_null() {
            // SAFETY: chunks in the list are allocated and begin with this.
            let chunk = unsafe { next.read() };
            // SAFETY: allocated with this layout, freed once.
            unsafe { dealloc(next.cast(), chunk.layout) };
            next = chunk.next;
        }
    }
}

/// Before what is given out.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Header {
    list: usize,
    /// Bytes from the beginning of the block to what is given out: more than 0 where the alignment asks for it.
    before: usize,
}

/// At the beginning of a chunk.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Chunk {
    next: *mut Chunk,
    layout: Layout,
}

/// A block, or null. While it is free it holds the next one of its list.
type Free = *mut u8;

struct Heap {
    free: [Free; LISTS],
    /// What is not cut yet of the newest chunk of small blocks.
    uncut: *mut u8,
    left: usize,
    chunks: *mut Chunk,
}

/// The list of blocks that hold `size`.
#[inline]
fn list_of(size: usize) -> Option<usize> {
    if size <= SMALL {
        return Some(size.saturating_sub(1) / UNIT);
    }
    let doublings = size.checked_next_power_of_two()?.ilog2() - SMALL.ilog2();
    Some(SMALL / UNIT - 1 + doublings as usize)
}

/// Bytes that the blocks of a list hold.
fn size_of_list(list: usize) -> usize {
    match list.checked_sub(SMALL / UNIT) {
        None => (list + 1) * UNIT,
        Some(above) => (2 * SMALL) << above,
    }
}

/// A heap that one thread at a time uses. Commands of one pool come one after the other, but Vulkan 11.1 leaves it to the
/// callbacks to synchronize, whatever command a driver calls them from. That costs little where nobody waits.
#[derive(Default)]
struct Guarded {
    busy: AtomicBool,
    heap: UnsafeCell<Heap>,
}

impl Guarded {
    #[inline]
    fn with<T>(&self, f: impl FnOnce(&mut Heap) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: whoever else comes here waits until `busy` is cleared. Nothing below panics.
        let result = f(unsafe { &mut *self.heap.get() });
        self.busy.store(false, Ordering::Release);
        result
    }
}

impl Default for Heap {
    fn default() -> Self {
        Heap { free: [ptr::null_mut(); LISTS], uncut: ptr::null_mut(), left: 0, chunks: ptr::null_mut() }
    }
}

impl Heap {
    /// `alignment` is a power of two. Null if there is no memory.
    #[inline]
    fn allocate(&mut self, size: usize, alignment: usize) -> *mut u8 {
        if alignment > UNIT {
            return self.allocate_aligned(size, alignment).unwrap_or(ptr::null_mut());
        }
        let Some(list) = list_of(size) else { return ptr::null_mut() };
        match self.free.get_mut(list) {
            Some(first) if !first.is_null() => {
                let block = *first;
                // SAFETY: blocks are aligned, and a free one holds the next.
                *first = unsafe { block.cast::<Free>().read() };
                block
            }
            _ => self.cut(list).unwrap_or(ptr::null_mut()),
        }
    }

    /// Within a block that is larger by the alignment.
    #[cold]
    fn allocate_aligned(&mut self, size: usize, alignment: usize) -> Option<*mut u8> {
        let block = self.allocate(size.checked_add(alignment)?, UNIT);
        if block.is_null() {
            return None;
        }
        let before = block.addr().checked_next_multiple_of(alignment)? - block.addr();
        // SAFETY: less than the alignment, so within the block.
        let at = unsafe { block.add(before) };
        if before > 0 {
            // SAFETY: the block has a header.
            let Header { list, .. } = unsafe { header(block).read() };
            // SAFETY: both are multiples of `UNIT`, so there is room for a header between them.
            unsafe { header(at).write(Header { list, before }) };
        }
        Some(at)
    }

    /// A new block.
    #[cold]
    fn cut(&mut self, list: usize) -> Option<*mut u8> {
        let size = UNIT.checked_add(size_of_list(list))?;
        let begin = if size > SMALL + UNIT {
            self.chunk(size)?
        } else {
            if self.left < size {
                self.uncut = self.chunk(CHUNK)?;
                self.left = CHUNK;
            }
            let begin = self.uncut;
            // SAFETY: so much is left of the chunk.
            self.uncut = unsafe { begin.add(size) };
            self.left -= size;
            begin
        };
        // SAFETY: there is room for the header and what follows it.
        let block = unsafe { begin.add(UNIT) };
        // SAFETY: aligned, as chunks and all sizes are, and nobody else's.
        unsafe { header(block).write(Header { list, before: 0 }) };
        Some(block)
    }

    /// So many bytes from the system.
    fn chunk(&mut self, room: usize) -> Option<*mut u8> {
        let layout = Layout::from_size_align(room.checked_add(size_of::<Chunk>())?, UNIT).ok()?;
        // SAFETY: the size is not zero.
        let chunk = NonNull::new(unsafe { alloc(layout) })?.as_ptr();
        // SAFETY: aligned, and large enough.
        unsafe { chunk.cast::<Chunk>().write(Chunk { next: self.chunks, layout }) };
        self.chunks = chunk.cast();
        // SAFETY: within the chunk; still aligned, as the size of a type is a multiple of its alignment.
        Some(unsafe { chunk.add(size_of::<Chunk>()) })
    }

    /// # Safety
    /// `at` was allocated here, was not freed since, and is not used any more.
    #[inline]
    unsafe fn free(&mut self, at: *mut u8) {
        // SAFETY: it has a header, which says where its block begins.
        let (header, block) = unsafe {
            let header = header(at).read();
            (header, at.sub(header.before))
        };
        if let Some(first) = self.free.get_mut(header.list) {
            // SAFETY: the block is free, aligned, and holds at least `UNIT` bytes.
            unsafe { block.cast::<Free>().write(*first) };
            *first = block;
        }
    }

    /// # Safety
    /// `at` was allocated here, was not freed since, and is used no more unless this returns it, or null.
    unsafe fn reallocate(&mut self, at: *mut u8, size: usize, alignment: usize) -> *mut u8 {
        // SAFETY: it has a header.
        let header = unsafe { header(at).read() };
        let held = size_of_list(header.list) - header.before;
        if size <= held && at.addr().is_multiple_of(alignment) {
            return at;
        }
        let moved = self.allocate(size, alignment);
        if !moved.is_null() {
            // SAFETY: both hold so many bytes, and they are different blocks.
            unsafe { ptr::copy_nonoverlapping(at, moved, held.min(size)) };
            // SAFETY: promised by the caller.
            unsafe { self.free(at) };
        }
        moved
    }
}

/// The header of what is given out.
///
/// # Safety
/// There are `UNIT` bytes before `at`, of the same allocation.
#[inline]
unsafe fn header(at: *mut u8) -> *mut Header {
    // SAFETY: promised by the caller.
    unsafe { at.sub(UNIT) }.cast()
}

/// The user data of callbacks.
///
/// # Safety
/// It is that, and the memory they allocate from lives.
#[inline]
unsafe fn guarded<'a>(user_data: *mut c_void) -> &'a Guarded {
    // SAFETY: promised by the caller; `HostMemory` reaches it by shared reference too.
    unsafe { &*user_data.cast() }
}

/// `PFN_vkAllocationFunction`.
unsafe extern "system" fn allocation(
    heap: *mut c_void,
    size: usize,
    alignment: usize,
    _scope: vk::SystemAllocationScope,
) -> *mut c_void {
    // SAFETY: what was made with the callbacks is destroyed before the memory: see `HostMemory::callbacks`.
    unsafe { guarded(heap) }.with(|heap| heap.allocate(size, alignment)).cast()
}

/// `PFN_vkReallocationFunction`: of null it allocates, to no size it frees; if it fails, what was there stays.
unsafe extern "system" fn reallocation(
    heap: *mut c_void,
    original: *mut c_void,
    size: usize,
    alignment: usize,
    _scope: vk::SystemAllocationScope,
) -> *mut c_void {
    // SAFETY: as in `allocation`.
    let moved = unsafe { guarded(heap) }.with(|heap| match (original.is_null(), size) {
        (true, _) => heap.allocate(size, alignment),
        (false, 0) => {
            // SAFETY: the driver gives back what it got.
            unsafe { heap.free(original.cast()) };
            ptr::null_mut()
        }
        // SAFETY: as above.
        (false, _) => unsafe { heap.reallocate(original.cast(), size, alignment) },
    });
    moved.cast()
}

/// `PFN_vkFreeFunction`: of null it does nothing.
unsafe extern "system" fn free(heap: *mut c_void, memory: *mut c_void) {
    if !memory.is_null() {
        // SAFETY: as in `allocation`; the driver gives back what it got.
        unsafe { guarded(heap) }.with(|heap| unsafe { heap.free(memory.cast()) });
    }
}

#[cfg(test)]
mod tests;
