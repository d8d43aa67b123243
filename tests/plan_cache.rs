//! Plans that are used again: the same, byte for byte, as those a planner makes that keeps none, and right on the simulated
//! device; used in steady frames of every kind; and no more of them than asked for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/heap.rs"]
mod heap;
mod random;

use heap::Counting;
use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, HostSlice, PlanChange, PlanOrigin, Planner,
    Resource, Schedule,
};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkFrame, MkGpu, MkGpuConfig,
};
use random::case::{Case, Frame, Kind, Limits};
use random::search::{number, search, seed_of};
use random::{listing, reference, rig};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { frames: 3, passes: 20, coarsen: true, lacking: false };

/// Each frame several times, then with one thing changed, then as it was.
fn repeated(case: &Case) -> Case {
    let mut frames = Vec::new();
    for frame in &case.frames {
        let salt = frame.nodes.iter().fold(1, |sum: u32, node| sum.wrapping_mul(31).wrapping_add(node.salt));
        let times = 1 + salt as usize % 5;
        frames.extend(std::iter::repeat_n(frame.clone(), times));
        frames.extend(std::iter::repeat_n(changed(frame, salt), 1 + salt as usize / 8 % 5));
        frames.extend(std::iter::repeat_n(frame.clone(), times));
    }
    Case { frames, ..case.clone() }
}

fn changed(frame: &Frame, salt: u32) -> Frame {
    let mut frame = frame.clone();
    let at = salt as usize / 64 % frame.nodes.len();
    let node = &mut frame.nodes[at];
    match node.kind {
        Kind::Pass if node.uses.len() > 1 && salt.is_multiple_of(2) => drop(node.uses.pop()),
        Kind::Pass => node.side_effects = !node.side_effects,
        Kind::Upload => node.uses[0].range.end = node.uses[0].range.start + 1,
        _ => frame.orders.clear(),
    }
    frame
}

/// All that does not name the frame itself, or say where the plan is from.
fn plain(schedule: &Schedule) -> Schedule {
    let mut schedule = schedule.clone();
    schedule.origin = PlanOrigin::Uncached;
    schedule.resources.retain(|r| matches!(r, Resource::Persistent(_)));
    schedule
}

#[derive(Debug, Default)]
struct Tally {
    frames: u64,
    reused: u64,
    refused: u64,
}

fn check(case: &Case, tally: &mut Tally) -> Result<(), String> {
    let case = rig::with_results(repeated(case));
    let bare = case.buffers.len().is_multiple_of(2);
    let (fresh, fresh_errors) = rig::plan(&case, rig::How { bare, cache: 0 });
    let (cached, errors) = rig::plan(&case, rig::How { bare, cache: 2 });
    let text =
        |errors: &[memkit_gpu::graph::PlanError]| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    if text(&fresh_errors) != text(&errors) {
        return Err(format!("other frames are refused: {fresh_errors:?} {errors:?}"));
    }
    for (k, (a, b)) in fresh.frames.iter().zip(&cached.frames).enumerate() {
        if plain(&a.schedule) != plain(&b.schedule) {
            let (was, is) = (listing(&fresh, k), listing(&cached, k));
            return Err(format!("frame {k}, {:?}: made\n{was}\nkept\n{is}", b.schedule.origin));
        }
        tally.reused += u64::from(b.schedule.origin == PlanOrigin::Reused);
    }
    tally.frames += cached.frames.len() as u64;
    tally.refused += errors.len() as u64;
    let ran = cached.run_on(DummyBackendConfig::default(), None, true);
    if let Some(hazard) = ran.hazards.first() {
        return Err(hazard.to_string());
    }
    let expected = reference::run(&cached.case);
    let wrong =
        ran.bytes.iter().zip(&expected).position(|(got, want)| got.as_ref().is_some_and(|b| b != want));
    wrong.map_or(Ok(()), |i| Err(format!("b{i}: got {:?}\nexpected {:?}", ran.bytes[i], expected[i])))
}

fn run(frames: u64, seed: [u8; 32]) -> Tally {
    let mut tally = Tally::default();
    search(frames, LIMITS, seed, &mut |case| {
        let before = tally.frames;
        check(case, &mut tally)?;
        Ok(tally.frames - before)
    });
    tally
}

#[test]
fn random_frames_get_the_plans_that_would_be_made_and_run_without_a_hazard() {
    let tally = run(4000, [3; 32]);
    println!("{tally:?}");
    assert!(tally.reused * 10 > tally.frames, "{tally:?}");
}

#[test]
#[ignore = "long: run with --release; MEMKIT_FRAMES says how many frames, MEMKIT_SEED which"]
fn many_random_frames() {
    let tally = run(number("MEMKIT_FRAMES", 100_000), seed_of(number("MEMKIT_SEED", 1)));
    println!("{tally:?}");
}

const WRITE: Access = Access::COMPUTE_STORAGE_WRITE;
const READ: Access = Access::COMPUTE_STORAGE_READ;

struct Scene {
    gpu: MkGpu<DummyBackend>,
    input: MkDeviceBuffer,
    constant: MkDeviceBuffer,
    output: MkDeviceBuffer,
}

impl Scene {
    fn new(plan_cache: usize) -> Self {
        let gpu = MkGpu::with_config(DummyBackend::new(), MkGpuConfig { plan_cache, ..Default::default() });
        let make = || gpu.create_device_buffer(4096, MkBufferUsage::STORAGE).unwrap();
        let (input, constant, output) = (make(), make(), make());
        gpu.upload_now(&constant, 0, &[1u32; 1024]).unwrap();
        Scene { gpu, input, constant, output }
    }

    /// Uploads `number`, and adds the constant in two steps: the second writes to `to`.
    fn declare(&self, frame: &mut MkFrame<'static, DummyBackend>, number: u32, to: &MkDeviceBuffer) {
        for part in 0..4 {
            frame.upload(&self.input, 1024 * part, &[number; 128]).unwrap();
        }
        let scratch = frame.transient("scratch", 512);
        let (input, constant, output) = (self.input.id(), self.constant.id(), to.id());
        frame.pass("take").read(self.input.slice(..512), READ).overwrite(scratch, WRITE).record(move |cx| {
            cx.dispatch(move |mem| {
                let from = mem.read::<u32>(input)?.to_vec();
                mem.write::<u32>(scratch)?.copy_from_slice(&from);
                Ok(())
            });
            Ok(())
        });
        frame
            .pass("add")
            .read(scratch, READ)
            .read(self.constant.slice(..512), READ)
            .overwrite(to.slice(..512), WRITE)
            .record(move |cx| {
                cx.dispatch(move |mem| {
                    let (a, b) = (mem.read::<u32>(scratch)?.to_vec(), mem.read::<u32>(constant)?.to_vec());
                    let mut sums = mem.write::<u32>(output)?;
                    sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum = a + b);
                    Ok(())
                });
                Ok(())
            });
    }
}

#[test]
fn steady_frames_with_uploads_and_readbacks_use_their_plans_again() {
    let scene = Scene::new(8);
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..60 {
        let mut frame = scene.gpu.begin_frame().unwrap();
        scene.declare(&mut frame, number, &scene.output);
        waiting.push_back((number, frame.readback::<u32>(scene.output.slice(..512), 0..128).unwrap()));
        frame.submit().unwrap();
        let origin = scene.gpu.frame_stats().origin;
        assert!(number < 30 || origin == PlanOrigin::Reused, "frame {number}: {origin:?}");
        if waiting.len() > 1 {
            let (number, readback) = waiting.pop_front().unwrap();
            readback.wait().unwrap();
            let sums = readback.try_read(|sums| sums.to_vec()).unwrap();
            assert_eq!(sums, [number + 1; 128]);
        }
    }
    assert_eq!(scene.gpu.backend().hazards().len(), 0);
}

#[test]
fn a_dump_says_whether_the_plan_was_used_again_and_why_not() {
    let scene = Scene::new(8);
    let other = scene.gpu.create_device_buffer(4096, MkBufferUsage::STORAGE).unwrap();
    let dump = |to: &MkDeviceBuffer| {
        let mut frame = scene.gpu.begin_frame().unwrap();
        scene.declare(&mut frame, 1, to);
        frame.submit_and_dump().unwrap().1
    };
    assert!(matches!(dump(&scene.output).origin, PlanOrigin::Anew(_)));
    (0..6).for_each(|_| drop(dump(&scene.output)));
    let again = dump(&scene.output);
    assert_eq!(again.origin, PlanOrigin::Reused);
    assert!(again.to_text().contains("plan      used again"), "{}", again.to_text());
    let changed = dump(&other);
    let add = changed.find("add").unwrap();
    assert_eq!(changed.origin, PlanOrigin::Anew(PlanChange::Use { node: add, number: 2 }));
    let text = changed.to_text();
    let line = text.lines().find(|line| line.contains("made for this frame")).unwrap();
    assert!(line.contains("`add` uses `"), "{line}");
    let off = Scene::new(0);
    let mut frame = off.gpu.begin_frame().unwrap();
    off.declare(&mut frame, 1, &off.output);
    frame.submit().unwrap();
    assert_eq!(off.gpu.frame_stats().origin, PlanOrigin::Uncached);
}

/// What a planner says about a frame of these passes: each overwrites its buffer.
fn plan(
    planner: &mut Planner,
    state: &mut GraphState,
    buffers: &[memkit_gpu::graph::ResourceId],
) -> PlanOrigin {
    let mut frame = FrameGraph::new();
    for &buffer in buffers {
        frame.pass("write").overwrite(buffer, WRITE).finish();
    }
    let origin = planner.plan(&frame, state).unwrap().origin;
    planner.commit(state);
    origin
}

#[test]
fn the_least_recently_used_structure_makes_way() {
    let mut state = GraphState::new();
    let ids: Vec<_> = (0..8)
        .map(|i| state.add_buffer(BufferDesc::new(format!("b{i}"), 64, BufferUsage::STORAGE)))
        .collect();
    let mut planner = Planner::with_cache(2);
    for _ in 0..8 {
        plan(&mut planner, &mut state, &ids[..1]);
        plan(&mut planner, &mut state, &ids[..2]);
    }
    assert_eq!(plan(&mut planner, &mut state, &ids[..1]), PlanOrigin::Reused);
    assert_eq!(plan(&mut planner, &mut state, &ids[..2]), PlanOrigin::Reused);
    let third = plan(&mut planner, &mut state, &ids[..3]);
    assert_eq!(third, PlanOrigin::Anew(PlanChange::Added { node: 2 }), "the second has two nodes");
    assert!(!matches!(plan(&mut planner, &mut state, &ids[..2]), PlanOrigin::Anew(PlanChange::Added { .. })));
    let first = plan(&mut planner, &mut state, &ids[..1]);
    assert_eq!(first, PlanOrigin::Anew(PlanChange::Removed { node: 1 }), "it made way for the third");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut state = GraphState::new();
    let ids: Vec<_> = (0..60)
        .map(|i| state.add_buffer(BufferDesc::new(format!("b{i}"), 64, BufferUsage::STORAGE)))
        .collect();
    let mut planner = Planner::with_cache(3);
    let mut live = Vec::with_capacity(40);
    for round in 0..40 {
        for len in 1..=ids.len() {
            // Twice, so that plans are kept too.
            plan(&mut planner, &mut state, &ids[..len]);
            plan(&mut planner, &mut state, &ids[..len]);
        }
        if round >= 10 {
            live.push(heap::live());
        }
    }
    assert!(live.iter().all(|&bytes| bytes <= live[0]), "{live:?}");
}

/// The origins of eight frames of 16 uploads each, to so many buffers.
fn origins_of_uploads(buffers: usize) -> Vec<PlanOrigin> {
    let mut state = GraphState::new();
    let desc = || BufferDesc::new("b", 64, BufferUsage::TRANSFER_DST);
    let ids: Vec<_> = (0..buffers).map(|_| state.add_buffer(desc())).collect();
    let (mut planner, mut frame) = (Planner::with_cache(4), FrameGraph::new());
    let origins = (0..8).map(|_| {
        frame.reset();
        for i in 0..16u64 {
            let to = ids[i as usize % buffers].slice(i * 4..i * 4 + 4);
            frame.upload(HostSlice { buffer: 0, offset: i * 8 }, to);
        }
        let origin = planner.plan(&frame, &mut state).unwrap().origin;
        planner.commit(&mut state);
        origin
    });
    origins.collect()
}

#[test]
fn uploads_alone_are_remembered_only_if_they_go_to_many_buffers() {
    assert_eq!(origins_of_uploads(1), [PlanOrigin::Anew(PlanChange::Uploads); 8]);
    assert_eq!(origins_of_uploads(16).last(), Some(&PlanOrigin::Reused));
}
