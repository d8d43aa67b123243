//! Serves hazards against earlier frames by an entry of an earlier call of this frame, if that only has to make
//! available what it makes visible already. One source access there saves an entry here, and all later hazards of
//! the kind are served with it.

use super::needs::Needs;
use super::repeat::Repeat;
use crate::coverage::{Coverage, EntryScopes};
use crate::pairs::{AtomIndex, AtomSet, PairTable};
use crate::schedule::{BarrierCall, BarrierEntry, Schedule};
use smallvec::SmallVec;
use std::ops::Range;

/// How many entries are kept in mind to be widened; more would make planning quadratic.
const MAX_CHAINS: usize = 8;

/// The first entries of this frame that chain on from writes that were available already.
#[derive(Debug, Default)]
pub(super) struct Chains(SmallVec<[Chain; MAX_CHAINS]>);

#[derive(Debug)]
struct Chain {
    entry: u32,
    /// Its call, a position in the schedule's, and the level that begins after it.
    call: usize,
    boundary: u64,
    /// Writes that this or a later call had to serve as things were: to widen the entry for them would leave that
    /// superfluous.
    served: AtomSet,
}

impl Chains {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A need for a write at `level` goes to the current call.
    pub(super) fn serve(&mut self, write: AtomIndex, level: u64) {
        for chain in self.0.iter_mut().filter(|c| level < c.boundary) {
            chain.served.insert(write);
        }
    }

    /// Notes the entries of a call that can be widened later.
    pub(super) fn note(
        &mut self,
        needs: &Needs,
        scopes: &[EntryScopes],
        schedule: &Schedule,
        first: usize,
        boundary: u64,
    ) {
        for (e, entry) in (first as u32..).zip(&schedule.entries[first..]) {
            if self.0.len() < MAX_CHAINS && entry.src_access.is_empty() && !entry.dst_access.is_empty() {
                let served = needs.beyond(&scopes[e as usize]);
                self.0.push(Chain { entry: e, call: schedule.barriers.len(), boundary, served });
            }
        }
    }

    /// The number of an entry that would make `write` visible to `unseen` if it made it available.
    pub(super) fn find(
        &self,
        pairs: &PairTable,
        entries: &[BarrierEntry],
        scopes: &[EntryScopes],
        write: AtomIndex,
        unseen: AtomSet,
    ) -> Option<usize> {
        let stage = pairs.atom(write).stage;
        self.0.iter().position(|c| {
            let at = &scopes[c.entry as usize];
            entries[c.entry as usize].src_access.is_empty()
                && at.src_stages >> stage & 1 != 0
                && unseen.minus(at.dst_atoms).is_empty()
                && !c.served.contains(write)
        })
    }

    /// Widens the entry found. Returns its position in the schedule.
    pub(super) fn widen(
        &mut self,
        number: usize,
        pairs: &PairTable,
        (scopes, repeat): (&mut [EntryScopes], &mut Repeat),
        write: AtomIndex,
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) -> u32 {
        let Chain { entry, call, boundary, .. } = self.0[number];
        let atom = pairs.atom(write);
        schedule.entries[entry as usize].src_access |= atom.access;
        let widened = &mut scopes[entry as usize];
        widened.src_writes = widened.src_writes.union(pairs.atoms_of(1 << atom.stage, atom.access));
        cover.raise_visible(write, widened, boundary);
        let scopes = &*scopes;
        // What chained on from it since.
        let mut at = scopes[entry as usize].dst_stages;
        for later in repeat.changes_after(call) {
            at = cover.spread(write, boundary, at, &scopes[range(&schedule.barriers[later])]);
        }
        repeat.interrupt();
        // Another entry that made it available too would leave this one superfluous.
        self.0.iter_mut().for_each(|c| c.served.insert(write));
        entry
    }
}

fn range(call: &BarrierCall) -> Range<usize> {
    call.entries.start as usize..call.entries.end as usize
}
