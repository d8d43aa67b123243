//! Phase 1: looks up every resource once, and finds what is wrong with single declarations.

mod check;
mod uploads;

use super::label;
use crate::access::{Access, AccessFlags, BufferUsage, Stages};
use crate::error::GraphError;
use crate::frame::{Entry, FrameGraph, Mode, Node, NodeKind, Upload, Use};
use crate::pairs::{Facts, PairId, PairTable};
use crate::resource::{Resource, ResourceId, ResourceSlice, TransientId};
use crate::state::GraphState;
pub(crate) use check::mode_problem;
use check::{check_node, look_closer, missing};
use uploads::{Together, uploads};

/// A resource of this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) resource: Resource,
    /// Where the state between frames is kept; none for a transient with memory of its own.
    pub(crate) backing: Option<ResourceId>,
    /// What it may be used for; a transient's usage follows from its accesses.
    usage: BufferUsage,
    /// The node that named it last, counted from 1, uploads in a row left out.
    named: u32,
    /// Its bytes are undefined at the beginning of the frame, whatever the backing held.
    pub(crate) fresh: bool,
    pub(crate) host_visible: bool,
    /// Whether uploads to it can be scattered, and whether they are.
    pub(crate) scatter: bool,
    pub(crate) scattered: bool,
    /// The modes it is used in but for uploads in a row, one bit each, and [`TANGLED`].
    seen: u8,
}

/// Of [`Local::seen`]: something reads it before an upload, or an explicit order names one.
const TANGLED: u8 = 1 << 7;
const READS: u8 = 1 << Mode::Read as u8 | 1 << Mode::Modify as u8;
const WRITES: u8 = 1 << Mode::Write as u8 | 1 << Mode::Overwrite as u8 | 1 << Mode::Modify as u8;

impl Local {
    /// Whether something reads it.
    pub(crate) fn read(&self) -> bool {
        self.seen & READS != 0
    }

    /// Whether its uploads have to be walked one by one: something else writes it, something reads it before one of
    /// them, or an explicit order names one.
    pub(crate) fn entangled(&self) -> bool {
        self.seen & (WRITES | TANGLED) != 0
    }

    fn tangle(&mut self) {
        self.seen |= TANGLED;
    }
}

/// A use with numbers for names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedUse {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) local: u32,
    pub(crate) pair: PairId,
    pub(crate) mode: Mode,
    /// Whether it is all of the resource.
    pub(crate) whole: bool,
}

impl ResolvedUse {
    pub(crate) fn reads(&self) -> bool {
        matches!(self.mode, Mode::Read | Mode::Modify)
    }

    pub(crate) fn writes(&self) -> bool {
        self.mode != Mode::Read
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.local == other.local && self.start < other.end && other.start < self.end
    }
}

impl Resolved {
    /// The uses of a node.
    #[inline]
    pub(crate) fn uses_of(&self, entry: Entry<'_>) -> &[ResolvedUse] {
        match entry {
            Entry::Upload(number) => std::slice::from_ref(&self.uploads[number]),
            Entry::Node(node) => &self.uses[node.uses.0 as usize..node.uses.1 as usize],
        }
    }
}

/// The outcome, and the memory the look-ups need.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) locals: Vec<Local>,
    /// Position by position those of [`FrameGraph`].
    pub(crate) uses: Vec<ResolvedUse>,
    /// The uses of its uploads, likewise, once [settled](Self::settle_uploads).
    pub(crate) uploads: Vec<ResolvedUse>,
    /// The local resource of each of its batches of uploads.
    batch_locals: Vec<u32>,
    pub(crate) together: Together,
    /// Per slot of the state.
    slots: Vec<Slot>,
    /// Nothing can be left out: each node has side effects, or writes something that outlives the frame and that no
    /// node overwrites after another wrote it.
    pub(crate) all_needed: bool,
    stamp: u32,
    transients: Vec<u32>,
    /// The accesses of uploads: copied, and scattered, which is the same if none are.
    pub(crate) upload_pairs: [PairId; 2],
}

/// What is known of a slot of the state.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The frame that last used it.
    stamp: u32,
    /// What it was there, and its local number.
    version: u32,
    local: u32,
}

const NONE: u32 = u32::MAX;

/// Looks everything up. `backings` gives transients memory that earlier frames used, position by position.
pub(crate) fn run(
    graph: &FrameGraph,
    state: &mut GraphState,
    backings: &[Option<ResourceId>],
    out: &mut Resolved,
    errors: &mut Vec<GraphError>,
) {
    out.locals.clear();
    out.uses.clear();
    out.uses.reserve(graph.uses.len());
    out.uploads.clear();
    out.batch_locals.clear();
    out.together = Together::NONE;
    out.transients.clear();
    out.transients.resize(graph.transients.len(), NONE);
    out.all_needed = graph.prologue.is_none();
    out.stamp = out.stamp.wrapping_add(1);
    if out.stamp == 0 {
        out.slots.fill(Slot::default());
        out.stamp = 1;
    }
    for (name, t) in graph.transients() {
        if t.size == 0 {
            errors.push(GraphError::ZeroSize { resource: name.to_owned() });
        }
    }
    let copy_write = state.pairs.intern(Access::COPY_WRITE);
    out.upload_pairs = [copy_write; 2];
    let mut walk =
        Walk { graph, state, backings, out, errors, last: [Last::default(); 4], modes: 0, again: false };
    let mut number = 0;
    while number < graph.len() {
        let entry = graph.entry(number as u32);
        if let Entry::Upload(first) = entry {
            let mut rest = graph.rest_of_batch(first);
            while !rest.is_empty() {
                let mut fine = uploads(graph, walk.state, rest, copy_write, walk.out);
                if fine == 0 {
                    walk.odd_upload(&rest[0]);
                    fine = 1;
                }
                number += fine;
                rest = rest.get(fine..).unwrap_or(&[]);
            }
            continue;
        }
        let Entry::Node(node) = entry else { break };
        number += 1;
        walk.node(node, number as u32);
    }
    if graph.prologue.is_some() {
        // What the prologue declares comes last here and is meant first.
        out.locals.iter_mut().filter(|l| l.read()).for_each(Local::tangle);
    }
    for order in &graph.orders {
        let known = |p: crate::PassId| p.frame == graph.serial && p.index() < graph.len();
        if !known(order.first) || !known(order.then) {
            errors.push(GraphError::ForeignPass);
            continue;
        }
        for (order_of, access) in [(order.first, order.first_access), (order.then, order.then_access)] {
            let stages = state.pairs.missing(access.stages);
            if !stages.is_empty() {
                let pass = label::at(graph, state, order_of.index);
                errors.push(GraphError::StageNotOnDevice {
                    pass,
                    of: "for an explicit order".to_owned(),
                    stages,
                });
            }
            if let Entry::Upload(number) = graph.entry(order_of.index) {
                let local = out.local_of(&graph.uploads[number]);
                // What is in error has no local resource.
                if let Some(local) = out.locals.get_mut(local as usize) {
                    local.tangle();
                }
            }
        }
    }
}

/// The access that was looked up last for a mode: neighbours are often alike.
#[derive(Clone, Copy, Default)]
struct Last {
    access: Access,
    pair: PairId,
    /// See [`Facts::needs_for`].
    needs: u32,
}

impl Last {
    fn new(access: Access, mode: Mode, pairs: &mut PairTable) -> Self {
        let pair = pairs.intern(access);
        Last { access, pair, needs: pairs.facts(pair).needs_for(mode) }
    }

    /// Whether a resource may plainly be used so. `false` says only that it has to be looked at closely.
    #[inline]
    fn allowed(&self, local: &Local) -> bool {
        Facts::met(self.needs, local.usage)
    }
}

/// What looking up needs.
struct Walk<'a> {
    graph: &'a FrameGraph,
    state: &'a mut GraphState,
    backings: &'a [Option<ResourceId>],
    out: &'a mut Resolved,
    errors: &'a mut Vec<GraphError>,
    last: [Last; 4],
    /// Modes of the node's uses so far, a bit each.
    modes: u8,
    /// Whether the node names a resource twice.
    again: bool,
}

impl Walk<'_> {
    /// Looks up the uses of a node, which comes with its number counted from 1.
    #[inline(never)]
    fn node(&mut self, node: &Node, number: u32) {
        self.modes = 0;
        self.again = false;
        let first = self.out.uses.len();
        for u in node.uses_in(&self.graph.uses) {
            if node.queue.is_some() || self.plain(number, u).is_none() {
                let resolved = self.other((node, number), u);
                self.out.uses.push(resolved);
            }
        }
        self.out.all_needed &= node.side_effects || self.modes & WRITES != 0;
        // A pass can contradict itself about a resource that it names twice.
        let fine = node.kind == NodeKind::Pass && !self.again;
        if !fine && self.errors.is_empty() {
            check_node(self.graph, self.state, node, &self.out.uses[first..], &self.out.locals, self.errors);
        }
    }

    /// Looks up an upload that has to be looked at closely, or is to a transient.
    fn odd_upload(&mut self, upload: &Upload) {
        let Some(node) = self.graph.node(upload.node as usize) else { return };
        let to = self.graph.declared().upload_use(upload);
        let resolved = self.other((&node, upload.node + 1), &to);
        self.out.enter_batch(upload, resolved.local);
        self.out.together.ascend = false;
        if self.errors.is_empty() {
            check_node(self.graph, self.state, &node, &[resolved], &self.out.locals, self.errors);
        }
    }

    /// Looks up a use that is plainly right; of any other, nothing is entered.
    #[inline]
    fn plain(&mut self, number: u32, u: &Use) -> Option<()> {
        let Resource::Persistent(id) = u.slice.resource else { return None };
        let slot = self.out.slots.get(id.index as usize).filter(|s| s.stamp == self.out.stamp);
        let local = match slot {
            Some(slot) if slot.version == id.version => slot.local,
            _ => first_use(self.state, id, self.out)?,
        };
        let of = self.out.locals.get(local as usize)?;
        let (mode, last) = (u.mode, &self.last[u.mode as usize]);
        let (start, size) = (u.slice.start, of.size);
        let end = if u.slice.end == ResourceSlice::WHOLE { size } else { u.slice.end };
        if start >= end || end > size || u.access != last.access || !last.allowed(of) {
            return None;
        }
        let whole = end - start == size;
        self.out.uses.push(ResolvedUse { start, end, local, pair: last.pair, mode, whole });
        self.note(number, local, mode);
        Some(())
    }

    /// Keeps in mind what a use does to a resource.
    #[inline]
    fn note(&mut self, node: u32, local: u32, mode: Mode) {
        let local = &mut self.out.locals[local as usize];
        if mode != Mode::Read && (local.fresh || mode == Mode::Overwrite && local.seen & WRITES != 0) {
            self.out.all_needed = false;
        }
        local.seen |= 1 << mode as u8;
        self.modes |= 1 << mode as u8;
        if local.named == node {
            self.again = true;
        }
        local.named = node;
    }

    /// Looks up a use that is not plainly right, or whose access or resource was not looked up before.
    #[inline(never)]
    fn other(&mut self, (node, number): (&Node, u32), u: &Use) -> ResolvedUse {
        let mode = u.mode;
        let last = &mut self.last[mode as usize];
        if u.access != last.access {
            *last = Last::new(u.access, mode, &mut self.state.pairs);
        }
        let last = *last;
        let (start, mut end, pair) = (u.slice.start, u.slice.end, last.pair);
        let found = match u.slice.resource {
            Resource::Persistent(id) => persistent(self.state, id, self.out),
            Resource::Transient(id) => transient(self.graph, self.state, self.backings, id, self.out),
        };
        let Some(local) = found else {
            self.modes |= 1 << mode as u8;
            self.errors.push(missing(self.graph, node, u.slice.resource));
            return ResolvedUse { start, end, local: 0, pair, mode, whole: false };
        };
        self.note(number, local, mode);
        let of = &self.out.locals[local as usize];
        if end == ResourceSlice::WHOLE {
            end = of.size;
        }
        let whole = start == 0 && end == of.size;
        let resolved = ResolvedUse { start, end, local, pair, mode, whole };
        if !(start < end && end <= of.size && node.queue.is_none() && last.allowed(of)) {
            look_closer(self.graph, self.state, node, u, (&resolved, of), self.errors);
        }
        resolved
    }
}

/// The local number of a persistent resource.
#[inline]
fn persistent(state: &GraphState, id: ResourceId, out: &mut Resolved) -> Option<u32> {
    match out.slots.get(id.index as usize) {
        // Another version of the slot is stale, or was made stale since.
        Some(slot) if slot.stamp == out.stamp => (slot.version == id.version).then_some(slot.local),
        _ => first_use(state, id, out),
    }
}

/// A persistent resource that this frame names for the first time.
#[inline(never)]
fn first_use(state: &GraphState, id: ResourceId, out: &mut Resolved) -> Option<u32> {
    let index = id.index as usize;
    let desc = &state.get(id)?.desc;
    let local = push(
        out,
        Local {
            resource: id.into(),
            size: desc.size,
            usage: desc.usage,
            backing: Some(id),
            named: 0,
            fresh: false,
            host_visible: desc.host_visible,
            scatter: desc.scatter,
            scattered: false,
            seen: 0,
        },
    );
    if out.slots.len() <= index {
        out.slots.resize((index + 1).next_power_of_two(), Slot::default());
    }
    out.slots[index] = Slot { stamp: out.stamp, local, version: id.version };
    Some(local)
}

#[inline(never)]
fn transient(
    graph: &FrameGraph,
    state: &GraphState,
    backings: &[Option<ResourceId>],
    TransientId { index, frame }: TransientId,
    out: &mut Resolved,
) -> Option<u32> {
    if frame != graph.serial {
        return None;
    }
    let known = *out.transients.get(index as usize)?;
    if known != NONE {
        return Some(known);
    }
    let desc = graph.transients.get(index as usize)?;
    let backing = backings.get(index as usize).copied().flatten();
    let local = push(
        out,
        Local {
            resource: TransientId { index, frame }.into(),
            size: desc.size,
            usage: BufferUsage::all(),
            backing,
            named: 0,
            fresh: true,
            host_visible: false,
            scatter: backing.and_then(|id| state.buffer(id)).is_some_and(|desc| desc.scatter),
            scattered: false,
            // It may have no memory that earlier frames used, and is not looked at afterwards.
            seen: TANGLED,
        },
    );
    out.transients[index as usize] = local;
    Some(local)
}

fn push(out: &mut Resolved, local: Local) -> u32 {
    out.locals.push(local);
    (out.locals.len() - 1) as u32
}

/// Accesses of a pass that an explicit order names without declaring any: nothing narrower is known.
pub(crate) const ANYTHING: Access =
    Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE));
