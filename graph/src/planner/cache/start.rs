//! What a plan starts from: where earlier frames left the resources of the frame, and what their barriers cover.
//!
//! Levels count on from frame to frame, so a later start is never the same in absolute numbers. A plan depends on how
//! levels compare with each other only. So a start is as good as another if everything in it that can matter moved by the
//! same number of levels:
//!
//! - What an earlier frame did to a range is *covered* if the barriers before the frame order it against everything the
//!   frame does there. Then no hazard comes of it, at whatever level it was: it has to be covered again, by comparison with
//!   the coverage now.
//! - Else it must have moved along, exactly.
//! - Of the coverage each level moved along, or stayed where it was. Those that stayed must be below all that moved, what
//!   earlier frames did and is not covered included: then no comparison comes out otherwise, and what is the greatest of
//!   some levels is still that ([`Coverage::moved`]).
//!
//! Where frames of one plan follow each other without anything in between, this is looked at twice and no more. The second
//! start came from the first by the plan alone; if that moved or left alone everything above, it will do the same to the
//! second, and so on. What is covered must then also stay so: what was moved towards a level that was left alone would
//! reach it one day ([`Start::is_steady`]).

use super::PlanChange;
use crate::coverage::Coverage;
use crate::frame::FrameGraph;
use crate::pairs::{PairId, PairTable};
use crate::planner::resolve::Resolved;
use crate::resource::ResourceId;
use crate::state::{GraphState, Init, Mark, Persistent, RangeState};

/// How levels moved between two starts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shift {
    /// Levels from here on moved.
    pub(super) moving: u64,
    pub(super) by: u64,
}

/// A start.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// Identity of the state.
    state: u64,
    /// The level the frame begins at.
    base: u64,
    /// Number of accesses known.
    accesses: usize,
    resources: Vec<Known>,
    ranges: Vec<KnownRange>,
    marks: Vec<KnownMark>,
    covers: Vec<Cover>,
    /// Up to which level (exclusive) what each of `covers` is about is covered.
    covered: Vec<u64>,
    cover: Coverage,
    /// The buffers taken out of the state so far.
    removals: u64,
    /// If the plan just repeats from here on: from which level on levels move.
    steady: Option<u64>,
    /// Level of the first that was done and is not covered.
    oldest: u64,
    /// What the frame does to each of `ranges`.
    done: Vec<Done>,
    /// By local resource, where its ranges begin.
    begin: Vec<usize>,
    /// As `marks` and `covered`, of the start that is looked at.
    marks_now: Vec<u64>,
    covered_now: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: ResourceId,
    local: u32,
    ranges: u32,
}

#[derive(Clone, Copy, Debug)]
struct KnownRange {
    start: u64,
    writes: u32,
    reads: u32,
    init: Init,
    coarsened: bool,
}

#[derive(Clone, Copy, Debug)]
struct KnownMark {
    level: u64,
    pair: PairId,
    /// Position in `covers`, or [`MOVES`].
    cover: u16,
}

/// Not covered.
const MOVES: u16 = u16::MAX;

/// What one access did, and against what it has to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cover {
    src: PairId,
    /// Whether it was a write.
    wrote: bool,
    /// Accesses, a bit each.
    dst: u128,
}

/// What a frame does to a range: accesses of all uses, and of those that write, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    any: u128,
    writes: u128,
}

/// Accesses with numbers from here on have no bit.
const MAX_PAIRS: usize = 128;

/// Whether starts of a frame can be told apart.
pub(super) fn comparable(resolved: &Resolved) -> bool {
    let uploads = resolved.upload_pairs.iter().copied();
    resolved.uses.iter().map(|u| u.pair).chain(uploads).all(|pair| usize::from(pair) < MAX_PAIRS)
        && resolved.locals.iter().all(|local| local.size < 1 << 62)
}

impl Start {
    /// Keeps where a frame that was just planned starts.
    pub(super) fn keep(&mut self, state: &GraphState, graph: &FrameGraph, resolved: &Resolved) {
        self.state = state.identity;
        self.base = state.next_level;
        self.accesses = state.pairs.len();
        self.cover.clone_from(&state.cover);
        self.resources.clear();
        self.ranges.clear();
        self.marks.clear();
        self.covers.clear();
        self.oldest = u64::MAX;
        self.keep_ranges(state, resolved);
        self.do_uses(graph, resolved);
        self.keep_marks(state);
        self.covered.clear();
        self.covered.extend(self.covers.iter().map(|cover| cover.level(&state.cover, &state.pairs)));
        self.removals = state.removals;
        self.steady = None;
    }

    fn keep_ranges(&mut self, state: &GraphState, resolved: &Resolved) {
        self.begin.clear();
        for (local, number) in resolved.locals.iter().zip(0..) {
            self.begin.push(self.ranges.len());
            let Some((id, found)) = local.backing.and_then(|id| Some((id, state.get(id)?))) else { continue };
            self.ranges.extend(found.ranges.iter().map(KnownRange::new));
            self.resources.push(Known { id, local: number, ranges: found.ranges.len() as u32 });
        }
        self.begin.push(self.ranges.len());
    }

    /// Notes what the frame does to each range.
    fn do_uses(&mut self, graph: &FrameGraph, resolved: &Resolved) {
        self.done.clear();
        self.done.resize(self.ranges.len(), Done::default());
        for u in &resolved.uses {
            self.do_use(u.local, (u.start, u.end), Done::new(u.pair, u.writes()));
        }
        for upload in &graph.uploads {
            let number = resolved.local_of(upload);
            let Some(local) = resolved.locals.get(number as usize) else { continue };
            let pair = resolved.upload_pairs[usize::from(local.scattered)];
            self.do_use(number, upload.range(local.size), Done::new(pair, true));
        }
    }

    fn do_use(&mut self, local: u32, (start, end): (u64, u64), what: Done) {
        let all = self.begin[local as usize]..self.begin[local as usize + 1];
        let ranges = &self.ranges[all.clone()];
        let first = ranges.partition_point(|r| r.start <= start).saturating_sub(1);
        let touched = ranges.iter().zip(&mut self.done[all]).skip(first).take_while(|(r, _)| r.start < end);
        touched.for_each(|(_, done)| done.add(what));
    }

    fn keep_marks(&mut self, state: &GraphState) {
        let mut at = 0;
        for number in 0..self.resources.len() {
            let Some(found) = state.get(self.resources[number].id) else { continue };
            for range in &found.ranges {
                let done = self.done[at];
                at += 1;
                range.writes.iter().for_each(|mark| self.keep_mark(state, *mark, true, done.any));
                range.reads.iter().for_each(|mark| self.keep_mark(state, *mark, false, done.writes));
            }
        }
    }

    fn keep_mark(&mut self, state: &GraphState, mark: Mark, wrote: bool, dst: u128) {
        let cover = Cover { src: mark.pair, wrote, dst };
        let known = self.covers.iter().position(|known| *known == cover).unwrap_or_else(|| {
            self.covers.push(cover);
            self.covers.len() - 1
        });
        let covered = mark.level < cover.level(&state.cover, &state.pairs);
        let cover = u16::try_from(known).ok().filter(|_| covered).unwrap_or(MOVES);
        if cover == MOVES {
            self.oldest = self.oldest.min(mark.level);
        }
        self.marks.push(KnownMark { level: mark.level, pair: mark.pair, cover });
    }

    /// Whether it is a start of this state.
    pub(super) fn is_of(&self, state: &GraphState) -> bool {
        self.state == state.identity
    }

    /// How a start differs that came from this one by the plan alone, any number of times, if nothing more is to be looked
    /// at.
    pub(super) fn repeats(&self, state: &GraphState) -> Option<Shift> {
        let same = self.accesses == state.pairs.len() && self.removals == state.removals;
        let moving = self.steady.filter(|_| same)?;
        Some(Shift { moving, by: state.next_level.checked_sub(self.base)? })
    }

    /// Compares a start. If a frame planned from it gets the same plan, takes it on in place of the one that was known, and
    /// returns how it differs. `levels`: those of the plan, if the start came from that one by the plan alone.
    pub(super) fn verify(&mut self, state: &GraphState, levels: Option<u64>) -> Result<Shift, PlanChange> {
        self.steady = None;
        let by = state.next_level.checked_sub(self.base).ok_or(PlanChange::State)?;
        if self.state != state.identity {
            return Err(PlanChange::State);
        }
        if self.accesses != state.pairs.len() {
            return Err(PlanChange::Accesses);
        }
        let moving = self.cover.moved(&state.cover, by, self.oldest).ok_or(PlanChange::Coverage)?;
        self.covered_now.clear();
        self.covered_now.extend(self.covers.iter().map(|cover| cover.level(&state.cover, &state.pairs)));
        self.marks_now.clear();
        let (mut ranges, mut marks) = (self.ranges.as_slice(), self.marks.as_slice());
        for known in &self.resources {
            let same = state.get(known.id).is_some_and(|found| {
                let now = (self.covered_now.as_slice(), &mut self.marks_now);
                found.ranges.len() == known.ranges as usize
                    && same_ranges(found, (&mut ranges, &mut marks), now, by)
            });
            if !same {
                return Err(PlanChange::Resource { resource: known.local });
            }
        }
        if levels == Some(by) && self.is_steady(by) {
            self.steady = Some(moving);
        }
        self.take_on(state, by);
        Ok(Shift { moving, by })
    }

    /// Whether what is covered now, which the plan moved by so many levels or left alone, stays so.
    fn is_steady(&self, by: u64) -> bool {
        let moved = |then: u64, now: u64| now.checked_sub(then) == Some(by);
        self.marks.iter().zip(&self.marks_now).all(|(then, &now)| {
            let cover = usize::from(then.cover);
            match (self.covered.get(cover), self.covered_now.get(cover)) {
                (Some(&before), Some(&after)) => {
                    let follows = moved(before, after) || after == u64::MAX;
                    now == then.level || moved(then.level, now) && follows
                }
                _ => true,
            }
        })
    }

    fn take_on(&mut self, state: &GraphState, by: u64) {
        self.base = state.next_level;
        self.removals = state.removals;
        self.cover.clone_from(&state.cover);
        self.oldest = self.oldest.saturating_add(by);
        std::mem::swap(&mut self.covered, &mut self.covered_now);
        for (mark, &level) in self.marks.iter_mut().zip(&self.marks_now) {
            mark.level = level;
        }
    }
}

/// Whether all ranges of a resource are as they were; what is known of it is taken off the front of the lists.
#[inline]
fn same_ranges(
    found: &Persistent,
    (ranges, marks): (&mut &[KnownRange], &mut &[KnownMark]),
    (covered, levels): (&[u64], &mut Vec<u64>),
    by: u64,
) -> bool {
    let same_mark = |known: &KnownMark, mark: &Mark| {
        let same_level = match covered.get(usize::from(known.cover)) {
            Some(&level) => mark.level < level,
            None => mark.level == known.level + by,
        };
        known.pair == mark.pair && same_level
    };
    found.ranges.iter().all(|range| {
        let Some((known, rest)) = ranges.split_first() else { return false };
        *ranges = rest;
        if !known.same(range) {
            return false;
        }
        let Some((mine, rest)) = marks.split_at_checked((known.writes + known.reads) as usize) else {
            return false;
        };
        *marks = rest;
        let now = range.writes.iter().chain(&range.reads);
        mine.iter().zip(now).all(|(known, mark)| {
            levels.push(mark.level);
            same_mark(known, mark)
        })
    })
}

impl KnownRange {
    fn new(range: &RangeState) -> Self {
        KnownRange {
            start: range.start,
            writes: range.writes.len() as u32,
            reads: range.reads.len() as u32,
            init: range.init,
            coarsened: range.coarsened,
        }
    }

    #[inline]
    fn same(&self, range: &RangeState) -> bool {
        (self.start == range.start)
            & (self.writes as usize == range.writes.len())
            & (self.reads as usize == range.reads.len())
            & (self.init == range.init)
            & (self.coarsened == range.coarsened)
    }
}

impl Done {
    fn new(pair: PairId, writes: bool) -> Self {
        let any = 1 << pair;
        Done { any, writes: if writes { any } else { 0 } }
    }

    #[inline]
    fn add(&mut self, other: Done) {
        self.any |= other.any;
        self.writes |= other.writes;
    }
}

impl Cover {
    /// Up to which level (exclusive) it is covered.
    fn level(&self, cover: &Coverage, pairs: &PairTable) -> u64 {
        let mut left = self.dst;
        let mut lowest = u64::MAX;
        while left != 0 {
            let dst = left.trailing_zeros() as PairId;
            left &= left - 1;
            let level = match self.wrote {
                true => cover.memory_level(pairs, self.src, dst),
                false => cover.exec_level(pairs, self.src, dst),
            };
            lowest = lowest.min(level);
        }
        lowest
    }
}
