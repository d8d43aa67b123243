//! The log of barriers. Records are brought up to date when they are looked at, not at each barrier.

use super::records::{Interval, WriteRecord};
use memkit_graph::{AccessFlags, BarrierEntry, Stages};

/// Calls after which the log is applied to everything and emptied.
const LONG: usize = 1024;

/// One memory barrier with its umbrella bits expanded.
#[derive(Clone, Copy)]
struct Entry {
    src_stages: Stages,
    src_access: AccessFlags,
    dst_stages: Stages,
    dst_access: AccessFlags,
}

/// Barrier calls in the order in which they ran.
#[derive(Default)]
pub(super) struct Log {
    /// Number of calls before the first one kept.
    base: u64,
    /// End of each call in `entries`.
    calls: Vec<usize>,
    entries: Vec<Entry>,
}

impl Log {
    pub(super) fn push(&mut self, call: &[BarrierEntry]) {
        self.entries.extend(call.iter().map(|e| Entry {
            src_stages: e.src_stages.expanded(),
            src_access: e.src_access.expanded(),
            dst_stages: e.dst_stages.expanded(),
            dst_access: e.dst_access.expanded(),
        }));
        self.calls.push(self.entries.len());
    }

    /// Number of calls so far: what a new record has seen.
    pub(super) fn now(&self) -> u64 {
        self.base + self.calls.len() as u64
    }

    pub(super) fn is_long(&self) -> bool {
        self.calls.len() >= LONG
    }

    /// Empties the log; everything must have been brought up to date.
    pub(super) fn clear(&mut self) {
        self.base = self.now();
        self.calls.clear();
        self.entries.clear();
    }

    /// Applies the calls an interval has not seen yet.
    pub(super) fn bring_up(&self, interval: &mut Interval) {
        let mut call = usize::try_from(interval.seen.saturating_sub(self.base)).unwrap_or(usize::MAX);
        interval.seen = self.now();
        if interval.writes.is_empty() && interval.reads.is_empty() {
            return;
        }
        let mut start = call.checked_sub(1).and_then(|c| self.calls.get(c)).copied().unwrap_or(0);
        while let Some(&end) = self.calls.get(call) {
            let entries = self.entries.get(start..end).unwrap_or(&[]);
            for write in &mut interval.writes {
                apply_to_write(write, entries);
            }
            for read in &mut interval.reads {
                // A read is in the first scope by its own stage or by what is ordered after it already.
                let before = read.stage | read.chain;
                for e in entries.iter().filter(|e| e.src_stages.intersects(before)) {
                    read.chain |= e.dst_stages;
                }
            }
            start = end;
            call += 1;
        }
    }
}

/// What one barrier call does for one write.
///
/// Everything is judged by the state before the call: the barriers of one call are not ordered among themselves, so
/// they do not chain.
fn apply_to_write(write: &mut WriteRecord, entries: &[Entry]) {
    let (ordered, available) = (write.stage | write.chain, write.available);
    for e in entries.iter().filter(|e| e.src_stages.intersects(ordered)) {
        write.chain |= e.dst_stages;
        // The first access scope is what the masks say literally: a chain carries no availability on its own, but
        // chains on from the barrier that made the write available.
        let literal = e.src_stages.contains(write.stage) && e.src_access.contains(write.access);
        if literal || e.src_stages.intersects(available) {
            write.available |= e.dst_stages;
            write.visible.add(e.dst_stages, e.dst_access);
        }
    }
}
