//! The planner: owns the scratch memory and runs the phases in order.

pub(crate) mod barriers;
mod cache;
pub(crate) mod cull;
pub(crate) mod granules;
pub(crate) mod groups;
pub(crate) mod hazards;
pub(crate) mod label;
pub(crate) mod order;
pub(crate) mod radix;
pub(crate) mod resolve;
pub(crate) mod sequence;
pub(crate) mod transfers;
pub(crate) mod uploads;

use crate::coverage::{Coverage, EntryScopes};
use crate::error::{GraphError, PlanError};
use crate::frame::FrameGraph;
use crate::resource::ResourceId;
use crate::schedule::{Culled, HostRead, Schedule};
use crate::state::{By, GraphState, Mark, Part, RangeState, note};
use crate::uploads::UploadRule;
use cache::{Asked, Cache, Found, Made, Reused};
pub use cache::{PlanChange, PlanOrigin};
use groups::Leaves;
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
    /// Where the last plan is, if it is one that is kept.
    kept_plan: Option<Reused>,
    cache: Cache,
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
    /// A planner with no memory yet, which makes every plan anew.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A planner that keeps plans of up to `structures` frames that differ, and uses one again where a frame has the same
    /// structure and begins in the same state; 0 keeps none. The least recently used makes way. A plan that is used again
    /// is the one that would be made, byte for byte; [`Schedule::origin`] says which it is, and why.
    ///
    /// The structure is all that is declared but names and what uploads hold: passes, uses, ranges, sizes of transients,
    /// their backings, explicit orders, [`PlanOptions`]. Staging memory may move, all that a frame uses of one buffer
    /// alike, to other offsets or another buffer. A structure that is planned for the first time is only remembered; the
    /// plan is kept when it comes again. Frames of more than 262,144 uses and uploads, and frames of nothing but uploads to
    /// few buffers, are made anew each time.
    ///
    /// ```
    /// use memkit_graph::*;
    /// let mut state = GraphState::new();
    /// let sums = state.add_buffer(BufferDesc::new("sums", 64, BufferUsage::STORAGE));
    /// let (mut planner, mut frame) = (Planner::with_cache(4), FrameGraph::new());
    /// for _ in 0..8 {
    ///     frame.reset();
    ///     frame.pass("sum").overwrite(sums, Access::COMPUTE_STORAGE_WRITE).finish();
    ///     planner.plan(&frame, &mut state)?;
    ///     planner.commit(&mut state);
    /// }
    /// assert_eq!(planner.schedule().origin, PlanOrigin::Reused);
    /// # Ok::<(), PlanError>(())
    /// ```
    #[must_use]
    pub fn with_cache(structures: usize) -> Self {
        Planner { cache: Cache::new(structures), ..Self::default() }
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
        self.kept_plan = None;
        let asked = Asked { graph, options, backings };
        match self.cache.find(asked, state) {
            Found::Reused(reused) => self.kept_plan = Some(reused),
            Found::Anew { slot, origin } => {
                state.settle();
                let known = state.pairs.len();
                self.make(asked, state)?;
                self.schedule.origin = origin;
                // A later frame of this structure is planned with all accesses known from the start.
                let fit = state.pairs.len() == known;
                let made = Made {
                    resolved: &self.resolved,
                    groups: &self.groups,
                    hazards: &self.hazards,
                    levels: &self.levels,
                    scopes: &mut self.calls.scopes,
                    cover: &mut self.cover,
                    schedule: &mut self.schedule,
                };
                self.kept_plan = self.cache.keep(asked, state, (slot, origin), made, fit);
            }
        }
        self.planned_at = Some(state.commits);
        Ok(self.schedule())
    }

    /// Runs the phases.
    fn make(&mut self, asked: Asked<'_>, state: &mut GraphState) -> Result<(), PlanError> {
        let Asked { graph, options, backings } = asked;
        if self.groups.alone {
            // The two take turns otherwise, and so what is written next would be in no cache any more.
            std::mem::swap(&mut self.schedule.regions, &mut self.groups.uploads);
        }
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
        Ok(())
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
        self.kept_plan.and_then(|kept| self.cache.schedule(kept)).unwrap_or(&self.schedule)
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
        let (base, stale) = (state.next_level, planned_at != state.commits);
        state.commits += 1;
        if let Some(kept) = self.kept_plan {
            self.cache.commit(kept, state, stale, &mut self.cover);
            return;
        }
        state.settle();
        if stale {
            catch_up(state, &self.schedule, &self.calls.scopes, &mut self.cover);
        } else {
            std::mem::swap(&mut state.cover, &mut self.cover);
        }
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
                state.lay(id, tracks, |track, range| view.enter(track, range));
            }
        }
    }

    /// Takes in what grouped uploads wrote, where no map was made because nothing reads it.
    fn keep_grouped(&self, state: &mut GraphState, base: u64) {
        let Planner { groups, levels, resolved, schedule, .. } = self;
        for Leaves { id, pair, regions } in groups.leave(resolved, schedule) {
            let by = By { pair, base };
            match (groups.marked(), regions) {
                (Some(marked), _) => state.overwrite_marked(id, by, levels.grouped.unwrap_or(0), marked),
                (None, [one]) if state.overwrite_one(id, by, groups.written(one, levels)) => {}
                (None, regions) => {
                    let writes = regions.iter().map(|u| groups.written(u, levels));
                    state.overwrite(id, by, writes);
                }
            }
        }
    }
}

/// Enters a full barrier and then a plan's calls into coverage that another plan has moved on. `scratch` is overwritten.
fn catch_up(state: &mut GraphState, schedule: &Schedule, scopes: &[EntryScopes], scratch: &mut Coverage) {
    let base = state.next_level;
    state.cover.fit(&state.pairs);
    state.cover.apply_full(base);
    for call in &schedule.barriers {
        let entries = call.entries.start as usize..call.entries.end as usize;
        state.cover.apply(scopes.get(entries).unwrap_or(&[]), base + u64::from(call.level), scratch);
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
struct View<'a> {
    base: u64,
    level: &'a [u32],
    reads: &'a [ReadCell],
}

impl View<'_> {
    fn mark(&self, node: u32, pair: u16) -> Mark {
        Mark { pair, level: self.base + u64::from(self.level_of(node)) }
    }

    /// The newest of the reads from a place in the list on that are alike, and where the others begin.
    #[inline]
    fn newest(&self, head: u32) -> Option<(Mark, u32)> {
        let first = self.reads.get(head as usize)?;
        let (mut level, mut at) = (self.level_of(first.node), first.next);
        while let Some(cell) = self.reads.get(at as usize).filter(|c| c.pair == first.pair) {
            level = level.max(self.level_of(cell.node));
            at = cell.next;
        }
        Some((Mark { pair: first.pair, level: self.base + u64::from(level) }, at))
    }

    #[inline]
    fn level_of(&self, node: u32) -> u32 {
        self.level.get(node as usize).copied().unwrap_or(0)
    }

    /// Adds the marks of a track to a range: a write replaces what was there.
    #[inline]
    fn enter(&self, track: &Track, range: &mut RangeState) {
        let mut newest = self.newest(track.reads);
        if track.write != NONE {
            range.rewrite(self.mark(track.write, track.pair));
            match (newest, range.reads.as_mut_slice()) {
                (None, []) => {}
                // Most are read by one access, frame by frame.
                (Some((mark, next)), [only]) => {
                    *only = mark;
                    newest = self.newest(next);
                }
                _ => range.reads.clear(),
            }
        }
        while let Some((mark, next)) = newest {
            note(&mut range.reads, mark);
            newest = self.newest(next);
        }
    }
}

impl Part for Track {
    fn start(&self) -> u64 {
        self.start
    }
}
