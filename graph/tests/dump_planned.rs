//! Dumps of random frames, planned: what a dump finds out by itself agrees with what the planner did.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_graph::dump::{CommandDump, RegionDump};
use memkit_graph::*;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const SIZE: u64 = 256;

/// A frame of up to forty nodes over three persistent buffers and two transients.
fn declare(random: &mut Random, buffers: &[ResourceId]) -> FrameGraph {
    let mut g = FrameGraph::new();
    let transients = [g.transient("t", SIZE), g.transient("t", SIZE)];
    for t in transients {
        g.fill(t, 0);
    }
    let mut passes = Vec::new();
    for i in 0..3 + random.below(35) {
        let slice = |random: &mut Random| {
            let (start, len) = (random.below(60) * 4, 4 + random.below(20) * 4);
            let range = start..(start + len).min(SIZE);
            match random.below(5) {
                n @ 0..3 => buffers[n as usize].slice(range),
                n => transients[n as usize - 3].slice(range),
            }
        };
        let from = HostSlice { buffer: random.below(2) as u32, offset: i * SIZE };
        match random.below(8) {
            0..2 => {
                g.upload(from, slice(random));
            }
            2 => {
                // Adjacent on both sides.
                let (buffer, start) = (buffers[random.below(3) as usize], random.below(30) * 4);
                g.upload(from, buffer.slice(start..start + 8));
                g.upload(HostSlice { offset: from.offset + 8, ..from }, buffer.slice(start + 8..start + 20));
            }
            3 => {
                g.fill(slice(random), 1);
            }
            _ => {
                let (r, w) = (Access::COMPUTE_STORAGE_READ, Access::COMPUTE_STORAGE_WRITE);
                let other = if random.below(2) == 0 { Access::VERTEX_STORAGE_READ } else { r };
                let mut pass = g.pass("p").read(slice(random), other);
                pass = match random.below(3) {
                    0 => pass.write(slice(random), w),
                    1 => pass.modify(slice(random), Access::COMPUTE_STORAGE_READ_WRITE),
                    _ => pass,
                };
                if random.below(6) == 0 {
                    pass = pass.side_effects();
                }
                passes.push(pass.finish());
            }
        }
    }
    if let [first, .., last] = passes[..] {
        g.order(first, last);
    }
    g.readback(transients[0].slice(0..64), buffers[3].slice(0..64));
    g
}

#[test]
fn a_dump_agrees_with_the_plan_it_shows() {
    let (mut causes, mut merged, mut trimmed, mut culled, mut covered, mut scattered) = (0, 0, 0, 0, 0, 0);
    for seed in 1..15_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut state = GraphState::new();
        let usage = BufferUsage::STORAGE | BufferUsage::TRANSFER_DST | BufferUsage::TRANSFER_SRC;
        let buffers: Vec<ResourceId> = (0..4)
            .map(|i| {
                let desc = BufferDesc::new(format!("b{i}"), SIZE, usage);
                state.add_buffer(BufferDesc {
                    initialized: true,
                    host_visible: i == 3,
                    scatter: i < 2,
                    ..desc
                })
            })
            .collect();
        let mut planner = Planner::new();
        for frame in 0..3 {
            let g = declare(&mut random, &buffers);
            let uploads = if seed % 2 == 0 { UploadRule::Scatter } else { UploadRule::Copy };
            let options = PlanOptions { causes: true, uploads };
            let Ok(schedule) = planner.plan_with(&g, &mut state, options, &[]).cloned() else {
                continue; // One pass may use bytes in ways that contradict each other.
            };
            let dump = FrameDump::new("random", &g, &schedule, &state);
            let text = dump.to_text();
            let context = || format!("seed {seed}, frame {frame}\n{text}");

            // Every hazard with a barrier is a link of its own, and names that barrier's cause.
            for c in dump.causes() {
                let (Party::Node(a), Party::Node(b)) = (c.producer.who, c.consumer.who) else { continue };
                let chain = dump.explain(a, b).unwrap_or_else(|| panic!("{a} and {b}: {}", context()));
                assert_eq!(chain.len(), 1, "{a} and {b}: {}", context());
                assert!(chain[0].cause.is_some(), "{a} and {b}: {chain:?} {c:?} {}", context());
                causes += 1;
            }
            // Every hazard found runs upwards.
            for (a, first) in (0_u32..).zip(&dump.nodes) {
                for (b, then) in (0_u32..).zip(&dump.nodes) {
                    if let Some(chain) = dump.explain(a, b) {
                        assert!(first.level < then.level, "{}{}", dump.explain_text(a, b), context());
                        covered += chain.iter().filter(|s| s.cause.is_none()).count();
                    }
                }
            }
            // Every kept node is in one place of the command lists, and regions know all they came from.
            let mut shown = vec![0; dump.nodes.len()];
            for level in &dump.queues[0].levels {
                for command in &level.commands {
                    let mut regions_shown = |regions: &[&RegionDump]| {
                        for r in regions {
                            r.nodes.iter().for_each(|&n| shown[n as usize] += 1);
                            assert_eq!(r.nodes.len(), r.merged as usize, "{r:?} {}", context());
                            merged += usize::from(r.merged > 1);
                        }
                    };
                    match command {
                        CommandDump::Pass { node } => shown[*node as usize] += 1,
                        CommandDump::Fill { nodes, .. } => {
                            nodes.iter().for_each(|&n| shown[n as usize] += 1);
                        }
                        CommandDump::Copy { regions, .. } => {
                            regions_shown(&regions.iter().collect::<Vec<_>>());
                        }
                        CommandDump::Scatter { regions } => {
                            scattered += regions.len();
                            regions_shown(&regions.iter().map(|r| &r.region).collect::<Vec<_>>());
                        }
                    }
                }
            }
            for (n, node) in dump.nodes.iter().enumerate() {
                let here = (0_u32..).zip(&dump.trimmed).any(|(_, t)| t.node as usize == n);
                let right = if here { true } else { shown[n] == usize::from(node.level.is_some()) };
                assert!(right, "`{}` is shown {} times\n{}", node.name, shown[n], context());
            }
            trimmed += dump.trimmed.len();
            culled += dump.culled.len();
            assert!(!text.contains("unknown"), "{}", context());
            #[cfg(feature = "json")]
            assert_eq!(FrameDump::from_json(&dump.to_json().unwrap()), Ok(dump));
            planner.commit(&mut state);
        }
    }
    let seen = [causes, merged, trimmed, culled, covered, scattered];
    assert!(seen.iter().all(|&n| n > 20), "all of it happens: {seen:?}");
}
