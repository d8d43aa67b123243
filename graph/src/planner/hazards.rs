//! Phase 3: finds every hazard among the kept nodes, and against earlier frames.
//!
//! Per resource a map of byte ranges says who wrote last and who read since. It has one entry while a resource is
//! used as a whole, and splits where a use begins or ends. The readers of a range are a linked list in one shared
//! arena: a split shares the tail, and a write drops the list.

use super::cull::Kept;
use super::resolve::{ANYTHING, Local, Resolved, ResolvedUse};
use super::{Positions, label};
use crate::access::Access;
use crate::coverage::Coverage;
use crate::error::GraphError;
use crate::frame::{FrameGraph, Mode, Order};
use crate::pairs::{PairId, PairTable};
use crate::schedule::HazardKind;
use crate::state::{GraphState, Init, RangeState};
use smallvec::SmallVec;
use std::ops::Range;

pub(crate) const NONE: u32 = u32::MAX;

/// Who comes first in a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A kept node, by position.
    Node(u32),
    /// Something at this level of an earlier frame.
    Earlier(u64),
}

/// One hazard; whose it is follows from where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hazard {
    pub(crate) src: Source,
    pub(crate) src_pair: PairId,
    pub(crate) dst_pair: PairId,
    pub(crate) kind: HazardKind,
}

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
    pub(crate) list: Vec<Hazard>,
    /// Parallel to `list` when causes are asked for, otherwise empty.
    pub(crate) details: Vec<Detail>,
    /// Per position: where its hazards begin in `list`; one more at the end.
    pub(crate) begin: Vec<u32>,
    /// Hazards of the host against what the frame leaves in host-visible memory.
    pub(crate) host: Vec<Hazard>,
    pub(crate) host_details: Vec<Detail>,
    /// Per local resource: its ranges.
    pub(crate) tracks: Vec<SmallVec<[Track; 1]>>,
    pub(crate) reads: Vec<ReadCell>,
    orders: Vec<(u32, Order)>,
}

/// What the walk looks at beside the map.
struct Walk<'a> {
    graph: &'a FrameGraph,
    state: &'a GraphState,
    cover: &'a Coverage,
    positions: Positions,
    causes: bool,
}

/// Walks the frame forwards.
#[expect(clippy::too_many_arguments, reason = "the inputs of one phase")]
pub(crate) fn run(
    graph: &FrameGraph,
    state: &mut GraphState,
    cover: &Coverage,
    positions: Positions,
    (resolved, kept): (&Resolved, &Kept),
    causes: bool,
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    begin(resolved, out);
    collect_orders(graph, positions, kept, &mut out.orders);
    let mut pairs = std::mem::replace(&mut state.pairs, PairTable::vacant());
    let walk = Walk { graph, state, cover, positions, causes };
    let mut parts = kept.parts.as_slice();
    let mut orders = 0;
    for position in 0..positions.len() {
        out.begin.push(out.list.len() as u32);
        while parts.first().is_some_and(|p| p.position < position) {
            parts = &parts[1..];
        }
        if !kept.keep[position as usize] {
            continue;
        }
        let node = &graph.nodes[positions.node(position) as usize];
        let uses = &resolved.uses[node.uses.0 as usize..node.uses.1 as usize];
        while let Some((then, order)) = out.orders.get(orders).copied()
            && then <= position
        {
            orders += 1;
            explicit(&walk, &mut pairs, order, resolved, out);
        }
        if parts.first().is_some_and(|p| p.position == position) {
            for part in parts.iter().take_while(|p| p.position == position) {
                let u = ResolvedUse { start: part.start, end: part.end, ..uses[0] };
                write(&walk, &mut pairs, position, &u, &resolved.locals, out, errors);
            }
            continue;
        }
        for u in uses.iter().filter(|u| u.mode == Mode::Read) {
            read(&walk, &pairs, position, u, &resolved.locals, out, errors);
        }
        let writes = uses.iter().filter(|u| u.writes());
        if writes.clone().nth(1).is_none() {
            writes.for_each(|u| write(&walk, &mut pairs, position, u, &resolved.locals, out, errors));
            continue;
        }
        // One write must not hide from another what was there before the pass.
        for u in writes.clone() {
            judge_write(&walk, &pairs, position, u, &resolved.locals, out, errors);
        }
        writes.for_each(|u| keep_write(&walk, &mut pairs, position, u, &resolved.locals, out));
    }
    out.begin.push(out.list.len() as u32);
    host(&mut pairs, &resolved.locals, out);
    state.pairs = pairs;
}

fn begin(resolved: &Resolved, out: &mut Hazards) {
    out.list.clear();
    out.details.clear();
    out.begin.clear();
    out.host.clear();
    out.host_details.clear();
    out.reads.clear();
    out.orders.clear();
    if out.tracks.len() < resolved.locals.len() {
        out.tracks.resize_with(resolved.locals.len(), SmallVec::new);
    }
    for tracks in &mut out.tracks[..resolved.locals.len()] {
        tracks.clear();
    }
}

/// Sorts the orders between kept nodes by the position of the later one.
fn collect_orders(graph: &FrameGraph, positions: Positions, kept: &Kept, out: &mut Vec<(u32, Order)>) {
    for order in &graph.orders {
        let (first, then) = (positions.of(order.first.index), positions.of(order.then.index));
        if kept.keep[first as usize] && kept.keep[then as usize] {
            out.push((then, *order));
        }
    }
    out.sort_by_key(|o| o.0);
}

/// Enters the hazards of one explicit order: between all that both passes declare.
fn explicit(walk: &Walk<'_>, pairs: &mut PairTable, order: Order, resolved: &Resolved, out: &mut Hazards) {
    let src = Source::Node(walk.positions.of(order.first.index));
    let mut accesses = |node: u32, extra: Access| -> SmallVec<[PairId; 4]> {
        let node = &walk.graph.nodes[node as usize];
        let uses = &resolved.uses[node.uses.0 as usize..node.uses.1 as usize];
        let mut found: SmallVec<[PairId; 4]> = uses.iter().map(|u| u.pair).collect();
        if extra != Access::NONE {
            found.push(pairs.intern(extra));
        }
        if found.is_empty() {
            found.push(pairs.intern(ANYTHING));
        }
        found.sort_unstable();
        found.dedup();
        found
    };
    let firsts = accesses(order.first.index, order.first_access);
    let thens = accesses(order.then.index, order.then_access);
    for &src_pair in &firsts {
        for &dst_pair in &thens {
            let hazard = Hazard { src, src_pair, dst_pair, kind: HazardKind::Order };
            push(walk, out, hazard, Detail { local: None, range: 0..0, coarsened: false });
        }
    }
}

fn push(walk: &Walk<'_>, out: &mut Hazards, hazard: Hazard, detail: Detail) {
    if walk.causes {
        out.list.push(hazard);
        out.details.push(detail);
    } else if out.list.last() != Some(&hazard) || out.begin.last() == Some(&(out.list.len() as u32)) {
        out.list.push(hazard);
    }
}

/// The tracks of `start..end`, split at both ends.
fn split(
    tracks: &mut SmallVec<[Track; 1]>,
    ranges: Option<&[RangeState]>,
    size: u64,
    start: u64,
    end: u64,
) -> Range<usize> {
    if tracks.is_empty() {
        let fresh = |start, prior| Track { start, write: NONE, reads: NONE, prior, pair: 0 };
        match ranges {
            Some(ranges) => tracks.extend(ranges.iter().enumerate().map(|(i, r)| fresh(r.start, i as u32))),
            None => tracks.push(fresh(0, NONE)),
        }
    }
    if tracks.len() == 1 && start == 0 && end == size {
        return 0..1;
    }
    let mut i = tracks.partition_point(|t| t.start <= start) - 1;
    if tracks[i].start < start {
        let tail = Track { start, ..tracks[i] };
        i += 1;
        tracks.insert(i, tail);
    }
    let j = i + tracks[i..].partition_point(|t| t.start < end);
    if end < tracks.get(j).map_or(size, |t| t.start) {
        let tail = Track { start: end, ..tracks[j - 1] };
        tracks.insert(j, tail);
    }
    i..j
}

fn split_use(walk: &Walk<'_>, u: &ResolvedUse, local: &Local, out: &mut Hazards) -> Range<usize> {
    let ranges = local.backing.and_then(|id| walk.state.get(id)).map(|p| p.ranges.as_slice());
    split(&mut out.tracks[u.local as usize], ranges, local.size, u.start, u.end)
}

fn prior_of<'a>(walk: &Walk<'a>, local: &Local, track: &Track) -> Option<&'a RangeState> {
    if track.prior == NONE {
        return None;
    }
    walk.state.get(local.backing?)?.ranges.get(track.prior as usize)
}

/// The bytes of track `i` that `u` touches. After the split no track reaches beyond the use.
fn touched(out: &Hazards, u: &ResolvedUse, i: usize) -> Range<u64> {
    let tracks = &out.tracks[u.local as usize];
    tracks[i].start..tracks.get(i + 1).map_or(u.end, |t| t.start).min(u.end)
}

fn detail(out: &Hazards, u: &ResolvedUse, i: usize, coarsened: bool) -> Detail {
    Detail { local: Some(u.local), range: touched(out, u, i), coarsened }
}

fn read(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    u: &ResolvedUse,
    locals: &[Local],
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    let local = &locals[u.local as usize];
    for i in split_use(walk, u, local, out) {
        let track = out.tracks[u.local as usize][i];
        after_write(walk, pairs, position, (u, local), HazardKind::ReadAfterWrite, i, out, errors);
        let head = track.reads;
        let known = out.reads.get(head as usize).is_some_and(|c| c.node == position && c.pair == u.pair);
        if !known {
            out.reads.push(ReadCell { node: position, next: head, pair: u.pair });
            out.tracks[u.local as usize][i].reads = (out.reads.len() - 1) as u32;
        }
    }
}

fn write(
    walk: &Walk<'_>,
    pairs: &mut PairTable,
    position: u32,
    u: &ResolvedUse,
    locals: &[Local],
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    let tracks = judge_write(walk, pairs, position, u, locals, out, errors);
    keep_tracks(pairs, position, u, tracks, out);
}

/// The hazards of a write.
fn judge_write(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    u: &ResolvedUse,
    locals: &[Local],
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) -> Range<usize> {
    let local = &locals[u.local as usize];
    let kind = if u.mode == Mode::Modify { HazardKind::ReadAfterWrite } else { HazardKind::WriteAfterWrite };
    let tracks = split_use(walk, u, local, out);
    for i in tracks.clone() {
        after_write(walk, pairs, position, (u, local), kind, i, out, errors);
        after_reads(walk, pairs, position, (u, local), i, out);
    }
    tracks
}

fn keep_write(
    walk: &Walk<'_>,
    pairs: &mut PairTable,
    position: u32,
    u: &ResolvedUse,
    locals: &[Local],
    out: &mut Hazards,
) {
    let tracks = split_use(walk, u, &locals[u.local as usize], out);
    keep_tracks(pairs, position, u, tracks, out);
}

/// Enters a write. Reads are over with it, but for those of the pass itself in stages where it does not write:
/// nothing that waits for the write waits for them.
fn keep_tracks(
    pairs: &mut PairTable,
    position: u32,
    u: &ResolvedUse,
    tracks: Range<usize>,
    out: &mut Hazards,
) {
    let mut modified = NONE;
    if pairs.get(u.pair).reads_elsewhere {
        let pair = pairs.elsewhere(u.pair);
        out.reads.push(ReadCell { node: position, next: NONE, pair });
        modified = (out.reads.len() - 1) as u32;
    }
    let mut alike = true;
    for i in tracks.clone() {
        let track = out.tracks[u.local as usize][i];
        let mut pair = u.pair;
        if track.write == position && track.pair != pair {
            // One pass writes the same bytes in two ways: whoever follows waits for both.
            pair = pairs.intern(pairs.get(pair).access | pairs.get(track.pair).access);
        }
        let reads = own_reads(pairs, position, pairs.get(pair).write_stages, track.reads, modified, out);
        alike = alike && pair == u.pair && reads == modified;
        let track = Track { start: track.start, write: position, reads, prior: NONE, pair };
        out.tracks[u.local as usize][i] = track;
    }
    if alike && tracks.len() > 1 {
        out.tracks[u.local as usize].drain(tracks.start + 1..tracks.end);
    }
}

/// The reads of `position` at the head of a list that happen in other stages than these, before `tail`.
fn own_reads(
    pairs: &PairTable,
    position: u32,
    write_stages: u64,
    head: u32,
    tail: u32,
    out: &mut Hazards,
) -> u32 {
    let (mut at, mut kept) = (head, tail);
    while let Some(&cell) = out.reads.get(at as usize).filter(|c| c.node == position) {
        at = cell.next;
        if pairs.get(cell.pair).read_stages & !write_stages != 0 {
            out.reads.push(ReadCell { next: kept, ..cell });
            kept = (out.reads.len() - 1) as u32;
        }
    }
    kept
}

/// Hazards against the last write of track `i`, and reads of bytes nobody wrote.
#[expect(clippy::too_many_arguments, reason = "one step of the walk")]
fn after_write(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    kind: HazardKind,
    i: usize,
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    let track = out.tracks[u.local as usize][i];
    if track.write == position {
        return;
    }
    if track.write != NONE {
        let src = Source::Node(track.write);
        let hazard = Hazard { src, src_pair: track.pair, dst_pair: u.pair, kind };
        let detail = detail(out, u, i, false);
        push(walk, out, hazard, detail);
        return;
    }
    let prior = prior_of(walk, local, &track);
    let written = !local.fresh && prior.is_some_and(|p| p.init != Init::No);
    if u.reads() && !written {
        uninitialized(walk, position, touched(out, u, i), local, errors);
    }
    let Some(prior) = prior else { return };
    for mark in &prior.writes {
        if !walk.cover.memory_covered(pairs, mark.pair, u.pair, mark.level) {
            let hazard =
                Hazard { src: Source::Earlier(mark.level), src_pair: mark.pair, dst_pair: u.pair, kind };
            let detail = detail(out, u, i, prior.coarsened);
            push(walk, out, hazard, detail);
        }
    }
}

/// Hazards of a write against the reads since the last write of track `i`.
fn after_reads(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    i: usize,
    out: &mut Hazards,
) {
    let kind = HazardKind::WriteAfterRead;
    let track = out.tracks[u.local as usize][i];
    let mut at = track.reads;
    while let Some(&cell) = out.reads.get(at as usize) {
        at = cell.next;
        if cell.node == position {
            continue;
        }
        let hazard = Hazard { src: Source::Node(cell.node), src_pair: cell.pair, dst_pair: u.pair, kind };
        let detail = detail(out, u, i, false);
        push(walk, out, hazard, detail);
    }
    let Some(prior) = prior_of(walk, local, &track) else { return };
    for mark in &prior.reads {
        if !walk.cover.exec_covered(pairs, mark.pair, u.pair, mark.level) {
            let hazard =
                Hazard { src: Source::Earlier(mark.level), src_pair: mark.pair, dst_pair: u.pair, kind };
            let detail = detail(out, u, i, prior.coarsened);
            push(walk, out, hazard, detail);
        }
    }
}

fn uninitialized(
    walk: &Walk<'_>,
    position: u32,
    range: Range<u64>,
    local: &Local,
    errors: &mut Vec<GraphError>,
) {
    let node = &walk.graph.nodes[walk.positions.node(position) as usize];
    errors.push(GraphError::Uninitialized {
        pass: label::node(walk.graph, walk.state, node),
        resource: label::resource(walk.graph, walk.state, local.resource),
        range,
    });
}

/// What the frame leaves in host-visible memory is a hazard for the host.
fn host(pairs: &mut PairTable, locals: &[Local], out: &mut Hazards) {
    for (index, local) in locals.iter().enumerate().filter(|(_, l)| l.host_visible) {
        let dst_pair = pairs.intern(Access::HOST_READ);
        let tracks = &out.tracks[index];
        for (i, track) in tracks.iter().enumerate().filter(|(_, t)| t.write != NONE) {
            let hazard = Hazard {
                src: Source::Node(track.write),
                src_pair: track.pair,
                dst_pair,
                kind: HazardKind::ReadAfterWrite,
            };
            let end = tracks.get(i + 1).map_or(local.size, |t| t.start);
            out.host.push(hazard);
            out.host_details.push(Detail {
                local: Some(index as u32),
                range: track.start..end,
                coarsened: false,
            });
        }
    }
}
