//! Where a plan comes from.

/// Whether a plan was made for the frame or used again, as [`Schedule::origin`](crate::Schedule::origin) says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum PlanOrigin {
    /// Made for this frame by a planner that keeps none.
    #[default]
    Uncached,
    /// Used again: an earlier frame had the same structure and began in the same state.
    Reused,
    /// Made for this frame, because of this.
    Anew(PlanChange),
}

impl PlanOrigin {
    /// Whether the structure of a frame that no slot has may be remembered.
    pub(super) fn is_remembered(self) -> bool {
        matches!(self, PlanOrigin::Anew(change) if !matches!(change, PlanChange::TooLarge | PlanChange::Uploads))
    }
}

/// Why no plan that is kept would do. Nodes are positions in the frame, resources positions in
/// [`Schedule::resources`](crate::Schedule::resources).
///
/// Where the structure differs from all that are remembered, a difference is named to the frame that came after the last
/// one the last time, if it has as many nodes, or else to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum PlanChange {
    /// It is the first frame of the planner.
    FirstFrame,
    /// Its structure was seen before, but no plan for it was kept: it was seen once only; or that plan met a kind of access
    /// for the first time; or it cannot be compared, with a buffer of 2^62 bytes or more than 128 kinds of access.
    NotKept,
    /// It has more than 262,144 uses: such structures are not remembered.
    TooLarge,
    /// It is nothing but uploads, most of them to the buffer of the one before: planning these costs little more than
    /// comparing them, and less than comparing and planning, where they go elsewhere each time.
    Uploads,
    /// Nodes were added.
    Added {
        /// The first that differs.
        node: u32,
    },
    /// Nodes are missing.
    Removed {
        /// The first that differs. It may be one past the last.
        node: u32,
    },
    /// A node does something else, asks for another queue, or has other uses than before.
    Node {
        /// Which.
        node: u32,
    },
    /// A node uses another resource or range, or uses it otherwise.
    Use {
        /// The node.
        node: u32,
        /// Which of its uses.
        number: u32,
    },
    /// The size of a transient differs, or there are more or fewer.
    Transient {
        /// The first that differs, in the order of declaration. It may be one past the last.
        index: u32,
    },
    /// A transient has other memory.
    Backing {
        /// Which, in the order of declaration.
        index: u32,
    },
    /// Explicit orders differ, or where the prologue begins.
    Order,
    /// Causes are asked for and were not, or the other way round, or another rule says how uploads travel.
    Options,
    /// The staging memory of an upload moved otherwise than that of others from its staging buffer.
    Staging {
        /// The upload.
        node: u32,
    },
    /// Another [`GraphState`](crate::GraphState).
    State,
    /// Kinds of access became known.
    Accesses,
    /// Earlier frames left something else in a resource.
    Resource {
        /// Which.
        resource: u32,
    },
    /// Barriers of earlier frames cover something else.
    Coverage,
}
