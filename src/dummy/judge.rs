//! Holds the commands of a submission to the memory model, in the order in which they were recorded: whatever order
//! they run in, they are judged in this one.

use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork};
use super::memory::Block;
use super::model::{Keep, Model, Verdict};
use super::queue::Shared;
use super::record::{PassRecord, Recorded, Step, fits, span};
use memkit_graph::Access;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Names kept for reports before unused ones are dropped.
const NAMES: usize = 4096;

/// What the model says about the bytes of one command.
#[derive(Default)]
pub(super) struct Effects {
    /// Bytes it reads that it may not see: of a pass by buffer, of a copy or a scatter by region, in bytes of the
    /// source.
    pub(super) stale: Vec<(u32, Range<u64>)>,
    /// Bytes, by buffer, that are undefined once the command ran.
    pub(super) torn: Vec<(u32, Range<u64>)>,
}

impl Effects {
    fn clear(&mut self) {
        self.stale.clear();
        self.torn.clear();
    }
}

/// The model, and what it takes to say what is wrong.
pub(super) struct Judge {
    pub(super) shared: Arc<Shared>,
    /// `None`: nothing is checked.
    pub(super) model: Option<Model>,
    pub(super) names: HashSet<Arc<str>>,
    pub(super) verdict: Verdict,
    order: Vec<Range<u64>>,
    /// What a scatter touches: buffer, first byte, one past the last, and whether it is read.
    pub(super) touched: Vec<(u32, u64, u64, bool)>,
    /// Of each explicit order whose first command ran: its number in the model.
    pub(super) ordered: Vec<Option<usize>>,
    /// Of the command judged last.
    pub(super) effects: Effects,
    /// The queue family of the submission judged last.
    family: u32,
}

impl Judge {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let model = shared.config.check.then(Model::default);
        Judge {
            shared,
            model,
            names: HashSet::new(),
            verdict: Verdict::default(),
            order: Vec::new(),
            touched: Vec::new(),
            ordered: Vec::new(),
            effects: Effects::default(),
            family: 0,
        }
    }

    /// A submission begins. Returns whether all before it has to be done and visible first: because it catches up, or
    /// because it runs on another queue than the one before, between which the device puts a semaphore (Vulkan
    /// specification 7.4.1, "Semaphore Signaling", and 7.4.2, "Semaphore Waiting": both cover all memory).
    pub(super) fn begin(&mut self, recorded: &Recorded) -> bool {
        let from = std::mem::replace(&mut self.family, recorded.family);
        let waits = recorded.catch_up || from != recorded.family;
        let Some(model) = &mut self.model else { return waits };
        model.family = recorded.family;
        model.clear_orders();
        self.ordered.clear();
        self.ordered.resize(recorded.orders.len(), None);
        for write in &recorded.host_writes {
            model.host_write(&write.block, &write.range, write.observed, &self.shared.reports);
        }
        if waits {
            model.catch_up();
        }
        for block in recorded.transients.iter().filter_map(|t| recorded.buffers.get(*t as usize)) {
            model.reborn(block);
        }
        waits
    }

    /// Judges a command; [`effects`](Self::effects) is what it means for the bytes. `false` for a barrier call that is
    /// to be left out.
    pub(super) fn step(&mut self, recorded: &Recorded, at: usize) -> bool {
        self.effects.clear();
        self.order_then(recorded, at);
        match recorded.steps.get(at) {
            Some(Step::Barrier { entries, transfers }) => {
                let number = self.shared.barriers.fetch_add(1, Ordering::Relaxed);
                if self.shared.config.skip_barrier == Some(number) {
                    return false;
                }
                if let (Some(model), Some(call)) = (&mut self.model, recorded.entries.get(entries.clone())) {
                    model.barrier(call);
                }
                self.transfers(recorded, transfers.clone());
            }
            Some(Step::Pass(at)) => self.pass(recorded, *at),
            Some(Step::Copy { from, to, regions }) => self.copy(recorded, *from, *to, regions.clone()),
            Some(Step::Scatter { regions }) => self.scatter(recorded, regions.clone()),
            Some(Step::Fill { to, offset, size, .. }) => {
                self.fill(recorded, *to, *offset..offset.saturating_add(*size));
            }
            None => {}
        }
        self.order_first(recorded, at);
        true
    }

    /// The submission is done: bytes the host reads and cannot see are torn.
    pub(super) fn end(&mut self, recorded: &Recorded) {
        self.effects.clear();
        let Some(model) = &mut self.model else { return };
        for (buffer, range) in &recorded.host_reads {
            let Some(block) = recorded.buffers.get(*buffer as usize) else { continue };
            self.verdict.clear();
            model.host_read(block, range, recorded.value, &self.shared.reports, &mut self.verdict.stale);
            self.effects.torn.extend(self.verdict.stale.drain(..).map(|r| (*buffer, r)));
        }
    }

    fn transfers(&mut self, recorded: &Recorded, transfers: Range<usize>) {
        let Some(model) = &mut self.model else { return };
        for transfer in recorded.transfers.get(transfers).unwrap_or(&[]) {
            let Some(block) = recorded.buffers.get(transfer.buffer as usize) else { continue };
            model.transfer(block, transfer, recorded.value, &self.shared.reports);
        }
    }

    fn pass(&mut self, recorded: &Recorded, at: usize) {
        let Recorded { passes, names, uses, buffers, value, .. } = recorded;
        let Some(PassRecord { name, uses: declared, .. }) = passes.get(at) else { return };
        let name = names.get(name.clone()).unwrap_or("");
        let uses = uses.get(declared.clone()).unwrap_or(&[]);
        let block = |buffer: u32| buffers.get(buffer as usize);
        for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
            if u.range.end > block.size || u.range.start > u.range.end {
                let work = MkHazardWork::Pass(intern(&mut self.names, name));
                let second = MkHazardParty { work, access: u.access, submission: *value };
                self.out_of_bounds(block, u.range.clone(), second, "");
            }
        }
        let Some(model) = &mut self.model else { return };
        let Effects { stale, torn } = &mut self.effects;
        let op = model.op(MkHazardWork::Pass(intern(&mut self.names, name)), *value);
        for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
            self.verdict.clear();
            model.judge(&op, block, &u.range, u.access, &self.shared.reports, &mut self.verdict);
            stale.extend(self.verdict.stale.drain(..).map(|r| (u.buffer, r)));
            torn.extend(self.verdict.torn.drain(..).map(|r| (u.buffer, r)));
        }
        for keep in [Keep::Write, Keep::Read] {
            for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
                model.keep(&op, block, &u.range, u.access, keep);
            }
        }
    }

    fn copy(&mut self, recorded: &Recorded, at_from: u32, at_to: u32, regions: Range<usize>) {
        let block = |at: u32| recorded.buffers.get(at as usize);
        let (Some(from), Some(to)) = (block(at_from), block(at_to)) else { return };
        let regions = recorded.regions.get(regions).unwrap_or(&[]);
        let work = MkHazardWork::Copy { from: from.name.clone(), to: to.name.clone() };
        let party = |access| MkHazardParty { work: work.clone(), access, submission: recorded.value };
        for region in regions.iter().filter(|r| !fits(r, from, to)) {
            for (block, start, access) in
                [(from, region.src, Access::COPY_READ), (to, region.dst, Access::COPY_WRITE)]
            {
                let range = start..start.saturating_add(region.size);
                if range.end > block.size {
                    self.out_of_bounds(block, range, party(access), "; left out");
                }
            }
        }
        let regions = regions.iter().zip(0..).filter(|(r, _)| fits(r, from, to));
        if self.model.is_some() {
            let destinations = regions.clone().map(|(r, _)| span(r.dst, r));
            let sources = regions.clone().filter(|_| Arc::ptr_eq(from, to)).map(|(r, _)| span(r.src, r));
            self.overlaps(to, destinations, sources, &party(Access::NONE));
        }
        let Some(model) = &mut self.model else { return };
        let Effects { stale, torn } = &mut self.effects;
        let reports = &self.shared.reports;
        let op = model.op(work.clone(), recorded.value);
        for (r, at) in regions.clone() {
            self.verdict.clear();
            model.judge(&op, from, &span(r.src, r), Access::COPY_READ, reports, &mut self.verdict);
            model.judge(&op, to, &span(r.dst, r), Access::COPY_WRITE, reports, &mut self.verdict);
            stale.extend(self.verdict.stale.drain(..).map(|s| (at, s)));
            torn.extend(self.verdict.torn.drain(..).map(|t| (at_to, t)));
        }
        for (r, _) in regions.clone() {
            model.keep(&op, to, &span(r.dst, r), Access::COPY_WRITE, Keep::Write);
        }
        for (r, _) in regions {
            model.keep(&op, from, &span(r.src, r), Access::COPY_READ, Keep::Read);
        }
    }

    /// Reports regions of one command that overlap in a buffer: destinations among themselves, or with sources.
    pub(super) fn overlaps(
        &mut self,
        to: &Arc<Block>,
        destinations: impl Iterator<Item = Range<u64>>,
        sources: impl Iterator<Item = Range<u64>>,
        party: &MkHazardParty,
    ) {
        let report = |a: &Range<u64>, b: &Range<u64>, what: &str| {
            let range = a.start.max(b.start)..a.end.min(b.end);
            if range.is_empty() {
                return;
            }
            self.shared.reports.push(MkHazard {
                kind: MkHazardKind::OverlappingRegions,
                buffer: to.name.clone(),
                range,
                first: None,
                second: party.clone(),
                mend: None,
                detail: Some(
                    format!("{what} {}..{} and destination {}..{}", a.start, a.end, b.start, b.end).into(),
                ),
            });
        };
        self.order.clear();
        self.order.extend(destinations);
        self.order.sort_unstable_by_key(|r| (r.start, r.end));
        let mut last: Option<&Range<u64>> = None;
        for range in &self.order {
            if let Some(last) = last {
                report(last, range, "destination");
            }
            // The one that reaches furthest is the one the next can overlap.
            last = last.filter(|l| l.end >= range.end).or(Some(range));
        }
        for source in sources {
            let near = self.order.partition_point(|d| d.start < source.end);
            for range in self.order.get(..near).unwrap_or(&[]) {
                report(&source, range, "source");
            }
        }
    }

    fn fill(&mut self, recorded: &Recorded, at: u32, range: Range<u64>) {
        let Some(to) = recorded.buffers.get(at as usize) else { return };
        let work = MkHazardWork::Fill { to: to.name.clone() };
        let access = Access::FILL_WRITE;
        let party = MkHazardParty { work: work.clone(), access, submission: recorded.value };
        if range.end > to.size {
            self.out_of_bounds(to, range, party, "; left out");
            return;
        }
        if !aligned(&range) {
            self.shared.reports.push(MkHazard {
                kind: MkHazardKind::Misaligned,
                buffer: to.name.clone(),
                range,
                first: None,
                second: party,
                mend: None,
                detail: Some("offset and size of a fill are multiples of 4".into()),
            });
            return;
        }
        let Some(model) = &mut self.model else { return };
        self.verdict.clear();
        let op = model.op(work, recorded.value);
        model.judge(&op, to, &range, access, &self.shared.reports, &mut self.verdict);
        model.keep(&op, to, &range, access, Keep::Write);
        self.effects.torn.extend(self.verdict.torn.drain(..).map(|r| (at, r)));
    }

    pub(super) fn out_of_bounds(
        &self,
        block: &Arc<Block>,
        range: Range<u64>,
        party: MkHazardParty,
        and: &str,
    ) {
        self.shared.reports.push(MkHazard {
            kind: MkHazardKind::OutOfBounds,
            buffer: block.name.clone(),
            range,
            first: None,
            second: party,
            mend: None,
            detail: Some(format!("its size is {} bytes{and}", block.size).into()),
        });
    }
}

/// Whether the bytes can be filled: offset and size are multiples of 4.
fn aligned(range: &Range<u64>) -> bool {
    range.start.is_multiple_of(4) && range.end.is_multiple_of(4)
}

/// Whether a fill of these bytes runs; one that is reported as out of bounds or misaligned does not.
pub(super) fn can_fill(to: &Block, range: &Range<u64>) -> bool {
    range.end <= to.size && aligned(range)
}

/// The kept copy of a name: records that name a pass share it.
pub(super) fn intern(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(kept) = names.get(name) {
        return kept.clone();
    }
    if names.len() >= NAMES {
        names.retain(|n| Arc::strong_count(n) > 1);
    }
    let kept: Arc<str> = name.into();
    names.insert(kept.clone());
    kept
}
