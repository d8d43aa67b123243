//! Devices that do not run every stage.

#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_graph::*;

const GRAPHICS: Access = Access::new(Stages::ALL_GRAPHICS, AccessFlags::SHADER_READ);
const ANYTHING: Access =
    Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE));

/// A state for a device that runs these stages, and a buffer in it.
fn device(stages: Stages) -> (GraphState, ResourceId) {
    let mut state = GraphState::for_device(stages, GraphState::DEFAULT_MAX_RANGES);
    let usage = BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS;
    let a = state.add_buffer(BufferDesc { initialized: true, ..BufferDesc::new("a", 64, usage) });
    (state, a)
}

/// Two readers after a write: what the first sees already, the umbrella of the second need not ask for.
fn frame(a: ResourceId, first: Access, second: Access) -> FrameGraph {
    let mut frame = FrameGraph::new();
    frame.fill(a, 1);
    frame.pass("first").read(a, first).side_effects().finish();
    frame.pass("second").read(a, second).side_effects().finish();
    frame.pass("then").modify(a, ANYTHING).finish();
    frame
}

fn named(schedule: &Schedule) -> Stages {
    schedule.entries.iter().map(|e| e.src_stages | e.dst_stages).collect()
}

#[test]
fn barriers_name_only_stages_of_the_device() {
    let graphics = Queue::Graphics.supported_stages();
    let devices = [Stages::all(), graphics - Stages::OPTIONAL, graphics - Stages::GEOMETRY_SHADER];
    for stages in devices {
        let (mut state, a) = device(stages);
        let mut planner = Planner::new();
        for _ in 0..3 {
            let schedule =
                planner.plan(&frame(a, Access::VERTEX_STORAGE_READ, GRAPHICS), &mut state).unwrap();
            let named = named(schedule);
            assert!(stages.contains(named), "{}", named - stages);
            assert!(named.contains(Stages::FRAGMENT_SHADER | Stages::VERTEX_SHADER), "{named}");
            planner.commit(&mut state);
        }
    }
}

#[test]
fn a_queue_that_only_computes_is_asked_for_no_graphics_stage() {
    let stages = Queue::Compute.supported_stages() - Stages::OPTIONAL;
    let (mut state, a) = device(stages);
    let mut planner = Planner::new();
    let everything_read = Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ);
    for _ in 0..3 {
        let schedule =
            planner.plan(&frame(a, Access::COMPUTE_STORAGE_READ, everything_read), &mut state).unwrap();
        let named = named(schedule);
        assert!(stages.contains(named), "{}", named - stages);
        planner.commit(&mut state);
    }
    let error = planner.plan(&frame(a, Access::COMPUTE_STORAGE_READ, GRAPHICS), &mut state).unwrap_err();
    assert!(matches!(error.first, GraphError::StageNotOnDevice { .. }), "{error}");
}

#[test]
fn a_stage_the_device_does_not_run_is_an_error_that_says_what_for() {
    let (mut state, a) = device(Queue::Graphics.supported_stages() - Stages::OPTIONAL);
    let geometry = Access::new(Stages::GEOMETRY_SHADER, AccessFlags::UNIFORM_READ);
    let mut frame = FrameGraph::new();
    frame.pass("extrude").read(a, geometry).side_effects().finish();
    let error = Planner::new().plan(&frame, &mut state).unwrap_err();
    let stages = Stages::GEOMETRY_SHADER;
    let wanted = GraphError::StageNotOnDevice { pass: "extrude".into(), of: "use of `a`".into(), stages };
    assert_eq!(error.first, wanted);

    let mut frame = FrameGraph::new();
    let first = frame.pass("first").side_effects().finish();
    let then = frame.pass("then").side_effects().finish();
    frame.order_with(first, geometry, then, Access::COMPUTE_STORAGE_READ);
    let error = Planner::new().plan(&frame, &mut state).unwrap_err();
    let of = "for an explicit order".to_owned();
    assert_eq!(error.first, GraphError::StageNotOnDevice { pass: "first".into(), of, stages });
}

/// Reads that differ, each in stages where it can happen.
fn reads() -> impl Iterator<Item = Access> {
    let shaders: Vec<Stages> = Stages::SHADERS.iter().collect();
    let kinds =
        [AccessFlags::UNIFORM_READ, AccessFlags::SHADER_SAMPLED_READ, AccessFlags::SHADER_STORAGE_READ];
    (1..1 << (shaders.len() + kinds.len())).filter_map(move |bits: u32| {
        let stages: Stages =
            (0..).zip(&shaders).filter(|(i, _)| bits >> i & 1 != 0).map(|(_, s)| *s).collect();
        let rest = bits >> shaders.len();
        let access: AccessFlags =
            (0..).zip(kinds).filter(|(i, _)| rest >> i & 1 != 0).map(|(_, a)| a).collect();
        (!stages.is_empty() && !access.is_empty()).then_some(Access::new(stages | Stages::HOST, access))
    })
}

#[test]
fn more_different_accesses_than_are_told_apart_are_an_error() {
    let (mut state, a) = device(Stages::all());
    let mut planner = Planner::new();
    let mut all = reads().chain(reads().map(|r| Access::new(r.stages - Stages::HOST, r.access)));
    let mut frame = FrameGraph::new();
    for access in all.by_ref().take(4_000) {
        frame.pass("reader").read(a, access).side_effects().finish();
    }
    planner.plan(&frame, &mut state).unwrap();
    planner.commit(&mut state);

    let mut more = FrameGraph::new();
    for access in all.by_ref().take(200) {
        more.pass("reader").read(a, access).side_effects().finish();
    }
    let error = planner.plan(&more, &mut state).unwrap_err();
    assert!(matches!(error.first, GraphError::TooManyAccesses { limit: 4096, .. }), "{error}");

    // What is known goes on, and an order between accesses that are not is one between all.
    let mut known = FrameGraph::new();
    let first = known.pass("first").read(a, reads().next().unwrap()).side_effects().finish();
    let then = known.pass("then").side_effects().finish();
    known.order_with(first, all.next().unwrap(), then, Access::INDEX_READ);
    let schedule = planner.plan(&known, &mut state).unwrap();
    let all = Stages::ALL_COMMANDS;
    assert!(schedule.entries.iter().any(|e| e.dst_stages.contains(all)), "{:?}", schedule.entries);
}
