//! The command line.

use std::path::PathBuf;

/// Runs an engine-like frame in a loop and checks every frame.
#[derive(clap::Parser, Debug)]
pub(crate) struct Args {
    /// Device to run on.
    #[arg(long, value_enum, default_value_t = Backend::Dummy)]
    pub(crate) backend: Backend,
    /// Frames to run.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) frames: u32,
    /// Frames submitted before the oldest must be done.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) in_flight: u32,
    /// Mesh to draw, an OBJ file; a small rock if not given.
    #[arg(long, value_name = "FILE.obj")]
    pub(crate) mesh: Option<PathBuf>,
    /// Run under the Khronos validation layer, with synchronization validation; any message is an error. On the
    /// simulated device hazards are always looked for.
    #[arg(long)]
    pub(crate) validate: bool,
    /// The simulated device runs work in any order that the barriers allow, chosen by this seed.
    #[arg(long, value_name = "SEED")]
    pub(crate) adversary: Option<u64>,
    /// Write the first two frames' dumps to this folder, as text, DOT, Mermaid and JSON.
    #[arg(long, value_name = "DIR")]
    pub(crate) dump: Option<PathBuf>,
    /// For tests: flip one byte of the mesh that is uploaded.
    #[arg(long, hide = true)]
    pub(crate) corrupt_mesh: bool,
    /// For tests: the simulated device ignores this barrier call, counted from 0.
    #[arg(long, hide = true, value_name = "K")]
    pub(crate) skip_barrier: Option<u64>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The simulated device.
    Dummy,
    /// A Vulkan device (feature `vulkan`).
    Vulkan,
}
