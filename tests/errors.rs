//! Bad input: a typed error that names what is concerned and what to do; nothing leaked, no state moved.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::graph::{AccessFlags, GraphError, Stages};
use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, MkBufferDesc, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame,
    MkGpu, MkGpuBackend, Queue,
};
use std::error::Error;
use std::ops::Bound;

const fn is_an_error<T: Error + Send + Sync + 'static>() {}
const _: () = {
    is_an_error::<MkError>();
    assert!(size_of::<MkError>() <= 64);
};

type Frame<'a> = MkFrame<'static, DummyBackend>;

/// Submits a frame that `declare` spoils, and checks what comes back and that nothing is left of it.
fn refuse(named: &[&str], declare: impl FnOnce(&Gpu, &mut Frame<'_>, &MkDeviceBuffer)) -> GraphError {
    let gpu = gpu();
    let usage = MkBufferUsage::STORAGE;
    let desc = MkBufferDesc { name: "victim", size: 64, usage, ..Default::default() };
    let keep = gpu.create_buffer(&desc).unwrap();
    let id = keep.id();
    let victim = gpu.create_device_buffer(64, usage).unwrap();
    let mut first = gpu.begin_frame().unwrap();
    first.upload(id, 0, &[1u32; 16]).unwrap();
    first.upload(&victim, 0, &[1u32; 16]).unwrap();
    first.submit().unwrap();
    gpu.wait_idle().unwrap();
    let before = (gpu.backend().submissions(), gpu.backend().buffer_count());

    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&victim, 0, &[2u32; 16]).unwrap();
    let back = frame.readback::<u32>(&victim, 0..1).unwrap();
    declare(&gpu, &mut frame, &victim);
    let error = err(frame.submit());
    let text = error.to_string();
    for name in named {
        assert!(text.contains(name), "`{name}` is not in: {text}");
    }
    let dump = error.dump().unwrap();
    assert!(!dump.is_empty());
    assert!(error.source().is_some());
    let graph = error.graph().cloned().unwrap_or(GraphError::ForeignPass);
    drop(error);
    assert_eq!(gpu.backend().submissions(), before.0);
    assert!(matches!(back.wait(), Err(MkError::Cancelled)));
    drop(back);

    // No state has moved, and the next frame works.
    let mut next = gpu.begin_frame().unwrap();
    add(&mut next, "next", victim.id(), 1);
    next.submit().unwrap();
    assert_eq!(contents(&gpu, &victim, 16), [2; 16]);
    assert_clean(&gpu);
    assert!(gpu.backend().buffer_count() <= before.1 + 2, "one for readbacks, one for transients");
    graph
}

#[test]
fn a_read_of_bytes_nobody_wrote() {
    let e = refuse(&["`reader`", "`scratch`", "nobody wrote", "upload"], |_, frame, _| {
        let t = frame.transient("scratch", 16);
        frame.pass("reader").read(t, R).side_effects().record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::Uninitialized { .. }), "{e}");
}

#[test]
fn a_use_without_the_usage_flag() {
    let e = refuse(&["`draw`", "VERTEX", "add the flag"], |_, frame, victim| {
        frame.pass("draw").read(victim, Access::VERTEX_ATTRIBUTE_READ).side_effects().record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::MissingUsage { .. }), "{e}");
}

#[test]
fn ranges_out_of_bounds_reversed_and_empty() {
    let ranges = [(0, 65), (64, 65), (100, 200), (0, usize::MAX), (40, 8), (usize::MAX, usize::MAX)];
    for (start, end) in ranges {
        let e = refuse(&["`far`"], move |_, frame, victim| {
            frame.pass("far").modify(victim.slice(start..end), RW).record(|_| Ok(()));
        });
        assert!(
            matches!(e, GraphError::OutOfBounds { .. } | GraphError::EmptyRange { .. }),
            "{start}..{end}: {e}"
        );
    }
    let e = refuse(&["`nothing`", "empty"], |_, frame, victim| {
        frame.pass("nothing").modify(victim.slice(8..8), RW).record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::EmptyRange { .. }), "{e}");
}

#[test]
fn bounds_of_every_kind_at_the_edges_never_panic_and_never_become_the_whole_buffer() {
    let gpu = gpu();
    let b = filled(&gpu, &[0; 16]);
    let edges = [0usize, 1, 4, 63, 64, 65, usize::MAX - 1, usize::MAX];
    for a in edges {
        for z in edges {
            let bounds = [
                (Bound::Included(a), Bound::Excluded(z)),
                (Bound::Included(a), Bound::Included(z)),
                (Bound::Excluded(a), Bound::Excluded(z)),
                (Bound::Excluded(a), Bound::Included(z)),
            ];
            for range in bounds {
                let start = match range.0 {
                    Bound::Excluded(a) => a.checked_add(1),
                    _ => Some(a),
                };
                let end = match range.1 {
                    Bound::Included(z) => z.checked_add(1),
                    _ => Some(z),
                };
                let fine = matches!((start, end), (Some(s), Some(e)) if s < e && e <= 64);
                let mut frame = gpu.begin_frame().unwrap();
                frame.pass("p").modify(b.slice(range), RW).record(|_| Ok(()));
                assert_eq!(frame.submit().is_ok(), fine, "{range:?}");
                let mut frame = gpu.begin_frame().unwrap();
                let up = frame.upload(b.slice(range), 0, &[1u8]);
                assert_eq!(up.is_ok(), fine, "{range:?}");
                let _ = frame.upload_with(b.slice(range), a..z, |_| {});
                let _ = frame.upload(&b, a, &[1u16, 2]);
                let _ = frame.readback::<u32>(b.slice(range), a..z);
                let t = frame.transient("t", z.min(1 << 20));
                let _ = frame.readback::<u32>(t.slice(range), a..z);
                let _ = frame.upload_with(t.slice(range), a..z, |_| {});
                frame.copy(b.slice(range), t);
                frame.fill(t.slice(range), 0);
                drop(frame);
            }
        }
    }
    assert_clean(&gpu);
}

#[test]
fn zero_sizes() {
    let gpu = gpu();
    assert!(matches!(err(gpu.create_device_buffer(0, MkBufferUsage::STORAGE)), MkError::ZeroSize { .. }));
    assert!(matches!(err(gpu.create_staging_buffer(0)), MkError::ZeroSize { .. }));
    assert!(matches!(err(gpu.staging_buffer_with_data::<u32>(&[])), MkError::ZeroSize { .. }));
    assert!(matches!(err(gpu.create_pool(&MkBufferDesc::default())), MkError::ZeroSize { .. }));
    let b = storage(&gpu, 4);
    let mut frame = gpu.begin_frame().unwrap();
    assert!(matches!(err(frame.upload::<u32>(&b, 0, &[])), MkError::ZeroSize { .. }));
    assert!(matches!(err(frame.upload_with(&b, 2..2, |_| {})), MkError::ZeroSize { .. }));
    drop(frame);
    let e = refuse(&["`none`", "zero"], |_, frame, _| {
        let t = frame.transient("none", 0);
        frame.pass("p").overwrite(t, W).side_effects().record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::ZeroSize { .. }), "{e}");
}

#[test]
fn contradictory_accesses_in_one_pass() {
    let e = refuse(&["`both`", "modify"], |_, frame, victim| {
        frame.pass("both").read(victim, R).overwrite(victim, W).record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::Contradiction { .. }), "{e}");
    let e = refuse(&["`reads`"], |_, frame, victim| {
        frame.pass("reads").read(victim, W).record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::ModeMismatch { .. }), "{e}");
}

#[test]
fn copies_that_overlap_or_differ_and_fills_off_the_grid() {
    let e = refuse(&["overlap"], |_, frame, v| {
        frame.copy(v.slice(0..8), v.slice(4..12));
    });
    assert!(matches!(e, GraphError::CopyOverlap { .. }), "{e}");
    let e = refuse(&["same length"], |_, frame, v| {
        frame.copy(v.slice(0..8), v.slice(16..20));
    });
    assert!(matches!(e, GraphError::CopySize { .. }), "{e}");
    let e = refuse(&["multiples of 4"], |_, frame, v| {
        frame.fill(v.slice(2..8), 0);
    });
    assert!(matches!(e, GraphError::FillAlignment { .. }), "{e}");
}

#[test]
fn a_cycle_prints_its_passes() {
    let e = refuse(&["`ping`", "`pong`", "`order`"], |_, frame, victim| {
        let a = frame.pass("ping").modify(victim, RW).record(|_| Ok(()));
        let b = frame.pass("pong").modify(victim, RW).record(|_| Ok(()));
        frame.order(b, a);
    });
    assert!(matches!(e, GraphError::Cycle { .. }), "{e}");
}

#[test]
fn ids_transients_and_passes_of_elsewhere() {
    let e = refuse(&["`stale`", "no longer exists"], |gpu, frame, _| {
        let id = storage(gpu, 4).id();
        drop(storage(gpu, 4));
        frame.pass("stale").overwrite(id, W).record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::StaleResource { .. }), "{e}");
    let e = refuse(&["`lost`", "another frame"], |gpu, frame, _| {
        let t = gpu.begin_frame().unwrap().transient("t", 4);
        frame.pass("lost").overwrite(t, W).side_effects().record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::ForeignTransient { .. }), "{e}");
    let e = refuse(&["another frame"], |gpu, frame, v| {
        let mut other = gpu.begin_frame().unwrap();
        let p = other.pass("x").modify(v, RW).record(|_| Ok(()));
        let q = frame.pass("y").modify(v, RW).record(|_| Ok(()));
        frame.order(p, q);
    });
    assert!(matches!(e, GraphError::ForeignPass), "{e}");
    refuse(&["another MkGpu"], |_, frame, _| {
        let other = gpu();
        let b = storage(&other, 4);
        assert!(matches!(err(frame.upload(&b, 0, &[1u32])), MkError::ForeignHandle { .. }));
        assert!(matches!(err(frame.readback::<u32>(b.id(), 0..1)), MkError::ForeignHandle { .. }));
        frame.pass("foreign").overwrite(&b, W).record(|_| Ok(()));
        frame.copy(b.id(), b.id());
    });
}

#[test]
fn a_builder_that_is_dropped_leaves_no_error() {
    let (gpu, other) = (gpu(), gpu());
    let (own, foreign) = (filled(&gpu, &[1]), storage(&other, 4));
    let mut frame = gpu.begin_frame().unwrap();
    drop(frame.pass("thought better of it").read(&own, R).overwrite(&foreign, W));
    add(&mut frame, "fine", own.id(), 1);
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &own, 1), [2]);
    assert_clean(&gpu);
}

#[test]
fn a_stage_the_named_queue_does_not_run() {
    let e = refuse(&["`draw`", "transfer"], |_, frame, victim| {
        frame.pass("draw").on(Queue::Transfer).modify(victim, RW).record(|_| Ok(()));
    });
    assert!(matches!(e, GraphError::StageNotOnQueue { .. }), "{e}");
}

#[test]
fn a_stage_the_device_does_not_run() {
    let stages = Stages::all() - Stages::OPTIONAL;
    let backend = DummyBackend::with_config(DummyBackendConfig { stages, ..Default::default() });
    assert_eq!(backend.capabilities().stages, stages);
    let gpu = MkGpu::new(backend);
    let b = filled(&gpu, &[1]);
    let mut frame = gpu.begin_frame().unwrap();
    let mesh = Access::new(Stages::MESH_SHADER, AccessFlags::SHADER_STORAGE_READ);
    frame.pass("meshlets").read(&b, mesh).side_effects().record(|_| Ok(()));
    let e = err(frame.submit());
    let named = ["`meshlets`", "MESH_SHADER", b.name(), "feature"].map(|name| e.to_string().contains(name));
    assert_eq!(named, [true; 4], "{e}");
    assert!(matches!(e.graph(), Some(GraphError::StageNotOnDevice { .. })), "{e}");

    // An umbrella stands for what the device has.
    let mut frame = gpu.begin_frame().unwrap();
    let graphics = Access::new(Stages::ALL_GRAPHICS, AccessFlags::SHADER_READ);
    for access in [Access::VERTEX_STORAGE_READ, graphics] {
        frame.pass("draw").read(&b, access).side_effects().record(|_| Ok(()));
    }
    frame.submit().unwrap();
    assert_clean(&gpu);
}

#[test]
fn an_error_of_a_closure_names_the_pass_and_is_kept_whole() {
    #[derive(Debug, thiserror::Error)]
    #[error("pipeline missing")]
    struct Missing;
    let gpu = gpu();
    let b = filled(&gpu, &[1]);
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("shade").modify(&b, RW).record(|_| Err(MkError::other(Missing)));
    let error = err(frame.submit());
    assert_eq!(error.to_string(), "recording of pass `shade`: pipeline missing");
    let mut source: &dyn Error = &error;
    while let Some(next) = source.source() {
        source = next;
    }
    assert!(source.is::<Missing>());
    assert!(error.dump().unwrap().contains("shade"));
}

#[test]
fn a_closure_that_says_device_lost_does_not_lose_the_device() {
    let gpu = gpu();
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("liar").side_effects().record(|_| Err(MkError::DeviceLost));
    assert!(err(frame.submit()).is_device_lost());
    gpu.begin_frame().unwrap().submit().unwrap().wait().unwrap();
}

#[test]
fn all_problems_are_listed_behind_the_first() {
    let text = {
        let gpu = gpu();
        let b = storage(&gpu, 4);
        let mut frame = gpu.begin_frame().unwrap();
        frame.pass("one").modify(b.slice(5..6), RW).record(|_| Ok(()));
        frame.pass("two").overwrite(b.slice(..9), W).record(|_| Ok(()));
        err(frame.submit()).to_string()
    };
    assert!(text.contains("`one`") && text.contains("`two`"));
    assert!(text.contains("also:"), "{text}");
}

#[test]
fn uploads_larger_than_their_destination() {
    let gpu = gpu();
    let b = storage(&gpu, 8);
    let mut frame = gpu.begin_frame().unwrap();
    let t = frame.transient("t", 8);
    for to in [memkit_gpu::MkSlice::from(&b), b.id().into(), t.into(), b.slice(0..)] {
        assert!(matches!(
            err(frame.upload(to, 4, &[1u32, 2])),
            MkError::OutOfBounds { end: 12, size: 8, .. }
        ));
        assert!(matches!(err(frame.upload_with(to, 0..9, |_| {})), MkError::OutOfBounds { .. }));
        assert!(matches!(err(frame.upload_with(to, 0..usize::MAX, |_| {})), MkError::OutOfBounds { .. }));
        assert!(matches!(err(frame.upload(to, usize::MAX, &[1u32])), MkError::OutOfBounds { .. }));
    }
    assert!(matches!(err(frame.upload(b.slice(..4), 0, &[1u32, 2])), MkError::OutOfBounds { .. }));
    frame.submit().unwrap();
}

#[test]
fn device_memory_exhausted_and_buffers_too_large() {
    let config = DummyBackendConfig { memory_limit: 1 << 20, max_buffer_size: 1 << 19, ..Default::default() };
    let gpu = MkGpu::new(DummyBackend::with_config(config));
    let desc = MkBufferDesc { name: "huge", size: 1 << 20, ..Default::default() };
    let error = err(gpu.create_buffer(&desc));
    assert!(
        matches!(&error, MkError::BufferTooLarge { limit: 524_288, .. })
            && error.to_string().contains("`huge`")
    );
    assert!(matches!(
        err(gpu.create_buffer(&MkBufferDesc { size: usize::MAX, ..desc })),
        MkError::BufferTooLarge { .. }
    ));
    let held = [storage(&gpu, 1 << 19), storage(&gpu, (1 << 19) - 64)];
    let error = err(gpu.create_buffer(&MkBufferDesc { name: "more", size: 128, ..Default::default() }));
    assert!(matches!(&error, MkError::OutOfMemory { .. }) && error.to_string().contains("`more`"), "{error}");
    // A frame that needs memory for a transient, an upload or a readback.
    let mut frame = gpu.begin_frame().unwrap();
    assert!(matches!(err(frame.upload(&held[0], 0, &[0u32])), MkError::OutOfMemory { .. }));
    assert!(matches!(err(frame.readback::<u32>(&held[0], 0..1)), MkError::OutOfMemory { .. }));
    let t = frame.transient("big", 4096);
    frame.fill(t, 1);
    frame.copy(t, held[0].slice(..4096));
    assert!(matches!(err(frame.submit()), MkError::OutOfMemory { .. }));
    drop(held);
    let b = storage(&gpu, 64);
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(&b, 1);
    frame.submit().unwrap();
    assert_clean(&gpu);
}
