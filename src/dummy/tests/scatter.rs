//! Scatters by hand: what they move, and what is wrong with them.

use super::*;
use Access as A;

#[test]
fn bytes_go_to_their_places_in_several_buffers() {
    for adversary in [None, Some(0), Some(1)] {
        let mut rig = Rig::with(DummyBackendConfig { adversary, ..Default::default() });
        let (a, b, up, other) =
            (rig.buffer("a", 8), rig.buffer("b", 4), rig.host("up", 8), rig.host("other", 4));
        rig.poke(up, 0, &[1, 2, 3, 4, 5, 6, 7, 8]);
        rig.poke(other, 0, &[9, 10, 11, 12]);
        rig.run(
            rig.frame()
                .fill(a, 0..8, 0)
                .fill(b, 0..4, 0)
                .barrier(A::FILL_WRITE, A::COMPUTE_STORAGE_WRITE)
                .scatter(&[(up, a, 0, 1, 3), (up, b, 4, 3, 1), (other, a, 1, 4, 2), (up, b, 7, 0, 1)]),
        );
        assert_eq!((rig.peek(a), rig.peek(b)), (vec![0, 1, 2, 3, 10, 11, 0, 0], vec![8, 0, 0, 5]));
        rig.clean();
    }
}

#[test]
fn it_is_the_compute_shader_that_reads_and_writes() {
    let vertices = A::VERTEX_ATTRIBUTE_READ;
    // A copy's barrier does not do.
    for (src, right) in [(A::COPY_WRITE, false), (A::COMPUTE_STORAGE_WRITE, true)] {
        let mut rig = Rig::new();
        let (a, up) = (rig.buffer("a", 8), rig.host("up", 8));
        let f = rig.frame().scatter(&[(up, a, 0, 0, 8)]).barrier(src, vertices);
        rig.run(f.read("draw", a, 0..8, vertices));
        match right {
            true => rig.clean(),
            false => names(&rig.only(MkHazardKind::ReadAfterWrite), "scatter", "draw"),
        }
    }
    for (dst, right) in [(A::COPY_WRITE, false), (A::COMPUTE_STORAGE_WRITE, true)] {
        let mut rig = Rig::new();
        let (a, up) = (rig.host("a", 8), rig.host("up", 8));
        let f = rig.frame().read("draw", a, 0..8, vertices).barrier(execution(vertices), execution(dst));
        rig.run(f.scatter(&[(up, a, 0, 0, 8)]));
        match right {
            true => rig.clean(),
            false => names(&rig.only(MkHazardKind::WriteAfterRead), "draw", "scatter"),
        }
    }
}

#[test]
fn a_source_that_a_copy_wrote_must_be_visible_to_the_shader() {
    for (dst, right) in [(A::COPY_READ, false), (A::COMPUTE_STORAGE_READ, true)] {
        let mut rig = Rig::new();
        let (a, b, up) = (rig.buffer("a", 8), rig.buffer("b", 8), rig.host("up", 8));
        rig.poke(up, 0, &[5; 8]);
        rig.run(
            rig.frame().copy(up, a, &[(0, 0, 8)]).barrier(A::COPY_WRITE, dst).scatter(&[(a, b, 0, 0, 8)]),
        );
        assert_eq!(rig.peek(b) == [5; 8], right, "what it cannot see arrives as something else");
        match right {
            true => rig.clean(),
            false => names(&rig.only(MkHazardKind::ReadAfterWrite), "up->a", "scatter"),
        }
    }
}

#[test]
fn regions_must_not_overlap_nor_leave_their_buffers() {
    let mut rig = Rig::new();
    let (a, b, up) = (rig.buffer("a", 16), rig.buffer("b", 16), rig.host("up", 16));
    rig.run(rig.frame().scatter(&[(up, a, 0, 0, 8), (up, b, 0, 4, 8), (up, a, 0, 7, 2)]));
    let h = rig.only(MkHazardKind::OverlappingRegions);
    assert_eq!((&*h.buffer, h.range), ("a", 7..8));
    let mut rig = Rig::new();
    let (a, up) = (rig.buffer("a", 16), rig.host("up", 16));
    rig.run(rig.frame().scatter(&[(up, a, 0, 12, 8), (up, a, 0, 0, 4)]));
    let h = rig.only(MkHazardKind::OutOfBounds);
    assert_eq!((&*h.buffer, h.range.clone()), ("a", 12..20));
    assert!(h.to_string().contains("scatter of uploads"), "{h}");
}
