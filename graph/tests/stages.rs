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
