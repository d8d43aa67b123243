//! How uploads travel: what the caller wants, what the device can, and what it costs there.

use crate::backend::MkGpuBackend;
use crate::device::lock;
use crate::gpu::{Inner, MkGpu};
use crate::{MkError, MkMemoryType};
use memkit_graph::{FrameGraph, UploadCosts, UploadRule};

/// How the uploads of frames travel: see [`graph::uploads`](memkit_graph::uploads) for the rule.
///
/// Uploads are only ever scattered to buffers the library made, on a device that can
/// ([`MkCapabilities::scatter_uploads`](crate::MkCapabilities::scatter_uploads)); others are copied, whatever is asked for. A dump says what was
/// chosen and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MkUploadMethod {
    /// Whichever costs less on this device. What it costs is measured when the first frame with at least
    /// 8 uploads is submitted, which takes some milliseconds once, or earlier by [`MkGpu::upload_costs`]; until then uploads are copied.
    /// If it cannot be measured, they stay copies.
    #[default]
    Auto,
    /// As copy regions.
    Copy,
    /// Scattered by a compute shader.
    Scatter,
    /// Whichever costs less by these figures; nothing is measured.
    Costs(UploadCosts),
}

/// Fewer uploads than this in a frame are no reason to measure: a dispatch costs as much as a few copy regions.
const FEW: usize = 8;

/// What is known of a device's costs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Measured {
    /// Nobody has asked.
    #[default]
    NotYet,
    Costs(UploadCosts),
    /// It did not work; only who asks explicitly tries again.
    Failed,
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// What uploads cost on this device: measured by the first call, or by the first frame that needs it, and kept. To be
    /// called while an application loads, if a few milliseconds in a frame are too many.
    ///
    /// # Errors
    /// [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`], [`MkError::DeviceLost`], or what the backend says.
    pub fn upload_costs(&self) -> Result<UploadCosts, MkError> {
        self.inner.check_lost()?;
        let mut measured = lock(&self.inner.upload_costs);
        match *measured {
            Measured::Costs(costs) => Ok(costs),
            Measured::NotYet | Measured::Failed => self.inner.measure(&mut measured),
        }
    }
}

impl<B: MkGpuBackend> Inner<B> {
    fn measure(&self, measured: &mut Measured) -> Result<UploadCosts, MkError> {
        *measured = Measured::Failed;
        let costs = self.note(self.backend.upload_costs(self.chunk_memory()))?;
        *measured = Measured::Costs(costs);
        Ok(costs)
    }

    /// Whether uploads are ever scattered.
    fn may_scatter(&self) -> bool {
        self.config.uploads != MkUploadMethod::Copy && self.backend.capabilities().scatter_uploads
    }

    /// Where chunks of staging memory are.
    pub(crate) fn chunk_memory(&self) -> MkMemoryType {
        match self.config.staging_memory.filter(|memory| memory.is_mappable()) {
            Some(memory) => memory,
            None if self.may_scatter() || self.config.upload_threads >= 2 => MkMemoryType::HostLocal,
            None => MkMemoryType::HostVisible,
        }
    }

    /// What decides how a frame's uploads travel.
    pub(crate) fn upload_rule(&self, graph: &FrameGraph) -> Result<UploadRule, MkError> {
        let wanted = self.config.uploads;
        if !self.may_scatter() {
            return Ok(UploadRule::Copy);
        }
        match wanted {
            MkUploadMethod::Copy => Ok(UploadRule::Copy),
            MkUploadMethod::Scatter => Ok(UploadRule::Scatter),
            MkUploadMethod::Costs(costs) => Ok(UploadRule::Cheapest(costs)),
            MkUploadMethod::Auto => {
                let mut measured = lock(&self.upload_costs);
                match *measured {
                    Measured::Costs(costs) => Ok(UploadRule::Cheapest(costs)),
                    Measured::NotYet if has_many(graph) => match self.measure(&mut measured) {
                        Ok(costs) => Ok(UploadRule::Cheapest(costs)),
                        Err(MkError::DeviceLost) => Err(MkError::DeviceLost),
                        Err(_) => Ok(UploadRule::Copy),
                    },
                    Measured::NotYet | Measured::Failed => Ok(UploadRule::Copy),
                }
            }
        }
    }
}

/// Whether measuring could be worth it.
fn has_many(graph: &FrameGraph) -> bool {
    graph.upload_count() >= FEW
}
