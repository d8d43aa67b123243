//! One error type for everything a caller, the device or the driver can get wrong.

use memkit_graph::GraphError;
use std::error::Error;

/// The error of another library, kept whole.
pub type MkSource = Box<dyn Error + Send + Sync + 'static>;

/// What went wrong: names the pass and the resource, says what was expected and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MkError {
    /// A frame that cannot be run as declared.
    #[error("{0}")]
    Frame(#[source] Box<MkFrameError>),
    /// A range beyond the end of a buffer.
    #[error("bytes {start}..{end} of `{resource}` are out of bounds, its size is {size} bytes")]
    OutOfBounds {
        /// The buffer.
        resource: Box<str>,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Size of the buffer in bytes.
        size: u64,
    },
    /// Something of no bytes.
    #[error("`{resource}` has a size of zero bytes; give it at least one")]
    ZeroSize {
        /// The buffer.
        resource: Box<str>,
    },
    /// A buffer larger than the device allows.
    #[error("`{resource}` asks for {size} bytes, the device allows buffers of at most {limit}; split it")]
    BufferTooLarge {
        /// The buffer.
        resource: Box<str>,
        /// Bytes asked for.
        size: u64,
        /// Largest allowed, in bytes.
        limit: u64,
    },
    /// A transfer whose two ends differ in size, or that does not fit.
    #[error(
        "transfer of {from_size} bytes of `{from}` does not fit the {to_size} bytes of `{to}`; name a size and offsets that fit"
    )]
    SizeMismatch {
        /// Source.
        from: Box<str>,
        /// Bytes of the source range.
        from_size: u64,
        /// Destination.
        to: Box<str>,
        /// Bytes of the destination range.
        to_size: u64,
    },
    /// An offset or size that is no multiple of what it must be a multiple of.
    #[error("`{resource}`: byte {offset} must be a multiple of {alignment}")]
    Misaligned {
        /// The buffer.
        resource: Box<str>,
        /// The offset or size in bytes.
        offset: u64,
        /// Bytes it must be a multiple of.
        alignment: u64,
    },
    /// The buffer is still used by a transfer or a frame, mapped, or written directly by an open frame.
    #[error(
        "`{resource}` is in use by a pending or running transfer, a map guard or an open frame that writes it directly; wait for that, or use another buffer"
    )]
    InUse {
        /// The buffer.
        resource: Box<str>,
    },
    /// The host cannot reach this memory.
    #[error("`{resource}` is device-local and cannot be mapped; upload to it, or make it host-visible")]
    NotMappable {
        /// The buffer.
        resource: Box<str>,
    },
    /// Memory of the caller's cannot be taken in.
    #[error("`{resource}` cannot be imported: {reason}; use memory that is aligned so, or upload it")]
    HostImport {
        /// The memory.
        resource: Box<str>,
        /// What stands against it.
        reason: Box<str>,
    },
    /// The `MkGpu` this belongs to is gone.
    #[error("the MkGpu this belongs to was dropped")]
    GpuDropped,
    /// A handle of another `MkGpu`.
    #[error("`{resource}` belongs to another MkGpu; use handles of one device together")]
    ForeignHandle {
        /// The buffer.
        resource: Box<str>,
    },
    /// The frame's own bytes fill the staging memory.
    #[error(
        "{asked} more bytes of staging memory asked for, {held_by_this_frame} of the limit of {limit} are held by this frame; spread the upload over frames, or raise MkGpuConfig::staging_limit"
    )]
    StagingLimit {
        /// Bytes asked for.
        asked: u64,
        /// The configured limit in bytes.
        limit: u64,
        /// Bytes this frame holds already.
        held_by_this_frame: u64,
    },
    /// An upload that submits its own parts failed after some of them.
    #[error(
        "only the first {submitted} of {size} bytes were uploaded to `{resource}`, the others hold what they held: {cause}"
    )]
    PartlyUploaded {
        /// The buffer.
        resource: Box<str>,
        /// Bytes that were submitted, from the first.
        submitted: u64,
        /// Bytes asked for.
        size: u64,
        /// Why the rest was not.
        #[source]
        cause: Box<MkError>,
    },
    /// No device memory, for a buffer or for a call.
    #[error("out of {memory} memory{} for `{resource}`", Size(*size))]
    OutOfMemory {
        /// What the memory was for: a buffer, or a call of the driver.
        resource: Box<str>,
        /// Bytes asked for; 0 if a call does not say how many.
        size: u64,
        /// Kind of memory.
        memory: crate::MkMemoryType,
        /// The backend's own error.
        source: Option<MkSource>,
    },
    /// The process has no memory left for what the driver or the backend keeps about something.
    #[error("the host is out of memory for `{what}`")]
    OutOfHostMemory {
        /// What the memory was for: a buffer, or a call of the driver.
        what: Box<str>,
        /// The backend's own error.
        source: Option<MkSource>,
    },
    /// The device is lost; every call answers so from now on.
    #[error("the device is lost; drop the MkGpu and make a new one")]
    DeviceLost,
    /// The work was cancelled before it was submitted: its frame was dropped or failed, or the `MkGpu` was dropped.
    #[error("cancelled before it was submitted: its frame or MkGpu was dropped, or its submit failed")]
    Cancelled,
    /// A result was asked for before it was there.
    #[error("the result is not there yet; wait for it, or ask again later")]
    NotReady,
    /// A pass reaches for a resource it did not declare.
    #[error("pass `{pass}` uses `{resource}` ({what}), which it did not declare; add it to the pass")]
    NotDeclared {
        /// The pass.
        pass: Box<str>,
        /// The resource.
        resource: Box<str>,
        /// What was reached for: the byte range, and how.
        what: Box<str>,
    },
    /// A kernel of the simulated device borrows bytes twice, once to write.
    #[error(
        "kernel of pass `{pass}` borrows `{resource}` while it is borrowed to be written; drop the first borrow"
    )]
    BorrowConflict {
        /// The pass.
        pass: Box<str>,
        /// The resource.
        resource: Box<str>,
    },
    /// No Vulkan loader or driver.
    #[error(
        "no Vulkan driver: {reason}; install one (Debian: mesa-vulkan-drivers), or use the Dummy backend"
    )]
    DriverMissing {
        /// What was tried.
        reason: Box<str>,
        /// The loader's own error.
        source: Option<MkSource>,
    },
    /// A layer that was asked for is not installed.
    #[error(
        "the layer `{layer}` is not installed; install it (Debian: vulkan-validationlayers), or turn VulkanConfig::validation off"
    )]
    LayerMissing {
        /// The layer.
        layer: Box<str>,
    },
    /// No device can do what is needed.
    #[error("no suitable Vulkan device: {reason}")]
    NoDevice {
        /// What each device lacks.
        reason: Box<str>,
    },
    /// A call of the backend failed.
    #[error("{call} failed")]
    Backend {
        /// The call.
        call: &'static str,
        /// The backend's own error.
        source: MkSource,
    },
    /// An error of the caller's own, from a closure.
    #[error("{0}")]
    Other(#[source] MkSource),
}

/// Prints a number of bytes, unless it is 0.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            size => write!(f, ": {size} bytes"),
        }
    }
}

impl MkError {
    /// Wraps an error of the caller's own, so that a recording closure can return it.
    pub fn other(error: impl Into<MkSource>) -> Self {
        MkError::Other(error.into())
    }

    /// The dump of the frame as far as it got, if this error came from a frame's `submit`.
    #[must_use]
    pub fn dump(&self) -> Option<&str> {
        match self {
            MkError::Frame(frame) => Some(&frame.dump),
            _ => None,
        }
    }

    /// The error of the frame's plan, if this is one.
    #[must_use]
    pub fn graph(&self) -> Option<&GraphError> {
        match self {
            MkError::Frame(frame) => frame.others_and_first().find_map(|e| match e {
                MkFrameProblem::Graph(graph) => Some(graph),
                MkFrameProblem::Call(_) => None,
            }),
            _ => None,
        }
    }

    /// Whether the device is lost, here or in the frame this came from.
    #[must_use]
    pub fn is_device_lost(&self) -> bool {
        match self {
            MkError::DeviceLost => true,
            MkError::PartlyUploaded { cause, .. } => cause.is_device_lost(),
            MkError::Frame(frame) => {
                frame.others_and_first().any(|p| matches!(p, MkFrameProblem::Call(e) if e.is_device_lost()))
            }
            _ => false,
        }
    }
}

/// Why a frame was not submitted: the first problem, the others found with it, and the frame as far as it got.
#[derive(Debug)]
pub struct MkFrameError {
    /// The first problem.
    pub first: MkFrameProblem,
    /// Further ones.
    pub others: Vec<MkFrameProblem>,
    /// The pass whose recording failed, if one did.
    pub pass: Option<Box<str>>,
    /// The frame as far as it got, as text.
    pub dump: String,
}

impl MkFrameError {
    fn others_and_first(&self) -> impl Iterator<Item = &MkFrameProblem> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// One problem of a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MkFrameProblem {
    /// What was declared does not make sense.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] MkError),
}

impl std::fmt::Display for MkFrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(pass) = &self.pass {
            write!(f, "recording of pass `{pass}`: ")?;
        }
        write!(f, "{}", self.first)?;
        for other in &self.others {
            write!(f, "\n  also: {other}")?;
        }
        Ok(())
    }
}

impl Error for MkFrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.first)
    }
}
