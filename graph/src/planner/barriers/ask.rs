//! What one hazard still needs.

use super::needs::{ChainNeed, ExecNeed, MemoryNeed, push_new};
use super::{Calls, Frame, SoFar};
use crate::coverage::Coverage;
use crate::pairs::{AtomIndex, AtomSet, PairId, PairTable, bits};
use crate::planner::hazards::{Hazard, Relation};
use crate::schedule::HazardKind;
use smallvec::SmallVec;

/// One kind of write of a hazard that is not visible everywhere it has to be.
pub(super) struct Unseen {
    pub(super) write: AtomIndex,
    /// To whom it is not visible.
    pub(super) to: AtomSet,
    /// The stages of later work it is available to: an entry may chain from one of them.
    pub(super) from: u64,
}

/// One stage of a hazard that is not ordered before every stage it has to be.
pub(super) struct Unordered {
    pub(super) own: u64,
    /// The stages to chain from, itself included.
    pub(super) via: u64,
    pub(super) to: u64,
}

/// The level below which nothing is left to ask for hazards with a relation; 0 if that is not said in short.
#[inline]
pub(super) fn covered(pairs: &PairTable, cover: &Coverage, relation: Relation) -> u64 {
    match relation.kind() {
        HazardKind::ReadAfterWrite | HazardKind::WriteAfterWrite => {
            cover.memory_level(pairs, relation.src_pair(), relation.dst_pair())
        }
        HazardKind::WriteAfterRead => cover.exec_level(pairs, relation.src_pair(), relation.dst_pair()),
        HazardKind::Order => 0,
    }
}

/// The writes of a hazard, done at `level`, that are not visible yet.
#[inline]
pub(super) fn unseen<'a>(
    pairs: &'a PairTable,
    cover: &'a Coverage,
    level: u64,
    hazard: &Hazard,
) -> impl Iterator<Item = Unseen> + 'a {
    let memory = hazard.kind() != HazardKind::WriteAfterRead;
    let src = pairs.get(hazard.src_pair()).write_list.as_slice();
    let dst = pairs.get(hazard.dst_pair()).atom_list.as_slice();
    src.iter().filter(move |_| memory).filter_map(move |&write| {
        let mut to = AtomSet::default();
        for &atom in dst.iter().filter(|&&atom| cover.visible(write, atom) <= level) {
            to.insert(atom);
        }
        // A chain by way of the host would be no cheaper, and reads strangely.
        let from = || without_host(pairs, cover.available_at(write, level));
        (!to.is_empty()).then(|| Unseen { write, to, from: from() })
    })
}

/// The stages of a hazard, at `level`, that are not ordered before those of its consumer yet, as far as it asks for that.
#[inline]
pub(super) fn unordered<'a>(
    pairs: &'a PairTable,
    cover: &'a Coverage,
    level: u64,
    hazard: &Hazard,
) -> impl Iterator<Item = Unordered> + 'a {
    let (src, dst) = exec_scopes(pairs, hazard);
    bits(src).filter_map(move |s| {
        let late = bits(dst).filter(|&t| cover.ordered(s, t) <= level).fold(0, |set, t| set | 1 << t);
        let own = 1 << s;
        let via = || own | without_host(pairs, cover.ordered_after(s, level));
        (late != 0).then(|| Unordered { own, via: via(), to: late })
    })
}

fn exec_scopes(pairs: &PairTable, hazard: &Hazard) -> (u64, u64) {
    let (src, dst) = (pairs.get(hazard.src_pair()), pairs.get(hazard.dst_pair()));
    match hazard.kind() {
        HazardKind::WriteAfterRead => (src.read_stages, dst.write_stages),
        HazardKind::Order => (src.stages, dst.stages),
        HazardKind::ReadAfterWrite | HazardKind::WriteAfterWrite => (0, 0),
    }
}

fn without_host(pairs: &PairTable, stages: u64) -> u64 {
    bits(stages).filter(|&s| !pairs.is_host(s)).fold(0, |set, s| set | 1 << s)
}

impl Calls {
    /// Takes in what one hazard of the call before a level still needs.
    #[inline]
    pub(super) fn ask(&mut self, frame: Frame<'_>, level: u32, cover: &Coverage, hazard: Hazard) {
        let relation = hazard.relation().asks();
        // No call was between: nothing of it is covered.
        let fresh = relation.is_memory() && frame.level_of(hazard.src()) + 1 == frame.base + u64::from(level);
        match self.so_far {
            SoFar::One(one) if one == relation => {}
            SoFar::Nothing if fresh => self.so_far = SoFar::One(relation),
            _ => self.ask_more(frame, cover, hazard, fresh),
        }
    }

    /// The same for one that may not be the only one.
    fn ask_more(&mut self, frame: Frame<'_>, cover: &Coverage, hazard: Hazard, fresh: bool) {
        let relation = hazard.relation().asks();
        self.enter_one(frame.pairs);
        // What was asked for literally serves hazards of the relation at any level.
        if self.asked.contains(&relation) {
            return;
        }
        let literal = if fresh {
            self.needs.add_whole(frame.pairs, (relation.src_pair(), relation.dst_pair()));
            true
        } else {
            self.ask_covered(frame.pairs, cover, frame.level_of(hazard.src()), &hazard)
        };
        if literal {
            self.asked.push(relation);
        }
    }

    /// Takes in what is left of the needs of a hazard, whose source happened at `level`. Returns whether that is all of
    /// them, literally.
    fn ask_covered(&mut self, pairs: &PairTable, cover: &Coverage, level: u64, hazard: &Hazard) -> bool {
        match hazard.kind() {
            HazardKind::ReadAfterWrite | HazardKind::WriteAfterWrite => {
                self.ask_memory(pairs, cover, level, hazard)
            }
            HazardKind::WriteAfterRead => self.ask_exec(pairs, cover, level, hazard),
            HazardKind::Order => {
                let memory = self.ask_memory(pairs, cover, level, hazard);
                self.ask_exec(pairs, cover, level, hazard) && memory
            }
        }
    }

    /// Enters what was asked for so far among the needs of the call.
    pub(super) fn enter_one(&mut self, pairs: &PairTable) {
        if let SoFar::One(relation) = std::mem::replace(&mut self.so_far, SoFar::More) {
            self.needs.add_whole(pairs, (relation.src_pair(), relation.dst_pair()));
            self.asked.push(relation);
        }
    }

    /// Whether all of the source is asked for literally towards all of the destination.
    fn ask_memory(&mut self, pairs: &PairTable, cover: &Coverage, level: u64, hazard: &Hazard) -> bool {
        let (src, dst) = (pairs.get(hazard.src_pair()), pairs.get(hazard.dst_pair()));
        let whole = Some((hazard.src_pair(), hazard.dst_pair()));
        let single = (pairs.facts(hazard.src_pair()).write, pairs.facts(hazard.dst_pair()).atom);
        if let (Some(write), Some(atom)) = single {
            return self.ask_single(pairs, cover, level, (write, atom), whole);
        }
        let mut rows: SmallVec<[(AtomSet, AtomSet); 4]> = SmallVec::new();
        let mut writes = 0;
        for Unseen { write, to, from } in unseen(pairs, cover, level, hazard) {
            self.chains.serve(write, level);
            if from != 0 {
                push_new(&mut self.needs.chained, ChainNeed { write, from, dst: to });
                continue;
            }
            writes += 1;
            match rows.iter_mut().find(|r| r.1 == to) {
                Some(row) => row.0.insert(write),
                None => rows.push((AtomSet::of(write), to)),
            }
        }
        let mut literal = writes == src.write_list.len();
        for (rows_src, to) in rows {
            let all = rows_src == src.writes && to == dst.atoms;
            literal &= all;
            push_new(
                &mut self.needs.memory,
                MemoryNeed { src: rows_src, dst: to, whole: whole.filter(|_| all) },
            );
        }
        literal
    }

    /// As [`ask_memory`](Self::ask_memory), for one kind of write and one kind of access: the usual case.
    #[inline]
    fn ask_single(
        &mut self,
        pairs: &PairTable,
        cover: &Coverage,
        level: u64,
        (write, atom): (AtomIndex, AtomIndex),
        whole: Option<(PairId, PairId)>,
    ) -> bool {
        if cover.visible(write, atom) > level {
            return false;
        }
        self.chains.serve(write, level);
        let from = without_host(pairs, cover.available_at(write, level));
        let dst = AtomSet::of(atom);
        if from != 0 {
            push_new(&mut self.needs.chained, ChainNeed { write, from, dst });
        } else {
            push_new(&mut self.needs.memory, MemoryNeed { src: AtomSet::of(write), dst, whole });
        }
        from == 0
    }

    /// Whether all of the source is asked for, from its own stages, towards all of the destination.
    fn ask_exec(&mut self, pairs: &PairTable, cover: &Coverage, level: u64, hazard: &Hazard) -> bool {
        let (src, dst) = exec_scopes(pairs, hazard);
        let mut served = 0;
        let mut literal = true;
        for Unordered { own, via, to } in unordered(pairs, cover, level, hazard) {
            served |= own;
            literal &= to == dst && via == own;
            match self.needs.exec.iter_mut().find(|e| e.via == via) {
                Some(same) => same.dst |= to,
                None => self.needs.exec.push(ExecNeed { own, via, dst: to }),
            }
        }
        literal && served == src
    }
}
