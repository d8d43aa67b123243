//! Plans a case, and runs the plans on a fresh simulated device.

use super::case::{Case, Frame, Kind, On, Use};
use super::reference;
use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, HostSlice, Mode, PassId, PlanError, PlanOptions,
    Planner, Resource, ResourceId, ResourceSlice, Schedule, TransientId, UploadRule,
};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyBuffer, MkBackendBufferDesc, MkGpuBackend, MkHazard, MkMemoryType,
    MkRecordInput,
};
use std::collections::HashMap;
use std::time::Duration;

/// A planned frame.
pub struct Planned {
    pub graph: FrameGraph,
    pub schedule: Schedule,
    pub passes: Vec<PassId>,
    transients: Vec<TransientId>,
    /// Bytes of the frame's staging buffer.
    staging: Vec<u8>,
}

/// A planned sequence.
pub struct Sequence {
    pub case: Case,
    pub frames: Vec<Planned>,
    ids: Vec<ResourceId>,
    pool: Vec<ResourceId>,
}

/// Which planning a sequence gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Plan without causes.
    pub bare: bool,
}

fn usage() -> BufferUsage {
    BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS
}

/// Plans all frames. A frame that cannot be planned is left out of the case; its errors are returned.
pub fn plan(case: &Case, how: How) -> (Sequence, Vec<PlanError>) {
    let mut state = match case.max_ranges {
        Some(n) => GraphState::with_max_ranges(n),
        None => GraphState::new(),
    };
    let mut ids = Vec::new();
    for (i, b) in case.buffers.iter().enumerate() {
        let desc = BufferDesc::new(format!("b{i}"), b.size, usage());
        let scatter = case.is_scattered(On::Buffer(i));
        ids.push(state.add_buffer(BufferDesc { initialized: b.host, host_visible: b.host, scatter, ..desc }));
    }
    let pool = case.pool.iter().enumerate();
    let pool = pool.map(|(i, size)| {
        let desc = BufferDesc::new(format!("pool{i}"), *size, usage());
        state.add_buffer(BufferDesc { scatter: case.is_scattered(On::Transient(i)), ..desc })
    });
    let pool: Vec<_> = pool.collect();
    let backings: Vec<_> = pool.iter().copied().map(Some).collect();
    let mut planner = Planner::new();
    let mut kept = Case { frames: Vec::new(), ..case.clone() };
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    let uploads = if case.scatter { UploadRule::Scatter } else { UploadRule::Copy };
    for frame in &case.frames {
        let mut planned = declare(frame, &ids);
        let options = PlanOptions { causes: !how.bare, uploads };
        match planner.plan_with(&planned.graph, &mut state, options, &backings) {
            Ok(schedule) => planned.schedule = schedule.clone(),
            Err(error) => {
                errors.push(error);
                continue;
            }
        }
        planner.commit(&mut state);
        frames.push(planned);
        let mut frame = frame.clone();
        for node in frame.nodes.iter_mut().filter(|n| n.kind == Kind::Upload) {
            // What it does, whatever it was declared as.
            node.uses.iter_mut().filter(|u| case.is_scattered(u.on)).for_each(|u| {
                u.access = Access::COMPUTE_STORAGE_WRITE;
            });
        }
        kept.frames.push(frame);
    }
    (Sequence { case: kept, frames, ids, pool }, errors)
}

fn declare(frame: &Frame, ids: &[ResourceId]) -> Planned {
    let mut graph = FrameGraph::new();
    let transients: Vec<_> = frame
        .transients
        .iter()
        .enumerate()
        .map(|(i, size)| graph.transient(&format!("t{i}"), *size))
        .collect();
    let mut staging = Vec::new();
    let n = frame.nodes.len();
    let mut passes = vec![None; n];
    for position in (frame.prologue..n).chain(0..frame.prologue) {
        if position == 0 && frame.prologue > 0 {
            graph.prologue();
        }
        let node = &frame.nodes[position];
        let slice = |u: &Use| slice(u, ids, &transients);
        passes[position] = Some(match node.kind {
            Kind::Pass => {
                let name = format!("p{position}");
                let mut pass = graph.pass(&name);
                if node.side_effects {
                    pass = pass.side_effects();
                }
                for u in &node.uses {
                    pass = pass.access(slice(u), u.access, u.mode);
                }
                pass.finish()
            }
            Kind::Upload => {
                let u = &node.uses[0];
                let offset = staging.len();
                staging.resize(offset + (u.range.end - u.range.start) as usize, 0);
                reference::upload(node.salt, &mut staging[offset..]);
                graph.upload(HostSlice { buffer: 0, offset: offset as u64 }, slice(u))
            }
            Kind::Copy => graph.copy(slice(&node.uses[0]), slice(&node.uses[1])),
            Kind::Readback => graph.readback(slice(&node.uses[0]), slice(&node.uses[1])),
            Kind::Fill => graph.fill(slice(&node.uses[0]), reference::fill(node.salt)),
        });
    }
    let passes: Vec<PassId> = passes.into_iter().flatten().collect();
    for &(first, then) in &frame.orders {
        graph.order(passes[first], passes[then]);
    }
    Planned { graph, schedule: Schedule::default(), passes, transients, staging }
}

fn slice(u: &Use, ids: &[ResourceId], transients: &[TransientId]) -> ResourceSlice {
    let resource: Resource = match u.on {
        On::Buffer(i) => ids[i].into(),
        On::Transient(i) => transients[i].into(),
    };
    ResourceSlice::new(resource, u.range.clone())
}

/// What came of a run.
pub struct Ran {
    pub hazards: Vec<MkHazard>,
    /// Final bytes of the host-visible buffers; empty without bytes.
    pub bytes: Vec<Option<Vec<u8>>>,
}

impl Sequence {
    /// Runs the sequence. `instead` replaces one frame's schedule; without `bytes` the passes' kernels are left out.
    pub fn run(&self, instead: Option<(usize, &Schedule)>, bytes: bool) -> Ran {
        self.run_on(DummyBackendConfig::default(), instead, bytes)
    }

    /// The same, on a device with these settings. All frames are submitted before one is waited for.
    pub fn run_on(
        &self,
        config: DummyBackendConfig,
        instead: Option<(usize, &Schedule)>,
        bytes: bool,
    ) -> Ran {
        let backend = DummyBackend::with_config(config);
        let make = |name: &str, size: u64, host: bool| {
            let memory = if host { MkMemoryType::HostVisible } else { MkMemoryType::DeviceLocal };
            backend.create_buffer(&MkBackendBufferDesc { name, size, usage: usage(), memory }).unwrap()
        };
        let named = |kind: &str, i: usize| format!("{kind}{i}");
        let buffers = self.case.buffers.iter().enumerate();
        let buffers: Vec<_> = buffers.map(|(i, b)| make(&named("b", i), b.size, b.host)).collect();
        let pool = self.case.pool.iter().enumerate();
        let pool: Vec<_> = pool.map(|(i, size)| make(&named("pool", i), *size, false)).collect();
        let mut at: HashMap<Resource, DummyBuffer> = HashMap::new();
        at.extend(self.ids.iter().zip(&buffers).map(|(id, b)| (Resource::from(*id), *b)));
        at.extend(self.pool.iter().zip(&pool).map(|(id, b)| (Resource::from(*id), *b)));
        let mut last = 0;
        for (k, planned) in self.frames.iter().enumerate() {
            at.extend(planned.transients.iter().zip(&pool).map(|(id, b)| (Resource::from(*id), *b)));
            let staging = make(&named("staging", k), planned.staging.len().max(1) as u64, true);
            if bytes {
                store(&backend, &staging, &planned.staging);
            }
            let schedule = instead.filter(|i| i.0 == k).map_or(&planned.schedule, |i| i.1);
            last = self.submit(&backend, (k, planned), schedule, (&at, staging), bytes);
        }
        assert!(backend.wait(last, Duration::from_secs(60)).unwrap());
        let bytes = buffers.iter().zip(&self.case.buffers);
        let bytes = bytes.map(|(b, desc)| desc.host.then(|| load(&backend, b, desc.size))).collect();
        Ran { hazards: backend.hazards(), bytes }
    }

    fn submit(
        &self,
        backend: &DummyBackend,
        (k, planned): (usize, &Planned),
        schedule: &Schedule,
        (at, staging): (&HashMap<Resource, DummyBuffer>, DummyBuffer),
        bytes: bool,
    ) -> u64 {
        let buffers: Vec<_> = schedule.resources.iter().map(|r| at[r]).collect();
        let host_buffers = [staging];
        let input = MkRecordInput {
            name: "random",
            graph: &planned.graph,
            schedule,
            buffers: &buffers,
            host_buffers: &host_buffers,
        };
        let frame = &self.case.frames[k];
        let n = frame.nodes.len();
        // SAFETY: nothing is destroyed before the backend is dropped.
        let recording = unsafe {
            backend.record(input, &mut |index, cx| {
                if bytes {
                    let node = &frame.nodes[(index as usize + frame.prologue) % n];
                    let uses = node.uses.iter();
                    let uses: Vec<(ResourceSlice, Mode)> =
                        uses.map(|u| (slice(u, &self.ids, &planned.transients), u.mode)).collect();
                    let salt = node.salt;
                    cx.dispatch(move |mem| {
                        let mut hash = reference::begin(salt);
                        for (slice, mode) in &uses {
                            if matches!(mode, Mode::Read | Mode::Modify) {
                                hash = reference::mix(hash, &mem.read_resource::<u8>(*slice)?);
                            }
                        }
                        for (slice, mode) in uses.iter().filter(|u| u.1 != Mode::Read) {
                            reference::put(hash, *mode, &mut mem.write_resource::<u8>(*slice)?);
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
        };
        // SAFETY: as above, and this is the only thread that submits.
        unsafe { backend.submit(recording.unwrap(), false).unwrap() }
    }
}

fn store(backend: &DummyBackend, buffer: &DummyBuffer, bytes: &[u8]) {
    let mapped = backend.mapped(buffer).unwrap();
    // SAFETY: the buffer was made with at least this many bytes, and no submission uses it yet.
    unsafe { mapped.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    // SAFETY: it lives and is mapped.
    unsafe { backend.flush(buffer, 0..bytes.len() as u64).unwrap() };
}

fn load(backend: &DummyBackend, buffer: &DummyBuffer, size: u64) -> Vec<u8> {
    let mapped = backend.mapped(buffer).unwrap();
    // SAFETY: that many bytes are mapped, and everything submitted is done.
    unsafe { std::slice::from_raw_parts(mapped.as_ptr(), size as usize) }.to_vec()
}

/// Adds a last frame that reads every buffer back into one of the host's, so that a run shows all bytes.
pub fn with_results(mut case: Case) -> Case {
    let mut frame = Frame { transients: case.pool.clone(), ..Frame::default() };
    let n = case.buffers.len();
    for i in 0..n {
        let size = case.buffers[i].size;
        if case.buffers[i].host {
            continue;
        }
        case.buffers.push(super::case::Buffer { size, host: true });
        let on = On::Buffer(case.buffers.len() - 1);
        let from = Use { on: On::Buffer(i), range: 0..size, access: Access::COPY_READ, mode: Mode::Read };
        let to = Use { on, range: 0..size, access: Access::COPY_WRITE, mode: Mode::Overwrite };
        frame.nodes.push(super::case::Node {
            kind: Kind::Readback,
            uses: vec![from, to],
            side_effects: false,
            salt: 0,
        });
    }
    case.frames.push(frame);
    case
}
