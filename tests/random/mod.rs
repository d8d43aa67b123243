//! Random frame sequences: what they are, how they run on the simulated device, and what should come out.
#![allow(dead_code, reason = "each test target uses its part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod case;
pub mod depth;
pub mod reference;
pub mod rig;
pub mod run;
pub mod search;

use memkit_gpu::graph::{AccessFlags, BarrierEntry, Stages};

/// An entry that does nothing.
pub const NOTHING: BarrierEntry = BarrierEntry {
    src_stages: Stages::empty(),
    src_access: AccessFlags::empty(),
    dst_stages: Stages::empty(),
    dst_access: AccessFlags::empty(),
};

/// The frames up to `k`, as declared and as planned.
pub fn listing(sequence: &rig::Sequence, k: usize) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for k in 0..=k {
        let s = &sequence.frames[k].schedule;
        let frame = &sequence.case.frames[k];
        let _ = writeln!(text, "frame {k}, orders {:?}, prologue {}", frame.orders, frame.prologue);
        for (i, n) in frame.nodes.iter().enumerate() {
            let level = s.order.iter().find(|p| (p.node as usize + frame.prologue) % frame.nodes.len() == i);
            let _ = writeln!(text, " {i} {:?} level {:?}", n.kind, level.map(|l| l.level));
            for u in &n.uses {
                let _ = writeln!(text, "     {:?} {:?} {:?} {}", u.mode, u.on, u.range, u.access);
            }
        }
        for b in &s.barriers {
            let _ = writeln!(text, " before level {}", b.level);
            for e in s.entries_of(b) {
                let _ = writeln!(text, "     {e}");
            }
        }
    }
    text
}
