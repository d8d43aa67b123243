//! Mapped memory: the guard through which the host reaches a buffer's bytes.

use crate::MkError;
use crate::buffer::BufferInner;
use crate::device::{Device, Inside};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapMode {
    Read,
    Write,
    Both,
}

impl MapMode {
    pub(crate) fn reads(self) -> bool {
        self != MapMode::Write
    }

    pub(crate) fn writes(self) -> bool {
        self != MapMode::Read
    }
}

/// The bytes of a mapped buffer. Dropping it makes what was written visible to the device; if that fails, the next
/// submission that uses the buffer tries again, and returns the error if it fails too.
pub struct MkMapped<'a> {
    buffer: &'a BufferInner,
    device: Arc<dyn Device>,
    at: NonNull<u8>,
    range: Range<u64>,
    mode: MapMode,
    ended: bool,
    _inside: Inside,
}

impl<'a> MkMapped<'a> {
    pub(crate) fn new(buffer: &'a BufferInner, range: Range<u64>, mode: MapMode) -> Result<Self, MkError> {
        let device = buffer.gpu.get()?;
        let at = device.map(buffer, range.clone(), mode)?;
        Ok(MkMapped { buffer, device, at, range, mode, ended: false, _inside: Inside::enter() })
    }

    /// Writes all bytes.
    pub(crate) fn fill_from(&mut self, bytes: &[u8]) {
        let device = Arc::clone(&self.device);
        device.workers().copy(self, bytes);
    }

    /// Like dropping it, and says whether it worked.
    pub(crate) fn finish(mut self) -> Result<(), MkError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), MkError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.device.unmap(self.buffer, self.range.clone(), self.mode)
    }

    fn len(&self) -> usize {
        // A range of a buffer whose size was made from a `usize`.
        usize::try_from(self.range.end - self.range.start).unwrap_or(0)
    }
}

impl Deref for MkMapped<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `map` gave memory valid for the range, initialised, kept by `device`; the device does not write it
        // while it is mapped, and the host reaches it through this guard alone, which borrows the only handle.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len()) }
    }
}

impl DerefMut for MkMapped<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes this borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len()) }
    }
}

impl Drop for MkMapped<'_> {
    fn drop(&mut self) {
        // What fails is kept, and tried again by the next use of the buffer, which says so.
        let _ = self.end();
    }
}

impl std::fmt::Debug for MkMapped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MkMapped({} bytes of {})", self.len(), self.buffer.name)
    }
}

/// Where some mapped bytes are. Whoever makes one answers for the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedAt(NonNull<u8>);

// SAFETY: it is an address; the memory behind it may be used from any thread (contract of `MkGpuBackend::mapped`).
unsafe impl Send for MappedAt {}
// SAFETY: as above.
unsafe impl Sync for MappedAt {}

impl MappedAt {
    pub(crate) fn new(at: NonNull<u8>) -> Self {
        MappedAt(at)
    }

    pub(crate) fn get(self) -> NonNull<u8> {
        self.0
    }

    /// The address `offset` bytes on.
    ///
    /// # Safety
    /// The buffer has at least `offset` bytes.
    pub(crate) unsafe fn add(self, offset: usize) -> Self {
        // SAFETY: by this function's contract the result is within the buffer's memory.
        MappedAt(unsafe { self.0.add(offset) })
    }

    /// The `len` bytes from here, to be written.
    ///
    /// # Safety
    /// They are mapped for as long as `'a`, and nobody else, the device included, reads or writes them meanwhile.
    pub(crate) unsafe fn bytes_mut<'a>(self, len: usize) -> &'a mut [u8] {
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), len) }
    }

    /// The `len` bytes from here, to be read.
    ///
    /// # Safety
    /// They are mapped for as long as `'a`, and nobody, the device included, writes them meanwhile.
    pub(crate) unsafe fn bytes<'a>(self, len: usize) -> &'a [u8] {
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), len) }
    }
}
