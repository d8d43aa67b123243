//! Turns the needs of one call into entries: those that leave no choice first, then what they do not serve already.

use super::flags::{declared, flags_of};
use super::needs::{ChainNeed, ExecNeed, MemoryNeed, Needs};
use super::prune;
use crate::access::AccessFlags;
use crate::coverage::EntryScopes;
use crate::pairs::{AtomIndex, AtomSet, PairId, PairTable};
use crate::schedule::BarrierEntry;
use smallvec::SmallVec;

/// The entries of a frame, in masks and in numbers.
pub(super) struct Out<'a> {
    pub(super) pairs: &'a PairTable,
    pub(super) scopes: &'a mut Vec<EntryScopes>,
    pub(super) entries: &'a mut Vec<BarrierEntry>,
    /// Where those of this call begin.
    pub(super) first: usize,
}

pub(super) fn make(needs: &mut Needs, out: &mut Out<'_>) {
    if let ([one], [], []) = (needs.memory.as_slice(), needs.chained.as_slice(), needs.exec.as_slice()) {
        out.push_memory(one.src, one.dst, one.whole);
        return;
    }
    // Larger needs first: what they cover, smaller ones need not ask for again.
    needs.memory.sort_by_key(|n| std::cmp::Reverse(n.src.len() * n.dst.len()));
    for need in &needs.memory {
        out.add_memory(*need);
    }
    if needs.chained.is_empty() && needs.exec.is_empty() {
        return;
    }
    let choices = |stages: u64| stages.count_ones();
    needs.chained.sort_by_key(|n| (choices(n.from), std::cmp::Reverse(n.dst.len())));
    for need in &needs.chained {
        out.add_chained(*need, &needs.exec);
    }
    needs.exec.sort_by_key(|n| (choices(n.via), std::cmp::Reverse(n.dst.count_ones())));
    out.add_exec(&needs.exec);
    if needs.memory.len() + needs.chained.len() + needs.exec.len() > 1 {
        prune::run(needs, out);
    }
}

impl Out<'_> {
    fn here(&self) -> &[EntryScopes] {
        &self.scopes[self.first..]
    }

    fn add_memory(&mut self, need: MemoryNeed) {
        let mut rows: SmallVec<[(AtomSet, AtomSet); 4]> = SmallVec::new();
        for write in need.src.iter() {
            let left = need.left(write, self.here());
            if left.is_empty() {
                continue;
            }
            match rows.iter_mut().find(|r| r.1 == left) {
                Some(row) => row.0.insert(write),
                None => {
                    rows.push((AtomSet::of(write), left));
                }
            }
        }
        for (src, dst) in rows {
            self.push_memory(src, dst, need.whole.filter(|_| src == need.src && dst == need.dst));
        }
    }

    fn add_chained(&mut self, need: ChainNeed, exec: &[ExecNeed]) {
        let left = need.left(self.here());
        if left.is_empty() {
            return;
        }
        // A stage that this call waits for anyway costs nothing more.
        let dst = left.iter().fold(0u64, |set, a| set | 1 << self.pairs.atom(a).stage);
        let anyway = exec.iter().filter(|e| e.dst & dst != 0).fold(0, |set, e| set | e.own);
        let from = if need.from & anyway != 0 { need.from & anyway } else { need.from };
        let stage = 1u64 << from.trailing_zeros();
        for (dst_stages, dst_access) in flags_of(self.pairs, left) {
            let entry = BarrierEntry {
                src_stages: self.pairs.stage_flags(stage),
                src_access: AccessFlags::empty(),
                dst_stages: self.pairs.stage_flags(dst_stages),
                dst_access,
            };
            let dst_atoms = self.pairs.atoms_of(dst_stages, dst_access);
            let src_writes = AtomSet::default();
            self.push(entry, EntryScopes { src_stages: stage, src_writes, dst_stages, dst_atoms });
        }
    }

    fn add_exec(&mut self, needs: &[ExecNeed]) {
        let mut rows: SmallVec<[(u64, u64); 4]> = SmallVec::new();
        for need in needs {
            let left = need.left(self.here());
            let reaches = |r: &&(u64, u64)| r.0 & need.via != 0;
            let left = rows.iter().filter(reaches).fold(left, |left, r| left & !r.1);
            if left == 0 {
                continue;
            }
            match rows.iter_mut().find(|r| r.1 == left) {
                Some(row) => row.0 |= need.own,
                None => rows.push((need.own, left)),
            }
        }
        for (src_stages, dst_stages) in rows {
            let entry = BarrierEntry {
                src_stages: self.pairs.stage_flags(src_stages),
                src_access: AccessFlags::empty(),
                dst_stages: self.pairs.stage_flags(dst_stages),
                dst_access: AccessFlags::empty(),
            };
            self.push(entry, EntryScopes { src_stages, dst_stages, ..EntryScopes::default() });
        }
    }

    fn push_memory(&mut self, src: AtomSet, dst: AtomSet, whole: Option<(PairId, PairId)>) {
        let pairs = self.pairs;
        if let (Some(write), Some(to)) = (src.single(), dst.single()) {
            self.push_single(write, to, whole);
            return;
        }
        for (src_stages, src_access) in flags_of(pairs, src) {
            for (dst_stages, dst_access) in flags_of(pairs, dst) {
                let scopes = EntryScopes {
                    src_stages,
                    src_writes: pairs.atoms_of(src_stages, src_access),
                    dst_stages,
                    dst_atoms: pairs.atoms_of(dst_stages, dst_access),
                };
                let (src_flags, src_kinds) = declared(pairs, whole.map(|w| w.0), src_stages, src_access);
                let (dst_flags, dst_kinds) = declared(pairs, whole.map(|w| w.1), dst_stages, dst_access);
                let entry = BarrierEntry {
                    src_stages: src_flags,
                    src_access: src_kinds & AccessFlags::WRITES,
                    dst_stages: dst_flags,
                    dst_access: dst_kinds,
                };
                self.push(entry, scopes);
            }
        }
    }

    /// As [`push_memory`](Self::push_memory), for one kind of write and one kind of access: the usual case.
    fn push_single(&mut self, write: AtomIndex, to: AtomIndex, whole: Option<(PairId, PairId)>) {
        let pairs = self.pairs;
        let (write, to) = (Single::new(pairs, write), Single::new(pairs, to));
        let scopes = EntryScopes {
            src_stages: write.stages,
            src_writes: write.atoms,
            dst_stages: to.stages,
            dst_atoms: to.atoms,
        };
        let (src_stages, src_access) = declared(pairs, whole.map(|w| w.0), write.stages, write.access);
        let (dst_stages, dst_access) = declared(pairs, whole.map(|w| w.1), to.stages, to.access);
        let src_access = src_access & AccessFlags::WRITES;
        self.push(BarrierEntry { src_stages, src_access, dst_stages, dst_access }, scopes);
    }

    fn push(&mut self, entry: BarrierEntry, scopes: EntryScopes) {
        self.scopes.push(scopes);
        self.entries.push(entry);
    }
}

/// One atom, as the sets and flags it makes.
struct Single {
    stages: u64,
    access: AccessFlags,
    atoms: AtomSet,
}

impl Single {
    fn new(pairs: &PairTable, atom: AtomIndex) -> Self {
        let atoms = AtomSet::of(atom);
        let atom = pairs.atom(atom);
        Single { stages: 1 << atom.stage, access: atom.access, atoms }
    }
}
