//! What a frame declares: passes, uploads, copies, fills, readbacks, transient buffers and explicit order.
//!
//! A [`FrameGraph`] is plain data. Declaring never fails; the [`Planner`](crate::Planner) finds what is wrong.

mod declared;
#[cfg(feature = "json")]
mod saved;
mod uploads;

use crate::access::{Access, BufferUsage, Queue};
use crate::resource::{HostSlice, Resource, ResourceSlice, TransientId};
pub(crate) use declared::Declared;
pub(crate) use uploads::{Batch, Entry, Run, Upload};
use uploads::{OpenBatch, Place};

/// How a pass uses a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// Sees the last write declared before it.
    Read,
    /// May write any byte and keeps the rest: earlier writers stay needed.
    Write,
    /// Promises to write every byte: earlier content is dead.
    Overwrite,
    /// Reads and writes in place.
    Modify,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Read => "read",
            Mode::Write => "write",
            Mode::Overwrite => "overwrite",
            Mode::Modify => "modify",
        })
    }
}

/// One declared use: what, how, and in which stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Use {
    /// Resource and byte range.
    pub slice: ResourceSlice,
    /// Stages and accesses.
    pub access: Access,
    /// What it promises about the bytes.
    pub mode: Mode,
}

/// One node of the frame: a pass, or a transfer the frame was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub(crate) name: (u32, u32),
    /// Where its uses are; of an upload, the position among these.
    pub(crate) uses: (u32, u32),
    /// What the node does.
    pub kind: NodeKind,
    /// The kind of queue asked for, if any.
    pub queue: Option<Queue>,
    /// Kept even if nothing in the frame needs it.
    pub side_effects: bool,
}

impl Node {
    /// Its uses, if it is no upload, among those of its frame.
    #[inline]
    pub(crate) fn uses_in<'a>(&self, uses: &'a [Use]) -> &'a [Use] {
        uses.get(self.uses.0 as usize..self.uses.1 as usize).unwrap_or(&[])
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum NodeKind {
    /// A pass: recorded by the caller.
    Pass,
    /// Copies host bytes to the range of its only use.
    Upload {
        /// Where the bytes are.
        from: HostSlice,
    },
    /// Copies the range of its first use to that of its second.
    Copy,
    /// Fills the range of its only use.
    Fill {
        /// The four bytes to repeat.
        value: u32,
    },
    /// Copies the range of its first use to that of its second, in memory the host reads afterwards.
    Readback,
}

/// A pass, or another node, of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct PassId {
    pub(crate) index: u32,
    pub(crate) frame: u32,
}

impl PassId {
    /// Position among the frame's nodes, in declaration order.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// An explicit order between two passes, with accesses beyond those the passes declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Order {
    /// Runs first.
    pub first: PassId,
    /// Runs later.
    pub then: PassId,
    /// Accesses of `first` beyond its declared ones.
    pub first_access: Access,
    /// Accesses of `then` beyond its declared ones.
    pub then_access: Access,
}

/// A buffer that lives inside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransientDesc {
    pub(crate) name: (u32, u32),
    /// Bytes.
    pub size: u64,
}

/// One frame, as declared.
///
/// With feature `json` it can be saved and loaded by serde. A loaded frame is a frame of its own: ids of passes and
/// transients of the saved one are not ids of it. Ids of persistent resources stay what they were, and mean something only
/// to a [`GraphState`](crate::GraphState) that gave out the same.
///
/// ```
/// use memkit_graph::*;
/// let mut state = GraphState::new();
/// let positions = state.add_buffer(BufferDesc::new("positions", 4096, BufferUsage::STORAGE));
/// let results = state.add_buffer(BufferDesc {
///     host_visible: true,
///     ..BufferDesc::new("results", 64, BufferUsage::TRANSFER_DST)
/// });
/// let mut frame = FrameGraph::new();
/// let sums = frame.transient("sums", 64);
/// frame.pass("simulate").overwrite(positions, Access::COMPUTE_STORAGE_WRITE).finish();
/// frame.pass("sum")
///     .read(positions.slice(0..1024), Access::COMPUTE_STORAGE_READ)
///     .overwrite(sums, Access::COMPUTE_STORAGE_WRITE)
///     .finish();
/// frame.readback(sums, results);
///
/// let mut planner = Planner::new();
/// let schedule = planner.plan(&frame, &mut state)?;
/// assert_eq!(schedule.depth(), 3); // simulate, sum, the readback's copy, the host
/// planner.commit(&mut state);
/// # Ok::<(), PlanError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameGraph {
    /// Distinguishes this frame's ids from those of others.
    pub(crate) serial: u32,
    pub(crate) names: String,
    /// The nodes that are no uploads, and their uses.
    nodes: Vec<Node>,
    pub(crate) uses: Vec<Use>,
    pub(crate) uploads: Vec<Upload>,
    /// What uploads in a row have in common.
    batches: Vec<Batch>,
    /// Where uploads are among the nodes.
    runs: Vec<Run>,
    /// What the last batch is of, if the last node is one of it.
    open: OpenBatch,
    pub(crate) transients: Vec<TransientDesc>,
    pub(crate) orders: Vec<Order>,
    /// What the host writes directly, see [`FrameGraph::host_write`].
    pub(crate) host_writes: Vec<ResourceSlice>,
    /// Nodes from here on were added by [`FrameGraph::prologue`] and mean: before all others.
    pub(crate) prologue: Option<u32>,
}

impl FrameGraph {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Self {
        let mut frame = FrameGraph::default();
        frame.reset();
        frame
    }

    /// Empties the frame and keeps its memory. Ids given out before are no longer valid.
    pub fn reset(&mut self) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        self.serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        self.names.clear();
        self.nodes.clear();
        self.uses.clear();
        self.uploads.clear();
        self.batches.clear();
        self.runs.clear();
        self.open = OpenBatch::NONE;
        self.transients.clear();
        self.orders.clear();
        self.host_writes.clear();
        self.prologue = None;
    }

    /// Begins a pass. It is declared by [`PassBuilder::finish`]; a builder that is dropped declares nothing.
    #[inline]
    pub fn pass(&mut self, name: &str) -> PassBuilder<'_> {
        self.forget_undeclared();
        let uses = index(self.uses.len());
        let name = self.intern(name);
        PassBuilder { frame: self, uses, name, queue: None, side_effects: false }
    }

    /// A buffer of `size` bytes that lives inside this frame. What it is used for follows from the passes.
    pub fn transient(&mut self, name: &str, size: u64) -> TransientId {
        let name = self.intern(name);
        self.transients.push(TransientDesc { name, size });
        TransientId { index: index(self.transients.len() - 1), frame: self.serial }
    }

    /// Declares a copy between two ranges of equal length.
    pub fn copy(&mut self, from: impl Into<ResourceSlice>, to: impl Into<ResourceSlice>) -> PassId {
        self.transfer_pair(NodeKind::Copy, from.into(), to.into())
    }

    /// Declares a fill with a repeated `u32`. Start and length must be multiples of 4 (`vkCmdFillBuffer`).
    pub fn fill(&mut self, to: impl Into<ResourceSlice>, value: u32) -> PassId {
        self.transfer(NodeKind::Fill { value }, &[(to.into(), Access::FILL_WRITE, Mode::Overwrite)])
    }

    /// Declares a copy of `from` to `to`, which should be host-visible, to be read by the host once the frame is done.
    pub fn readback(&mut self, from: impl Into<ResourceSlice>, to: impl Into<ResourceSlice>) -> PassId {
        self.transfer_pair(NodeKind::Readback, from.into(), to.into())
    }

    /// Orders two passes: everything `first` did is done and visible before `then` begins, between the stages and
    /// accesses both declare. It keeps neither alive.
    pub fn order(&mut self, first: PassId, then: PassId) {
        self.order_with(first, Access::NONE, then, Access::NONE);
    }

    /// Like [`order`](Self::order), with accesses beyond those the passes declare.
    pub fn order_with(&mut self, first: PassId, first_access: Access, then: PassId, then_access: Access) {
        self.orders.push(Order { first, then, first_access, then_access });
    }

    /// Everything declared after this call comes before everything declared so far. To be called once; later calls
    /// do nothing.
    pub fn prologue(&mut self) {
        self.prologue.get_or_insert(index(self.len()));
    }

    /// Takes back the nodes from `nodes` on, and what they declared. Names and transients stay.
    pub fn truncate(&mut self, nodes: usize) {
        if nodes >= self.len() {
            return;
        }
        let (uploads, others) = match self.place(index(nodes)) {
            Place::Upload(upload) => (upload, nodes - upload),
            Place::Node(other) => (nodes - other, other),
        };
        if let Some(first) = self.nodes.get(others) {
            self.uses.truncate(first.uses.0 as usize);
        }
        self.nodes.truncate(others);
        self.truncate_uploads(uploads);
    }

    /// Notes that the host wrote bytes of a mapped buffer itself, before the frame is submitted: for dumps. It is no node,
    /// is not saved with the frame, and needs no dependency: submitting makes host writes visible (Vulkan specification 7.9, "Host Write Ordering
    /// Guarantees").
    pub fn host_write(&mut self, slice: ResourceSlice) {
        match self.host_writes.last_mut() {
            Some(last) if last.resource == slice.resource && last.end == slice.start => last.end = slice.end,
            _ => self.host_writes.push(slice),
        }
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() + self.uploads.len()
    }

    /// Number of declared passes: nodes that are no transfers.
    #[must_use]
    pub fn pass_count(&self) -> usize {
        self.nodes.iter().filter(|node| node.kind == NodeKind::Pass).count()
    }

    /// Number of declared uploads.
    #[must_use]
    pub fn upload_count(&self) -> usize {
        self.uploads.len()
    }

    /// What each transient is used for by the passes, in declaration order of the transients, written to `usages`.
    pub fn transient_usages(&self, usages: &mut Vec<BufferUsage>) {
        usages.clear();
        usages.resize(self.transients.len(), BufferUsage::empty());
        if usages.is_empty() {
            return;
        }
        for u in self.declared_uses() {
            if let Resource::Transient(id) = u.slice.resource
                && let Some(usage) = usages.get_mut(id.index as usize)
            {
                *usage |= u.access.needed_usage();
            }
        }
    }

    /// The uses of all nodes, those of uploads last.
    pub(crate) fn declared_uses(&self) -> impl Iterator<Item = Use> {
        let declared = self.declared();
        let uploads = declared.uploads.iter().map(move |upload| declared.upload_use(upload));
        declared.uses.iter().copied().chain(uploads)
    }

    /// All nodes.
    pub(crate) fn declared(&self) -> Declared<'_> {
        let uses = self.uses.get(..self.declared_len()).unwrap_or(&self.uses);
        Declared {
            runs: &self.runs,
            nodes: &self.nodes,
            uses,
            uploads: &self.uploads,
            batches: &self.batches,
        }
    }

    /// Bytes of a transient of this frame.
    #[must_use]
    pub fn transient_size(&self, id: TransientId) -> Option<u64> {
        let transient = self.transients.get(id.index() as usize).filter(|_| id.frame == self.serial)?;
        Some(transient.size)
    }

    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node at `index`, if there is one.
    #[must_use]
    pub fn node(&self, index: usize) -> Option<Node> {
        let number = match self.place(u32::try_from(index).ok()?) {
            Place::Upload(number) => number,
            Place::Node(at) => return self.nodes.get(at).copied(),
        };
        let kind = NodeKind::Upload { from: self.upload_from(self.uploads.get(number)?) };
        let number = number as u32;
        Some(Node { name: (0, 0), uses: (number, number), kind, queue: None, side_effects: false })
    }

    /// The declared uses of a node of this frame, in order.
    pub fn uses<'a>(&'a self, node: &Node) -> impl DoubleEndedIterator<Item = Use> + Clone + use<'a> {
        let entry = match node.kind {
            NodeKind::Upload { .. } => Entry::Upload(node.uses.0 as usize),
            _ => Entry::Node(node),
        };
        self.declared().uses_of(entry)
    }

    /// The name of a node of this frame; transfers have an empty one.
    #[must_use]
    pub fn name(&self, node: &Node) -> &str {
        self.str(node.name)
    }

    /// The explicit orders, in the order in which they were asked for.
    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The id of the node at `index`.
    #[must_use]
    pub fn pass_id(&self, index: usize) -> Option<PassId> {
        let index = u32::try_from(index).ok().filter(|&i| (i as usize) < self.len())?;
        Some(PassId { index, frame: self.serial })
    }

    /// The transient buffers, in declaration order, each with its name.
    pub fn transients(&self) -> impl Iterator<Item = (&str, &TransientDesc)> {
        self.transients.iter().map(|t| (self.str(t.name), t))
    }

    /// Node indices in the order in which they are meant: what was declared after
    /// [`prologue`](Self::prologue) comes first.
    pub fn declaration_order(&self) -> impl DoubleEndedIterator<Item = u32> + Clone + use<> {
        let n = index(self.len());
        let first = self.prologue.unwrap_or(n).min(n);
        (first..n).chain(0..first)
    }

    pub(crate) fn str(&self, (start, end): (u32, u32)) -> &str {
        self.names.get(start as usize..end as usize).unwrap_or("")
    }

    #[inline]
    fn intern(&mut self, name: &str) -> (u32, u32) {
        let start = index(self.names.len());
        self.names.push_str(name);
        (start, index(self.names.len()))
    }

    #[inline]
    fn transfer(&mut self, kind: NodeKind, uses: &[(ResourceSlice, Access, Mode)]) -> PassId {
        self.forget_undeclared();
        let start = index(self.uses.len());
        self.uses.extend(uses.iter().map(|&(slice, access, mode)| Use { slice, access, mode }));
        self.push(Node {
            name: (0, 0),
            uses: (start, index(self.uses.len())),
            kind,
            queue: None,
            side_effects: false,
        })
    }

    #[inline]
    fn transfer_pair(&mut self, kind: NodeKind, from: ResourceSlice, to: ResourceSlice) -> PassId {
        let uses = [(from, Access::COPY_READ, Mode::Read), (to, Access::COPY_WRITE, Mode::Overwrite)];
        self.transfer(kind, &uses)
    }

    /// Uses of nodes, which stand one after the other. Behind them are those of a builder that was not finished.
    #[inline]
    fn declared_len(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.uses.1 as usize)
    }

    /// Drops the uses of a builder that was not finished.
    #[inline]
    fn forget_undeclared(&mut self) {
        let declared = self.declared_len();
        if declared < self.uses.len() {
            self.uses.truncate(declared);
        }
    }

    #[inline]
    fn push(&mut self, node: Node) -> PassId {
        let id = PassId { index: index(self.len()), frame: self.serial };
        self.open = OpenBatch::NONE;
        self.nodes.push(node);
        id
    }
}

/// Positions are kept in 32 bits; a frame that outgrew them would need over 100 GiB.
#[inline]
fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Declares one pass; ends with [`finish`](Self::finish).
#[must_use = "a pass is declared by `finish`"]
#[derive(Debug)]
pub struct PassBuilder<'a> {
    // It cleans up nothing when it is dropped, or it could not be kept in registers.
    frame: &'a mut FrameGraph,
    uses: u32,
    name: (u32, u32),
    queue: Option<Queue>,
    side_effects: bool,
}

impl PassBuilder<'_> {
    /// Asks for a kind of queue. The pass's stages must be among those it runs.
    #[inline]
    pub fn on(mut self, queue: Queue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Keeps the pass even if nothing in the frame needs what it writes.
    #[inline]
    pub fn side_effects(mut self) -> Self {
        self.side_effects = true;
        self
    }

    /// The pass sees the last write declared before it.
    #[inline]
    pub fn read(self, slice: impl Into<ResourceSlice>, access: Access) -> Self {
        self.access(slice.into(), access, Mode::Read)
    }

    /// The pass may write any byte of the range and keeps the rest.
    #[inline]
    pub fn write(self, slice: impl Into<ResourceSlice>, access: Access) -> Self {
        self.access(slice.into(), access, Mode::Write)
    }

    /// The pass writes every byte of the range; earlier content is dead.
    #[inline]
    pub fn overwrite(self, slice: impl Into<ResourceSlice>, access: Access) -> Self {
        self.access(slice.into(), access, Mode::Overwrite)
    }

    /// The pass reads and writes the range in place.
    #[inline]
    pub fn modify(self, slice: impl Into<ResourceSlice>, access: Access) -> Self {
        self.access(slice.into(), access, Mode::Modify)
    }

    /// Declares a use in any mode; [`read`](Self::read) and the others say it shorter.
    #[inline]
    pub fn access(self, slice: ResourceSlice, access: Access, mode: Mode) -> Self {
        self.frame.uses.push(Use { slice, access, mode });
        self
    }

    /// Declares the pass.
    #[inline]
    pub fn finish(self) -> PassId {
        let PassBuilder { frame, uses, name, queue, side_effects } = self;
        let uses = (uses, index(frame.uses.len()));
        frame.push(Node { name, uses, kind: NodeKind::Pass, queue, side_effects })
    }
}
