//! How the simulated device behaves.

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
    /// Bytes of all buffers together; beyond, making a buffer fails with
    /// [`MkError::OutOfMemory`](crate::MkError::OutOfMemory). Default: no limit.
    pub memory_limit: usize,
    /// How many buffers there may be, as each has an allocation of its own here; beyond, making a buffer fails with
    /// [`MkError::OutOfMemory`](crate::MkError::OutOfMemory). Vulkan's `maxMemoryAllocationCount` may be as low as 4096.
    /// Default: no limit.
    pub allocation_limit: usize,
    /// Leaves out one barrier call: the one with this number, counted from 0 over the life of the device, in the order
    /// in which they run. A tool to prove that tests notice a missing barrier: with `check` on it gives reports and
    /// wrong bytes. Default: none.
    pub skip_barrier: Option<u64>,
}

impl Default for DummyBackendConfig {
    fn default() -> Self {
        DummyBackendConfig {
            max_buffer_size: 1 << 30,
            simulate_device_local: true,
            transfer_delay_us: 0,
            check: true,
            non_coherent_atom_size: 64,
            memory_limit: usize::MAX,
            allocation_limit: usize::MAX,
            skip_barrier: None,
        }
    }
}
