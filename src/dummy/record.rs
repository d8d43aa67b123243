//! Recording: everything a submission needs later, copied out of the frame and its schedule.

use super::kernel::{Kernels, MkKernelMemory};
use super::memory::Block;
use super::{DummyBackend, DummyBuffer};
use crate::{MkError, MkPass, MkRecordInput, MkRecordPass, MkResolved, MkSlice};
use memkit_graph::{
    Access, BarrierEntry, BufferRef, Command, CopyRegion, Mode, Resource, ResourceSlice, Schedule, Stages,
};
use std::ops::Range;
use std::sync::Arc;

/// A recorded submission of the simulated device.
pub struct DummyRecording(pub(super) Box<Recorded>);

impl std::fmt::Debug for DummyRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DummyRecording")
            .field("commands", &self.0.steps.len())
            .field("passes", &self.0.passes.len())
            .finish()
    }
}

/// What the device runs. Kept and reused: a repeated frame allocates nothing here.
#[derive(Default)]
pub(super) struct Recorded {
    /// Timeline value, once submitted.
    pub(super) value: u64,
    pub(super) catch_up: bool,
    /// Index of the queue family that runs it.
    pub(super) family: u32,
    /// What the device runs.
    stages: Stages,
    pub(super) steps: Vec<Step>,
    pub(super) entries: Vec<BarrierEntry>,
    pub(super) regions: Vec<CopyRegion>,
    pub(super) scatters: Vec<Scattered>,
    pub(super) transfers: Vec<Transfer>,
    /// The schedule's resources.
    pub(super) resources: Vec<Resource>,
    /// Their buffers, then the staging buffers.
    pub(super) buffers: Vec<Arc<Block>>,
    /// Which of `buffers` are transient resources.
    pub(super) transients: Vec<u32>,
    pub(super) names: String,
    pub(super) passes: Vec<PassRecord>,
    pub(super) uses: Vec<Declared>,
    pub(super) kernels: Kernels,
    /// Explicit orders, with the accesses of both sides in `order_accesses`.
    pub(super) orders: Vec<Ordered>,
    pub(super) order_accesses: Vec<Access>,
    pub(super) host_reads: Vec<(u32, Range<u64>)>,
    /// What the host wrote before the submission.
    pub(super) host_writes: Vec<HostWrite>,
    /// Position of each persistent resource in the schedule, by its slot.
    persistent_at: Vec<u32>,
    /// Position of each transient in the schedule, by its number.
    transient_at: Vec<u32>,
}

/// One command.
pub(super) enum Step {
    /// Positions in `entries` and in `transfers`.
    Barrier { entries: Range<usize>, transfers: Range<usize> },
    /// Position in `passes`.
    Pass(usize),
    /// Positions in `regions`.
    Copy { from: u32, to: u32, regions: Range<usize> },
    /// Positions in `scatters`.
    Scatter { regions: Range<usize> },
    /// As in the schedule.
    Fill { to: u32, offset: u64, size: u64, value: u32 },
}

/// One region of a scatter.
#[derive(Clone, Copy)]
pub(super) struct Scattered {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) region: CopyRegion,
}

/// Half of an ownership transfer.
pub(super) struct Transfer {
    pub(super) buffer: u32,
    pub(super) range: Range<u64>,
    /// Indices of queue families.
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A recorded pass.
pub(super) struct PassRecord {
    pub(super) name: Range<usize>,
    pub(super) uses: Range<usize>,
    pub(super) kernels: Range<usize>,
}

/// A declared use, with the buffer behind it.
pub(super) struct Declared {
    pub(super) resource: Resource,
    pub(super) buffer: u32,
    /// As declared; the end of a whole resource is the size of its buffer.
    pub(super) range: Range<u64>,
    pub(super) access: Access,
    pub(super) mode: Mode,
}

/// An explicit order between two steps.
pub(super) struct Ordered {
    /// Positions in the steps.
    pub(super) first: usize,
    pub(super) then: usize,
    /// Positions in `order_accesses`.
    pub(super) first_accesses: Range<usize>,
    pub(super) then_accesses: Range<usize>,
}

/// Bytes the host wrote.
pub(super) struct HostWrite {
    pub(super) block: Arc<Block>,
    pub(super) range: Range<u64>,
    /// The newest submission the host knew to be done.
    pub(super) observed: u64,
}

impl Recorded {
    /// Drops what it holds and keeps its memory. Runs the destructors of kernels, which are the caller's code.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.entries.clear();
        self.regions.clear();
        self.scatters.clear();
        self.transfers.clear();
        self.resources.clear();
        self.buffers.clear();
        self.transients.clear();
        self.names.clear();
        self.passes.clear();
        self.uses.clear();
        self.orders.clear();
        self.order_accesses.clear();
        self.host_reads.clear();
        self.host_writes.clear();
        self.persistent_at.clear();
        self.transient_at.clear();
        self.kernels.clear();
    }

    /// Records a frame for a device with so many queue families, of one queue each, that run these stages. The buffers
    /// are there already.
    pub(super) fn fill(
        &mut self,
        input: MkRecordInput<'_, DummyBackend>,
        families: u32,
        stages: Stages,
        record: &mut MkRecordPass<'_, DummyBackend>,
    ) -> Result<(), MkError> {
        let schedule = input.schedule;
        let mut queues = schedule.queues.iter().zip(0..).filter(|(q, _)| !q.commands.is_empty());
        let (commands, family) = queues.next().map_or((&[][..], 0), |(q, family)| (&q.commands[..], family));
        self.family = family;
        self.stages = stages;
        if queues.next().is_some() {
            return Err(misfit("commands on two queues in one submission"));
        }
        if family >= families.max(1) {
            return Err(misfit("commands on a queue that this device has not"));
        }
        self.resources.extend_from_slice(&schedule.resources);
        self.index_resources(schedule);
        for command in commands {
            let step = match command {
                Command::Barrier(at) => {
                    let call =
                        schedule.barriers.get(*at as usize).ok_or_else(|| misfit("no such barrier"))?;
                    let named = schedule.entries_of(call).iter().map(|e| e.src_stages | e.dst_stages);
                    if !stages.contains(named.collect()) {
                        return Err(misfit("a barrier that names a stage this device does not run"));
                    }
                    let entries = append(&mut self.entries, schedule.entries_of(call));
                    let start = self.transfers.len();
                    for t in schedule.transfers_of(*at) {
                        let buffer = self.buffer(t.buffer, input)?;
                        self.transfers.push(Transfer {
                            buffer,
                            range: t.range.clone(),
                            from: t.from,
                            to: t.to,
                        });
                    }
                    Step::Barrier { entries, transfers: start..self.transfers.len() }
                }
                Command::Copy { from, to, regions } => Step::Copy {
                    from: self.buffer(*from, input)?,
                    to: self.buffer(*to, input)?,
                    regions: append(&mut self.regions, schedule.regions_of(regions)),
                },
                Command::Scatter { parts } => {
                    let start = self.scatters.len();
                    for s in schedule.scattered_by(parts) {
                        let (from, to) = (self.buffer(s.from, input)?, self.buffer(s.to, input)?);
                        self.scatters.push(Scattered { from, to, region: s.region });
                    }
                    Step::Scatter { regions: start..self.scatters.len() }
                }
                Command::Fill { to, offset, size, value } => {
                    Step::Fill { to: self.buffer(*to, input)?, offset: *offset, size: *size, value: *value }
                }
                Command::Pass(node) => self.pass(*node, input, record)?,
            };
            self.steps.push(step);
        }
        self.orders(input);
        for read in &schedule.host_reads {
            let at = self.buffer(BufferRef::Local(read.resource), input)?;
            self.host_reads.push((at, read.offset..read.offset.saturating_add(read.size)));
        }
        Ok(())
    }

    fn pass(
        &mut self,
        node: u32,
        input: MkRecordInput<'_, DummyBackend>,
        record: &mut MkRecordPass<'_, DummyBackend>,
    ) -> Result<Step, MkError> {
        let pass = input.pass(node);
        let (name, uses, kernels) = (self.names.len(), self.uses.len(), self.kernels.len());
        self.names.push_str(pass.name());
        for u in pass.uses() {
            let buffer = self.position(u.slice.resource, input.schedule);
            let block = buffer.and_then(|b| self.buffers.get(b as usize));
            let (Some(buffer), Some(block)) = (buffer, block) else {
                return Err(misfit("a pass uses a resource that the schedule does not name"));
            };
            let end = if u.slice.end == ResourceSlice::WHOLE {
                input.size_of(u.slice.resource).unwrap_or(block.size)
            } else {
                u.slice.end
            };
            self.uses.push(Declared {
                resource: u.slice.resource,
                buffer,
                range: u.slice.start..end,
                access: run_by(self.stages, u.access),
                mode: u.mode,
            });
        }
        record(node, &mut DummyContext { pass, kernels: &mut self.kernels })?;
        self.passes.push(PassRecord {
            name: name..self.names.len(),
            uses: uses..self.uses.len(),
            kernels: kernels..self.kernels.len(),
        });
        Ok(Step::Pass(self.passes.len() - 1))
    }

    /// Notes the explicit orders between nodes that the schedule runs.
    fn orders(&mut self, input: MkRecordInput<'_, DummyBackend>) {
        for order in input.graph.orders() {
            let step =
                |pass: memkit_graph::PassId| super::order::step_of(input, u32::try_from(pass.index()).ok()?);
            let (Some(first), Some(then)) = (step(order.first), step(order.then)) else { continue };
            let mut side = |pass: memkit_graph::PassId, extra| {
                let start = self.order_accesses.len();
                let node = input.graph.node(pass.index());
                let uses = node.map(|n| input.graph.uses(&n));
                match step(pass).and_then(|at| self.steps.get(at)) {
                    // Whatever way an upload was declared to write: the shader writes.
                    Some(Step::Scatter { .. }) => self.order_accesses.push(Access::COMPUTE_STORAGE_WRITE),
                    _ => {
                        let uses = uses.into_iter().flatten();
                        self.order_accesses.extend(uses.map(|u| run_by(self.stages, u.access)));
                    }
                }
                let extra = Some(extra).filter(|e| *e != Access::NONE);
                self.order_accesses.extend(extra.map(|e| run_by(self.stages, e)));
                if self.order_accesses.len() == start {
                    self.order_accesses.push(run_by(self.stages, super::order::ANYTHING));
                }
                start..self.order_accesses.len()
            };
            let first_accesses = side(order.first, order.first_access);
            let then_accesses = side(order.then, order.then_access);
            self.orders.push(Ordered { first, then, first_accesses, then_accesses });
        }
    }

    /// Notes where each resource is, so that finding one takes no search.
    fn index_resources(&mut self, schedule: &Schedule) {
        for (resource, at) in schedule.resources.iter().zip(0..) {
            let (list, slot) = match resource {
                Resource::Persistent(id) => (&mut self.persistent_at, id.index() as usize),
                Resource::Transient(id) => {
                    self.transients.push(at);
                    (&mut self.transient_at, id.index() as usize)
                }
            };
            if list.len() <= slot {
                list.resize(slot + 1, u32::MAX);
            }
            if let Some(entry) = list.get_mut(slot) {
                *entry = at;
            }
        }
    }

    fn position(&self, resource: Resource, schedule: &Schedule) -> Option<u32> {
        let at = match resource {
            Resource::Persistent(id) => self.persistent_at.get(id.index() as usize),
            Resource::Transient(id) => self.transient_at.get(id.index() as usize),
        };
        // Equal slots are not equal ids: a slot is used again under another version.
        at.copied().filter(|at| schedule.resources.get(*at as usize) == Some(&resource))
    }

    fn buffer(&self, buffer: BufferRef, input: MkRecordInput<'_, DummyBackend>) -> Result<u32, MkError> {
        let (at, there) = match buffer {
            BufferRef::Local(i) => (Some(i), (i as usize) < input.buffers.len()),
            BufferRef::Host(i) => (
                u32::try_from(input.buffers.len()).ok().and_then(|n| n.checked_add(i)),
                (i as usize) < input.host_buffers.len(),
            ),
        };
        at.filter(|_| there).ok_or_else(|| misfit("a command names a buffer that was not given"))
    }
}

/// The bytes of a region that begin at `start`; the region was checked to fit.
pub(super) fn span(start: u64, region: &CopyRegion) -> Range<u64> {
    start..start.saturating_add(region.size)
}

/// Whether a region is within both buffers; one that is not is reported and left out.
pub(super) fn fits(region: &CopyRegion, from: &Block, to: &Block) -> bool {
    [(from, region.src), (to, region.dst)]
        .iter()
        .all(|(b, start)| start.checked_add(region.size).is_some_and(|end| end <= b.size))
}

/// An access on a device that runs these stages.
fn run_by(stages: Stages, access: Access) -> Access {
    Access::new(access.stages.on(stages), access.access)
}

fn append<T: Clone>(to: &mut Vec<T>, from: &[T]) -> Range<usize> {
    let start = to.len();
    to.extend_from_slice(from);
    start..to.len()
}

/// The schedule does not fit what it came with.
pub(super) fn misfit(why: &'static str) -> MkError {
    MkError::Backend { call: "recording on the simulated device", source: why.into() }
}

/// What a pass's closure records with on the simulated device.
pub struct DummyContext<'a> {
    pass: MkPass<'a, DummyBackend>,
    kernels: &'a mut Kernels,
}

impl std::fmt::Debug for DummyContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DummyContext").field("pass", &self.pass_name()).finish_non_exhaustive()
    }
}

impl DummyContext<'_> {
    /// Name of the pass.
    #[must_use]
    pub fn pass_name(&self) -> &str {
        self.pass.name()
    }

    /// Records a kernel. The simulated queue runs it after the submit, on a thread of its own; several kernels of a pass
    /// run in the order in which they were recorded.
    ///
    /// A kernel that returns an error or panics becomes a [report](crate::MkHazardKind::KernelFailed); the rest of the
    /// submission goes on.
    pub fn dispatch<F>(&mut self, kernel: F)
    where
        F: FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError> + Send + 'static,
    {
        self.kernels.push(kernel);
    }

    /// The device's buffer behind a part of a buffer that the pass declared.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if it did not.
    pub fn resolve<'s>(&self, slice: impl Into<MkSlice<'s>>) -> Result<MkResolved<DummyBuffer>, MkError> {
        self.pass.resolve(&slice.into())
    }
}
