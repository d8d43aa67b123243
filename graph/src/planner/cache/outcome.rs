//! What came of planning: the schedule, and where it leaves the state.

use super::{Moves, Shift};
use crate::PlanOrigin;
use crate::coverage::{Coverage, EntryScopes};
use crate::pairs::PairId;
use crate::planner::groups::Groups;
use crate::planner::hazards::{Hazards, NONE, Track};
use crate::planner::order::Levels;
use crate::planner::resolve::Resolved;
use crate::planner::{Left, Ranges, catch_up, merge};
use crate::resource::{HostSlice, Resource, ResourceId};
use crate::schedule::{BufferRef, Command, CopyRegion, Schedule};
use crate::state::{By, GraphState, Mark, RangeState, Written, note};

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
    groups: Vec<Group>,
    written: Vec<Written>,
    resources: Vec<Leaves>,
    parts: Vec<Part>,
    reads: Vec<Access>,
}

/// What grouped uploads wrote to one resource: so many of `written`.
#[derive(Clone, Copy, Debug)]
struct Group {
    id: ResourceId,
    pair: PairId,
    len: u32,
}

/// What is left in one resource: so many of `parts`.
#[derive(Clone, Copy, Debug)]
struct Leaves {
    id: ResourceId,
    len: u32,
}

/// What is left in a range: its write, and the reads since, in `reads`.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    write: Option<Access>,
    reads: (u32, u32),
}

/// An access at a level of the frame.
#[derive(Clone, Copy, Debug)]
struct Access {
    level: u32,
    pair: PairId,
}

impl Access {
    #[inline]
    fn mark(self, base: u64) -> Mark {
        Mark { pair: self.pair, level: base + u64::from(self.level) }
    }
}

impl Left for Part {
    fn start(&self) -> u64 {
        self.start
    }
}

impl Outcome {
    /// Takes over a plan: the schedule, what its entries cover, and the coverage after it are swapped for what was here.
    pub(super) fn keep(&mut self, made: Made<'_>) {
        std::mem::swap(&mut self.schedule, made.schedule);
        std::mem::swap(&mut self.scopes, made.scopes);
        std::mem::swap(&mut self.cover, made.cover);
        self.last = made.levels.last();
        let serials = self.schedule.resources.iter().filter_map(|r| match r {
            Resource::Transient(id) => Some(id.frame),
            Resource::Persistent(_) => None,
        });
        self.serial = serials.last();
        let commands = self.schedule.queues.iter().take(1).flat_map(|queue| &queue.commands);
        let staged = |command: &Command| matches!(command, Command::Copy { from: BufferRef::Host(_), .. });
        self.uploads.clear();
        self.uploads.extend((0..).zip(commands).filter(|(_, command)| staged(command)).map(|(at, _)| at));
        self.keep_groups(made.resolved, made.groups, made.hazards, made.levels);
        self.keep_parts(made.resolved, made.hazards, made.levels);
    }

    /// What grouped uploads wrote, where no map was made because nothing reads it.
    fn keep_groups(&mut self, resolved: &Resolved, groups: &Groups, hazards: &Hazards, levels: &Levels) {
        self.groups.clear();
        self.written.clear();
        for group in &groups.groups {
            let local = &resolved.locals[group.local as usize];
            let mapped = !hazards.tracks(group.local).as_slice().is_empty();
            let Some(id) = local.backing.filter(|_| !mapped) else { continue };
            let uploads = groups.uploads.get(groups.range(group)).unwrap_or(&[]);
            let pair = resolved.upload_pairs[usize::from(local.scattered)];
            self.groups.push(Group { id, pair, len: uploads.len() as u32 });
            let level = |position: u32| levels.level[position as usize];
            let written =
                uploads.iter().map(|u| Written { start: u.start, end: u.end, level: level(u.position) });
            self.written.extend(written);
        }
    }

    fn keep_parts(&mut self, resolved: &Resolved, hazards: &Hazards, levels: &Levels) {
        self.resources.clear();
        self.parts.clear();
        self.reads.clear();
        for (local, index) in resolved.locals.iter().zip(0..) {
            let tracks = hazards.tracks(index);
            let tracks = tracks.as_slice();
            let Some(id) = local.backing.filter(|_| !tracks.is_empty()) else { continue };
            self.resources.push(Leaves { id, len: tracks.len() as u32 });
            tracks.iter().for_each(|track| self.keep_part(track, hazards, levels));
        }
    }

    fn keep_part(&mut self, track: &Track, hazards: &Hazards, levels: &Levels) {
        let access = |node: u32, pair| Access { level: levels.level[node as usize], pair };
        let begin = self.reads.len();
        let mut at = track.reads;
        while let Some(cell) = hazards.reads.get(at as usize) {
            at = cell.next;
            let read = access(cell.node, cell.pair);
            match self.reads[begin..].iter_mut().find(|known| known.pair == read.pair) {
                Some(known) => known.level = known.level.max(read.level),
                None => self.reads.push(read),
            }
        }
        let write = (track.write != NONE).then(|| access(track.write, track.pair));
        let reads = (begin as u32, self.reads.len() as u32);
        self.parts.push(Part { start: track.start, write, reads });
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
        let go = |buffer: &mut BufferRef, regions: &mut [CopyRegion]| {
            let BufferRef::Host(number) = *buffer else { return };
            for region in regions {
                region.src = moves.apply(HostSlice { buffer: number, offset: region.src }).offset;
            }
            *buffer = BufferRef::Host(moves.apply(HostSlice { buffer: number, offset: 0 }).buffer);
        };
        let Some(queue) = queues.first_mut() else { return };
        for &at in &self.uploads {
            if let Some(Command::Copy { from, regions: range, .. }) = queue.commands.get_mut(at as usize) {
                let range = range.start as usize..range.end as usize;
                go(from, regions.get_mut(range).unwrap_or_default());
            }
        }
        for scatter in scatters {
            go(&mut scatter.from, std::slice::from_mut(&mut scatter.region));
        }
    }

    /// Moves the coverage of a state on that is as the plan found it.
    pub(super) fn cover(&self, state: &mut GraphState, shift: Shift) {
        state.cover.follow(&self.cover, shift.moving, shift.by);
    }

    /// Moves coverage on that another plan has moved meanwhile. `scratch` is overwritten.
    pub(super) fn catch_up(&self, state: &mut GraphState, scratch: &mut Coverage) {
        catch_up(state, &self.schedule, &self.scopes, scratch);
    }

    /// Moves the resources and the level of a state on.
    pub(super) fn commit(&self, state: &mut GraphState, spare: &mut Ranges) {
        let base = state.next_level;
        state.next_level = base + u64::from(self.last) + 1;
        let mut written = self.written.as_slice();
        for group in &self.groups {
            let (these, rest) = written.split_at(group.len as usize);
            written = rest;
            state.overwrite(group.id, By { pair: group.pair, base }, these.iter().copied());
        }
        let enter = |part: &Part, range: &mut RangeState| {
            if let Some(write) = part.write {
                range.overwrite(write.mark(base));
            }
            let (begin, end) = part.reads;
            let reads = self.reads.get(begin as usize..end as usize).unwrap_or(&[]);
            reads.iter().for_each(|read| note(&mut range.reads, read.mark(base)));
        };
        let mut parts = self.parts.as_slice();
        for leaves in &self.resources {
            let (these, rest) = parts.split_at(leaves.len as usize);
            parts = rest;
            merge(state, leaves.id, these, enter, spare);
        }
    }
}
