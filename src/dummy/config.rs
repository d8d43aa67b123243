//! How the simulated device behaves.

use memkit_graph::{Stages, UploadCosts};

/// Settings of a [`DummyBackend`](crate::DummyBackend).
///
/// ```
/// use memkit_gpu::{DummyBackend, DummyBackendConfig};
/// let backend = DummyBackend::with_config(DummyBackendConfig {
///     max_buffer_size: 1 << 20,
///     transfer_delay_us: 50,
///     ..Default::default()
/// });
/// assert_eq!(backend.buffer_count(), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DummyBackendConfig {
    /// Largest buffer, in bytes. Default: 1 GiB.
    pub max_buffer_size: usize,
    /// Whether device-local memory is out of the host's reach, as on a discrete GPU. `false`: every buffer is mapped.
    /// Default: `true`.
    pub simulate_device_local: bool,
    /// How long each submission stays in flight before it runs, in microseconds. Default: 0.
    pub transfer_delay_us: u64,
    /// Whether everything the device does is held to the Vulkan memory model, and
    /// [hazards](crate::DummyBackend::hazards) are reported. Default: `true`.
    pub check: bool,
    /// The atom that flushes and invalidates are rounded to, in bytes, as the capabilities report it. The simulated
    /// memory itself is coherent. Default: 64.
    pub non_coherent_atom_size: usize,
    /// Memory of the caller's can be [imported](crate::MkGpu::import_host_memory) whose address and size are multiples of
    /// this many bytes; 0: none can. The simulated device keeps the pointer, and reads and writes the memory when the
    /// submission runs that uses it; that the host writes it meanwhile is not noticed. Default: 4096.
    pub host_import_alignment: usize,
    /// Bytes of all buffers together; beyond, making a buffer fails with
    /// [`MkError::OutOfMemory`](crate::MkError::OutOfMemory). Default: no limit.
    pub memory_limit: usize,
    /// How many buffers there may be, as each has an allocation of its own here; beyond, making a buffer fails with
    /// [`MkError::OutOfMemory`](crate::MkError::OutOfMemory). Vulkan's `maxMemoryAllocationCount` may be as low as 4096.
    /// Default: no limit.
    pub allocation_limit: usize,
    /// Whether it can scatter uploads ([`MkCapabilities::scatter_uploads`](crate::MkCapabilities::scatter_uploads)).
    /// Default: `true`.
    pub scatter_uploads: bool,
    /// What uploads cost, as the device reports it: what [`MkUploadMethod::Auto`](crate::MkUploadMethod::Auto) goes by.
    /// Default: all zero, and uploads are copied.
    pub upload_costs: UploadCosts,
    /// Leaves out one barrier call: the one with this number, counted from 0 over the life of the device, in the order
    /// in which they run. A tool to prove that tests notice a missing barrier: with `check` on it gives reports and
    /// wrong bytes. Default: none.
    pub skip_barrier: Option<u64>,
    /// The seed of an adversary, which runs work in other orders than the one it was recorded in: any that barriers and
    /// waits allow, across submissions too, so that a missing barrier gives wrong bytes. Default: none, and everything
    /// runs in order.
    ///
    /// - Commands are taken apart: each declared use is loaded and stored once in each of its stages, and barriers hold
    ///   up stages, as the specification has it (7.1, "Execution and Memory Dependencies"). The kernels of a pass run
    ///   in one go, as part of one of its stages.
    /// - Where [`check`](Self::check) finds bytes not visible, it serves what was there before the last write, or poison.
    ///   Without `check` the order alone is adverse.
    /// - Work runs only when it is waited for: by a wait, by the eighth poll in a row, or when eight later submissions
    ///   are in flight. A poll then waits for it, a second at most. A kernel must not wait for the host, nor
    ///   the host for a kernel other than by these.
    /// - The same seed and the same calls in the same order give the same run, whatever the threads do. Reports are the
    ///   same for all seeds, but for what kernels do.
    pub adversary: Option<u64>,
    /// Queue families, of one queue each: a submission whose commands are in the list `i` of
    /// [`Schedule::queues`](memkit_graph::Schedule::queues) runs on family `i`. A semaphore orders submissions to
    /// different families. For schedules made by hand, to hold their ownership transfers to the specification; the
    /// planner uses the first alone. Default: 1.
    pub queue_families: u32,
    /// Stages its queues run, as [`MkCapabilities::stages`](crate::MkCapabilities::stages) reports them; transfers are
    /// always among them. Umbrella stages stand for these only, and recording a barrier that names another fails. Default:
    /// all.
    pub stages: Stages,
}

impl Default for DummyBackendConfig {
    fn default() -> Self {
        DummyBackendConfig {
            max_buffer_size: 1 << 30,
            simulate_device_local: true,
            transfer_delay_us: 0,
            check: true,
            non_coherent_atom_size: 64,
            host_import_alignment: 4096,
            memory_limit: usize::MAX,
            allocation_limit: usize::MAX,
            scatter_uploads: true,
            upload_costs: UploadCosts::default(),
            skip_barrier: None,
            adversary: None,
            queue_families: 1,
            stages: Stages::all(),
        }
    }
}
