//! What can be wrong with a declared frame.

use crate::access::{Access, BufferUsage, Queue, Stages};
use std::ops::Range;

/// What is wrong with a frame: names the pass and the resource, says what was expected and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A resource was removed, or belongs to another state.
    #[error(
        "pass `{pass}` uses a resource that no longer exists (slot {index}); declare the frame with live resources"
    )]
    StaleResource {
        /// The pass.
        pass: String,
        /// Slot of the resource.
        index: u32,
    },
    /// A transient of another frame.
    #[error(
        "pass `{pass}` uses a transient of another frame; transients live inside the frame that made them"
    )]
    ForeignTransient {
        /// The pass.
        pass: String,
    },
    /// A pass id of another frame.
    #[error("`order` names a pass of another frame; order passes of one frame only")]
    ForeignPass,
    /// A range that ends before it begins, or beyond the resource.
    #[error("pass `{pass}`: bytes {}..{} of `{resource}` are out of bounds, its size is {size} bytes", range.start, range.end)]
    OutOfBounds {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The range asked for.
        range: Range<u64>,
        /// Size of the resource in bytes.
        size: u64,
    },
    /// A range or a resource of no bytes.
    #[error(
        "pass `{pass}`: the range of `{resource}` at byte {offset} is empty; name at least one byte or leave the use out"
    )]
    EmptyRange {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// Where the range begins.
        offset: u64,
    },
    /// A transient of no bytes.
    #[error("transient `{resource}` has a size of zero bytes; give it at least one")]
    ZeroSize {
        /// The transient.
        resource: String,
    },
    /// Accesses that do not fit the way the use was declared.
    #[error("pass `{pass}` declares `{mode}` of `{resource}` with {access}: {remedy}")]
    ModeMismatch {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// `read`, `write`, `overwrite` or `modify`.
        mode: crate::frame::Mode,
        /// The declared access.
        access: Access,
        /// What to do.
        remedy: &'static str,
    },
    /// An access that cannot happen in the stages it was declared with.
    #[error(
        "pass `{pass}`: access {access} of `{resource}` cannot happen in its stages; name a stage that does it (Vulkan specification, table of supported access types)"
    )]
    ImpossibleAccess {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The declared access.
        access: Access,
    },
    /// More kinds of access than are told apart.
    #[error(
        "pass `{pass}`: access {access} of `{resource}` is one more than the {limit} different ones that are told apart; use fewer, and a new state"
    )]
    TooManyAccesses {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The declared access.
        access: Access,
        /// How many different ones there may be, as long as a state lives.
        limit: u32,
    },
    /// One pass promises to overwrite bytes it also reads.
    #[error("pass `{pass}` overwrites bytes {}..{} of `{resource}` and reads them too; use `modify`, or ranges that do not overlap", range.start, range.end)]
    Contradiction {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The bytes, half-open.
        range: Range<u64>,
    },
    /// A use the buffer was not made for.
    #[error(
        "pass `{pass}` needs usage {needed} of `{resource}`, which has {has}; add the flag where the buffer is made"
    )]
    MissingUsage {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// Any of these would do.
        needed: BufferUsage,
        /// What the buffer has.
        has: BufferUsage,
    },
    /// A stage the named kind of queue does not run.
    #[error(
        "pass `{pass}` asks for a {queue} queue, which does not run {stages} (use of `{resource}`); name another queue or leave it out"
    )]
    StageNotOnQueue {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The stages in question.
        stages: Stages,
        /// The queue asked for.
        queue: Queue,
    },
    /// A stage the device does not run.
    #[error(
        "pass `{pass}` names {stages} ({of}), which the device does not run; make the device with the feature for it, or name another stage"
    )]
    StageNotOnDevice {
        /// The pass.
        pass: String,
        /// What the stages are named for: a resource, or an explicit order.
        of: String,
        /// The stages in question.
        stages: Stages,
    },
    /// A read of bytes nobody wrote.
    #[error("pass `{pass}` reads bytes {}..{} of `{resource}`, which nobody wrote; upload, fill or overwrite them first", range.start, range.end)]
    Uninitialized {
        /// The pass.
        pass: String,
        /// The resource.
        resource: String,
        /// The bytes, half-open.
        range: Range<u64>,
    },
    /// A copy between ranges of different length.
    #[error(
        "copy of {from_size} bytes of `{from}` to {to_size} bytes of `{to}`: both ranges must have the same length"
    )]
    CopySize {
        /// Source.
        from: String,
        /// Bytes of the source range.
        from_size: u64,
        /// Destination.
        to: String,
        /// Bytes of the destination range.
        to_size: u64,
    },
    /// An upload from staging bytes whose end is no number of 64 bits.
    #[error(
        "upload of {size} bytes to `{resource}` from byte {offset} of its staging buffer: they end beyond any buffer; correct the offset"
    )]
    StagingRange {
        /// Destination.
        resource: String,
        /// First byte in the staging buffer.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// A copy whose source and destination share bytes.
    #[error("copy within `{resource}`: source {}..{} and destination {}..{} overlap; copy by way of another buffer", from.start, from.end, to.start, to.end)]
    CopyOverlap {
        /// The buffer.
        resource: String,
        /// Source bytes, half-open.
        from: Range<u64>,
        /// Destination bytes, half-open.
        to: Range<u64>,
    },
    /// A fill that is not made of whole four-byte words.
    #[error("fill of bytes {}..{} of `{resource}`: start and end must be multiples of 4", range.start, range.end)]
    FillAlignment {
        /// The buffer.
        resource: String,
        /// The bytes, half-open.
        range: Range<u64>,
    },
    /// Explicit orders that contradict each other or the order of declaration.
    #[error("the passes {} wait for each other; take away one `order`", passes.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" -> "))]
    Cycle {
        /// The passes of the cycle, each before the next.
        passes: Vec<String>,
    },
    /// A dump that cannot be read.
    #[error("cannot read the dump: {reason}")]
    CorruptDump {
        /// What is wrong with it.
        reason: String,
    },
    /// A dump of a newer format.
    #[error("the dump has format version {found}, this library reads up to {supported}; update memkit-graph")]
    NewerDump {
        /// Version of the dump.
        found: u32,
        /// Newest version understood.
        supported: u32,
    },
}

/// A frame could not be planned: the first error, and the others found with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The first error in declaration order.
    pub first: GraphError,
    /// Further ones.
    pub others: Vec<GraphError>,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.first)?;
        for other in &self.others {
            write!(f, "\n  also: {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}
