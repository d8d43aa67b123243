//! Simulated device memory: real bytes, and the only code here that touches them.
//!
//! The device's side of every access goes through [`DeviceToken`], of which each device has one: whoever holds it
//! mutably is alone with the memory. The host's side is the mapped pointer, whose users keep away from bytes in use by
//! submitted work (contract of [`MkGpuBackend`](crate::MkGpuBackend)).

use crate::{MkBackendBufferDesc, MkMemoryType};
use smallvec::SmallVec;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};

/// What fresh memory holds, so that a read of bytes nobody wrote is noticed.
pub(super) const FRESH: u8 = 0xCD;
/// What is served instead of bytes that are not visible.
pub(super) const STALE: u8 = 0xDB;
/// Alignment of every buffer, in bytes: the most that Vulkan's limits for buffer offsets allow a device to ask for.
pub(super) const ALIGNMENT: usize = 256;

/// An aligned piece of memory: of the heap, owned, or of somebody else's.
pub(super) struct Raw {
    ptr: NonNull<u8>,
    /// None if it is somebody else's.
    layout: Option<Layout>,
    len: usize,
}

// SAFETY: `Raw` owns its memory, or was promised it (`lent`); the bytes behind the pointer are plain data, tied to no thread.
unsafe impl Send for Raw {}
// SAFETY: through a shared reference `Raw` gives only its pointer; who dereferences it keeps the rules of the module.
unsafe impl Sync for Raw {}

impl Raw {
    /// `len` bytes of `fill`; `None` if the heap has not that many.
    pub(super) fn new(len: usize, fill: u8) -> Option<Raw> {
        let layout = Layout::from_size_align(len.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout's size is at least one.
        let ptr = NonNull::new(unsafe { alloc(layout) })?;
        // SAFETY: `ptr` was just allocated with at least `len` bytes.
        unsafe { ptr.as_ptr().write_bytes(fill, len) };
        Some(Raw { ptr, layout: Some(layout), len })
    }

    /// Memory of somebody else's.
    ///
    /// # Safety
    /// It is valid for reads and writes for as long as the device may use it, and any thread may; who holds the device's
    /// token is alone with it.
    unsafe fn lent(ptr: NonNull<u8>, len: usize) -> Raw {
        Raw { ptr, layout: None, len }
    }

    /// The bytes of memory that nobody else can reach.
    pub(super) fn owned(&self) -> &[u8] {
        // SAFETY: `len` bytes at `ptr` are allocated and initialised. Only kernels' private copies call this; their
        // pointer is never given away, so no one writes while the slice lives.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// Like [`owned`](Self::owned), to write.
    pub(super) fn owned_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `owned`, and `&mut self` keeps readers away.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(layout) = self.layout {
            // SAFETY: allocated in `new` with this layout, and freed once.
            unsafe { dealloc(self.ptr.as_ptr(), layout) };
        }
    }
}

/// One buffer: its bytes and what the device knows about it.
pub(super) struct Block {
    raw: Raw,
    /// The buffer's byte that its memory begins with: zero, but for [shadows](Self::shadow).
    base: u64,
    pub(super) name: Arc<str>,
    pub(super) size: u64,
    /// Whether the host reaches it.
    pub(super) mappable: bool,
    pub(super) destroyed: AtomicBool,
    /// Timeline value of the newest submission that uses it.
    pub(super) last_use: AtomicU64,
    /// Where the model keeps its records, or `u32::MAX`.
    pub(super) track: AtomicU32,
    /// For the adversary: what each byte held before it was written last.
    before: OnceLock<Option<Box<Block>>>,
}

impl Block {
    /// `None` if the heap is out of memory.
    pub(super) fn new(desc: &MkBackendBufferDesc<'_>, everything_mapped: bool) -> Option<Block> {
        let raw = Raw::new(usize::try_from(desc.size).ok()?, FRESH)?;
        let mappable = everything_mapped || desc.memory != MkMemoryType::DeviceLocal;
        Some(Block::of(raw, 0, desc.name.into(), desc.size, mappable))
    }

    /// A buffer over memory of the host's own, which it does not reach through the device.
    ///
    /// # Safety
    /// As of [`MkGpuBackend::import_host_memory`](crate::MkGpuBackend::import_host_memory).
    pub(super) unsafe fn over(desc: &MkBackendBufferDesc<'_>, at: NonNull<u8>) -> Option<Block> {
        // SAFETY: promised by the caller; submitted work alone uses it.
        let raw = unsafe { Raw::lent(at, usize::try_from(desc.size).ok()?) };
        Some(Block::of(raw, 0, desc.name.into(), desc.size, false))
    }

    /// Whether the host writes it, by whatever way: then its bytes count as written.
    pub(super) fn is_host_written(&self) -> bool {
        self.mappable || self.raw.layout.is_none()
    }

    /// Bytes of the device's memory that it takes.
    pub(super) fn allocated(&self) -> u64 {
        self.raw.layout.map_or(0, |_| self.size)
    }

    fn of(raw: Raw, base: u64, name: Arc<str>, size: u64, mappable: bool) -> Block {
        Block {
            raw,
            base,
            name,
            size,
            mappable,
            destroyed: AtomicBool::new(false),
            last_use: AtomicU64::new(0),
            track: AtomicU32::new(u32::MAX),
            before: OnceLock::new(),
        }
    }

    /// Other memory for the same bytes of the same buffer, to stand in for it: at the same alignment. `None` if the heap
    /// is out of memory.
    pub(super) fn shadow(&self, range: &Range<u64>) -> Option<Block> {
        let end = range.end.min(self.size);
        let start = range.start.min(end);
        let base = start - start % ALIGNMENT as u64;
        let raw = Raw::new(usize::try_from(end - base).ok()?, FRESH)?;
        Some(Block::of(raw, base, self.name.clone(), self.size, false))
    }

    /// Where the adversary keeps what each byte held before it was written last. `None` if the heap is out of memory.
    pub(super) fn before(&self) -> Option<&Block> {
        self.before.get_or_init(|| self.shadow(&(0..self.size)).map(Box::new)).as_deref()
    }

    /// Where its bytes are.
    pub(super) fn pointer(&self) -> NonNull<u8> {
        self.raw.ptr
    }

    /// Pointer to the first byte and number of bytes of the part of `range` within the buffer.
    fn part(&self, range: &Range<u64>) -> (*mut u8, usize) {
        let at = |byte: u64| usize::try_from(byte.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let start = at(range.start).min(self.raw.len);
        let end = at(range.end).clamp(start, self.raw.len);
        // `start` is within the allocation or one past it.
        (self.raw.ptr.as_ptr().wrapping_add(start), end - start)
    }
}

/// The right to touch the memory of a device from the device's side. One a device.
pub(super) struct DeviceToken(());

impl DeviceToken {
    /// # Safety
    /// There is one token a device at a time, and blocks are used with the token of their own device only.
    pub(super) unsafe fn new() -> Self {
        DeviceToken(())
    }

    /// Copies `size` bytes; parts beyond either end are left out. Overlapping ranges are copied as if by way of a
    /// third place.
    pub(super) fn copy(&mut self, from: &Block, src: u64, to: &Block, dst: u64, size: u64) {
        let (read, readable) = from.part(&(src..src.saturating_add(size)));
        let (write, writable) = to.part(&(dst..dst.saturating_add(size)));
        // SAFETY: both parts are within their blocks, which the references keep alive. The token keeps other
        // device-side accesses away, the contract of submit the host's. `copy` allows overlap.
        unsafe { std::ptr::copy(read, write, readable.min(writable)) };
    }

    /// Copies the same bytes from one memory of a buffer to another, by way of [`copy`](Self::copy).
    pub(super) fn carry(&mut self, from: &Block, to: &Block, range: &Range<u64>) {
        self.copy(from, range.start, to, range.start, range.end.saturating_sub(range.start));
    }

    /// Sets every byte of a range.
    pub(super) fn set(&mut self, block: &Block, range: &Range<u64>, value: u8) {
        let (at, len) = block.part(range);
        // SAFETY: as in `copy`.
        unsafe { at.write_bytes(value, len) };
    }

    /// Repeats four bytes over a range.
    pub(super) fn fill(&mut self, block: &Block, range: &Range<u64>, value: u32) {
        let (at, len) = block.part(range);
        // SAFETY: as in `copy`; the slice ends before anything else touches the memory.
        let bytes = unsafe { std::slice::from_raw_parts_mut(at, len) };
        for word in bytes.chunks_mut(4) {
            let n = word.len();
            word.copy_from_slice(&value.to_ne_bytes()[..n]);
        }
    }
}

/// What is lent out of the memory at the moment.
pub(super) struct Lender<'a> {
    _token: &'a mut DeviceToken,
    blocks: &'a [Arc<Block>],
    loans: RefCell<Loans>,
}

/// Inline, so that a kernel with a few borrows allocates nothing.
type Loans = SmallVec<[Loan; 6]>;

/// A range of a block, as long as it is lent.
struct Loan {
    id: usize,
    block: *const Block,
    range: Range<u64>,
    write: bool,
}

impl<'a> Lender<'a> {
    pub(super) fn new(token: &'a mut DeviceToken, blocks: &'a [Arc<Block>]) -> Self {
        Lender { _token: token, blocks, loans: RefCell::default() }
    }

    /// Between two kernels: what one leaked is not lent any more.
    pub(super) fn forget_loans(&mut self) {
        self.loans.get_mut().clear();
    }

    pub(super) fn block(&self, index: u32) -> Option<&'a Arc<Block>> {
        self.blocks.get(index as usize)
    }

    /// Lends bytes to read. `None` if some of them are lent to be written.
    pub(super) fn read(&self, block: &'a Block, range: Range<u64>) -> Option<LentRead<'_>> {
        Some(LentRead(self.lend(block, range, false)?))
    }

    /// Lends bytes to write. `None` if some of them are lent already.
    pub(super) fn write(&self, block: &'a Block, range: Range<u64>) -> Option<LentWrite<'_>> {
        Some(LentWrite(self.lend(block, range, true)?))
    }

    fn lend(&self, block: &'a Block, range: Range<u64>, write: bool) -> Option<Lent<'_>> {
        let mut loans = self.loans.borrow_mut();
        let conflict = |l: &Loan| {
            std::ptr::eq(l.block, block)
                && (l.write || write)
                && !l.range.is_empty()
                && !range.is_empty()
                && l.range.start < range.end
                && range.start < l.range.end
        };
        if loans.iter().any(conflict) {
            return None;
        }
        let (at, len) = block.part(&range);
        // Ids only have to differ among the loans that live.
        let id = loans.iter().map(|l| l.id + 1).max().unwrap_or(0);
        loans.push(Loan { id, block, range, write });
        Some(Lent { at, len, id, loans: &self.loans })
    }
}

struct Lent<'l> {
    at: *mut u8,
    len: usize,
    id: usize,
    loans: &'l RefCell<Loans>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.loans.borrow_mut().retain(|l| l.id != self.id);
    }
}

/// Bytes lent to be read.
pub(super) struct LentRead<'l>(Lent<'l>);

impl LentRead<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the part is within its block, which the lender's blocks keep alive; the loan keeps kernels from
        // writing it, the lender's token keeps the rest of the device away.
        unsafe { std::slice::from_raw_parts(self.0.at, self.0.len) }
    }
}

/// Bytes lent to be written.
pub(super) struct LentWrite<'l>(Lent<'l>);

impl LentWrite<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: as in `LentRead::bytes`; nobody else has any part of it.
        unsafe { std::slice::from_raw_parts(self.0.at, self.0.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `LentRead::bytes`; nobody else has any part of it, and `&mut self` keeps its own readers away.
        unsafe { std::slice::from_raw_parts_mut(self.0.at, self.0.len) }
    }
}
