//! What the hazards of one call still need, and whether some entries give it.

use super::Whole;
use crate::coverage::EntryScopes;
use crate::pairs::{AtomIndex, AtomSet, PairTable};

/// Everything one call has to do.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) memory: Vec<MemoryNeed>,
    pub(super) chained: Vec<ChainNeed>,
    pub(super) exec: Vec<ExecNeed>,
}

/// Writes that must become available and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryNeed {
    pub(super) src: AtomSet,
    pub(super) dst: AtomSet,
    /// The declared accesses, if the need is for all of both.
    pub(super) whole: Option<Whole>,
}

/// Writes that are available already and must become visible, by a chain from any of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainNeed {
    pub(super) write: AtomIndex,
    pub(super) from: u64,
    pub(super) dst: AtomSet,
}

/// Stages that must come after another: an entry from it, or from any stage that is ordered after it, will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExecNeed {
    pub(super) own: u64,
    pub(super) via: u64,
    pub(super) dst: u64,
}

impl ChainNeed {
    /// What of the need these entries leave.
    pub(super) fn left(&self, entries: &[EntryScopes]) -> AtomSet {
        let reaches = |e: &&EntryScopes| e.src_stages & self.from != 0 || e.src_writes.contains(self.write);
        entries.iter().filter(reaches).fold(self.dst, |left, e| left.minus(e.dst_atoms))
    }
}

impl ExecNeed {
    pub(super) fn left(&self, entries: &[EntryScopes]) -> u64 {
        let reaches = |e: &&EntryScopes| e.src_stages & self.via != 0;
        entries.iter().filter(reaches).fold(self.dst, |left, e| left & !e.dst_stages)
    }
}

impl MemoryNeed {
    /// What of the need for one of its writes these entries leave.
    pub(super) fn left(&self, write: AtomIndex, entries: &[EntryScopes]) -> AtomSet {
        let reaches = |e: &&EntryScopes| e.src_writes.contains(write);
        entries.iter().filter(reaches).fold(self.dst, |left, e| left.minus(e.dst_atoms))
    }
}

impl Needs {
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.chained.clear();
        self.exec.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.chained.is_empty() && self.exec.is_empty()
    }

    /// Adds all that one access wrote, towards all of another.
    pub(super) fn add_whole(&mut self, pairs: &PairTable, of: Whole) {
        let (src, dst) = (pairs.get(of.0).writes, pairs.get(of.1).atoms);
        push_new(&mut self.memory, MemoryNeed { src, dst, whole: Some(of) });
    }

    /// Whether entries give all of it.
    pub(super) fn met(&self, entries: &[EntryScopes]) -> bool {
        self.memory.iter().all(|n| n.src.iter().all(|w| n.left(w, entries).is_empty()))
            && self.chained.iter().all(|n| n.left(entries).is_empty())
            && self.exec.iter().all(|n| n.left(entries) == 0)
    }

    /// What of `unseen` this call will not make `write` visible to anyway: literally, or, as it is available to later
    /// work of the stages `from`, by a chain.
    pub(super) fn left_by(&self, pairs: &PairTable, write: AtomIndex, from: u64, unseen: AtomSet) -> AtomSet {
        let reaches =
            |n: &&MemoryNeed| n.src.iter().any(|w| w == write || from >> pairs.atom(w).stage & 1 != 0);
        let left = self.memory.iter().filter(reaches).fold(unseen, |left, n| left.minus(n.dst));
        self.chained.iter().filter(|n| n.from & from != 0).fold(left, |left, n| left.minus(n.dst))
    }

    /// The writes that would lose a need, or a choice of how to meet it, if `entry` made them available as well.
    pub(super) fn beyond(&self, entry: &EntryScopes) -> AtomSet {
        let literal = self.memory.iter().fold(AtomSet::default(), |all, n| all.union(n.src));
        let mut all = literal;
        for need in &self.chained {
            if !need.left(std::slice::from_ref(entry)).is_empty() {
                all.insert(need.write);
            }
        }
        all
    }
}

pub(super) fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
