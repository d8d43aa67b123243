//! The table of what one recording scatters.

use super::pieces::{Alike, MANY_ALIKE, Offset, Piece, split};
use crate::vulkan::memory::Memory;
use crate::vulkan::record::{buffer, misfit};
use crate::vulkan::result::refused;
use crate::vulkan::{VulkanBackend, VulkanBuffer};
use crate::{MkBackendBufferDesc, MkError, MkMemoryType, MkRecordInput};
use memkit_graph::{BufferRef, BufferUsage, ScatterPart};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Where the pieces of all scatters of one recording are. Reused with the recorder, and grown when it has to be.
#[derive(Default)]
pub(in crate::vulkan) struct Table {
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
pub(in crate::vulkan) struct Filled {
    /// Where they begin.
    pub(super) table: u64,
    pub(super) pieces: usize,
    pub(super) alike: Option<Alike>,
}

impl Table {
    /// Empties the table, and makes room for so many pieces.
    ///
    /// # Safety
    /// Nothing that runs, or will be submitted, reads it.
    pub(in crate::vulkan) unsafe fn begin(&mut self, memory: &Memory, pieces: usize) -> Result<(), MkError> {
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
    pub(in crate::vulkan) unsafe fn end(&mut self, memory: &Memory) {
        self.room = 0;
        if let Some(buffer) = self.buffer.take() {
            // SAFETY: made by this memory, and nothing reads it any more, the caller says.
            unsafe { memory.destroy(buffer) };
        }
    }

    /// Adds the pieces of a scatter, and calls `dispatch` for all of them.
    pub(in crate::vulkan) fn fill(
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
    pub(in crate::vulkan) fn push(
        &mut self,
        regions: impl Iterator<Item = (u64, u64, u64)>,
    ) -> Result<(), MkError> {
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
    pub(in crate::vulkan) fn filled(&self, first: usize) -> Result<Filled, MkError> {
        let begin = self.buffer.as_ref().and_then(VulkanBuffer::any_address).ok_or_else(misfit)?;
        let table = begin + (first * size_of::<Piece>()) as u64;
        Ok(Filled { table, pieces: self.used - first, alike: None })
    }

    /// Makes it visible to the device.
    pub(in crate::vulkan) fn flush(&self, memory: &Memory) -> Result<(), MkError> {
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
