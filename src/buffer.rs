//! Buffer handles, and how a pass names a buffer or a part of it.

use crate::device::GpuRef;
use crate::mapped::{MapMode, MkMapped};
use crate::{MkError, MkMemoryType};
use bytemuck::{AnyBitPattern, NoUninit};
use memkit_graph::{BufferUsage, Resource, ResourceId, ResourceSlice, TransientId};
use std::ops::{Bound, Deref, DerefMut, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all handles of one buffer share. Dropping the last gives the memory back once the device is done with it.
#[derive(Debug)]
pub(crate) struct BufferInner {
    pub(crate) gpu: GpuRef,
    pub(crate) id: ResourceId,
    pub(crate) name: Arc<str>,
    pub(crate) size: u64,
    pub(crate) usage: BufferUsage,
    pub(crate) memory: MkMemoryType,
    /// The stamp of the frame that last took a share, so that it takes only one.
    pub(crate) kept_by: AtomicU64,
}

impl BufferInner {
    /// Whether the frame with this stamp took a share; it is of the same `MkGpu` then.
    #[inline]
    pub(crate) fn is_kept_by(&self, frame: u64) -> bool {
        self.kept_by.load(Ordering::Relaxed) == frame
    }
}

impl Drop for BufferInner {
    fn drop(&mut self) {
        self.gpu.drop_buffer(self.id);
    }
}

/// A buffer of any memory type.
///
/// Dropping it frees its memory once the device is done with it. If its `MkGpu` is dropped first, the buffer is
/// gone and using the handle gives [`MkError::GpuDropped`].
#[derive(Debug)]
pub struct MkBuffer {
    pub(crate) inner: Arc<BufferInner>,
}

impl MkBuffer {
    /// Its name in errors, dumps and debug tools.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        // Made from a `usize`.
        usize::try_from(self.inner.size).unwrap_or(usize::MAX)
    }

    /// What it may be used for.
    #[must_use]
    pub fn usage(&self) -> BufferUsage {
        self.inner.usage
    }

    /// Where its bytes live.
    #[must_use]
    pub fn memory(&self) -> MkMemoryType {
        self.inner.memory
    }

    /// Plain data that names this buffer, for closures that outlive a borrow. It keeps nothing alive.
    #[must_use]
    pub fn id(&self) -> MkBufferId {
        MkBufferId { id: self.inner.id, gpu: self.inner.gpu.id }
    }

    /// The bytes `range` of this buffer, half-open: `16..32`, `..64`, `256..`.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> MkSlice<'_> {
        MkSlice::from(self).narrowed(range)
    }

    /// Writes elements at `offset` bytes from the start.
    ///
    /// # Errors
    /// [`MkError::NotMappable`] for device-local memory, [`MkError::InUse`] while a transfer or frame that uses the
    /// buffer is pending or running, [`MkError::OutOfBounds`], [`MkError::GpuDropped`], [`MkError::DeviceLost`]; or what
    /// the backend says if the bytes could not be made visible to the device: they are written then, and the next
    /// submission that uses the buffer tries again.
    pub fn write<T: NoUninit>(&mut self, offset: usize, data: &[T]) -> Result<(), MkError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let range = self.check_range(offset, bytes.len())?;
        let mut mapped = MkMapped::new(&self.inner, range, MapMode::Write)?;
        mapped.fill_from(bytes);
        mapped.finish()
    }

    /// Reads elements from `offset` bytes from the start.
    ///
    /// # Errors
    /// As for [`write`](Self::write); or what the backend says if the bytes could not be made visible to the host.
    pub fn read<T: NoUninit + AnyBitPattern>(
        &mut self,
        offset: usize,
        data: &mut [T],
    ) -> Result<(), MkError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(data);
        let range = self.check_range(offset, bytes.len())?;
        bytes.copy_from_slice(&MkMapped::new(&self.inner, range, MapMode::Read)?);
        Ok(())
    }

    /// Maps all bytes, to be looked at and changed in place. Dropping the guard makes the changes visible to the
    /// device; until then a submission that uses the buffer is refused with [`MkError::InUse`].
    ///
    /// While the guard lives its `MkGpu` is not torn down: dropping that on the same thread leaves the rest to the
    /// guard's drop, on another thread it waits for it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn map(&mut self) -> Result<MkMapped<'_>, MkError> {
        MkMapped::new(&self.inner, 0..self.inner.size, MapMode::Both)
    }

    fn check_range(&self, offset: usize, len: usize) -> Result<Range<u64>, MkError> {
        check_range(&self.inner, offset as u64, len as u64)
    }
}

/// Bytes `offset..offset + len` of a buffer, if it has them.
pub(crate) fn check_range(buffer: &BufferInner, offset: u64, len: u64) -> Result<Range<u64>, MkError> {
    let end = offset.checked_add(len);
    match end {
        Some(end) if end <= buffer.size => Ok(offset..end),
        _ => Err(MkError::OutOfBounds {
            resource: (&*buffer.name).into(),
            start: offset,
            end: end.unwrap_or(u64::MAX),
            size: buffer.size,
        }),
    }
}

macro_rules! kind_of_buffer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub(crate) MkBuffer);

        impl Deref for $name {
            type Target = MkBuffer;
            fn deref(&self) -> &MkBuffer {
                &self.0
            }
        }

        impl<'a> From<&'a $name> for MkSlice<'a> {
            fn from(buffer: &'a $name) -> Self {
                (&buffer.0).into()
            }
        }
    };
}

kind_of_buffer! {
    /// A buffer in device-local memory, filled by transfers, uploads and passes.
    MkDeviceBuffer
}
kind_of_buffer! {
    /// A mapped buffer that the host writes and transfers read.
    ///
    /// [`write`](MkBuffer::write) and [`map`](MkBuffer::map) answer [`MkError::InUse`] while a transfer from it is pending or running.
    MkStagingBuffer
}

kind_of_buffer! {
    /// Memory of the caller's that the device reads and writes itself. Made by
    /// [`MkGpu::import_host_memory`](crate::MkGpu::import_host_memory).
    ///
    /// A source and destination of transfers, copies, fills and readbacks; the host reaches the bytes as it did before.
    MkHostBuffer
}

impl DerefMut for MkStagingBuffer {
    fn deref_mut(&mut self) -> &mut MkBuffer {
        &mut self.0
    }
}

/// A buffer's id: plain data that closures can take along. It keeps nothing alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MkBufferId {
    pub(crate) id: ResourceId,
    pub(crate) gpu: u32,
}

/// A buffer that lives inside one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MkTransient {
    pub(crate) id: TransientId,
    pub(crate) gpu: u32,
}

impl MkTransient {
    /// The bytes `range` of this buffer, half-open.
    #[must_use]
    pub fn slice(self, range: impl RangeBounds<usize>) -> MkSlice<'static> {
        MkSlice::from(self).narrowed(range)
    }
}

impl MkBufferId {
    /// The bytes `range` of this buffer, half-open.
    #[must_use]
    pub fn slice(self, range: impl RangeBounds<usize>) -> MkSlice<'static> {
        MkSlice::from(self).narrowed(range)
    }
}

/// A buffer or a part of it: what a pass reads or writes.
///
/// A reference to a buffer, an id or a transient converts into all of it; `.slice(a..b)` is a part.
#[derive(Clone, Copy, Debug)]
pub struct MkSlice<'a> {
    pub(crate) target: Target<'a>,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Buffer(&'a Arc<BufferInner>),
    Id(MkBufferId),
    Transient(MkTransient),
}

impl MkSlice<'_> {
    /// As the planner names it. The range is all of the resource where [`ResourceSlice::WHOLE`] is its end.
    #[must_use]
    #[inline]
    pub fn declared(&self) -> ResourceSlice {
        let resource = match self.target {
            Target::Buffer(buffer) => Resource::from(buffer.id),
            Target::Id(id) => id.id.into(),
            Target::Transient(t) => t.id.into(),
        };
        ResourceSlice { resource, start: self.start, end: self.end }
    }

    /// What to call it in an error.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.target {
            Target::Buffer(buffer) => buffer.name.to_string(),
            Target::Id(id) => format!("buffer in slot {}", id.id.index()),
            Target::Transient(t) => format!("transient {}", t.id.index()),
        }
    }

    /// The number of the `MkGpu` it belongs to.
    #[inline]
    pub(crate) fn gpu(&self) -> u32 {
        match self.target {
            Target::Buffer(buffer) => buffer.gpu.id,
            Target::Id(id) => id.gpu,
            Target::Transient(t) => t.gpu,
        }
    }

    /// First byte, and one past the last, of `len` bytes at `offset` from its start, if it has them and its resource
    /// `size` bytes.
    #[inline(always)]
    pub(crate) fn part(&self, size: u64, offset: u64, len: u64) -> Option<(u64, u64)> {
        let start = self.start.saturating_add(offset);
        let end = start.saturating_add(len);
        let limit = if self.end == ResourceSlice::WHOLE { size } else { self.end };
        let fits = self.start <= limit && limit <= size && end <= limit && len > 0;
        fits.then_some((start, end))
    }

    fn narrowed(mut self, range: impl RangeBounds<usize>) -> Self {
        // A bound that overflows is out of bounds of every buffer, and reported as that: only a missing one is `WHOLE`.
        let after = |n: usize| (n as u64).saturating_add(1);
        let last = ResourceSlice::WHOLE - 1;
        self.start = match range.start_bound() {
            Bound::Included(&n) => n as u64,
            Bound::Excluded(&n) => after(n),
            Bound::Unbounded => 0,
        };
        self.end = match range.end_bound() {
            Bound::Included(&n) => after(n).min(last),
            Bound::Excluded(&n) => (n as u64).min(last),
            Bound::Unbounded => ResourceSlice::WHOLE,
        };
        self
    }
}

impl<'a> From<&'a MkBuffer> for MkSlice<'a> {
    fn from(buffer: &'a MkBuffer) -> Self {
        MkSlice { target: Target::Buffer(&buffer.inner), start: 0, end: ResourceSlice::WHOLE }
    }
}

impl From<MkBufferId> for MkSlice<'static> {
    fn from(id: MkBufferId) -> Self {
        MkSlice { target: Target::Id(id), start: 0, end: ResourceSlice::WHOLE }
    }
}

impl From<MkTransient> for MkSlice<'static> {
    fn from(transient: MkTransient) -> Self {
        MkSlice { target: Target::Transient(transient), start: 0, end: ResourceSlice::WHOLE }
    }
}
