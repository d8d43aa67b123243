//! The simulated device, the default backend: it keeps bytes, runs the same command lists as a real one, after
//! `submit` has returned, and holds them to the Vulkan memory model.
//!
//! Passes record kernels ([`DummyContext::dispatch`]), which reach only the bytes their pass declared
//! ([`MkKernelMemory`]). What is wrong with the synchronisation is in [`DummyBackend::hazards`]: each report names both
//! parties, the bytes, what is missing and the barrier that would mend it.

mod adversary;
mod backend;
mod config;
mod faults;
mod hazard;
mod judge;
mod kernel;
mod memory;
mod model;
mod order;
mod queue;
mod record;
mod run;
mod scatter;
mod serve;
#[cfg(test)]
mod tests;

pub use backend::DummyBuffer;
pub use config::DummyBackendConfig;
pub use faults::{DummyCalls, DummyFailedCall, DummyFault, DummyFaultError, DummyFaultWhen};
pub use hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork};
pub use kernel::{MkKernelMemory, MkKernelRead, MkKernelWrite};
pub use record::{DummyContext, DummyRecording};

use crate::MkCapabilities;
use backend::Buffers;
use faults::Faults;
use queue::Shared;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The simulated device.
///
/// Making one allocates no device memory and starts no thread; the thread that plays the queue starts with the first
/// submission. Dropping it runs everything submitted to its end first, also while [paused](Self::pause).
pub struct DummyBackend {
    capabilities: MkCapabilities,
    shared: Arc<Shared>,
    buffers: Mutex<Buffers>,
    faults: Faults,
    /// Told apart from other devices, whose handles are refused.
    serial: u32,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl DummyBackend {
    /// A device with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(DummyBackendConfig::default())
    }

    /// A device with the given settings.
    #[must_use]
    pub fn with_config(config: DummyBackendConfig) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let mut capabilities = MkCapabilities::new("memkit-gpu simulated device");
        capabilities.driver = concat!("memkit-gpu ", env!("CARGO_PKG_VERSION")).to_owned();
        capabilities.max_buffer_size = config.max_buffer_size as u64;
        capabilities.non_coherent_atom_size = config.non_coherent_atom_size.max(1) as u64;
        capabilities.scatter_uploads = config.scatter_uploads;
        capabilities.unified_memory = !config.simulate_device_local;
        capabilities.stages = config.stages | memkit_graph::Queue::Transfer.supported_stages();
        let import = config.host_import_alignment;
        // Aligned to what the simulated device's own memory is.
        capabilities.host_import = (import > 0)
            .then(|| (import as u64).checked_next_multiple_of(memory::ALIGNMENT as u64))
            .flatten();
        capabilities.queues.push("graphics, compute, transfer".to_owned());
        DummyBackend {
            capabilities,
            shared: Arc::new(Shared::new(config)),
            buffers: Mutex::default(),
            faults: Faults::default(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            worker: Mutex::default(),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &DummyBackendConfig {
        &self.shared.config
    }

    /// Number of buffers that exist.
    #[must_use]
    pub fn buffer_count(&self) -> usize {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    /// Bytes of all buffers that exist.
    #[must_use]
    pub fn total_allocated(&self) -> u64 {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).allocated()
    }

    /// What was wrong so far, in the order in which it happened: the first 1,000 reports. Work in flight has not been
    /// judged yet; wait for it first.
    #[must_use]
    pub fn hazards(&self) -> Vec<MkHazard> {
        self.shared.reports.all()
    }

    /// Like [`hazards`](Self::hazards), and begins anew.
    #[must_use = "the reports are gone otherwise"]
    pub fn take_hazards(&self) -> Vec<MkHazard> {
        self.shared.reports.take()
    }

    /// Number of reports, those beyond the first 1,000 included.
    #[must_use]
    pub fn hazard_count(&self) -> u64 {
        self.shared.reports.count()
    }

    /// Barrier calls run so far. Counts the one left out by
    /// [`skip_barrier`](DummyBackendConfig::skip_barrier), and not what `submit` adds to catch up.
    #[must_use]
    pub fn barrier_calls(&self) -> u64 {
        self.shared.barriers.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Submissions so far.
    #[must_use]
    pub fn submissions(&self) -> u64 {
        self.shared.submitted()
    }

    /// Holds the queue: a submission that runs already runs to its end, later ones stay in flight until
    /// [`resume`](Self::resume). Waits for them end by their timeouts only.
    pub fn pause(&self) {
        self.shared.pause(true);
    }

    /// Lets the queue go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.shared.pause(false);
    }
}

/// Faults on demand.
impl DummyBackend {
    /// Makes calls fail from now on, as `fault` says, until [`clear_faults`](Self::clear_faults). Faults add up; where
    /// several hit one call, the first injected decides how it fails.
    ///
    /// What a kernel calls and what dropping the device waits for never fails.
    pub fn inject(&self, fault: DummyFault) {
        self.faults.inject(fault);
    }

    /// Takes back all [injected](Self::inject) faults. A lost device stays lost.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// Number of calls so far that could have failed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.faults.calls()
    }

    /// The calls that failed because of an [injected](Self::inject) fault: the first 1,000. Calls that fail because
    /// the device was lost by an earlier one are not among them.
    #[must_use]
    pub fn failed_calls(&self) -> Vec<DummyFailedCall> {
        self.faults.failed()
    }
}

impl Default for DummyBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for DummyBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DummyBackend")
            .field("config", self.config())
            .field("buffers", &self.buffer_count())
            .field("submissions", &self.submissions())
            .finish_non_exhaustive()
    }
}

impl Drop for DummyBackend {
    fn drop(&mut self) {
        self.shared.stop();
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A kernel may own the last reference to its device; a thread does not wait for itself.
        if let Some(worker) = worker.filter(|w| w.thread().id() != std::thread::current().id()) {
            // It ends without a panic: its work is caught.
            let _ = worker.join();
        }
    }
}
