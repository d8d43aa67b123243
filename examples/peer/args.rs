//! The command line, as all peers have it.

/// Measures this library on the workloads of its peers.
#[derive(clap::Parser, Debug)]
pub(crate) struct Args {
    /// Workloads to run, one after the other.
    #[arg(required = true, value_enum)]
    pub(crate) works: Vec<Work>,
    /// Upload frames that are measured.
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub(crate) frames: usize,
    /// Frames before those.
    #[arg(long, default_value_t = 5)]
    pub(crate) warmup: usize,
    /// Uploads a frame in U1, U2 and U4.
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) uploads: usize,
    /// Bytes of an upload in U1, U2 and U4, a multiple of 8.
    #[arg(long, default_value_t = 256, value_parser = at_least_one)]
    pub(crate) bytes: usize,
    /// Passes of G1 and G2.
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) passes: usize,
    /// Graphs that are measured; as many as give a steady median, if not given.
    #[arg(long, value_parser = at_least_one)]
    pub(crate) iters: Option<usize>,
    /// Says on stderr what uploads cost on the device, and how those of the last frame travelled.
    #[arg(long)]
    pub(crate) costs: bool,
    /// Another way to run the workload.
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// Leave out the comparison of bytes, which takes long under valgrind.
    #[arg(long)]
    pub(crate) no_check: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Scattered uploads to one buffer.
    #[value(name = "U1")]
    U1,
    /// Uploads to as many buffers.
    #[value(name = "U2")]
    U2,
    /// One large upload.
    #[value(name = "U3")]
    U3,
    /// Adjacent uploads to one buffer.
    #[value(name = "U4")]
    U4,
    /// Uploads of 1 B to 4 KiB at odd places of one buffer.
    #[value(name = "U5")]
    U5,
    /// One long chain of passes.
    #[value(name = "G1")]
    G1,
    /// A hundred chains, interleaved.
    #[value(name = "G2")]
    G2,
}

impl Work {
    pub(crate) fn is_upload(self) -> bool {
        !matches!(self, Work::G1 | Work::G2)
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// U1 to U5 on the simulated device, without its checks.
    Dummy,
    /// U1 to U5 with every upload a copy region.
    Copy,
    /// U1 to U5 with every upload scattered.
    Scatter,
    /// G1 and G2 with real dispatches, recorded, submitted and checked on Vulkan, beside the same ones by hand.
    Record,
}
