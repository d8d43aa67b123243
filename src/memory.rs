//! Kinds of memory, and what a device can do.

use memkit_graph::{BufferUsage, Stages};

/// Where a buffer's bytes live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MkMemoryType {
    /// Fastest for the device; the host reaches it by transfers only.
    #[default]
    DeviceLocal,
    /// Mapped, for the host to write and the device to read: staging.
    HostVisible,
    /// Mapped, and the host's own memory where the device has another: the device reads it across the bus. Faster to write
    /// than [`HostVisible`](Self::HostVisible), which may be the device's memory, and slower to copy from.
    HostLocal,
    /// Mapped and cached, for the device to write and the host to read: readbacks.
    HostCached,
    /// Device-local and mapped at once, where the device has such memory; otherwise like `HostVisible`.
    Unified,
}

impl MkMemoryType {
    /// Whether the host can map it.
    #[must_use]
    pub const fn is_mappable(self) -> bool {
        !matches!(self, MkMemoryType::DeviceLocal)
    }
}

impl std::fmt::Display for MkMemoryType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MkMemoryType::DeviceLocal => "device-local",
            MkMemoryType::HostVisible => "host-visible",
            MkMemoryType::HostLocal => "host-local",
            MkMemoryType::HostCached => "host-cached",
            MkMemoryType::Unified => "unified",
        })
    }
}

/// What a buffer is made of.
///
/// ```
/// use memkit_gpu::{MkBufferDesc, MkBufferUsage, MkMemoryType};
/// let desc = MkBufferDesc {
///     name: "instances",
///     size: 64 * 1000,
///     usage: MkBufferUsage::STORAGE,
///     memory: MkMemoryType::DeviceLocal,
/// };
/// assert_eq!(MkBufferDesc::default().memory, desc.memory);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MkBufferDesc<'a> {
    /// Its name in errors, dumps and debug tools. Empty: named after its kind, its number and the source line that
    /// made it.
    pub name: &'a str,
    /// Bytes; not zero.
    pub size: usize,
    /// What it may be used for. Transfers to and from it are always allowed.
    pub usage: BufferUsage,
    /// Where its bytes live.
    pub memory: MkMemoryType,
}

/// What a device can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MkCapabilities {
    /// Name of the device.
    pub device_name: String,
    /// Name and version of its driver.
    pub driver: String,
    /// Largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// Flushes and invalidates of mapped memory are rounded to this many bytes (`nonCoherentAtomSize`).
    pub non_coherent_atom_size: u64,
    /// Whether some device-local memory can be mapped by the host.
    pub unified_memory: bool,
    /// The stages that its queue runs, as far as the device was made with the features for them. Umbrella stages stand for
    /// these only; a pass that names another is an error.
    pub stages: Stages,
    /// Whether uploads to buffers the library makes can be scattered by a compute shader.
    pub scatter_uploads: bool,
    /// Memory of the caller's can be imported whose address and size are multiples of this many bytes
    /// ([`MkGpu::import_host_memory`](crate::MkGpu::import_host_memory)). `None`: none can.
    pub host_import: Option<u64>,
    /// The queues used, one name each: what their family can do.
    pub queues: Vec<String>,
}

impl MkCapabilities {
    /// Capabilities of a device with the given name, and otherwise the least any device offers.
    #[must_use]
    pub fn new(device_name: impl Into<String>) -> Self {
        MkCapabilities {
            device_name: device_name.into(),
            driver: String::new(),
            max_buffer_size: 1 << 27,
            non_coherent_atom_size: 256,
            unified_memory: false,
            stages: Stages::all() - Stages::OPTIONAL,
            scatter_uploads: false,
            host_import: None,
            queues: Vec::new(),
        }
    }
}
