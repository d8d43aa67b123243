//! Plans that are kept and used again.
//!
//! A plan follows from two things: the *structure* of a frame ([`shape`]), and the *start*, what earlier frames left
//! where this one looks ([`start`]). Both are compared with what the plan was made for, not by a hash of them, so that a
//! plan that is used again is the plan that would be made: byte for byte, and the state after it too ([`outcome`]).
//!
//! A structure that comes for the first time is copied and no more, so that frames that never repeat cost little. When it
//! comes again its plan is kept, with the start it was made for. If the start differs from then on, it is kept anew, less
//! and less often while none of what was kept is used.

mod origin;
mod outcome;
mod shape;
mod start;
#[cfg(test)]
mod tests;

use crate::coverage::Coverage;
use crate::schedule::Schedule;
use crate::state::GraphState;
pub use origin::{PlanChange, PlanOrigin};
pub(super) use outcome::Made;
use outcome::Outcome;
pub(super) use shape::Asked;
use shape::{Compared, Moves, Shape};
use start::{Shift, Start};

/// Most plans of a structure in a row that are not kept, as a power of two.
const MAX_SKIPPED: u32 = 6;

/// The structures remembered, the least recently used of which makes way for a new one.
#[derive(Debug, Default)]
pub(super) struct Cache {
    limit: usize,
    slots: Vec<Slot>,
    /// Counts plans.
    now: u64,
    /// The slot planned last.
    last: usize,
    moves: Moves,
}

/// A structure.
#[derive(Debug, Default)]
struct Slot {
    shape: Shape,
    /// Whether there is a plan.
    kept: bool,
    start: Start,
    outcome: Outcome,
    used: u64,
    /// The slot that was planned after this one: frames take turns.
    next: usize,
    /// Plans kept since one was used, and plans that are not to be kept.
    unused: u32,
    skip: u32,
    /// The commit count of the state after the plan, if that started from `start` or the same again.
    left_at: Option<u64>,
}

/// A plan that is kept, and how the state it starts from differs from the one it was made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reused {
    slot: usize,
    shift: Shift,
    /// Whether it leaves what the one before left, later.
    repeats: bool,
}

/// What was found.
pub(super) enum Found {
    Reused(Reused),
    /// A plan has to be made; `slot` has the structure, if any has.
    Anew {
        slot: Option<usize>,
        origin: PlanOrigin,
    },
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Cache { limit, ..Cache::default() }
    }

    /// Looks for a plan.
    pub(super) fn find(&mut self, asked: Asked<'_>, state: &mut GraphState) -> Found {
        if self.limit == 0 {
            return Found::Anew { slot: None, origin: PlanOrigin::Uncached };
        }
        self.now += 1;
        let anew = |slot, change| Found::Anew { slot, origin: PlanOrigin::Anew(change) };
        let Some((number, compared)) = self.find_structure(asked) else {
            return anew(None, self.nearest_difference(asked));
        };
        if let Some(before) = self.slots.get_mut(self.last) {
            before.next = number;
        }
        self.last = number;
        let slot = &mut self.slots[number];
        slot.used = self.now;
        if !slot.kept {
            return anew(Some(number), PlanChange::NotKept);
        }
        if let Compared::StagingDiffers(node) = compared {
            return anew(Some(number), PlanChange::Staging { node });
        }
        match slot.begin(state) {
            Ok((shift, repeats)) => {
                slot.unused = 0;
                slot.skip = 0;
                slot.outcome.follow(asked.graph.serial, &self.moves);
                slot.shape.follow(asked, &self.moves);
                Found::Reused(Reused { slot: number, shift, repeats })
            }
            Err(change) => anew(Some(number), change),
        }
    }

    /// The slot of a structure.
    fn find_structure(&mut self, asked: Asked<'_>) -> Option<(usize, Compared)> {
        let likely = self.slots.get(self.last).map_or(0, |slot| slot.next);
        let all = std::iter::once(likely).chain((0..self.slots.len()).filter(|&i| i != likely));
        for number in all {
            let compared = self.slots.get(number)?.shape.compare(asked, &mut self.moves);
            if !matches!(compared, Compared::Differs) {
                return Some((number, compared));
            }
        }
        None
    }

    /// The first difference to the structure that has the most in common, of the one planned last and the likely one.
    #[cold]
    fn nearest_difference(&self, asked: Asked<'_>) -> PlanChange {
        let last = self.slots.get(self.last);
        let next = last.and_then(|last| self.slots.get(last.next).filter(|_| last.next != self.last));
        let differences = last.into_iter().chain(next).map(|slot| slot.shape.difference(asked));
        differences.max_by_key(|d| d.0).map_or(PlanChange::FirstFrame, |d| d.1)
    }

    /// The schedule of a plan that is kept.
    pub(super) fn schedule(&self, reused: Reused) -> Option<&Schedule> {
        self.slots.get(reused.slot).map(|slot| &slot.outcome.schedule)
    }

    /// Remembers the structure of a frame that was planned, or keeps the plan; where that is is returned then. `fit`:
    /// whether a plan made now would come out the same.
    pub(super) fn keep(
        &mut self,
        asked: Asked<'_>,
        state: &GraphState,
        slot: Option<usize>,
        made: Made<'_>,
        fit: bool,
    ) -> Option<Reused> {
        let Some(number) = slot else {
            self.remember(asked);
            return None;
        };
        let slot = self.slots.get_mut(number)?;
        if !fit || !start::comparable(made.resolved) {
            return None;
        }
        if slot.skip > 0 {
            slot.skip -= 1;
            return None;
        }
        slot.skip = (1 << slot.unused.min(MAX_SKIPPED)) - 1;
        slot.unused += 1;
        slot.kept = true;
        slot.left_at = None;
        slot.shape.remember(asked);
        slot.start.keep(state, made.resolved);
        slot.outcome.keep(made);
        Some(Reused { slot: number, shift: Shift::default(), repeats: false })
    }

    /// Remembers a structure that is new.
    fn remember(&mut self, asked: Asked<'_>) {
        if self.limit == 0 {
            return;
        }
        let number = if self.slots.len() < self.limit {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        } else {
            let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.used);
            oldest.map_or(0, |(number, _)| number)
        };
        if let Some(before) = self.slots.get_mut(self.last) {
            before.next = number;
        }
        self.last = number;
        let slot = &mut self.slots[number];
        slot.shape.remember(asked);
        (slot.kept, slot.unused, slot.skip, slot.used) = (false, 0, 0, self.now);
    }

    /// Moves the state on by a plan that is kept; its commits are counted already. `scratch` is overwritten.
    pub(super) fn commit(
        &mut self,
        reused: Reused,
        state: &mut GraphState,
        stale: bool,
        scratch: &mut Coverage,
    ) {
        let Some(slot) = self.slots.get_mut(reused.slot) else { return };
        if stale {
            slot.left_at = None;
            slot.outcome.catch_up(state, scratch);
        } else {
            slot.left_at = Some(state.commits);
            slot.outcome.cover(state, reused.shift);
        }
        slot.outcome.leave(state, !stale && reused.repeats);
    }
}

impl Slot {
    /// Whether a frame that begins in this state gets the plan that is kept: how its start differs then, and whether the
    /// frame only repeats the one before.
    fn begin(&mut self, state: &mut GraphState) -> Result<(Shift, bool), PlanChange> {
        let follows = self.left_at == Some(state.commits) && self.start.is_of(state);
        if let Some(shift) = self.start.repeats(state).filter(|_| follows) {
            return Ok((shift, true));
        }
        state.settle();
        let shift = self.start.verify(state, follows.then(|| self.outcome.levels()))?;
        self.outcome.rebase(shift);
        Ok((Shift::default(), false))
    }
}
