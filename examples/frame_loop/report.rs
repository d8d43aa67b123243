//! The table at the end.

use memkit_gpu::MkFrameStats;
use std::time::Duration;

/// What was measured, frame by frame.
#[derive(Default)]
pub(crate) struct Report {
    last: MkFrameStats,
    submits: u64,
    declare: Vec<Duration>,
    plan: Vec<Duration>,
    record: Vec<Duration>,
    submit: Vec<Duration>,
}

impl Report {
    pub(crate) fn add(&mut self, declare: Duration, stats: MkFrameStats, submits: u64) {
        self.declare.push(declare);
        self.plan.push(stats.plan);
        self.record.push(stats.record);
        self.submit.push(stats.submit);
        self.last = stats;
        self.submits = self.submits.max(submits);
    }

    pub(crate) fn print(mut self, vertices: usize, verified: u32, frames: u32) {
        let s = &self.last;
        let row = |name: &str, value: String| println!("{name:<16} {value:>12}");
        println!("{:<16} {:>12}", "a frame", "");
        row("vertices", vertices.to_string());
        row("passes", s.passes.to_string());
        row("culled", s.culled.to_string());
        row("uploads", s.uploads.to_string());
        row("copy commands", s.copy_commands.to_string());
        row("regions", s.regions.to_string());
        row("barrier calls", s.barrier_calls.to_string());
        row("submits", self.submits.to_string());
        row("bytes staged", s.staged_bytes.to_string());
        println!("{:<16} {:>12} {:>12}", "µs", "median", "p99");
        let times = [
            ("declare", &mut self.declare),
            ("plan", &mut self.plan),
            ("record", &mut self.record),
            ("submit", &mut self.submit),
        ];
        for (name, times) in times {
            times.sort_unstable();
            let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_nanos() as f64 / 1e3;
            println!("{name:<16} {:>12.1} {:>12.1}", at(0.5), at(0.99));
        }
        println!("verified {verified}/{frames}");
    }
}
