//! What the simulated device objects to: one report a hazard, and the list that keeps them.

use memkit_graph::{Access, BarrierEntry};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Reports kept; later ones are only counted.
const KEPT: usize = 1000;

/// Kinds of mistakes the simulated device sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MkHazardKind {
    /// A read that nothing orders after the write of the bytes.
    ReadAfterWrite,
    /// A write that nothing orders after an earlier write of the bytes.
    WriteAfterWrite,
    /// A write that nothing orders after an earlier read of the bytes.
    WriteAfterRead,
    /// A command that `order` puts after another, and that nothing orders after all that the other declares.
    OrderViolated,
    /// Ordered, but the earlier write was never made available.
    NotAvailable,
    /// Ordered, and the earlier write is available, but not visible to this stage and access.
    NotVisible,
    /// A read of bytes that nothing wrote.
    Uninitialized,
    /// Regions of one copy, or of one scatter, that overlap where they must not.
    OverlappingRegions,
    /// Bytes beyond the end of a buffer.
    OutOfBounds,
    /// An offset or size that is not a multiple of what it must be.
    Misaligned,
    /// A buffer that was destroyed while work that uses it may still run, or used after it was destroyed.
    UseAfterFree,
    /// Bytes the host reads that the device wrote and did not make visible to the host.
    HostReadWithoutDependency,
    /// Bytes the host wrote while submitted work that uses them may still have run: nobody had waited for it.
    HostWriteInUse,
    /// Bytes that another queue family owns, used or released.
    NotOwned,
    /// Half an ownership transfer: bytes released to this queue family, used before it acquired them.
    NotAcquired,
    /// Half an ownership transfer: bytes acquired that no family released before.
    NotReleased,
    /// An acquire whose queue families or bytes are not those of the release.
    OwnershipMismatch,
    /// A kernel that reaches for bytes its pass did not declare.
    UndeclaredAccess,
    /// A kernel that returned an error or panicked.
    KernelFailed,
}

impl MkHazardKind {
    /// Where the rule stands in the Vulkan specification (or, for kernels, in this library).
    #[must_use]
    pub const fn rule(self) -> &'static str {
        use MkHazardKind as K;
        match self {
            K::ReadAfterWrite | K::WriteAfterWrite | K::WriteAfterRead => {
                "Vulkan specification 7.1, \"Execution and Memory Dependencies\": execution dependency"
            }
            K::OrderViolated => {
                "an explicit order is an execution and memory dependency between all that both declare (Vulkan \
                 specification 7.1, \"Execution and Memory Dependencies\")"
            }
            K::NotAvailable => {
                "Vulkan specification 7.1, \"Execution and Memory Dependencies\": availability operation, \
                 first access scope"
            }
            K::NotVisible => {
                "Vulkan specification 7.1, \"Execution and Memory Dependencies\": visibility operation, \
                 second access scope"
            }
            K::Uninitialized => {
                "Vulkan specification, \"Device Memory\": the contents of newly allocated memory are undefined"
            }
            K::OverlappingRegions => {
                "Vulkan specification, \"Copying Data Between Buffers\": VUID-vkCmdCopyBuffer-pRegions-00117, \
                 and regions of one command are copied in no order"
            }
            K::OutOfBounds => {
                "Vulkan specification, \"Copying Data Between Buffers\" and \"Filling Buffers\": offsets and sizes"
            }
            K::Misaligned => {
                "Vulkan specification, \"Filling Buffers\": VUID-vkCmdFillBuffer-dstOffset-00025, size-00028"
            }
            K::UseAfterFree => "Vulkan specification, \"Buffers\": VUID-vkDestroyBuffer-buffer-00922",
            K::HostReadWithoutDependency => {
                "Vulkan specification 7.1, \"Execution and Memory Dependencies\", and \"Fences\": signalling does not \
                 make writes visible to the host; a barrier to the HOST stage with HOST_READ does"
            }
            K::HostWriteInUse => {
                "Vulkan specification, \"Device Memory\", host access: the host must not write bytes in use by the \
                 device"
            }
            K::NotOwned | K::NotAcquired => {
                "Vulkan specification 7.7.4, \"Queue Family Ownership Transfer\": VUID-vkQueueSubmit-pSubmits-02808"
            }
            K::NotReleased | K::OwnershipMismatch => {
                "Vulkan specification 7.7.4, \"Queue Family Ownership Transfer\": \
                 VUID-vkQueueSubmit2-commandBuffer-03879"
            }
            K::UndeclaredAccess => "a pass may touch only what it declared",
            K::KernelFailed => "a kernel must return Ok",
        }
    }

    const fn title(self) -> &'static str {
        use MkHazardKind as K;
        match self {
            K::ReadAfterWrite => "read after write without a dependency",
            K::WriteAfterWrite => "write after write without a dependency",
            K::WriteAfterRead => "write after read without a dependency",
            K::OrderViolated => "explicit order without a dependency",
            K::NotAvailable => "earlier write not made available",
            K::NotVisible => "earlier write not visible",
            K::Uninitialized => "read of uninitialised bytes",
            K::OverlappingRegions => "overlapping regions in one command",
            K::OutOfBounds => "out of bounds",
            K::Misaligned => "misaligned",
            K::UseAfterFree => "use after free",
            K::HostReadWithoutDependency => "host read without a dependency",
            K::HostWriteInUse => "host write to bytes in use",
            K::NotOwned => "bytes owned by another queue family",
            K::NotAcquired => "ownership released and not acquired",
            K::NotReleased => "ownership acquired and not released",
            K::OwnershipMismatch => "halves of an ownership transfer differ",
            K::UndeclaredAccess => "undeclared access",
            K::KernelFailed => "kernel failed",
        }
    }

    const fn missing(self) -> Option<&'static str> {
        use MkHazardKind as K;
        Some(match self {
            K::ReadAfterWrite | K::WriteAfterWrite | K::OrderViolated => {
                "an execution and memory dependency between the two"
            }
            K::WriteAfterRead => "an execution dependency between the two",
            K::NotAvailable => "the first's access in the source of a barrier that includes its stage",
            K::NotVisible => "the second's stage and access in the destination of a barrier after the first",
            K::Uninitialized => "a write of the bytes before",
            K::HostReadWithoutDependency => "a barrier to HOST:HOST_READ before the end of the submission",
            K::HostWriteInUse | K::UseAfterFree => "a wait of the host for the work that uses the bytes",
            K::NotOwned => "a release by the family that owns the bytes, and an acquire by this one",
            K::NotAcquired => "an acquire of the same bytes, by this family, after the release",
            K::NotReleased => "a release of the same bytes, by the family acquired from, before the acquire",
            K::OwnershipMismatch => "the same families and the same bytes in both halves",
            _ => return None,
        })
    }
}

impl fmt::Display for MkHazardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What one side of a hazard is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MkHazardWork {
    /// A pass, by name.
    Pass(Arc<str>),
    /// A copy command.
    Copy {
        /// Name of the source buffer.
        from: Arc<str>,
        /// Name of the destination buffer.
        to: Arc<str>,
    },
    /// Uploads scattered by a compute shader.
    Scatter,
    /// A fill command.
    Fill {
        /// Name of the buffer.
        to: Arc<str>,
    },
    /// The release half of an ownership transfer.
    Release {
        /// Index of the queue family that gives the bytes up.
        from: u32,
        /// Index of the queue family that gets them.
        to: u32,
    },
    /// The acquire half of an ownership transfer.
    Acquire {
        /// Index of the queue family that gives the bytes up.
        from: u32,
        /// Index of the queue family that gets them.
        to: u32,
    },
    /// A submission as a whole.
    Submission,
    /// The host reads.
    HostRead,
    /// The host writes.
    HostWrite,
    /// The host destroys the buffer.
    Destroy,
}

/// One side of a hazard: what it is, what it does to the bytes, and in which submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MkHazardParty {
    /// What it is.
    pub work: MkHazardWork,
    /// Stages and accesses concerned; none for the host's side of a destruction.
    pub access: Access,
    /// Timeline value of the submission it is part of; for the host, of the newest submission before it.
    pub submission: u64,
}

impl fmt::Display for MkHazardParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.work {
            MkHazardWork::Pass(name) => write!(f, "pass `{name}`")?,
            MkHazardWork::Copy { from, to } => write!(f, "copy from `{from}` to `{to}`")?,
            MkHazardWork::Scatter => f.write_str("scatter of uploads")?,
            MkHazardWork::Fill { to } => write!(f, "fill of `{to}`")?,
            MkHazardWork::Release { from, to } => write!(f, "release from family {from} to {to}")?,
            MkHazardWork::Acquire { from, to } => write!(f, "acquire from family {from} by {to}")?,
            MkHazardWork::Submission => f.write_str("work")?,
            MkHazardWork::HostRead => f.write_str("the host's read")?,
            MkHazardWork::HostWrite => f.write_str("the host's write")?,
            MkHazardWork::Destroy => f.write_str("the host's destruction of the buffer")?,
        }
        match self.work {
            MkHazardWork::HostRead | MkHazardWork::HostWrite | MkHazardWork::Destroy => {
                write!(f, " after submission {}", self.submission)?;
            }
            _ => write!(f, " in submission {}", self.submission)?,
        }
        if self.access != Access::NONE {
            write!(f, ", {}", self.access)?;
        }
        Ok(())
    }
}

/// One mistake the simulated device saw. Its [`Display`](fmt::Display) is a few lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MkHazard {
    /// What is wrong.
    pub kind: MkHazardKind,
    /// Name of the buffer; empty where none is concerned.
    pub buffer: Arc<str>,
    /// The bytes concerned, half-open; empty where none are.
    pub range: Range<u64>,
    /// Who came first, where there are two parties.
    pub first: Option<MkHazardParty>,
    /// Who came later and is at fault.
    pub second: MkHazardParty,
    /// The barrier entry that would mend it, placed anywhere between the two.
    pub mend: Option<BarrierEntry>,
    /// More, where there is more to say: the error of a kernel, the other region of an overlap.
    pub detail: Option<Box<str>>,
}

impl fmt::Display for MkHazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.buffer.is_empty() || !self.range.is_empty() {
            write!(f, ": bytes {}..{} of `{}`", self.range.start, self.range.end, self.buffer)?;
        }
        if let Some(first) = &self.first {
            write!(f, "\n  first:   {first}\n  then:    {}", self.second)?;
        } else {
            write!(f, "\n  by:      {}", self.second)?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "\n  detail:  {detail}")?;
        }
        if let Some(missing) = self.kind.missing() {
            write!(f, "\n  missing: {missing}")?;
        }
        if let Some(mend) = &self.mend {
            write!(f, "\n  mend:    barrier {mend}")?;
        }
        write!(f, "\n  rule:    {}", self.kind.rule())
    }
}

/// The reports of one device: the first [`KEPT`], and how many there were.
#[derive(Debug, Default)]
pub(super) struct Reports {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    kept: Vec<MkHazard>,
    count: u64,
}

impl Reports {
    /// Keeps a report. One that continues the last one (same parties, adjacent bytes) extends it.
    pub(super) fn push(&self, hazard: MkHazard) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = list.kept.last_mut()
            && last.range.end == hazard.range.start
            && last.kind == hazard.kind
            && last.buffer == hazard.buffer
            && (&last.first, &last.second) == (&hazard.first, &hazard.second)
            && (last.mend, &last.detail) == (hazard.mend, &hazard.detail)
            && !hazard.range.is_empty()
        {
            last.range.end = hazard.range.end;
            return;
        }
        list.count += 1;
        if list.kept.len() < KEPT {
            list.kept.push(hazard);
        }
    }

    pub(super) fn all(&self) -> Vec<MkHazard> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    pub(super) fn count(&self) -> u64 {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    pub(super) fn take(&self) -> Vec<MkHazard> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.count = 0;
        std::mem::take(&mut list.kept)
    }
}
