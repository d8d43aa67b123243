//! Direct writes: an upload that goes straight into a buffer's own memory, where the host can map it.
//!
//! The bytes are there as soon as they are written, before the frame is submitted. That is the same as an upload only if
//! nothing that comes before the frame can still see them: so the frame claims the buffer, and keeps it from all
//! other submissions until it is submitted itself.

use crate::MkError;
use crate::backend::MkGpuBackend;
use crate::buffer::{BufferInner, MkBuffer};
use crate::device::lock;
use crate::frame::MkFrame;
use crate::gpu::{Core, Inner};
use crate::mapped::MappedAt;
use crate::submit::Workspace;
use crate::transfer::Pending;
use bytemuck::NoUninit;
use memkit_graph::{FrameGraph, Resource, ResourceId, ResourceSlice};
use std::ops::Range;
use std::sync::Arc;

/// A buffer that an open frame writes directly.
#[derive(Debug)]
pub(crate) struct Claim {
    id: ResourceId,
    at: MappedAt,
    /// Bytes from the first to the last that the frame's nodes before `seen` touch.
    touched: Range<u64>,
    seen: usize,
    /// Bytes from the first to the last that were written.
    written: Range<u64>,
}

/// No bytes: what any range is the hull with.
#[expect(clippy::reversed_empty_ranges, reason = "its ends are those of no bytes")]
const NOTHING: Range<u64> = u64::MAX..0;

fn hull(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.min(b.start)..a.end.max(b.end)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The bytes of a resource from the first to the last that nodes touch, from node `first` on.
fn touched(graph: &FrameGraph, resource: Resource, first: usize) -> Range<u64> {
    let nodes = (first..graph.len()).filter_map(|i| graph.node(i));
    let uses = nodes.flat_map(|n| graph.uses(&n)).filter(|u| u.slice.resource == resource);
    uses.fold(NOTHING, |all, u| hull(&all, &(u.slice.start..u.slice.end)))
}

impl<B: MkGpuBackend> MkFrame<'_, B> {
    /// Uploads elements to `offset` bytes from the start of a buffer by writing them straight into its memory, if that
    /// means the same, and as [`upload`](Self::upload) does if not. Returns whether they were written directly; a dump
    /// shows it.
    ///
    /// They are if the host can map the memory ([`MkMemoryType::Unified`](crate::MkMemoryType::Unified) is meant for it),
    /// everything submitted or pending that uses the buffer is done, no other open frame was given its handle, and
    /// nothing declared in this frame before touches the range (nor bytes on both sides of it). From then on until this
    /// frame is submitted or dropped, the buffer is this frame's: mapping it, and other submissions that use it, pending
    /// transfers included, are refused with [`MkError::InUse`].
    ///
    /// **If the frame is dropped or its `submit` fails, the range is undefined**: it may hold the new elements, or
    /// some of them.
    ///
    /// # Errors
    /// As for [`upload`](Self::upload).
    pub fn upload_direct<T: NoUninit>(
        &mut self,
        to: &MkBuffer,
        offset: usize,
        data: &[T],
    ) -> Result<bool, MkError> {
        // Held while the buffer is written: its memory lives as long as this, since the handle is borrowed.
        let inner = self.inner()?;
        let bytes: &[u8] = bytemuck::cast_slice(data);
        // Many buffers are not looked for among each other. One that is missed, because another thread's frame named it in
        // between, is not claimed twice.
        let is_known = to.inner.is_kept_by(self.work.ws.stamp);
        let part = self.part(to.into(), offset as u64, bytes.len() as u64)?;
        let range = part.start..part.end;
        let Some(claim) = self.claim(&inner, &to.inner, &range, is_known)? else {
            self.upload(to, offset, data)?;
            return Ok(false);
        };
        claim.written = hull(&claim.written, &range);
        let at = claim.at;
        // SAFETY: the range lies within the buffer, which is mapped; submitted work is done with it, and the claim keeps
        // everything else away until the frame is submitted.
        let room = unsafe { at.add(range.start as usize).bytes_mut(bytes.len()) };
        inner.workers.copy(room, bytes);
        self.work.ws.graph.host_write(part);
        Ok(true)
    }

    /// The claim on a buffer of which `range` may be written now, if it may.
    fn claim(
        &mut self,
        inner: &Inner<B>,
        to: &Arc<BufferInner>,
        range: &Range<u64>,
        is_known: bool,
    ) -> Result<Option<&mut Claim>, MkError> {
        let Workspace { claims, graph, number, .. } = &mut self.work.ws;
        let resource = to.id.into();
        if is_known && let Some(i) = claims.iter().rposition(|c| c.id == to.id) {
            let claim = &mut claims[i];
            claim.touched = hull(&claim.touched, &touched(graph, resource, claim.seen));
            claim.seen = graph.len();
            return Ok((!overlap(&claim.touched, range)).then_some(claim));
        }
        let touched = touched(graph, resource, 0);
        // The caller's handle, and this frame's share.
        let is_others = Arc::strong_count(to) > 2;
        if overlap(&touched, range) || is_others || !to.memory.is_mappable() {
            return Ok(None);
        }
        let Some(at) = inner.claim(to.id, *number)? else { return Ok(None) };
        claims.push(Claim { id: to.id, at, touched, seen: graph.len(), written: NOTHING });
        Ok(claims.last_mut())
    }
}

impl<B: MkGpuBackend> Inner<B> {
    /// Keeps a buffer for frame `number`, if nothing uses it. Where it is mapped.
    fn claim(&self, id: ResourceId, number: u64) -> Result<Option<MappedAt>, MkError> {
        let mut core = lock(&self.core);
        let Some(slot) = core.buffer(id) else { return Err(MkError::GpuDropped) };
        let (raw, is_free) = (slot.buffer, !slot.mapped && slot.claimed_by.is_none());
        let Some(at) = self.backend.mapped(&raw).filter(|_| is_free) else { return Ok(None) };
        if self.in_use(&mut core, id)? {
            return Ok(None);
        }
        // What shares an atom with the bytes that will be flushed is written back as the host sees it.
        self.flush_again(&mut core, id)?;
        // SAFETY: the buffer lives and is mapped, and nothing the host wrote is unflushed.
        self.note(unsafe { self.backend.invalidate(&raw, 0..B::buffer_size(&raw)) })?;
        if let Some(slot) = core.buffer_mut(id) {
            slot.claimed_by = Some(number);
        }
        Ok(Some(MappedAt::new(at)))
    }

    /// Makes what a frame wrote directly visible to the device.
    pub(crate) fn flush_claims(&self, ws: &Workspace<B>) -> Result<(), MkError> {
        for claim in &ws.claims {
            let Some(raw) = lock(&self.core).buffer(claim.id).map(|slot| slot.buffer) else { continue };
            // SAFETY: the frame keeps the buffer, which is mapped.
            self.note(unsafe { self.backend.flush(&raw, claim.written.clone()) })?;
        }
        Ok(())
    }
}

impl<B: MkGpuBackend> Core<B> {
    /// Fails if transfers that were pending, and so come before all of the frame, use what it has written already.
    pub(crate) fn check_claims(&self, claims: &[Claim], taken: &Pending) -> Result<(), MkError> {
        let uses = |slice: &ResourceSlice, claim: &Claim| slice.resource == claim.id.into();
        for claim in claims {
            if taken.copies.iter().any(|c| uses(&c.from, claim) || uses(&c.to, claim)) {
                let name = self.state.buffer(claim.id).map_or("", |d| &d.name);
                return Err(MkError::InUse { resource: name.into() });
            }
        }
        Ok(())
    }

    /// Lets go what a frame wrote directly. If it was not submitted, the next use flushes what was written.
    pub(crate) fn release_claims(&mut self, claims: &mut Vec<Claim>, is_flushed: bool) {
        for claim in claims.drain(..) {
            let Some(slot) = self.buffer_mut(claim.id) else { continue };
            slot.claimed_by = None;
            if !is_flushed && !claim.written.is_empty() {
                let owed = slot.unflushed.take().map_or(claim.written.clone(), |o| hull(&o, &claim.written));
                slot.unflushed = Some(owed);
            }
        }
    }
}
