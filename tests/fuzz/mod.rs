//! What the fuzz target `frames` does with its input, shared with `tests/fuzz_seeds.rs`: load, plan, dump, simulate.
//!
//! Input that begins with `{` is a file: a [`Scene`] or a frame dump, as found on somebody's disk. Anything else is
//! decoded into a scene (every byte string is one), saved, and loaded back.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod decode;
mod device;
mod reference;

use memkit_gpu::graph::{
    BufferDesc, FrameDump, FrameGraph, GraphState, PlanOptions, Planner, ResourceId, Schedule, UploadRule,
};

/// Frames over some buffers. Buffer `i` has the id that a new [`GraphState`] gives the buffer added after `i` others.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    pub buffers: Vec<BufferDesc>,
    /// Whether transients of one frame after the other live in the same memory.
    pub pooled: bool,
    /// Ranges that a buffer's state keeps between frames.
    pub max_ranges: usize,
    pub frames: Vec<FrameGraph>,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// It was a scene, or a dump.
    pub loaded: bool,
    /// Frames planned.
    pub planned: usize,
    /// Frames refused with an error.
    pub refused: usize,
    /// Frames that ran on the simulated device.
    pub ran: usize,
}

/// Beyond these an input is slow, not interesting.
const MAX_BUFFERS: usize = 16;
const MAX_FRAMES: usize = 8;
const MAX_NODES: usize = 256;

/// Handles one input. Panics if anything is wrong with the library.
pub fn run(data: &[u8]) -> Outcome {
    if data.first() != Some(&b'{') {
        let scene = decode::scene(data);
        return drive(&saved_and_loaded(&scene));
    }
    let Ok(text) = std::str::from_utf8(data) else { return Outcome::default() };
    if let Ok(dump) = FrameDump::from_json(text) {
        look_at(&dump);
        return Outcome { loaded: true, ..Outcome::default() };
    }
    match serde_json::from_str::<Scene>(text) {
        Ok(scene) => drive(&scene),
        Err(_) => Outcome::default(),
    }
}

fn saved_and_loaded(scene: &Scene) -> Scene {
    let text = serde_json::to_string(scene).unwrap();
    let loaded: Scene = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&loaded).unwrap(), text, "saving and loading change a frame");
    loaded
}

/// A planned frame.
pub struct Planned<'s> {
    graph: &'s FrameGraph,
    schedule: Schedule,
}

fn drive(scene: &Scene) -> Outcome {
    let nodes = scene.frames.iter().map(FrameGraph::len);
    if scene.buffers.len() > MAX_BUFFERS
        || scene.frames.len() > MAX_FRAMES
        || nodes.sum::<usize>() > MAX_NODES
    {
        return Outcome { loaded: true, ..Outcome::default() };
    }
    let mut state = GraphState::with_max_ranges(scene.max_ranges);
    let ids: Vec<ResourceId> = scene.buffers.iter().map(|b| state.add_buffer(b.clone())).collect();
    let usage = memkit_gpu::graph::BufferUsage::all();
    let pool = pool_sizes(scene).into_iter();
    let pool: Vec<Option<ResourceId>> =
        pool.map(|size| Some(state.add_buffer(BufferDesc::new("pool", size, usage)))).collect();
    let mut planner = Planner::new();
    let mut planned = Vec::new();
    let mut outcome = Outcome { loaded: true, ..Outcome::default() };
    for graph in &scene.frames {
        match plan(graph, &mut state, &mut planner, &pool) {
            Some(schedule) => planned.push(Planned { graph, schedule }),
            None => outcome.refused += 1,
        }
    }
    outcome.planned = planned.len();
    if device::run(scene, &ids, &pool, (&mut state, &mut planner), &planned) {
        outcome.ran = planned.len();
    }
    outcome
}

/// Memory of transient `i` of every frame: as large as the largest of them.
fn pool_sizes(scene: &Scene) -> Vec<u64> {
    let mut sizes = Vec::new();
    for frame in scene.frames.iter().filter(|_| scene.pooled) {
        for (i, (_, transient)) in frame.transients().enumerate() {
            match sizes.get_mut(i) {
                Some(size) => *size = transient.size.max(*size),
                None => sizes.push(transient.size),
            }
        }
    }
    sizes
}

/// Plans a frame, looks at its dump in every way, and moves the state on. `None` if the frame is refused.
fn plan(
    graph: &FrameGraph,
    state: &mut GraphState,
    planner: &mut Planner,
    pool: &[Option<ResourceId>],
) -> Option<Schedule> {
    let options = PlanOptions { causes: true, uploads: UploadRule::Scatter };
    let schedule = match planner.plan_with(graph, state, options, pool) {
        Ok(schedule) => schedule.clone(),
        Err(error) => {
            look_at(&FrameDump::partial("fuzz", graph, state, &error.to_string()));
            return None;
        }
    };
    look_at(&FrameDump::new("fuzz", graph, &schedule, state));
    planner.commit(state);
    Some(schedule)
}

/// Every output of a dump; as JSON it comes back as it was.
fn look_at(dump: &FrameDump) {
    for text in [dump.to_text(), dump.to_dot(), dump.to_mermaid()] {
        assert!(!text.is_empty());
    }
    let json = dump.to_json().unwrap();
    assert_eq!(&FrameDump::from_json(&json).unwrap(), dump, "a dump loads back as it was");
    // Two nodes in both directions, and one that is not there.
    let last = u32::try_from(dump.nodes.len()).unwrap();
    for (a, b) in [(0, last.saturating_sub(1)), (last.saturating_sub(1), 0), (0, last)] {
        if let Some(steps) = dump.explain(a, b) {
            let (mut at, positions) = (a, run_positions(dump));
            for step in steps {
                assert_eq!(step.from, at, "a chain of hazards has no gaps");
                let before = |n: u32| positions.get(n as usize).copied().flatten();
                if let (Some(x), Some(y), None) = (before(step.from), before(step.to), &dump.problem) {
                    assert!(x < y, "a hazard orders what runs first");
                }
                at = step.to;
            }
            assert_eq!(at, b, "a chain of hazards arrives");
        }
    }
}

/// Of each node, where it comes in the run order.
fn run_positions(dump: &FrameDump) -> Vec<Option<usize>> {
    let mut positions = vec![None; dump.nodes.len()];
    for (at, &node) in dump.run_order.iter().enumerate() {
        positions[node as usize] = Some(at);
    }
    positions
}
