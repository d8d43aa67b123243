//! Plans that are kept and used again.
//!
//! A plan follows from two things: the *structure* of a frame ([`shape`]), and the *start*, what earlier frames left
//! where this one looks ([`start`]). Both are compared with what the plan was made for, not by a hash of them, so that a
//! plan that is used again is the plan that would be made: byte for byte, and the state after it too ([`outcome`]).
//!
//! A structure that comes for the first time is copied and no more, and not even that each time where none comes again,
//! so that frames that never repeat cost little. When it comes again its plan is kept, with the start it was made for.
//! If the start differs from then on, it is kept anew, less and less often while none of what was kept is used.

mod moves;
mod origin;
mod outcome;
mod shape;
mod start;
#[cfg(test)]
mod tests;

use crate::coverage::Coverage;
use crate::schedule::Schedule;
use crate::state::GraphState;
use moves::Moves;
pub use origin::{PlanChange, PlanOrigin};
pub(super) use outcome::Made;
use outcome::Outcome;
pub(super) use shape::Asked;
use shape::{Compared, Hint, Place, Shape};
use start::{Shift, Start};

/// Most plans of a structure in a row that are not kept, as a power of two.
const MAX_SKIPPED: u32 = 6;
/// One in so many structures is remembered where twice as many as are kept in a row were seen for the first time.
const RARELY: usize = 8;
/// Structures that a frame is compared with beyond a place where frames differed before.
const MAX_LOOKED_THROUGH: usize = 2;

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
    hint: Hint,
    /// Structures in a row that were not remembered before.
    unknown: usize,
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
        if let Some(reason) = asked.never_kept() {
            return anew(None, reason);
        }
        let (number, compared) = match self.find_structure(asked) {
            Ok(found) => found,
            Err(change) => return anew(None, change),
        };
        self.unknown = 0;
        self.turn_to(number);
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

    /// The slot of a structure, or how it differs from one that is remembered: from the one that came after the last
    /// frame the last time, if that is as large, or else from the last.
    fn find_structure(&mut self, asked: Asked<'_>) -> Result<(usize, Compared), PlanChange> {
        let likely = self.slots.get(self.last).map_or(0, |slot| slot.next);
        let others = (0..self.slots.len()).filter(|&i| i != likely);
        let mut looked_through = 0;
        let mut nearest = (self.last, Place::Size);
        for number in std::iter::once(likely).chain(others) {
            let Some(slot) = self.slots.get(number) else { return Err(PlanChange::FirstFrame) };
            match slot.shape.compare(asked, self.hint, &mut self.moves) {
                Compared::Differs(place) => {
                    if number == self.last || number == likely && slot.shape.is_as_large(asked.graph) {
                        nearest = (number, place);
                    }
                    // A place that differed before was looked at before all others.
                    let before = self.hint.is(place);
                    looked_through += usize::from(!before && !matches!(place, Place::Size | Place::Beside));
                    self.hint.note(place);
                    if looked_through == MAX_LOOKED_THROUGH {
                        break;
                    }
                }
                compared => return Ok((number, compared)),
            }
        }
        Err(self.slots[nearest.0].shape.change(asked, nearest.1))
    }

    /// Frames take turns: notes that a slot comes after the last.
    fn turn_to(&mut self, number: usize) {
        if let Some(before) = self.slots.get_mut(self.last) {
            before.next = number;
        }
        self.last = number;
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
        (slot, origin): (Option<usize>, PlanOrigin),
        made: Made<'_>,
        fit: bool,
    ) -> Option<Reused> {
        let Some(number) = slot else {
            if origin.is_remembered() {
                self.unknown += 1;
                // Where none ever comes again, only some are remembered.
                if self.unknown <= 2 * self.limit || self.unknown.is_multiple_of(RARELY) {
                    self.remember(asked);
                }
            }
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
        slot.start.keep(state, asked.graph, made.resolved);
        slot.outcome.keep(made);
        Some(Reused { slot: number, shift: Shift::default(), repeats: false })
    }

    /// Remembers a structure that is new.
    fn remember(&mut self, asked: Asked<'_>) {
        let number = if self.slots.len() < self.limit {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        } else {
            let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.used);
            oldest.map_or(0, |(number, _)| number)
        };
        self.turn_to(number);
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
