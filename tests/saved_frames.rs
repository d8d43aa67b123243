//! Declared frames as files: what is saved loads back and plans alike, and a file that is wrong is an error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameDump, FrameGraph, GraphState, HostSlice, Planner, Queue, ResourceId,
};

const CW: Access = Access::COMPUTE_STORAGE_WRITE;
const CR: Access = Access::COMPUTE_STORAGE_READ;

fn state() -> (GraphState, ResourceId, ResourceId) {
    let mut state = GraphState::new();
    let desc = BufferDesc::new("values", 64, BufferUsage::all());
    let values = state.add_buffer(BufferDesc { initialized: true, ..desc });
    let desc = BufferDesc::new("results", 64, BufferUsage::TRANSFER_DST);
    let results = state.add_buffer(BufferDesc { host_visible: true, ..desc });
    (state, values, results)
}

/// A frame with one of everything.
fn everything(values: ResourceId, results: ResourceId) -> FrameGraph {
    let mut frame = FrameGraph::new();
    let (sums, scratch) = (frame.transient("sums", 16), frame.transient("", 8));
    frame.upload(HostSlice { buffer: 1, offset: 12 }, values.slice(0..32));
    let sum = frame.pass("sum \"quoted\"").on(Queue::Compute).read(values, CR).overwrite(sums, CW).finish();
    frame.fill(scratch, 0xFFFF_FFFF);
    frame.copy(scratch, sums.slice(8..16));
    let look = frame.pass("look").read(sums, CR).side_effects().finish();
    frame.readback(sums, results.slice(4..20));
    frame.order_with(sum, Access::NONE, look, Access::HOST_READ);
    frame.prologue();
    frame.pass("first").modify(values.slice(32..64), CR | CW).finish();
    frame
}

fn save(frame: &FrameGraph) -> String {
    serde_json::to_string(frame).unwrap()
}

fn load(text: &str) -> Result<FrameGraph, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// The text of the frame's plan.
fn planned((mut state, ..): (GraphState, ResourceId, ResourceId), frame: &FrameGraph) -> String {
    let mut planner = Planner::new();
    let schedule = planner.plan(frame, &mut state).unwrap();
    FrameDump::new("frame", frame, schedule, &state).to_text()
}

#[test]
fn a_saved_frame_loads_back_and_plans_alike() {
    let (_, values, results) = state();
    let frame = everything(values, results);
    let text = save(&frame);
    let loaded = load(&text).unwrap();
    assert_eq!(save(&loaded), text);
    assert_eq!(planned(state(), &loaded), planned(state(), &frame));
}

#[test]
fn ids_of_the_saved_frame_are_not_those_of_the_loaded_one() {
    let mut frame = FrameGraph::new();
    let t = frame.transient("t", 16);
    let pass = frame.pass("make").overwrite(t, CW).side_effects().finish();
    let mut loaded = load(&save(&frame)).unwrap();
    assert_ne!(loaded.pass_id(0), Some(pass));
    assert_eq!(loaded.transient_size(t), None);
    loaded.order(pass, pass);
    let error = Planner::new().plan(&loaded, &mut GraphState::new()).unwrap_err();
    assert!(error.to_string().contains("another frame"), "{error}");
    let error = serde_json::to_string(&loaded).unwrap_err();
    assert!(error.to_string().contains("pass of another frame"), "{error}");
    loaded = FrameGraph::new();
    loaded.pass("use").read(t, CR).finish();
    let error = serde_json::to_string(&loaded).unwrap_err();
    assert!(error.to_string().contains("transient of another frame"), "{error}");
}

#[test]
fn a_file_that_is_wrong_is_an_error_that_says_so() {
    let (_, values, results) = state();
    let text = save(&everything(values, results));
    let without = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        load(&changed).unwrap_err()
    };
    for (from, to, expected) in [
        ("\"prologue\":6", "\"prologue\":8", "prologue begins at node 8 of 7"),
        ("\"then\":4", "\"then\":40", "order names node 40 of 7"),
        ("{\"transient\":1}", "{\"transient\":2}", "transient 2 of 2"),
        ("\"orders\"", "\"order\"", "unknown field"),
        ("\"mode\":\"Read\",", "", "missing field `mode`"),
        ("\"version\":1", "\"version\":2", "version"),
        ("COMPUTE_SHADER", "COMPUTER_SHADER", "COMPUTER_SHADER"),
        ("\"size\":16", "\"size\":-1", "integer"),
    ] {
        let error = without(from, to);
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    for cut in 0..text.len() {
        assert!(load(&text[..cut]).is_err(), "{cut} bytes of {}", text.len());
    }
}

#[test]
fn a_builder_that_is_not_finished_leaves_nothing_in_the_frame() {
    let (mut state, values, results) = state();
    let mut frame = FrameGraph::new();
    drop(frame.pass("not finished").read(values, CR).write(results, CW));
    frame.pass("use").modify(values, CR | CW).finish();
    drop(frame.pass("not finished").read(values, CR));
    frame.copy(values, results);
    let schedule = Planner::new().plan(&frame, &mut state).unwrap().clone();
    assert_eq!((schedule.order.len(), schedule.depth()), (2, 2));
}

#[test]
fn nor_does_one_before_an_upload() {
    let (mut state, values, _) = state();
    let mut frame = FrameGraph::new();
    drop(frame.pass("not finished").read(values, CR));
    frame.upload(HostSlice { buffer: 0, offset: 0 }, values);
    let schedule = Planner::new().plan(&frame, &mut state).unwrap().clone();
    assert_eq!((schedule.order.len(), schedule.regions.len()), (1, 1));
}
