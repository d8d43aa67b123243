//! What the model remembers of each buffer: per byte range the last write, and the reads since.

use super::access::{Pair, PairSet};
use super::barrier::Log;
use super::ownership::Owned;
use crate::dummy::hazard::MkHazardParty;
use crate::dummy::memory::Block;
use memkit_graph::{AccessFlags, Stages};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// One (stage, access) pair of a write.
#[derive(Clone)]
pub(super) struct WriteRecord {
    /// Number of the command that wrote.
    pub(super) op: u64,
    pub(super) party: MkHazardParty,
    pub(super) stage: Stages,
    pub(super) access: AccessFlags,
    /// Stages whose later work is ordered after the write.
    pub(super) chain: Stages,
    /// Stages whose later work is ordered after the write's being made available; none while it is not.
    pub(super) available: Stages,
    /// Pairs to which the write is visible.
    pub(super) visible: PairSet,
}

/// Reads in one stage.
#[derive(Clone)]
pub(super) struct ReadRecord {
    /// Number of the command that read.
    pub(super) op: u64,
    pub(super) party: MkHazardParty,
    pub(super) stage: Stages,
    /// Stages whose later work is ordered after the read.
    pub(super) chain: Stages,
}

/// Bytes with the same history.
#[derive(Clone, Default)]
pub(super) struct Interval {
    /// One past the last byte.
    pub(super) end: u64,
    /// Barrier calls applied so far.
    pub(super) seen: u64,
    pub(super) initialized: bool,
    /// The last write: all of one command.
    pub(super) writes: SmallVec<[WriteRecord; 1]>,
    /// The reads since. At most one a stage: what is ordered after a later read of a stage is ordered after the earlier
    /// ones too, for every barrier that takes in the later one takes in all work of that stage before it.
    pub(super) reads: SmallVec<[ReadRecord; 1]>,
}

impl Interval {
    fn same_history(&self, other: &Interval) -> bool {
        self.initialized == other.initialized
            && self.writes.len() == other.writes.len()
            && self.reads.len() == other.reads.len()
            && self.writes.iter().zip(&other.writes).all(|(a, b)| {
                (a.op, a.stage, a.access, a.available, a.chain)
                    == (b.op, b.stage, b.access, b.available, b.chain)
                    && a.visible == b.visible
            })
            && self
                .reads
                .iter()
                .zip(&other.reads)
                .all(|(a, b)| (a.op, a.stage, a.chain) == (b.op, b.stage, b.chain))
    }
}

/// The records of one buffer: intervals by their first byte, without gaps.
pub(super) struct Track {
    pub(super) block: Weak<Block>,
    size: u64,
    intervals: BTreeMap<u64, Interval>,
    /// Bytes that were part of an ownership transfer; the others are anybody's.
    pub(super) owned: Vec<Owned>,
}

impl Track {
    pub(super) fn new(block: &Arc<Block>, seen: u64) -> Self {
        let mut intervals = BTreeMap::new();
        // What the host can write counts as written: the model does not see it write.
        let initialized = block.is_host_written();
        intervals.insert(0, Interval { end: block.size, seen, initialized, ..Interval::default() });
        Track { block: Arc::downgrade(block), size: block.size, intervals, owned: Vec::new() }
    }

    /// The intervals that touch `range`, brought up to date, each with the part of its bytes within `range`.
    pub(super) fn look<'t>(
        &'t mut self,
        range: &Range<u64>,
        log: &'t Log,
    ) -> impl Iterator<Item = (Range<u64>, &'t mut Interval)> {
        let (start, end) = (range.start, range.end.max(range.start));
        let first = self.intervals.range(..=start).next_back().map_or(start, |(k, _)| *k).min(end);
        self.intervals.range_mut(first..end).filter_map(move |(&k, interval)| {
            let part = k.max(start)..interval.end.min(end);
            log.bring_up(interval);
            (!part.is_empty()).then_some((part, interval))
        })
    }

    /// Cuts the interval that contains `at`, so that one begins there.
    fn split(&mut self, at: u64) {
        if at == 0 || at >= self.size {
            return;
        }
        if let Some((&start, interval)) = self.intervals.range_mut(..=at).next_back()
            && start < at
        {
            let right = interval.clone();
            interval.end = at;
            self.intervals.insert(at, right);
        }
    }

    /// One interval of exactly these bytes, in place of all that were there. `None` for no bytes.
    fn unite(&mut self, range: &Range<u64>) -> Option<&mut Interval> {
        let range = range.start..range.end.min(self.size);
        if range.is_empty() {
            return None;
        }
        self.split(range.start);
        self.split(range.end);
        while let Some((&next, _)) = self.intervals.range(range.start + 1..range.end).next() {
            self.intervals.remove(&next);
        }
        let interval = self.intervals.get_mut(&range.start)?;
        interval.end = range.end;
        Some(interval)
    }

    /// Keeps a write: what was there before is forgotten, unless it is of the same command.
    pub(super) fn write(
        &mut self,
        range: &Range<u64>,
        op: u64,
        party: &MkHazardParty,
        pairs: &[Pair],
        log: &Log,
    ) {
        let new = || {
            pairs.iter().map(|&(stage, access)| WriteRecord {
                op,
                party: party.clone(),
                stage,
                access,
                chain: Stages::empty(),
                available: Stages::empty(),
                visible: PairSet::default(),
            })
        };
        if self.look(range, log).any(|(_, i)| i.writes.first().is_some_and(|w| w.op == op)) {
            self.split(range.start);
            self.split(range.end);
            for (_, interval) in self.look(range, log) {
                if interval.writes.first().is_some_and(|w| w.op != op) {
                    interval.writes.clear();
                    interval.reads.clear();
                }
                interval.writes.extend(new());
                interval.initialized = true;
            }
        } else if let Some(interval) = self.unite(range) {
            interval.writes.clear();
            interval.reads.clear();
            interval.writes.extend(new());
            interval.initialized = true;
            interval.seen = log.now();
        }
    }

    /// Keeps a read. Reads of a command come after its writes, so that those do not wipe them.
    pub(super) fn read(
        &mut self,
        range: &Range<u64>,
        op: u64,
        party: &MkHazardParty,
        stages: Stages,
        log: &Log,
    ) {
        self.split(range.start);
        self.split(range.end);
        for (_, interval) in self.look(range, log) {
            for stage in stages.iter() {
                let new = ReadRecord { op, party: party.clone(), stage, chain: Stages::empty() };
                match interval.reads.iter_mut().find(|r| r.stage == stage) {
                    Some(old) => *old = new,
                    None => interval.reads.push(new),
                }
            }
        }
    }

    /// The host wrote the range: its history is over.
    pub(super) fn renew(&mut self, range: &Range<u64>, log: &Log) {
        if let Some(interval) = self.unite(range) {
            *interval =
                Interval { end: interval.end, seen: log.now(), initialized: true, ..Interval::default() };
        }
    }

    /// The bytes count as never written; who used them stays known.
    pub(super) fn forget_content(&mut self) {
        for interval in self.intervals.values_mut() {
            interval.initialized = false;
        }
    }

    /// Brings everything up to date and joins neighbours with the same history.
    pub(super) fn compact(&mut self, log: &Log) {
        let mut joined: BTreeMap<u64, Interval> = BTreeMap::new();
        for (start, mut interval) in std::mem::take(&mut self.intervals) {
            log.bring_up(&mut interval);
            match joined.last_entry() {
                Some(mut last) if last.get().same_history(&interval) => last.get_mut().end = interval.end,
                _ => {
                    joined.insert(start, interval);
                }
            }
        }
        self.intervals = joined;
    }
}
