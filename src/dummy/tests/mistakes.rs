//! Mistakes other than a missing barrier, each reported with what it takes to find it; and what goes wrong with the bytes.

use super::*;
use Access as A;

#[test]
fn a_skipped_barrier_gives_a_report_and_wrong_bytes() {
    let go = |skip_barrier| {
        let mut rig = Rig::with(DummyBackendConfig { skip_barrier, ..Default::default() });
        let (a, b, host) = (rig.buffer("a", 16), rig.buffer("b", 16), rig.host("host", 16));
        let f = rig.frame().fill(a, 0..16, 0x0101_0101).barrier(A::FILL_WRITE, A::COPY_READ);
        let f = f.copy(a, b, &[(0, 0, 16)]).barrier(A::COPY_WRITE, A::COPY_READ);
        let f = f.copy(b, host, &[(0, 0, 16)]).barrier(A::COPY_WRITE, A::HOST_READ).host_read(host, 0..16);
        rig.run(f);
        assert_eq!(rig.backend.barrier_calls(), 3);
        (rig.backend.take_hazards(), rig.peek(host))
    };
    let (hazards, bytes) = go(None);
    assert!(hazards.is_empty());
    assert_eq!(bytes, [1; 16]);
    for skip in 0..3 {
        let (hazards, bytes) = go(Some(skip));
        assert_eq!(hazards.len(), 1, "{hazards:?}");
        assert_eq!(bytes, [0xDB; 16], "barrier {skip}");
    }
    assert!(go(Some(3)).0.is_empty());
}

#[test]
fn a_kernel_reads_poison_where_a_barrier_is_missing() {
    let mut rig = Rig::new();
    let (a, out) = (rig.buffer("a", 16), rig.buffer("out", 16));
    let (from, to) = (rig.whole(a), rig.whole(out));
    let f = rig.frame().fill(a, 0..16, 0x0202_0202).barrier(A::FILL_WRITE, A::VERTEX_STORAGE_READ);
    let uses = [
        (a, 0..16, A::COMPUTE_STORAGE_READ, Mode::Read),
        (out, 0..16, A::COMPUTE_STORAGE_WRITE, Mode::Overwrite),
    ];
    rig.run(f.kernel("copy", &uses, move |mem| {
        mem.write::<u8>(to)?.copy_from_slice(&mem.read::<u8>(from)?);
        Ok(())
    }));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "fill a", "copy");
    assert_eq!(rig.peek(out), [0xDB; 16]);
    // What is in memory is not touched by a reader.
    assert_eq!(rig.peek(a), [2; 16]);
}

#[test]
fn racing_writes_leave_undefined_bytes() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    rig.run(rig.frame().fill(a, 0..16, 1).fill(a, 8..16, 2));
    let h = rig.only(MkHazardKind::WriteAfterWrite);
    names(&h, "fill a", "fill a");
    assert_eq!(h.range, 8..16);
    assert_eq!(rig.peek(a)[7..9], [0, 0xDB]);
}

#[test]
fn bytes_nobody_wrote_are_reported() {
    let mut rig = Rig::new();
    let (a, host) = (rig.buffer("a", 16), rig.host("host", 16));
    rig.run(rig.frame().fill(a, 0..8, 0).barrier(A::FILL_WRITE, A::COPY_READ).copy(a, host, &[(0, 0, 16)]));
    let h = rig.only(MkHazardKind::Uninitialized);
    assert_eq!((h.range.clone(), &h.first), (8..16, &None));
    assert!(h.to_string().contains("copy from `a` to `host` in submission 1"), "{h}");
    assert_eq!(rig.peek(host)[8..], [0xCD; 8]);
}

#[test]
fn transient_bytes_do_not_live_on() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let transient = |mut f: Frame, access, mode| {
        let id = f.graph.transient("t", 16);
        f.schedule.resources[a] = id.into();
        let node = f.graph.pass("p").access(id.into(), access, mode).finish().index();
        f.command(Command::Pass(node as u32))
    };
    rig.run(transient(rig.frame(), A::COMPUTE_STORAGE_WRITE, Mode::Overwrite));
    rig.clean();
    let f = rig.frame().barrier(A::COMPUTE_STORAGE_WRITE, A::COMPUTE_STORAGE_READ);
    rig.run(transient(f, A::COMPUTE_STORAGE_READ, Mode::Read));
    rig.only(MkHazardKind::Uninitialized);
}

#[test]
fn overlapping_regions_are_reported() {
    let mut rig = Rig::new();
    let (a, host) = (rig.buffer("a", 64), rig.host("host", 64));
    rig.run(rig.frame().copy(host, a, &[(0, 0, 32), (32, 24, 16)]));
    let h = rig.only(MkHazardKind::OverlappingRegions);
    assert_eq!((&*h.buffer, h.range.clone()), ("a", 24..32));
    assert!(h.to_string().contains("`host`"), "{h}");

    let host = rig.host("host", 64);
    rig.run(rig.frame().copy(host, host, &[(0, 16, 32)]));
    let h = rig.only(MkHazardKind::OverlappingRegions);
    assert_eq!((&*h.buffer, h.range), ("host", 16..32));
}

#[test]
fn bytes_beyond_the_end_are_reported_and_left_out() {
    let mut rig = Rig::new();
    let (a, host) = (rig.buffer("a", 16), rig.host("host", 64));
    rig.run(rig.frame().copy(host, a, &[(0, 8, 16)]));
    let h = rig.only(MkHazardKind::OutOfBounds);
    assert_eq!((&*h.buffer, h.range.clone()), ("a", 8..24));
    assert!(h.to_string().contains("copy from `host` to `a`"), "{h}");
    rig.run(rig.frame().fill(a, 0..32, 0));
    rig.only(MkHazardKind::OutOfBounds);
    rig.run(rig.frame().copy(host, a, &[(u64::MAX, 0, 16)]));
    rig.only(MkHazardKind::OutOfBounds);
    rig.run(rig.frame().write("p", a, 0..32, A::COMPUTE_STORAGE_WRITE));
    let h = rig.only(MkHazardKind::OutOfBounds);
    assert!(h.to_string().contains("pass `p`"), "{h}");
    assert_eq!(rig.peek(a), [0xCD; 16]);
}

#[test]
fn a_crooked_fill_is_reported() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    rig.run(rig.frame().fill(a, 2..6, 0));
    rig.only(MkHazardKind::Misaligned);
    assert_eq!(rig.peek(a), [0xCD; 16]);
}

#[test]
fn a_buffer_destroyed_under_its_work_is_reported() {
    let mut rig = Rig::new();
    let (a, b) = (rig.buffer("a", 16), rig.buffer("b", 16));
    rig.backend.pause();
    let value = rig.submit(rig.frame().fill(a, 0..16, 0));
    // SAFETY: the contract is broken on purpose; the recording keeps the memory.
    unsafe { rig.backend.destroy_buffer(rig.buffers[a]) };
    let h = rig.backend.hazards();
    assert!(h.iter().all(|h| h.kind == MkHazardKind::UseAfterFree && h.range == (0..16)));
    assert_eq!(h.iter().map(|h| &*h.buffer).collect::<Vec<_>>(), ["a"]);
    names(&h[0], "submission", "destroy");
    rig.backend.resume();
    assert!(rig.backend.wait(value, Duration::MAX).unwrap());

    // The host knows that `b` is idle: it waited.
    let b = rig.buffers[b];
    // SAFETY: nothing uses it.
    unsafe { rig.backend.destroy_buffer(b) };
    assert_eq!(rig.backend.take_hazards().len(), 1);
    assert!(matches!(rig.record(&mut rig.frame()), Err(MkError::Backend { .. })));
    assert_eq!((rig.backend.buffer_count(), rig.backend.total_allocated()), (0, 0));
}

#[test]
fn a_buffer_destroyed_before_its_submit_is_reported() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let recording = rig.record(&mut rig.frame().fill(a, 0..16, 0)).unwrap();
    // SAFETY: the contract is broken on purpose; the recording keeps the memory.
    let value = unsafe {
        rig.backend.destroy_buffer(rig.buffers[a]);
        rig.backend.submit(recording, false).unwrap()
    };
    assert!(rig.backend.wait(value, Duration::MAX).unwrap());
    names(&rig.only(MkHazardKind::UseAfterFree), "destroy", "submission");
}

#[test]
fn staging_written_again_too_early_is_reported() {
    let mut rig = Rig::new();
    let (a, staging) = (rig.buffer("a", 16), rig.host("staging", 16));
    rig.poke(staging, 0, &[1; 16]);
    rig.run(rig.frame().copy(staging, a, &[(0, 0, 16)]));
    // Waited for: fine.
    rig.poke(staging, 0, &[2; 16]);
    let again = || rig.frame().barrier(A::COPY_WRITE, A::COPY_WRITE).copy(staging, a, &[(0, 0, 16)]);
    rig.backend.pause();
    rig.submit(again());
    rig.poke(staging, 4, &[3; 4]);
    rig.backend.resume();
    rig.run(again());
    let h = rig.only(MkHazardKind::HostWriteInUse);
    names(&h, "staging->a", "host write");
    assert_eq!((&*h.buffer, h.range), ("staging", 4..8));
    assert_eq!(rig.peek(a)[3..5], [2, 3]);
}

#[test]
fn host_writes_need_no_barrier() {
    let mut rig = Rig::new();
    let (a, host) = (rig.buffer("a", 16), rig.host("host", 16));
    // The device writes the memory, the host reads and writes it again, the device reads.
    let f = rig.frame().fill(a, 0..16, 1).barrier(A::FILL_WRITE, A::COPY_READ).copy(a, host, &[(0, 0, 16)]);
    rig.run(f.barrier(A::COPY_WRITE, A::HOST_READ).host_read(host, 0..16));
    rig.poke(host, 0, &[5; 16]);
    let f = rig.frame().barrier(A::COPY_READ, A::COPY_WRITE).barrier(A::FILL_WRITE, A::COPY_WRITE);
    rig.run(f.copy(host, a, &[(0, 0, 16)]));
    rig.clean();
    assert_eq!(rig.peek(a), [5; 16]);
}

#[test]
fn reports_are_bounded_and_counted() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let mut f = rig.frame();
    for _ in 0..1500 {
        f = f.fill(a, 0..16, 0);
    }
    rig.run(f);
    assert_eq!(rig.backend.hazard_count(), 1499);
    assert_eq!(rig.backend.take_hazards().len(), 1000);
    assert_eq!(rig.backend.hazard_count(), 0);
}

#[test]
fn without_the_check_nothing_is_reported() {
    let mut rig = Rig::with(DummyBackendConfig { check: false, ..Default::default() });
    let (a, host) = (rig.buffer("a", 16), rig.host("host", 16));
    rig.run(rig.frame().fill(a, 0..16, 0x0303_0303).copy(a, host, &[(0, 0, 16)]).host_read(host, 0..16));
    rig.clean();
    assert_eq!(rig.peek(host), [3; 16]);
}

#[test]
fn an_explicit_order_is_held_to_all_that_both_declare() {
    let mut rig = Rig::new();
    let (a, b) = (rig.buffer("a", 16), rig.buffer("b", 16));
    let go = |barrier: Option<(Access, Access)>, backwards: bool| {
        let mut f = rig.frame().write("one", a, 0..16, A::COMPUTE_STORAGE_WRITE);
        if let Some((from, to)) = barrier {
            f = f.barrier(from, to);
        }
        f = f.write("two", b, 0..16, A::FRAGMENT_STORAGE_WRITE);
        let (one, two) = (f.graph.pass_id(0).unwrap(), f.graph.pass_id(1).unwrap());
        if backwards {
            f.graph.order(two, one)
        } else {
            f.graph.order(one, two)
        }
        let recording = rig.record(&mut f).unwrap();
        // SAFETY: the rig's buffers outlive its work. Everything before is over: only the order can be wrong.
        let value = unsafe { rig.backend.submit(recording, true).unwrap() };
        assert!(rig.backend.wait(value, Duration::from_secs(20)).unwrap());
    };
    go(Some((A::COMPUTE_STORAGE_WRITE, A::FRAGMENT_STORAGE_WRITE)), false);
    rig.clean();
    go(None, false);
    names(&rig.only(MkHazardKind::OrderViolated), "one", "two");
    // Execution alone shows nothing to the later pass.
    go(Some((execution(A::COMPUTE_STORAGE_WRITE), execution(A::FRAGMENT_STORAGE_WRITE))), false);
    names(&rig.only(MkHazardKind::OrderViolated), "one", "two");
    go(None, true);
    names(&rig.only(MkHazardKind::OrderViolated), "two", "one");
}
