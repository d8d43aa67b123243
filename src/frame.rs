//! Frames: declared by one statement a pass, run by `submit`.

use crate::arena::Closures;
use crate::backend::MkGpuBackend;
use crate::buffer::{BufferInner, MkSlice, MkTransient, Target};
use crate::device::lock;
use crate::error::MkFrameProblem;
use crate::gpu::{Inner, MkGpu};
use crate::submit::{OpenWork, RecordFn};
use crate::{MkError, MkFence};
use memkit_graph::{Access, FrameDump, PassBuilder, PassId, Queue, ResourceSlice};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A frame that is being declared.
///
/// It borrows nothing from its `MkGpu`; `'f` bounds only what closures capture, so `MkFrame<'static, B>` can be a
/// field of an engine. Dropping it unsubmitted gives everything back at once: staging, readbacks, closures.
#[must_use = "a frame does nothing until `submit`"]
pub struct MkFrame<'f, B: MkGpuBackend> {
    pub(crate) work: OpenWork<B>,
    pub(crate) gpu: crate::device::GpuRef,
    _closures: PhantomData<fn(&'f ()) -> &'f ()>,
}

/// Written out although `work` would do the same: with a `Drop` of the frame's own the compiler knows that dropping it
/// runs drops of what closures captured, so that what they borrow must live longer than the frame.
impl<B: MkGpuBackend> Drop for MkFrame<'_, B> {
    fn drop(&mut self) {
        self.work.ws.closures.clear();
    }
}

impl<B: MkGpuBackend> std::fmt::Debug for MkFrame<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MkFrame").field("nodes", &self.work.ws.graph.len()).finish_non_exhaustive()
    }
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// Begins a frame. Waits only for the frame submitted [`frames_in_flight`](crate::MkGpuConfig::frames_in_flight)
    /// before this one.
    ///
    /// # Errors
    /// [`MkError::DeviceLost`], or what the backend says when it is asked how far the device is.
    pub fn begin_frame<'f>(&self) -> Result<MkFrame<'f, B>, MkError> {
        let inner = &self.inner;
        inner.check_lost()?;
        let in_flight = inner.config.frames_in_flight.max(1);
        let number = loop {
            let mut core = lock(&inner.core);
            let over = core.frames.len().checked_sub(in_flight).and_then(|i| core.frames.get(i).copied());
            match over {
                Some(value) if !inner.is_done(&mut core, value)? => {
                    drop(core);
                    inner.wait_value(value)?;
                }
                _ => {
                    while core.frames.front().is_some_and(|&v| v <= core.completed) {
                        core.frames.pop_front();
                    }
                    inner.collect(&mut core);
                    inner.check_lost()?;
                    core.next_frame += 1;
                    break core.next_frame - 1;
                }
            }
        };
        let mut work = OpenWork::open(inner, number);
        work.ws.name.clear();
        let _ = std::fmt::Write::write_fmt(&mut work.ws.name, format_args!("frame {number}"));
        Ok(MkFrame { work, gpu: self.gpu_ref(), _closures: PhantomData })
    }
}

impl<'f, B: MkGpuBackend> MkFrame<'f, B> {
    /// Names the frame in dumps and debug labels; `frame N` if not named.
    pub fn set_name(&mut self, name: &str) {
        self.work.ws.name.clear();
        self.work.ws.name.push_str(name);
    }

    /// Begins a pass: one statement that ends with [`record`](MkPassBuilder::record).
    pub fn pass(&mut self, name: &str) -> MkPassBuilder<'_, 'f, B> {
        let ws = &mut self.work.ws;
        let declare = Declare {
            gpu: self.gpu.id,
            frame: ws.stamp,
            keep: &mut ws.keep,
            unrecorded: Some(ws.problems.len()),
            problems: &mut ws.problems,
        };
        MkPassBuilder {
            pass: ws.graph.pass(name),
            declare,
            closures: &mut ws.closures,
            _closures: PhantomData,
        }
    }

    /// A buffer of `size` bytes that lives inside this frame. What it is used for follows from its accesses.
    pub fn transient(&mut self, name: &str, size: usize) -> MkTransient {
        MkTransient { id: self.work.ws.graph.transient(name, size as u64), gpu: self.gpu.id }
    }

    /// Declares a copy between two ranges of equal length.
    pub fn copy<'a, 'b>(&mut self, from: impl Into<MkSlice<'a>>, to: impl Into<MkSlice<'b>>) -> PassId {
        let (from, to) = (self.declare(&from.into()), self.declare(&to.into()));
        self.work.ws.graph.copy(from, to)
    }

    /// Declares a fill with a repeated `u32`; start and end must be multiples of 4 bytes.
    pub fn fill<'a>(&mut self, to: impl Into<MkSlice<'a>>, value: u32) -> PassId {
        let to = self.declare(&to.into());
        self.work.ws.graph.fill(to, value)
    }

    /// Orders two passes: all that `first` did is done and visible before `then` begins, between the stages and
    /// accesses both declare. It keeps neither alive.
    pub fn order(&mut self, first: PassId, then: PassId) {
        self.work.ws.graph.order(first, then);
    }

    /// Like [`order`](Self::order), with accesses beyond those the passes declare.
    pub fn order_with(&mut self, first: PassId, first_access: Access, then: PassId, then_access: Access) {
        self.work.ws.graph.order_with(first, first_access, then, then_access);
    }

    /// Plans the frame, runs the passes' closures, and submits everything at once, pending transfers first. Waits
    /// for nothing.
    ///
    /// # Errors
    /// [`MkError::Frame`] if the frame does not make sense or a closure failed: the first problem, with the others and a
    /// dump of the frame as far as it got. [`MkError::InUse`] if a buffer is mapped, [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`],
    /// [`MkError::DeviceLost`], [`MkError::GpuDropped`], or what the backend says. Nothing was submitted then, no state has moved, and everything is given back.
    pub fn submit(self) -> Result<MkFence, MkError> {
        self.run(None)
    }

    /// Like [`submit`](Self::submit), and returns the dump of the frame, with the cause of every barrier.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit).
    pub fn submit_and_dump(self) -> Result<(MkFence, FrameDump), MkError> {
        let mut dump = None;
        let fence = self.run(Some(&mut dump))?;
        Ok((fence, dump.ok_or(MkError::Cancelled)?))
    }

    fn run(mut self, dump: Option<&mut Option<FrameDump>>) -> Result<MkFence, MkError> {
        let inner = self.inner()?;
        let (value, stats) = inner.run(&mut self.work.ws, dump)?;
        let mut core = lock(&inner.core);
        core.frames.push_back(value);
        core.stats = stats;
        drop(core);
        Ok(MkFence { gpu: self.gpu.clone(), value })
    }

    #[inline]
    pub(crate) fn inner(&self) -> Result<Arc<Inner<B>>, MkError> {
        let Some(inner) = self.work.inner.upgrade() else { return Err(MkError::GpuDropped) };
        inner.check_lost()?;
        Ok(inner)
    }

    pub(crate) fn declare(&mut self, slice: &MkSlice<'_>) -> ResourceSlice {
        let ws = &mut self.work.ws;
        Declare {
            gpu: self.gpu.id,
            frame: ws.stamp,
            keep: &mut ws.keep,
            problems: &mut ws.problems,
            unrecorded: None,
        }
        .slice(slice)
    }

    /// Keeps the buffer of a slice of this `MkGpu` for as long as the frame needs it.
    #[inline]
    pub(crate) fn keep(&mut self, slice: &MkSlice<'_>) {
        if let Target::Buffer(buffer) = slice.target {
            keep(&mut self.work.ws.keep, self.work.ws.stamp, buffer);
        }
    }
}

/// Keeps a buffer for the frame with this stamp.
#[inline(always)]
fn keep(kept: &mut Vec<Arc<BufferInner>>, frame: u64, buffer: &Arc<BufferInner>) {
    // Not one atomic exchange: that costs more than all else here. Frames on two threads that name one buffer in turns
    // may then take more than one share each, which does no harm.
    if !buffer.is_kept_by(frame) {
        buffer.kept_by.store(frame, Ordering::Relaxed);
        kept.push(Arc::clone(buffer));
    }
}

/// What declaring a use needs of the frame.
struct Declare<'a> {
    gpu: u32,
    frame: u64,
    keep: &'a mut Vec<Arc<BufferInner>>,
    problems: &'a mut Vec<MkFrameProblem>,
    /// Problems from here on belong to a pass that is not recorded yet, and go with it.
    unrecorded: Option<usize>,
}

impl Drop for Declare<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.unrecorded {
            self.problems.truncate(first);
        }
    }
}

impl Declare<'_> {
    /// Checks whose the resource is, and keeps its buffer for as long as the frame needs it.
    fn slice(&mut self, slice: &MkSlice<'_>) -> ResourceSlice {
        if slice.gpu() != self.gpu {
            self.problems.push(MkError::ForeignHandle { resource: slice.describe().into() }.into());
        } else if let Target::Buffer(buffer) = slice.target {
            keep(self.keep, self.frame, buffer);
        }
        slice.declared()
    }
}

/// Declares one pass. It is declared by [`record`](Self::record); a builder that is dropped declares nothing.
#[must_use = "a pass is declared by `record`"]
pub struct MkPassBuilder<'a, 'f, B: MkGpuBackend> {
    pass: PassBuilder<'a>,
    declare: Declare<'a>,
    closures: &'a mut Closures<RecordFn<B>>,
    _closures: PhantomData<fn(&'f ()) -> &'f ()>,
}

impl<'f, B: MkGpuBackend> MkPassBuilder<'_, 'f, B> {
    /// Asks for a kind of queue. The pass's stages must be among those it runs.
    pub fn on(self, queue: Queue) -> Self {
        MkPassBuilder { pass: self.pass.on(queue), ..self }
    }

    /// Keeps the pass even if nothing in the frame needs what it writes.
    pub fn side_effects(self) -> Self {
        MkPassBuilder { pass: self.pass.side_effects(), ..self }
    }

    /// The pass sees the last write declared before it.
    pub fn read<'r>(mut self, slice: impl Into<MkSlice<'r>>, access: Access) -> Self {
        let slice = self.declare.slice(&slice.into());
        MkPassBuilder { pass: self.pass.read(slice, access), ..self }
    }

    /// The pass may write any byte of the range and keeps the rest.
    pub fn write<'r>(mut self, slice: impl Into<MkSlice<'r>>, access: Access) -> Self {
        let slice = self.declare.slice(&slice.into());
        MkPassBuilder { pass: self.pass.write(slice, access), ..self }
    }

    /// The pass writes every byte of the range; earlier content is dead.
    pub fn overwrite<'r>(mut self, slice: impl Into<MkSlice<'r>>, access: Access) -> Self {
        let slice = self.declare.slice(&slice.into());
        MkPassBuilder { pass: self.pass.overwrite(slice, access), ..self }
    }

    /// The pass reads and writes the range in place.
    pub fn modify<'r>(mut self, slice: impl Into<MkSlice<'r>>, access: Access) -> Self {
        let slice = self.declare.slice(&slice.into());
        MkPassBuilder { pass: self.pass.modify(slice, access), ..self }
    }

    /// Declares the pass. `f` runs once, inside the frame's `submit`, if the pass is not culled; it records and must
    /// not wait for the frame.
    pub fn record<F>(self, f: F) -> PassId
    where
        F: FnOnce(&mut B::Context<'_>) -> Result<(), MkError> + Send + 'f,
    {
        let MkPassBuilder { pass, mut declare, closures, .. } = self;
        declare.unrecorded = None;
        let id = pass.finish();
        let key = u32::try_from(id.index()).unwrap_or(u32::MAX);
        // SAFETY: `call::<B, F>` moves an `F` out. What `F` borrows lives for `'f`, which the frame's type carries:
        // the frame runs or drops its closures before `'f` ends. Nodes are numbered in ascending order.
        unsafe { closures.push(key, f, call::<B, F>) };
        id
    }
}

/// Runs a stored closure.
///
/// # Safety
/// `at` holds an `F` that nobody uses or drops afterwards.
unsafe fn call<B, F>(at: *mut u8, cx: &mut B::Context<'_>) -> Result<(), MkError>
where
    B: MkGpuBackend,
    F: FnOnce(&mut B::Context<'_>) -> Result<(), MkError>,
{
    // SAFETY: by this function's contract.
    let f = unsafe { at.cast::<F>().read() };
    f(cx)
}
