//! The command line, as all peers have it.

use memkit_gpu::{MkGpuConfig, MkMemoryType, MkUploadMethod};

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
    /// Helper threads for large uploads, beside the calling thread.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Where staging memory is; the library chooses, if not given.
    #[arg(long, value_enum)]
    pub(crate) staging: Option<Staging>,
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
    /// U3 by `upload_now`, one after the other: until each has arrived.
    Now,
    /// U1 to U5 straight into the buffers' memory, where the host can map it.
    Direct,
    /// U3 from memory that was imported once: no copy by the host.
    Import,
    /// G1 and G2 with a planner that keeps plans.
    Cached,
    /// G1 and G2 with real dispatches, recorded, submitted and checked on Vulkan, beside the same ones by hand.
    Record,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staging {
    /// The device's memory, if the host can map much of it.
    Visible,
    /// The host's memory.
    Local,
    /// The host's memory, cached.
    Cached,
}

impl Args {
    pub(crate) fn config(&self) -> MkGpuConfig {
        let staging_memory = self.staging.map(|staging| match staging {
            Staging::Visible => MkMemoryType::HostVisible,
            Staging::Local => MkMemoryType::HostLocal,
            Staging::Cached => MkMemoryType::HostCached,
        });
        let uploads = match self.mode {
            Some(Mode::Copy) => MkUploadMethod::Copy,
            Some(Mode::Scatter) => MkUploadMethod::Scatter,
            _ => MkUploadMethod::Auto,
        };
        MkGpuConfig { upload_threads: self.threads, staging_memory, uploads, ..Default::default() }
    }
}
