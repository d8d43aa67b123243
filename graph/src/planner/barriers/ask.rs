//! What one hazard still needs.

use super::needs::{ChainNeed, ExecNeed, MemoryNeed, push_new};
use super::{Calls, Frame};
use crate::coverage::Coverage;
use crate::pairs::{AtomIndex, AtomSet, PairId, PairTable, bits};
use crate::planner::hazards::Hazard;
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
        let key = hazard.relation().asks();
        // What was asked for literally serves hazards of the relation at any level.
        if self.asked.contains(&key) {
            return;
        }
        let (pairs, ran) = (frame.pairs, frame.level_of(hazard.src()));
        if key.is_memory() && ran + 1 == frame.base + u64::from(level) {
            // No call was between: nothing of it is covered.
            let whole = (key.src_pair(), key.dst_pair());
            if self.asked.is_empty() && self.needs.is_empty() {
                self.alone = Some(whole);
            } else {
                self.enter_alone(pairs);
                self.needs.add_whole(pairs, whole);
            }
            self.asked.push(key);
            return;
        }
        self.enter_alone(pairs);
        if self.ask_covered(pairs, cover, ran, &hazard) {
            self.asked.push(key);
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

    /// Enters what was asked for alone among the needs of the call.
    #[inline]
    pub(super) fn enter_alone(&mut self, pairs: &PairTable) {
        if let Some(alone) = self.alone.take() {
            self.needs.add_whole(pairs, alone);
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
