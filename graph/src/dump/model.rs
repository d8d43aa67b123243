//! What a dump contains, as plain data.

use crate::access::{Access, AccessFlags, BufferUsage, Queue, Stages};
use crate::frame::Mode;
use crate::planner::PlanOrigin;
use crate::schedule::{BufferRef, CullReason, HazardKind, Party};
use crate::uploads::UploadChoice;
use std::ops::Range;

/// One frame: what was declared, what became of it, and why.
///
/// Nodes and resources are referred to by their position in [`nodes`](Self::nodes) and
/// [`resources`](Self::resources). All fields are public and nothing keeps them consistent; every output copes with
/// positions that lead nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct FrameDump {
    /// Name of the frame.
    pub name: String,
    /// Why the frame could not be planned. If set, only what was declared is here.
    pub problem: Option<String>,
    /// Whether the causes of barriers were collected. If not, no cause is here although there may be barriers.
    pub causes_collected: bool,
    /// Counts.
    pub totals: Totals,
    /// How uploads travel, and why.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub uploads: UploadChoice,
    /// Whether the plan was made for this frame, and why.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub origin: PlanOrigin,
    /// Resources: those the schedule names, in its order, then the rest by first use.
    pub resources: Vec<ResourceDump>,
    /// Nodes, in the order in which they were added to the frame.
    pub nodes: Vec<NodeDump>,
    /// Orders asked for explicitly.
    pub explicit_orders: Vec<ExplicitOrder>,
    /// Kept nodes in the order in which they run.
    pub run_order: Vec<u32>,
    /// What each queue does, level by level.
    pub queues: Vec<QueueDump>,
    /// Nodes left out, and why.
    pub culled: Vec<CulledDump>,
    /// Parts of uploads left out because nobody sees their bytes.
    pub trimmed: Vec<TrimmedDump>,
    /// Host-visible bytes that the host may read once the frame is done.
    pub host_reads: Vec<HostReadDump>,
    /// Bytes that the host wrote itself, before the frame was submitted.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub host_writes: Vec<HostWriteDump>,
}

/// Counts of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Totals {
    /// Declared passes; transfers are not counted.
    pub passes: u32,
    /// Nodes of any kind that were left out.
    pub culled: u32,
    /// Declared uploads.
    pub uploads: u32,
    /// Declared copies between buffers.
    pub copies: u32,
    /// Declared fills.
    pub fills: u32,
    /// Declared readbacks.
    pub readbacks: u32,
    /// Copy commands.
    pub copy_commands: u32,
    /// Regions of all copy commands.
    pub regions: u32,
    /// Bytes all copy commands move.
    pub copied_bytes: u64,
    /// Scatters of uploads, a dispatch each.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub scatters: u32,
    /// Regions of all scatters.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub scatter_regions: u32,
    /// Bytes all scatters move.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub scattered_bytes: u64,
    /// Pipeline barrier calls.
    pub barrier_calls: u32,
    /// Entries of all barrier calls.
    pub barrier_entries: u32,
    /// Edges of the longest hazard chain.
    pub depth: u32,
}

/// Whether a field says nothing: dumps of frames in which nothing could be scattered leave it out.
#[cfg(feature = "json")]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ResourceDump {
    /// Its name, made unique within the frame: the second `a` is `a (2)`.
    pub name: String,
    /// How long it lives.
    pub kind: ResourceKind,
    /// Bytes; unknown for a persistent resource that no longer exists.
    pub size: Option<u64>,
    /// What it may be used for; of a transient resource, what its declared accesses ask for.
    pub usage: BufferUsage,
}

/// How long a resource lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ResourceKind {
    /// From frame to frame.
    Persistent,
    /// Inside the frame.
    Transient,
}

/// One declared node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct NodeDump {
    /// Its name, made unique within the frame. Transfers are named after what they do.
    pub name: String,
    /// What it does.
    pub kind: NodeKindDump,
    /// Whether it counts as declared before all nodes that are not so marked.
    pub prologue: bool,
    /// The kind of queue asked for.
    pub queue: Option<Queue>,
    /// Whether it is kept even if nothing needs it.
    pub side_effects: bool,
    /// The level it was put in; none if it was culled or the frame was not planned.
    pub level: Option<u32>,
    /// What it uses.
    pub uses: Vec<UseDump>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum NodeKindDump {
    /// Runs what the caller recorded.
    Pass,
    /// Copies host bytes to a resource.
    Upload {
        /// Number of the staging buffer.
        staging: u32,
        /// First byte in it.
        offset: u64,
    },
    /// Copies bytes between resources.
    Copy,
    /// Fills a range.
    Fill {
        /// The four bytes it repeats.
        value: u32,
    },
    /// Copies bytes to a resource that the host reads afterwards.
    Readback,
}

/// One declared use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct UseDump {
    /// Position in [`FrameDump::resources`].
    pub resource: u32,
    /// Bytes, half-open.
    pub range: Range<u64>,
    /// What it promises about the bytes.
    pub mode: Mode,
    /// Pipeline stages.
    pub stages: Stages,
    /// Kinds of access.
    pub access: AccessFlags,
}

/// An order asked for explicitly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ExplicitOrder {
    /// The node that runs first; none if it is not of this frame.
    pub first: Option<u32>,
    /// The node that runs later; none if it is not of this frame.
    pub then: Option<u32>,
}

/// What one queue does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct QueueDump {
    /// Levels in the order in which they run. The last one may hold nothing but a barrier, for the host.
    pub levels: Vec<LevelDump>,
}

/// One level of a queue: a barrier call, then commands that need no barrier among themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct LevelDump {
    /// The level.
    pub level: u32,
    /// The barrier call before it.
    pub barrier: Option<BarrierDump>,
    /// What runs.
    pub commands: Vec<CommandDump>,
}

/// One pipeline barrier call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BarrierDump {
    /// Its global memory barriers.
    pub entries: Vec<EntryDump>,
}

/// One global memory barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct EntryDump {
    /// First synchronization scope.
    pub src_stages: Stages,
    /// First access scope.
    pub src_access: AccessFlags,
    /// Second synchronization scope.
    pub dst_stages: Stages,
    /// Second access scope.
    pub dst_access: AccessFlags,
    /// The hazards it is there for.
    pub causes: Vec<CauseDump>,
}

/// One hazard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct CauseDump {
    /// What kind of hazard.
    pub kind: HazardKind,
    /// Position in [`FrameDump::resources`]; none for an explicit order.
    pub resource: Option<u32>,
    /// Bytes concerned, half-open.
    pub range: Range<u64>,
    /// Who comes first.
    pub producer: PartyDump,
    /// Who comes later.
    pub consumer: PartyDump,
    /// Whether neighbouring ranges of an earlier frame had been merged, so that the hazard may be none.
    pub coarsened: bool,
}

/// One end of a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct PartyDump {
    /// Who: a node by its position in [`FrameDump::nodes`], earlier frames, or the host.
    pub who: Party,
    /// In which stages.
    pub stages: Stages,
    /// What it does.
    pub access: AccessFlags,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum CommandDump {
    /// Runs what the caller recorded for a node.
    Pass {
        /// Position in [`FrameDump::nodes`].
        node: u32,
    },
    /// One copy command.
    Copy {
        /// Source; `Local` is a position in [`FrameDump::resources`].
        from: BufferRef,
        /// Destination, likewise.
        to: BufferRef,
        /// Its regions.
        regions: Vec<RegionDump>,
    },
    /// One dispatch that scatters uploads.
    Scatter {
        /// Its regions.
        regions: Vec<ScatterRegionDump>,
    },
    /// One fill command.
    Fill {
        /// Destination; `Local` is a position in [`FrameDump::resources`].
        to: BufferRef,
        /// Bytes, half-open.
        range: Range<u64>,
        /// The four bytes it repeats.
        value: u32,
        /// The declared fills it stands for.
        nodes: Vec<u32>,
    },
}

/// One region of a copy command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct RegionDump {
    /// First byte in the source.
    pub src: u64,
    /// First byte in the destination.
    pub dst: u64,
    /// Bytes.
    pub size: u64,
    /// How many declared transfers the planner says became this region.
    pub merged: u32,
    /// Those transfers, by destination.
    pub nodes: Vec<u32>,
}

/// One region of a scatter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ScatterRegionDump {
    /// Source; `Local` is a position in [`FrameDump::resources`].
    pub from: BufferRef,
    /// Destination, likewise.
    pub to: BufferRef,
    /// The bytes, and the uploads they came from.
    pub region: RegionDump,
}

/// A node that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct CulledDump {
    /// Position in [`FrameDump::nodes`].
    pub node: u32,
    /// Why; positions are those of [`FrameDump::nodes`] and [`FrameDump::resources`].
    pub reason: CullReason,
    /// The reason in words, with names.
    pub because: String,
}

/// A part of an upload that was left out because nobody sees its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct TrimmedDump {
    /// The upload, a position in [`FrameDump::nodes`].
    pub node: u32,
    /// Bytes of the destination that are not uploaded, half-open.
    pub range: Range<u64>,
    /// The later nodes that overwrite them. If there are none, nothing kept reads these bytes.
    pub by: Vec<u32>,
}

/// Host-visible bytes that the frame wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct HostReadDump {
    /// Position in [`FrameDump::resources`].
    pub resource: u32,
    /// Bytes, half-open.
    pub range: Range<u64>,
    /// The nodes that write them.
    pub nodes: Vec<u32>,
}

/// Bytes that the host wrote directly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct HostWriteDump {
    /// Position in [`FrameDump::resources`].
    pub resource: u32,
    /// Bytes, half-open.
    pub range: Range<u64>,
}

impl FrameDump {
    /// The node with this name, a position in [`nodes`](Self::nodes).
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.nodes.iter().position(|n| n.name == name).and_then(|i| u32::try_from(i).ok())
    }

    /// All hazards that made a barrier entry, in the order of the barriers.
    pub fn causes(&self) -> impl Iterator<Item = &CauseDump> {
        self.queues
            .iter()
            .flat_map(|q| &q.levels)
            .filter_map(|l| l.barrier.as_ref())
            .flat_map(|b| &b.entries)
            .flat_map(|e| &e.causes)
    }

    pub(super) fn node_name(&self, node: u32) -> String {
        match self.nodes.get(node as usize) {
            Some(n) => n.name.clone(),
            None => format!("<unknown node {node}>"),
        }
    }

    pub(super) fn resource_name(&self, resource: u32) -> String {
        match self.resources.get(resource as usize) {
            Some(r) => r.name.clone(),
            None => format!("<unknown resource {resource}>"),
        }
    }

    pub(super) fn buffer_name(&self, buffer: BufferRef) -> String {
        match buffer {
            BufferRef::Local(r) => self.resource_name(r),
            BufferRef::Host(h) => format!("staging {h}"),
        }
    }

    /// A reason in words.
    pub(super) fn because(&self, reason: CullReason) -> String {
        match reason {
            CullReason::NoOutput => "it writes nothing and declares no side effects".to_owned(),
            CullReason::Unread { resource } => {
                let kind = match self.resources.get(resource as usize).map(|r| r.kind) {
                    Some(ResourceKind::Transient) => "transient ",
                    _ => "",
                };
                format!("nothing kept reads {kind}`{}`, which it writes", self.resource_name(resource))
            }
            CullReason::OnlyCulledReaders { reader } => {
                format!("only culled nodes read what it writes, `{}` among them", self.node_name(reader))
            }
            CullReason::Overwritten { by } => {
                format!(
                    "what it writes is overwritten before anything reads it, first by `{}`",
                    self.node_name(by)
                )
            }
        }
    }
}

impl EntryDump {
    /// The first scope.
    #[must_use]
    pub const fn source(&self) -> Access {
        Access::new(self.src_stages, self.src_access)
    }

    /// The second scope.
    #[must_use]
    pub const fn destination(&self) -> Access {
        Access::new(self.dst_stages, self.dst_access)
    }
}

impl NodeKindDump {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            NodeKindDump::Pass => "pass",
            NodeKindDump::Upload { .. } => "upload",
            NodeKindDump::Copy => "copy",
            NodeKindDump::Fill { .. } => "fill",
            NodeKindDump::Readback => "readback",
        }
    }
}
