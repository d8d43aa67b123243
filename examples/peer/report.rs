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

/// A recorded frame and the same one by hand, in nanoseconds: recording, and the device from the first command to the
/// last.
#[derive(Default)]
pub(crate) struct Beside {
    record: Vec<f64>,
    gpu: Vec<f64>,
    by_hand_record: Vec<f64>,
    by_hand_gpu: Vec<f64>,
}

impl Beside {
    pub(crate) fn ours(&mut self, record: f64, gpu: f64) {
        self.record.push(record);
        self.gpu.push(gpu);
    }

    pub(crate) fn by_hand(&mut self, record: f64, gpu: f64) {
        self.by_hand_record.push(record);
        self.by_hand_gpu.push(gpu);
    }

    /// Ours in microseconds, and as a multiple of that by hand.
    fn into_json(self) -> String {
        let (record, gpu) = (median(self.record), median(self.gpu));
        let (by_hand_record, by_hand_gpu) = (median(self.by_hand_record), median(self.by_hand_gpu));
        format!(
            ",\"record_us\":{:.1},\"record_x_by_hand\":{:.2},\"gpu_us\":{:.1},\"gpu_x_by_hand\":{:.2}",
            record / 1e3,
            record / by_hand_record,
            gpu / 1e3,
            gpu / by_hand_gpu
        )
    }
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

    pub(crate) fn print(self, work: Work, passes: usize, beside: Option<Beside>) {
        let beside = beside.map_or_else(String::new, Beside::into_json);
        let total: Vec<f64> = self.declare.iter().zip(&self.plan).map(|(d, p)| d + p).collect();
        let iters = total.len();
        let total = median(total);
        let a_pass = |nanoseconds: f64| nanoseconds / passes as f64;
        println!(
            "{{\"kind\":\"graph\",\"peer\":\"{}\",\"work\":\"{work:?}\",\"passes\":{passes},\"iters\":{iters},\
             \"declare_ns\":{:.1},\"compile_ns\":{:.1},\"record_ns\":{:.1},\"total_ns\":{:.1},\"total_us\":{:.1}{beside}}}",
            env!("CARGO_PKG_NAME"),
            a_pass(median(self.declare)),
            a_pass(median(self.plan)),
            a_pass(median(self.record)),
            a_pass(total),
            total / 1e3,
        );
    }
}
