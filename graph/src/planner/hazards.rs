//! Phase 5: finds every hazard among the kept nodes, and against earlier frames.
//!
//! Per resource a map of byte ranges says who wrote last and who read since. It has one entry while a resource is
//! used as a whole, and splits where a use begins or ends. The readers of a range are a linked list in one shared
//! arena: a split shares the tail, and a write drops the list.

mod covered;
pub(crate) mod grouped;
mod hazard;
mod uses;
mod whole;

use super::Positions;
use super::cull::{Kept, Part};
use super::groups::Groups;
use super::resolve::{ANYTHING, Local, Resolved, ResolvedUse};
use super::sequence::Sequence;
use crate::access::Access;
use crate::coverage::Coverage;
use crate::error::GraphError;
use crate::frame::{FrameGraph, Mode, Order};
use crate::pairs::{PairId, PairTable};
use crate::schedule::HazardKind;
use crate::state::GraphState;
use covered::Covered;
pub(crate) use hazard::{Hazard, Relation, Source};
use smallvec::SmallVec;
use std::ops::Range;
use whole::{Used, Whole};

pub(crate) const NONE: u32 = u32::MAX;

/// What a cause says beyond its hazard.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) local: Option<u32>,
    pub(crate) range: Range<u64>,
    pub(crate) coarsened: bool,
}

/// A byte range of one resource, from `start` to where the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    pub(crate) start: u64,
    /// Position of the last writer in this frame.
    pub(crate) write: u32,
    /// Head of the list of reads since.
    pub(crate) reads: u32,
    /// The state earlier frames left, by its number in the resource's ranges, until the first write.
    prior: u32,
    pub(crate) pair: PairId,
}

/// A read since the last write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadCell {
    pub(crate) node: u32,
    pub(crate) next: u32,
    pub(crate) pair: PairId,
}

/// The outcome. Positions are those of the declaration order.
#[derive(Debug, Default)]
pub(crate) struct Hazards {
    /// What barriers have to see to. Of a node's hazards of one kind between the same two accesses only that with the
    /// source at the latest level is here, if the levels are known: what serves it serves the others.
    pub(crate) list: Vec<Hazard>,
    /// Per position: where its hazards begin in `list`; one more at the end.
    pub(crate) begin: Vec<u32>,
    /// Every hazard, if causes are asked for, with what there is to say about it.
    pub(crate) details: Vec<(Hazard, Detail)>,
    /// As `begin`, for `details`.
    pub(crate) details_begin: Vec<u32>,
    /// Per position: the longest chain of hazards above it. Wrong, and not used, if an explicit order goes against the
    /// order of declaration.
    pub(crate) level: Vec<u32>,
    /// Whether every hazard goes with the order of declaration, so that this is a topological order already.
    pub(crate) forward: bool,
    /// Whether nothing that is kept is a transfer.
    pub(crate) only_passes: bool,
    /// Hazards of the host against what the frame leaves in host-visible memory.
    pub(crate) host: Vec<Hazard>,
    pub(crate) host_details: Vec<Detail>,
    /// Per local resource: what was done to all of it.
    wholes: Vec<Whole>,
    /// Per local resource, as far as any was used in parts: its ranges, if it was.
    tracks: Vec<Sequence<Track>>,
    pub(crate) reads: Vec<ReadCell>,
    /// What grouped uploads owe.
    pub(crate) grouped: grouped::Owed,
    orders: Vec<(u32, Order)>,
    covered: Covered,
    /// Where the hazards of the node that is walked begin in `list`.
    first: usize,
    /// Whether the source of one of them may be moved, and where the others are then: it may have thousands that may.
    moving: bool,
    staying: Vec<u32>,
    /// The longest chain of hazards above the node that is walked, as far as known.
    above: u32,
    near: Near,
}

/// The hazard that the node that is walked got last, as far as others are compared with it.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    /// Between two times the access that is nothing, if there is none.
    relation: Relation,
    /// Of its source.
    level: u32,
}

/// What the walk looks at beside the map.
struct Walk<'a> {
    graph: &'a FrameGraph,
    state: &'a GraphState,
    cover: &'a Coverage,
    positions: Positions,
    locals: &'a [Local],
    causes: bool,
    /// Whether every hazard goes with the order of declaration.
    forward: bool,
    /// The accesses of uploads: copied and scattered.
    uploads: [PairId; 2],
    pairs: &'a mut PairTable,
    errors: &'a mut Vec<GraphError>,
}

/// Walks the frame forwards.
#[expect(clippy::too_many_arguments, reason = "the inputs of one phase")]
pub(crate) fn run(
    graph: &FrameGraph,
    state: &mut GraphState,
    cover: &Coverage,
    positions: Positions,
    (resolved, groups, kept): (&Resolved, &Groups, &Kept),
    causes: bool,
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    // Grouped uploads that are alone need no places of their own.
    let nodes = if groups.alone { 0 } else { positions.len() };
    begin(resolved, nodes as usize, out);
    out.only_passes = groups.uploads.is_empty();
    out.forward = collect_orders(graph, positions, kept, &mut out.orders);
    let mut pairs = std::mem::replace(&mut state.pairs, PairTable::vacant());
    let uploads = resolved.upload_pairs;
    let locals = resolved.locals.as_slice();
    out.covered.begin(&pairs);
    let forward = out.forward;
    let pairs_of = &mut pairs;
    let mut walk =
        Walk { graph, state, cover, positions, locals, causes, forward, uploads, pairs: pairs_of, errors };
    grouped::enter(&walk, (resolved, groups), out);
    let mut parts = kept.parts.as_slice();
    for &(begin, end) in &groups.walked {
        out.skip_to(begin, causes);
        walk_to(&mut walk, begin..end, (resolved, kept, &mut parts), out);
    }
    out.skip_to(nodes, causes);
    out.begin_node(causes);
    out.join_tracks();
    host(walk.pairs, locals, out);
    state.pairs = pairs;
}

/// Enters the nodes at some positions that are kept; `parts` begins with those of the first that is kept in part only.
#[inline(never)]
fn walk_to(
    walk: &mut Walk<'_>,
    positions: Range<u32>,
    (resolved, kept, parts): (&Resolved, &Kept, &mut &[Part]),
    out: &mut Hazards,
) {
    let graph = walk.graph;
    // Few frames have any of these.
    let plain = parts.is_empty() && out.orders.is_empty();
    for position in positions {
        out.begin_node(walk.causes);
        if kept.keep.get(position as usize) == Some(&true) {
            let entry = graph.entry(walk.positions.node(position));
            let uses = resolved.uses_of(entry);
            out.only_passes &= entry.is_pass();
            if plain || !order_or_cut(walk, position, uses, (resolved, parts), out) {
                enter(walk, position, uses, out);
            }
        }
        if let Some(level) = out.level.get_mut(position as usize) {
            *level = out.above;
        }
    }
}

/// Enters the explicit orders that end at a node, and its uses, if it is kept in part only. Returns whether it is.
#[inline(never)]
fn order_or_cut(
    walk: &mut Walk<'_>,
    position: u32,
    uses: &[ResolvedUse],
    (resolved, parts): (&Resolved, &mut &[Part]),
    out: &mut Hazards,
) -> bool {
    while let Some((_, order)) = out.orders.pop_if(|o| o.0 <= position) {
        explicit(walk, order, resolved, out);
    }
    let skipped = parts.iter().take_while(|p| p.position < position).count();
    let (own, rest) = parts[skipped..].split_at(parts[skipped..].partition_point(|p| p.position == position));
    *parts = rest;
    for (part, u) in own.iter().filter_map(|part| Some((part, uses.first()?))) {
        let u = ResolvedUse { start: part.start, end: part.end, whole: false, ..*u };
        uses::write(walk, position, &u, out);
    }
    !own.is_empty()
}

/// Enters the uses of one node: what it reads, then what it writes.
#[inline(never)]
fn enter(walk: &mut Walk<'_>, position: u32, uses: &[ResolvedUse], out: &mut Hazards) {
    let mut writes = 0;
    let mut last = uses.first();
    for u in uses {
        if u.mode != Mode::Read {
            writes += 1;
            last = Some(u);
        } else if !whole::read(walk, position, u, out) {
            uses::read(walk, position, u, out);
        }
    }
    if writes > 1 {
        uses::write_several(walk, position, uses, out);
    } else if let Some(u) = last.filter(|_| writes == 1)
        && !whole::write(walk, position, u, out)
    {
        uses::write(walk, position, u, out);
    }
}

fn begin(resolved: &Resolved, nodes: usize, out: &mut Hazards) {
    out.list.clear();
    out.details.clear();
    out.begin.clear();
    out.details_begin.clear();
    out.level.clear();
    out.level.resize(nodes, 0);
    out.above = 0;
    out.host.clear();
    out.host_details.clear();
    out.reads.clear();
    // Most nodes write once and read the rest.
    out.reads.reserve(resolved.uses.len().saturating_sub(nodes));
    out.orders.clear();
    out.wholes.clear();
    out.wholes.resize(resolved.locals.len(), Whole::UNTOUCHED);
}

/// Sorts the orders between kept nodes by the position of the later one, the last first. Returns whether all go with the order of
/// declaration.
fn collect_orders(
    graph: &FrameGraph,
    positions: Positions,
    kept: &Kept,
    out: &mut Vec<(u32, Order)>,
) -> bool {
    let mut forward = true;
    for order in &graph.orders {
        let (first, then) = (positions.of(order.first.index), positions.of(order.then.index));
        if kept.keep[first as usize] && kept.keep[then as usize] {
            out.push((then, *order));
            forward &= first < then;
        }
    }
    // The last of them is taken first.
    out.reverse();
    out.sort_by_key(|o| std::cmp::Reverse(o.0));
    forward
}

/// Enters the hazards of one explicit order: between all that both passes declare.
fn explicit(walk: &mut Walk<'_>, order: Order, resolved: &Resolved, out: &mut Hazards) {
    let src = Source::Node(walk.positions.of(order.first.index));
    let mut accesses = |node: u32, extra: Access| -> SmallVec<[PairId; 4]> {
        let uses = resolved.uses_of(walk.graph.entry(node));
        let mut found: SmallVec<[PairId; 4]> = uses.iter().map(|u| u.pair).collect();
        if extra != Access::NONE {
            found.push(walk.pairs.intern(extra));
        }
        if found.is_empty() {
            found.push(walk.pairs.intern(ANYTHING));
        }
        found.sort_unstable();
        found.dedup();
        found
    };
    let firsts = accesses(order.first.index, order.first_access);
    let thens = accesses(order.then.index, order.then_access);
    for &src_pair in &firsts {
        for &dst_pair in &thens {
            let hazard = Hazard::new(src, src_pair, dst_pair, HazardKind::Order);
            out.push(walk, hazard, || Detail { local: None, range: 0..0, coarsened: false });
        }
    }
}

impl Hazards {
    #[inline]
    fn begin_node(&mut self, causes: bool) {
        self.first = self.list.len();
        self.begin.push(self.first as u32);
        if causes {
            self.details_begin.push(self.details.len() as u32);
        }
        self.near = Near::default();
        self.above = 0;
        self.moving = false;
    }

    /// Grouped uploads up to a position have no hazards of their own.
    fn skip_to(&mut self, position: u32, causes: bool) {
        self.begin.resize(position as usize, self.list.len() as u32);
        if causes {
            self.details_begin.resize(position as usize, self.details.len() as u32);
        }
    }

    /// The list of reads with another at its head, if it is not there already.
    #[inline]
    fn note_read(&mut self, head: u32, node: u32, pair: PairId) -> u32 {
        if self.reads.get(head as usize).is_some_and(|c| c.node == node && c.pair == pair) {
            return head;
        }
        self.reads.push(ReadCell { node, next: head, pair });
        (self.reads.len() - 1) as u32
    }

    /// Enters a hazard of the node that is walked.
    #[inline]
    fn push(&mut self, walk: &Walk<'_>, hazard: Hazard, detail: impl FnOnce() -> Detail) {
        if walk.causes {
            self.details.push((hazard, detail()));
        }
        let moves = self.may_move(walk, &hazard);
        if self.forward && !moves {
            self.settle(hazard, self.level_of(hazard));
            return;
        }
        self.above = self.above.max(self.level_of(hazard) + 1);
        let hazard = if moves { hazard.moving() } else { hazard };
        // Only neighbours are compared: a pass may read a thousand uploads.
        if self.own().last() != Some(&hazard) {
            if !std::mem::replace(&mut self.moving, true) {
                self.staying.clear();
                self.staying.extend(self.first as u32..self.list.len() as u32);
            }
            self.list.push(hazard);
        }
    }

    /// Enters a hazard whose source stays at this level: of those with one relation, that with the latest source stands
    /// for all.
    #[inline]
    fn settle(&mut self, hazard: Hazard, level: u32) {
        self.above = self.above.max(level + 1);
        if self.moving {
            return self.settle_among(hazard, level);
        }
        for known in self.list.iter_mut().skip(self.first) {
            if known.relation() == hazard.relation() {
                if known.is_before(hazard, level_of(&self.level, *known), level) {
                    *known = hazard;
                }
                return;
            }
        }
        self.list.push(hazard);
    }

    /// The same among hazards of which some may move.
    #[inline(never)]
    fn settle_among(&mut self, hazard: Hazard, level: u32) {
        for &at in &self.staying {
            let Some(known) = self.list.get_mut(at as usize) else { continue };
            if known.relation() == hazard.relation() {
                if known.is_before(hazard, level_of(&self.level, *known), level) {
                    *known = hazard;
                }
                return;
            }
        }
        self.staying.push(self.list.len() as u32);
        self.list.push(hazard);
    }

    /// The hazards of the node that is walked.
    fn own(&self) -> &[Hazard] {
        self.list.get(self.first..).unwrap_or(&[])
    }

    /// The level of a hazard's source in this frame.
    #[inline]
    fn level_of(&self, hazard: Hazard) -> u32 {
        level_of(&self.level, hazard)
    }

    /// What the frame did to the ranges of a resource.
    pub(crate) fn tracks(&self, local: u32) -> Tracks<'_> {
        let whole = self.wholes[local as usize];
        match whole.used {
            Used::Not => Tracks::One(None),
            Used::Whole => Tracks::One(Some(whole.track())),
            Used::InParts => Tracks::Many(self.tracks[local as usize].joined()),
        }
    }

    /// The ranges of a resource, from now on used in parts; none yet if it was not used before.
    fn in_parts(&mut self, local: u32) -> &mut Sequence<Track> {
        let (whole, at) = (&mut self.wholes[local as usize], local as usize);
        if self.tracks.len() <= at {
            // Few frames use any resource in parts.
            self.tracks.resize_with(at + 1, Sequence::default);
        }
        let tracks = &mut self.tracks[at];
        if whole.used != Used::InParts {
            tracks.clear();
            if whole.used == Used::Whole {
                tracks.push(whole.track());
            }
            whole.used = Used::InParts;
        }
        tracks
    }

    /// Makes the ranges of each resource ready to be looked at.
    fn join_tracks(&mut self) {
        let parts = self.tracks.iter_mut().zip(&self.wholes).filter(|(_, whole)| whole.used == Used::InParts);
        parts.for_each(|(tracks, _)| tracks.join());
    }

    /// Whether the level of the source is not settled: uploads may be moved to one they can share with others.
    #[inline]
    fn may_move(&self, walk: &Walk<'_>, hazard: &Hazard) -> bool {
        match hazard.src() {
            Source::Node(position)
                if walk.uploads.contains(&hazard.src_pair()) || hazard.kind() == HazardKind::Order =>
            {
                walk.graph.entry(walk.positions.node(position)).is_upload()
            }
            _ => false,
        }
    }
}

/// The level of a hazard's source in this frame: 0 for earlier ones.
#[inline]
fn level_of(levels: &[u32], hazard: Hazard) -> u32 {
    match hazard.src() {
        Source::Node(position) => levels.get(position as usize).copied().unwrap_or(0),
        Source::Earlier(_) => 0,
    }
}

/// What the frame did to the ranges of one resource.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tracks<'a> {
    One(Option<Track>),
    Many(&'a [Track]),
}

impl Tracks<'_> {
    pub(crate) fn as_slice(&self) -> &[Track] {
        match self {
            Tracks::One(track) => track.as_slice(),
            Tracks::Many(tracks) => tracks,
        }
    }
}

/// What the frame leaves in host-visible memory is a hazard for the host.
fn host(pairs: &mut PairTable, locals: &[Local], out: &mut Hazards) {
    for (index, local) in locals.iter().enumerate().filter(|(_, l)| l.host_visible) {
        let dst_pair = pairs.intern(Access::HOST_READ);
        // Lent, because hazards are entered meanwhile.
        let parts = out.tracks.get_mut(index).map(std::mem::take).unwrap_or_default();
        let whole = out.wholes[index];
        let tracks = match whole.used {
            Used::Not => &[],
            Used::Whole => &[whole.track()] as &[Track],
            Used::InParts => parts.joined(),
        };
        for (i, track) in tracks.iter().enumerate().filter(|(_, t)| t.write != NONE) {
            let kind = HazardKind::ReadAfterWrite;
            let hazard = Hazard::within(Relation::within(track.pair, dst_pair, kind), track.write);
            let end = tracks.get(i + 1).map_or(local.size, |t| t.start);
            out.host.push(hazard);
            out.host_details.push(Detail {
                local: Some(index as u32),
                range: track.start..end,
                coarsened: false,
            });
        }
        if let Some(tracks) = out.tracks.get_mut(index) {
            *tracks = parts;
        }
    }
}
