//! Ownership transfers between queue families, in command lists made by hand: whole ones are clean, each half alone is
//! reported.

use super::*;
use Access as A;
use memkit_graph::OwnershipTransfer;

fn rig() -> Rig {
    Rig::with(DummyBackendConfig { queue_families: 3, ..Default::default() })
}

/// Moves the commands of a frame to the queue of a family.
fn on(family: usize, mut f: Frame) -> Frame {
    let commands = std::mem::take(&mut f.schedule.queues[0]);
    f.schedule.queues.resize_with(3, CommandList::default);
    f.schedule.queues[family] = commands;
    f
}

/// A barrier call that is one half of a transfer.
fn half(f: Frame, buffer: usize, range: Range<u64>, from: u32, to: u32) -> Frame {
    let mut f = f.barriers(&[]);
    f.schedule.transfers.push(OwnershipTransfer {
        call: f.schedule.barriers.len() as u32 - 1,
        buffer: BufferRef::Local(buffer as u32),
        range,
        from,
        to,
        dependency: BarrierEntry {
            src_stages: A::COPY_WRITE.stages,
            src_access: A::COPY_WRITE.access,
            dst_stages: A::COPY_READ.stages,
            dst_access: A::COPY_READ.access,
        },
    });
    f
}

fn use_it(f: Frame, buffer: usize) -> Frame {
    f.fill(buffer, 0..64, 1)
}

/// Fills on family 0 and releases the first half to family 1.
fn released() -> (Rig, usize) {
    let mut rig = rig();
    let b = rig.buffer("b", 64);
    rig.run(on(0, half(use_it(rig.frame(), b), b, 0..32, 0, 1)));
    rig.clean();
    (rig, b)
}

#[test]
fn both_halves_that_match_are_clean() {
    let (rig, b) = released();
    rig.run(on(1, half(rig.frame(), b, 0..32, 0, 1).fill(b, 0..32, 2)));
    // And back; bytes that no transfer named are anybody's all the while.
    rig.run(on(1, half(rig.frame(), b, 0..32, 1, 0).fill(b, 32..64, 3)));
    rig.run(on(0, use_it(half(rig.frame(), b, 0..32, 1, 0), b)));
    rig.clean();
}

#[test]
fn a_release_without_its_acquire_is_reported() {
    let (rig, b) = released();
    rig.run(on(1, use_it(rig.frame(), b)));
    let h = rig.only(MkHazardKind::NotAcquired);
    names(&h, "release 0->1", "fill b");
    assert_eq!(h.range, 0..32);
}

#[test]
fn an_acquire_without_its_release_is_reported() {
    let mut rig = rig();
    let b = rig.buffer("b", 64);
    rig.run(on(1, use_it(half(rig.frame(), b, 0..32, 0, 1), b)));
    let h = rig.only(MkHazardKind::NotReleased);
    assert!(h.to_string().contains("acquire from family 0 by 1 in submission 1"), "{h}");

    // A second time, too: it was released once.
    let (rig, b) = released();
    rig.run(on(1, half(rig.frame(), b, 0..32, 0, 1)));
    rig.clean();
    rig.run(on(1, half(rig.frame(), b, 0..32, 0, 1)));
    names(&rig.only(MkHazardKind::NotReleased), "acquire 0->1", "acquire 0->1");
}

#[test]
fn halves_that_differ_are_reported() {
    for (range, from, to) in [(0..16, 0, 1), (0..48, 0, 1), (0..32, 0, 2), (0..32, 2, 1)] {
        let (rig, b) = released();
        rig.run(on(to as usize, half(rig.frame(), b, range.clone(), from, to)));
        let h = rig.only(MkHazardKind::OwnershipMismatch);
        names(&h, "release 0->1", &format!("acquire {from}->{to}"));
        assert_eq!(h.range, range);
    }
}

#[test]
fn who_does_not_own_the_bytes_must_not_use_them() {
    // The family that gave them up, before and after the other took them.
    let (rig, b) = released();
    rig.run(on(0, use_it(rig.frame().barrier(A::FILL_WRITE, A::FILL_WRITE), b)));
    names(&rig.only(MkHazardKind::NotOwned), "release 0->1", "fill b");
    rig.run(on(1, half(rig.frame(), b, 0..32, 0, 1)));
    rig.run(on(0, use_it(rig.frame(), b)));
    names(&rig.only(MkHazardKind::NotOwned), "acquire 0->1", "fill b");

    // Nor give them away.
    let (rig, b) = released();
    rig.run(on(0, half(rig.frame(), b, 0..32, 0, 2)));
    names(&rig.only(MkHazardKind::NotOwned), "release 0->1", "release 0->2");

    // A queue at neither end has no half to do.
    let (rig, b) = released();
    rig.run(on(2, half(rig.frame(), b, 0..32, 0, 1)));
    let h = rig.only(MkHazardKind::NotOwned);
    assert!(h.first.is_none() && h.range == (0..32), "{h}");
}

#[test]
fn a_semaphore_orders_queues_and_an_adversary_keeps_to_it() {
    for seed in 0..16 {
        let config = DummyBackendConfig { queue_families: 2, adversary: Some(seed), ..Default::default() };
        let mut rig = Rig::with(config);
        let (a, out) = (rig.buffer("a", 64), rig.buffer("out", 64));
        rig.submit(on(0, use_it(rig.frame(), a)));
        rig.run(on(1, rig.frame().copy(a, out, &[(0, 0, 64)])));
        rig.clean();
        assert_eq!(rig.peek(out), [1, 0, 0, 0].repeat(16));
    }
}

#[test]
fn a_queue_the_device_has_not_is_an_error() {
    let mut one = Rig::new();
    let b = one.buffer("b", 64);
    assert!(matches!(one.record(&mut on(1, use_it(one.frame(), b))), Err(MkError::Backend { .. })));
    let mut three = rig();
    let b = three.buffer("b", 64);
    let mut both = on(1, use_it(three.frame(), b));
    both.schedule.queues[0] = both.schedule.queues[1].clone();
    assert!(matches!(three.record(&mut both), Err(MkError::Backend { .. })));
}
