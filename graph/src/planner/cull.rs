//! Phase 2: leaves out what nothing outside the frame can see, and the parts of uploads that later bytes replace.
//!
//! One walk from the last declaration to the first, keeping per resource the bytes that somebody later, or the
//! world after the frame, still needs. Culling is transitive by construction: a node that is left out adds nothing
//! to what is needed.

mod why;

use super::Positions;
use super::resolve::{Local, Resolved, ResolvedUse};
use crate::frame::{FrameGraph, Mode, NodeKind};
use crate::schedule::CullReason;
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
    live: Vec<Live>,
    sorted: Vec<(u64, u64)>,
    why: Why,
}

impl Kept {
    /// Whether the uploads to a local resource overlap nowhere, and nothing else writes it.
    pub(crate) fn uploads_are_disjoint(&self, local: u32) -> bool {
        self.live[local as usize].uploads_disjoint
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
    /// Ascending, disjoint, not touching.
    ranges: Vec<(u64, u64)>,
    /// Uploads need not be taken out: they are disjoint, and nothing else writes.
    uploads_disjoint: bool,
}

impl Live {
    fn intersects(&self, start: u64, end: u64) -> bool {
        let i = self.ranges.partition_point(|r| r.1 <= start);
        self.ranges.get(i).is_some_and(|r| r.0 < end)
    }

    fn insert(&mut self, start: u64, end: u64) {
        let i = self.ranges.partition_point(|r| r.1 < start);
        let j = i + self.ranges[i..].partition_point(|r| r.0 <= end);
        if i == j {
            self.ranges.insert(i, (start, end));
            return;
        }
        self.ranges[i] = (start.min(self.ranges[i].0), end.max(self.ranges[j - 1].1));
        self.ranges.drain(i + 1..j);
    }

    fn remove(&mut self, start: u64, end: u64) {
        let i = self.ranges.partition_point(|r| r.1 <= start);
        let j = i + self.ranges[i..].partition_point(|r| r.0 < end);
        if i == j {
            return;
        }
        let (head, tail) = ((self.ranges[i].0, start), (end, self.ranges[j - 1].1));
        // By hand: `splice` would collect what is left on the heap.
        let mut next = i;
        for left in [head, tail].into_iter().filter(|r| r.0 < r.1) {
            match self.ranges.get_mut(next).filter(|_| next < j) {
                Some(place) => *place = left,
                None => self.ranges.insert(next, left),
            }
            next += 1;
        }
        self.ranges.drain(next.min(j)..j);
    }
}

/// Walks the frame backwards.
pub(crate) fn run(graph: &FrameGraph, positions: Positions, resolved: &Resolved, out: &mut Kept) {
    begin(graph, resolved, out);
    for position in (0..positions.len()).rev() {
        let node_index = positions.node(position);
        let node = &graph.nodes[node_index as usize];
        let uses = &resolved.uses[node.uses.0 as usize..node.uses.1 as usize];
        let needed = node.side_effects
            || uses.iter().any(|u| u.writes() && out.live[u.local as usize].intersects(u.start, u.end));
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
        need(uses, &mut out.live);
        out.why.kept(node_index, uses);
    }
    out.parts.sort_unstable();
}

fn begin(graph: &FrameGraph, resolved: &Resolved, out: &mut Kept) {
    out.keep.clear();
    out.keep.resize(graph.nodes.len(), false);
    out.culled.clear();
    out.parts.clear();
    out.why.clear();
    if out.live.len() < resolved.locals.len() {
        out.live.resize_with(resolved.locals.len(), Live::default);
    }
    for (live, local) in out.live.iter_mut().zip(&resolved.locals) {
        live.ranges.clear();
        live.uploads_disjoint = false;
        // A persistent resource is looked at after the frame; a transient is not.
        if !local.fresh {
            live.ranges.push((0, local.size));
        }
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
    let i = live.ranges.partition_point(|r| r.1 <= u.start);
    let inside = live.ranges[i..].iter().take_while(|r| r.0 < u.end);
    for r in inside {
        let (start, end) = (r.0.max(u.start), r.1.min(u.end));
        if (start, end) != (u.start, u.end) {
            parts.push(Part { position, start, end });
        }
    }
}

/// Moves what is needed to before a kept node.
fn need(uses: &[ResolvedUse], live: &mut [Live]) {
    for u in uses.iter().filter(|u| u.mode == Mode::Overwrite) {
        let live = &mut live[u.local as usize];
        if !live.uploads_disjoint {
            live.remove(u.start, u.end);
        }
    }
    for u in uses.iter().filter(|u| u.reads()) {
        live[u.local as usize].insert(u.start, u.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(ranges: &[(u64, u64)]) -> Live {
        Live { ranges: ranges.to_vec(), ..Live::default() }
    }

    #[test]
    fn removing_splits_and_inserting_joins() {
        let mut l = live(&[(0, 100)]);
        l.remove(10, 20);
        assert_eq!(l.ranges, [(0, 10), (20, 100)]);
        assert!(!l.intersects(10, 20) && l.intersects(9, 11));
        l.insert(10, 15);
        assert_eq!(l.ranges, [(0, 15), (20, 100)]);
        l.insert(12, 25);
        assert_eq!(l.ranges, [(0, 100)]);
        l.remove(0, 100);
        assert!(l.ranges.is_empty());
        l.remove(3, 4);
        assert!(l.ranges.is_empty());
    }
}
