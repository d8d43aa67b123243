//! Phase 6: the level of each node, and the nodes by level.
//!
//! Declaration order is a topological order of the hazards by construction, and the walk that found them has counted
//! the levels along. Only an explicit order can go against it: then petgraph finds an order, or a cycle.

use super::cull::Kept;
use super::groups::Groups;
use super::hazards::{Hazard, Hazards, Source};
use super::{Positions, label};
use crate::error::GraphError;
use crate::frame::FrameGraph;
use crate::schedule::Placed;
use crate::state::GraphState;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Topo, Visitable};

/// The outcome, and the memory the phase needs.
#[derive(Default)]
pub(crate) struct Levels {
    /// Per position: the longest hazard chain above the node.
    pub(crate) level: Vec<u32>,
    /// Kept positions by level, then declaration, but for grouped uploads.
    sorted: Vec<u32>,
    /// Where each level begins in `sorted`; one more at the end.
    begin: Vec<u32>,
    /// Whether no level has a transfer.
    pub(crate) only_passes: bool,
    /// The level of all grouped uploads, if there are any and they have the same.
    pub(crate) grouped: Option<u32>,
    /// Number of grouped uploads at each level, as far as there are any.
    counts: Vec<u32>,
    /// What the grouped uploads of each level owe, ascending by level. Of hazards of one kind from one access only that
    /// with the source at the latest level is here.
    owed: Vec<(u32, Hazard)>,
    /// What there is to say about it: the level, and the position in the hazards' list, ascending.
    details: Vec<(u32, u32)>,
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
    (groups, kept, hazards): (&Groups, &Kept, &Hazards),
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
    out.grouped = None;
    if !out.only_passes {
        share_levels(graph, positions, (groups, kept, hazards), out);
    }
    sort((groups, kept), out);
    owe(groups, hazards, out);
    out.host = hazards.host.iter().map(|h| out.level_of(h.src()) + 1).max();
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

    /// What the grouped uploads of a level owe.
    pub(crate) fn owed(&self, level: u32) -> impl Iterator<Item = &Hazard> {
        let begin = self.owed.partition_point(|o| o.0 < level);
        self.owed[begin..].iter().take_while(move |o| o.0 == level).map(|o| &o.1)
    }

    /// Positions of what there is to say about that.
    pub(crate) fn details(&self, level: u32) -> impl Iterator<Item = u32> {
        let begin = self.details.partition_point(|d| d.0 < level);
        self.details[begin..].iter().take_while(move |d| d.0 == level).map(|d| d.1)
    }

    /// Whether nothing runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin.len() < 2
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
            if let Source::Node(src) = hazard.src()
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
pub(crate) fn of(hazards: &Hazards, position: u32) -> &[Hazard] {
    let (a, b) = (hazards.begin[position as usize], hazards.begin[position as usize + 1]);
    &hazards.list[a as usize..b as usize]
}

/// Walks in topological order and gives each node its level. Returns how many nodes were reached: fewer than there are
/// if there is a cycle.
fn walk(hazards: &Hazards, out: &mut Levels) -> usize {
    // Grouped uploads have their levels, all others 0.
    out.level.clone_from(&hazards.level);
    let mut topo = out.topo.take().unwrap_or_else(|| Topo::new(&out.graph));
    topo.reset(&out.graph);
    let mut walked = 0;
    while let Some(node) = topo.next(&out.graph) {
        walked += 1;
        let position = out.graph[node];
        let hazards = of(hazards, position);
        if !hazards.is_empty() {
            let level = hazards.iter().map(|h| out.level_of(h.src()) + 1).max().unwrap_or(0);
            out.level[position as usize] = level;
        }
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
    (groups, kept, hazards): (&Groups, &Kept, &Hazards),
    out: &mut Levels,
) {
    out.uploads.clear();
    out.grouped = (!groups.uploads.is_empty()).then(|| hazards.grouped.level()).flatten();
    if groups.walked.is_empty() && hazards.host.is_empty() {
        // Nothing in the frame waits for any of them, nor does the host.
        let shared = hazards.grouped.highest();
        if out.grouped.is_none() {
            out.level.fill(shared);
        }
        out.grouped = Some(shared);
        return;
    }
    let is_upload = |p: u32| kept.keep[p as usize] && graph.entry(positions.node(p)).is_upload();
    out.uploads.extend(groups.positions().filter(|&p| is_upload(p)));
    out.uploads.extend(groups.uploads.iter().map(|u| groups.position(u)));
    let Some(&first) = out.uploads.first() else { return };
    if out.uploads.iter().all(|&p| out.level[p as usize] == out.level[first as usize]) {
        return;
    }
    let last = out.level.iter().copied().max().unwrap_or(0);
    out.latest.clear();
    out.latest.resize(out.level.len(), last);
    for position in groups.positions() {
        for hazard in of(hazards, position) {
            if let Source::Node(src) = hazard.src() {
                let latest = &mut out.latest[src as usize];
                *latest = (*latest).min(out.level[position as usize].saturating_sub(1));
            }
        }
    }
    let host = hazards.host.iter().map(|h| out.level_of(h.src())).max();
    for hazard in &hazards.host {
        if let (Source::Node(src), Some(host)) = (hazard.src(), host) {
            out.latest[src as usize] = out.latest[src as usize].min(host);
        }
    }
    out.uploads.sort_unstable_by_key(|&p| (out.latest[p as usize], p));
    let mut rest = out.uploads.as_slice();
    while let Some(&first) = rest.first() {
        let end = out.latest[first as usize];
        // The first is of its group whatever its level, so that this comes to an end.
        let others = rest.iter().skip(1).position(|&p| out.level[p as usize] > end);
        let n = others.map_or(rest.len(), |n| n + 1);
        let (group, others) = rest.split_at(n);
        let shared = group.iter().map(|&p| out.level[p as usize]).max().unwrap_or(0);
        group.iter().for_each(|&p| out.level[p as usize] = shared);
        rest = others;
    }
    let mut levels = groups.uploads.iter().map(|u| out.level[groups.position(u) as usize]);
    let first = levels.next();
    out.grouped = first.filter(|&first| levels.all(|level| level == first));
}

/// Calls `f` with each position that is walked and kept, and its level.
#[inline]
fn each_kept((groups, kept): (&Groups, &Kept), level: &[u32], mut f: impl FnMut(u32, u32)) {
    for &(begin, end) in &groups.walked {
        let here = begin as usize..end as usize;
        let (Some(keep), Some(levels)) = (kept.keep.get(here.clone()), level.get(here)) else { continue };
        for (position, (&keep, &level)) in (begin..end).zip(keep.iter().zip(levels)) {
            if keep {
                f(position, level);
            }
        }
    }
}

/// Counting sort by level; declaration order stays within a level.
fn sort((groups, kept): (&Groups, &Kept), out: &mut Levels) {
    out.begin.clear();
    let mut last = None;
    each_kept((groups, kept), &out.level, |_, level| last = last.max(Some(level)));
    out.counts.clear();
    match out.grouped {
        Some(level) => {
            out.counts.resize(level as usize, 0);
            out.counts.push(groups.len);
        }
        None => {
            for upload in &groups.uploads {
                let level = out.level[groups.position(upload) as usize] as usize;
                if out.counts.len() <= level {
                    out.counts.resize(level + 1, 0);
                }
                out.counts[level] += 1;
            }
        }
    }
    let last = last.max((out.counts.len() as u32).checked_sub(1));
    out.begin.resize(last.map_or(1, |last| last as usize + 2), 0);
    let Levels { begin, sorted, level, .. } = out;
    each_kept((groups, kept), level, |_, level| begin[level as usize] += 1);
    let mut sum = 0;
    for count in &mut *begin {
        sum += std::mem::replace(count, sum);
    }
    sorted.clear();
    sorted.resize(sum as usize, 0);
    each_kept((groups, kept), level, |position, level| {
        let at = &mut begin[level as usize];
        sorted[*at as usize] = position;
        *at += 1;
    });
    // Each count now stands at the end of its level, which is where the next one begins.
    begin.rotate_right(1);
    if let Some(first) = begin.first_mut() {
        *first = 0;
    }
}

/// Gathers by level what grouped uploads owe.
fn owe(groups: &Groups, hazards: &Hazards, out: &mut Levels) {
    out.owed.clear();
    let (owed, level) = (&mut out.owed, &out.level);
    let mut note = |level: u32, list: &[Hazard]| {
        for hazard in list {
            let known =
                owed.iter_mut().find(|(of, known)| *of == level && known.relation() == hazard.relation());
            match known {
                Some((_, known)) if known.is_before(*hazard, 0, 0) => *known = *hazard,
                Some(_) => {}
                None => owed.push((level, *hazard)),
            }
        }
    };
    for (range, list) in hazards.grouped.lists().filter(|(_, list)| !list.is_empty()) {
        if let Some(level) = out.grouped {
            note(level, list);
            continue;
        }
        let mut last = None;
        for upload in &groups.uploads[range] {
            let level = level[groups.position(upload) as usize];
            if last.replace(level) != Some(level) {
                note(level, list);
            }
        }
    }
    out.owed.sort_by_key(|o| o.0);
    out.details.clear();
    let details = hazards.grouped.details().iter().zip(0..);
    out.details.extend(details.map(|((position, _), index)| (out.level[*position as usize], index)));
    out.details.sort_unstable();
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
        passes.push(label::at(graph, state, positions.node(levels.graph[node])));
        at = levels.graph.neighbors(node).filter(|n| knot.contains(n)).min();
    }
    GraphError::Cycle { passes }
}

/// The kept nodes with their levels, as the schedule shows them.
pub(crate) fn placed(
    levels: &mut Levels,
    positions: Positions,
    (groups, kept): (&Groups, &Kept),
    out: &mut Vec<Placed>,
) {
    let Levels { level, sorted, begin, counts, grouped, uploads: ends, .. } = levels;
    let place = |p: u32| Placed { node: positions.node(p), level: level[p as usize] };
    if groups.len == 0 {
        out.extend(sorted.iter().map(|&p| place(p)));
        return;
    }
    if let (true, Some(level)) = (groups.len == positions.len(), *grouped) {
        let [prologue, rest] = positions.nodes();
        out.extend(prologue.map(|node| Placed { node, level }));
        out.extend(rest.map(|node| Placed { node, level }));
        return;
    }
    // Once more with the grouped uploads among them: how many nodes each level begins after.
    ends.clear();
    ends.extend(begin.iter().copied());
    let mut before = 0;
    let counts = counts.iter().copied().chain(std::iter::repeat(0));
    for (end, count) in ends.iter_mut().zip(counts) {
        *end += before;
        before += count;
    }
    let all = groups.len as usize + sorted.len();
    out.resize(all, Placed { node: 0, level: 0 });
    for p in (0..positions.len()).filter(|&p| kept.keep[p as usize]) {
        let at = &mut ends[level[p as usize] as usize];
        if let Some(out) = out.get_mut(*at as usize) {
            *out = place(p);
        }
        *at += 1;
    }
}
