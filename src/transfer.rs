//! Transfers outside frames: pending until the next submission, batched with all others.

use crate::backend::MkGpuBackend;
use crate::buffer::{BufferInner, MkBuffer, check_range};
use crate::device::{GpuRef, lock};
use crate::gpu::{Core, MkGpu};
use crate::{MkError, MkFence};
use memkit_graph::{FrameGraph, Planner, ResourceSlice};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A ticket for a transfer. Plain data, `Send`; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct MkGpuTransfer {
    pub(crate) gpu: GpuRef,
    pub(crate) batch: u64,
    pub(crate) id: u64,
}

impl MkGpuTransfer {
    /// A number no other transfer of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the transfer is done. Never blocks, and submits the transfer if it is pending, so that asking again
    /// and again comes to an end.
    ///
    /// # Errors
    /// [`MkError::Cancelled`] if its submission failed, [`MkError::DeviceLost`], [`MkError::GpuDropped`], or what the
    /// backend says: of the submission, or of the question, which can be asked again.
    pub fn is_complete(&self) -> Result<bool, MkError> {
        let device = self.gpu.get()?;
        device.batch_value(self.batch)?.map_or(Ok(false), |value| device.is_reached(value))
    }

    /// Submits the transfer if it is pending, and waits until it is done.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete).
    pub fn wait(&self) -> Result<(), MkError> {
        self.wait_timeout(Duration::MAX).map(|_| ())
    }

    /// Submits the transfer if it is pending, and waits until it is done or `timeout` has passed; `false` if it has.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, MkError> {
        self.gpu.wait(|device| device.batch_value(self.batch), timeout)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A copy that waits for the next submission.
#[derive(Debug)]
pub(crate) struct PendingCopy {
    pub(crate) from: ResourceSlice,
    pub(crate) to: ResourceSlice,
}

/// The transfers of one submission to come.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) copies: Vec<PendingCopy>,
    /// Keeps the buffers of pending copies.
    pub(crate) keep: Vec<Arc<BufferInner>>,
    /// The batches these copies belong to; tickets know theirs.
    pub(crate) batches: Vec<u64>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.copies.clear();
        self.keep.clear();
        self.batches.clear();
    }

    /// Puts copies that were taken out for a submission that failed back before those that came since.
    pub(crate) fn restore(&mut self, mut earlier: Pending) {
        earlier.copies.append(&mut self.copies);
        earlier.keep.append(&mut self.keep);
        earlier.batches.append(&mut self.batches);
        *self = earlier;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchState {
    Pending,
    Submitted(u64),
    Cancelled,
}

/// How far each batch is. Batches are numbered from 1; those before the first in the log are done.
#[derive(Debug, Default)]
pub(crate) struct BatchLog {
    first: u64,
    states: VecDeque<BatchState>,
    cancelled: Vec<u64>,
}

impl BatchLog {
    /// The batch that new transfers join.
    pub(crate) fn current(&mut self, pending: &mut Pending) -> u64 {
        if pending.batches.is_empty() || pending.is_empty() {
            self.states.push_back(BatchState::Pending);
            let batch = self.first + self.states.len() as u64;
            pending.batches.push(batch);
        }
        pending.batches.last().copied().unwrap_or(0)
    }

    fn state(&mut self, batch: u64) -> Option<&mut BatchState> {
        let i = batch.checked_sub(self.first + 1)?;
        self.states.get_mut(usize::try_from(i).ok()?)
    }

    pub(crate) fn submitted(&mut self, batches: &[u64], value: u64) {
        for &batch in batches {
            if let Some(state) = self.state(batch) {
                *state = BatchState::Submitted(value);
            }
        }
    }

    pub(crate) fn cancel(&mut self, batches: &[u64]) {
        for &batch in batches {
            if let Some(state) = self.state(batch) {
                *state = BatchState::Cancelled;
            }
        }
    }

    /// Forgets batches that are done; cancelled ones stay known.
    pub(crate) fn collect(&mut self, completed: u64) {
        while let Some(state) = self.states.front() {
            match *state {
                BatchState::Submitted(value) if value <= completed => {}
                BatchState::Cancelled => self.cancelled.push(self.first + 1),
                _ => break,
            }
            self.states.pop_front();
            self.first += 1;
        }
    }

    /// The timeline value that ends a batch: 0 if it is done, none while it is pending.
    pub(crate) fn value(&mut self, batch: u64) -> Result<Option<u64>, MkError> {
        if batch <= self.first {
            return if self.cancelled.binary_search(&batch).is_ok() {
                Err(MkError::Cancelled)
            } else {
                Ok(Some(0))
            };
        }
        match self.state(batch) {
            Some(BatchState::Submitted(value)) => Ok(Some(*value)),
            Some(BatchState::Pending) => Ok(None),
            Some(BatchState::Cancelled) | None => Err(MkError::Cancelled),
        }
    }
}

/// Cancels pending transfers that fail by themselves, whatever frame takes them up: the next frame works then.
pub(crate) fn cancel_impossible<B: MkGpuBackend>(taken: &mut Pending, core: &mut Core<B>) {
    if taken.is_empty() {
        return;
    }
    let mut graph = FrameGraph::new();
    for copy in &taken.copies {
        graph.copy(copy.from, copy.to);
    }
    if Planner::new().plan(&graph, &mut core.state).is_err() {
        core.batches.cancel(&taken.batches);
        taken.clear();
    }
}

/// One transfer with offsets and a size, in bytes. Made by [`MkGpu::transfer_builder`].
#[must_use = "a transfer is asked for by `submit`"]
pub struct MkTransferBuilder<'a, B: MkGpuBackend> {
    gpu: &'a MkGpu<B>,
    from: &'a MkBuffer,
    to: &'a MkBuffer,
    src_offset: usize,
    dst_offset: usize,
    size: Option<usize>,
}

impl<B: MkGpuBackend> MkTransferBuilder<'_, B> {
    /// First byte in the source; 0 if not said.
    pub fn src_offset(mut self, bytes: usize) -> Self {
        self.src_offset = bytes;
        self
    }

    /// First byte in the destination; 0 if not said.
    pub fn dst_offset(mut self, bytes: usize) -> Self {
        self.dst_offset = bytes;
        self
    }

    /// Another name of [`dst_offset`](Self::dst_offset).
    pub fn offset(self, bytes: usize) -> Self {
        self.dst_offset(bytes)
    }

    /// Bytes; all from the source offset to the end of the source if not said.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Asks for the transfer. It is pending until the next submission.
    ///
    /// # Errors
    /// As for [`MkGpu::transfer`].
    pub fn submit(self) -> Result<MkGpuTransfer, MkError> {
        let size = self.size.unwrap_or(self.from.size().saturating_sub(self.src_offset));
        let copy = Copy {
            from: &self.from.inner,
            to: &self.to.inner,
            src: self.src_offset as u64,
            dst: self.dst_offset as u64,
            size: size as u64,
        };
        self.gpu.enqueue(&[copy.check(self.gpu)?])
    }
}

/// Several transfers at once. Made by [`MkGpu::batch_transfer`].
#[must_use = "transfers are asked for by `submit`"]
pub struct MkBatchTransfer<'a, B: MkGpuBackend> {
    gpu: &'a MkGpu<B>,
    copies: smallvec::SmallVec<[Checked<'a>; 4]>,
    error: Option<MkError>,
}

impl<'a, B: MkGpuBackend> MkBatchTransfer<'a, B> {
    /// Adds a copy of all of `from` to the beginning of `to`.
    pub fn copy(mut self, from: &'a MkBuffer, to: &'a MkBuffer) -> Self {
        let copy = Copy { from: &from.inner, to: &to.inner, src: 0, dst: 0, size: from.inner.size };
        match copy.check(self.gpu) {
            Ok(checked) => self.copies.push(checked),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Submits the copies, and all transfers that were pending before them, without waiting.
    ///
    /// # Errors
    /// The first error of any copy, then nothing was added; or as for [`MkGpu::flush`].
    pub fn submit(self) -> Result<MkGpuTransfer, MkError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let ticket = self.gpu.enqueue(&self.copies)?;
        self.gpu.flush()?;
        Ok(ticket)
    }

    /// Submits the copies and waits until they are done.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit).
    pub fn submit_and_wait(self) -> Result<(), MkError> {
        self.submit()?.wait()
    }
}

struct Copy<'a> {
    from: &'a Arc<BufferInner>,
    to: &'a Arc<BufferInner>,
    src: u64,
    dst: u64,
    size: u64,
}

/// A copy that fits.
pub(crate) struct Checked<'a> {
    from: &'a Arc<BufferInner>,
    to: &'a Arc<BufferInner>,
    copy: (ResourceSlice, ResourceSlice),
}

impl<'a> Copy<'a> {
    fn check<B: MkGpuBackend>(self, gpu: &MkGpu<B>) -> Result<Checked<'a>, MkError> {
        for buffer in [self.from, self.to] {
            if buffer.gpu.id != gpu.inner.link.id {
                return Err(MkError::ForeignHandle { resource: (&*buffer.name).into() });
            }
        }
        let src = check_range(self.from, self.src, self.size)?;
        let to_size = self.to.size.saturating_sub(self.dst);
        if self.size > to_size {
            return Err(MkError::SizeMismatch {
                from: (&*self.from.name).into(),
                from_size: self.size,
                to: (&*self.to.name).into(),
                to_size,
            });
        }
        if self.size == 0 {
            return Err(MkError::ZeroSize { resource: format!("transfer from {}", self.from.name).into() });
        }
        let dst = check_range(self.to, self.dst, self.size)?;
        if self.from.id == self.to.id && src.start < dst.end && dst.start < src.end {
            let error = memkit_graph::GraphError::CopyOverlap {
                resource: self.from.name.to_string(),
                from: src,
                to: dst,
            };
            return Err(MkError::other(error));
        }
        let slice = |b: &BufferInner, range| ResourceSlice::new(b.id.into(), range);
        let copy = (slice(self.from, src), slice(self.to, dst));
        Ok(Checked { from: self.from, to: self.to, copy })
    }
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// Asks for a copy of all of `from` to the beginning of `to`. It is pending until the next submission:
    /// [`flush`](Self::flush), a frame's or a batch's `submit`, [`wait_idle`](Self::wait_idle), or asking the ticket.
    ///
    /// Pending or running, it keeps both memories, whatever handles are dropped.
    ///
    /// # Errors
    /// [`MkError::SizeMismatch`] if it does not fit, [`MkError::OutOfBounds`], [`MkError::ForeignHandle`], [`MkError::DeviceLost`], a copy of
    /// a buffer onto itself.
    pub fn transfer(&self, from: &MkBuffer, to: &MkBuffer) -> Result<MkGpuTransfer, MkError> {
        self.transfer_builder(from, to).submit()
    }

    /// Begins a transfer with offsets or a size.
    pub fn transfer_builder<'a>(&'a self, from: &'a MkBuffer, to: &'a MkBuffer) -> MkTransferBuilder<'a, B> {
        MkTransferBuilder { gpu: self, from, to, src_offset: 0, dst_offset: 0, size: None }
    }

    /// Begins a batch of transfers that is submitted at once.
    pub fn batch_transfer(&self) -> MkBatchTransfer<'_, B> {
        MkBatchTransfer { gpu: self, copies: smallvec::SmallVec::new(), error: None }
    }

    /// Submits all pending transfers, and returns a fence behind them and everything submitted before.
    ///
    /// # Errors
    /// [`MkError::DeviceLost`], [`MkError::Frame`] if a pending transfer reads bytes nobody wrote, or what the backend
    /// says. The pending transfers are cancelled then; a frame whose `submit` fails leaves them pending instead.
    pub fn flush(&self) -> Result<MkFence, MkError> {
        self.inner.flush_pending()?;
        Ok(self.fence())
    }

    fn enqueue(&self, copies: &[Checked<'_>]) -> Result<MkGpuTransfer, MkError> {
        self.inner.check_lost()?;
        if copies.is_empty() {
            // Done before it began: the batch before the first.
            return Ok(MkGpuTransfer { gpu: self.gpu_ref(), batch: 0, id: next_id() });
        }
        let mut core = lock(&self.inner.core);
        let core = &mut *core;
        let batch = core.batches.current(&mut core.pending);
        for c in copies {
            core.pending.copies.push(PendingCopy { from: c.copy.0, to: c.copy.1 });
            core.pending.keep.extend([c.from.clone(), c.to.clone()]);
        }
        Ok(MkGpuTransfer { gpu: self.gpu_ref(), batch, id: next_id() })
    }
}
