//! Frames of nothing but uploads to one buffer, which may not be sorted: planned with causes they are, and the rest is the same.

use crate::*;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Bytes of the buffer.
const SIZE: u64 = 40_000;

/// A planner with its state.
struct Side {
    causes: bool,
    state: GraphState,
    planner: Planner,
    buffer: ResourceId,
}

impl Side {
    fn new(causes: bool) -> Self {
        let mut state = GraphState::with_max_ranges(32);
        let usage = BufferUsage::STORAGE | BufferUsage::VERTEX | BufferUsage::TRANSFER_DST;
        let desc = BufferDesc { initialized: true, scatter: true, ..BufferDesc::new("b", SIZE, usage) };
        let buffer = state.add_buffer(desc);
        Side { causes, state, planner: Planner::new(), buffer }
    }

    fn plan(&mut self, frame: &FrameGraph, uploads: UploadRule) -> Schedule {
        let options = PlanOptions { causes: self.causes, uploads };
        let schedule = match self.planner.plan_with(frame, &mut self.state, options, &[]) {
            Ok(schedule) => schedule.clone(),
            Err(error) => unreachable!("{error}"),
        };
        self.planner.commit(&mut self.state);
        schedule
    }
}

/// Places of uploads in the order in which they are declared, each with where it comes from.
fn places(random: &mut Random) -> Vec<(u64, u64, HostSlice)> {
    let granule = [1, 4, 16, 48][random.below(4) as usize];
    let longest = [1, 3, 70][random.below(3) as usize];
    // Of any places few are apart unless they are chosen so.
    let (overlap, ascend, mixed) = (random.below(8) == 0, random.below(6) == 0, random.below(6) == 0);
    let mut at = 0;
    let mut places = Vec::new();
    loop {
        let gap = [0, 0, random.below(4), random.below(60)][random.below(4) as usize];
        let back = if overlap && random.below(30) == 0 { granule.min(at) } else { 0 };
        let start = at - back + gap * granule;
        at = start + granule * (1 + random.below(longest));
        if at > SIZE {
            break;
        }
        places.push((start, at));
    }
    if !ascend {
        // Neighbours stay together now and then.
        let run = [1, 5][random.below(2) as usize];
        let mut runs: Vec<_> = places.chunks(run).map(<[_]>::to_vec).collect();
        for i in (1..runs.len()).rev() {
            runs.swap(i, random.below(i as u64 + 1) as usize);
        }
        places = runs.concat();
    }
    if random.below(3) == 0 {
        places.truncate(2 + random.below(30) as usize);
    }
    let (mut staged, backwards) = (0, random.below(6) == 0);
    let place = |(start, end): (u64, u64)| {
        staged += [0, 0, 4][random.below(3) as usize];
        let buffer = u32::from(mixed && random.below(2) == 0);
        // Where they go is where they come from, or nearly so: all continue each other, in whatever order they are.
        let offset = if backwards { start } else { staged };
        staged += end - start;
        (start, end, HostSlice { buffer, offset })
    };
    places.into_iter().map(place).collect()
}

fn declare(frame: &mut FrameGraph, buffer: ResourceId, random: &mut Random) {
    frame.reset();
    for (start, end, from) in places(random) {
        frame.upload(from, buffer.slice(start..end));
    }
    // Some end where the buffer does, whatever its size.
    if random.below(10) == 0 {
        frame.upload(HostSlice { buffer: 0, offset: 1 << 20 }, buffer.slice(SIZE - 7..ResourceSlice::WHOLE));
    }
}

/// Regions with the buffers of their commands, by destination.
fn moved(schedule: &Schedule) -> Vec<(BufferRef, u64, u64, u64, u32, u32)> {
    let mut moved = Vec::new();
    let mut note = |from, regions: &std::ops::Range<u32>| {
        moved.extend(
            schedule.regions_of(regions).iter().map(|r| (from, r.dst, r.src, r.size, r.node, r.merged)),
        );
    };
    for command in &schedule.queues[0].commands {
        match command {
            Command::Copy { from, regions, .. } => note(*from, regions),
            Command::Scatter { parts } => {
                schedule.scatters_of(parts).iter().for_each(|part| note(part.from, &part.regions))
            }
            _ => {}
        }
    }
    moved.sort_unstable_by_key(|m| (m.1, m.4));
    moved
}

/// A region costs more to copy than to scatter, and some tens of them as much as a dispatch.
const COSTS: UploadCosts =
    UploadCosts { copy_region: 1000, copy_byte: 1, scatter: 40_000, scatter_region: 10, scatter_byte: 1 };

#[test]
fn the_plan_and_the_state_are_the_same_whether_they_are_sorted_or_not() {
    let (mut random, mut unsorted, mut few) = (Random(8), 0, 0);
    let mut sides = [Side::new(false), Side::new(true)];
    let mut frame = FrameGraph::new();
    for number in 0..1500 {
        declare(&mut frame, sides[0].buffer, &mut random);
        if number % 5 == 4 {
            // Another frame between them, that reads here and there.
            frame.reset();
            for _ in 0..=random.below(4) {
                let at = random.below(SIZE - 4);
                let access = [Access::COMPUTE_STORAGE_READ, Access::VERTEX_ATTRIBUTE_READ];
                let some = sides[0].buffer.slice(at..at + 1 + random.below(SIZE - at));
                frame.pass("read").read(some, access[random.below(2) as usize]).side_effects().finish();
            }
        }
        let rule =
            [UploadRule::Copy, UploadRule::Scatter, UploadRule::Cheapest(COSTS)][random.below(3) as usize];
        let [plain, sorted] = sides.each_mut().map(|side| side.plan(&frame, rule));
        assert_eq!(moved(&plain), moved(&sorted), "frame {number}");
        assert_eq!(plain.uploads, sorted.uploads, "frame {number}");
        assert_eq!(plain.barriers, sorted.barriers, "frame {number}");
        assert_eq!(plain.entries, sorted.entries, "frame {number}");
        assert_eq!(plain.order, sorted.order, "frame {number}");
        assert_eq!((&plain.culled, &plain.trimmed), (&sorted.culled, &sorted.trimmed), "frame {number}");
        let ranges = |side: &Side| side.state.get(side.buffer).map(|p| p.ranges.clone());
        assert_eq!(ranges(&sides[0]), ranges(&sides[1]), "frame {number}");
        let is_unsorted = !plain.regions.is_sorted_by_key(|r| r.dst);
        unsorted += usize::from(is_unsorted);
        few += usize::from(is_unsorted && frame.len() <= 32);
    }
    assert!(unsorted > 400 && few > 100, "{unsorted}, {few}");
}

#[test]
fn as_many_uploads_as_there_are_to_one_place_leave_one_range() {
    let mut state = GraphState::new();
    let buffer =
        state.add_buffer(BufferDesc::new("b", 10 << 20, BufferUsage::STORAGE | BufferUsage::TRANSFER_DST));
    let mut planner = Planner::new();
    for backwards in [false, true] {
        for causes in [false, true] {
            let mut frame = FrameGraph::new();
            for i in 0..300 {
                let at = 4 * if backwards { 299 - i } else { i };
                frame.upload(HostSlice { buffer: 0, offset: 4 * i }, buffer.slice(at..at + 4));
            }
            frame.upload(HostSlice { buffer: 0, offset: 4000 }, buffer.slice(2000..2004));
            let planned =
                planner.plan_with(&frame, &mut state, PlanOptions { causes, ..PlanOptions::default() }, &[]);
            assert!(planned.is_ok());
            planner.commit(&mut state);
            assert_eq!(state.range_count(buffer), 4, "{backwards} {causes}");
            // What nobody wrote cannot be read.
            frame.reset();
            frame
                .pass("p")
                .read(buffer.slice(1300..1400), Access::COMPUTE_STORAGE_READ)
                .side_effects()
                .finish();
            assert!(planner.plan(&frame, &mut state).is_err(), "{backwards} {causes}");
        }
    }
}

#[test]
fn uploads_to_buffers_in_turns_are_not_taken_to_ascend() {
    let mut state = GraphState::new();
    let usage = BufferUsage::STORAGE | BufferUsage::TRANSFER_DST;
    let [a, b] = ["a", "b"].map(|name| state.add_buffer(BufferDesc::new(name, 64, usage)));
    for causes in [false, true] {
        let mut frame = FrameGraph::new();
        // The third replaces the first.
        let places = [(a, 0..8), (b, 0..8), (a, 0..8), (b, 16..24), (a, 24..32)];
        for (i, (buffer, range)) in (0..).zip(places) {
            frame.upload(HostSlice { buffer: 0, offset: 8 * i }, buffer.slice(range));
        }
        let options = PlanOptions { causes, ..PlanOptions::default() };
        let mut planner = Planner::new();
        let schedule = match planner.plan_with(&frame, &mut state, options, &[]) {
            Ok(schedule) => schedule,
            Err(error) => unreachable!("{error}"),
        };
        let culled: Vec<u32> = schedule.culled.iter().map(|c| c.node).collect();
        assert_eq!(culled, [0], "causes: {causes}");
        let copied: Vec<_> =
            moved(schedule).into_iter().map(|(_, dst, src, size, ..)| (dst, src, size)).collect();
        assert_eq!(copied, [(0, 8, 8), (0, 16, 8), (16, 24, 8), (24, 32, 8)], "causes: {causes}");
    }
}
