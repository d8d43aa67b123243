//! Uploads come by the thousand: they are kept apart from the other nodes of a frame, in few bytes each.

use super::{FrameGraph, Node, NodeKind, Use};
use crate::resource::{HostSlice, ResourceSlice};

/// A declared upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The only use.
    pub(crate) to: Use,
    /// Where the bytes are: see [`HostSlice`].
    pub(crate) offset: u64,
    pub(crate) buffer: u32,
    /// Position among the frame's nodes.
    pub(crate) node: u32,
}

impl Upload {
    pub(crate) fn from(&self) -> HostSlice {
        HostSlice { buffer: self.buffer, offset: self.offset }
    }

    /// First byte at the destination, and one past the last, if that has `size` bytes.
    #[inline]
    pub(crate) fn range(&self, size: u64) -> (u64, u64) {
        let ResourceSlice { start, end, .. } = self.to.slice;
        (start, if end == ResourceSlice::WHOLE { size } else { end })
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
    /// Where a node is kept.
    #[inline]
    pub(super) fn place(&self, node: u32) -> Place {
        place(&self.runs, self.uploads.len(), node)
    }

    /// The uploads declared one after the other of which that at this position is one, from it on.
    pub(crate) fn rest_of_run(&self, upload: usize) -> &[Upload] {
        let next = self.runs.partition_point(|run| run.upload as usize <= upload);
        let end = self.runs.get(next).map_or(self.uploads.len(), |run| run.upload as usize);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::resource::TransientId;

    /// What a node does, and the first byte of its first use.
    fn said(frame: &FrameGraph, index: usize) -> (u32, u64) {
        let Some(node) = frame.node(index) else { return (u32::MAX, 0) };
        let start = frame.uses(&node).first().map_or(0, |u| u.slice.start);
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
