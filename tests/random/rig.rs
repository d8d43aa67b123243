//! Plans a case.

use super::case::{Case, Frame, Kind, On, Use};
use super::reference::Meaning;
use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, HostSlice, Mode, PassId, PlanError, PlanOptions,
    Planner, Resource, ResourceId, ResourceSlice, Schedule, TransientId, UploadRule,
};

/// A planned frame.
pub struct Planned {
    pub graph: FrameGraph,
    pub schedule: Schedule,
    pub passes: Vec<PassId>,
    pub transients: Vec<TransientId>,
    /// Bytes of the frame's staging buffer.
    pub staging: Vec<u8>,
}

/// A planned sequence.
pub struct Sequence {
    pub case: Case,
    pub frames: Vec<Planned>,
    pub ids: Vec<ResourceId>,
    pub pool: Vec<ResourceId>,
}

/// Which planning a sequence gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Plan without causes.
    pub bare: bool,
    /// Structures whose plans are kept.
    pub cache: usize,
}

pub fn usage() -> BufferUsage {
    BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS
}

/// Plans all frames. A frame that cannot be planned is left out of the case; its errors are returned.
pub fn plan(case: &Case, how: How) -> (Sequence, Vec<PlanError>) {
    let max_ranges = case.max_ranges.unwrap_or(GraphState::DEFAULT_MAX_RANGES);
    let mut state = GraphState::for_device(case.stages, max_ranges);
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
    let mut planner = Planner::with_cache(how.cache);
    let mut kept = Case { frames: Vec::new(), ..case.clone() };
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    let uploads = if case.scatter { UploadRule::Scatter } else { UploadRule::Copy };
    for (k, frame) in case.frames.iter().enumerate() {
        // Staging memory is somewhere else in each frame.
        let mut planned = declare(frame, &ids, case.meaning, 8 * (k % 5));
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

fn declare(frame: &Frame, ids: &[ResourceId], meaning: &dyn Meaning, staging_from: usize) -> Planned {
    let mut graph = FrameGraph::new();
    let transients: Vec<_> = frame
        .transients
        .iter()
        .enumerate()
        .map(|(i, size)| graph.transient(&format!("t{i}"), *size))
        .collect();
    let mut staging = vec![0; staging_from];
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
                meaning.upload(node.salt, &mut staging[offset..]);
                graph.upload(HostSlice { buffer: 0, offset: offset as u64 }, slice(u))
            }
            Kind::Copy => graph.copy(slice(&node.uses[0]), slice(&node.uses[1])),
            Kind::Readback => graph.readback(slice(&node.uses[0]), slice(&node.uses[1])),
            Kind::Fill => graph.fill(slice(&node.uses[0]), meaning.fill(node.salt)),
        });
    }
    let passes: Vec<PassId> = passes.into_iter().flatten().collect();
    for &(first, then) in &frame.orders {
        graph.order(passes[first], passes[then]);
    }
    Planned { graph, schedule: Schedule::default(), passes, transients, staging }
}

pub fn slice(u: &Use, ids: &[ResourceId], transients: &[TransientId]) -> ResourceSlice {
    let resource: Resource = match u.on {
        On::Buffer(i) => ids[i].into(),
        On::Transient(i) => transients[i].into(),
    };
    ResourceSlice::new(resource, u.range.clone())
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
