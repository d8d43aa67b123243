//! Culling, trimming, batching of transfers, and what is wrong with a frame.

#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_graph::*;

const CW: Access = Access::COMPUTE_STORAGE_WRITE;
const CR: Access = Access::COMPUTE_STORAGE_READ;
const CRW: Access = Access::COMPUTE_STORAGE_READ_WRITE;

fn usage() -> BufferUsage {
    BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS
}

fn desc(name: &str, size: u64) -> BufferDesc {
    BufferDesc { initialized: true, ..BufferDesc::new(name, size, usage()) }
}

fn host(offset: u64) -> HostSlice {
    HostSlice { buffer: 0, offset }
}

fn plan(f: &FrameGraph, state: &mut GraphState) -> Schedule {
    let mut planner = Planner::new();
    planner.plan(f, state).unwrap();
    planner.commit(state);
    planner.schedule().clone()
}

fn error(f: &FrameGraph, state: &mut GraphState) -> GraphError {
    let mut planner = Planner::new();
    let e = planner.plan(f, state).unwrap_err();
    let commits_nothing = planner.schedule().clone();
    planner.commit(state);
    assert!(commits_nothing.barriers.is_empty());
    e.first
}

fn culled(s: &Schedule) -> Vec<(u32, CullReason)> {
    s.culled.iter().map(|c| (c.node, c.reason)).collect()
}

/// Source, destination, and per region: source, destination, size, how many declared ones.
type Copied = (BufferRef, BufferRef, Vec<(u64, u64, u64, u32)>);

/// What a declaration returns is not needed.
fn declared<T>(_: T) {}

fn copies(s: &Schedule) -> Vec<Copied> {
    s.queues[0]
        .commands
        .iter()
        .filter_map(|c| match c {
            Command::Copy { from, to, regions } => {
                let list = s.regions_of(regions).iter().map(|r| (r.src, r.dst, r.size, r.merged)).collect();
                Some((*from, *to, list))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn culling_is_transitive_from_every_sink() {
    let mut state = GraphState::new();
    let mut f = FrameGraph::new();
    let mut last = f.transient("t0", 64);
    f.pass("dead 0").overwrite(last, CW).finish();
    for i in 1..990 {
        let next = f.transient(&format!("t{i}"), 64);
        f.pass(&format!("dead {i}")).read(last, CR).overwrite(next, CW).finish();
        last = next;
    }
    let s = plan(&f, &mut state);
    assert_eq!((s.culled.len(), s.order.len()), (990, 0));
    assert_eq!(s.culled[989].reason, CullReason::Unread { resource: 989 });
    assert_eq!(s.culled[0].reason, CullReason::OnlyCulledReaders { reader: 1 });
}

#[test]
fn a_pass_is_kept_for_what_the_outside_can_see() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let out = state.add_buffer(BufferDesc { host_visible: true, ..desc("out", 64) });
    let mut f = FrameGraph::new();
    let (t, u) = (f.transient("t", 64), f.transient("u", 64));
    f.pass("feeds the persistent write").overwrite(t, CW).finish();
    f.pass("writes a persistent buffer").read(t, CR).overwrite(a, CW).finish();
    f.pass("feeds a readback").overwrite(u, CW).finish();
    f.readback(u, out);
    f.pass("has side effects").side_effects().finish();
    f.pass("does nothing").finish();
    f.pass("only reads").read(a, CR).finish();
    let s = plan(&f, &mut state);
    assert_eq!(culled(&s), [(5, CullReason::NoOutput), (6, CullReason::NoOutput)]);
}

#[test]
fn an_overwrite_kills_earlier_content_and_a_write_does_not() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    f.pass("first").overwrite(a, CW).finish();
    f.pass("second").overwrite(a, CW).finish();
    assert_eq!(culled(&plan(&f, &mut state)), [(0, CullReason::Overwritten { by: 1 })]);
    let mut f = FrameGraph::new();
    f.pass("first").overwrite(a, CW).finish();
    f.pass("second").write(a, CW).finish();
    assert!(plan(&f, &mut state).culled.is_empty());
    let mut f = FrameGraph::new();
    f.pass("first").overwrite(a, CW).finish();
    f.pass("second").overwrite(a.slice(0..63), CW).finish();
    assert!(plan(&f, &mut state).culled.is_empty(), "one byte of the first is left");
}

#[test]
fn the_reason_for_culling_follows_the_bytes() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    let t = f.transient("t", 64);
    f.pass("half replaced, half unread").overwrite(t, CW).finish();
    f.pass("replaces half").overwrite(t.slice(0..32), CW).finish();
    f.pass("reads that half").read(t.slice(0..32), CR).overwrite(a, CW).finish();
    f.pass("reads nothing of anybody's").read(a, CR).finish();
    let s = plan(&f, &mut state);
    assert_eq!(culled(&s), [(0, CullReason::Unread { resource: 0 }), (3, CullReason::NoOutput)]);

    let mut f = FrameGraph::new();
    f.pass("replaced").overwrite(a, CW).finish();
    f.pass("by this").overwrite(a.slice(0..32), CW).finish();
    f.pass("and that").overwrite(a.slice(32..64), CW).finish();
    f.pass("looks at what is left").read(a, CR).finish();
    let s = plan(&f, &mut state);
    assert_eq!(culled(&s), [(0, CullReason::Overwritten { by: 1 }), (3, CullReason::NoOutput)]);
}

#[test]
fn uploads_that_share_a_level_are_one_copy_command_with_merged_regions() {
    let mut state = GraphState::new();
    let (a, b) = (state.add_buffer(desc("a", 4096)), state.add_buffer(desc("b", 4096)));
    let mut f = FrameGraph::new();
    f.upload(host(0), a.slice(512..768));
    f.upload(host(256), b.slice(0..64));
    f.upload(host(320), a.slice(768..1024));
    f.upload(host(1000), a.slice(0..100));
    let s = plan(&f, &mut state);
    // The two adjacent in `a` are not adjacent in the source: 0..256 and 320..576.
    assert_eq!(copies(&s).len(), 2);
    assert_eq!(copies(&s)[0].2, [(1000, 0, 100, 1), (0, 512, 256, 1), (320, 768, 256, 1)]);
    let mut f = FrameGraph::new();
    for i in 0..1000u64 {
        f.upload(host(i * 4), a.slice(i * 4..i * 4 + 4));
    }
    assert_eq!(copies(&plan(&f, &mut state))[0].2, [(0, 0, 4000, 1000)], "adjacent on both sides");
}

#[test]
fn where_uploads_overlap_the_later_bytes_win_and_the_earlier_region_is_trimmed() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 4096));
    let mut f = FrameGraph::new();
    f.upload(host(0), a.slice(0..100));
    f.upload(host(100), a.slice(40..60));
    let s = plan(&f, &mut state);
    assert_eq!(s.depth(), 0, "one level");
    assert_eq!(copies(&s)[0].2, [(0, 0, 40, 1), (100, 40, 20, 1), (60, 60, 40, 1)]);
    assert_eq!(s.trimmed, [Trimmed { node: 0, range: 40..60 }]);
}

#[test]
fn a_read_between_two_overlapping_uploads_keeps_both_whole() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 4096));
    let mut f = FrameGraph::new();
    f.upload(host(0), a.slice(0..100));
    f.pass("look").read(a.slice(50..51), CR).side_effects().finish();
    f.upload(host(100), a.slice(40..60));
    let s = plan(&f, &mut state);
    assert_eq!(s.depth(), 2);
    assert_eq!(s.trimmed, [Trimmed { node: 0, range: 40..50 }, Trimmed { node: 0, range: 51..60 }]);
    let total: u64 = copies(&s).iter().flat_map(|c| &c.2).map(|r| r.2).sum();
    assert_eq!(total, 101, "100 bytes less 19 trimmed, and 20");
}

#[test]
fn an_upload_that_is_wholly_replaced_is_culled() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    f.upload(host(0), a.slice(0..10));
    f.upload(host(64), a);
    assert_eq!(culled(&plan(&f, &mut state)), [(0, CullReason::Overwritten { by: 1 })]);
}

#[test]
fn what_is_culled_beside_nothing_but_uploads_does_not_run() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    let t = f.transient("t", 64);
    f.upload(host(0), t);
    f.upload(host(64), a);
    f.pass("nobody reads").overwrite(t, CW).finish();
    let s = plan(&f, &mut state);
    assert_eq!(s.order, [Placed { node: 1, level: 0 }]);
    assert_eq!(s.culled.iter().map(|c| c.node).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn copies_of_one_pair_share_a_command_and_chained_copies_run_in_order() {
    let mut state = GraphState::new();
    let ids: Vec<_> = ["a", "b", "c"].map(|n| state.add_buffer(desc(n, 64))).into();
    let mut f = FrameGraph::new();
    f.copy(ids[0].slice(0..16), ids[1].slice(0..16));
    f.copy(ids[0].slice(32..48), ids[1].slice(32..48));
    f.copy(ids[1].slice(0..16), ids[2].slice(0..16));
    let s = plan(&f, &mut state);
    assert_eq!(copies(&s).len(), 2);
    assert_eq!(copies(&s)[0].2.len(), 2);
    assert_eq!(s.depth(), 1);
}

#[test]
fn accesses_of_one_pass_to_one_range_are_no_hazard_among_themselves() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    f.pass("in place").read(a, CR).write(a, CW).finish();
    let s = plan(&f, &mut state);
    assert_eq!(s.depth(), 0);
    let mut f = FrameGraph::new();
    f.pass("uses").read(a, CR | Access::VERTEX_ATTRIBUTE_READ).side_effects().finish();
    assert_eq!(plan(&f, &mut state).depth(), 1);
}

#[test]
fn every_declaration_that_makes_no_sense_is_an_error_with_names() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let plain = state.add_buffer(BufferDesc {
        initialized: true,
        ..BufferDesc::new("plain", 64, BufferUsage::TRANSFER_DST)
    });
    let fresh = state.add_buffer(BufferDesc::new("fresh", 64, usage()));
    let gone = state.add_buffer(desc("gone", 64));
    state.remove(gone);
    let mut other = FrameGraph::new();
    let foreign = other.transient("foreign", 4);
    let foreign_pass = other.pass("x").finish();
    type Declare = Box<dyn Fn(&mut FrameGraph)>;
    let cases: Vec<(&str, Declare)> = vec![
        (
            "p` uses a resource that no longer exists",
            Box::new(move |f| declared(f.pass("p").read(gone, CR).finish())),
        ),
        (
            "p` uses a transient of another frame",
            Box::new(move |f| declared(f.pass("p").read(foreign, CR).finish())),
        ),
        (
            "`p`: bytes 0..65 of `a` are out of bounds",
            Box::new(move |f| declared(f.pass("p").read(a.slice(0..65), CR).finish())),
        ),
        (
            "`p`: bytes 9..3 of `a` are out of bounds",
            Box::new(move |f| {
                #[expect(clippy::reversed_empty_ranges)]
                declared(f.pass("p").read(a.slice(9..3), CR).finish());
            }),
        ),
        (
            "range of `a` at byte 5 is empty",
            Box::new(move |f| declared(f.pass("p").read(a.slice(5..5), CR).finish())),
        ),
        ("transient `t` has a size of zero", Box::new(|f| declared(f.transient("t", 0)))),
        ("a read must not write", Box::new(move |f| declared(f.pass("p").read(a, CW).finish()))),
        (
            "name an access that reads",
            Box::new(move |f| declared(f.pass("p").read(a, Access::NONE).finish())),
        ),
        ("a write must not read", Box::new(move |f| declared(f.pass("p").overwrite(a, CRW).finish()))),
        (
            "`modify` needs an access that reads",
            Box::new(move |f| declared(f.pass("p").modify(a, CW).finish())),
        ),
        (
            "cannot happen in its stages",
            Box::new(move |f| {
                let odd = Access::new(Stages::COPY, AccessFlags::SHADER_STORAGE_READ);
                declared(f.pass("p").read(a, odd).finish());
            }),
        ),
        (
            "overwrites bytes 16..32 of `a` and reads them too",
            Box::new(move |f| {
                declared(f.pass("p").overwrite(a.slice(0..32), CW).read(a.slice(16..64), CR).finish());
            }),
        ),
        ("needs usage STORAGE", Box::new(move |f| declared(f.pass("p").read(plain, CR).finish()))),
        (
            "needs usage VERTEX of `plain`",
            Box::new(move |f| declared(f.pass("p").read(plain, Access::VERTEX_ATTRIBUTE_READ).finish())),
        ),
        (
            "asks for a compute queue, which does not run VERTEX_ATTRIBUTE_INPUT",
            Box::new(move |f| {
                declared(f.pass("p").on(Queue::Compute).read(a, Access::VERTEX_ATTRIBUTE_READ).finish());
            }),
        ),
        (
            "`p` reads bytes 0..64 of `fresh`, which nobody wrote",
            Box::new(move |f| {
                declared(f.pass("p").read(fresh, CR).side_effects().finish());
            }),
        ),
        (
            "`p` reads bytes 0..64 of `fresh`, which nobody wrote",
            Box::new(move |f| {
                declared(f.pass("p").modify(fresh, CRW).finish());
            }),
        ),
        (
            "copy of 10 bytes of `a` to 11 bytes of `plain`",
            Box::new(move |f| declared(f.copy(a.slice(0..10), plain.slice(0..11)))),
        ),
        (
            "source 0..10 and destination 5..15 overlap",
            Box::new(move |f| declared(f.copy(a.slice(0..10), a.slice(5..15)))),
        ),
        ("start and end must be multiples of 4", Box::new(move |f| declared(f.fill(a.slice(0..6), 0)))),
        (
            "`order` names a pass of another frame",
            Box::new(move |f| {
                let p = f.pass("p").finish();
                f.order(p, foreign_pass);
            }),
        ),
        (
            "bytes 60..70 of `a` are out of bounds",
            Box::new(move |f| declared(f.upload(host(0), a.slice(60..70)))),
        ),
    ];
    for (says, declare) in cases {
        let mut f = FrameGraph::new();
        declare(&mut f);
        let e = error(&f, &mut state);
        assert!(e.to_string().contains(says), "{e}\nwas to say: {says}");
    }
    let mut f = FrameGraph::new();
    f.pass("fine").read(a, CR).side_effects().finish();
    assert_eq!(plan(&f, &mut state).depth(), 0, "no state has moved");
}

#[test]
fn the_first_error_comes_with_the_others() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    f.pass("one").read(a.slice(0..65), CR).finish();
    f.pass("two").read(a.slice(0..66), CR).finish();
    let e = Planner::new().plan(&f, &mut state).unwrap_err();
    assert_eq!(e.others.len(), 1);
    let text = e.to_string();
    assert!(text.starts_with("pass `one`") && text.contains("also: pass `two`"), "{text}");
}

#[test]
fn a_builder_that_is_dropped_declares_nothing() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    declared(f.pass("never").overwrite(a, CW));
    assert!(f.is_empty());
    f.pass("once").overwrite(a, CW).finish();
    assert_eq!(f.name(&f.node(0).unwrap()), "once");
    assert_eq!(f.uses(&f.node(0).unwrap()).count(), 1);
}

#[test]
fn a_transient_may_take_over_memory_that_an_earlier_frame_used() {
    let mut state = GraphState::new();
    let backing = state.add_buffer(desc("pool", 64));
    let mut planner = Planner::new();
    for frame in 0..2 {
        let mut f = FrameGraph::new();
        let t = f.transient("t", 64);
        f.pass("make").overwrite(t, CW).finish();
        f.pass("use").read(t, CR).side_effects().finish();
        let s = planner
            .plan_with(
                &f,
                &mut state,
                PlanOptions { causes: true, ..PlanOptions::default() },
                &[Some(backing)],
            )
            .unwrap();
        assert_eq!(s.depth(), 1 + frame, "the second frame waits for the first one's use of the bytes");
        planner.commit(&mut state);
    }
    let mut f = FrameGraph::new();
    let t = f.transient("t", 64);
    f.pass("use").read(t, CR).side_effects().finish();
    let e = planner.plan_with(&f, &mut state, PlanOptions::default(), &[Some(backing)]).unwrap_err();
    assert!(matches!(e.first, GraphError::Uninitialized { .. }), "old bytes are nobody's");
}

#[test]
fn a_write_that_may_keep_bytes_leaves_the_earlier_write_visible_behind_it() {
    let mut state = GraphState::new();
    let a = state.add_buffer(desc("a", 64));
    let mut f = FrameGraph::new();
    f.upload(host(0), a);
    f.pass("some").write(a, Access::FRAGMENT_STORAGE_WRITE).finish();
    f.pass("all").read(a, CR).side_effects().finish();
    let s = plan(&f, &mut state);
    assert_eq!(s.entries.len(), 2);
    assert_eq!(s.entries[0].src_stages, Stages::COPY);
    assert_eq!(s.entries[1].src_stages, Stages::FRAGMENT_SHADER);
}
