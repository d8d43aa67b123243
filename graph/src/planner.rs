//! The planner: owns the scratch memory and runs the phases in order.

pub(crate) mod barriers;
pub(crate) mod cull;
pub(crate) mod groups;
pub(crate) mod hazards;
pub(crate) mod label;
pub(crate) mod order;
pub(crate) mod radix;
pub(crate) mod resolve;
pub(crate) mod transfers;
pub(crate) mod uploads;

use crate::coverage::Coverage;
use crate::error::{GraphError, PlanError};
use crate::frame::FrameGraph;
use crate::resource::ResourceId;
use crate::schedule::{CopyRegion, Culled, HostRead, Schedule};
use crate::state::{By, GraphState, Mark, RangeState, Ranges, Written, note};
use crate::uploads::UploadRule;
use hazards::{NONE, ReadCell, Track};

/// What a plan is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Collect a [`Cause`](crate::Cause) for each hazard that needed a barrier. The barriers are the same either way.
    pub causes: bool,
    /// What decides how uploads travel.
    pub uploads: UploadRule,
}

/// Plans frames. Keep one and use it again: after warm-up planning allocates nothing.
///
/// [`plan`](Self::plan) looks at the state and does not move it; [`commit`](Self::commit) does, once the schedule is
/// submitted.
#[derive(Debug, Default)]
pub struct Planner {
    resolved: resolve::Resolved,
    groups: groups::Groups,
    kept: cull::Kept,
    hazards: hazards::Hazards,
    levels: order::Levels,
    calls: barriers::Calls,
    transfers: transfers::Transfers,
    uploads: uploads::Uploads,
    cover: Coverage,
    schedule: Schedule,
    /// The commit count of the state this plan was made for; none if there is no plan.
    planned_at: Option<u64>,
    spare: Ranges,
}

/// Declaration order: the prologue's nodes come before the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Positions {
    first: u32,
    len: u32,
}

impl Positions {
    fn new(graph: &FrameGraph) -> Self {
        let len = graph.len() as u32;
        Positions { first: graph.prologue.unwrap_or(0).min(len), len }
    }

    /// All nodes in declaration order: those of the prologue, and the rest.
    pub(crate) fn nodes(self) -> [std::ops::Range<u32>; 2] {
        [self.first..self.len, 0..self.first]
    }

    pub(crate) fn len(self) -> u32 {
        self.len
    }

    /// Position of the node in the frame, from its place in declaration order.
    pub(crate) fn node(self, position: u32) -> u32 {
        let prologue = self.len - self.first;
        if position < prologue { self.first + position } else { position - prologue }
    }

    /// The reverse of [`node`](Self::node).
    pub(crate) fn of(self, node: u32) -> u32 {
        if node >= self.first { node - self.first } else { node + (self.len - self.first) }
    }
}

impl Planner {
    /// A planner with no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a frame with causes, its transients in memory of their own, its uploads as copies.
    ///
    /// # Errors
    /// What is wrong with the frame. The state has not moved.
    pub fn plan(&mut self, graph: &FrameGraph, state: &mut GraphState) -> Result<&Schedule, PlanError> {
        self.plan_with(graph, state, PlanOptions { causes: true, ..PlanOptions::default() }, &[])
    }

    /// Plans a frame. `backings` names, for transients by position, the persistent buffer whose memory a transient
    /// gets: what earlier frames did there is a hazard, but its bytes are undefined.
    ///
    /// The state learns new kinds of access, and nothing else.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn plan_with(
        &mut self,
        graph: &FrameGraph,
        state: &mut GraphState,
        options: PlanOptions,
        backings: &[Option<ResourceId>],
    ) -> Result<&Schedule, PlanError> {
        self.planned_at = None;
        self.schedule.clear();
        let mut errors = Vec::new();
        let positions = Positions::new(graph);
        resolve::run(graph, state, backings, &mut self.resolved, &mut errors);
        fail(&mut errors)?;
        groups::run(graph, positions, &mut self.resolved, options.causes, &mut self.groups);
        cull::run(graph, positions, (&self.resolved, &self.groups), &mut self.kept);
        self.schedule.uploads = uploads::run(
            (graph, positions),
            (&self.groups, &self.kept),
            options.uploads,
            &mut state.pairs,
            (&mut self.resolved, &mut self.uploads),
        );
        state.cover.fit(&state.pairs);
        self.cover.clone_from(&state.cover);
        hazards::run(
            graph,
            state,
            &self.cover,
            positions,
            (&self.resolved, &self.groups, &self.kept),
            options.causes,
            &mut self.hazards,
            &mut errors,
        );
        fail(&mut errors)?;
        order::run(graph, state, positions, (&self.groups, &self.kept, &self.hazards), &mut self.levels)
            .map_err(|first| PlanError { first, others: Vec::new() })?;
        // Explicit orders and the host may have brought new accesses.
        state.cover.fit(&state.pairs);
        self.cover.fit(&state.pairs);
        let frame = barriers::Frame {
            pairs: &state.pairs,
            positions,
            hazards: &self.hazards,
            levels: &self.levels,
            base: state.next_level,
            causes: options.causes,
        };
        barriers::run(frame, &mut self.cover, &mut self.calls, &mut self.schedule);
        transfers::run(
            graph,
            positions,
            (&self.resolved, &mut self.groups, &self.kept),
            &self.levels,
            &mut self.transfers,
            &mut self.schedule,
        );
        self.describe(graph, positions);
        self.planned_at = Some(state.commits);
        Ok(&self.schedule)
    }

    /// Fills the parts of the schedule that are there to be looked at.
    fn describe(&mut self, graph: &FrameGraph, positions: Positions) {
        let schedule = &mut self.schedule;
        schedule.resources.extend(self.resolved.locals.iter().map(|l| l.resource));
        order::placed(&mut self.levels, positions, (&self.groups, &self.kept), &mut schedule.order);
        let culled = self.kept.culled.iter().rev();
        schedule.culled.extend(culled.map(|&(node, reason)| Culled { node, reason }));
        transfers::trimmed(graph, positions, (&self.resolved, &self.kept), schedule);
        schedule.host_reads.extend(self.hazards.host_details.iter().filter_map(|d| {
            let resource = d.local?;
            Some(HostRead { resource, offset: d.range.start, size: d.range.end - d.range.start })
        }));
    }

    /// The last plan.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether another plan was committed since this one was made. Its barriers then miss what the other did: submit
    /// it behind a full barrier, and commit it all the same.
    #[must_use]
    pub fn is_stale(&self, state: &GraphState) -> bool {
        self.planned_at != Some(state.commits)
    }

    /// Moves the state on by the last plan; does nothing if there is none, or it was committed before.
    ///
    /// If the plan [`is_stale`](Self::is_stale), a full barrier is taken to stand before it.
    pub fn commit(&mut self, state: &mut GraphState) {
        let Some(planned_at) = self.planned_at.take() else { return };
        let base = state.next_level;
        if planned_at == state.commits {
            std::mem::swap(&mut state.cover, &mut self.cover);
        } else {
            self.catch_up(state, base);
        }
        state.commits += 1;
        state.next_level = base + u64::from(self.levels.last()) + 1;
        self.keep_grouped(state, base);
        if self.groups.alone {
            return;
        }
        let view = View { base, level: &self.levels.level, reads: &self.hazards.reads };
        for (local, index) in self.resolved.locals.iter().zip(0..) {
            let tracks = self.hazards.tracks(index);
            let tracks = tracks.as_slice();
            if tracks.is_empty() {
                continue;
            }
            if let Some(id) = local.backing {
                merge(state, id, tracks, view, &mut self.spare);
            }
        }
    }

    /// Takes in what grouped uploads wrote, where no map was made because nothing reads it.
    fn keep_grouped(&self, state: &mut GraphState, base: u64) {
        let Planner { groups, levels, resolved, schedule, .. } = self;
        // The schedule has them as they are, if there is nothing else.
        let all = if groups.uploads.is_empty() { &schedule.regions } else { &groups.uploads };
        for group in &groups.groups {
            let local = &resolved.locals[group.local as usize];
            let pair = resolved.upload_pairs[usize::from(local.scattered)];
            let mapped = local.read || local.host_visible;
            let Some(id) = local.backing.filter(|_| !mapped) else { continue };
            let uploads = all.get(group.range()).unwrap_or(&[]);
            let by = By { pair, base };
            if let ([one], Some(level)) = (uploads, levels.grouped)
                && state.overwrite_one(id, by, Written { start: one.dst, end: one.dst + one.size, level })
            {
                continue;
            }
            let uploads = uploads.iter();
            let write = |u: &CopyRegion, level| Written { start: u.dst, end: u.dst + u.size, level };
            match levels.grouped {
                Some(level) => state.overwrite(id, by, uploads.map(|u| write(u, level))),
                None => {
                    let level = |u| levels.level[groups.position(u) as usize];
                    state.overwrite(id, by, uploads.map(|u| write(u, level(u))));
                }
            }
        }
    }

    /// Enters a full barrier and then this plan's calls into coverage that another plan has moved on.
    fn catch_up(&mut self, state: &mut GraphState, base: u64) {
        state.cover.fit(&state.pairs);
        state.cover.apply_full(base);
        for call in &self.schedule.barriers {
            let scopes = &self.calls.scopes[call.entries.start as usize..call.entries.end as usize];
            state.cover.apply(scopes, base + u64::from(call.level), &mut self.cover);
        }
    }
}

fn fail(errors: &mut Vec<GraphError>) -> Result<(), PlanError> {
    if errors.is_empty() {
        return Ok(());
    }
    let first = errors.remove(0);
    Err(PlanError { first, others: std::mem::take(errors) })
}

/// What is needed to turn this frame's tracks into marks.
#[derive(Clone, Copy)]
struct View<'a> {
    base: u64,
    level: &'a [u32],
    reads: &'a [ReadCell],
}

impl View<'_> {
    fn mark(&self, node: u32, pair: u16) -> Mark {
        Mark { pair, level: self.base + u64::from(self.level[node as usize]) }
    }

    /// Adds the marks of a track to a range: a write replaces what was there.
    fn enter(&self, track: &Track, range: &mut RangeState) {
        if track.write != NONE {
            range.overwrite(self.mark(track.write, track.pair));
        }
        let Some(first) = self.reads.get(track.reads as usize) else { return };
        // Neighbours are often alike.
        let mut newest = self.mark(first.node, first.pair);
        let mut at = first.next;
        while let Some(cell) = self.reads.get(at as usize) {
            let mark = self.mark(cell.node, cell.pair);
            if mark.pair == newest.pair {
                newest.level = newest.level.max(mark.level);
            } else {
                note(&mut range.reads, newest);
                newest = mark;
            }
            at = cell.next;
        }
        note(&mut range.reads, newest);
    }
}

/// Lays a frame's tracks over the ranges of a resource.
fn merge(state: &mut GraphState, id: ResourceId, tracks: &[Track], view: View<'_>, spare: &mut Ranges) {
    let Some(persistent) = state.get_mut(id) else { return };
    if let ([track], [range]) = (tracks, persistent.ranges.as_mut_slice()) {
        view.enter(track, range);
        return;
    }
    spare.clear();
    let old = persistent.ranges.as_slice();
    let (mut t, mut r) = (0, 0);
    let mut start = 0;
    loop {
        let track_end = tracks.get(t + 1).map(|n| n.start);
        let range_end = old.get(r + 1).map(|n| n.start);
        let mut range = RangeState { start, ..old[r].clone() };
        view.enter(&tracks[t], &mut range);
        spare.push(range);
        let end = match (track_end, range_end) {
            (Some(a), Some(b)) => a.min(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => break,
        };
        t += usize::from(track_end == Some(end));
        r += usize::from(range_end == Some(end));
        start = end;
    }
    state.set_ranges(id, spare);
}
