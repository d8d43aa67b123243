//! Phase 3: finds every hazard among the kept nodes, and against earlier frames.
//!
//! Per resource a map of byte ranges says who wrote last and who read since. It has one entry while a resource is
//! used as a whole, and splits where a use begins or ends. The readers of a range are a linked list in one shared
//! arena: a split shares the tail, and a write drops the list.

mod bulk;
mod uses;

use super::Positions;
use super::cull::Kept;
use super::resolve::{ANYTHING, Local, Resolved, ResolvedUse};
use crate::access::Access;
use crate::coverage::Coverage;
use crate::error::GraphError;
use crate::frame::{FrameGraph, Mode, Order};
use crate::pairs::{PairId, PairTable};
use crate::schedule::HazardKind;
use crate::state::GraphState;
use smallvec::SmallVec;
use std::ops::Range;
use uses::{judge_write, keep_write, read, write};

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
    bulk: bulk::Bulk,
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
    bulk::enter(&walk, resolved, kept, out);
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
        if let [u] = uses
            && bulk::holds(node, u, resolved, kept)
        {
            bulk::judge(&walk, &pairs, u, &resolved.locals, out);
            continue;
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
