//! Runs a submission: each command on real bytes, each held to the memory model first.

use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork};
use super::kernel::MkKernelMemory;
use super::memory::{Block, DeviceToken, FRESH, Lender, STALE};
use super::model::{Keep, Model, Op, Verdict};
use super::queue::Shared;
use super::record::{PassRecord, Recorded, Step};
use crate::MkError;
use memkit_graph::{Access, CopyRegion};
use std::any::Any;
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Names kept for reports before unused ones are dropped.
const NAMES: usize = 4096;

/// The device's side of the queue: owned by its thread.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    token: DeviceToken,
    /// `None`: nothing is checked.
    pub(super) model: Option<Model>,
    pub(super) names: HashSet<Arc<str>>,
    verdict: Verdict,
    /// Buffers and bytes of the running pass that it may not see.
    stale: Vec<(u32, Range<u64>)>,
    /// Buffers and bytes whose content is undefined once the command ran.
    torn: Vec<(u32, Range<u64>)>,
    order: Vec<Range<u64>>,
    /// Of each explicit order whose first command ran: its number in the model.
    pub(super) ordered: Vec<Option<usize>>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, token: DeviceToken) -> Self {
        let model = shared.config.check.then(Model::default);
        Runner {
            shared,
            token,
            model,
            names: HashSet::new(),
            verdict: Verdict::default(),
            stale: Vec::new(),
            torn: Vec::new(),
            order: Vec::new(),
            ordered: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, recorded: &mut Recorded) {
        self.begin(recorded);
        let steps = std::mem::take(&mut recorded.steps);
        for (at, step) in steps.iter().enumerate() {
            self.order_then(recorded, &steps, at);
            match step {
                Step::Barrier(entries) => {
                    let number = self.shared.barriers.fetch_add(1, Ordering::Relaxed);
                    let skipped = self.shared.config.skip_barrier == Some(number);
                    if let (Some(model), Some(call), false) =
                        (&mut self.model, recorded.entries.get(entries.clone()), skipped)
                    {
                        model.barrier(call);
                    }
                }
                Step::Pass(at) => self.pass(recorded, *at),
                Step::Copy { from, to, regions } => self.copy(recorded, *from, *to, regions.clone()),
                Step::Fill { to, offset, size, value } => {
                    self.fill(recorded, *to, *offset..offset.saturating_add(*size), *value);
                }
            }
            self.order_first(recorded, &steps, at);
        }
        recorded.steps = steps;
        self.end(recorded);
    }

    fn begin(&mut self, recorded: &Recorded) {
        let Some(model) = &mut self.model else { return };
        model.clear_orders();
        self.ordered.clear();
        self.ordered.resize(recorded.orders.len(), None);
        for write in &recorded.host_writes {
            model.host_write(&write.block, &write.range, write.observed, &self.shared.reports);
        }
        if recorded.catch_up {
            model.catch_up();
        }
        for block in recorded.transients.iter().filter_map(|t| recorded.buffers.get(*t as usize)) {
            model.reborn(block);
            self.token.set(block, &(0..block.size), FRESH);
        }
    }

    fn end(&mut self, recorded: &Recorded) {
        let Some(model) = &mut self.model else { return };
        for (buffer, range) in &recorded.host_reads {
            let Some(block) = recorded.buffers.get(*buffer as usize) else { continue };
            self.verdict.clear();
            let stale = &mut self.verdict.stale;
            model.host_read(block, range, recorded.value, &self.shared.reports, stale);
            // The host would see something else.
            for range in stale {
                self.token.set(block, range, STALE);
            }
        }
    }

    fn pass(&mut self, recorded: &mut Recorded, at: usize) {
        let Recorded { passes, names, uses, resources, buffers, kernels, value, .. } = recorded;
        let Some(PassRecord { name, uses: declared, kernels: range }) = passes.get(at) else { return };
        let name = names.get(name.clone()).unwrap_or("");
        let uses = uses.get(declared.clone()).unwrap_or(&[]);
        let work = MkHazardWork::Pass(intern(&mut self.names, name));
        let party = MkHazardParty { work: work.clone(), access: Access::NONE, submission: *value };
        let reports = &self.shared.reports;
        self.stale.clear();
        self.torn.clear();
        let block = |buffer: u32| buffers.get(buffer as usize);
        for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
            if u.range.end > block.size || u.range.start > u.range.end {
                reports.push(MkHazard {
                    kind: MkHazardKind::OutOfBounds,
                    buffer: block.name.clone(),
                    range: u.range.clone(),
                    first: None,
                    second: MkHazardParty { access: u.access, ..party.clone() },
                    mend: None,
                    detail: Some(format!("its size is {} bytes", block.size).into()),
                });
            }
        }
        if let Some(model) = &mut self.model {
            let op = model.op(work, *value);
            for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
                self.verdict.clear();
                model.judge(&op, block, &u.range, u.access, reports, &mut self.verdict);
                self.stale.extend(self.verdict.stale.drain(..).map(|r| (u.buffer, r)));
                self.torn.extend(self.verdict.torn.drain(..).map(|r| (u.buffer, r)));
            }
            for keep in [Keep::Write, Keep::Read] {
                for (u, block) in uses.iter().filter_map(|u| Some((u, block(u.buffer)?))) {
                    model.keep(&op, block, &u.range, u.access, keep);
                }
            }
        }
        for kernel in range.clone() {
            let lender = Lender::new(&mut self.token, buffers);
            let memory = MkKernelMemory {
                lender,
                resources,
                pass: name,
                uses,
                stale: &self.stale,
                party: &party,
                reports,
            };
            let error = match catch_unwind(AssertUnwindSafe(|| kernels.run(kernel, &memory))) {
                // Reported where it happened.
                Ok(Ok(()) | Err(MkError::NotDeclared { .. })) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("panicked: {}", panic_text(&*panic)),
            };
            reports.push(MkHazard {
                kind: MkHazardKind::KernelFailed,
                buffer: "".into(),
                range: 0..0,
                first: None,
                second: party.clone(),
                mend: None,
                detail: Some(error.into()),
            });
        }
        for (buffer, range) in &self.torn {
            if let Some(block) = block(*buffer) {
                self.token.set(block, range, STALE);
            }
        }
    }

    fn copy(&mut self, recorded: &Recorded, from: u32, to: u32, regions: Range<usize>) {
        let block = |at: u32| recorded.buffers.get(at as usize);
        let (Some(from), Some(to)) = (block(from), block(to)) else { return };
        let regions = recorded.regions.get(regions).unwrap_or(&[]);
        let work = MkHazardWork::Copy { from: from.name.clone(), to: to.name.clone() };
        let party = |access| MkHazardParty { work: work.clone(), access, submission: recorded.value };
        let fits = |region: &&CopyRegion| {
            [(from, region.src), (to, region.dst)]
                .iter()
                .all(|(b, start)| start.checked_add(region.size).is_some_and(|end| end <= b.size))
        };
        for region in regions.iter().filter(|r| !fits(r)) {
            for (block, start, access) in
                [(from, region.src, Access::COPY_READ), (to, region.dst, Access::COPY_WRITE)]
            {
                let range = start..start.saturating_add(region.size);
                if range.end > block.size {
                    self.out_of_bounds(block, range, party(access));
                }
            }
        }
        let regions = regions.iter().filter(fits);
        self.torn.clear();
        if self.model.is_some() {
            self.overlaps(from, to, regions.clone(), &party(Access::NONE));
        }
        if let Some(model) = &mut self.model {
            let reports = &self.shared.reports;
            let op = model.op(work.clone(), recorded.value);
            for r in regions.clone() {
                self.verdict.clear();
                model.judge(&op, from, &span(r.src, r), Access::COPY_READ, reports, &mut self.verdict);
                model.judge(&op, to, &span(r.dst, r), Access::COPY_WRITE, reports, &mut self.verdict);
                // Bytes it cannot see arrive as something else.
                let arrive = |s: Range<u64>| s.start - r.src + r.dst..s.end - r.src + r.dst;
                self.torn.extend(self.verdict.stale.drain(..).map(|s| (0, arrive(s))));
                self.torn.extend(self.verdict.torn.drain(..).map(|t| (0, t)));
            }
            for r in regions.clone() {
                model.keep(&op, to, &span(r.dst, r), Access::COPY_WRITE, Keep::Write);
            }
            for r in regions.clone() {
                model.keep(&op, from, &span(r.src, r), Access::COPY_READ, Keep::Read);
            }
        }
        for r in regions {
            self.token.copy(from, r.src, to, r.dst, r.size);
        }
        for (_, range) in &self.torn {
            self.token.set(to, range, STALE);
        }
    }

    /// Reports regions of one copy that overlap: destinations among themselves, or with sources of the same buffer.
    fn overlaps<'r>(
        &mut self,
        from: &Arc<Block>,
        to: &Arc<Block>,
        regions: impl Iterator<Item = &'r CopyRegion> + Clone,
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
        self.order.extend(regions.clone().map(|r| span(r.dst, r)));
        self.order.sort_unstable_by_key(|r| (r.start, r.end));
        let mut last: Option<&Range<u64>> = None;
        for range in &self.order {
            if let Some(last) = last {
                report(last, range, "destination");
            }
            // The one that reaches furthest is the one the next can overlap.
            last = last.filter(|l| l.end >= range.end).or(Some(range));
        }
        if Arc::ptr_eq(from, to) {
            for r in regions {
                let source = span(r.src, r);
                let near = self.order.partition_point(|d| d.start < source.end);
                for range in self.order.get(..near).unwrap_or(&[]) {
                    report(&source, range, "source");
                }
            }
        }
    }

    fn fill(&mut self, recorded: &Recorded, to: u32, range: Range<u64>, value: u32) {
        let Some(to) = recorded.buffers.get(to as usize) else { return };
        let work = MkHazardWork::Fill { to: to.name.clone() };
        let party =
            MkHazardParty { work: work.clone(), access: Access::FILL_WRITE, submission: recorded.value };
        if range.end > to.size {
            self.out_of_bounds(to, range, party);
            return;
        }
        if !range.start.is_multiple_of(4) || !range.end.is_multiple_of(4) {
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
        self.verdict.clear();
        if let Some(model) = &mut self.model {
            let op: Op = model.op(work, recorded.value);
            model.judge(&op, to, &range, Access::FILL_WRITE, &self.shared.reports, &mut self.verdict);
            model.keep(&op, to, &range, Access::FILL_WRITE, Keep::Write);
        }
        self.token.fill(to, &range, value);
        for torn in &self.verdict.torn {
            self.token.set(to, torn, STALE);
        }
    }

    fn out_of_bounds(&self, block: &Arc<Block>, range: Range<u64>, party: MkHazardParty) {
        self.shared.reports.push(MkHazard {
            kind: MkHazardKind::OutOfBounds,
            buffer: block.name.clone(),
            range,
            first: None,
            second: party,
            mend: None,
            detail: Some(format!("its size is {} bytes; left out", block.size).into()),
        });
    }
}

/// The bytes of a region that begin at `start`; the region was checked to fit.
fn span(start: u64, region: &CopyRegion) -> Range<u64> {
    start..start.saturating_add(region.size)
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

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
