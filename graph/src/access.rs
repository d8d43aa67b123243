//! Stages, accesses and the named uses made of them.
//!
//! Bit values are those of Vulkan's synchronization2 (`VkPipelineStageFlagBits2`, `VkAccessFlagBits2`), so a
//! backend passes them through unchanged. Which access may occur in which stage follows the table "Supported
//! access types" of the Vulkan specification, section 7.1.3.

use bitflags::bitflags;

bitflags! {
    /// Pipeline stages, with the bit values of `VkPipelineStageFlagBits2`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
    pub struct Stages: u64 {
        /// Reading of indirect draw and dispatch arguments.
        const DRAW_INDIRECT = 1 << 1;
        /// Index and vertex attribute input together.
        const VERTEX_INPUT = 1 << 2;
        /// The vertex shader.
        const VERTEX_SHADER = 1 << 3;
        /// The tessellation control shader.
        const TESSELLATION_CONTROL_SHADER = 1 << 4;
        /// The tessellation evaluation shader.
        const TESSELLATION_EVALUATION_SHADER = 1 << 5;
        /// The geometry shader.
        const GEOMETRY_SHADER = 1 << 6;
        /// The fragment shader.
        const FRAGMENT_SHADER = 1 << 7;
        /// The compute shader.
        const COMPUTE_SHADER = 1 << 11;
        /// Every copy, blit, resolve and clear command.
        const ALL_TRANSFER = 1 << 12;
        /// Reads and writes of mapped memory by the host.
        const HOST = 1 << 14;
        /// Every graphics stage.
        const ALL_GRAPHICS = 1 << 15;
        /// Every stage a queue supports.
        const ALL_COMMANDS = 1 << 16;
        /// The task shader (`VK_EXT_mesh_shader`).
        const TASK_SHADER = 1 << 19;
        /// The mesh shader (`VK_EXT_mesh_shader`).
        const MESH_SHADER = 1 << 20;
        /// Ray tracing shaders.
        const RAY_TRACING_SHADER = 1 << 21;
        /// Copy commands.
        const COPY = 1 << 32;
        /// Resolve commands.
        const RESOLVE = 1 << 33;
        /// Blit commands.
        const BLIT = 1 << 34;
        /// Clear and fill commands, `vkCmdUpdateBuffer` among them.
        const CLEAR = 1 << 35;
        /// Reading of indices.
        const INDEX_INPUT = 1 << 36;
        /// Reading of vertex attributes.
        const VERTEX_ATTRIBUTE_INPUT = 1 << 37;
    }
}

bitflags! {
    /// Kinds of memory access, with the bit values of `VkAccessFlagBits2`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
    pub struct AccessFlags: u64 {
        /// Indirect arguments.
        const INDIRECT_COMMAND_READ = 1 << 0;
        /// Indices.
        const INDEX_READ = 1 << 1;
        /// Vertex attributes.
        const VERTEX_ATTRIBUTE_READ = 1 << 2;
        /// Uniform buffers.
        const UNIFORM_READ = 1 << 3;
        /// Any shader read but uniform buffers: sampled and storage reads together.
        const SHADER_READ = 1 << 5;
        /// Any shader write.
        const SHADER_WRITE = 1 << 6;
        /// Source of a copy.
        const TRANSFER_READ = 1 << 11;
        /// Destination of a copy, fill or clear.
        const TRANSFER_WRITE = 1 << 12;
        /// The host reads mapped memory.
        const HOST_READ = 1 << 13;
        /// The host writes mapped memory.
        const HOST_WRITE = 1 << 14;
        /// Every read the stages can do.
        const MEMORY_READ = 1 << 15;
        /// Every write the stages can do.
        const MEMORY_WRITE = 1 << 16;
        /// Uniform texel buffers and sampled images.
        const SHADER_SAMPLED_READ = 1 << 32;
        /// Storage buffers, storage texel buffers and physical pointers, read.
        const SHADER_STORAGE_READ = 1 << 33;
        /// Storage buffers, storage texel buffers and physical pointers, written.
        const SHADER_STORAGE_WRITE = 1 << 34;
    }
}

impl AccessFlags {
    /// Every access that only reads.
    pub const READS: Self = Self::INDIRECT_COMMAND_READ
        .union(Self::INDEX_READ)
        .union(Self::VERTEX_ATTRIBUTE_READ)
        .union(Self::UNIFORM_READ)
        .union(Self::SHADER_READ)
        .union(Self::TRANSFER_READ)
        .union(Self::HOST_READ)
        .union(Self::MEMORY_READ)
        .union(Self::SHADER_SAMPLED_READ)
        .union(Self::SHADER_STORAGE_READ);
    /// Every access that writes.
    pub const WRITES: Self = Self::SHADER_WRITE
        .union(Self::TRANSFER_WRITE)
        .union(Self::HOST_WRITE)
        .union(Self::MEMORY_WRITE)
        .union(Self::SHADER_STORAGE_WRITE);

    /// The accesses without the umbrella bits `SHADER_READ`, `SHADER_WRITE`, `MEMORY_READ` and `MEMORY_WRITE`,
    /// each replaced by what it stands for.
    #[must_use]
    pub const fn expanded(self) -> Self {
        let mut a = self;
        if a.contains(Self::MEMORY_READ) {
            a = a.union(Self::READS);
        }
        if a.contains(Self::MEMORY_WRITE) {
            a = a.union(Self::WRITES);
        }
        if a.contains(Self::SHADER_READ) {
            a = a.union(Self::SHADER_SAMPLED_READ).union(Self::SHADER_STORAGE_READ);
        }
        if a.contains(Self::SHADER_WRITE) {
            a = a.union(Self::SHADER_STORAGE_WRITE);
        }
        a.difference(
            Self::SHADER_READ.union(Self::SHADER_WRITE).union(Self::MEMORY_READ).union(Self::MEMORY_WRITE),
        )
    }

    /// The same accesses with every bit that another bit implies left out.
    #[must_use]
    pub const fn canonical(self) -> Self {
        let mut a = self;
        if a.contains(Self::MEMORY_READ) {
            a = a.difference(Self::READS).union(Self::MEMORY_READ);
        }
        if a.contains(Self::MEMORY_WRITE) {
            a = a.difference(Self::WRITES).union(Self::MEMORY_WRITE);
        }
        if a.contains(Self::SHADER_READ) {
            a = a.difference(Self::SHADER_SAMPLED_READ.union(Self::SHADER_STORAGE_READ));
        }
        if a.contains(Self::SHADER_WRITE) {
            a = a.difference(Self::SHADER_STORAGE_WRITE);
        }
        a
    }
}

impl Stages {
    /// Stages that run shaders, `ALL_GRAPHICS` and `ALL_COMMANDS` not counted.
    pub const SHADERS: Self = Self::VERTEX_SHADER
        .union(Self::TESSELLATION_CONTROL_SHADER)
        .union(Self::TESSELLATION_EVALUATION_SHADER)
        .union(Self::GEOMETRY_SHADER)
        .union(Self::FRAGMENT_SHADER)
        .union(Self::COMPUTE_SHADER)
        .union(Self::TASK_SHADER)
        .union(Self::MESH_SHADER)
        .union(Self::RAY_TRACING_SHADER);
    /// Stages that a device has only if it was made with a feature or an extension for them. Without it no barrier may
    /// name them (Vulkan specification, valid usage of `VkMemoryBarrier2`).
    pub const OPTIONAL: Self = Self::TESSELLATION_CONTROL_SHADER
        .union(Self::TESSELLATION_EVALUATION_SHADER)
        .union(Self::GEOMETRY_SHADER)
        .union(Self::TASK_SHADER)
        .union(Self::MESH_SHADER)
        .union(Self::RAY_TRACING_SHADER);
    /// What `ALL_TRANSFER` stands for.
    const TRANSFERS: Self = Self::COPY.union(Self::RESOLVE).union(Self::BLIT).union(Self::CLEAR);
    /// What `VERTEX_INPUT` stands for.
    const INPUTS: Self = Self::INDEX_INPUT.union(Self::VERTEX_ATTRIBUTE_INPUT);
    /// What `ALL_GRAPHICS` stands for, as far as buffers can be accessed there.
    const GRAPHICS: Self = Self::DRAW_INDIRECT
        .union(Self::INPUTS)
        .union(Self::VERTEX_SHADER)
        .union(Self::TESSELLATION_CONTROL_SHADER)
        .union(Self::TESSELLATION_EVALUATION_SHADER)
        .union(Self::GEOMETRY_SHADER)
        .union(Self::FRAGMENT_SHADER)
        .union(Self::TASK_SHADER)
        .union(Self::MESH_SHADER);
    const UMBRELLAS: Self =
        Self::ALL_COMMANDS.union(Self::ALL_GRAPHICS).union(Self::ALL_TRANSFER).union(Self::VERTEX_INPUT);

    /// The stages without the umbrella bits (`ALL_COMMANDS`, `ALL_GRAPHICS`, `ALL_TRANSFER`, `VERTEX_INPUT`), each
    /// replaced by what it stands for. `HOST` is in none of them.
    #[must_use]
    pub const fn expanded(self) -> Self {
        let mut s = self;
        if s.contains(Self::ALL_COMMANDS) {
            s = s
                .union(Self::GRAPHICS)
                .union(Self::TRANSFERS)
                .union(Self::COMPUTE_SHADER)
                .union(Self::RAY_TRACING_SHADER);
        }
        if s.contains(Self::ALL_GRAPHICS) {
            s = s.union(Self::GRAPHICS);
        }
        if s.contains(Self::ALL_TRANSFER) {
            s = s.union(Self::TRANSFERS);
        }
        if s.contains(Self::VERTEX_INPUT) {
            s = s.union(Self::INPUTS);
        }
        s.difference(Self::UMBRELLAS)
    }

    /// The same stages on a device that runs only `supported` ones: an umbrella bit that stands for others too is
    /// replaced by those it stands for there. Nothing runs in the others, so that nothing is lost.
    ///
    /// ```
    /// use memkit_graph::Stages;
    /// let supported = Stages::all() - Stages::OPTIONAL;
    /// let s = Stages::ALL_GRAPHICS.on(supported);
    /// assert!(s.contains(Stages::VERTEX_SHADER) && !s.contains(Stages::GEOMETRY_SHADER));
    /// assert_eq!(Stages::ALL_TRANSFER.on(supported), Stages::ALL_TRANSFER);
    /// ```
    #[must_use]
    pub const fn on(self, supported: Self) -> Self {
        let all = self.expanded();
        if supported.contains(all) { self } else { all.intersection(supported) }
    }

    /// The same stages with every stage that another one implies left out.
    #[must_use]
    pub const fn canonical(self) -> Self {
        let mut s = self;
        if s.contains(Self::ALL_COMMANDS) {
            s = s.intersection(Self::HOST).union(Self::ALL_COMMANDS);
        }
        if s.contains(Self::ALL_GRAPHICS) {
            s = s.difference(Self::GRAPHICS.union(Self::VERTEX_INPUT));
        }
        if s.contains(Self::ALL_TRANSFER) {
            s = s.difference(Self::TRANSFERS);
        }
        if s.contains(Self::VERTEX_INPUT) {
            s = s.difference(Self::INPUTS);
        }
        s
    }

    /// The accesses that can occur in these stages, umbrella accesses not counted.
    #[must_use]
    pub const fn supported_accesses(self) -> AccessFlags {
        let s = self.expanded();
        let mut a = AccessFlags::empty();
        if s.contains(Self::DRAW_INDIRECT) {
            a = a.union(AccessFlags::INDIRECT_COMMAND_READ);
        }
        if s.contains(Self::INDEX_INPUT) {
            a = a.union(AccessFlags::INDEX_READ);
        }
        if s.contains(Self::VERTEX_ATTRIBUTE_INPUT) {
            a = a.union(AccessFlags::VERTEX_ATTRIBUTE_READ);
        }
        if s.intersects(Self::SHADERS) {
            a = a
                .union(AccessFlags::UNIFORM_READ)
                .union(AccessFlags::SHADER_SAMPLED_READ)
                .union(AccessFlags::SHADER_STORAGE_READ)
                .union(AccessFlags::SHADER_STORAGE_WRITE);
        }
        if s.intersects(Self::COPY.union(Self::RESOLVE).union(Self::BLIT)) {
            a = a.union(AccessFlags::TRANSFER_READ);
        }
        if s.intersects(Self::TRANSFERS) {
            a = a.union(AccessFlags::TRANSFER_WRITE);
        }
        if s.contains(Self::HOST) {
            a = a.union(AccessFlags::HOST_READ).union(AccessFlags::HOST_WRITE);
        }
        a
    }
}

/// What a pass does to a resource: in which stages, by which kinds of access.
///
/// The constants name the uses engines make of buffers. Two uses combine with `|`: the result means every
/// access in every stage where it can occur.
///
/// ```
/// use memkit_graph::{Access, AccessFlags, Stages};
/// let a = Access::COMPUTE_STORAGE_READ | Access::VERTEX_ATTRIBUTE_READ;
/// assert_eq!(a.stages, Stages::COMPUTE_SHADER | Stages::VERTEX_ATTRIBUTE_INPUT);
/// assert!(!a.writes());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Access {
    /// Pipeline stages in which the accesses happen.
    pub stages: Stages,
    /// Kinds of access.
    pub access: AccessFlags,
}

macro_rules! named {
    ($($(#[$doc:meta])* $name:ident = $stages:ident, $($access:ident)|+;)*) => {
        $($(#[$doc])* pub const $name: Access =
            Access::new(Stages::$stages, AccessFlags::empty()$(.union(AccessFlags::$access))+);)*
    };
}

impl Access {
    /// No stage, no access.
    pub const NONE: Access = Access::new(Stages::empty(), AccessFlags::empty());

    named! {
        /// Arguments of an indirect draw or dispatch.
        INDIRECT_READ = DRAW_INDIRECT, INDIRECT_COMMAND_READ;
        /// Indices of an indexed draw.
        INDEX_READ = INDEX_INPUT, INDEX_READ;
        /// Vertex attributes of a draw.
        VERTEX_ATTRIBUTE_READ = VERTEX_ATTRIBUTE_INPUT, VERTEX_ATTRIBUTE_READ;
        /// A uniform buffer in the vertex shader.
        VERTEX_UNIFORM_READ = VERTEX_SHADER, UNIFORM_READ;
        /// A storage buffer read in the vertex shader.
        VERTEX_STORAGE_READ = VERTEX_SHADER, SHADER_STORAGE_READ;
        /// A storage buffer written in the vertex shader.
        VERTEX_STORAGE_WRITE = VERTEX_SHADER, SHADER_STORAGE_WRITE;
        /// A uniform buffer in the fragment shader.
        FRAGMENT_UNIFORM_READ = FRAGMENT_SHADER, UNIFORM_READ;
        /// A storage buffer read in the fragment shader.
        FRAGMENT_STORAGE_READ = FRAGMENT_SHADER, SHADER_STORAGE_READ;
        /// A storage buffer written in the fragment shader.
        FRAGMENT_STORAGE_WRITE = FRAGMENT_SHADER, SHADER_STORAGE_WRITE;
        /// A uniform buffer in a compute shader.
        COMPUTE_UNIFORM_READ = COMPUTE_SHADER, UNIFORM_READ;
        /// A uniform texel buffer in a compute shader.
        COMPUTE_SAMPLED_READ = COMPUTE_SHADER, SHADER_SAMPLED_READ;
        /// A storage buffer read in a compute shader.
        COMPUTE_STORAGE_READ = COMPUTE_SHADER, SHADER_STORAGE_READ;
        /// A storage buffer written in a compute shader.
        COMPUTE_STORAGE_WRITE = COMPUTE_SHADER, SHADER_STORAGE_WRITE;
        /// A storage buffer read and written in a compute shader, for `modify`.
        COMPUTE_STORAGE_READ_WRITE = COMPUTE_SHADER, SHADER_STORAGE_READ | SHADER_STORAGE_WRITE;
        /// Source of a copy.
        COPY_READ = COPY, TRANSFER_READ;
        /// Destination of a copy.
        COPY_WRITE = COPY, TRANSFER_WRITE;
        /// The host reads mapped memory.
        HOST_READ = HOST, HOST_READ;
        /// The host writes mapped memory.
        HOST_WRITE = HOST, HOST_WRITE;
    }

    /// Destination of a fill or of `vkCmdUpdateBuffer`.
    ///
    /// The specification counts these among the clear commands; Khronos synchronization validation up to 1.3.239, and
    /// with it some engines, takes them for copies. Naming both stages is right by either reading and costs a device
    /// nothing.
    pub const FILL_WRITE: Access =
        Access::new(Stages::CLEAR.union(Stages::COPY), AccessFlags::TRANSFER_WRITE);

    /// `access` in `stages`.
    #[must_use]
    pub const fn new(stages: Stages, access: AccessFlags) -> Self {
        Access { stages, access }
    }

    /// Whether any access reads.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.access.intersects(AccessFlags::READS)
    }

    /// Whether any access writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.access.intersects(AccessFlags::WRITES)
    }

    /// The same without what its own bits imply: no stage beside an umbrella stage that contains it, likewise for
    /// accesses.
    #[must_use]
    pub const fn canonical(self) -> Self {
        Access { stages: self.stages.canonical(), access: self.access.canonical() }
    }

    /// What a buffer needs for these accesses: for each kind of access some flags, any one of which will do (Vulkan
    /// specification, valid usage of descriptor updates, draws and copies).
    pub(crate) fn required_usages(self) -> impl Iterator<Item = BufferUsage> {
        const STORAGE: AccessFlags = AccessFlags::SHADER_STORAGE_READ
            .union(AccessFlags::SHADER_STORAGE_WRITE)
            .union(AccessFlags::SHADER_WRITE);
        const WRITABLE: BufferUsage =
            BufferUsage::STORAGE.union(BufferUsage::STORAGE_TEXEL).union(BufferUsage::DEVICE_ADDRESS);
        const RULES: [(AccessFlags, BufferUsage); 9] = [
            (AccessFlags::INDIRECT_COMMAND_READ, BufferUsage::INDIRECT),
            (AccessFlags::INDEX_READ, BufferUsage::INDEX),
            (AccessFlags::VERTEX_ATTRIBUTE_READ, BufferUsage::VERTEX),
            (AccessFlags::UNIFORM_READ, BufferUsage::UNIFORM),
            (AccessFlags::SHADER_SAMPLED_READ, BufferUsage::UNIFORM_TEXEL),
            (AccessFlags::SHADER_READ, WRITABLE.union(BufferUsage::UNIFORM_TEXEL)),
            (STORAGE, WRITABLE),
            (AccessFlags::TRANSFER_READ, BufferUsage::TRANSFER_SRC),
            (AccessFlags::TRANSFER_WRITE, BufferUsage::TRANSFER_DST),
        ];
        RULES.into_iter().filter(move |(flags, _)| self.access.intersects(*flags)).map(|(_, usage)| usage)
    }

    /// The usage flags a buffer made for these accesses gets.
    pub(crate) fn needed_usage(self) -> BufferUsage {
        let plain =
            BufferUsage::all().difference(BufferUsage::STORAGE_TEXEL.union(BufferUsage::DEVICE_ADDRESS));
        self.required_usages().fold(BufferUsage::empty(), |all, any| all | (any & plain))
    }
}

impl std::ops::BitOr for Access {
    type Output = Access;
    fn bitor(self, other: Access) -> Access {
        Access { stages: self.stages | other.stages, access: self.access | other.access }
    }
}

impl std::ops::BitOrAssign for Access {
    fn bitor_assign(&mut self, other: Access) {
        *self = *self | other;
    }
}

bitflags! {
    /// What a buffer may be used for, with the bit values of `VkBufferUsageFlagBits`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
    pub struct BufferUsage: u32 {
        /// Source of copies.
        const TRANSFER_SRC = 1 << 0;
        /// Destination of copies and fills.
        const TRANSFER_DST = 1 << 1;
        /// Uniform texel buffer.
        const UNIFORM_TEXEL = 1 << 2;
        /// Storage texel buffer.
        const STORAGE_TEXEL = 1 << 3;
        /// Uniform buffer.
        const UNIFORM = 1 << 4;
        /// Storage buffer.
        const STORAGE = 1 << 5;
        /// Index buffer.
        const INDEX = 1 << 6;
        /// Vertex buffer.
        const VERTEX = 1 << 7;
        /// Arguments of indirect draws and dispatches.
        const INDIRECT = 1 << 8;
        /// Reached by its device address.
        const DEVICE_ADDRESS = 1 << 17;
    }
}

/// A kind of queue a pass may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum Queue {
    /// Runs everything.
    Graphics,
    /// Runs compute and transfers.
    Compute,
    /// Runs transfers only.
    Transfer,
}

impl Queue {
    /// Stages that this kind of queue runs (Vulkan specification, table "Supported pipeline stages").
    #[must_use]
    pub const fn supported_stages(self) -> Stages {
        let transfer = Stages::COPY
            .union(Stages::CLEAR)
            .union(Stages::ALL_TRANSFER)
            .union(Stages::HOST)
            .union(Stages::ALL_COMMANDS);
        match self {
            Queue::Graphics => Stages::all(),
            Queue::Compute => transfer
                .union(Stages::COMPUTE_SHADER)
                .union(Stages::DRAW_INDIRECT)
                .union(Stages::RAY_TRACING_SHADER),
            Queue::Transfer => transfer,
        }
    }
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Queue::Graphics => "graphics",
            Queue::Compute => "compute",
            Queue::Transfer => "transfer",
        })
    }
}

/// Writes flag names joined by `|`, or `none`.
fn write_flags(
    f: &mut std::fmt::Formatter<'_>,
    names: impl Iterator<Item = &'static str>,
) -> std::fmt::Result {
    let mut first = true;
    for name in names {
        if !first {
            f.write_str("|")?;
        }
        first = false;
        f.write_str(name)?;
    }
    if first { f.write_str("none") } else { Ok(()) }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_flags(f, self.iter_names().map(|(name, _)| name))
    }
}

impl std::fmt::Display for AccessFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_flags(f, self.iter_names().map(|(name, _)| name))
    }
}

impl std::fmt::Display for BufferUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_flags(f, self.iter_names().map(|(name, _)| name))
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.stages, self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_umbrella_stage_swallows_what_it_contains() {
        assert_eq!((Stages::ALL_COMMANDS | Stages::COMPUTE_SHADER).canonical(), Stages::ALL_COMMANDS);
        assert_eq!((Stages::ALL_TRANSFER | Stages::COPY).canonical(), Stages::ALL_TRANSFER);
        assert_eq!(
            (Stages::ALL_COMMANDS | Stages::HOST).canonical(),
            Stages::ALL_COMMANDS | Stages::HOST,
            "the host is no command"
        );
    }

    #[test]
    fn named_uses_are_possible_in_their_stages() {
        for a in [
            Access::INDIRECT_READ,
            Access::INDEX_READ,
            Access::VERTEX_ATTRIBUTE_READ,
            Access::COMPUTE_STORAGE_READ_WRITE,
            Access::COPY_READ,
            Access::COPY_WRITE,
            Access::FILL_WRITE,
            Access::HOST_READ,
        ] {
            assert!(a.stages.supported_accesses().contains(a.access), "{a}");
        }
    }

    #[test]
    fn a_transfer_queue_runs_no_shader() {
        assert!(!Queue::Transfer.supported_stages().contains(Stages::COMPUTE_SHADER));
        assert!(Queue::Transfer.supported_stages().contains(Stages::COPY));
        assert!(Queue::Compute.supported_stages().contains(Stages::DRAW_INDIRECT));
    }
}
