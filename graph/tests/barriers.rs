//! Hazards, levels and barrier entries.

#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_graph::*;

const CW: Access = Access::COMPUTE_STORAGE_WRITE;
const CR: Access = Access::COMPUTE_STORAGE_READ;
const CRW: Access = Access::COMPUTE_STORAGE_READ_WRITE;

fn all_usage() -> BufferUsage {
    BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS
}

struct World {
    state: GraphState,
    planner: Planner,
}

impl World {
    fn new() -> Self {
        World { state: GraphState::new(), planner: Planner::new() }
    }

    /// A buffer whose content counts as written, long ago.
    fn buffer(&mut self, name: &str, size: u64) -> ResourceId {
        self.state.add_buffer(BufferDesc { initialized: true, ..BufferDesc::new(name, size, all_usage()) })
    }

    fn host_buffer(&mut self, name: &str, size: u64) -> ResourceId {
        self.state.add_buffer(BufferDesc {
            initialized: true,
            host_visible: true,
            ..BufferDesc::new(name, size, all_usage())
        })
    }

    /// Plans, checks what holds of every plan, and commits.
    fn run(&mut self, frame: &FrameGraph) -> Schedule {
        let bare =
            self.planner.plan_with(frame, &mut self.state, PlanOptions::default(), &[]).unwrap().clone();
        let with = self.planner.plan(frame, &mut self.state).unwrap().clone();
        assert_eq!(bare.barriers, with.barriers, "causes change no barrier");
        assert_eq!(bare.entries, with.entries, "causes change no barrier");
        assert_eq!(bare.order, with.order);
        let calls = with.queues[0].commands.iter().filter(|c| matches!(c, Command::Barrier(_))).count();
        assert_eq!(calls, with.depth());
        for call in &with.barriers {
            assert!(!call.entries.is_empty(), "no call without an entry");
        }
        for (i, _) in with.entries.iter().enumerate() {
            assert!(with.causes.iter().any(|c| c.entry == i as u32), "every entry has a cause");
        }
        self.planner.commit(&mut self.state);
        with
    }
}

fn entry(src: Access, dst: Access) -> BarrierEntry {
    BarrierEntry {
        src_stages: src.stages,
        src_access: src.access,
        dst_stages: dst.stages,
        dst_access: dst.access,
    }
}

/// Execution only.
fn after(src: Access, dst: Access) -> BarrierEntry {
    entry(Access::new(src.stages, AccessFlags::empty()), Access::new(dst.stages, AccessFlags::empty()))
}

/// Of a write that is available already.
fn chain(from: Access, dst: Access) -> BarrierEntry {
    entry(Access::new(from.stages, AccessFlags::empty()), dst)
}

fn levels(s: &Schedule) -> Vec<u32> {
    s.order.iter().map(|p| p.level).collect()
}

#[test]
fn a_read_after_a_write_gets_execution_and_memory() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    f.pass("write").overwrite(a, CW).finish();
    f.pass("draw").read(a, Access::VERTEX_ATTRIBUTE_READ).side_effects().finish();
    let s = w.run(&f);
    assert_eq!(s.entries, [entry(CW, Access::VERTEX_ATTRIBUTE_READ)]);
    assert_eq!(s.causes.len(), 1);
    assert_eq!(s.causes[0].producer, Party::Node(0));
    assert_eq!(s.causes[0].range, 0..64);
}

#[test]
fn a_write_after_a_read_gets_execution_only() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.pass("read").read(a, Access::VERTEX_ATTRIBUTE_READ).overwrite(b, Access::VERTEX_STORAGE_WRITE).finish();
    f.pass("write").overwrite(a, CW).finish();
    let s = w.run(&f);
    assert_eq!(s.entries, [after(Access::VERTEX_ATTRIBUTE_READ, CW)]);
}

#[test]
fn two_reads_and_disjoint_ranges_order_nothing() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.pass("one").read(a, CR).overwrite(b.slice(0..32), CW).finish();
    f.pass("two").read(a, CR).overwrite(b.slice(32..64), CW).finish();
    let s = w.run(&f);
    assert_eq!((s.depth(), levels(&s)), (0, vec![0, 0]));
}

#[test]
fn the_second_reader_in_another_stage_gets_its_own_visibility() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.pass("write").overwrite(a, CW).finish();
    f.pass("first").read(a, CR).overwrite(b, CW).finish();
    f.pass("second").read(a, Access::VERTEX_ATTRIBUTE_READ).read(b, CR).side_effects().finish();
    let s = w.run(&f);
    // Level 1: `first`; level 2: `second`, which also needs b. The write to `a` is available already.
    assert_eq!(s.barriers.len(), 2);
    assert_eq!(s.entries_of(&s.barriers[0]), [entry(CW, CR)]);
    let second = s.entries_of(&s.barriers[1]);
    assert!(second.contains(&entry(CW, CR)), "{second:?}");
    assert!(second.contains(&chain(CR, Access::VERTEX_ATTRIBUTE_READ)), "{second:?}");
}

#[test]
fn the_second_reader_with_another_access_in_the_same_stage_too() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    f.pass("write").overwrite(a, CW).finish();
    f.pass("first").read(a, CR).side_effects().finish();
    let s = w.run(&f);
    assert_eq!(s.entries, [entry(CW, CR)]);
    let mut f = FrameGraph::new();
    f.pass("second").read(a, Access::COMPUTE_UNIFORM_READ).side_effects().finish();
    let s = w.run(&f);
    assert_eq!(s.entries, [chain(CR, Access::COMPUTE_UNIFORM_READ)]);
    let mut f = FrameGraph::new();
    f.pass("third").read(a, Access::COMPUTE_UNIFORM_READ).side_effects().finish();
    assert_eq!(w.run(&f).depth(), 0, "a pair that can already see the write needs nothing");
}

#[test]
fn a_write_after_a_write_carries_the_second_writes_access() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    f.upload(HostSlice { buffer: 0, offset: 0 }, a);
    f.pass("write").write(a, CW).finish();
    assert_eq!(w.run(&f).entries, [entry(Access::COPY_WRITE, CW)]);
}

#[test]
fn write_read_write_needs_one_entry_a_call() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.upload(HostSlice { buffer: 0, offset: 0 }, a);
    f.pass("read").read(a, CR).overwrite(b, CW).finish();
    f.fill(a, 0);
    let s = w.run(&f);
    assert_eq!(s.entries_of(&s.barriers[0]), [entry(Access::COPY_WRITE, CR)]);
    assert_eq!(
        s.entries_of(&s.barriers[1]),
        [chain(CR, Access::FILL_WRITE)],
        "the write after the read is implied by the write after the write"
    );
}

#[test]
fn unrelated_relations_of_one_call_are_not_ored_together() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.upload(HostSlice { buffer: 0, offset: 0 }, a);
    f.pass("write").overwrite(b, CW).finish();
    f.pass("one").read(a, Access::VERTEX_ATTRIBUTE_READ).side_effects().finish();
    f.pass("two").read(b, Access::FRAGMENT_STORAGE_READ).side_effects().finish();
    let s = w.run(&f);
    assert_eq!(s.depth(), 1);
    assert_eq!(s.entries.len(), 2);
    assert!(s.entries.contains(&entry(Access::COPY_WRITE, Access::VERTEX_ATTRIBUTE_READ)));
    assert!(s.entries.contains(&entry(CW, Access::FRAGMENT_STORAGE_READ)));
}

#[test]
fn a_superset_leaves_no_subset_beside_it() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let both = CR | Access::VERTEX_ATTRIBUTE_READ;
    let mut f = FrameGraph::new();
    f.upload(HostSlice { buffer: 0, offset: 0 }, a);
    f.upload(HostSlice { buffer: 0, offset: 64 }, b);
    f.pass("one").read(a, CR).side_effects().finish();
    f.pass("two").read(b, both).side_effects().finish();
    assert_eq!(w.run(&f).entries, [entry(Access::COPY_WRITE, both)]);
}

#[test]
fn a_hazard_covered_by_an_earlier_call_gets_no_entry() {
    let mut w = World::new();
    let ids: Vec<_> = (0..3).map(|i| w.buffer(&format!("b{i}"), 64)).collect();
    let mut f = FrameGraph::new();
    f.pass("p0").overwrite(ids[0], CW).finish();
    f.pass("p1").read(ids[0], CR).overwrite(ids[1], CW).finish();
    f.pass("p2").read(ids[0], CR).read(ids[1], CR).overwrite(ids[2], CW).finish();
    let s = w.run(&f);
    assert_eq!(s.entries.len(), 2);
    assert_eq!(s.causes.len(), 2, "p2's read of b0 was covered by the call before p1");
}

fn interleaved(ids: &[ResourceId], chains: usize) -> FrameGraph {
    let mut f = FrameGraph::new();
    for i in 0..ids.len() {
        let name = format!("p{i}");
        let mut p = f.pass(&name).overwrite(ids[i], CW);
        if i >= chains {
            p = p.read(ids[i - chains], CR);
        }
        p.finish();
    }
    f
}

#[test]
fn a_hundred_chains_of_ten_take_nine_calls_and_ten_when_repeated() {
    let mut w = World::new();
    let ids: Vec<_> = (0..1000).map(|i| w.buffer(&format!("b{i}"), 64)).collect();
    let first = w.run(&interleaved(&ids, 100));
    assert_eq!(first.depth(), 9);
    for _ in 0..3 {
        let later = w.run(&interleaved(&ids, 100));
        assert_eq!(later.depth(), 10);
        assert_eq!(later.entries.len(), 10, "one entry a call");
    }
}

#[test]
fn the_host_waits_for_readbacks_in_the_call_after_the_last_of_them() {
    let mut w = World::new();
    let (a, out) = (w.buffer("a", 64), w.host_buffer("out", 128));
    let mut f = FrameGraph::new();
    f.readback(a, out.slice(0..64));
    f.pass("change").modify(a, CRW).finish();
    f.readback(a, out.slice(64..128));
    let s = w.run(&f);
    assert_eq!(levels(&s), [0, 1, 2]);
    assert_eq!(s.depth(), 3);
    assert_eq!(s.entries_of(&s.barriers[2]), [entry(Access::COPY_WRITE, Access::HOST_READ)]);
    assert_eq!(
        s.queues[0].commands.last(),
        Some(&Command::Barrier(2)),
        "the host's call is the last command"
    );
    assert_eq!(s.host_reads.iter().map(|h| h.size).sum::<u64>(), 128);
}

#[test]
fn hazards_against_earlier_frames_count_as_one_node_at_the_head() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    f.pass("write").overwrite(a, CW).finish();
    assert_eq!(w.run(&f).depth(), 0);
    let mut f = FrameGraph::new();
    f.pass("free").overwrite(b, CW).finish();
    f.pass("read").read(a, CR).side_effects().finish();
    let s = w.run(&f);
    assert_eq!(levels(&s), [0, 1], "what owes nothing runs before the head's call");
    assert_eq!(s.causes[0].producer, Party::EarlierFrame);
}

#[test]
fn an_explicit_order_is_a_hazard_between_all_that_both_declare() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    let one = f.pass("one").overwrite(a, CW).finish();
    let two = f.pass("two").read(b, Access::VERTEX_ATTRIBUTE_READ).side_effects().finish();
    f.order(one, two);
    let s = w.run(&f);
    assert_eq!(s.entries, [entry(CW, Access::VERTEX_ATTRIBUTE_READ)]);
    assert_eq!(s.causes[0].kind, HazardKind::Order);
}

#[test]
fn an_explicit_order_may_go_against_the_order_of_declaration() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut f = FrameGraph::new();
    let one = f.pass("one").overwrite(a, CW).finish();
    let two = f.pass("two").overwrite(b, CW).finish();
    f.order(two, one);
    let s = w.run(&f);
    assert_eq!(s.order.iter().map(|p| p.node).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn an_order_keeps_nothing_alive_and_vanishes_with_a_culled_pass() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    let t = f.transient("t", 64);
    let dead = f.pass("dead").overwrite(t, CW).finish();
    let live = f.pass("live").overwrite(a, CW).finish();
    f.order(dead, live);
    let s = w.run(&f);
    assert_eq!((s.culled.len(), s.depth()), (1, 0));
}

#[test]
fn a_cycle_names_its_passes() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    let one = f.pass("one").overwrite(a, CW).finish();
    let two = f.pass("two").read(a, CR).side_effects().finish();
    f.pass("bystander").side_effects().finish();
    f.order(two, one);
    let e = w.planner.plan(&f, &mut w.state).unwrap_err();
    assert_eq!(e.first, GraphError::Cycle { passes: vec!["one".into(), "two".into()] });
    assert!(e.to_string().contains("`one` -> `two`"), "{e}");
}

#[test]
fn a_plan_that_is_not_committed_leaves_no_trace() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    f.pass("write").overwrite(a, CW).finish();
    w.planner.plan(&f, &mut w.state).unwrap();
    let mut g = FrameGraph::new();
    g.pass("read").read(a, CR).side_effects().finish();
    assert_eq!(w.run(&g).depth(), 0);
}

#[test]
fn a_stale_plan_says_so_and_commits_behind_a_full_barrier() {
    let mut w = World::new();
    let (a, b) = (w.buffer("a", 64), w.buffer("b", 64));
    let mut other = Planner::new();
    let mut f = FrameGraph::new();
    f.pass("write a").overwrite(a, CW).finish();
    w.planner.plan(&f, &mut w.state).unwrap();
    let mut g = FrameGraph::new();
    g.pass("write b").overwrite(b, CW).finish();
    other.plan(&g, &mut w.state).unwrap();
    w.planner.commit(&mut w.state);
    assert!(other.is_stale(&w.state));
    other.commit(&mut w.state);
    let mut h = FrameGraph::new();
    h.pass("read a").read(a, CR).side_effects().finish();
    assert_eq!(w.run(&h).depth(), 0, "the full barrier covers the other frame's write");
    let mut h = FrameGraph::new();
    h.pass("read b").read(b, CR).side_effects().finish();
    assert_eq!(w.run(&h).depth(), 1, "but not its own");
}

#[test]
fn the_prologue_comes_before_all_else() {
    let mut w = World::new();
    let a = w.buffer("a", 64);
    let mut f = FrameGraph::new();
    f.pass("read").read(a, CR).side_effects().finish();
    f.prologue();
    f.copy(w.buffer("b", 64), a);
    let s = w.run(&f);
    assert_eq!(s.order.iter().map(|p| p.node).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(s.entries, [entry(Access::COPY_WRITE, CR)]);
}

#[test]
fn planning_the_same_frame_twice_gives_the_same_schedule() {
    let plan = || {
        let mut w = World::new();
        let ids: Vec<_> = (0..300).map(|i| w.buffer(&format!("b{i}"), 64)).collect();
        w.run(&interleaved(&ids, 7));
        w.run(&interleaved(&ids, 7))
    };
    assert_eq!(plan(), plan());
}

#[test]
fn beyond_the_limit_ranges_merge_and_barriers_say_that_they_owe_to_it() {
    let mut w = World { state: GraphState::with_max_ranges(2), planner: Planner::new() };
    let a = w.buffer("a", 400);
    let mut f = FrameGraph::new();
    f.pass("0").overwrite(a.slice(0..100), CW).finish();
    f.pass("2").overwrite(a.slice(200..210), Access::FRAGMENT_STORAGE_WRITE).finish();
    w.run(&f);
    assert!(w.state.range_count(a) <= 2);
    let mut f = FrameGraph::new();
    f.pass("all").read(a, CR).side_effects().finish();
    let s = w.run(&f);
    assert!(s.causes.iter().any(|c| c.coarsened), "{:?}", s.causes);
}

#[test]
fn an_upload_that_the_host_waits_for_does_not_wait_for_another() {
    let mut state = GraphState::new();
    let a = state.add_buffer(BufferDesc::new("a", 64, BufferUsage::TRANSFER_DST));
    let host = BufferDesc { host_visible: true, ..BufferDesc::new("host", 64, BufferUsage::TRANSFER_DST) };
    let host = state.add_buffer(host);
    let mut planner = Planner::new();
    let mut frame = FrameGraph::new();
    for targets in [&[a][..], &[a, host]] {
        frame.reset();
        for &to in targets {
            frame.upload(HostSlice { buffer: 0, offset: 0 }, to);
        }
        planner.plan(&frame, &mut state).unwrap();
        planner.commit(&mut state);
    }
    // What is owed to the first frame, and what the host waits for: neither waits for the other.
    assert_eq!(planner.schedule().depth(), 1);
}
