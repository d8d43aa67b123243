//! Frames far larger than an engine's: `cargo bench --bench scale` prints the time and the memory of each, and of one a
//! tenth as large, of which both are ten times: nothing grows faster than what is declared.
//!
//! Each is run by a process of its own, whose greatest resident size is what the system says (`VmHWM` of
//! `/proc/self/status`); where it does not, memory is left out.

mod shapes;

use memkit_gpu::graph::PlanOptions;
use memkit_gpu::{DummyBackend, MkBufferUsage, MkError, MkGpu};
use shapes::{Bench, Shape, uploads};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What there is much of, and how much.
const WORK: [(&str, usize); 6] = [
    ("passes", 100_000),
    ("uploads to one buffer", 1_000_000),
    ("uploads, each to its own", 1_000_000),
    ("overlapping uploads", 1_000_000),
    ("such, read in the middle", 1_000_000),
    ("live buffers", 1_000_000),
];
/// Bytes of an upload.
const BYTES: usize = 16;
/// The fastest of so many frames counts; the others are those in which memory is first used.
const FRAMES: usize = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, run, work, n] = &args[..]
        && run == "--run"
    {
        let Ok(n) = n.parse() else { return ExitCode::FAILURE };
        return match measure(work, n) {
            Ok(took) => {
                println!("{} {}", took.as_nanos(), resident());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    println!(
        "{:<28}{:>10}{:>14}{:>12}{:>12}{:>10}",
        "a frame of", "n", "ms", "ns each", "bytes each", "to n / 10"
    );
    for (work, most) in WORK {
        let (few, many) = (child(work, most / 10), child(work, most));
        let (Some((fewer, _)), Some((took, resident))) = (few, many) else {
            eprintln!("{work}: did not run");
            return ExitCode::FAILURE;
        };
        let (ms, each) = (took as f64 / 1e6, took as f64 / most as f64);
        let bytes = resident as f64 / most as f64;
        println!(
            "{work:<28}{most:>10}{ms:>14.1}{each:>12.0}{bytes:>12.0}{:>9.1}x",
            took as f64 / fewer as f64
        );
    }
    ExitCode::SUCCESS
}

/// Runs a piece of work in a process of its own. Returns nanoseconds and bytes.
fn child(work: &str, n: usize) -> Option<(u64, u64)> {
    let this = std::env::current_exe().ok()?;
    let output =
        Command::new(this).args(["--run", work, &n.to_string()]).stderr(Stdio::inherit()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (took, resident) = text.trim().split_once(' ')?;
    Some((took.parse().ok()?, resident.parse().ok()?))
}

/// The greatest resident size of this process, in bytes, or 0 if it is not known.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn measure(work: &str, n: usize) -> Result<Duration, MkError> {
    match work {
        "passes" => {
            let mut bench = Bench::new(Shape::G1, n);
            fastest(|| {
                std::hint::black_box(bench.frame(PlanOptions::default()).depth());
                Ok(())
            })
        }
        "uploads to one buffer" => whole_frames(uploads::Shape::U1, n),
        "uploads, each to its own" => whole_frames(uploads::Shape::U2, n),
        "overlapping uploads" => whole_frames(uploads::Shape::Over, n),
        "such, read in the middle" => whole_frames(uploads::Shape::OverTwice, n),
        _ => live_buffers(n),
    }
}

/// Frames of the facade, submitted; what the simulated device does afterwards does not count.
fn whole_frames(shape: uploads::Shape, n: usize) -> Result<Duration, MkError> {
    let frames = uploads::Uploads::with_bytes(shape, n, BYTES)?;
    let mut best = Duration::MAX;
    for _ in 0..FRAMES {
        frames.frame(|submit| {
            let begin = Instant::now();
            submit();
            best = best.min(begin.elapsed());
        })?;
    }
    Ok(best)
}

/// A frame that uses one of very many buffers, and making them: together, as an application pays for both.
fn live_buffers(n: usize) -> Result<Duration, MkError> {
    let gpu = MkGpu::new(DummyBackend::new());
    let begin = Instant::now();
    let buffers = (0..n)
        .map(|_| gpu.create_device_buffer(16, MkBufferUsage::STORAGE))
        .collect::<Result<Vec<_>, _>>()?;
    for buffer in buffers.iter().step_by(n.div_ceil(100)) {
        let mut frame = gpu.begin_frame()?;
        frame.fill(buffer, 1);
        frame.submit()?.wait()?;
    }
    Ok(begin.elapsed())
}

fn fastest(mut frame: impl FnMut() -> Result<(), MkError>) -> Result<Duration, MkError> {
    let mut best = Duration::MAX;
    for _ in 0..FRAMES {
        let begin = Instant::now();
        frame()?;
        best = best.min(begin.elapsed());
    }
    Ok(best)
}
