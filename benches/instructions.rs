//! Instructions to declare and plan a frame, counted by valgrind: repeatable where time is not.
//!
//! `cargo bench --bench instructions` prints a table; with `-- --check` it fails if planning is not linear, or beyond
//! the limits below. To look closer:
//! `valgrind --tool=callgrind target/release/deps/instructions-… --run G1 1000`, then `callgrind_annotate`.

mod shapes;

use memkit_gpu::graph::PlanOptions;
use shapes::{Bench, Shape};
use std::process::{Command, ExitCode};

const PASSES: [usize; 4] = [10, 100, 1000, 5000];
const FRAMES: usize = 4;
/// Most instructions a pass at 1,000 passes, about a tenth above what was measured.
const LIMITS: [(Shape, u64); 2] = [(Shape::G1, 8_100), (Shape::G2, 4_200)];
/// Most that a pass among 5,000 may cost beside one among fewer, in percent.
const GROWTH: u64 = 120;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--run") {
        run(&args[at + 1], &args[at + 2]);
        return ExitCode::SUCCESS;
    }
    let mut fine = true;
    println!("instructions a pass, declare + plan + commit, no causes");
    println!("{:<8}{}", "passes", PASSES.map(|p| format!("{p:>8}")).concat());
    for (shape, limit) in LIMITS {
        let counts = PASSES.map(|passes| count(shape, passes));
        println!("{:<8}{}", format!("{shape:?}"), counts.map(|c| format!("{c:>8}")).concat());
        let [_, hundred, thousand, five_thousand] = counts;
        if thousand > limit {
            eprintln!("{shape:?}: {thousand} instructions a pass at 1,000 passes, the limit is {limit}");
            fine = false;
        }
        // A hundred passes of G2 are a hundred chains of one pass: none reads anything.
        let fewer = if shape == Shape::G1 { hundred } else { thousand };
        if five_thousand * 100 > fewer * GROWTH {
            eprintln!(
                "{shape:?}: planning grows: {five_thousand} instructions a pass at 5,000 passes, {fewer} at fewer"
            );
            fine = false;
        }
    }
    if fine || !args.iter().any(|a| a == "--check") {
        return ExitCode::SUCCESS;
    }
    eprintln!("the head of benches/instructions.rs says how to look closer");
    ExitCode::FAILURE
}

/// What valgrind counts.
#[inline(never)]
fn measured_region(bench: &mut Bench) {
    for _ in 0..FRAMES {
        std::hint::black_box(bench.frame(PlanOptions::default()).depth());
    }
}

fn run(shape: &str, passes: &str) {
    let shape = if shape == "G1" { Shape::G1 } else { Shape::G2 };
    let mut bench = Bench::new(shape, passes.parse().unwrap_or(1000));
    for _ in 0..3 {
        bench.frame(PlanOptions::default());
    }
    measured_region(&mut bench);
}

/// Runs this program under callgrind, and returns instructions a pass.
fn count(shape: Shape, passes: usize) -> u64 {
    let this = std::env::current_exe().unwrap_or_default();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_region*")
        .arg(this)
        .args(["--run", &format!("{shape:?}"), &passes.to_string()])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            eprintln!("cannot run valgrind: {error}; tests/install-vulkan installs it");
            std::process::exit(1);
        }
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|l| l.split("Collected : ").nth(1));
    let instructions: Option<u64> = collected.and_then(|c| c.trim().parse().ok());
    match instructions {
        Some(n) if n > 0 => n / (FRAMES * passes) as u64,
        _ => {
            eprintln!("valgrind counted nothing:\n{text}");
            std::process::exit(1);
        }
    }
}
