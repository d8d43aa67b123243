//! Hazards against earlier frames: an entry of an earlier call of this frame may serve them.

use super::ask::{covered, unseen};
use super::{Calls, Frame};
use crate::coverage::Coverage;
use crate::pairs::{AtomIndex, AtomSet, PairTable};
use crate::planner::hazards::{Hazard, Relation};
use crate::schedule::{HazardKind, Schedule};
use smallvec::SmallVec;

/// A hazard of the current call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier {
    /// When its source ran.
    level: u64,
    hazard: Hazard,
    /// What an earlier call would have to make visible, and to whom.
    write: AtomIndex,
    unseen: AtomSet,
}

/// The relation that was judged last, and the level below which all of it is covered. What is covered stays so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    relation: Relation,
    covered: u64,
}

impl Served {
    #[inline]
    pub(super) fn new(pairs: &PairTable, cover: &Coverage, relation: Relation) -> Self {
        Served { relation, covered: covered(pairs, cover, relation) }
    }

    /// Whether it is known that nothing is left to ask for.
    #[inline]
    pub(super) fn covers(&self, relation: Relation, level: u64) -> bool {
        relation == self.relation && level < self.covered
    }
}

impl Calls {
    /// Keeps a hazard until all those within the frame have asked, unless calls of this frame have served it already.
    #[inline]
    pub(super) fn note_earlier(&mut self, pairs: &PairTable, cover: &Coverage, level: u64, hazard: Hazard) {
        let relation = hazard.relation();
        if self.served.covers(relation, level) {
            return;
        }
        self.served = Served::new(pairs, cover, relation);
        if !self.served.covers(relation, level) {
            self.earlier.push(Earlier { level, hazard, write: 0, unseen: AtomSet::default() });
        }
    }

    /// Takes in the hazards of the call against earlier frames.
    pub(super) fn ask_earlier(
        &mut self,
        (frame, level): (Frame<'_>, u32),
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) {
        let pairs = frame.pairs;
        let mut earlier = std::mem::take(&mut self.earlier);
        // First those that only this call can serve.
        earlier.retain_mut(|e| {
            let found = self.may_widen(pairs, cover, e).filter(|&(write, unseen)| {
                self.chains.find(pairs, &schedule.entries, &self.scopes, write, unseen).is_some()
            });
            match found {
                Some((write, unseen)) => (e.write, e.unseen) = (write, unseen),
                None => self.ask(frame, level, cover, e.hazard),
            }
            found.is_some()
        });
        if !earlier.is_empty() {
            self.widen((frame, level), &mut earlier, cover, schedule);
        }
        earlier.clear();
        self.earlier = earlier;
    }

    /// One entry serves all hazards of a write, or none does; what is asked for here may serve others on its way.
    fn widen(
        &mut self,
        (frame, level): (Frame<'_>, u32),
        earlier: &mut Vec<Earlier>,
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) {
        let pairs = frame.pairs;
        let mut unseen: SmallVec<[(AtomIndex, AtomSet); 4]> = SmallVec::new();
        loop {
            unseen.clear();
            for e in earlier.iter() {
                match unseen.iter_mut().find(|u| u.0 == e.write) {
                    Some(known) => known.1 = known.1.union(e.unseen),
                    None => unseen.push((e.write, e.unseen)),
                }
            }
            let before = earlier.len();
            earlier.retain(|e| {
                let all = unseen.iter().find(|u| u.0 == e.write).map_or(e.unseen, |u| u.1);
                let found = self.chains.find(pairs, &schedule.entries, &self.scopes, e.write, all);
                let keep = found.is_some() && self.may_widen(pairs, cover, e).is_some();
                if !keep {
                    self.ask(frame, level, cover, e.hazard);
                }
                keep
            });
            if earlier.len() == before {
                break;
            }
        }
        for &(write, unseen) in &unseen {
            if let Some(number) = self.chains.find(pairs, &schedule.entries, &self.scopes, write, unseen) {
                let tables = (self.scopes.as_mut_slice(), &mut self.repeat);
                let entry = self.chains.widen(number, pairs, tables, write, cover, schedule);
                self.widened.push((write, entry));
            } else {
                // Widened for another write just now.
                let alike = earlier.iter().filter(|e| e.write == write);
                alike.for_each(|e| self.ask(frame, level, cover, e.hazard));
            }
        }
    }

    /// The only write of a hazard, and who cannot see it yet, if this call does not serve it anyway.
    fn may_widen(&self, pairs: &PairTable, cover: &Coverage, e: &Earlier) -> Option<(AtomIndex, AtomSet)> {
        let [write] = *pairs.get(e.hazard.src_pair()).write_list.as_slice() else { return None };
        if e.hazard.kind() == HazardKind::WriteAfterRead {
            return None;
        }
        let to = unseen(pairs, cover, e.level, &e.hazard).next().map_or(AtomSet::default(), |u| u.to);
        let left = self.needs.left_by(pairs, write, cover.available_at(write, e.level), to);
        (!left.is_empty()).then_some((write, to))
    }
}
