//! Phase 2: leaves out what nothing outside the frame can see, and the parts of uploads that later bytes replace.
//!
//! One walk from the last declaration to the first, keeping per resource the bytes that somebody later, or the
//! world after the frame, still needs. Culling is transitive by construction: a node that is left out adds nothing
//! to what is needed.

mod ranges;
mod why;

use super::Positions;
use super::resolve::{Local, Resolved, ResolvedUse};
use crate::frame::{FrameGraph, Mode, NodeKind};
use crate::schedule::CullReason;
use ranges::Ranges;
use why::Why;

/// The outcome, and the memory the walk needs. Positions are those of the declaration order.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Per position: whether the node stays.
    pub(crate) keep: Vec<bool>,
    /// What was left out, last declaration first.
    pub(crate) culled: Vec<(u32, CullReason)>,
    /// Uploads that are needed in part only: position, and the ranges that stay, in any order.
    pub(crate) parts: Vec<Part>,
    /// Whether there was a walk. Without one nothing is written twice.
    walked: bool,
    live: Vec<Live>,
    sorted: Vec<(u64, u64)>,
    why: Why,
}

impl Kept {
    /// Whether there are several uploads to a local resource that overlap nowhere, and nothing else writes it.
    pub(crate) fn uploads_are_disjoint(&self, local: u32) -> bool {
        self.walked && self.live[local as usize].uploads_disjoint
    }

    fn clear(&mut self) {
        self.walked = false;
        self.keep.clear();
        self.culled.clear();
        self.parts.clear();
        self.why.clear();
    }
}

/// A range of an upload that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) position: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The bytes of one resource that are still needed.
#[derive(Debug, Default)]
struct Live {
    extent: Extent,
    /// What is needed if it is `Parts`.
    ranges: Ranges,
    /// Uploads need not be taken out: they are disjoint, and nothing else writes.
    uploads_disjoint: bool,
}

/// How much of a resource is needed. Most are used as a whole, and need no ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Extent {
    #[default]
    Nothing,
    All,
    Parts,
}

impl Live {
    #[inline]
    fn intersects(&self, u: &ResolvedUse) -> bool {
        match self.extent {
            Extent::Nothing => false,
            Extent::All => true,
            Extent::Parts => self.ranges.intersects(u.start, u.end),
        }
    }

    #[inline]
    fn insert(&mut self, u: &ResolvedUse) {
        match self.extent {
            Extent::All => {}
            _ if u.whole => self.extent = Extent::All,
            extent => {
                if extent == Extent::Nothing {
                    self.ranges.clear();
                }
                self.extent = Extent::Parts;
                self.ranges.insert(u.start, u.end);
            }
        }
    }

    #[inline]
    fn remove(&mut self, u: &ResolvedUse, locals: &[Local]) {
        match self.extent {
            Extent::Nothing => {}
            _ if u.whole => self.extent = Extent::Nothing,
            extent => {
                if extent == Extent::All {
                    self.ranges.clear();
                    self.ranges.insert(0, locals[u.local as usize].size);
                }
                self.extent = Extent::Parts;
                self.ranges.remove(u.start, u.end);
            }
        }
    }
}

/// Walks the frame backwards.
pub(crate) fn run(graph: &FrameGraph, positions: Positions, resolved: &Resolved, out: &mut Kept) {
    if resolved.all_needed {
        out.clear();
        out.keep.resize(graph.nodes.len(), true);
        return;
    }
    begin(graph, resolved, out);
    for position in (0..positions.len()).rev() {
        let node_index = positions.node(position);
        let node = &graph.nodes[node_index as usize];
        let uses = &resolved.uses[node.uses.0 as usize..node.uses.1 as usize];
        let needed =
            node.side_effects || uses.iter().any(|u| u.writes() && out.live[u.local as usize].intersects(u));
        if !needed {
            out.why.begin(graph, positions, resolved, &out.keep, position);
            out.culled.push((node_index, out.why.reason(uses)));
            out.why.culled(node_index, uses);
            continue;
        }
        out.keep[position as usize] = true;
        if let (NodeKind::Upload { .. }, [u]) = (node.kind, uses)
            && !out.live[u.local as usize].uploads_disjoint
        {
            keep_parts(position, u, &out.live[u.local as usize], &mut out.parts);
        }
        need(uses, &resolved.locals, &mut out.live);
        out.why.kept(node_index, uses);
    }
    out.parts.sort_unstable();
}

fn begin(graph: &FrameGraph, resolved: &Resolved, out: &mut Kept) {
    out.clear();
    out.walked = true;
    out.keep.resize(graph.nodes.len(), false);
    if out.live.len() < resolved.locals.len() {
        out.live.resize_with(resolved.locals.len(), Live::default);
    }
    for (live, local) in out.live.iter_mut().zip(&resolved.locals) {
        live.uploads_disjoint = false;
        // A persistent resource is looked at after the frame; a transient is not.
        live.extent = if local.fresh { Extent::Nothing } else { Extent::All };
    }
    for (index, local) in resolved.locals.iter().enumerate() {
        if local.uploads > 1 && !local.other_writes && !local.fresh {
            out.live[index].uploads_disjoint =
                disjoint(index as u32, graph, resolved, local, &mut out.sorted);
        }
    }
}

/// Whether no two uploads to a resource overlap.
fn disjoint(
    index: u32,
    graph: &FrameGraph,
    resolved: &Resolved,
    local: &Local,
    sorted: &mut Vec<(u64, u64)>,
) -> bool {
    // Looking through all uses once a resource would be quadratic in resources; few uploads take the general way.
    if (local.uploads as usize) * 8 < resolved.uses.len() {
        return false;
    }
    sorted.clear();
    for node in graph.nodes.iter().filter(|n| matches!(n.kind, NodeKind::Upload { .. })) {
        let u = &resolved.uses[node.uses.0 as usize];
        if u.local == index {
            sorted.push((u.start, u.end));
        }
    }
    sorted.sort_unstable();
    sorted.windows(2).all(|w| w[0].1 <= w[1].0)
}

/// Notes which ranges of an upload stay, if not all of it does.
fn keep_parts(position: u32, u: &ResolvedUse, live: &Live, parts: &mut Vec<Part>) {
    if live.extent != Extent::Parts {
        return;
    }
    for r in live.ranges.within(u.start, u.end) {
        let (start, end) = (r.0.max(u.start), r.1.min(u.end));
        if (start, end) != (u.start, u.end) {
            parts.push(Part { position, start, end });
        }
    }
}

/// Moves what is needed to before a kept node.
#[inline]
fn need(uses: &[ResolvedUse], locals: &[Local], live: &mut [Live]) {
    for u in uses.iter().filter(|u| u.mode == Mode::Overwrite) {
        let live = &mut live[u.local as usize];
        if !live.uploads_disjoint {
            live.remove(u, locals);
        }
    }
    for u in uses.iter().filter(|u| u.reads()) {
        live[u.local as usize].insert(u);
    }
}
