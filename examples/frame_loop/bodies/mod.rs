//! What the passes record, on each backend.

pub(crate) mod dummy;
#[cfg(feature = "vulkan")]
pub(crate) mod vulkan;

use crate::scene::Io;
use memkit_gpu::{MkError, MkGpuBackend};

/// The bodies of the passes.
pub(crate) trait Bodies<B: MkGpuBackend> {
    /// Called before a frame is declared, when the frame submitted `in_flight` before it is done.
    fn begin(&mut self, number: u32) -> Result<(), MkError>;
    fn cull(&self, cx: &mut B::Context<'_>, io: &Io) -> Result<(), MkError>;
    fn transform(&self, cx: &mut B::Context<'_>, io: &Io) -> Result<(), MkError>;
    fn particles(&self, cx: &mut B::Context<'_>, io: &Io) -> Result<(), MkError>;
    /// What the device had to object to so far, a line each.
    fn objections(&self) -> Vec<String>;
}
