//! What planning returns: command lists with their barriers, and why each is there.
//!
//! Plain data. A backend runs [`Schedule::queues`] command by command; everything else is there to be looked at.

use crate::access::{Access, AccessFlags, Stages};
use crate::planner::PlanOrigin;
use crate::resource::Resource;
use crate::uploads::UploadChoice;
use std::ops::Range;

/// A planned frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Schedule {
    /// The resources the frame names; commands refer to them by position ([`BufferRef::Local`]).
    pub resources: Vec<Resource>,
    /// One command list a queue, in queue order. With one queue everything is in the first.
    pub queues: Vec<CommandList>,
    /// Barrier calls; [`Command::Barrier`] names one by position.
    pub barriers: Vec<BarrierCall>,
    /// Entries of all barrier calls.
    pub entries: Vec<BarrierEntry>,
    /// Halves of queue family ownership transfers, by barrier call. The planner makes none: buffers that several
    /// families use are shared, and it plans for one queue.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub transfers: Vec<OwnershipTransfer>,
    /// Regions of all copy commands and scatters.
    pub regions: Vec<CopyRegion>,
    /// What scatters move, by pair of buffers.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub scatters: Vec<ScatterPart>,
    /// How uploads travel, and why.
    #[cfg_attr(feature = "json", serde(default))]
    pub uploads: UploadChoice,
    /// Whether it was made for this frame, and why.
    #[cfg_attr(feature = "json", serde(default))]
    pub origin: PlanOrigin,
    /// Kept nodes, in the order in which they run.
    pub order: Vec<Placed>,
    /// Nodes left out, in declaration order, with the reason.
    pub culled: Vec<Culled>,
    /// Parts of uploads that were left out because later bytes win.
    pub trimmed: Vec<Trimmed>,
    /// Host-visible bytes that the host may read once the frame is done.
    pub host_reads: Vec<HostRead>,
    /// Why each barrier entry is there; empty unless asked for. Ordered by entry.
    pub causes: Vec<Cause>,
}

impl Schedule {
    /// Edges of the longest hazard chain on the first queue, earlier frames and the host counted as nodes: the number of its
    /// barrier calls.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.barriers.len()
    }

    /// The entries of a barrier call.
    #[must_use]
    pub fn entries_of(&self, call: &BarrierCall) -> &[BarrierEntry] {
        self.entries.get(range(&call.entries)).unwrap_or(&[])
    }

    /// The halves of ownership transfers that are part of the barrier call at this position.
    #[must_use]
    pub fn transfers_of(&self, call: u32) -> &[OwnershipTransfer] {
        let start = self.transfers.partition_point(|t| t.call < call);
        let end = self.transfers.partition_point(|t| t.call <= call);
        self.transfers.get(start..end).unwrap_or(&[])
    }

    /// The regions of a copy command.
    #[must_use]
    pub fn regions_of(&self, regions: &Range<u32>) -> &[CopyRegion] {
        self.regions.get(range(regions)).unwrap_or(&[])
    }

    /// The parts of a scatter.
    #[must_use]
    pub fn scatters_of(&self, parts: &Range<u32>) -> &[ScatterPart] {
        self.scatters.get(range(parts)).unwrap_or(&[])
    }

    /// The regions of a scatter, each with its buffers.
    pub fn scattered_by(&self, parts: &Range<u32>) -> impl Iterator<Item = ScatterRegion> + '_ {
        self.scatters_of(parts).iter().flat_map(|part| {
            let regions = self.regions_of(&part.regions).iter();
            regions.map(|&region| ScatterRegion { from: part.from, to: part.to, region })
        })
    }

    /// Regions of all copies.
    #[must_use]
    pub fn copy_region_count(&self) -> usize {
        self.regions.len().saturating_sub(self.scatter_region_count())
    }

    /// Regions of all scatters.
    #[must_use]
    pub fn scatter_region_count(&self) -> usize {
        self.scatters.iter().map(|part| part.regions.len()).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.resources.clear();
        for q in &mut self.queues {
            q.commands.clear();
        }
        self.barriers.clear();
        self.entries.clear();
        self.transfers.clear();
        self.regions.clear();
        self.scatters.clear();
        self.uploads = UploadChoice::default();
        self.origin = PlanOrigin::default();
        self.order.clear();
        self.culled.clear();
        self.trimmed.clear();
        self.host_reads.clear();
        self.causes.clear();
    }
}

pub(crate) fn range(r: &Range<u32>) -> Range<usize> {
    r.start as usize..r.end as usize
}

/// What one queue does, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct CommandList {
    /// The commands.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// One `vkCmdPipelineBarrier2`: the call at this position of [`Schedule::barriers`].
    Barrier(u32),
    /// Runs what the caller recorded for the node at this position of the frame.
    Pass(u32),
    /// One `vkCmdCopyBuffer2`, or `vkCmdCopyBuffer` before Vulkan 1.3.
    Copy {
        /// Source buffer.
        from: BufferRef,
        /// Destination buffer.
        to: BufferRef,
        /// Positions in [`Schedule::regions`]; disjoint at the destination, in no particular order.
        regions: Range<u32>,
    },
    /// Uploads spread by a compute shader, in one dispatch or a few with nothing between them: each invocation reads host
    /// bytes and writes them to their place, `COMPUTE_SHADER` with `SHADER_STORAGE_READ` and `SHADER_STORAGE_WRITE`.
    Scatter {
        /// Positions in [`Schedule::scatters`]; disjoint at their destinations.
        parts: Range<u32>,
    },
    /// One `vkCmdFillBuffer`.
    Fill {
        /// Buffer to fill.
        to: BufferRef,
        /// First byte, a multiple of 4.
        offset: u64,
        /// Bytes, a multiple of 4.
        size: u64,
        /// The four bytes to repeat.
        value: u32,
    },
}

/// A buffer a command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum BufferRef {
    /// Position in [`Schedule::resources`].
    Local(u32),
    /// A staging buffer, by the number the frame gave in a [`HostSlice`](crate::HostSlice).
    Host(u32),
}

/// One region of a copy, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct CopyRegion {
    /// First byte in the source.
    pub src: u64,
    /// First byte in the destination.
    pub dst: u64,
    /// Bytes.
    pub size: u64,
    /// The first node this region came from.
    pub node: u32,
    /// How many declared uploads, copies or readbacks became this region.
    pub merged: u32,
}

impl CopyRegion {
    /// Takes in another of the same buffers, if that continues it on both sides. Whether it does.
    #[inline]
    pub(crate) fn take(&mut self, next: &CopyRegion) -> bool {
        let continues = self.dst + self.size == next.dst && self.src + self.size == next.src;
        if continues {
            self.size += next.size;
            self.merged += next.merged;
            self.node = self.node.min(next.node);
        }
        continues
    }
}

/// What a scatter moves from one buffer to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct ScatterPart {
    /// Source buffer.
    pub from: BufferRef,
    /// Destination buffer.
    pub to: BufferRef,
    /// Positions in [`Schedule::regions`]; disjoint at the destination, in no particular order.
    pub regions: Range<u32>,
}

/// One region of a scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScatterRegion {
    /// Source buffer.
    pub from: BufferRef,
    /// Destination buffer.
    pub to: BufferRef,
    /// The bytes.
    pub region: CopyRegion,
}

/// One pipeline barrier call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct BarrierCall {
    /// The level that begins after this call.
    pub level: u32,
    /// Positions in [`Schedule::entries`].
    pub entries: Range<u32>,
}

/// One global memory barrier of a call, in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct BarrierEntry {
    /// First synchronization scope.
    pub src_stages: Stages,
    /// First access scope; empty for an execution dependency, or where the write is already available.
    pub src_access: AccessFlags,
    /// Second synchronization scope.
    pub dst_stages: Stages,
    /// Second access scope; empty for an execution dependency.
    pub dst_access: AccessFlags,
}

/// One half of a queue family ownership transfer (Vulkan specification 7.7.4, "Queue Family Ownership Transfer"): a
/// release if the queue that runs it is of the family `from`, an acquire if it is of the family `to`. A transfer is
/// whole when both ran, the release first, with the same families and the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct OwnershipTransfer {
    /// The barrier call it is part of, a position in [`Schedule::barriers`]. [`Schedule::transfers`] ascends by it.
    pub call: u32,
    /// Whose bytes.
    pub buffer: BufferRef,
    /// The bytes, half-open.
    pub range: Range<u64>,
    /// Index of the queue family that gives them up, as Vulkan counts families.
    pub from: u32,
    /// Index of the queue family that gets them.
    pub to: u32,
    /// The memory dependency of this half, for these bytes: a release has no second scope, an acquire no first one.
    pub dependency: BarrierEntry,
}

impl std::fmt::Display for BarrierEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} -> {}:{}", self.src_stages, self.src_access, self.dst_stages, self.dst_access)
    }
}

/// A kept node and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Placed {
    /// Position of the node in the frame.
    pub node: u32,
    /// Longest hazard chain above it.
    pub level: u32,
}

/// A node that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Culled {
    /// Position of the node in the frame.
    pub node: u32,
    /// Why.
    pub reason: CullReason,
}

/// Why a node was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum CullReason {
    /// It writes nothing and does not say that it has side effects.
    NoOutput,
    /// No kept node reads what it writes.
    Unread {
        /// The first resource it writes, a position in [`Schedule::resources`].
        resource: u32,
    },
    /// Only nodes that were left out themselves read what it writes.
    OnlyCulledReaders {
        /// One of them, a position in the frame.
        reader: u32,
    },
    /// Every byte it writes is overwritten before anything reads it.
    Overwritten {
        /// The first node that overwrites some of them, a position in the frame.
        by: u32,
    },
}

/// A part of an upload that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Trimmed {
    /// The upload, a position in the frame.
    pub node: u32,
    /// The bytes of the destination that are not uploaded, half-open.
    pub range: Range<u64>,
}

/// Bytes of a host-visible resource that the frame wrote and the host may read once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct HostRead {
    /// Position in [`Schedule::resources`].
    pub resource: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Kinds of hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum HazardKind {
    /// A read of bytes written before.
    ReadAfterWrite,
    /// A write over bytes written before.
    WriteAfterWrite,
    /// A write over bytes read before: an execution dependency is enough.
    WriteAfterRead,
    /// An order the caller asked for.
    Order,
}

impl std::fmt::Display for HazardKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HazardKind::ReadAfterWrite => "read after write",
            HazardKind::WriteAfterWrite => "write after write",
            HazardKind::WriteAfterRead => "write after read",
            HazardKind::Order => "explicit order",
        })
    }
}

/// Who is at one end of a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum Party {
    /// A node of this frame.
    Node(u32),
    /// Something submitted before this frame.
    EarlierFrame,
    /// The host, after the frame.
    Host,
}

/// Why a barrier entry is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Cause {
    /// Position in [`Schedule::entries`].
    pub entry: u32,
    /// The hazard.
    pub kind: HazardKind,
    /// Position in [`Schedule::resources`]; none for an explicit order.
    pub resource: Option<u32>,
    /// Bytes concerned, half-open; empty for an explicit order.
    pub range: Range<u64>,
    /// Who comes first.
    pub producer: Party,
    /// What it did.
    pub producer_access: Access,
    /// Who comes later.
    pub consumer: Party,
    /// What it does.
    pub consumer_access: Access,
    /// Whether ranges of an earlier frame had been merged, so that this may name bytes nobody touched.
    pub coarsened: bool,
}
