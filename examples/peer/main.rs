//! One row beside the peers: the workloads that this library and others are measured with, through its public API
//! alone. Nothing is batched or merged here: each upload is one call, each pass one statement.
//!
//! ```text
//! cargo run --release --features vulkan --example peer -- U1
//! cargo run --release --features vulkan --example peer -- U1 --uploads 10000 --bytes 64 --mode scatter --costs
//! cargo run --release --features vulkan --example peer -- G2 --passes 1000 --mode record
//! ```
//!
//! | | workload |
//! |---|---|
//! | U1 | 1,000 uploads of 256 bytes a frame to random places of one 64 MiB buffer, none overlapping |
//! | U2 | 1,000 uploads of 256 bytes a frame, each to its own 4 KiB buffer |
//! | U3 | one upload of 64 MiB a frame |
//! | U4 | 1,000 adjacent uploads of 256 bytes a frame |
//! | U5 | 1,000 uploads of 1 B to 4 KiB a frame at odd places of one 64 MiB buffer |
//! | G1 | P passes; pass *i* writes buffer *i* and reads *i*-1, *i*-7 and *i*-31; declared and planned anew each frame |
//! | G2 | a hundred interleaved chains: pass *i* reads *i*-100 |
//!
//! Uploads have other ways: `--mode direct` writes straight into the buffers' memory; and U3 `--mode now`, without a
//! frame, and `--mode import`, from imported memory. G1 and G2 `--mode cached` use the plan of an earlier frame again, whose
//! structure is the same. `--threads N` lets helper threads copy.
//!
//! One line of JSON a workload goes to stdout. After the last frame of an upload workload every byte that was written is
//! read back and compared; the exit status is 3 if one differs.

mod args;
mod by_hand;
mod check;
mod clock;
mod dispatch;
mod graphs;
mod pages;
mod record;
mod report;
mod timer;
mod uploads;
mod workload;

use args::{Args, Mode, Work};
use clap::Parser;
use std::process::ExitCode;

/// What ends the program: one line for the user.
type Failure = Box<dyn std::error::Error>;

/// Exit status if a byte is not what was uploaded.
const WRONG_BYTES: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut right = true;
    for &work in &args.works {
        match run(work, &args) {
            Ok(fine) => right &= fine,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_BYTES) }
}

/// Runs one workload; false if a byte is wrong.
fn run(work: Work, args: &Args) -> Result<bool, Failure> {
    match (work, args.mode) {
        (work, Some(Mode::Dummy)) if work.is_upload() => uploads::on_dummy(work, args),
        (Work::U3, Some(Mode::Now | Mode::Import)) => uploads::on_vulkan(work, args),
        (work, None | Some(Mode::Copy | Mode::Scatter | Mode::Direct)) if work.is_upload() => {
            uploads::on_vulkan(work, args)
        }
        (Work::G1 | Work::G2, None | Some(Mode::Cached)) => graphs::run(work, args),
        (Work::G1 | Work::G2, Some(Mode::Record)) => record::run(work, args),
        (_, mode) => Err(format!("{work:?} has no mode {mode:?}").into()),
    }
}
