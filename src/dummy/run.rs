//! Runs a submission: each command on real bytes, in the order in which it was recorded, each judged first.

use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork, Reports};
use super::judge::{Effects, Judge, can_fill, intern};
use super::kernel::{Kernels, MkKernelMemory};
use super::memory::{DeviceToken, FRESH, Lender, STALE};
use super::queue::Shared;
use super::record::{PassRecord, Recorded, Step, fits};
use crate::MkError;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The device's side of the queue: owned by its thread.
pub(super) struct Runner {
    pub(super) judge: Judge,
    pub(super) token: DeviceToken,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, token: DeviceToken) -> Self {
        Runner { judge: Judge::new(shared), token }
    }

    pub(super) fn run(&mut self, recorded: &mut Recorded) {
        let _ = self.judge.begin(recorded);
        if self.judge.model.is_some() {
            for block in recorded.transients.iter().filter_map(|t| recorded.buffers.get(*t as usize)) {
                self.token.set(block, &(0..block.size), FRESH);
            }
        }
        for at in 0..recorded.steps.len() {
            self.judge.step(recorded, at);
            self.execute(recorded, at);
        }
        self.judge.end(recorded);
        // The host would see something else.
        self.tear(recorded);
    }

    fn execute(&mut self, recorded: &mut Recorded, at: usize) {
        match recorded.steps.get(at) {
            Some(Step::Pass(at)) => {
                let at = *at;
                self.pass(recorded, at);
            }
            Some(Step::Copy { from, to, regions }) => {
                self.copy(recorded, (*from, *to), regions.clone());
            }
            Some(Step::Scatter { regions }) => self.scatter(recorded, regions.clone()),
            Some(Step::Fill { to, offset, size, value }) => {
                let range = *offset..offset.saturating_add(*size);
                if let Some(to) = recorded.buffers.get(*to as usize).filter(|to| can_fill(to, &range)) {
                    self.token.fill(to, &range, *value);
                }
            }
            Some(Step::Barrier { .. }) | None => {}
        }
        self.tear(recorded);
    }

    fn pass(&mut self, recorded: &mut Recorded, at: usize) {
        let Recorded { passes, names, uses, resources, buffers, kernels, value, .. } = recorded;
        let Some(PassRecord { name, uses: declared, kernels: range }) = passes.get(at) else { return };
        if range.is_empty() {
            return;
        }
        let name = names.get(name.clone()).unwrap_or("");
        let work = MkHazardWork::Pass(intern(&mut self.judge.names, name));
        let party = MkHazardParty { work, access: memkit_graph::Access::NONE, submission: *value };
        let memory = MkKernelMemory {
            lender: Lender::new(&mut self.token, buffers),
            resources,
            pass: name,
            uses: uses.get(declared.clone()).unwrap_or(&[]),
            stale: &self.judge.effects.stale,
            party: &party,
            reports: &self.judge.shared.reports,
        };
        run_kernels(kernels, range.clone(), memory);
    }

    fn copy(&mut self, recorded: &Recorded, (from, to): (u32, u32), regions: Range<usize>) {
        let block = |at: u32| recorded.buffers.get(at as usize);
        let (Some(from), Some(to)) = (block(from), block(to)) else { return };
        let regions = recorded.regions.get(regions).unwrap_or(&[]);
        for r in regions.iter().filter(|r| fits(r, from, to)) {
            self.token.copy(from, r.src, to, r.dst, r.size);
        }
        // Bytes it cannot see arrive as something else.
        for (region, stale) in &self.judge.effects.stale {
            let Some(r) = regions.get(*region as usize) else { continue };
            let arrive = |byte: u64| byte - r.src + r.dst;
            self.token.set(to, &(arrive(stale.start)..arrive(stale.end)), STALE);
        }
    }

    fn tear(&mut self, recorded: &Recorded) {
        let Effects { torn, .. } = &self.judge.effects;
        for (buffer, range) in torn {
            if let Some(block) = recorded.buffers.get(*buffer as usize) {
                self.token.set(block, range, STALE);
            }
        }
    }
}

/// Runs the kernels of a pass. One that fails is reported; the rest goes on.
pub(super) fn run_kernels(kernels: &mut Kernels, range: Range<usize>, mut memory: MkKernelMemory<'_>) {
    for kernel in range {
        // What a kernel leaked stays lent to it alone.
        memory.lender.forget_loans();
        let error = match catch_unwind(AssertUnwindSafe(|| kernels.run(kernel, &memory))) {
            // Reported where it happened.
            Ok(Ok(()) | Err(MkError::NotDeclared { .. })) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("panicked: {}", panic_text(&*panic)),
        };
        failed(memory.reports, memory.party, error);
    }
}

/// Reports a kernel that did not do its work.
pub(super) fn failed(reports: &Reports, party: &MkHazardParty, error: String) {
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

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
