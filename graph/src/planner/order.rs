//! Phase 4: the level of each node, and the nodes by level.
//!
//! Declaration order is a topological order of the hazards by construction, and the walk that found them has counted
//! the levels along. Only an explicit order can go against it: then petgraph finds an order, or a cycle.

use super::cull::Kept;
use super::hazards::{Hazards, Source};
use super::{Positions, label};
use crate::error::GraphError;
use crate::frame::{FrameGraph, NodeKind};
use crate::schedule::Placed;
use crate::state::GraphState;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Topo, Visitable};

/// The outcome, and the memory the phase needs.
#[derive(Default)]
pub(crate) struct Levels {
    /// Per position: the longest hazard chain above the node.
    pub(crate) level: Vec<u32>,
    /// Kept positions by level, then declaration.
    pub(crate) sorted: Vec<u32>,
    /// Where each level begins in `sorted`; one more at the end.
    pub(crate) begin: Vec<u32>,
    /// Whether no level has a transfer.
    pub(crate) only_passes: bool,
    /// Level of the host, if it waits for anything.
    pub(crate) host: Option<u32>,
    graph: DiGraph<u32, (), u32>,
    topo: Option<Topo<NodeIndex, Visited>>,
    index: Vec<u32>,
    last_edge: Vec<u32>,
    /// Per position of an upload: the last level it may run at without making any chain longer.
    latest: Vec<u32>,
    uploads: Vec<u32>,
}

/// What petgraph remembers visited nodes in.
type Visited = <DiGraph<u32, (), u32> as Visitable>::Map;

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Levels")
            .field("sorted", &self.sorted)
            .field("begin", &self.begin)
            .finish_non_exhaustive()
    }
}

/// Orders the kept nodes.
///
/// # Errors
/// [`GraphError::Cycle`] with the passes of one cycle.
pub(crate) fn run(
    graph: &FrameGraph,
    state: &GraphState,
    positions: Positions,
    (kept, hazards): (&Kept, &Hazards),
    out: &mut Levels,
) -> Result<(), GraphError> {
    if hazards.forward {
        out.level.clone_from(&hazards.level);
    } else {
        build(positions, kept, hazards, out);
        let walked = walk(hazards, out);
        if walked != out.graph.node_count() {
            return Err(cycle(graph, state, positions, out));
        }
    }
    out.only_passes = hazards.only_passes;
    if !out.only_passes {
        share_levels(graph, positions, (kept, hazards), out);
    }
    sort(positions, kept, out);
    out.host = hazards.host.iter().map(|h| out.level_of(h.src) + 1).max();
    Ok(())
}

impl Levels {
    pub(crate) fn level_of(&self, src: Source) -> u32 {
        match src {
            Source::Node(position) => self.level[position as usize],
            Source::Earlier(_) => 0,
        }
    }

    /// Positions of the nodes of a level; none if there is no such level.
    pub(crate) fn nodes(&self, level: u32) -> &[u32] {
        let ends = (self.begin.get(level as usize), self.begin.get(level as usize + 1));
        let (Some(&begin), Some(&end)) = ends else { return &[] };
        self.sorted.get(begin as usize..end as usize).unwrap_or(&[])
    }

    /// Number of the last level.
    pub(crate) fn last(&self) -> u32 {
        self.begin.len().saturating_sub(2) as u32
    }
}

/// One petgraph node a kept node, one edge a pair of nodes with a hazard between.
fn build(positions: Positions, kept: &Kept, hazards: &Hazards, out: &mut Levels) {
    let n = positions.len() as usize;
    out.graph.clear();
    out.index.clear();
    out.index.resize(n, u32::MAX);
    out.last_edge.clear();
    out.last_edge.resize(n, u32::MAX);
    for position in (0..positions.len()).filter(|&p| kept.keep[p as usize]) {
        out.index[position as usize] = out.graph.add_node(position).index() as u32;
    }
    for position in (0..positions.len()).filter(|&p| kept.keep[p as usize]) {
        for hazard in of(hazards, position) {
            // Parallel edges would only pile up.
            if let Source::Node(src) = hazard.src
                && out.last_edge[src as usize] != position
            {
                out.last_edge[src as usize] = position;
                let (a, b) = (out.index[src as usize], out.index[position as usize]);
                out.graph.add_edge(NodeIndex::new(a as usize), NodeIndex::new(b as usize), ());
            }
        }
    }
}

/// The hazards of one position.
pub(crate) fn of(hazards: &Hazards, position: u32) -> &[super::hazards::Hazard] {
    let (a, b) = (hazards.begin[position as usize], hazards.begin[position as usize + 1]);
    &hazards.list[a as usize..b as usize]
}

/// Walks in topological order and gives each node its level. Returns how many nodes were reached: fewer than there are
/// if there is a cycle.
fn walk(hazards: &Hazards, out: &mut Levels) -> usize {
    out.level.clear();
    out.level.resize(out.index.len(), 0);
    let mut topo = out.topo.take().unwrap_or_else(|| Topo::new(&out.graph));
    topo.reset(&out.graph);
    let mut walked = 0;
    while let Some(node) = topo.next(&out.graph) {
        walked += 1;
        let position = out.graph[node];
        let level = of(hazards, position).iter().map(|h| out.level_of(h.src) + 1).max().unwrap_or(0);
        out.level[position as usize] = level;
    }
    out.topo = Some(topo);
    walked
}

/// Moves uploads to levels they can share, so that they become one batch. An upload may wait until just before its
/// first consumer. Each group gets the earliest level all its members can have: the fewest groups, and nothing waits
/// longer than that needs (interval stabbing, by the last level each may have).
fn share_levels(
    graph: &FrameGraph,
    positions: Positions,
    (kept, hazards): (&Kept, &Hazards),
    out: &mut Levels,
) {
    out.uploads.clear();
    let is_upload = |p: u32| {
        let node = &graph.nodes[positions.node(p) as usize];
        kept.keep[p as usize] && matches!(node.kind, NodeKind::Upload { .. })
    };
    out.uploads.extend((0..positions.len()).filter(|&p| is_upload(p)));
    let Some(&first) = out.uploads.first() else { return };
    if out.uploads.iter().all(|&p| out.level[p as usize] == out.level[first as usize]) {
        return;
    }
    let last = out.level.iter().copied().max().unwrap_or(0);
    out.latest.clear();
    out.latest.resize(out.level.len(), last);
    for position in 0..positions.len() {
        for hazard in of(hazards, position) {
            if let Source::Node(src) = hazard.src {
                let latest = &mut out.latest[src as usize];
                *latest = (*latest).min(out.level[position as usize].saturating_sub(1));
            }
        }
    }
    let host = hazards.host.iter().map(|h| out.level_of(h.src)).max();
    for hazard in &hazards.host {
        if let (Source::Node(src), Some(host)) = (hazard.src, host) {
            out.latest[src as usize] = out.latest[src as usize].min(host);
        }
    }
    out.uploads.sort_unstable_by_key(|&p| (out.latest[p as usize], p));
    let mut rest = out.uploads.as_slice();
    while let Some(&first) = rest.first() {
        let end = out.latest[first as usize];
        let n = rest.iter().position(|&p| out.level[p as usize] > end).unwrap_or(rest.len());
        let (group, others) = rest.split_at(n);
        let shared = group.iter().map(|&p| out.level[p as usize]).max().unwrap_or(0);
        group.iter().for_each(|&p| out.level[p as usize] = shared);
        rest = others;
    }
}

/// Counting sort by level; declaration order stays within a level.
fn sort(positions: Positions, kept: &Kept, out: &mut Levels) {
    let all = (0..positions.len()).filter(|&p| kept.keep[p as usize]);
    out.begin.clear();
    let levels = all.clone().map(|p| out.level[p as usize] + 1).max().unwrap_or(0);
    out.begin.resize(levels as usize + 1, 0);
    for p in all.clone() {
        out.begin[out.level[p as usize] as usize] += 1;
    }
    let mut sum = 0;
    for count in &mut out.begin {
        sum += std::mem::replace(count, sum);
    }
    out.sorted.clear();
    out.sorted.resize(sum as usize, 0);
    for p in all {
        let at = &mut out.begin[out.level[p as usize] as usize];
        out.sorted[*at as usize] = p;
        *at += 1;
    }
    // Each count now stands at the end of its level, which is where the next one begins.
    out.begin.rotate_right(1);
    if let Some(first) = out.begin.first_mut() {
        *first = 0;
    }
}

/// The passes of one cycle, each before the next.
fn cycle(graph: &FrameGraph, state: &GraphState, positions: Positions, levels: &Levels) -> GraphError {
    let components = petgraph::algo::tarjan_scc(&levels.graph);
    let knot = components.into_iter().find(|c| c.len() > 1 || levels.graph.contains_edge(c[0], c[0]));
    let knot = knot.unwrap_or_default();
    let mut passes = Vec::new();
    let mut seen = Vec::new();
    let mut at = knot.iter().copied().min();
    while let Some(node) = at {
        if let Some(first) = seen.iter().position(|&s| s == node) {
            passes.drain(..first);
            break;
        }
        seen.push(node);
        let index = positions.node(levels.graph[node]) as usize;
        passes.push(label::node(graph, state, &graph.nodes[index]));
        at = levels.graph.neighbors(node).filter(|n| knot.contains(n)).min();
    }
    GraphError::Cycle { passes }
}

/// The kept nodes with their levels, as the schedule shows them.
pub(crate) fn placed(levels: &Levels, positions: Positions, out: &mut Vec<Placed>) {
    out.extend(
        levels.sorted.iter().map(|&p| Placed { node: positions.node(p), level: levels.level[p as usize] }),
    );
}
