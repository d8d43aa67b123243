//! What counts as synchronised, and what does not.

use super::*;
use Access as A;

const CW: Access = A::COMPUTE_STORAGE_WRITE;
const CR: Access = A::COMPUTE_STORAGE_READ;
const VR: Access = A::VERTEX_ATTRIBUTE_READ;
const FR: Access = A::FRAGMENT_STORAGE_READ;

/// A rig with one buffer of 64 bytes, and an empty frame.
fn one() -> (Rig, usize, Frame) {
    let mut rig = Rig::new();
    let b = rig.buffer("b", 64);
    let frame = rig.frame();
    (rig, b, frame)
}

#[test]
fn a_read_behind_the_right_barrier_is_clean() {
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).barrier(CW, VR).read("r", b, 0..64, VR));
    rig.clean();
}

#[test]
fn a_read_after_a_write_needs_a_barrier() {
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).read("r", b, 16..32, VR));
    let h = rig.only(MkHazardKind::ReadAfterWrite);
    names(&h, "w", "r");
    assert_eq!((&*h.buffer, h.range.clone()), ("b", 16..32));
    let mend = h.mend.unwrap();
    assert_eq!((mend.src_stages, mend.src_access), (CW.stages, CW.access));
    assert_eq!((mend.dst_stages, mend.dst_access), (VR.stages, VR.access));
}

#[test]
fn the_barrier_a_report_proposes_mends_it() {
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).read("r", b, 0..64, VR | FR));
    let mend = rig.only(MkHazardKind::ReadAfterWrite).mend.unwrap();
    let between =
        (Access::new(mend.src_stages, mend.src_access), Access::new(mend.dst_stages, mend.dst_access));
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).barrier(between.0, between.1).read("r", b, 0..64, VR | FR));
    rig.clean();
}

#[test]
fn an_umbrella_stands_for_the_stages_of_the_device() {
    use memkit_graph::{AccessFlags, Stages};
    let graphics = A::new(Stages::ALL_GRAPHICS, AccessFlags::SHADER_STORAGE_READ);
    let drawn = A::VERTEX_STORAGE_READ | FR;
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).barrier(CW, drawn).read("r", b, 0..64, graphics));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r");

    let stages = Stages::all() - Stages::OPTIONAL;
    let mut rig = Rig::with(DummyBackendConfig { stages, ..Default::default() });
    let b = rig.buffer("b", 64);
    rig.run(rig.frame().write("w", b, 0..64, CW).barrier(CW, drawn).read("r", b, 0..64, graphics));
    rig.clean();
    let c = rig.buffer("c", 64);
    rig.run(rig.frame().write("w", c, 0..64, CW).barrier(CW, FR).read("r", c, 0..64, graphics));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r");
    let geometry = A::new(Stages::GEOMETRY_SHADER, AccessFlags::SHADER_STORAGE_READ);
    let error = rig.record(&mut rig.frame().barrier(CW, geometry)).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("a stage this device does not run"), "{why}");
}

#[test]
fn disjoint_bytes_need_nothing() {
    let (rig, b, f) = one();
    rig.run(f.write("w1", b, 0..32, CW).write("w2", b, 32..64, CW).barrier(CW, CR).read("r", b, 0..64, CR));
    rig.clean();
}

#[test]
fn two_reads_need_nothing() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barriers(&[(CW, CR), (CW, VR)]);
    rig.run(f.read("r1", b, 0..64, CR).read("r2", b, 0..64, VR));
    rig.clean();
}

#[test]
fn an_execution_dependency_alone_makes_nothing_available() {
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW).barrier(execution(CW), VR).read("r", b, 0..64, VR));
    names(&rig.only(MkHazardKind::NotAvailable), "w", "r");
}

#[test]
fn a_second_reader_of_another_stage_is_reported() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, CR).read("r1", b, 0..64, CR);
    rig.run(f.barrier(execution(CR), execution(VR)).read("r2", b, 0..64, VR));
    let h = rig.only(MkHazardKind::NotVisible);
    names(&h, "w", "r2");
    // It is available already, and a source without accesses would do here; what is proposed does anywhere between.
    let mend = h.mend.unwrap();
    assert_eq!((mend.src_stages, mend.src_access), (CW.stages, CW.access));
    assert_eq!((mend.dst_stages, mend.dst_access), (VR.stages, VR.access));
}

#[test]
fn a_second_reader_without_even_an_order_is_reported() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, CR).read("r1", b, 0..64, CR);
    rig.run(f.read("r2", b, 0..64, VR));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r2");
}

#[test]
fn a_second_reader_of_the_same_stage_and_another_access_is_reported() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, CR).read("r1", b, 0..64, CR);
    rig.run(f.read("r2", b, 0..64, A::COMPUTE_UNIFORM_READ));
    names(&rig.only(MkHazardKind::NotVisible), "w", "r2");
}

#[test]
fn a_chain_carries_an_available_write_on() {
    let (mut rig, b, _) = one();
    let staging = rig.host("staging", 64);
    let f = rig.frame().copy(staging, b, &[(0, 0, 64)]).barrier(A::COPY_WRITE, CR);
    // The second barrier names no access in its source: the copy is available since the first.
    rig.run(f.read("r1", b, 0..64, CR).barrier(execution(CR), FR).read("r2", b, 0..64, FR));
    rig.clean();
}

#[test]
fn a_chain_carries_no_availability() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(execution(CW), execution(A::COPY_READ));
    // COMPUTE is not named by the second, so the write does not become available.
    rig.run(f.barrier(A::COPY_WRITE, FR).read("r", b, 0..64, FR));
    names(&rig.only(MkHazardKind::NotAvailable), "w", "r");
}

#[test]
fn a_chain_ends_where_the_stages_do_not_meet() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, CR);
    rig.run(f.barrier(execution(A::COPY_READ), FR).read("r", b, 0..64, FR));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r");
}

#[test]
fn entries_of_one_call_do_not_chain() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW);
    rig.run(f.barriers(&[(CW, VR), (execution(VR), FR)]).read("r", b, 0..64, FR));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r");

    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, VR);
    rig.run(f.barrier(execution(VR), FR).read("r", b, 0..64, FR));
    rig.clean();
}

#[test]
fn entries_of_one_call_do_not_share_their_availability() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW);
    rig.run(f.barriers(&[(CW, VR), (execution(CW), FR)]).read("r", b, 0..64, FR));
    // The call made it available, for later ones.
    names(&rig.only(MkHazardKind::NotVisible), "w", "r");
}

#[test]
fn a_write_after_a_write_needs_memory_too() {
    let (rig, b, f) = one();
    rig.run(f.write("w1", b, 0..64, CW).write("w2", b, 0..64, CW));
    names(&rig.only(MkHazardKind::WriteAfterWrite), "w1", "w2");

    let (rig, b, f) = one();
    rig.run(f.write("w1", b, 0..64, CW).barrier(execution(CW), execution(CW)).write("w2", b, 0..64, CW));
    names(&rig.only(MkHazardKind::NotAvailable), "w1", "w2");

    let (rig, b, f) = one();
    rig.run(f.write("w1", b, 0..64, CW).barrier(CW, CR).write("w2", b, 0..64, CW));
    names(&rig.only(MkHazardKind::NotVisible), "w1", "w2");

    let (rig, b, f) = one();
    rig.run(f.write("w1", b, 0..64, CW).barrier(CW, CW).write("w2", b, 0..64, CW));
    rig.clean();
}

#[test]
fn a_write_after_a_read_needs_execution_only() {
    let setup = || {
        let (rig, b, f) = one();
        // The write is visible to the copy; only the read is in the way.
        let f = f.write("w", b, 0..64, CW).barriers(&[(CW, VR), (CW, A::COPY_WRITE)]);
        (rig, b, f.read("r", b, 0..64, VR))
    };
    let (mut rig, b, f) = setup();
    rig.run(f);
    let staging = rig.host("staging", 64);
    rig.run(rig.frame().copy(staging, b, &[(0, 0, 32)]));
    let h = rig.only(MkHazardKind::WriteAfterRead);
    names(&h, "r", "staging->b");
    assert_eq!(h.range, 0..32);
    let mend = h.mend.unwrap();
    assert!(mend.src_access.is_empty() && mend.dst_access.is_empty());

    let (mut rig, b, f) = setup();
    rig.run(f);
    let staging = rig.host("staging", 64);
    let f = rig.frame().barrier(execution(VR), execution(A::COPY_WRITE));
    rig.run(f.copy(staging, b, &[(0, 0, 32)]));
    rig.clean();
}

#[test]
fn every_stage_of_a_use_is_held_to_it() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW | A::FRAGMENT_STORAGE_WRITE);
    rig.run(f.barrier(CW, CR).read("r", b, 0..64, CR));
    let h = rig.only(MkHazardKind::ReadAfterWrite);
    assert_eq!(h.mend.unwrap().src_stages, memkit_graph::Stages::FRAGMENT_SHADER);
}

#[test]
fn umbrella_bits_stand_for_what_they_contain() {
    use memkit_graph::{AccessFlags, Stages};
    let (rig, b, f) = one();
    let all = Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ | AccessFlags::MEMORY_WRITE);
    let f = f.write("w", b, 0..64, CW).barrier(all, all);
    rig.run(f.read("r", b, 0..64, VR).barrier(all, all).fill(b, 0..64, 7));
    rig.clean();
    assert_eq!(rig.peek(b), [7, 0, 0, 0].repeat(16));
}

#[test]
fn submissions_are_judged_as_if_the_host_had_not_waited() {
    let (rig, b, f) = one();
    assert_eq!(rig.run(f.write("w", b, 0..64, CW)), 1);
    rig.run(rig.frame().read("r", b, 0..64, CR));
    let h = rig.only(MkHazardKind::ReadAfterWrite);
    names(&h, "w", "r");
    assert_eq!((h.first.unwrap().submission, h.second.submission), (1, 2));
    rig.run(rig.frame().barrier(CW, FR).read("r", b, 0..64, FR));
    rig.clean();
}

#[test]
fn catching_up_is_a_full_barrier() {
    let (rig, b, f) = one();
    rig.run(f.write("w", b, 0..64, CW));
    let recording = rig.record(&mut rig.frame().read("r", b, 0..64, CR)).unwrap();
    // SAFETY: the rig's buffers outlive its work.
    let value = unsafe { rig.backend.submit(recording, true).unwrap() };
    assert!(rig.backend.wait(value, Duration::MAX).unwrap());
    rig.clean();
    assert_eq!(rig.backend.barrier_calls(), 0);
}

#[test]
fn reads_and_writes_of_one_pass_do_not_meet() {
    let (rig, b, f) = one();
    let f = f.write("w", b, 0..64, CW).barrier(CW, A::COMPUTE_STORAGE_READ_WRITE);
    let f = f.uses("m", &[(b, 0..64, CR, Mode::Read), (b, 0..64, CW, Mode::Write)]);
    rig.run(f.barrier(CW, CR).read("r", b, 0..64, CR));
    rig.clean();
}

#[test]
fn a_long_log_changes_nothing() {
    let (rig, b, f) = one();
    let mut f = f.write("w", b, 0..64, CW).barrier(CW, CR);
    for _ in 0..5000 {
        f = f.barrier(execution(VR), execution(VR));
    }
    rig.run(f.read("r", b, 0..32, CR));
    rig.clean();
    rig.run(rig.frame().read("r2", b, 16..48, VR));
    names(&rig.only(MkHazardKind::ReadAfterWrite), "w", "r2");
}

#[test]
fn the_host_sees_what_a_barrier_shows_it() {
    let mut rig = Rig::new();
    let (b, host) = (rig.buffer("b", 64), rig.host("host", 64));
    let f = rig.frame().fill(b, 0..64, 9).barrier(A::FILL_WRITE, A::COPY_READ);
    rig.run(f.copy(b, host, &[(0, 0, 64)]).barrier(A::COPY_WRITE, A::HOST_READ).host_read(host, 0..64));
    rig.clean();
    assert_eq!(rig.peek(host), [9, 0, 0, 0].repeat(16));

    let f = rig.frame().barrier(A::COPY_WRITE, A::COPY_WRITE).copy(b, host, &[(0, 0, 32)]);
    rig.run(f.host_read(host, 0..64));
    let h = rig.only(MkHazardKind::HostReadWithoutDependency);
    names(&h, "b->host", "host read");
    assert_eq!(h.range, 0..32);
    assert_eq!(rig.peek(host)[..33], [&[0xDB; 32][..], &[9]].concat());
}
