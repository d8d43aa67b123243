//! What frames do to real bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{MkGpuConfig, Queue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn a_read_sees_the_last_write_declared_before_it() {
    let gpu = gpu();
    let (a, b, c) = (storage(&gpu, 16), storage(&gpu, 16), storage(&gpu, 16));
    let mut frame = gpu.begin_frame().unwrap();
    set(&mut frame, "one", a.id(), 1);
    frame.copy(&a, &b);
    set(&mut frame, "two", a.id(), 2);
    frame.copy(&a, &c);
    frame.submit().unwrap();
    assert_eq!((contents(&gpu, &b, 4), contents(&gpu, &c, 4)), (vec![1; 4], vec![2; 4]));
    assert_clean(&gpu);
}

#[test]
fn write_keeps_the_rest_and_earlier_writers_alive() {
    let gpu = gpu();
    let a = storage(&gpu, 16);
    let mut frame = gpu.begin_frame().unwrap();
    set(&mut frame, "all", a.id(), 1);
    let id = a.id();
    frame.pass("some").write(&a, W).record(move |cx| {
        cx.dispatch(move |mem| {
            mem.write::<u32>(id)?[2] = 9;
            Ok(())
        });
        Ok(())
    });
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &a, 4), [1, 1, 9, 1]);
    assert_clean(&gpu);
}

#[test]
fn overwrite_makes_earlier_content_dead_and_its_writer_is_culled() {
    let gpu = gpu();
    let a = storage(&gpu, 16);
    let ran = Arc::new(AtomicU32::new(0));
    let mut frame = gpu.begin_frame().unwrap();
    let counter = ran.clone();
    frame.pass("dead").overwrite(&a, W).record(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    set(&mut frame, "alive", a.id(), 2);
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&ran), 1, "a culled pass's closure is dropped");
    assert_eq!(dump.totals.culled, 1);
    assert!(dump.to_text().contains("dead"));
    assert_eq!(contents(&gpu, &a, 4), [2; 4]);
}

#[test]
fn modify_works_in_place_on_ranges() {
    let gpu = gpu();
    let a = filled(&gpu, &[1, 2, 3, 4]);
    let mut frame = gpu.begin_frame().unwrap();
    add(&mut frame, "front", a.id().slice(..8), 10);
    add(&mut frame, "back", a.id().slice(8..), 20);
    add(&mut frame, "middle", a.id().slice(4..=11), 100);
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!(contents(&gpu, &a, 4), [11, 112, 123, 24]);
    // Front and back touch different bytes: they share a level. One barrier for the earlier frame, one for the middle.
    assert_eq!(dump.totals.barrier_calls, 2, "{}", dump.to_text());
    assert_clean(&gpu);
}

#[test]
fn two_reads_with_different_stages_each_see_the_write() {
    use memkit_gpu::{Access, MkBufferUsage};
    let gpu = gpu();
    let usage = MkBufferUsage::STORAGE | MkBufferUsage::VERTEX | MkBufferUsage::UNIFORM;
    let a = gpu.create_device_buffer(16, usage).unwrap();
    let reads = [
        Access::VERTEX_ATTRIBUTE_READ,
        Access::COMPUTE_UNIFORM_READ,
        Access::FRAGMENT_STORAGE_READ,
        Access::COMPUTE_STORAGE_READ,
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let mut frame = gpu.begin_frame().unwrap();
        set(&mut frame, "write", a.id(), 7);
        for i in order {
            let id = a.id();
            frame.pass("read").read(&a, reads[i]).side_effects().record(move |cx| {
                cx.dispatch(move |mem| {
                    assert_eq!(*mem.read::<u32>(id)?, [7; 4]);
                    Ok(())
                });
                Ok(())
            });
        }
        frame.submit().unwrap();
        assert_clean(&gpu);
    }
}

#[test]
fn graphics_read_then_compute_then_graphics_read_runs() {
    use memkit_gpu::Access;
    let gpu = gpu();
    let a = filled(&gpu, &[1; 4]);
    let mut frame = gpu.begin_frame().unwrap();
    for pass in 0..3 {
        frame
            .pass("draw")
            .on(Queue::Graphics)
            .read(&a, Access::FRAGMENT_STORAGE_READ)
            .side_effects()
            .record(|_| Ok(()));
        if pass == 1 {
            frame.pass("compute").on(Queue::Compute).read(&a, R).side_effects().record(|_| Ok(()));
        } else {
            add(&mut frame, "compute", a.id(), 1);
        }
    }
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &a, 4), [3; 4]);
    assert_clean(&gpu);
}

#[test]
fn of_overlapping_uploads_the_later_bytes_win() {
    let gpu = gpu();
    let a = storage(&gpu, 32);
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&a, 0, &[1u32; 8]).unwrap();
    frame.upload(&a, 8, &[2u32; 4]).unwrap();
    frame.upload(&a, 4, &[3u32; 2]).unwrap();
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!(contents(&gpu, &a, 8), [1, 3, 3, 2, 2, 2, 1, 1]);
    assert_eq!(dump.totals.copy_commands, 1);
    assert_clean(&gpu);
}

#[test]
fn an_upload_between_two_readers_comes_between_them() {
    let gpu = gpu();
    let a = filled(&gpu, &[1]);
    let (b, c) = (storage(&gpu, 4), storage(&gpu, 4));
    let mut frame = gpu.begin_frame().unwrap();
    frame.copy(&a, &b);
    frame.upload(&a, 0, &[2u32]).unwrap();
    frame.copy(&a, &c);
    frame.upload(&a, 0, &[3u32]).unwrap();
    frame.submit().unwrap();
    let all = [&a, &b, &c].map(|x| contents(&gpu, x, 1)[0]);
    assert_eq!(all, [3, 1, 2]);
    assert_clean(&gpu);
}

#[test]
fn adjacent_uploads_become_one_region_and_scattered_ones_one_command() {
    let gpu = gpu();
    let a = storage(&gpu, 4000);
    let mut frame = gpu.begin_frame().unwrap();
    for i in 0..1000usize {
        frame.upload(&a, 4 * i, &[i as u32]).unwrap();
    }
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!((dump.totals.uploads, dump.totals.copy_commands, dump.totals.regions), (1000, 1, 1));
    let mut frame = gpu.begin_frame().unwrap();
    for i in 0..100usize {
        frame.upload(&a, 40 * i, &[1u32]).unwrap();
    }
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!((dump.totals.copy_commands, dump.totals.regions), (1, 100));
    assert_eq!(contents(&gpu, &a, 12), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 11]);
    assert_clean(&gpu);
}

#[test]
fn uploads_of_odd_sizes_and_alignments_arrive() {
    let gpu = gpu();
    let a = storage(&gpu, 64);
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(&a, 0);
    frame.upload(&a, 1, &[1u8, 2, 3]).unwrap();
    frame.upload(&a, 7, &[u64::MAX]).unwrap();
    frame.upload(a.slice(32..40), 1, &[5u16, 6]).unwrap();
    let back = frame.readback::<u8>(&a, 0..64).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    let mut expected = [0u8; 64];
    expected[1..4].copy_from_slice(&[1, 2, 3]);
    expected[7..15].fill(0xFF);
    (expected[33], expected[35]) = (5, 6);
    back.try_read(|v| assert_eq!(v, expected)).unwrap();
    assert_clean(&gpu);
}

#[test]
fn fills_and_copies_of_ranges() {
    let gpu = gpu();
    let a = storage(&gpu, 32);
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(&a, 1);
    frame.fill(a.slice(8..16), 2);
    frame.copy(a.slice(8..16), a.slice(24..32));
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &a, 8), [1, 1, 2, 2, 1, 1, 2, 2]);
    assert_clean(&gpu);
}

#[test]
fn transients_live_inside_the_frame_and_their_memory_is_used_again() {
    let gpu = gpu();
    let out = storage(&gpu, 64);
    let mut count = None;
    for n in 0..20u32 {
        let mut frame = gpu.begin_frame().unwrap();
        let (x, y) = (frame.transient("x", 64), frame.transient("y", 64));
        set(&mut frame, "x", x, n);
        frame.copy(x, y);
        add(&mut frame, "y", y, 1);
        frame.copy(y, &out);
        frame.submit().unwrap();
        assert_eq!(contents(&gpu, &out, 16), [n + 1; 16]);
        let now = gpu.backend().buffer_count();
        assert_eq!(*count.get_or_insert(now), now);
    }
    assert_clean(&gpu);
}

#[test]
fn a_frame_that_stays_open_for_long_finds_its_transients() {
    let gpu = gpu();
    let out = storage(&gpu, 64);
    let mut late = gpu.begin_frame().unwrap();
    let (x, y) = (late.transient("x", 64), late.transient("y", 6400));
    set(&mut late, "x", x, 3);
    late.copy(x, y.slice(..64));
    late.copy(y.slice(..64), &out);
    let (g, out_ref) = (&gpu, &out);
    late.pass("others meanwhile").side_effects().record(move |_| {
        for _ in 0..40 {
            let mut frame = g.begin_frame()?;
            let t = frame.transient("t", 64);
            frame.fill(t, 1);
            frame.copy(t, out_ref);
            frame.submit()?;
        }
        g.wait_idle()?;
        drop(storage(g, 4));
        Ok(())
    });
    for _ in 0..40 {
        gpu.begin_frame().unwrap().submit().unwrap();
    }
    late.submit().unwrap();
    assert_eq!(contents(&gpu, &out, 16), [3; 16]);
    assert_clean(&gpu);
}

#[test]
fn persistent_state_is_carried_from_frame_to_frame() {
    let gpu = gpu();
    let a = filled(&gpu, &[0; 4]);
    for _ in 0..50 {
        let mut frame = gpu.begin_frame().unwrap();
        add(&mut frame, "step", a.id(), 1);
        frame.submit().unwrap();
    }
    assert_eq!(contents(&gpu, &a, 4), [50; 4]);
    assert_clean(&gpu);
}

#[test]
fn begin_frame_waits_only_for_the_frame_that_many_before() {
    for in_flight in 1..=3 {
        let gpu = gpu_with(MkGpuConfig { frames_in_flight: in_flight, ..Default::default() });
        let a = storage(&gpu, 4);
        gpu.backend().pause();
        for n in 0..in_flight {
            let mut frame = gpu.begin_frame().unwrap();
            set(&mut frame, "work", a.id(), n as u32);
            frame.submit().unwrap();
        }
        std::thread::scope(|s| {
            let next = s.spawn(|| gpu.begin_frame().map(drop));
            std::thread::sleep(Duration::from_millis(15));
            assert!(!next.is_finished(), "{in_flight} in flight: one more must wait");
            gpu.backend().resume();
            next.join().unwrap().unwrap();
        });
        assert_clean(&gpu);
    }
}

#[test]
fn frames_in_flight_of_zero_count_as_one() {
    let gpu = gpu_with(MkGpuConfig { frames_in_flight: 0, ..Default::default() });
    for _ in 0..3 {
        gpu.begin_frame().unwrap().submit().unwrap();
    }
    assert_clean(&gpu);
}

#[test]
fn closures_of_a_dropped_frame_are_dropped_and_not_run() {
    let gpu = gpu();
    let held = Arc::new(());
    let mut frame = gpu.begin_frame().unwrap();
    for _ in 0..10 {
        let held = held.clone();
        frame.pass("never").side_effects().record(move |_| {
            drop(held);
            panic!("it ran");
        });
    }
    drop(frame);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(gpu.backend().submissions(), 0);
}

#[test]
fn order_puts_unrelated_passes_one_behind_the_other() {
    let gpu = gpu();
    let (a, b) = (storage(&gpu, 4), storage(&gpu, 4));
    let mut frame = gpu.begin_frame().unwrap();
    let second = set(&mut frame, "second", a.id(), 1);
    let first = set(&mut frame, "first", b.id(), 1);
    frame.order(first, second);
    let (_, dump) = frame.submit_and_dump().unwrap();
    let level = |name: &str| dump.nodes[dump.find(name).unwrap() as usize].level.unwrap();
    assert!(level("first") < level("second"), "{}", dump.to_text());
    let mut frame = gpu.begin_frame().unwrap();
    let x = set(&mut frame, "x", a.id(), 1);
    let y = set(&mut frame, "y", b.id(), 1);
    frame.order_with(x, W, y, R);
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert!(dump.explain_text(dump.find("x").unwrap(), dump.find("y").unwrap()).contains('y'));
    assert_clean(&gpu);
}

#[test]
fn side_effects_keep_a_pass_and_what_it_needs() {
    let gpu = gpu();
    let mut frame = gpu.begin_frame().unwrap();
    let t = frame.transient("t", 16);
    set(&mut frame, "needed", t, 1);
    frame.pass("print").read(t, R).side_effects().record(|_| Ok(()));
    let u = frame.transient("u", 16);
    set(&mut frame, "useless", u, 1);
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!(dump.totals.culled, 1);
    let stats = gpu.frame_stats();
    assert_eq!((stats.passes, stats.culled), (3, 1));
    assert_clean(&gpu);
}

#[test]
fn an_empty_frame_is_submitted_all_the_same() {
    let gpu = gpu();
    let mut frame = gpu.begin_frame().unwrap();
    frame.set_name("nothing");
    let (fence, dump) = frame.submit_and_dump().unwrap();
    fence.wait().unwrap();
    assert_eq!((dump.name.as_str(), fence.value()), ("nothing", 1));
}

#[test]
fn a_flush_of_transfers_leaves_the_frames_figures_alone() {
    let gpu = gpu();
    let (a, b) = (storage(&gpu, 16), storage(&gpu, 16));
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&a, 0, &[1u32; 4]).unwrap();
    frame.submit().unwrap();
    let stats = gpu.frame_stats();
    assert_eq!((stats.uploads, stats.staged_bytes), (1, 16));
    gpu.transfer(&a, &b).unwrap();
    gpu.flush().unwrap();
    assert_eq!(gpu.frame_stats(), stats);
}

/// Found by the fuzzer: a whole transient was taken for the whole buffer behind it, which may be larger.
#[test]
fn a_whole_transient_ends_where_it_was_declared_to_whatever_is_behind_it() {
    let gpu = gpu();
    for size in [4096, 2560] {
        let mut frame = gpu.begin_frame().unwrap();
        let t = frame.transient("t", size);
        frame.upload(t, 0, &vec![7u32; size / 4]).unwrap();
        frame.pass("look").read(t, R).side_effects().record(move |cx| {
            assert_eq!(cx.resolve(t)?.size, size as u64);
            cx.dispatch(move |mem| {
                assert_eq!(mem.read::<u32>(t)?.len(), size / 4);
                Ok(())
            });
            Ok(())
        });
        frame.submit().unwrap();
    }
    assert_clean(&gpu);
}
