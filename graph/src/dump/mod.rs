//! One frame for people and tools: text, DOT, Mermaid, JSON.
//!
//! A [`FrameDump`] is plain data made from a declared frame and its schedule. The same frame gives the same text, so
//! that dumps can be compared: nodes and resources appear by name, made unique within the frame, and nothing that
//! differs from run to run is printed.
//!
//! ```
//! use memkit_graph::{Access, FrameDump, FrameGraph, GraphState, Planner, PlanOptions};
//! let mut state = GraphState::new();
//! let mut frame = FrameGraph::new();
//! let sums = frame.transient("sums", 64);
//! frame.pass("sum").overwrite(sums, Access::COMPUTE_STORAGE_WRITE).finish();
//!
//! let mut planner = Planner::new();
//! let schedule = planner.plan(&frame, &mut state)?;
//! let dump = FrameDump::new("demo", &frame, schedule, &state);
//! println!("{}", dump.to_text());
//! # Ok::<(), memkit_graph::PlanError>(())
//! ```

mod boxes;
mod build;
mod dot;
mod explain;
mod hazards;
#[cfg(feature = "json")]
mod json;
mod mermaid;
mod model;
mod names;
mod origin;
mod text;
mod transfers;
mod write;

pub use explain::Step;
pub use model::{
    BarrierDump, CauseDump, CommandDump, CulledDump, EntryDump, ExplicitOrder, FrameDump, HostReadDump,
    HostWriteDump, LevelDump, NodeDump, NodeKindDump, PartyDump, QueueDump, RegionDump, ResourceDump,
    ResourceKind, ScatterRegionDump, Totals, TrimmedDump, UseDump,
};

/// Version of the dump format that this library writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
