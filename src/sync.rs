//! Fences: points on the timeline.

use crate::MkError;
use crate::device::GpuRef;
use std::time::Duration;

/// A point on the device's timeline. Plain data, `Send`; it keeps nothing alive.
#[derive(Clone, Debug)]
pub struct MkFence {
    pub(crate) gpu: GpuRef,
    pub(crate) value: u64,
}

impl MkFence {
    /// The timeline value: ascending in the order of submission, 0 before the first.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Whether everything submitted before this point is done. Never blocks.
    ///
    /// # Errors
    /// [`MkError::DeviceLost`], [`MkError::GpuDropped`], or what the backend says; asking again may work then.
    pub fn is_complete(&self) -> Result<bool, MkError> {
        self.gpu.get()?.is_reached(self.value)
    }

    /// Waits until everything submitted before this point is done.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete).
    pub fn wait(&self) -> Result<(), MkError> {
        self.wait_timeout(Duration::MAX).map(|_| ())
    }

    /// Waits until then or until `timeout` has passed; `false` if it has.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, MkError> {
        self.gpu.wait(|_| Ok(Some(self.value)), timeout)
    }
}
