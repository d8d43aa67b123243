//! The memory model: holds every command the device runs to the Vulkan specification's chapter "Execution and Memory
//! Dependencies" (7.1), from the command lists and the declared uses alone.
//!
//! Each byte range of a buffer remembers its last write and the reads since. A write is kept as one record for each of its
//! (stage, access) pairs; each record knows which stages' later work is ordered after it (its *chain*), whether it is
//! available, and to which (stage, access) pairs it is visible. A barrier changes records and nothing else:
//!  - a record is in its first synchronization scope if its stage, or a stage of its chain, is among the source stages;
//!    then the destination stages join the chain;
//!  - a write becomes available if the source names its stage and its access literally; the destination stages' later
//!    work is then ordered after that as well;
//!  - a write becomes visible to the destination's stages and accesses by the barrier that makes it available, and by
//!    any whose source stages are ordered after that;
//!  - barriers of one call see the state before the call.
//!
//! A read, or a write over a write, needs the earlier write visible to its own stage and access; a write over a read
//! needs its stage in the read's chain. Whether the host waited between two submissions plays no part.
//!
//! Stricter than the specification in one respect: a stage mask is taken literally, without the stages that are
//! logically earlier (source) or later (destination).

mod access;
mod barrier;
mod order;
mod ownership;
mod records;

use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork, Reports};
use super::memory::Block;
pub(super) use access::pairs;
use access::{Pair, add};
use barrier::Log;
use memkit_graph::{Access, AccessFlags, BarrierEntry};
use records::{Interval, Track, WriteRecord};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The barrier that `catch_up` stands for: everything before, then everything after.
pub(super) const FULL: BarrierEntry = BarrierEntry {
    src_stages: memkit_graph::Stages::ALL_COMMANDS,
    src_access: AccessFlags::MEMORY_WRITE,
    dst_stages: memkit_graph::Stages::ALL_COMMANDS,
    dst_access: AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE),
};

/// A command as the model sees it: a number of its own, and what reports call it.
pub(super) struct Op {
    serial: u64,
    work: MkHazardWork,
    submission: u64,
}

impl Op {
    fn party(&self, access: Access) -> MkHazardParty {
        MkHazardParty { work: self.work.clone(), access, submission: self.submission }
    }
}

/// Where a command goes wrong.
#[derive(Default)]
pub(super) struct Verdict {
    /// Bytes it reads that are not visible to it.
    pub(super) stale: Vec<Range<u64>>,
    /// Bytes it writes without being ordered after an earlier write: what they hold is undefined.
    pub(super) torn: Vec<Range<u64>>,
}

impl Verdict {
    pub(super) fn clear(&mut self) {
        self.stale.clear();
        self.torn.clear();
    }
}

/// The records of all buffers.
#[derive(Default)]
pub(super) struct Model {
    tracks: Vec<Option<Track>>,
    free: Vec<u32>,
    log: Log,
    ops: u64,
    /// The first commands of the running submission's explicit orders.
    orders: Vec<Interval>,
    /// The queue family of the running submission.
    pub(super) family: u32,
}

impl Model {
    pub(super) fn op(&mut self, work: MkHazardWork, submission: u64) -> Op {
        self.ops += 1;
        Op { serial: self.ops, work, submission }
    }

    pub(super) fn barrier(&mut self, call: &[BarrierEntry]) {
        self.log.push(call);
        if self.log.is_long() {
            for (slot, at) in self.tracks.iter_mut().zip(0..) {
                match slot {
                    Some(track) if track.block.strong_count() == 0 => {
                        *slot = None;
                        self.free.push(at);
                    }
                    Some(track) => track.compact(&self.log),
                    None => {}
                }
            }
            self.orders.iter_mut().for_each(|o| self.log.bring_up(o));
            self.log.clear();
        }
    }

    /// The device catches up: a full barrier before a submission.
    pub(super) fn catch_up(&mut self) {
        self.barrier(&[FULL]);
    }

    fn track(&mut self, block: &Arc<Block>) -> Option<(&mut Track, &Log)> {
        let mut at = block.track.load(Ordering::Relaxed);
        if at == u32::MAX {
            let track = Some(Track::new(block, self.log.now()));
            at = match self.free.pop() {
                Some(at) => at,
                None => {
                    self.tracks.push(None);
                    u32::try_from(self.tracks.len() - 1).unwrap_or(u32::MAX)
                }
            };
            *self.tracks.get_mut(at as usize)? = track;
            block.track.store(at, Ordering::Relaxed);
        }
        let track = self.tracks.get_mut(at as usize)?.as_mut()?;
        Some((track, &self.log))
    }

    /// Judges one access of a command against what came before. All accesses of a command are judged before any is
    /// [kept](Self::keep).
    pub(super) fn judge(
        &mut self,
        op: &Op,
        block: &Arc<Block>,
        range: &Range<u64>,
        access: Access,
        reports: &Reports,
        verdict: &mut Verdict,
    ) {
        let family = self.family;
        let Some((track, log)) = self.track(block) else { return };
        ownership::judge(&track.owned, family, block, range, &|| op.party(access), reports);
        let reads = pairs(access, AccessFlags::READS);
        let writes = pairs(access, AccessFlags::WRITES);
        for (part, interval) in track.look(range, log) {
            let report = |kind, first, pairs: &[Pair], mend| {
                reports.push(MkHazard {
                    kind,
                    buffer: block.name.clone(),
                    range: part.clone(),
                    first,
                    second: op.party(joined(pairs)),
                    mend,
                    detail: None,
                });
            };
            if !reads.is_empty() && !interval.initialized {
                report(MkHazardKind::Uninitialized, None, &reads, None);
            }
            for (needs, late, into) in [
                (&reads, MkHazardKind::ReadAfterWrite, &mut verdict.stale),
                (&writes, MkHazardKind::WriteAfterWrite, &mut verdict.torn),
            ] {
                let earlier = interval.writes.iter().filter(|w| w.op != op.serial);
                if let Some((kind, first, mend)) = memory_dependency(earlier, needs, late) {
                    report(kind, Some(first), needs, Some(mend));
                    into.push(part.clone());
                }
            }
            for read in interval.reads.iter().filter(|r| r.op != op.serial) {
                let mut missing = Access::NONE;
                writes.iter().filter(|p| !read.chain.contains(p.0)).for_each(|p| add(&mut missing, *p));
                if missing != Access::NONE {
                    let mend = BarrierEntry {
                        src_stages: read.stage,
                        src_access: AccessFlags::empty(),
                        dst_stages: missing.stages,
                        dst_access: AccessFlags::empty(),
                    };
                    report(MkHazardKind::WriteAfterRead, Some(read.party.clone()), &writes, Some(mend));
                }
            }
        }
    }

    /// Keeps one access of a command: first all that write, then all that read.
    pub(super) fn keep(
        &mut self,
        op: &Op,
        block: &Arc<Block>,
        range: &Range<u64>,
        access: Access,
        kind: Keep,
    ) {
        let Some((track, log)) = self.track(block) else { return };
        match kind {
            Keep::Write => {
                let writes = pairs(access, AccessFlags::WRITES);
                if !writes.is_empty() {
                    track.write(range, op.serial, &op.party(joined(&writes)), &writes, log);
                }
            }
            Keep::Read => {
                let reads = joined(&pairs(access, AccessFlags::READS));
                if reads != Access::NONE {
                    track.read(range, op.serial, &op.party(reads), reads.stages, log);
                }
            }
        }
    }

    /// The host reads bytes after a submission. Pushes those it cannot see to `stale`.
    pub(super) fn host_read(
        &mut self,
        block: &Arc<Block>,
        range: &Range<u64>,
        submission: u64,
        reports: &Reports,
        stale: &mut Vec<Range<u64>>,
    ) {
        let Some((track, log)) = self.track(block) else { return };
        let needs = pairs(Access::HOST_READ, AccessFlags::READS);
        for (part, interval) in track.look(range, log) {
            let kind = MkHazardKind::HostReadWithoutDependency;
            let Some((_, first, mend)) = memory_dependency(interval.writes.iter(), &needs, kind) else {
                continue;
            };
            stale.push(part.clone());
            reports.push(MkHazard {
                kind,
                buffer: block.name.clone(),
                range: part,
                first: Some(first),
                second: MkHazardParty { work: MkHazardWork::HostRead, access: Access::HOST_READ, submission },
                mend: Some(mend),
                detail: None,
            });
        }
    }

    /// The host wrote bytes when it knew that submissions up to `observed` were done.
    pub(super) fn host_write(
        &mut self,
        block: &Arc<Block>,
        range: &Range<u64>,
        observed: u64,
        reports: &Reports,
    ) {
        let Some((track, log)) = self.track(block) else { return };
        for (part, interval) in track.look(range, log) {
            let users =
                interval.writes.iter().map(|w| &w.party).chain(interval.reads.iter().map(|r| &r.party));
            let Some(user) = users.filter(|p| p.submission > observed).max_by_key(|p| p.submission) else {
                continue;
            };
            reports.push(MkHazard {
                kind: MkHazardKind::HostWriteInUse,
                buffer: block.name.clone(),
                range: part,
                first: Some(user.clone()),
                second: MkHazardParty {
                    work: MkHazardWork::HostWrite,
                    access: Access::HOST_WRITE,
                    submission: observed,
                },
                mend: None,
                detail: Some(format!("the host had waited for submission {observed} at most").into()),
            });
        }
        track.renew(range, log);
    }

    /// A transient buffer begins a new life: its bytes count as never written.
    pub(super) fn reborn(&mut self, block: &Arc<Block>) {
        if let Some((track, _)) = self.track(block) {
            track.forget_content();
        }
    }
}

/// Which half of an access is kept.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    Write,
    Read,
}

fn joined(pairs: &[Pair]) -> Access {
    let mut access = Access::NONE;
    pairs.iter().for_each(|p| add(&mut access, *p));
    access
}

/// Whether earlier writes are ordered before, available and visible to every needed pair. If not: the worst that is
/// missing (`late` if not even the order), who wrote, and the barrier entry that would mend it.
fn memory_dependency<'w>(
    writes: impl Iterator<Item = &'w WriteRecord>,
    needs: &[Pair],
    late: MkHazardKind,
) -> Option<(MkHazardKind, MkHazardParty, BarrierEntry)> {
    let mut found: Option<(u8, MkHazardParty)> = None;
    let (mut src, mut dst) = (Access::NONE, Access::NONE);
    for write in writes {
        for need in needs.iter().filter(|n| !write.visible.contains(**n)) {
            let ordered = write.chain.contains(need.0);
            let badness = if !ordered { 2 } else { u8::from(write.available.is_empty()) };
            if found.as_ref().is_none_or(|f| f.0 < badness) {
                found = Some((badness, write.party.clone()));
            }
            // Where the write is available already, a source without accesses would do, but only behind the barrier that
            // made it so.
            src |= Access::new(write.stage, write.access);
            add(&mut dst, *need);
        }
    }
    found.map(|(badness, party)| {
        let kind = match badness {
            0 => MkHazardKind::NotVisible,
            1 => MkHazardKind::NotAvailable,
            _ => late,
        };
        let mend = BarrierEntry {
            src_stages: src.stages,
            src_access: src.access,
            dst_stages: dst.stages,
            dst_access: dst.access,
        };
        (kind, party, mend)
    })
}
