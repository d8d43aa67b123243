//! Instructions to declare and plan a frame of passes, and to declare, stage, plan, record and submit one of uploads,
//! counted by valgrind: repeatable where time is not.
//!
//! `cargo bench --bench instructions` prints tables; with `-- --check` it fails if the cost is not linear, or beyond
//! the limits below, and prints the commands to look closer with.

mod shapes;

use memkit_gpu::graph::{PlanOptions, PlanOrigin};
use shapes::uploads::{Shape as UploadShape, Uploads};
use shapes::{Bench, Shape};
use std::process::{Command, ExitCode};

const PASSES: [usize; 5] = [10, 100, 1000, 5000, 100_000];
const FRAMES: usize = 4;
/// Most instructions a pass at 1,000 passes, about a tenth above what was measured.
const LIMITS: [(Shape, u64); 2] = [(Shape::G1, 2_050), (Shape::G2, 1_500)];
/// Most that a pass of G1 with causes may cost beside one without, in percent.
const CAUSES: u64 = 150;
/// Most that a pass among more may cost beside one among fewer, and one among ten beside one among a thousand, in
/// percent.
const PASS_GROWTH: u64 = 105;
const FEW_PASSES: u64 = 300;
/// Uploads a frame that are counted; the limits are for the first.
const UPLOADS: [usize; 2] = [1000, 4000];
/// Most instructions an upload among 1,000, on the calling thread, about a tenth above what was measured.
const UPLOAD_LIMITS: [(UploadShape, u64); 6] = [
    (UploadShape::U1, 275),
    (UploadShape::U2, 780),
    (UploadShape::U4, 235),
    (UploadShape::Read, 625),
    (UploadShape::Over, 5_800),
    (UploadShape::OverTwice, 5_850),
];
/// Most that an upload among the most may cost beside one among fewer, in percent. Those that overlap are looked up among
/// each other: the logarithm of 4,000 is a fifth more than that of 1,000.
const GROWTH: u64 = 120;
/// G1, planned with causes.
const WITH_CAUSES: &str = "G1-causes";
/// What a shape is called where its plan is used again.
const CACHED: &str = "-cached";
/// Most instructions a pass at 1,000 passes then, about a tenth above what was measured.
const CACHED_LIMITS: [(Shape, u64); 2] = [(Shape::G1, 370), (Shape::G2, 235)];
/// What G1 is called where no frame is like another: with a planner that keeps plans, and with one that keeps none.
const CHANGING: [&str; 2] = ["G1-changing", "G1-changing-anew"];
/// Most that a pass of it may cost beside one of a planner that keeps none, in percent.
const KEEPING: u64 = 105;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--run") {
        run(&args[at + 1], &args[at + 2]);
        return ExitCode::SUCCESS;
    }
    let fine = passes() & uploads();
    if fine || !args.iter().any(|a| a == "--check") {
        return ExitCode::SUCCESS;
    }
    let this = std::env::current_exe().unwrap_or_default();
    eprintln!(
        "to look closer, with the shape and number that is named above:\n\
         valgrind --tool=callgrind --callgrind-out-file=callgrind.out --collect-atstart=no \
         '--toggle-collect=*measured_region*' {} --run G1 1000\n\
         callgrind_annotate --inclusive=yes callgrind.out",
        this.display()
    );
    ExitCode::FAILURE
}

/// Counts and judges planning.
fn passes() -> bool {
    let mut fine = true;
    println!("instructions a pass, declare + plan + commit, no causes");
    println!("{:<8}{}", "passes", PASSES.map(|p| format!("{p:>8}")).concat());
    for (shape, limit) in LIMITS {
        let counts = PASSES.map(|passes| count(&format!("{shape:?}"), passes));
        println!("{:<8}{}", format!("{shape:?}"), counts.map(|c| format!("{c:>8}")).concat());
        let [ten, hundred, thousand, more, most] = counts;
        if thousand > limit {
            eprintln!("{shape:?}: {thousand} instructions a pass at 1,000 passes, the limit is {limit}");
            fine = false;
        }
        if shape == Shape::G1 {
            let [keeping, anew] = CHANGING.map(|shape| count(shape, 1000));
            println!("{:<8}{keeping:>24}  no frame is like another, plans are kept; {anew} if not", "");
            if keeping * 100 > anew * KEEPING {
                eprintln!("{}: {keeping} instructions a pass, {anew} if no plans are kept", CHANGING[0]);
                fine = false;
            }
            let causes = count(WITH_CAUSES, 1000);
            println!("{:<8}{causes:>24}  with causes", "");
            if causes * 100 > thousand * CAUSES {
                eprintln!("{shape:?}: {causes} instructions a pass with causes, {thousand} without");
                fine = false;
            }
        }
        if let Some((_, limit)) = CACHED_LIMITS.iter().find(|(of, _)| *of == shape) {
            let cached = PASSES.map(|passes| count(&format!("{shape:?}{CACHED}"), passes));
            println!("{:<8}{}  the plan is used again", "", cached.map(|c| format!("{c:>8}")).concat());
            if cached[2] > *limit {
                eprintln!(
                    "{shape:?}{CACHED}: {} instructions a pass at 1,000 passes, the limit is {limit}",
                    cached[2]
                );
                fine = false;
            }
        }
        // A hundred passes of G2 are a hundred chains of one pass: none reads anything.
        let fewer = if shape == Shape::G1 { hundred } else { thousand };
        for (passes, count) in [("5,000", more), ("100,000", most)] {
            if count * 100 > fewer * PASS_GROWTH {
                eprintln!(
                    "{shape:?}: planning grows: {count} instructions a pass at {passes} passes, {fewer} at fewer"
                );
                fine = false;
            }
        }
        if ten * 100 > thousand * FEW_PASSES {
            eprintln!("{shape:?}: {ten} instructions a pass at 10 passes, {thousand} at 1,000");
            fine = false;
        }
    }
    fine
}

/// Counts and judges frames of uploads.
fn uploads() -> bool {
    let mut fine = true;
    println!(
        "instructions an upload of 256 bytes, declare + stage + plan + record + submit, simulated device"
    );
    println!("{:<8}{}", "uploads", UPLOADS.map(|n| format!("{n:>8}")).concat());
    for (shape, limit) in UPLOAD_LIMITS {
        let [fewer, more] = UPLOADS.map(|n| count(&format!("{shape:?}"), n));
        println!("{:<8}{fewer:>8}{more:>8}", format!("{shape:?}"));
        if fewer > limit {
            eprintln!("{shape:?}: {fewer} instructions an upload at 1,000 uploads, the limit is {limit}");
            fine = false;
        }
        if more * 100 > fewer * GROWTH {
            eprintln!("{shape:?}: uploads grow: {more} instructions each at 4,000, {fewer} at 1,000");
            fine = false;
        }
    }
    fine
}

/// What valgrind counts.
#[inline(never)]
fn measured_region(f: &mut dyn FnMut()) {
    f();
    std::hint::black_box(());
}

fn run(shape: &str, number: &str) {
    let number = number.parse().unwrap_or(1000);
    let shapes = UPLOAD_LIMITS.map(|l| l.0);
    if let Some(&shape) = shapes.iter().find(|s| format!("{s:?}") == shape) {
        if let Err(error) = run_uploads(shape, number) {
            unreachable!("the shapes are right: {error}");
        }
        return;
    }
    let options = PlanOptions { causes: shape == WITH_CAUSES, ..PlanOptions::default() };
    let (cached, changing) = (shape.ends_with(CACHED), CHANGING.iter().position(|&c| c == shape));
    let shape = if shape.starts_with("G2") { Shape::G2 } else { Shape::G1 };
    let mut bench = if cached {
        Bench::cached(shape, number)
    } else if let Some(anew) = changing {
        Bench::changing(shape, number, if anew == 0 { 8 } else { 0 })
    } else {
        Bench::new(shape, number)
    };
    // One of the measured frames is among those that are remembered though none comes again.
    for _ in 0..29 {
        bench.frame(options);
    }
    measured_region(&mut || {
        for _ in 0..FRAMES {
            std::hint::black_box(bench.frame(options).depth());
        }
    });
    assert_eq!(
        bench.frame(options).origin == PlanOrigin::Reused,
        cached,
        "{:?}",
        bench.frame(options).origin
    );
}

fn run_uploads(shape: UploadShape, number: usize) -> Result<(), memkit_gpu::MkError> {
    let bench = Uploads::new(shape, number)?;
    for _ in 0..3 {
        bench.frame(|f| f())?;
    }
    (0..FRAMES).try_for_each(|_| bench.frame(measured_region))
}

/// Runs this program under callgrind, and returns instructions a pass or upload.
fn count(shape: &str, number: usize) -> u64 {
    let this = std::env::current_exe().unwrap_or_default();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_region*")
        .arg(this)
        .args(["--run", shape, &number.to_string()])
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
        Some(n) if n > 0 => n / (FRAMES * number) as u64,
        _ => {
            eprintln!("valgrind counted nothing:\n{text}");
            std::process::exit(1);
        }
    }
}
