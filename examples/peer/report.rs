//! The lines on stdout, in the form all peers print.

use crate::args::Work;

/// What one upload workload gave.
pub(crate) struct Uploads {
    pub(crate) work: Work,
    pub(crate) uploads: usize,
    /// Bytes a frame.
    pub(crate) bytes: usize,
    /// Microseconds of each frame on the calling thread, with its wait for an earlier one.
    pub(crate) wall: Vec<f64>,
    /// Microseconds a frame until all were done, the calling thread's processor time, and the process's.
    pub(crate) mean: f64,
    pub(crate) thread: Option<f64>,
    pub(crate) process: Option<f64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) right: bool,
}

/// What one graph workload gave: nanoseconds of each graph.
#[derive(Default)]
pub(crate) struct Graphs {
    pub(crate) declare: Vec<f64>,
    pub(crate) plan: Vec<f64>,
    pub(crate) record: Vec<f64>,
}

fn or_null(value: Option<f64>) -> String {
    value.map_or("null".into(), |v| format!("{v:.2}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

impl Uploads {
    pub(crate) fn print(self) {
        let gigabytes = self.bytes as f64 / (self.mean * 1e3);
        println!(
            "{{\"kind\":\"upload\",\"peer\":\"{}\",\"work\":\"{:?}\",\"uploads\":{},\"frames\":{},\"wall_us\":{:.2},\
             \"mean_us\":{:.2},\"cpu_us\":{},\"thread_us\":{},\"gbps\":{gigabytes:.3},\"rss_mib\":{},\"ok\":{}}}",
            env!("CARGO_PKG_NAME"),
            self.work,
            self.uploads,
            self.wall.len(),
            median(self.wall),
            self.mean,
            or_null(self.process),
            or_null(self.thread),
            self.memory.map_or("null".into(), |bytes| (bytes >> 20).to_string()),
            self.right,
        );
    }
}

impl Graphs {
    pub(crate) fn add(&mut self, declare: f64, plan: f64, record: f64) {
        self.declare.push(declare);
        self.plan.push(plan);
        self.record.push(record);
    }

    pub(crate) fn print(self, work: Work, passes: usize) {
        let total: Vec<f64> = self.declare.iter().zip(&self.plan).map(|(d, p)| d + p).collect();
        let iters = total.len();
        let total = median(total);
        let a_pass = |nanoseconds: f64| nanoseconds / passes as f64;
        println!(
            "{{\"kind\":\"graph\",\"peer\":\"{}\",\"work\":\"{work:?}\",\"passes\":{passes},\"iters\":{iters},\
             \"declare_ns\":{:.1},\"compile_ns\":{:.1},\"record_ns\":{:.1},\"total_ns\":{:.1},\"total_us\":{:.1}}}",
            env!("CARGO_PKG_NAME"),
            a_pass(median(self.declare)),
            a_pass(median(self.plan)),
            a_pass(median(self.record)),
            a_pass(total),
            total / 1e3,
        );
    }
}
