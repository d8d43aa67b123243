//! What a device must do for the library: the contract between the facade and a backend.
//!
//! The facade decides what exists, what order and which barriers; a backend makes buffers, records a
//! [`Schedule`] as it is and runs it. It never adds, drops or moves a command.

use crate::{MkCapabilities, MkError, MkMemoryType, MkSlice};
use memkit_graph::{BufferUsage, FrameGraph, Resource, Schedule, UploadCosts, Use};
use std::ops::Range;
use std::ptr::NonNull;
use std::time::Duration;

/// A buffer to be made by a backend.
#[derive(Clone, Copy, Debug)]
pub struct MkBackendBufferDesc<'a> {
    /// For debug tools and reports.
    pub name: &'a str,
    /// Bytes; at least one, at most [`MkCapabilities::max_buffer_size`].
    pub size: u64,
    /// Exactly what it will be used for, transfers included.
    pub usage: BufferUsage,
    /// Where its bytes live.
    pub memory: MkMemoryType,
}

/// What a backend records: a frame, its plan, and the buffers behind both.
pub struct MkRecordInput<'a, B: MkGpuBackend> {
    /// Name of the submission, for debug labels.
    pub name: &'a str,
    /// The frame as declared.
    pub graph: &'a FrameGraph,
    /// Its plan.
    pub schedule: &'a Schedule,
    /// The buffers of [`Schedule::resources`], position by position.
    pub buffers: &'a [B::Buffer],
    /// Staging buffers, by the number the frame uses for them (a position here).
    pub host_buffers: &'a [B::Buffer],
}

impl<B: MkGpuBackend> Clone for MkRecordInput<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: MkGpuBackend> Copy for MkRecordInput<'_, B> {}

impl<'a, B: MkGpuBackend> MkRecordInput<'a, B> {
    /// The buffer a command works on. `None` if the schedule does not belong to these buffers.
    #[must_use]
    pub fn buffer(&self, buffer: memkit_graph::BufferRef) -> Option<B::Buffer> {
        match buffer {
            memkit_graph::BufferRef::Local(i) => self.buffers.get(i as usize).copied(),
            memkit_graph::BufferRef::Host(i) => self.host_buffers.get(i as usize).copied(),
        }
    }

    /// Bytes of a transient as declared: the buffer behind it may be larger. `None` for any other resource, which is as
    /// large as its buffer.
    #[must_use]
    pub fn size_of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Transient(id) => self.graph.transient_size(id),
            Resource::Persistent(_) => None,
        }
    }

    /// What the pass at position `node` of the frame declared.
    #[must_use]
    pub fn pass(&self, node: u32) -> MkPass<'a, B> {
        MkPass { input: *self, node }
    }
}

/// One pass while it is recorded: its name, its declared uses, and look-ups limited to them.
pub struct MkPass<'a, B: MkGpuBackend> {
    input: MkRecordInput<'a, B>,
    node: u32,
}

/// A declared part of a buffer, found by a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MkResolved<T> {
    /// The backend's buffer.
    pub buffer: T,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl<'a, B: MkGpuBackend> MkPass<'a, B> {
    /// Position of the pass in its frame.
    #[must_use]
    pub fn node(&self) -> u32 {
        self.node
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        let graph = self.input.graph;
        graph.node(self.node as usize).map_or("", |n| graph.name(&n))
    }

    /// What it declared.
    #[must_use]
    pub fn uses(&self) -> impl DoubleEndedIterator<Item = Use> + Clone + use<'a, B> {
        let graph = self.input.graph;
        graph.node(self.node as usize).map(|n| graph.uses(&n)).into_iter().flatten()
    }

    /// The backend's buffer behind a resource of the frame.
    #[must_use]
    pub fn buffer_of(&self, resource: Resource) -> Option<B::Buffer> {
        let at = self.input.schedule.resources.iter().position(|r| *r == resource)?;
        self.input.buffers.get(at).copied()
    }

    /// The part of a buffer that `slice` names, if the pass declared it.
    ///
    /// A whole resource stands for the declared range of it (the hull, if there are several).
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if no declared range of this pass holds the slice.
    pub fn resolve(&self, slice: &MkSlice<'_>) -> Result<MkResolved<B::Buffer>, MkError> {
        let wanted = slice.declared();
        let open = wanted.end == memkit_graph::ResourceSlice::WHOLE;
        let mut hull: Option<Range<u64>> = None;
        for u in self.uses().filter(|u| u.slice.resource == wanted.resource) {
            if wanted.start == 0 && open {
                let h = hull.get_or_insert(u.slice.start..u.slice.end);
                *h = h.start.min(u.slice.start)..h.end.max(u.slice.end);
            } else if u.slice.start <= wanted.start && (open || wanted.end <= u.slice.end) {
                // An open end stands for the end of the declared range.
                hull = Some(wanted.start..wanted.end.min(u.slice.end));
                break;
            }
        }
        let found = hull.zip(self.buffer_of(wanted.resource)).map(|(range, buffer)| {
            let size = self.input.size_of(wanted.resource).unwrap_or(u64::MAX);
            let end = range.end.min(size).min(B::buffer_size(&buffer));
            MkResolved { buffer, offset: range.start, size: end.saturating_sub(range.start) }
        });
        found.ok_or_else(|| MkError::NotDeclared {
            pass: self.name().into(),
            resource: slice.describe().into(),
            what: "recording".into(),
        })
    }
}

/// Records the passes of a frame: called by the backend for each [`Command::Pass`](memkit_graph::Command::Pass), in
/// the order of the schedule.
pub type MkRecordPass<'a, B> =
    dyn for<'c, 'd> FnMut(u32, &'d mut <B as MkGpuBackend>::Context<'c>) -> Result<(), MkError> + 'a;

/// A device.
///
/// It is not object-safe on purpose: an application picks its backend once, with a generic function.
///
/// One timeline counts submissions: [`submit`](Self::submit) returns the value that is reached when the submission is
/// done, one more than the one before. Values are reached in order.
///
/// # Safety
/// An implementation promises:
/// - [`mapped`](Self::mapped) gives memory valid for reads and writes of the buffer's whole size until
///   [`destroy_buffer`](Self::destroy_buffer), never moved, and from any thread;
/// - a submitted schedule touches no byte outside the ranges its commands and its passes' declared uses name, in
///   the order and with the dependencies the schedule gives;
/// - [`completed`](Self::completed) and [`wait`](Self::wait) report a value only when all device work up to it is
///   done with every buffer it uses, and device writes to mapped memory have happened-before the call's return;
/// - a call that fails leaves nothing behind: no buffer, no recording, no timeline value;
/// - every method may be called from any thread at any time, but where its own contract says otherwise;
/// - after the device is lost each fallible call returns [`MkError::DeviceLost`], the device counts as done with
///   everything (buffers may be destroyed), and dropping the backend is sound;
/// - dropping the backend waits for all submitted work first.
pub unsafe trait MkGpuBackend: Send + Sync + Sized + 'static {
    /// A buffer with its memory: a plain handle, freed by [`destroy_buffer`](Self::destroy_buffer) alone.
    type Buffer: Copy + Send + Sync + 'static;
    /// A recorded submission.
    type Recording: Send + 'static;
    /// What a pass's closure is given to record with.
    type Context<'a>;

    /// What the device can do. Constant over the backend's life.
    fn capabilities(&self) -> &MkCapabilities;

    /// What uploads from staging memory of type `staging` cost on this device. A backend measures it when it is asked; the
    /// facade asks once, and keeps the answer. All zero, as by default: scattering is never cheaper.
    ///
    /// A backend whose [`MkCapabilities::scatter_uploads`] is set runs [`Command::Scatter`](memkit_graph::Command::Scatter)
    /// from every mapped buffer to every buffer it makes.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    fn upload_costs(&self, staging: MkMemoryType) -> Result<UploadCosts, MkError> {
        let _ = staging;
        Ok(UploadCosts::default())
    }

    /// Size of a buffer in bytes, as asked for.
    fn buffer_size(buffer: &Self::Buffer) -> u64;

    /// Makes a buffer.
    ///
    /// # Errors
    /// [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`], [`MkError::DeviceLost`] or [`MkError::Backend`].
    fn create_buffer(&self, desc: &MkBackendBufferDesc<'_>) -> Result<Self::Buffer, MkError>;

    /// Makes a buffer over memory of the caller's: the `desc.size` bytes from `at` on are its bytes. It is not mapped;
    /// its memory is coherent. Only where [`MkCapabilities::host_import`] says so.
    ///
    /// # Errors
    /// [`MkError::HostImport`] if it cannot be done with this memory, and otherwise as for
    /// [`create_buffer`](Self::create_buffer).
    ///
    /// # Safety
    /// Address and size are multiples of [`MkCapabilities::host_import`]. The bytes are valid for reads and writes until the
    /// buffer is destroyed (or, where that was because the device is lost, the backend dropped), and while submitted
    /// work uses them nobody else writes them, nor reads what it writes.
    unsafe fn import_host_memory(
        &self,
        desc: &MkBackendBufferDesc<'_>,
        at: NonNull<u8>,
    ) -> Result<Self::Buffer, MkError> {
        let reason = format!("this backend cannot take memory in, at {at:p} or elsewhere").into();
        Err(MkError::HostImport { resource: desc.name.into(), reason })
    }

    /// Frees a buffer.
    ///
    /// # Safety
    /// `buffer` came from [`create_buffer`](Self::create_buffer) or [`import_host_memory`](Self::import_host_memory) of this backend and was not destroyed before; no submission
    /// that uses it is running, no recording that uses it will be submitted, and its mapped memory is not
    /// touched any more.
    unsafe fn destroy_buffer(&self, buffer: Self::Buffer);

    /// Where the buffer is mapped, for as long as it lives. `None` if its memory is not mappable.
    fn mapped(&self, buffer: &Self::Buffer) -> Option<NonNull<u8>>;

    /// Makes host writes to `range` (bytes, half-open) of a mapped buffer visible to later submissions; does nothing
    /// on coherent memory. The range is rounded outwards to whole atoms by the backend.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer); then the writes may be visible or not, and another flush of them
    /// may work.
    ///
    /// # Safety
    /// `buffer` lives and is mapped.
    unsafe fn flush(&self, buffer: &Self::Buffer, range: Range<u64>) -> Result<(), MkError>;

    /// Makes device writes to `range` (bytes, half-open) of a mapped buffer visible to the host; does nothing on
    /// coherent memory. The range is rounded outwards to whole atoms by the backend.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    ///
    /// # Safety
    /// `buffer` lives and is mapped; no host write within the rounded range is still unflushed.
    unsafe fn invalidate(&self, buffer: &Self::Buffer, range: Range<u64>) -> Result<(), MkError>;

    /// Records a schedule, calling `record` for each pass. Runs the caller's code: no lock of the backend may be
    /// held while `record` runs, and if it unwinds nothing is left behind.
    ///
    /// # Errors
    /// What `record` returned, or the backend's own error; then nothing is recorded.
    ///
    /// # Safety
    /// The buffers of `input` live until the recording is discarded or its submission is done, and fit its
    /// schedule.
    unsafe fn record(
        &self,
        input: MkRecordInput<'_, Self>,
        record: &mut MkRecordPass<'_, Self>,
    ) -> Result<Self::Recording, MkError>;

    /// Gives a recording back unsubmitted.
    fn discard(&self, recording: Self::Recording);

    /// Submits a recording and returns its timeline value. Runs no caller's code.
    ///
    /// With `catch_up`, the device first waits for everything submitted before, with all memory made available and
    /// visible (a full barrier): the plan was made before another submission came between.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer); then nothing was submitted, the recording is given back and no
    /// timeline value is used up.
    ///
    /// # Safety
    /// The recording came from this backend; its buffers live until the returned value is reached.
    /// Calls are externally synchronized: one at a time.
    unsafe fn submit(&self, recording: Self::Recording, catch_up: bool) -> Result<u64, MkError>;

    /// The newest timeline value that is reached; 0 before the first.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    fn completed(&self) -> Result<u64, MkError>;

    /// Waits until a timeline value is reached; `false` if `timeout` passed first. `Duration::MAX` waits forever.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError>;

    /// Called before the backend is dropped, after the last submit: returns once everything up to `submitted` is done,
    /// or the device is lost; not because of any other error. Nothing may hold the queue up any more.
    fn shut_down(&self, submitted: u64) {
        // A lost device is done with everything. No other error ends the wait: what comes next destroys the buffers.
        while !matches!(self.wait(submitted, Duration::MAX), Ok(true) | Err(MkError::DeviceLost)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
