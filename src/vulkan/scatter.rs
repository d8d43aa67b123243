//! Scatters uploads: a compute pipeline that moves pieces of staging memory to their places by address, and the tables
//! that say which.

use super::device::Gpu;
use super::memory::Memory;
use super::record::{buffer, misfit};
use super::result::refused;
use super::{VulkanBackend, VulkanBuffer};
use crate::{MkBackendBufferDesc, MkError, MkMemoryType, MkRecordInput};
use ash::vk;
use memkit_graph::{BufferRef, BufferUsage, CopyRegion, ScatterPart, Schedule};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

const SHADER: &[u8] = include_bytes!("shaders/scatter.spv");

/// A part of a region. `Piece` of `shaders/scatter.comp`, which is made for the numbers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Piece {
    /// Addresses of the first bytes.
    pub(super) to: u64,
    pub(super) from: u64,
    /// Bytes.
    pub(super) size: u32,
    unused: u32,
}

/// Blocks that the shader stores at once, in bytes.
const BLOCK: u64 = 16;
/// Most bytes of a piece: a few blocks for each of its invocations, so that one large region is the work of many.
const PIECE: u64 = 1024;
/// Pieces of a workgroup.
const GROUP: u32 = 4;
/// Workgroups that every device runs in one dispatch (Vulkan specification, table "Required Limits",
/// `maxComputeWorkGroupCount`).
const GROUPS: u32 = 65_535;

/// Most bytes of a region that is one piece, wherever it begins.
const ONE_PIECE: u64 = PIECE - (BLOCK - 1);

/// Takes a region apart. All but its first and last piece begin and end with whole blocks.
#[inline(always)]
fn split(to: u64, from: u64, size: u64, mut push: impl FnMut(Piece)) {
    // At most a piece.
    let piece = |at: u64, n: u64| Piece { to: to + at, from: from + at, size: n as u32, unused: 0 };
    if (1..=ONE_PIECE).contains(&size) {
        push(piece(0, size));
        return;
    }
    let mut done = 0;
    while done < size {
        let n = (PIECE - (to + done) % BLOCK).min(size - done);
        push(piece(done, n));
        done += n;
    }
}

/// The most pieces that the scatters of a schedule come apart into.
pub(super) fn pieces(schedule: &Schedule) -> usize {
    // A region, with what comes before its first block, has less than a piece more than its bytes take.
    let (mut regions, mut bytes) = (0u64, 0u64);
    // Their bytes are apart in a buffer; what else is handed in runs out of room.
    let mut add = |some: &Range<u32>| {
        bytes = schedule.regions_of(some).iter().fold(bytes, |bytes, region| bytes.wrapping_add(region.size));
        regions += some.len() as u64;
    };
    let mut open = 0..0;
    for part in &schedule.scatters {
        // Most go on where the one before ended.
        if part.regions.start != open.end {
            add(&std::mem::replace(&mut open, part.regions.start..part.regions.start));
        }
        open.end = part.regions.end;
    }
    add(&open);
    let bytes = bytes.saturating_add(regions * (BLOCK - 1));
    usize::try_from(regions + bytes / PIECE).unwrap_or(usize::MAX)
}

/// Where the pieces of all scatters of one recording are. Reused with the recorder, and grown when it has to be.
#[derive(Default)]
pub(super) struct Table {
    buffer: Option<VulkanBuffer>,
    /// Pieces it has room for, and pieces in it.
    room: usize,
    used: usize,
}

/// Writes pieces to a table.
struct Pen<'a> {
    /// What was not written of the table.
    rest: std::slice::IterMut<'a, MaybeUninit<Piece>>,
    /// Whether there was no room for a piece.
    is_short: bool,
}

impl Pen<'_> {
    #[inline(always)]
    fn write(&mut self, to: u64, from: u64, size: u64) {
        split(to, from, size, |piece| match self.rest.next() {
            Some(room) => _ = room.write(piece),
            None => self.is_short = true,
        });
    }

    /// How many pieces there is room for now, if there was room for all.
    fn end(self) -> Result<usize, MkError> {
        if self.is_short { Err(misfit()) } else { Ok(self.rest.len()) }
    }
}

/// Pieces in a table, for one dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// Where they begin.
    table: u64,
    pieces: usize,
    alike: Option<Alike>,
}

/// Pieces of one size, one after the other in staging memory: the table says only how far from `to` each goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alike {
    to: u64,
    /// Where the first comes from, and how many bytes after the one before each other.
    from: u64,
    stride: u32,
    size: u32,
}

/// From so many regions of one kind on, the shorter table of a dispatch of their own is taken to be worth it: it saves ten
/// thousand bytes of memory that the device fetches over its bus.
pub(super) const MANY_ALIKE: usize = 512;

/// An entry of the table of pieces that are alike.
type Offset = u32;

/// Whether regions are alike.
#[cfg(test)]
pub(super) fn are_alike(regions: &[CopyRegion]) -> bool {
    let mut table = vec![MaybeUninit::uninit(); regions.len()];
    Alike::of(regions, (0, 0)).is_some_and(|alike| alike.write(regions, &mut table))
}

impl Alike {
    /// What regions are alike in, if they are: pieces, each `stride` bytes of staging memory after the one before, that go to
    /// the first 4 GiB of a buffer. Addresses are those of the buffers.
    fn of(regions: &[CopyRegion], (from, to): (u64, u64)) -> Option<Self> {
        let [first, second, ..] = regions else { return None };
        let (size, stride) = (first.size, second.src.checked_sub(first.src)?);
        let last = stride.checked_mul(regions.len() as u64)?;
        let is_piece = (1..=ONE_PIECE).contains(&size);
        (is_piece && regions.len() >= MANY_ALIKE && last <= u64::from(u32::MAX)).then_some(Alike {
            to,
            from: from + first.src,
            stride: stride as u32,
            size: size as u32,
        })
    }

    /// Writes the table of regions that may be alike. Whether they are, and there was room.
    fn write(&self, regions: &[CopyRegion], table: &mut [MaybeUninit<Offset>]) -> bool {
        let Some(first) = regions.first().filter(|_| regions.len() <= table.len()) else { return false };
        let (size, stride) = (u64::from(self.size), u64::from(self.stride));
        let (mut src, mut any) = (first.src, 0);
        for (entry, region) in table.iter_mut().zip(regions) {
            if region.size != size || region.src != src {
                return false;
            }
            src = src.wrapping_add(stride);
            any |= region.dst;
            entry.write(region.dst as Offset);
        }
        any <= u64::from(Offset::MAX)
    }
}

impl Table {
    /// Empties the table, and makes room for so many pieces.
    ///
    /// # Safety
    /// Nothing that runs, or will be submitted, reads it.
    pub(super) unsafe fn begin(&mut self, memory: &Memory, pieces: usize) -> Result<(), MkError> {
        self.used = 0;
        if pieces <= self.room {
            return Ok(());
        }
        let too_many = || refused("record", "more uploads are scattered than there can be");
        let room = pieces.max(1024).checked_next_power_of_two().ok_or_else(too_many)?;
        let buffer = memory.create(&MkBackendBufferDesc {
            name: "scattered uploads",
            size: room.checked_mul(size_of::<Piece>()).ok_or_else(too_many)? as u64,
            usage: BufferUsage::STORAGE | BufferUsage::DEVICE_ADDRESS,
            // It is written once, in order, and read once: the device waits less for its own bus than the calling thread.
            memory: MkMemoryType::HostLocal,
        })?;
        // SAFETY: nothing reads the old one, the caller says.
        unsafe { self.end(memory) };
        (self.buffer, self.room) = (Some(buffer), room);
        Ok(())
    }

    /// Frees it.
    ///
    /// # Safety
    /// As of [`begin`](Self::begin).
    pub(super) unsafe fn end(&mut self, memory: &Memory) {
        self.room = 0;
        if let Some(buffer) = self.buffer.take() {
            // SAFETY: made by this memory, and nothing reads it any more, the caller says.
            unsafe { memory.destroy(buffer) };
        }
    }

    /// Adds the pieces of a scatter, and calls `dispatch` for all of them.
    pub(super) fn fill(
        &mut self,
        input: &MkRecordInput<'_, VulkanBackend>,
        parts: &[ScatterPart],
        mut dispatch: impl FnMut(&Filled),
    ) -> Result<(), MkError> {
        let mut first = self.used;
        let mut rest = parts;
        loop {
            let many = rest.iter().position(|part| part.regions.len() >= MANY_ALIKE);
            let (few, others) = rest.split_at(many.unwrap_or(rest.len()));
            self.push_parts(input, few)?;
            let Some((part, others)) = others.split_first() else { break };
            rest = others;
            let pieces = self.filled(first)?;
            let Some(alike) = self.push_alike(input, part)? else {
                self.push_parts(input, std::slice::from_ref(part))?;
                continue;
            };
            if pieces.pieces > 0 {
                dispatch(&pieces);
            }
            dispatch(&alike);
            first = self.used;
        }
        let pieces = self.filled(first)?;
        if pieces.pieces > 0 {
            dispatch(&pieces);
        }
        Ok(())
    }

    /// Adds the pieces of some parts of a scatter.
    fn push_parts(
        &mut self,
        input: &MkRecordInput<'_, VulkanBackend>,
        parts: &[ScatterPart],
    ) -> Result<(), MkError> {
        let mut pen = self.pen()?;
        // Most come from one staging buffer.
        let mut last = None;
        for part in parts {
            let from = match last {
                Some((buffer, address)) if buffer == part.from => address,
                _ => address(input, part.from)?,
            };
            last = Some((part.from, from));
            let to = address(input, part.to)?;
            for region in input.schedule.regions_of(&part.regions) {
                pen.write(to + region.dst, from + region.src, region.size);
            }
        }
        let left = pen.end()?;
        self.used = self.room - left;
        Ok(())
    }

    /// Adds the pieces of regions that may be alike. Nothing is added if they are not.
    fn push_alike(
        &mut self,
        input: &MkRecordInput<'_, VulkanBackend>,
        part: &ScatterPart,
    ) -> Result<Option<Filled>, MkError> {
        let regions = input.schedule.regions_of(&part.regions);
        let buffers = (address(input, part.from)?, address(input, part.to)?);
        let Some(alike) = Alike::of(regions, buffers) else { return Ok(None) };
        // SAFETY: whatever is in them, both may be uninitialized.
        let (before, table, _) = unsafe { self.rest()?.align_to_mut() };
        // Pieces are aligned more strictly than offsets: the table begins where they would.
        if !before.is_empty() || !alike.write(regions, table) {
            return Ok(None);
        }
        let filled = Filled { pieces: regions.len(), alike: Some(alike), ..self.filled(self.used)? };
        self.used += (regions.len() * size_of::<Offset>()).div_ceil(size_of::<Piece>());
        Ok(Some(filled))
    }

    /// Adds the pieces of regions, given by the addresses of their first bytes at the destination and in staging memory, and
    /// their bytes.
    pub(super) fn push(&mut self, regions: impl Iterator<Item = (u64, u64, u64)>) -> Result<(), MkError> {
        let mut pen = self.pen()?;
        regions.for_each(|(to, from, size)| pen.write(to, from, size));
        let left = pen.end()?;
        self.used = self.room - left;
        Ok(())
    }

    fn pen(&mut self) -> Result<Pen<'_>, MkError> {
        Ok(Pen { rest: self.rest()?.iter_mut(), is_short: false })
    }

    /// What is not used of it.
    fn rest(&mut self) -> Result<&mut [MaybeUninit<Piece>], MkError> {
        let at = self.buffer.as_ref().and_then(VulkanBuffer::mapped).ok_or_else(misfit)?.cast();
        // SAFETY: the table's buffer is mapped, with room for `room` pieces, at an address aligned as all buffers are, and no one
        // else uses it: the table is borrowed.
        let all = unsafe { NonNull::slice_from_raw_parts(at, self.room).as_mut() };
        all.get_mut(self.used..).ok_or_else(misfit)
    }

    /// All pieces from `first` on.
    pub(super) fn filled(&self, first: usize) -> Result<Filled, MkError> {
        let begin = self.buffer.as_ref().and_then(VulkanBuffer::any_address).ok_or_else(misfit)?;
        let table = begin + (first * size_of::<Piece>()) as u64;
        Ok(Filled { table, pieces: self.used - first, alike: None })
    }

    /// Makes it visible to the device.
    pub(super) fn flush(&self, memory: &Memory) -> Result<(), MkError> {
        match &self.buffer {
            Some(buffer) => memory.flush(buffer, 0..(self.used * size_of::<Piece>()) as u64),
            None => Ok(()),
        }
    }
}

/// The address of a buffer.
fn address(input: &MkRecordInput<'_, VulkanBackend>, at: BufferRef) -> Result<u64, MkError> {
    buffer(input, at)?.any_address().ok_or_else(misfit)
}

/// The pipeline.
pub(super) struct Scatter {
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
    gpu: Arc<Gpu>,
}

impl Scatter {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Result<Self, MkError> {
        let mut this = Scatter {
            layout: vk::PipelineLayout::null(),
            pipeline: vk::Pipeline::null(),
            gpu: Arc::clone(gpu),
        };
        let device = &gpu.device;
        let constants =
            [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(CONSTANTS)];
        let info = vk::PipelineLayoutCreateInfo::default().push_constant_ranges(&constants);
        // SAFETY: the device lives; 36 bytes of push constants are within every device's limit.
        this.layout = unsafe { device.create_pipeline_layout(&info, None) }
            .map_err(|e| gpu.failed("vkCreatePipelineLayout", e))?;
        let words = ash::util::read_spv(&mut std::io::Cursor::new(SHADER))
            .map_err(|e| MkError::Backend { call: "read_spv", source: e.into() })?;
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        // SAFETY: a SPIR-V module of version 1.5, whose capabilities are features that are enabled: `Gpu::scatter`.
        let module = unsafe { device.create_shader_module(&info, None) }
            .map_err(|e| gpu.failed("vkCreateShaderModule", e))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main");
        let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(this.layout)];
        // SAFETY: module and layout live and fit each other.
        let made = unsafe { device.create_compute_pipelines(vk::PipelineCache::null(), &info, None) };
        // SAFETY: a module is not needed once its pipeline is made.
        unsafe { device.destroy_shader_module(module, None) };
        let made = made.map_err(|(_, e)| gpu.failed("vkCreateComputePipelines", e))?;
        this.pipeline =
            made.first().copied().ok_or_else(|| refused("vkCreateComputePipelines", "it gave none"))?;
        gpu.debug.name(this.pipeline, "memkit scatter");
        Ok(this)
    }

    /// Binds the pipeline, for any number of dispatches.
    pub(super) fn bind(&self, commands: vk::CommandBuffer) {
        // SAFETY: commands are recorded; the pipeline lives as long as its recorders.
        unsafe { self.gpu.device.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, self.pipeline) };
    }

    /// Records the dispatch of some pieces with the pipeline bound: more than one dispatch only beyond 262,140 pieces.
    pub(super) fn dispatch(&self, commands: vk::CommandBuffer, filled: &Filled) {
        let device = &self.gpu.device;
        let most = (GROUP * GROUPS) as usize;
        for first in (0..filled.pieces).step_by(most) {
            let pieces = (filled.pieces - first).min(most) as u32;
            let constants = Push::new(filled, first, pieces).bytes();
            let stage = vk::ShaderStageFlags::COMPUTE;
            // SAFETY: the layout has this range; the table holds that many pieces, whose addresses are within buffers
            // that live and hold their regions, the caller of `record` says; the groups are within every device's limit.
            unsafe {
                device.cmd_push_constants(commands, self.layout, stage, 0, &constants);
                device.cmd_dispatch(commands, pieces.div_ceil(GROUP), 1, 1);
            }
        }
    }
}

/// The push constants: `Push` of `shaders/scatter.comp`.
#[derive(Clone, Copy, Debug)]
struct Push {
    table: u64,
    pieces: u32,
    /// 0 if they are not alike.
    size: u32,
    to: u64,
    from: u64,
    stride: u32,
}

/// Bytes of them.
const CONSTANTS: u32 = 36;

impl Push {
    /// For some pieces, from this one on.
    fn new(filled: &Filled, first: usize, pieces: u32) -> Self {
        let first = first as u64;
        match filled.alike {
            None => {
                let table = filled.table + first * size_of::<Piece>() as u64;
                Push { table, pieces, size: 0, to: 0, from: 0, stride: 0 }
            }
            Some(Alike { to, from, stride, size }) => {
                let table = filled.table + first * size_of::<Offset>() as u64;
                Push { table, pieces, size, to, from: from + first * u64::from(stride), stride }
            }
        }
    }

    fn bytes(&self) -> [u8; CONSTANTS as usize] {
        let mut bytes = [0; CONSTANTS as usize];
        bytes[..8].copy_from_slice(&self.table.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.pieces.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.size.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.to.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.from.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.stride.to_ne_bytes());
        bytes
    }
}

impl Drop for Scatter {
    fn drop(&mut self) {
        // SAFETY: the recorders are gone, and the backend, which waited for the device: nothing uses these. What was
        // not made is null, which these calls ignore.
        unsafe {
            self.gpu.device.destroy_pipeline(self.pipeline, None);
            self.gpu.device.destroy_pipeline_layout(self.layout, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(size: u64) -> Schedule {
        Schedule {
            regions: vec![CopyRegion { src: 0, dst: 0, size, node: 0, merged: 1 }],
            scatters: vec![ScatterPart { from: BufferRef::Host(0), to: BufferRef::Local(0), regions: 0..1 }],
            ..Schedule::default()
        }
    }

    #[test]
    fn pieces_cover_a_region_once_and_begin_with_whole_blocks() {
        for to in [0, 1, 15, 16, 4096 + 9] {
            for size in [0, 1, 15, 16, 1008, 1009, 1023, 1024, 1025, 2047, 2048, 2049, 65_536] {
                let mut next = (to, 7);
                let mut count = 0;
                split(to, 7, size, |piece| {
                    assert_eq!((piece.to, piece.from), next);
                    assert!(count == 0 || piece.to % BLOCK == 0);
                    assert!(piece.size > 0 && u64::from(piece.size) <= PIECE);
                    next = (piece.to + u64::from(piece.size), piece.from + u64::from(piece.size));
                    count += 1;
                });
                assert_eq!(next, (to + size, 7 + size));
                assert!(count <= pieces(&of_one(size)), "{to} {size}: {count}");
            }
        }
    }

    /// The entries of a table of regions, each from `stride` bytes after the one before, if they are alike.
    fn entries(regions: &[CopyRegion]) -> Option<(Alike, Vec<Offset>)> {
        let mut table = vec![MaybeUninit::new(7); regions.len()];
        let alike = Alike::of(regions, (1 << 40, 1 << 41))?;
        // SAFETY: all were initialized above.
        alike
            .write(regions, &mut table)
            .then(|| (alike, table.iter().map(|e| unsafe { e.assume_init() }).collect()))
    }

    #[test]
    fn only_regions_that_differ_in_their_destination_alone_are_alike() {
        let region =
            |i: u64| CopyRegion { src: 96 + 48 * i, dst: i * 7919 % 1000 * 48, size: 40, node: 0, merged: 1 };
        let regions: Vec<_> = (0..MANY_ALIKE as u64).map(region).collect();
        let (alike, table) = entries(&regions).unwrap();
        assert_eq!(alike, Alike { to: 1 << 41, from: (1 << 40) + 96, stride: 48, size: 40 });
        assert!(table.iter().zip(&regions).all(|(&entry, r)| u64::from(entry) == r.dst));
        let changed = |at: usize, change: &dyn Fn(&mut CopyRegion)| {
            let mut regions = regions.clone();
            change(&mut regions[at]);
            entries(&regions)
        };
        for at in [0, 1, 2, 50, MANY_ALIKE - 1] {
            assert!(changed(at, &|r| r.size -= 1).is_none(), "{at}");
            assert!(changed(at, &|r| r.src += 1).is_none(), "{at}");
            assert!(changed(at, &|r| r.dst += 1 << 32).is_none(), "{at}");
            assert!(changed(at, &|r| r.dst = (1 << 32) - 40).is_some(), "{at}");
        }
        assert!(entries(&regions[..MANY_ALIKE - 1]).is_none());
        assert!(!alike.write(&regions, &mut vec![MaybeUninit::new(0); MANY_ALIKE - 1]), "no room");
        // Those of one size may be too large for a piece, or too far from each other in staging memory.
        let scaled = |by: u64| {
            regions
                .iter()
                .map(|r| CopyRegion { size: r.size * by, src: r.src * by, ..*r })
                .collect::<Vec<_>>()
        };
        assert!(entries(&scaled(25)).is_some() && entries(&scaled(26)).is_none());
        let far: Vec<_> = (0..).zip(&regions).map(|(i, r)| CopyRegion { src: i << 23, ..*r }).collect();
        assert!(entries(&far).is_none());
    }

    #[test]
    fn a_later_dispatch_goes_on_where_the_one_before_ended() {
        let alike = Alike { to: 1000, from: 2000, stride: 48, size: 40 };
        let filled = Filled { table: 1 << 50, pieces: 100, alike: Some(alike) };
        let push = Push::new(&filled, 60, 40);
        assert_eq!((push.table, push.to, push.from), ((1 << 50) + 240, 1000, 2000 + 60 * 48));
        let push = Push::new(&Filled { alike: None, ..filled }, 60, 40);
        assert_eq!((push.table, push.size, push.pieces), ((1 << 50) + 60 * 24, 0, 40));
        let bytes = Push { table: 1, pieces: 2, size: 3, to: 4, from: 5, stride: 6 }.bytes();
        let words: Vec<u32> = bytes.chunks(4).map(|w| u32::from_ne_bytes(w.try_into().unwrap())).collect();
        if cfg!(target_endian = "little") {
            assert_eq!(words, [1, 0, 2, 3, 4, 0, 5, 0, 6]);
        }
    }
}
