//! The mistakes that other libraries ship, as far as buffers on one queue can show them: each a named test. The
//! numbers are those of the list this project keeps; 4 and 10 need a second queue.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
use common::*;
use memkit_gpu::graph::{
    BufferDesc, BufferUsage, Command, CullReason, FrameGraph, GraphError, GraphState, Planner, ResourceId,
    Schedule,
};
use memkit_gpu::{Access, MkBufferUsage, MkError};
use std::time::{Duration, Instant};

const CW: Access = Access::COMPUTE_STORAGE_WRITE;
const CR: Access = Access::COMPUTE_STORAGE_READ;

/// Plans frames over buffers whose content counts as written.
#[derive(Default)]
struct World {
    state: GraphState,
    planner: Planner,
}

impl World {
    fn buffer(&mut self, name: &str) -> ResourceId {
        let usage = BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS;
        self.state.add_buffer(BufferDesc { initialized: true, ..BufferDesc::new(name, 1024, usage) })
    }

    fn run(&mut self, frame: &FrameGraph) -> Schedule {
        self.planner.plan(frame, &mut self.state).unwrap();
        self.planner.commit(&mut self.state);
        self.planner.schedule().clone()
    }
}

fn entries(s: &Schedule) -> Vec<String> {
    s.entries.iter().map(ToString::to_string).collect()
}

#[test]
fn mistake_01_a_second_reader_with_another_stage_or_access_gets_its_visibility() {
    for second in [Access::VERTEX_ATTRIBUTE_READ, Access::COMPUTE_UNIFORM_READ] {
        let gpu = gpu();
        let buffer =
            gpu.create_device_buffer(64, MkBufferUsage::all() & !MkBufferUsage::DEVICE_ADDRESS).unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        set(&mut frame, "write", buffer.id(), 1);
        frame.submit().unwrap();
        for access in [CR, second] {
            let mut frame = gpu.begin_frame().unwrap();
            frame.pass("read").read(&buffer, access).side_effects().record(|_| Ok(()));
            frame.submit().unwrap();
        }
        gpu.wait_idle().unwrap();
        assert_eq!(gpu.backend().barrier_calls(), 2, "one for each reader");
        assert_clean(&gpu);
    }
}

#[test]
fn mistake_02_readers_of_two_kinds_of_queue_work_plan_without_a_panic() {
    let mut w = World::default();
    let (a, out) = (w.buffer("a"), w.buffer("out"));
    let mut f = FrameGraph::new();
    f.pass("compute").overwrite(a, CW).finish();
    f.pass("vertex").read(a, Access::VERTEX_STORAGE_READ).side_effects().finish();
    f.pass("fragment").read(a, Access::FRAGMENT_STORAGE_READ).side_effects().finish();
    assert_eq!(w.run(&f).depth(), 1);
    let mut f = FrameGraph::new();
    f.pass("vertex").read(a, Access::VERTEX_STORAGE_READ).side_effects().finish();
    f.pass("any compute").overwrite(out, CW).finish();
    f.pass("fragment").read(a, Access::FRAGMENT_STORAGE_READ).side_effects().finish();
    assert_eq!(w.run(&f).depth(), 0, "everything is visible already");
}

#[test]
fn mistake_03_culling_is_transitive_not_only_of_leaves() {
    let mut w = World::default();
    let a = w.buffer("a");
    let mut f = FrameGraph::new();
    for chain in 0..99 {
        let mut last = None;
        for i in 0..10 {
            let next = f.transient(&format!("t{chain}.{i}"), 64);
            let pass = f.pass("dead").overwrite(next, CW);
            match last.replace(next) {
                Some(last) => pass.read(last, CR).finish(),
                None => pass.finish(),
            };
        }
    }
    for _ in 0..10 {
        f.pass("live").write(a, CW).finish();
    }
    let s = w.run(&f);
    assert_eq!((s.culled.len(), s.order.len()), (990, 10));
    let unread = s.culled.iter().filter(|c| matches!(c.reason, CullReason::Unread { .. })).count();
    assert_eq!(unread, 99, "the leaves; the others have culled readers");
}

#[test]
fn mistake_05_a_dump_shows_the_commands_that_run() {
    let gpu = gpu();
    let (a, b) = (storage(&gpu, 64), storage(&gpu, 64));
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&a, 0, &[1u32; 16]).unwrap();
    set(&mut frame, "second", b.id(), 2);
    add(&mut frame, "third", a.id(), 3);
    frame.fill(&b, 4);
    let (_, dump) = frame.submit_and_dump().unwrap();
    let text = dump.to_text();
    gpu.wait_idle().unwrap();
    assert!(text.contains("third"), "{text}");
    // `second` is overwritten whole by the fill: it is named as culled, and did not run.
    let line = text.lines().find(|l| l.contains("second") && l.contains("overwritten"));
    assert!(line.is_some(), "{text}");
    assert_eq!(contents(&gpu, &a, 16), [4; 16]);
}

#[test]
fn mistake_06_reused_inputs_do_not_make_the_walk_exponential() {
    // Each layer has two passes that both read both of the layer before: 2^200 paths.
    let mut w = World::default();
    let mut f = FrameGraph::new();
    let mut last = [w.buffer("a"), w.buffer("b")];
    for layer in 0..200 {
        let next = [w.buffer(&format!("a{layer}")), w.buffer(&format!("b{layer}"))];
        for to in next {
            f.pass("p").read(last[0], CR).read(last[1], CR).overwrite(to, CW).finish();
        }
        last = next;
    }
    let begin = Instant::now();
    assert_eq!(w.run(&f).depth(), 199);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn mistake_07_staging_is_recycled_only_after_the_submission_that_uses_it() {
    let gpu = gpu_with(memkit_gpu::MkGpuConfig {
        staging_chunk: 1024,
        staging_limit: 4096,
        frames_in_flight: 2,
        ..Default::default()
    });
    let buffers: Vec<_> = (0..8).map(|_| storage(&gpu, 1024)).collect();
    for round in 0..4u32 {
        for (i, buffer) in buffers.iter().enumerate() {
            let mut frame = gpu.begin_frame().unwrap();
            frame.upload(buffer, 0, &[round * 10 + i as u32; 256]).unwrap();
            frame.submit().unwrap();
        }
    }
    for (i, buffer) in buffers.iter().enumerate() {
        assert_eq!(contents(&gpu, buffer, 256), [30 + i as u32; 256]);
    }
    assert_clean(&gpu);
}

#[test]
fn mistake_08_no_barrier_for_reads_after_reads_or_a_fresh_buffers_first_touch() {
    let mut w = World::default();
    let ids: Vec<_> = (0..6).map(|i| w.buffer(&format!("b{i}"))).collect();
    let mut f = FrameGraph::new();
    f.fill(ids[0], 0);
    for to in &ids[1..5] {
        f.copy(ids[0], *to);
    }
    f.pass("nothing declared").side_effects().finish();
    f.pass("dispatch").read(ids[1], Access::INDIRECT_READ).overwrite(ids[5], CW).finish();
    let s = w.run(&f);
    assert_eq!(s.depth(), 2, "{:?}", entries(&s));
    let copies = s.queues[0].commands.iter().filter(|c| matches!(c, Command::Copy { .. })).count();
    assert_eq!(copies, 4);
    let mut f = FrameGraph::new();
    f.pass("again").read(ids[1], Access::INDIRECT_READ).side_effects().finish();
    assert_eq!(w.run(&f).depth(), 0);
}

#[test]
fn mistake_09_transfers_are_batched_keep_their_offsets_and_are_never_truncated() {
    let gpu = gpu();
    let from = gpu.staging_buffer_with_data(&[1u32, 2, 3, 4]).unwrap();
    let to = storage(&gpu, 16);
    for i in 0..4 {
        let copy = gpu.transfer_builder(&from, &to).src_offset(4 * i).dst_offset(4 * (3 - i)).size(4);
        copy.submit().unwrap();
    }
    gpu.wait_idle().unwrap();
    assert_eq!(gpu.backend().submissions(), 1, "no submit a copy");
    assert_eq!(contents(&gpu, &to, 4), [4, 3, 2, 1]);
    let small = storage(&gpu, 8);
    assert!(matches!(gpu.transfer(&from, &small).map(drop), Err(MkError::SizeMismatch { .. })));
    assert_clean(&gpu);
}

#[test]
fn mistake_09_nothing_is_left_when_the_device_goes() {
    let backend = memkit_gpu::DummyBackend::new();
    let stats = backend.stats();
    let gpu = memkit_gpu::MkGpu::new(backend);
    let buffer = filled(&gpu, &[1; 256]);
    assert!(stats.buffer_count() > 0);
    drop(gpu);
    assert_eq!((stats.buffer_count(), stats.total_allocated()), (0, 0));
    drop(buffer);
    assert!(stats.hazards().is_empty(), "{}", stats.hazards()[0]);
}

#[test]
fn mistake_11_a_whole_range_ends_where_the_buffer_does() {
    let gpu = gpu();
    let buffer = filled(&gpu, &[1, 2, 3, 4]);
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(buffer.slice(8..), 9);
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &buffer, 4), [1, 2, 9, 9]);
    assert_clean(&gpu);
}

#[test]
fn mistake_11_a_transient_shares_no_bytes_with_what_lives_on() {
    let gpu = gpu();
    let kept = filled(&gpu, &[7; 64]);
    for round in 0..3 {
        let mut frame = gpu.begin_frame().unwrap();
        let t = frame.transient("t", 256);
        set(&mut frame, "make", t, round);
        frame.pass("use").read(t, R).side_effects().record(|_| Ok(()));
        frame.submit().unwrap();
    }
    assert_eq!(contents(&gpu, &kept, 64), [7; 64]);
    assert_clean(&gpu);
}

#[test]
fn mistake_11_a_frame_that_is_not_submitted_keeps_no_staging_bytes() {
    let gpu =
        gpu_with(memkit_gpu::MkGpuConfig { staging_chunk: 1024, staging_limit: 1024, ..Default::default() });
    let buffer = storage(&gpu, 1024);
    for _ in 0..20 {
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&buffer, 0, &[9u32; 256]).unwrap();
        drop(frame);
    }
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&buffer, 0, &[1u32; 256]).unwrap();
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &buffer, 256), [1; 256]);
}

#[test]
fn mistake_12_a_cycle_is_an_error_not_a_frame_with_passes_missing() {
    let mut w = World::default();
    let (a, b) = (w.buffer("a"), w.buffer("b"));
    let mut f = FrameGraph::new();
    let one = f.pass("one").overwrite(a, CW).finish();
    let two = f.pass("two").read(a, CR).overwrite(b, CW).finish();
    let three = f.pass("three").read(b, CR).side_effects().finish();
    f.order(three, one);
    f.order(one, two);
    let error = w.planner.plan(&f, &mut w.state).unwrap_err();
    let GraphError::Cycle { passes } = &error.first else { panic!("{error}") };
    assert_eq!(passes.len(), 3, "{error}");
}

#[test]
fn mistake_13_what_is_wrong_is_found_in_every_build_and_named() {
    let gpu = gpu();
    let buffer = gpu.create_device_buffer(64, MkBufferUsage::VERTEX).unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("the culprit").overwrite(&buffer, CW).record(|_| Ok(()));
    let text = err(frame.submit()).to_string();
    assert!(text.contains("the culprit") && text.contains("STORAGE"), "{text}");
}
