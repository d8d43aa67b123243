//! From a declared frame to the device: plan, record, submit, and giving everything back when that fails.

use crate::arena::Closures;
use crate::backend::{MkGpuBackend, MkRecordInput};
use crate::buffer::BufferInner;
use crate::collected::Collected;
use crate::device::{Inside, lock};
use crate::direct::Claim;
use crate::error::{MkFrameError, MkFrameProblem};
use crate::gpu::{Core, Inner, PooledTransient};
use crate::inner::OwnBuffer;
use crate::readback::{Progress, ReadbackKey};
use crate::staging::HeldChunk;
use crate::stats::MkFrameStats;
use crate::transfer::{Pending, cancel_impossible};
use crate::{MkBufferDesc, MkError, MkGpuConfig, MkMemoryType};
use memkit_graph::{
    BufferUsage, FrameDump, FrameGraph, PlanOptions, Planner, Resource, ResourceId, UploadRule,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// How a pass's closure is called.
pub(crate) type RecordFn<B> =
    unsafe fn(*mut u8, &mut <B as MkGpuBackend>::Context<'_>) -> Result<(), MkError>;

/// The memory of one open frame, used again by a later one.
pub(crate) struct Workspace<B: MkGpuBackend> {
    pub(crate) name: String,
    pub(crate) number: u64,
    /// No other frame has the same, of any `MkGpu`.
    pub(crate) stamp: u64,
    pub(crate) graph: FrameGraph,
    pub(crate) closures: Closures<RecordFn<B>>,
    /// Keeps the buffers the frame names.
    pub(crate) keep: Vec<Arc<BufferInner>>,
    pub(crate) chunks: Vec<HeldChunk>,
    /// The last bytes of the last of these, not written there yet.
    pub(crate) collected: Collected,
    /// Buffers that are written directly.
    pub(crate) claims: Vec<Claim>,
    pub(crate) readbacks: Vec<ReadbackKey>,
    /// What went wrong while declaring.
    pub(crate) problems: Vec<MkFrameProblem>,
    planner: Planner,
    taken: Pending,
    buffers: Vec<B::Buffer>,
    host_buffers: Vec<B::Buffer>,
    backings: Vec<Option<ResourceId>>,
    usages: Vec<BufferUsage>,
    /// What the plan uses, pinned until it is submitted or given up.
    pinned: Vec<ResourceId>,
}

impl<B: MkGpuBackend> Default for Workspace<B> {
    fn default() -> Self {
        Workspace {
            name: String::new(),
            number: 0,
            stamp: 0,
            graph: FrameGraph::default(),
            closures: Closures::default(),
            keep: Vec::new(),
            chunks: Vec::new(),
            collected: Collected::default(),
            claims: Vec::new(),
            readbacks: Vec::new(),
            problems: Vec::new(),
            planner: Planner::default(),
            taken: Pending::default(),
            buffers: Vec::new(),
            host_buffers: Vec::new(),
            backings: Vec::new(),
            usages: Vec::new(),
            pinned: Vec::new(),
        }
    }
}

impl<B: MkGpuBackend> Workspace<B> {
    fn new(config: &MkGpuConfig) -> Self {
        Workspace { planner: Planner::with_cache(config.plan_cache), ..Workspace::default() }
    }

    /// Begins a frame.
    fn begin(&mut self, number: u64) {
        static NEXT_STAMP: AtomicU64 = AtomicU64::new(1);
        self.graph.reset();
        self.number = number;
        self.stamp = NEXT_STAMP.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes what is collected to staging memory; callers hold the `MkGpu`.
    pub(crate) fn write_collected(&mut self) {
        self.collected.write(self.chunks.last_mut());
    }

    /// Gives back what planning took, for work that will not be submitted.
    fn unpin(&mut self, core: &mut Core<B>) {
        for id in self.pinned.drain(..) {
            if let Some(slot) = core.buffer_mut(id) {
                slot.pins = slot.pins.saturating_sub(1);
            }
        }
    }
}

/// Work that is declared and not submitted. Dropping it gives everything back.
pub(crate) struct OpenWork<B: MkGpuBackend> {
    pub(crate) inner: Weak<Inner<B>>,
    pub(crate) ws: Workspace<B>,
}

impl<B: MkGpuBackend> OpenWork<B> {
    pub(crate) fn open(inner: &Arc<Inner<B>>, number: u64) -> Self {
        let pooled = lock(&inner.core).workspaces.pop();
        let mut ws = pooled.unwrap_or_else(|| Workspace::new(&inner.config));
        ws.begin(number);
        OpenWork { inner: Arc::downgrade(inner), ws }
    }
}

impl<B: MkGpuBackend> Drop for OpenWork<B> {
    fn drop(&mut self) {
        // These run drops of the caller's, which may call into the library, drop the `MkGpu`, or panic: before any lock
        // is taken, and so that the rest happens all the same.
        let back = GiveBack(self);
        back.0.ws.closures.clear();
        back.0.ws.problems.clear();
    }
}

/// Gives back what open work holds.
struct GiveBack<'a, B: MkGpuBackend>(&'a mut OpenWork<B>);

impl<B: MkGpuBackend> Drop for GiveBack<'_, B> {
    fn drop(&mut self) {
        let this = &mut *self.0;
        let Some(inner) = this.inner.upgrade() else { return };
        let _inside = Inside::enter();
        // What is left of these after a panic.
        this.ws.closures.clear();
        this.ws.problems.clear();
        this.ws.keep.clear();
        this.ws.collected.clear();
        let mut core = lock(&inner.core);
        for chunk in this.ws.chunks.drain(..) {
            core.staging.give_back(&chunk, None);
        }
        core.release_claims(&mut this.ws.claims, false);
        for key in this.ws.readbacks.drain(..) {
            core.readbacks.set(key, Progress::Cancelled);
        }
        if !this.ws.taken.is_empty() {
            let taken = std::mem::take(&mut this.ws.taken);
            core.pending.restore(taken);
        }
        this.ws.unpin(&mut core);
        core.workspaces.push(std::mem::take(&mut this.ws));
    }
}

/// A frame's failure on its way to becoming an error.
struct Failure {
    problems: Vec<MkFrameProblem>,
    pass: Option<Box<str>>,
    dump: String,
}

impl Failure {
    fn into_error(mut self) -> MkError {
        if self.problems.is_empty() {
            return MkError::Cancelled;
        }
        let first = self.problems.remove(0);
        MkError::Frame(Box::new(MkFrameError {
            first,
            others: self.problems,
            pass: self.pass,
            dump: self.dump,
        }))
    }
}

impl<B: MkGpuBackend> Inner<B> {
    /// Submits pending transfers, if there are any.
    pub(crate) fn flush_pending(&self) -> Result<(), MkError> {
        self.check_lost()?;
        let mut ws = {
            let mut core = lock(&self.core);
            if core.pending.is_empty() {
                return Ok(());
            }
            let mut ws = core.workspaces.pop().unwrap_or_else(|| Workspace::new(&self.config));
            ws.begin(core.next_frame);
            core.next_frame += 1;
            ws
        };
        ws.name.clear();
        ws.name.push_str("transfers");
        let result = self.run(&mut ws, None);
        let mut core = lock(&self.core);
        // Trying the same transfers again would fail again.
        core.batches.cancel(&ws.taken.batches);
        ws.taken.clear();
        ws.unpin(&mut core);
        core.workspaces.push(ws);
        result.map(|_| ())
    }

    /// Plans, records and submits a workspace. Returns the timeline value that ends it, and its figures.
    pub(crate) fn run(
        &self,
        ws: &mut Workspace<B>,
        dump: Option<&mut Option<FrameDump>>,
    ) -> Result<(u64, MkFrameStats), MkError> {
        self.check_lost()?;
        let begin = Instant::now();
        ws.write_collected();
        let uploads = self.upload_rule(&ws.graph)?;
        self.plan(ws, uploads, dump)?;
        self.flush_staging(ws)?;
        self.flush_claims(ws)?;
        let planned = Instant::now();
        let recording = self.record(ws)?;
        let recorded = Instant::now();
        let staged = ws.chunks.iter().map(|c| c.written().end - c.written().start).sum();
        let mut stats = MkFrameStats::count(&ws.graph, ws.planner.schedule(), staged);
        let value = self.finish(ws, recording)?;
        stats.plan = planned - begin;
        stats.record = recorded - planned;
        stats.submit = recorded.elapsed();
        Ok((value, stats))
    }

    /// Takes up pending transfers, finds memory for transients, plans, and looks up the buffers.
    fn plan(
        &self,
        ws: &mut Workspace<B>,
        uploads: UploadRule,
        dump: Option<&mut Option<FrameDump>>,
    ) -> Result<(), MkError> {
        let mut core = lock(&self.core);
        let core = &mut *core;
        self.collect(core);
        if !ws.problems.is_empty() {
            let problems = std::mem::take(&mut ws.problems);
            return Err(self.planning_failed(ws, core, problems).into_error());
        }
        if !core.pending.is_empty() {
            std::mem::swap(&mut ws.taken, &mut core.pending);
            ws.graph.prologue();
            for copy in &ws.taken.copies {
                ws.graph.copy(copy.from, copy.to);
            }
            core.check_claims(&ws.claims, &ws.taken)?;
        }
        self.back_transients(ws, core)?;
        let options = PlanOptions { causes: dump.is_some(), uploads };
        if let Err(error) = ws.planner.plan_with(&ws.graph, &mut core.state, options, &ws.backings) {
            let problems = std::iter::once(error.first).chain(error.others).map(Into::into).collect();
            cancel_impossible(&mut ws.taken, core);
            return Err(self.planning_failed(ws, core, problems).into_error());
        }
        if let Some(dump) = dump {
            *dump = Some(FrameDump::new(&ws.name, &ws.graph, ws.planner.schedule(), &core.state));
        }
        self.look_up(ws, core)
    }

    fn planning_failed(&self, ws: &Workspace<B>, core: &Core<B>, problems: Vec<MkFrameProblem>) -> Failure {
        let problem = problems.first().map_or_else(String::new, ToString::to_string);
        let dump = FrameDump::partial(&ws.name, &ws.graph, &core.state, &problem).to_text();
        Failure { problems, pass: None, dump }
    }

    /// Chooses memory for each transient: a pooled buffer that no other transient of this frame has.
    fn back_transients(&self, ws: &mut Workspace<B>, core: &mut Core<B>) -> Result<(), MkError> {
        ws.backings.clear();
        ws.graph.transient_usages(&mut ws.usages);
        let (number, newest) = (ws.number, core.next_frame);
        for (&usage, (name, desc)) in ws.usages.iter().zip(ws.graph.transients()) {
            // Planning says what is wrong with these.
            let size = usize::try_from(desc.size).unwrap_or(usize::MAX);
            if size == 0 || usage.is_empty() {
                ws.backings.push(None);
                continue;
            }
            let fits = |t: &PooledTransient| {
                t.chosen_by != number
                    && t.usage.contains(usage)
                    && t.size >= desc.size
                    && t.size <= desc.size.saturating_mul(2).max(4096)
            };
            let candidates = (0..core.transients.len()).filter(|&i| fits(&core.transients[i]));
            let best = candidates.min_by_key(|&i| core.transients[i].size);
            let pooled = match best {
                Some(i) => &mut core.transients[i],
                None => {
                    let own = OwnBuffer {
                        desc: MkBufferDesc { name, size, usage, memory: MkMemoryType::DeviceLocal },
                        host_reads: false,
                    };
                    let id = self.make_in(core, &own)?;
                    core.transients.push(PooledTransient {
                        id,
                        size: desc.size,
                        usage,
                        chosen_by: 0,
                        chosen_at: 0,
                    });
                    let last = core.transients.len() - 1;
                    &mut core.transients[last]
                }
            };
            pooled.chosen_by = number;
            pooled.chosen_at = newest;
            ws.backings.push(Some(pooled.id));
        }
        Ok(())
    }

    /// Finds the backend's buffers for the schedule's resources.
    fn look_up(&self, ws: &mut Workspace<B>, core: &mut Core<B>) -> Result<(), MkError> {
        ws.buffers.clear();
        for resource in &ws.planner.schedule().resources {
            let id = match *resource {
                Resource::Persistent(id) => Some(id),
                Resource::Transient(t) => ws.backings.get(t.index() as usize).copied().flatten(),
            };
            let Some(slot) = id.and_then(|id| core.buffer_mut(id)) else { return Err(MkError::GpuDropped) };
            if slot.mapped || slot.claimed_by.is_some_and(|number| number != ws.number) {
                let id = slot.id;
                let name = core.state.buffer(id).map_or("", |d| &d.name);
                return Err(MkError::InUse { resource: name.into() });
            }
            slot.pins += 1;
            ws.pinned.push(slot.id);
            ws.buffers.push(slot.buffer);
            if slot.unflushed.is_some() {
                let id = slot.id;
                self.flush_again(core, id)?;
            }
        }
        ws.host_buffers.clear();
        ws.host_buffers.extend(core.staging.buffers());
        Ok(())
    }

    fn flush_staging(&self, ws: &Workspace<B>) -> Result<(), MkError> {
        for chunk in &ws.chunks {
            let Some(buffer) = ws.host_buffers.get(chunk.number as usize) else { continue };
            // SAFETY: staging chunks live as long as the `MkGpu` and are mapped.
            self.note(unsafe { self.backend.flush(buffer, chunk.written()) })?;
        }
        Ok(())
    }

    /// Records with no lock held: this runs the caller's closures.
    fn record(&self, ws: &mut Workspace<B>) -> Result<B::Recording, MkError> {
        let _inside = Inside::enter();
        let input = MkRecordInput {
            name: &ws.name,
            graph: &ws.graph,
            schedule: ws.planner.schedule(),
            buffers: &ws.buffers,
            host_buffers: &ws.host_buffers,
        };
        let closures = &mut ws.closures;
        let mut failed = None;
        let mut record = |node: u32, cx: &mut B::Context<'_>| {
            let Some(taken) = closures.take(node) else { return Ok(()) };
            let (at, call) = taken.into_parts();
            // SAFETY: `at` is the closure that `call` was stored with, taken out just now, and called once.
            let result = unsafe { call(at, cx) };
            if result.is_err() {
                failed = Some(node);
            }
            result
        };
        // SAFETY: the buffers live: planning pinned all of them, until the recording is submitted or given up.
        let result = unsafe { self.backend.record(input, &mut record) };
        match (result, failed) {
            // The closure's own words: they say nothing about the device.
            (Err(error), Some(node)) => Err(self.recording_failed(ws, node, error)),
            (result, _) => self.note(result),
        }
    }

    fn recording_failed(&self, ws: &Workspace<B>, node: u32, error: MkError) -> MkError {
        let core = lock(&self.core);
        let dump = FrameDump::new(&ws.name, &ws.graph, ws.planner.schedule(), &core.state).to_text();
        let pass = ws.graph.node(node as usize).map(|n| ws.graph.name(&n).into());
        Failure { problems: vec![error.into()], pass, dump }.into_error()
    }

    /// Submits, and moves all state on.
    fn finish(&self, ws: &mut Workspace<B>, recording: B::Recording) -> Result<u64, MkError> {
        let mut guard = lock(&self.core);
        if let Err(error) = self.check_lost() {
            drop(guard);
            // This drops kernels, the caller's.
            let _inside = Inside::enter();
            self.backend.discard(recording);
            return Err(error);
        }
        let core = &mut *guard;
        let catch_up = ws.planner.is_stale(&core.state);
        // SAFETY: recorded by this backend just now; its buffers get their last use below and are kept until then by
        // that. The core's lock makes this the only submit at a time.
        let value = self.note(unsafe { self.backend.submit(recording, catch_up) })?;
        core.submitted = value;
        for id in ws.pinned.drain(..) {
            if let Some(slot) = core.buffer_mut(id) {
                slot.pins = slot.pins.saturating_sub(1);
                slot.last_use = value;
            }
        }
        ws.planner.commit(&mut core.state);
        for chunk in ws.chunks.drain(..) {
            core.staging.give_back(&chunk, Some(value));
        }
        core.release_claims(&mut ws.claims, true);
        for key in ws.readbacks.drain(..) {
            core.readbacks.set(key, Progress::Submitted(value));
        }
        core.batches.submitted(&ws.taken.batches, value);
        drop(guard);
        ws.taken.clear();
        ws.keep.clear();
        Ok(value)
    }
}
