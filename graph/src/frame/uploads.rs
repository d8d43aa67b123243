//! Uploads come by the thousand: they are kept apart from the other nodes of a frame, in few bytes each.

use super::{Declared, FrameGraph, Mode, Node, NodeKind, PassId, Use};
use crate::access::Access;
use crate::resource::{HostSlice, Resource, ResourceId, ResourceSlice, TransientId};

/// A declared upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The bytes at the destination, as of a [`ResourceSlice`].
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where they are in the staging buffer.
    pub(crate) offset: u64,
    /// Position among the frame's nodes.
    pub(crate) node: u32,
    /// Position among the frame's batches.
    pub(crate) batch: u32,
}

/// What uploads have in common that are declared one after the other, from one staging buffer to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) resource: Resource,
    /// The staging buffer.
    pub(crate) buffer: u32,
    /// Position of the first in [`FrameGraph::uploads`].
    first: u32,
}

/// The batch that the next upload may be one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenBatch {
    /// The resource's numbers, and of which kind it is with the staging buffer: whole words are compared at once.
    resource: u64,
    kind_and_buffer: u64,
    /// Its position.
    number: u32,
}

impl OpenBatch {
    /// None: there is no such kind.
    pub(super) const NONE: Self = OpenBatch { resource: 0, kind_and_buffer: u64::MAX, number: 0 };

    #[inline(always)]
    fn new(resource: Resource, buffer: u32, number: u32) -> Self {
        let (kind, low, high) = match resource {
            Resource::Persistent(id) => (0, id.index, id.version),
            Resource::Transient(id) => (1, id.index, id.frame),
        };
        let resource = u64::from(high) << u32::BITS | u64::from(low);
        OpenBatch { resource, kind_and_buffer: u64::from(buffer) << 1 | kind, number }
    }

    /// The staging buffer that it was made of.
    fn buffer(&self) -> u32 {
        (self.kind_and_buffer >> 1) as u32
    }

    /// The resource that it was made of.
    fn resource(&self) -> Resource {
        let (low, high) = (self.resource as u32, (self.resource >> u32::BITS) as u32);
        match self.kind_and_buffer & 1 {
            0 => Resource::Persistent(ResourceId { index: low, version: high }),
            _ => Resource::Transient(TransientId { index: low, frame: high }),
        }
    }
}

impl Default for OpenBatch {
    fn default() -> Self {
        Self::NONE
    }
}

impl Upload {
    /// First byte at the destination, and one past the last, if that has `size` bytes.
    #[inline]
    pub(crate) fn range(&self, size: u64) -> (u64, u64) {
        (self.start, if self.end == ResourceSlice::WHOLE { size } else { self.end })
    }

    /// Whether it is to no bytes of a destination of `size` bytes, or to others. Not inline: loops ask for few.
    #[inline(never)]
    pub(crate) fn is_wrong(&self, size: u64) -> bool {
        let (start, end) = self.range(size);
        start >= end || end > size
    }

    /// The bits in which the bytes at the destination differ.
    #[inline]
    pub(crate) fn difference(&self, other: &Self) -> u64 {
        self.start ^ other.start | self.end ^ other.end
    }
}

/// Where a node is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// Position in [`FrameGraph::uploads`].
    Upload(usize),
    Node(&'a Node),
}

/// Position of a node among the uploads, or among the others.
pub(super) enum Place {
    Upload(usize),
    Node(usize),
}

impl Entry<'_> {
    #[inline]
    pub(crate) fn is_pass(self) -> bool {
        matches!(self, Entry::Node(Node { kind: NodeKind::Pass, .. }))
    }

    #[inline]
    pub(crate) fn has_side_effects(self) -> bool {
        matches!(self, Entry::Node(Node { side_effects: true, .. }))
    }

    #[inline]
    pub(crate) fn is_upload(self) -> bool {
        matches!(self, Entry::Upload(_))
    }
}

/// Uploads that are declared one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Position of the first among the frame's nodes.
    pub(super) node: u32,
    /// Position of the first in [`FrameGraph::uploads`].
    pub(super) upload: u32,
}

/// Where a node is kept, among so many uploads and others.
#[inline]
pub(super) fn place(runs: &[Run], uploads: usize, node: u32) -> Place {
    let end = runs.partition_point(|run| run.node <= node);
    let Some(run) = end.checked_sub(1).and_then(|at| runs.get(at)) else {
        return Place::Node(node as usize);
    };
    let uploads = runs.get(end).map_or(uploads as u32, |next| next.upload);
    match node - run.node {
        at if at < uploads - run.upload => Place::Upload((run.upload + at) as usize),
        _ => Place::Node((node - uploads) as usize),
    }
}

impl FrameGraph {
    /// Declares a copy of host bytes at `from` to `to`.
    #[inline(always)]
    pub fn upload(&mut self, from: HostSlice, to: impl Into<ResourceSlice>) -> PassId {
        let ResourceSlice { resource, start, end } = to.into();
        let OpenBatch { resource, kind_and_buffer, .. } = OpenBatch::new(resource, from.buffer, 0);
        let is_next = (resource, kind_and_buffer) == (self.open.resource, self.open.kind_and_buffer);
        // The other way does all of it, in registers, so that nothing has to be kept for later on the usual one.
        if !is_next || self.uploads.len() >= self.uploads.capacity() {
            return self.begin_upload(start, end, from.offset, resource, kind_and_buffer);
        }
        let node = (self.nodes.len() + self.uploads.len()) as u32;
        self.uploads.push(Upload { start, end, offset: from.offset, node, batch: self.open.number });
        PassId { index: node, frame: self.serial }
    }

    /// Declares an upload that may begin a batch, or for which memory may have to be found.
    #[inline(never)]
    fn begin_upload(
        &mut self,
        start: u64,
        end: u64,
        offset: u64,
        resource: u64,
        kind_and_buffer: u64,
    ) -> PassId {
        let first = self.uploads.len() as u32;
        let node = self.nodes.len() as u32 + first;
        if (resource, kind_and_buffer) != (self.open.resource, self.open.kind_and_buffer) {
            if self.open == OpenBatch::NONE {
                self.runs.push(Run { node, upload: first });
            }
            self.open = OpenBatch { resource, kind_and_buffer, number: self.batches.len() as u32 };
            self.batches.push(Batch { resource: self.open.resource(), buffer: self.open.buffer(), first });
        }
        self.uploads.push(Upload { start, end, offset, node, batch: self.open.number });
        PassId { index: node, frame: self.serial }
    }

    /// Takes back the uploads from this one on.
    pub(super) fn truncate_uploads(&mut self, uploads: usize) {
        self.uploads.truncate(uploads);
        self.runs.retain(|run| (run.upload as usize) < uploads);
        self.batches.truncate(self.uploads.last().map_or(0, |last| last.batch as usize + 1));
        let next = self.len();
        let last = self.uploads.last().filter(|last| last.node as usize + 1 == next).and(self.batches.last());
        let number = self.batches.len() as u32;
        self.open =
            last.map_or(OpenBatch::NONE, |batch| OpenBatch::new(batch.resource, batch.buffer, number - 1));
    }

    /// Where the bytes of an upload are.
    pub(crate) fn upload_from(&self, upload: &Upload) -> HostSlice {
        self.declared().upload_from(upload)
    }

    /// Where a node is kept.
    #[inline]
    pub(super) fn place(&self, node: u32) -> Place {
        place(&self.runs, self.uploads.len(), node)
    }

    /// The uploads of the batch of which that at this position is one, from it on.
    pub(crate) fn rest_of_batch(&self, upload: usize) -> &[Upload] {
        let next = self.uploads.get(upload).and_then(|u| self.batches.get(u.batch as usize + 1));
        let end = next.map_or(self.uploads.len(), |batch| batch.first as usize);
        self.uploads.get(upload..end).unwrap_or(&[])
    }

    /// Where a node is kept: one of this frame.
    #[inline]
    pub(crate) fn entry(&self, node: u32) -> Entry<'_> {
        match self.place(node) {
            Place::Upload(number) => Entry::Upload(number),
            Place::Node(at) => Entry::Node(&self.nodes[at]),
        }
    }
}

impl Declared<'_> {
    /// The batch of one of these uploads.
    #[inline]
    pub(crate) fn batch_of(&self, upload: &Upload) -> &Batch {
        &self.batches[upload.batch as usize]
    }

    /// Where the bytes of one of these uploads are.
    #[inline]
    pub(crate) fn upload_from(&self, upload: &Upload) -> HostSlice {
        HostSlice { buffer: self.batch_of(upload).buffer, offset: upload.offset }
    }

    /// The only use of one of these uploads.
    pub(crate) fn upload_use(&self, upload: &Upload) -> Use {
        let resource = self.batch_of(upload).resource;
        let slice = ResourceSlice { resource, start: upload.start, end: upload.end };
        Use { slice, access: Access::COPY_WRITE, mode: Mode::Overwrite }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node does, and the first byte of its first use.
    fn said(frame: &FrameGraph, index: usize) -> (u32, u64) {
        let Some(node) = frame.node(index) else { return (u32::MAX, 0) };
        let start = frame.uses(&node).next().map_or(0, |u| u.slice.start);
        match node.kind {
            NodeKind::Upload { from } => (from.buffer, start),
            _ => (1000, start),
        }
    }

    /// Declares uploads and fills as the bits of `pattern` say; each names its position.
    fn declare(frame: &mut FrameGraph, to: TransientId, pattern: u32, positions: std::ops::Range<u64>) {
        for i in positions {
            let id = match pattern >> i & 1 {
                1 => frame.upload(HostSlice { buffer: 7, offset: 0 }, to.slice(i..i + 1)),
                _ if i % 2 == 0 => frame.fill(to.slice(i..i + 4), 0),
                _ => frame.pass("p").write(to.slice(i..i + 1), Access::COMPUTE_STORAGE_WRITE).finish(),
            };
            assert_eq!(id.index() as u64, i);
        }
    }

    #[test]
    fn every_node_is_found_where_it_was_declared_also_after_some_were_taken_back() {
        for pattern in 0..1 << 9 {
            let wanted = |i: u64| if pattern >> i & 1 == 1 { (7, i) } else { (1000, i) };
            for kept in 0..=9 {
                let mut frame = FrameGraph::new();
                let to = frame.transient("t", 64);
                declare(&mut frame, to, pattern, 0..9);
                frame.truncate(kept);
                assert_eq!(frame.len(), kept);
                declare(&mut frame, to, pattern, kept as u64..9);
                assert_eq!(frame.len(), 9);
                for i in 0..9u64 {
                    assert_eq!(said(&frame, i as usize), wanted(i), "node {i} of {pattern:b}, {kept} kept");
                    assert_eq!(frame.entry(i as u32).is_upload(), wanted(i).0 == 7);
                }
                assert!(frame.node(9).is_none());
                assert_eq!(frame.upload_count(), pattern.count_ones() as usize);
            }
        }
    }
}
