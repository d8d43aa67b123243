//! The main job: an engine-like frame, declared once, run on the simulated device or on Vulkan, and checked against
//! plain sequential code, frame by frame.
//!
//! ```text
//! cargo run --release --example frame_loop
//! cargo run --release --features vulkan --example frame_loop -- --backend vulkan --validate
//! ```

mod args;
mod bodies;
mod inputs;
mod kernels;
mod mesh;
mod reference;
mod report;
mod run;
mod scene;
mod verify;

use args::{Args, Backend};
use clap::Parser;
use std::process::ExitCode;

/// What ends the program: one line for the user.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Failure> {
    let mesh = mesh::load(args.mesh.as_deref())?;
    match args.backend {
        Backend::Dummy => bodies::dummy::run(args, &mesh),
        Backend::Vulkan => vulkan(args, &mesh),
    }
}

#[cfg(feature = "vulkan")]
fn vulkan(args: &Args, mesh: &mesh::Mesh) -> Result<(), Failure> {
    bodies::vulkan::run(args, mesh)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_: &Args, _: &mesh::Mesh) -> Result<(), Failure> {
    Err("this build has no Vulkan backend; rebuild with it: \
         cargo run --release --features vulkan --example frame_loop -- --backend vulkan"
        .into())
}
