//! Kernels, and the memory they see: what their pass declared, nothing else.

use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, Reports};
use super::memory::{Lender, LentRead, LentWrite, Raw, STALE};
use super::record::Declared;
use crate::arena::Closures;
use crate::{MkBufferId, MkError, MkMemoryType, MkSlice, MkTransient};
use bytemuck::{AnyBitPattern, NoUninit};
use memkit_graph::{Mode, Resource, ResourceSlice};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

/// How a kernel is called.
type Call = unsafe fn(*mut u8, &MkKernelMemory<'_>) -> Result<(), MkError>;

/// The kernels of a recording, in order, in an arena that is used again.
#[derive(Default)]
pub(super) struct Kernels {
    closures: Closures<Call>,
    len: u32,
}

impl Kernels {
    pub(super) fn push<F>(&mut self, kernel: F)
    where
        F: FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError> + Send + 'static,
    {
        // SAFETY: `call::<F>` moves an `F` out. It borrows nothing that ends. Keys ascend.
        unsafe { self.closures.push(self.len, kernel, call::<F>) };
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Runs a kernel; it is gone afterwards.
    pub(super) fn run(&mut self, at: usize, memory: &MkKernelMemory<'_>) -> Result<(), MkError> {
        let key = u32::try_from(at).unwrap_or(u32::MAX);
        let Some(taken) = self.closures.take(key) else { return Ok(()) };
        let (at, call) = taken.into_parts();
        // SAFETY: `at` is the kernel that `call` was stored with, taken out just now, and called once.
        unsafe { call(at, memory) }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.closures.clear();
    }
}

/// Runs a stored kernel.
///
/// # Safety
/// `at` holds an `F` that nobody uses or drops afterwards.
unsafe fn call<F>(at: *mut u8, memory: &MkKernelMemory<'_>) -> Result<(), MkError>
where
    F: FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError>,
{
    // SAFETY: by this function's contract.
    let kernel = unsafe { at.cast::<F>().read() };
    kernel(memory)
}

/// What a running kernel sees of the device's memory.
pub struct MkKernelMemory<'a> {
    pub(super) lender: Lender<'a>,
    /// The resources of the frame; their buffers come first among the lender's.
    pub(super) resources: &'a [Resource],
    pub(super) pass: &'a str,
    pub(super) uses: &'a [Declared],
    /// Buffers and bytes that the pass reads and that are not visible to it.
    pub(super) stale: &'a [(u32, Range<u64>)],
    pub(super) party: &'a MkHazardParty,
    pub(super) reports: &'a Reports,
}

impl std::fmt::Debug for MkKernelMemory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MkKernelMemory").field("pass", &self.pass).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl Kind {
    fn allowed_by(self, declared: &Declared) -> bool {
        match self {
            Kind::Read => declared.access.reads() && declared.mode != Mode::Overwrite,
            Kind::Write => declared.access.writes() && declared.mode != Mode::Read,
        }
    }
}

impl<'a> MkKernelMemory<'a> {
    /// Name of the pass.
    #[must_use]
    pub fn pass_name(&self) -> &str {
        self.pass
    }

    /// Bytes of a buffer that the pass declared to read, as values of `T`. A whole buffer stands for the declared range of
    /// it (the hull, if there are several).
    ///
    /// Bytes that no barrier made visible to the pass come as a pattern of `0xDB` instead.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if the pass did not declare to read all of them, [`MkError::BorrowConflict`] if a
    /// [`write`](Self::write) of some of them lives, [`MkError::Misaligned`] if start or size do not suit `T`.
    pub fn read<'s, T: AnyBitPattern>(
        &self,
        slice: impl Into<MkSlice<'s>>,
    ) -> Result<MkKernelRead<'_, T>, MkError> {
        let (buffer, range) = self.find(&slice.into(), Kind::Read)?;
        let block = self.lender.block(buffer).ok_or(MkError::NotReady)?;
        let loan = self.lender.read(block, range.clone()).ok_or_else(|| self.borrow_conflict(&block.name))?;
        fits::<T>(loan.bytes(), &block.name, &range)?;
        let mut poisoned = None;
        for stale in self.stale_in(buffer, &range) {
            if poisoned.is_none() {
                let mut copy = Raw::new(loan.bytes().len(), STALE).ok_or_else(|| MkError::OutOfMemory {
                    resource: (*block.name).into(),
                    size: range.end - range.start,
                    memory: MkMemoryType::HostVisible,
                    source: None,
                })?;
                copy.owned_mut().copy_from_slice(loan.bytes());
                poisoned = Some(copy);
            }
            if let Some(copy) = &mut poisoned {
                poison(copy.owned_mut(), &stale, range.start);
            }
        }
        Ok(MkKernelRead { loan, poisoned, of: PhantomData })
    }

    /// Bytes of a buffer that the pass declared to write, as values of `T`. A whole buffer stands for the declared
    /// range of it (the hull, if there are several). What is not written keeps its value.
    ///
    /// Where the pass also declared to read (a modify) bytes that no barrier made visible to it, they hold a pattern of
    /// `0xDB`.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if the pass did not declare to write all of them, [`MkError::BorrowConflict`] if another
    /// borrow of some of them lives, [`MkError::Misaligned`] if start or size do not suit `T`.
    pub fn write<'s, T: AnyBitPattern + NoUninit>(
        &self,
        slice: impl Into<MkSlice<'s>>,
    ) -> Result<MkKernelWrite<'_, T>, MkError> {
        let (buffer, range) = self.find(&slice.into(), Kind::Write)?;
        let block = self.lender.block(buffer).ok_or(MkError::NotReady)?;
        let mut loan =
            self.lender.write(block, range.clone()).ok_or_else(|| self.borrow_conflict(&block.name))?;
        fits::<T>(loan.bytes(), &block.name, &range)?;
        for stale in self.stale_in(buffer, &range) {
            poison(loan.bytes_mut(), &stale, range.start);
        }
        Ok(MkKernelWrite { loan, of: PhantomData })
    }

    /// Like [`read`](Self::read), with a resource named as the planner names it: for frames that were declared without
    /// an [`MkGpu`](crate::MkGpu).
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read_resource<T: AnyBitPattern>(
        &self,
        slice: impl Into<ResourceSlice>,
    ) -> Result<MkKernelRead<'_, T>, MkError> {
        self.read(named(slice.into()))
    }

    /// Like [`write`](Self::write), with a resource named as the planner names it.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write_resource<T: AnyBitPattern + NoUninit>(
        &self,
        slice: impl Into<ResourceSlice>,
    ) -> Result<MkKernelWrite<'_, T>, MkError> {
        self.write(named(slice.into()))
    }

    /// The buffer and bytes a slice names, if declared uses of this kind cover it.
    fn find(&self, slice: &MkSlice<'_>, kind: Kind) -> Result<(u32, Range<u64>), MkError> {
        let wanted = slice.declared();
        let allowed = self.uses.iter().filter(|u| u.resource == wanted.resource && kind.allowed_by(u));
        let hull = allowed
            .clone()
            .map(|u| u.range.clone())
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or_default();
        let whole = wanted.start == 0 && wanted.end == ResourceSlice::WHOLE;
        let start = if whole { hull.start } else { wanted.start };
        let end = if wanted.end == ResourceSlice::WHOLE { hull.end } else { wanted.end };
        // Walks over the declared ranges: they may cover the slice together.
        let mut covered = start;
        let buffer = loop {
            let next = allowed
                .clone()
                .filter(|u| u.range.start <= covered && (covered < u.range.end || start == end))
                .max_by_key(|u| u.range.end);
            match next {
                Some(u) if u.range.end >= end && start <= end => break Some(u.buffer),
                Some(u) if u.range.end > covered => covered = u.range.end,
                _ => break None,
            }
        };
        let size = buffer.and_then(|b| self.lender.block(b)).map_or(0, |b| b.size);
        match buffer {
            Some(buffer) if end <= size => Ok((buffer, start..end)),
            _ => Err(self.not_declared(slice, wanted.resource, start..end, kind)),
        }
    }

    /// Reports and returns the error.
    fn not_declared(
        &self,
        slice: &MkSlice<'_>,
        resource: Resource,
        range: Range<u64>,
        kind: Kind,
    ) -> MkError {
        let at = self.resources.iter().zip(0..).find(|(r, _)| **r == resource);
        let name: Arc<str> = match at.and_then(|(_, at)| self.lender.block(at)) {
            Some(block) => block.name.clone(),
            None => slice.describe().into(),
        };
        let how = if kind == Kind::Read { "read" } else { "write" };
        let what = if range.is_empty() {
            format!("the whole buffer, {how}")
        } else {
            format!("bytes {}..{}, {how}", range.start, range.end)
        };
        self.reports.push(MkHazard {
            kind: MkHazardKind::UndeclaredAccess,
            buffer: name.clone(),
            range,
            first: None,
            second: self.party.clone(),
            mend: None,
            detail: Some(what.as_str().into()),
        });
        MkError::NotDeclared { pass: self.pass.into(), resource: (*name).into(), what: what.into() }
    }

    fn borrow_conflict(&self, name: &str) -> MkError {
        MkError::BorrowConflict { pass: self.pass.into(), resource: name.into() }
    }

    fn stale_in(&self, buffer: u32, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.stale
            .iter()
            .filter(move |(b, _)| *b == buffer)
            .map(|(_, r)| r.start.max(range.start)..r.end.min(range.end))
            .filter(|r| !r.is_empty())
    }
}

/// A slice of a resource that no `MkGpu` made.
fn named(slice: ResourceSlice) -> MkSlice<'static> {
    let at = |byte| usize::try_from(byte).unwrap_or(usize::MAX);
    let whole = slice.start == 0 && slice.end == ResourceSlice::WHOLE;
    let range = at(slice.start)..at(slice.end);
    match slice.resource {
        Resource::Persistent(id) if whole => MkBufferId { id, gpu: 0 }.into(),
        Resource::Persistent(id) => MkBufferId { id, gpu: 0 }.slice(range),
        Resource::Transient(id) if whole => MkTransient { id, gpu: 0 }.into(),
        Resource::Transient(id) => MkTransient { id, gpu: 0 }.slice(range),
    }
}

/// Overwrites `stale`, in a slice that begins at byte `start` of the buffer.
fn poison(bytes: &mut [u8], stale: &Range<u64>, start: u64) {
    let at = |byte: u64| usize::try_from(byte - start).unwrap_or(usize::MAX);
    if let Some(bytes) = bytes.get_mut(at(stale.start)..at(stale.end)) {
        bytes.fill(STALE);
    }
}

/// Whether bytes can be seen as values of `T`.
fn fits<T: AnyBitPattern>(bytes: &[u8], name: &Arc<str>, range: &Range<u64>) -> Result<(), MkError> {
    if size_of::<T>() == 0 {
        return Err(MkError::ZeroSize { resource: std::any::type_name::<T>().into() });
    }
    let misaligned = |offset, alignment: usize| MkError::Misaligned {
        resource: (**name).into(),
        offset,
        alignment: alignment as u64,
    };
    if !bytes.as_ptr().addr().is_multiple_of(align_of::<T>()) {
        return Err(misaligned(range.start, align_of::<T>()));
    }
    if !bytes.len().is_multiple_of(size_of::<T>()) {
        return Err(misaligned(range.end, size_of::<T>()));
    }
    Ok(())
}

/// Bytes a kernel reads; a `[T]`.
pub struct MkKernelRead<'m, T> {
    loan: LentRead<'m>,
    /// Served instead, if some of the bytes are not visible.
    poisoned: Option<Raw>,
    of: PhantomData<T>,
}

impl<T: AnyBitPattern> Deref for MkKernelRead<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let bytes = self.poisoned.as_ref().map_or_else(|| self.loan.bytes(), Raw::owned);
        // Size and alignment were checked when the guard was made.
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }
}

impl<T: AnyBitPattern + std::fmt::Debug> std::fmt::Debug for MkKernelRead<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// Bytes a kernel writes; a `[T]`.
pub struct MkKernelWrite<'m, T> {
    loan: LentWrite<'m>,
    of: PhantomData<T>,
}

impl<T: AnyBitPattern + NoUninit> Deref for MkKernelWrite<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        bytemuck::try_cast_slice(self.loan.bytes()).unwrap_or_default()
    }
}

impl<T: AnyBitPattern + NoUninit> DerefMut for MkKernelWrite<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::try_cast_slice_mut(self.loan.bytes_mut()).unwrap_or_default()
    }
}

impl<T: AnyBitPattern + NoUninit + std::fmt::Debug> std::fmt::Debug for MkKernelWrite<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
