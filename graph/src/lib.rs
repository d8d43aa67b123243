//! Plans a GPU frame. Passes declare what they read and write; the planner orders them, leaves out what nobody
//! needs, batches transfers and places the fewest pipeline barriers that keep the declared meaning.
//!
//! No device is needed: a [`FrameGraph`] is plain data, and so is the [`Schedule`] that comes out.
//! What earlier frames left behind is kept in a [`GraphState`].
//!
//! `memkit-gpu` builds on this package to own memory and run schedules; it can also be used alone, by an engine
//! that records its own commands.
#![forbid(unsafe_code)]

mod access;
mod coverage;
pub mod dump;
mod error;
mod frame;
mod pairs;
mod planner;
mod resource;
mod schedule;
mod state;
pub mod uploads;

pub use access::{Access, AccessFlags, BufferUsage, Queue, Stages};
pub use dump::FrameDump;
pub use error::{GraphError, PlanError};
pub use frame::{FrameGraph, Mode, Node, NodeKind, Order, PassBuilder, PassId, TransientDesc, Use};
pub use planner::{PlanChange, PlanOptions, PlanOrigin, Planner};
pub use resource::{BufferDesc, HostSlice, Resource, ResourceId, ResourceSlice, TransientId};
pub use schedule::{
    BarrierCall, BarrierEntry, BufferRef, Cause, Command, CommandList, CopyRegion, CullReason, Culled,
    HazardKind, HostRead, OwnershipTransfer, Party, Placed, ScatterPart, ScatterRegion, Schedule, Trimmed,
};
pub use state::GraphState;
pub use uploads::{UploadChoice, UploadCosts, UploadRule};
