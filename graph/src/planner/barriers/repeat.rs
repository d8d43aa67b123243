//! Calls that are asked for what the call before was asked for: a long chain of passes has one after the other.
//!
//! What the level right above a call wrote, no call has seen to before: it is asked for in full, whatever the barriers so
//! far cover. So a call that is asked for nothing else, and for the same two accesses as the one before, gets the same entry.

use super::{Calls, SoFar};
use crate::coverage::{Cells, Coverage, EntryScopes};
use crate::planner::hazards::Relation;
use crate::schedule::{BarrierEntry, Schedule};

/// What the last call was made of.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    made: Option<Made>,
    /// The calls that differ from the one before, or have several entries: positions in the schedule's.
    changes: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    of: Relation,
    entry: BarrierEntry,
    scopes: EntryScopes,
    /// Where a second such call raises what is covered.
    cells: Cells,
}

impl Repeat {
    pub(super) fn clear(&mut self) {
        self.made = None;
        self.changes.clear();
    }

    /// What is covered was moved on otherwise.
    pub(super) fn interrupt(&mut self) {
        self.made = None;
    }

    /// Notes the entries of a call at a position, made and entered into what is covered just now.
    pub(super) fn note(
        &mut self,
        of: Option<Relation>,
        scopes: &[EntryScopes],
        entries: &[BarrierEntry],
        call: usize,
        cover: &Coverage,
    ) {
        self.changes.push(call as u32);
        self.made = match (of, entries, scopes) {
            (Some(of), &[entry], &[scopes]) => {
                cover.cells(&scopes).map(|cells| Made { of, entry, scopes, cells })
            }
            _ => None,
        };
    }

    /// The calls after one at a position that may reach what those before did not.
    pub(super) fn changes_after(&self, call: usize) -> impl Iterator<Item = usize> {
        let begin = self.changes.partition_point(|&c| c as usize <= call);
        // One that is like the call itself is none.
        self.changes[begin..].iter().map(|&c| c as usize)
    }
}

impl Calls {
    /// Makes the call the one before again, if it is asked for the same. Returns whether it did.
    #[inline]
    pub(super) fn make_again(
        &mut self,
        boundary: u64,
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) -> bool {
        let (SoFar::One(relation), Some(made)) = (self.so_far, &self.repeat.made) else { return false };
        if made.of != relation {
            return false;
        }
        self.scopes.push(made.scopes);
        schedule.entries.push(made.entry);
        cover.raise(made.cells, boundary);
        true
    }
}
