//! What came of planning: the schedule, and where it leaves the state.

use super::{Moves, Shift};
use crate::PlanOrigin;
use crate::coverage::{Coverage, EntryScopes};
use crate::planner::catch_up;
use crate::planner::groups::Groups;
use crate::planner::hazards::{Hazards, NONE};
use crate::planner::order::Levels;
use crate::planner::resolve::Resolved;
use crate::resource::{HostSlice, Resource};
use crate::schedule::{BufferRef, Command, Schedule, range};
use crate::state::{GraphState, Leaving, Left};
use std::ops::Range;
use std::sync::Arc;

/// What the phases made of a frame.
pub(crate) struct Made<'a> {
    pub(crate) resolved: &'a Resolved,
    pub(crate) groups: &'a Groups,
    pub(crate) hazards: &'a Hazards,
    pub(crate) levels: &'a Levels,
    pub(crate) scopes: &'a mut Vec<EntryScopes>,
    pub(crate) cover: &'a mut Coverage,
    pub(crate) schedule: &'a mut Schedule,
}

/// A plan that is kept.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) schedule: Schedule,
    scopes: Vec<EntryScopes>,
    /// The coverage after it.
    cover: Coverage,
    /// Number of the last level.
    last: u32,
    /// Positions of commands on the first queue that copy from staging memory.
    uploads: Vec<u32>,
    /// Serial number of the frame whose transients the schedule names; none if it names none.
    serial: Option<u32>,
    left: Arc<Left>,
}

impl Outcome {
    /// Takes over a plan: the schedule, what its entries cover, and the coverage after it are swapped for what was here.
    pub(super) fn keep(&mut self, made: Made<'_>) {
        std::mem::swap(&mut self.schedule, made.schedule);
        std::mem::swap(&mut self.scopes, made.scopes);
        std::mem::swap(&mut self.cover, made.cover);
        self.last = made.levels.last();
        let mut serials = self.schedule.resources.iter().filter_map(|r| match r {
            Resource::Transient(id) => Some(id.frame),
            Resource::Persistent(_) => None,
        });
        self.serial = serials.next();
        let commands = self.schedule.queues.iter().take(1).flat_map(|queue| &queue.commands);
        let staged = |command: &Command| matches!(command, Command::Copy { from: BufferRef::Host(_), .. });
        self.uploads.clear();
        self.uploads.extend((0..).zip(commands).filter(|(_, command)| staged(command)).map(|(at, _)| at));
        if Arc::get_mut(&mut self.left).is_none() {
            // A state still owes the last one's.
            self.left = Arc::default();
        }
        if let Some(left) = Arc::get_mut(&mut self.left) {
            left.clear();
            let (resolved, groups, levels) = (made.resolved, made.groups, made.levels);
            debug_assert!(groups.marked().is_none(), "frames of uploads to one buffer are not remembered");
            for leaves in groups.leave(resolved, &self.schedule) {
                let written = leaves.regions.iter().map(|u| groups.written(u, levels));
                left.push_group(leaves.id, leaves.pair, written);
            }
            leave_parts(left, made.resolved, made.hazards, made.levels);
        }
    }

    /// Makes it the plan of a frame of the same structure, whose staging memory went elsewhere.
    pub(super) fn follow(&mut self, serial: u32, moves: &Moves) {
        self.schedule.origin = PlanOrigin::Reused;
        if self.serial.is_some_and(|known| known != serial) {
            self.serial = Some(serial);
            for resource in &mut self.schedule.resources {
                if let Resource::Transient(id) = resource {
                    id.frame = serial;
                }
            }
        }
        if moves.any() {
            self.move_staging(moves);
        }
    }

    fn move_staging(&mut self, moves: &Moves) {
        let Schedule { queues, regions, scatters, .. } = &mut self.schedule;
        let mut go = |buffer: &mut BufferRef, of: &Range<u32>| {
            let BufferRef::Host(number) = *buffer else { return };
            for region in regions.get_mut(range(of)).unwrap_or_default() {
                region.src = moves.apply(HostSlice { buffer: number, offset: region.src }).offset;
            }
            *buffer = BufferRef::Host(moves.apply(HostSlice { buffer: number, offset: 0 }).buffer);
        };
        let Some(queue) = queues.first_mut() else { return };
        for &at in &self.uploads {
            if let Some(Command::Copy { from, regions, .. }) = queue.commands.get_mut(at as usize) {
                go(from, regions);
            }
        }
        for part in scatters {
            go(&mut part.from, &part.regions);
        }
    }

    /// Takes on another start.
    pub(super) fn rebase(&mut self, shift: Shift) {
        self.cover.advance(shift.moving, shift.by);
    }

    /// Levels of the frame.
    pub(super) fn levels(&self) -> u64 {
        u64::from(self.last) + 1
    }

    /// Moves the coverage of a state on that is as the plan found it.
    pub(super) fn cover(&self, state: &mut GraphState, shift: Shift) {
        state.cover.clone_tables(&self.cover);
        state.cover.advance(shift.moving, shift.by);
    }

    /// Moves coverage on that another plan has moved meanwhile. `scratch` is overwritten.
    pub(super) fn catch_up(&self, state: &mut GraphState, scratch: &mut Coverage) {
        catch_up(state, &self.schedule, &self.scopes, scratch);
    }

    /// Moves the resources and the level of a state on. If the plan is one of several in a row that all leave the same,
    /// `later`, what it leaves is owed.
    pub(super) fn leave(&self, state: &mut GraphState, later: bool) {
        let base = state.next_level;
        state.next_level = base + self.levels();
        if later {
            state.owe(&self.left, base);
        } else {
            state.settle();
            self.left.enter(state, base);
        }
    }
}

fn leave_parts(left: &mut Left, resolved: &Resolved, hazards: &Hazards, levels: &Levels) {
    let access = |node: u32, pair| Leaving { level: levels.level[node as usize], pair };
    for (local, index) in resolved.locals.iter().zip(0..) {
        let tracks = hazards.tracks(index);
        let tracks = tracks.as_slice();
        let Some(id) = local.backing.filter(|_| !tracks.is_empty()) else { continue };
        left.push_resource(id, tracks.len());
        for track in tracks {
            let first = hazards.reads.get(track.reads as usize);
            let cells = std::iter::successors(first, |cell| hazards.reads.get(cell.next as usize));
            let write = (track.write != NONE).then(|| access(track.write, track.pair));
            left.push_part(track.start, write, cells.map(|cell| access(cell.node, cell.pair)));
        }
    }
}
