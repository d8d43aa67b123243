//! Frames of nothing but uploads to one buffer, which may not be sorted: planned with causes they are, and the rest is the same.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_graph::*;

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
    fn new(causes: bool, planner: Planner) -> Self {
        let mut state = GraphState::with_max_ranges(32);
        let usage = BufferUsage::STORAGE | BufferUsage::VERTEX | BufferUsage::TRANSFER_DST;
        let desc = BufferDesc { initialized: true, scatter: true, ..BufferDesc::new("b", SIZE, usage) };
        let buffer = state.add_buffer(desc);
        Side { causes, state, planner, buffer }
    }

    fn plan(&mut self, frame: &FrameGraph, uploads: UploadRule) -> Schedule {
        let options = PlanOptions { causes: self.causes, uploads };
        let schedule = self.planner.plan_with(frame, &mut self.state, options, &[]).unwrap().clone();
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
    let mut staged = 0;
    let place = |(start, end): (u64, u64)| {
        staged += [0, 0, 4][random.below(3) as usize];
        let from = HostSlice { buffer: (mixed && random.below(2) == 0) as u32, offset: staged };
        staged += end - start;
        (start, end, from)
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

#[test]
fn the_plan_is_the_same_whether_they_are_sorted_or_not() {
    let (mut random, mut unsorted, mut frames) = (Random(8), 0, 0);
    for planner in [Planner::new, || Planner::with_cache(4)] {
        let mut sides = [Side::new(false, planner()), Side::new(true, planner())];
        let mut frame = FrameGraph::new();
        for number in 0..600 {
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
            let rule = [UploadRule::Copy, UploadRule::Scatter][random.below(2) as usize];
            let [plain, sorted] = sides.each_mut().map(|side| side.plan(&frame, rule));
            let context = || format!("frame {number}");
            assert_eq!(moved(&plain), moved(&sorted), "{}", context());
            assert_eq!(plain.barriers, sorted.barriers, "{}", context());
            assert_eq!(plain.entries, sorted.entries, "{}", context());
            assert_eq!(plain.order, sorted.order, "{}", context());
            assert_eq!((&plain.culled, &plain.trimmed), (&sorted.culled, &sorted.trimmed), "{}", context());
            let [a, b] = sides.each_ref().map(|side| side.state.range_count(side.buffer));
            assert_eq!(a, b, "{}", context());
            unsorted += usize::from(!plain.regions.is_sorted_by_key(|r| r.dst));
            frames += 1;
        }
    }
    assert!(unsorted > frames / 4, "{unsorted} of {frames}");
}
