//! Figures of a submitted frame.

use crate::backend::MkGpuBackend;
use crate::device::lock;
use crate::gpu::MkGpu;
use memkit_graph::{Command, FrameGraph, PlanOrigin, Schedule};
use std::sync::Arc;
use std::time::Duration;

/// What the frame submitted last consisted of, and how long the calling thread took for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MkFrameStats {
    /// Declared passes; uploads, copies, fills and readbacks are none.
    pub passes: usize,
    /// Passes and transfers that were left out.
    pub culled: usize,
    /// Declared uploads.
    pub uploads: usize,
    /// Copy commands that uploads, copies and readbacks became.
    pub copy_commands: usize,
    /// Regions of these.
    pub regions: usize,
    /// Scatters of uploads, one a level: each is a dispatch or a few.
    pub scatters: usize,
    /// Regions of these.
    pub scatter_regions: usize,
    /// Pipeline barrier calls.
    pub barrier_calls: usize,
    /// Bytes written to staging memory.
    pub staged_bytes: u64,
    /// Whether its plan was made for it, and why.
    pub origin: PlanOrigin,
    /// Time spent planning.
    pub plan: Duration,
    /// Time spent recording, the closures' own included.
    pub record: Duration,
    /// Time spent submitting.
    pub submit: Duration,
}

impl MkFrameStats {
    pub(crate) fn count(graph: &FrameGraph, schedule: &Schedule, staged_bytes: u64) -> Self {
        let commands = schedule.queues.iter().flat_map(|q| &q.commands);
        MkFrameStats {
            passes: graph.pass_count(),
            culled: schedule.culled.len(),
            uploads: graph.upload_count(),
            copy_commands: commands.clone().filter(|c| matches!(c, Command::Copy { .. })).count(),
            regions: schedule.copy_region_count(),
            scatters: commands.filter(|c| matches!(c, Command::Scatter { .. })).count(),
            scatter_regions: schedule.scatter_region_count(),
            barrier_calls: schedule.barriers.len(),
            staged_bytes,
            origin: schedule.origin,
            ..MkFrameStats::default()
        }
    }
}

/// How [`DummyStats`] looks: number of buffers, their bytes, reports.
type Look = dyn Fn() -> (usize, u64, Vec<crate::MkHazard>) + Send + Sync;

/// Figures of a simulated device that can be looked at after its end. Made by
/// [`DummyBackend::stats`](crate::DummyBackend::stats).
#[derive(Clone)]
pub struct DummyStats(Arc<Look>);

impl DummyStats {
    pub(crate) fn new(look: impl Fn() -> (usize, u64, Vec<crate::MkHazard>) + Send + Sync + 'static) -> Self {
        DummyStats(Arc::new(look))
    }

    /// Number of buffers that exist.
    #[must_use]
    pub fn buffer_count(&self) -> usize {
        (self.0)().0
    }

    /// Bytes of all buffers that exist.
    #[must_use]
    pub fn total_allocated(&self) -> u64 {
        (self.0)().1
    }

    /// As [`DummyBackend::hazards`](crate::DummyBackend::hazards).
    #[must_use]
    pub fn hazards(&self) -> Vec<crate::MkHazard> {
        (self.0)().2
    }
}

impl std::fmt::Debug for DummyStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DummyStats").field("buffers", &self.buffer_count()).finish_non_exhaustive()
    }
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// Figures of the frame submitted last; all zero before the first.
    #[must_use]
    pub fn frame_stats(&self) -> MkFrameStats {
        lock(&self.inner.core).stats
    }
}
