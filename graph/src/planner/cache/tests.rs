//! A planner that keeps plans beside one that makes each anew: over frames that repeat and change, all that comes out is
//! the same, and so is the state after it.

use super::super::{PlanOptions, Planner};
use super::{PlanChange, PlanOrigin};
use crate::access::{Access, BufferUsage};
use crate::frame::{FrameGraph, Mode, PassId};
use crate::resource::{BufferDesc, HostSlice, Resource, ResourceId, ResourceSlice, TransientId};
use crate::schedule::Schedule;
use crate::state::GraphState;
use crate::uploads::UploadRule;
use std::ops::Range;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

const BUFFERS: u64 = 7;
const SIZE: u64 = 96;

#[derive(Clone, Debug)]
struct Use {
    /// Beyond the buffers: transients.
    on: u64,
    range: Range<u64>,
    access: Access,
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Op {
    Pass { uses: Vec<Use>, side_effects: bool },
    Upload { to: Use, buffer: u32 },
    Copy { from: Use, to: Use, readback: bool },
    Fill { to: Use },
}

#[derive(Clone, Debug, Default)]
struct Frame {
    ops: Vec<Op>,
    transients: Vec<u64>,
    orders: Vec<(usize, usize)>,
    prologue: usize,
    causes: bool,
    scatter: bool,
    swapped: bool,
}

const READS: [Access; 5] = [
    Access::COMPUTE_STORAGE_READ,
    Access::VERTEX_ATTRIBUTE_READ,
    Access::COMPUTE_UNIFORM_READ,
    Access::COPY_READ,
    Access::FRAGMENT_STORAGE_READ,
];
const WRITES: [Access; 3] =
    [Access::COMPUTE_STORAGE_WRITE, Access::FRAGMENT_STORAGE_WRITE, Access::COPY_WRITE];

fn random_use(r: &mut Random, transients: u64) -> Use {
    let on = r.below(BUFFERS + transients);
    let start = 4 * r.below(SIZE / 4);
    let range = if r.one_in(2) { 0..SIZE } else { start..start + 4 * (1 + r.below((SIZE - start) / 4)) };
    let (access, mode) = match r.below(6) {
        0..=2 => (r.of(&READS), Mode::Read),
        3 => (r.of(&WRITES), Mode::Write),
        4 => (r.of(&WRITES), Mode::Overwrite),
        _ => (Access::COMPUTE_STORAGE_READ_WRITE, Mode::Modify),
    };
    // Bytes of transients are undefined at first.
    if on >= BUFFERS && mode != Mode::Overwrite && !r.one_in(8) {
        return Use { on, range, access: Access::COMPUTE_STORAGE_WRITE, mode: Mode::Overwrite };
    }
    Use { on, range, access, mode }
}

fn transfer(u: Use, access: Access, mode: Mode) -> Use {
    Use { access, mode, ..u }
}

fn random_op(r: &mut Random, transients: u64) -> Op {
    let to = |r: &mut Random| transfer(random_use(r, 0), Access::COPY_WRITE, Mode::Overwrite);
    match r.below(12) {
        0..=6 => {
            let uses = (0..1 + r.below(3)).map(|_| random_use(r, transients)).collect();
            Op::Pass { uses, side_effects: r.one_in(4) }
        }
        7..=9 => Op::Upload { to: to(r), buffer: r.below(2) as u32 },
        10 => Op::Fill { to: to(r) },
        _ => {
            let to = to(r);
            let on = (to.on + 1) % BUFFERS;
            let from = Use { on, range: to.range.clone(), access: Access::COPY_READ, mode: Mode::Read };
            Op::Copy { from, to, readback: r.one_in(2) }
        }
    }
}

fn random_frame(r: &mut Random) -> Frame {
    let transients = r.below(3);
    let ops: Vec<Op> = (0..1 + r.below(10)).map(|_| random_op(r, transients)).collect();
    let n = ops.len() as u64;
    let mut orders = Vec::new();
    if n > 1 && r.one_in(4) {
        let then = 1 + r.below(n - 1);
        orders.push((r.below(then) as usize, then as usize));
    }
    Frame {
        prologue: if r.one_in(6) { 1 + r.below(n) as usize } else { 0 },
        transients: vec![SIZE; transients as usize],
        orders,
        ops,
        causes: r.one_in(3),
        scatter: r.one_in(3),
        swapped: false,
    }
}

/// Changes one thing.
fn mutate(r: &mut Random, frame: &mut Frame) {
    let transients = frame.transients.len() as u64;
    let at = r.below(frame.ops.len() as u64) as usize;
    match r.below(10) {
        0 => frame.ops.insert(at, random_op(r, transients)),
        1 if frame.ops.len() > 1 && frame.orders.is_empty() => drop(frame.ops.remove(at)),
        2 => frame.causes = !frame.causes,
        3 => frame.scatter = !frame.scatter,
        4 => frame.swapped = !frame.swapped,
        5 if at > 0 => frame.orders = vec![(at - 1, at)],
        6 => frame.prologue = r.below(frame.ops.len() as u64) as usize,
        7 => {
            if let Some(size) = frame.transients.first_mut() {
                *size = SIZE + 4 * r.below(3);
            }
        }
        _ => match &mut frame.ops[at] {
            Op::Pass { uses, side_effects } => match r.below(3) {
                0 => *side_effects = !*side_effects,
                _ => uses[0] = random_use(r, transients),
            },
            Op::Upload { to, .. } => to.range = 0..4 * (1 + r.below(SIZE / 4)),
            other => *other = random_op(r, transients),
        },
    }
}

/// Where the staging buffers are that a frame numbers 0 and 1.
#[derive(Clone, Copy, Default)]
struct Staging {
    at: [(u32, u64); 2],
    /// The last upload is elsewhere.
    astray: bool,
}

impl Staging {
    fn random(r: &mut Random, rare: u64) -> Self {
        let mut buffers = [r.below(3) as u32, 3 + r.below(3) as u32];
        if r.one_in(8) {
            buffers.reverse();
        }
        Staging { at: buffers.map(|b| (b, 16 * r.below(4))), astray: r.one_in(rare) }
    }
}

fn declare(frame: &Frame, graph: &mut FrameGraph, ids: &[ResourceId], staging: Staging) {
    graph.reset();
    let transients: Vec<TransientId> =
        frame.transients.iter().map(|&size| graph.transient("transient", size)).collect();
    let slice = |u: &Use| {
        let resource: Resource = match ids.get(u.on as usize) {
            Some(&id) => id.into(),
            None => transients[u.on as usize - ids.len()].into(),
        };
        ResourceSlice::new(resource, u.range.clone())
    };
    let mut heads = staging.at.map(|(_, at)| at);
    let mut passes: Vec<PassId> = Vec::new();
    let uploads = frame.ops.iter().filter(|op| matches!(op, Op::Upload { .. })).count();
    let mut uploaded = 0;
    for (i, op) in frame.ops.iter().enumerate() {
        if i + 1 == frame.prologue {
            graph.prologue();
        }
        passes.push(match op {
            Op::Pass { uses, side_effects } => {
                let mut pass = graph.pass("pass");
                for u in uses {
                    pass = pass.access(slice(u), u.access, u.mode);
                }
                if *side_effects { pass.side_effects().finish() } else { pass.finish() }
            }
            Op::Upload { to, buffer } => {
                uploaded += 1;
                let buffer = *buffer as usize;
                let mut offset = heads[buffer];
                heads[buffer] += to.range.end - to.range.start;
                if staging.astray && uploaded == uploads {
                    offset += 64;
                }
                graph.upload(HostSlice { buffer: staging.at[buffer].0, offset }, slice(to))
            }
            Op::Copy { from, to, readback: false } => graph.copy(slice(from), slice(to)),
            Op::Copy { from, to, readback: true } => graph.readback(slice(from), slice(to)),
            Op::Fill { to } => graph.fill(slice(to), 7),
        });
    }
    for &(first, then) in &frame.orders {
        graph.order(passes[first], passes[then]);
    }
}

/// A planner with what it plans over.
struct Side {
    state: GraphState,
    ids: Vec<ResourceId>,
    backings: Vec<Option<ResourceId>>,
    planner: Planner,
    graph: FrameGraph,
}

impl Side {
    fn new(planner: Planner, max_ranges: usize) -> Self {
        let mut state = GraphState::with_max_ranges(max_ranges);
        let usage = BufferUsage::all() & !BufferUsage::DEVICE_ADDRESS;
        let desc = |i| BufferDesc {
            initialized: true,
            host_visible: i == 0,
            scatter: i % 2 == 1,
            ..BufferDesc::new(format!("b{i}"), SIZE, usage)
        };
        let ids = (0..BUFFERS).map(|i| state.add_buffer(desc(i))).collect();
        let mut pool = |_| Some(state.add_buffer(BufferDesc::new("pool", 2 * SIZE, usage)));
        let backings = (0..3).map(&mut pool).collect();
        Side { state, ids, backings, planner, graph: FrameGraph::new() }
    }

    fn plan(&mut self, frame: &Frame, staging: Staging) -> Result<Schedule, String> {
        declare(frame, &mut self.graph, &self.ids, staging);
        let uploads = if frame.scatter { UploadRule::Scatter } else { UploadRule::Copy };
        let options = PlanOptions { causes: frame.causes, uploads };
        let mut backings = self.backings.clone();
        if frame.swapped {
            backings.rotate_left(1);
        }
        let planned = self.planner.plan_with(&self.graph, &mut self.state, options, &backings);
        planned.cloned().map_err(|error| error.to_string())
    }
}

/// All that does not name the frame itself.
fn plain(mut schedule: Schedule) -> Schedule {
    schedule.origin = PlanOrigin::Uncached;
    for resource in &mut schedule.resources {
        if let Resource::Transient(id) = resource {
            id.frame = 0;
        }
    }
    schedule
}

/// What later plans depend on.
fn left(side: &mut Side) -> String {
    side.state.settle();
    let Side { state, ids, backings, .. } = side;
    let all = ids.iter().copied().chain(backings.iter().copied().flatten());
    let ranges: Vec<_> = all.filter_map(|id| state.get(id)).map(|p| &p.ranges).collect();
    // A clone has no scratch.
    let cover = state.cover.clone();
    format!("{} {} {} {cover:?} {ranges:?}", state.next_level, state.commits, state.pairs.len())
}

/// Plans of each origin.
#[derive(Debug, Default)]
struct Tally {
    reused: usize,
    reused_elsewhere: usize,
    resource: usize,
    coverage: usize,
    staging: usize,
    refused: usize,
    plans: usize,
}

impl Tally {
    fn count(&mut self, origin: PlanOrigin, moved: bool) {
        self.plans += 1;
        match origin {
            PlanOrigin::Reused => {
                self.reused += 1;
                self.reused_elsewhere += usize::from(moved);
            }
            PlanOrigin::Anew(PlanChange::Resource { .. }) => self.resource += 1,
            PlanOrigin::Anew(PlanChange::Coverage) => self.coverage += 1,
            PlanOrigin::Anew(PlanChange::Staging { .. }) => self.staging += 1,
            PlanOrigin::Anew(_) | PlanOrigin::Uncached => {}
        }
    }
}

fn run(seed: u64, tally: &mut Tally) {
    let mut r = Random(seed);
    let max_ranges = r.of(&[2, 4, 256]);
    let kept = 1 + r.below(4) as usize;
    // Half of them are long rows of one frame.
    let (mut rows, mut rare, mut most) = (3, 10, 5);
    if r.one_in(2) {
        (rows, rare, most) = (1, 60, 20);
    }
    let mut sides = [Side::new(Planner::new(), max_ranges), Side::new(Planner::with_cache(kept), max_ranges)];
    // Commits in between.
    let mut others = [Planner::new(), Planner::new()];
    let mut frames: Vec<Frame> = (0..1 + r.below(rows)).map(|_| random_frame(&mut r)).collect();
    for round in 0..30 {
        for _ in 0..1 + r.below(most) {
            for (number, frame) in frames.iter().enumerate() {
                let staging = Staging::random(&mut r, rare);
                let [fresh, cached] = sides.each_mut().map(|side| side.plan(frame, staging));
                let origin = cached.as_ref().map(|s| s.origin).map_err(Clone::clone);
                assert_eq!(
                    fresh.map(plain),
                    cached.map(plain),
                    "seed {seed}, round {round}, frame {number}, {origin:?}: {frame:#?}"
                );
                match origin {
                    Ok(origin) => tally.count(origin, staging.at != Staging::default().at),
                    Err(_) => tally.refused += 1,
                }
                if r.one_in(rare) {
                    let between = random_frame(&mut Random(seed + round));
                    for (side, other) in sides.iter_mut().zip(&mut others) {
                        let mut graph = FrameGraph::new();
                        declare(&between, &mut graph, &side.ids, Staging::default());
                        if other
                            .plan_with(&graph, &mut side.state, PlanOptions::default(), &side.backings)
                            .is_ok()
                        {
                            other.commit(&mut side.state);
                        }
                    }
                }
                if !r.one_in(rare) {
                    sides.iter_mut().for_each(|side| side.planner.commit(&mut side.state));
                }
                // Looking at it enters what is owed.
                if r.one_in(3) {
                    let [fresh, cached] = sides.each_mut().map(left);
                    assert_eq!(
                        fresh, cached,
                        "seed {seed}, round {round}, frame {number}, {origin:?}: {frame:#?}"
                    );
                }
            }
        }
        let at = r.below(frames.len() as u64) as usize;
        mutate(&mut r, &mut frames[at]);
        if r.one_in(8) {
            frames[at] = random_frame(&mut r);
        }
    }
    assert!(sides[1].planner.cache.slots.len() <= kept, "seed {seed}");
}

#[test]
fn what_is_used_again_is_what_would_be_made() {
    let mut tally = Tally::default();
    (0..60).for_each(|seed| run(seed, &mut tally));
    println!("{tally:?}");
    assert!(tally.reused * 10 > tally.plans, "{tally:?}");
    let Tally { reused_elsewhere, resource, coverage, staging, refused, .. } = tally;
    let rare = [reused_elsewhere, resource, coverage, staging, refused];
    assert!(rare.iter().all(|&n| n > 20), "{tally:?}");
}

/// Frames that take turns, undisturbed: after some turns no plan is made any more. What barriers cover may come to differ
/// from turn to turn, and back: that is rare.
#[test]
fn a_transient_that_is_uploaded_to_from_elsewhere_each_frame_keeps_its_plan() {
    let mut state = GraphState::new();
    let out = state.add_buffer(BufferDesc::new("out", 256, BufferUsage::all()));
    let mut planner = Planner::with_cache(2);
    let mut graph = FrameGraph::new();
    for turn in 0..12 {
        graph.reset();
        let t = graph.transient("t", 256);
        graph.upload(HostSlice { buffer: turn as u32 % 3, offset: turn * 512 }, t.slice(0..64));
        let pass = graph.pass("p").read(t.slice(0..64), Access::COMPUTE_STORAGE_READ);
        pass.overwrite(out, Access::COMPUTE_STORAGE_WRITE).finish();
        let origin = planner.plan(&graph, &mut state).unwrap().origin;
        assert!(turn < 4 || origin == PlanOrigin::Reused, "frame {turn}: {origin:?}");
        planner.commit(&mut state);
    }
}

#[test]
fn steady_frames_get_no_new_plan() {
    let mut unsteady = 0;
    for seed in 0..400 {
        let mut r = Random(seed);
        let mut side = Side::new(Planner::with_cache(3), r.of(&[2, 256]));
        let mut frames: Vec<Frame> = (0..1 + r.below(3)).map(|_| random_frame(&mut r)).collect();
        frames.retain(|frame| side.plan(frame, Staging::default()).is_ok());
        for turn in 0..20 {
            for frame in &frames {
                let staging = Staging { at: [(0, 16 * r.below(9)), (1, 0)], astray: false };
                let origin = side.plan(frame, staging).map(|s| s.origin);
                side.planner.commit(&mut side.state);
                unsteady += usize::from(turn == 19 && origin != Ok(PlanOrigin::Reused));
            }
        }
    }
    assert!(unsteady < 16, "{unsteady} of about 800 frames");
}

#[test]
#[ignore = "long: run with --release"]
fn many_more() {
    let mut tally = Tally::default();
    (1000..20_000).for_each(|seed| run(seed, &mut tally));
    println!("{tally:?}");
}
