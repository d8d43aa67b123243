//! The nodes of a frame, looked at from outside.

use super::uploads::{Place, place};
use super::{Batch, Entry, Node, Run, Upload, Use};

/// The nodes of a frame, or of one that is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared<'a> {
    /// Where uploads are among the nodes.
    pub(crate) runs: &'a [Run],
    pub(crate) nodes: &'a [Node],
    pub(crate) uses: &'a [Use],
    pub(crate) uploads: &'a [Upload],
    /// What uploads in a row have in common.
    pub(crate) batches: &'a [Batch],
}

impl<'a> Declared<'a> {
    /// Where a node is kept: one of these.
    pub(crate) fn entry(&self, node: usize) -> Entry<'a> {
        match place(self.runs, self.uploads.len(), node as u32) {
            Place::Upload(number) => Entry::Upload(number),
            Place::Node(at) => Entry::Node(&self.nodes[at]),
        }
    }

    /// The uses of one of these nodes.
    pub(crate) fn uses_of(&self, entry: Entry<'_>) -> impl DoubleEndedIterator<Item = Use> + Clone + use<'a> {
        let (upload, uses) = match entry {
            Entry::Upload(number) => (self.uploads.get(number).map(|u| self.upload_use(u)), &[][..]),
            Entry::Node(node) => (None, node.uses_in(self.uses)),
        };
        upload.into_iter().chain(uses.iter().copied())
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() + self.uploads.len()
    }

    /// How many there are of what others have to have as many of to be compared.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [self.nodes.len(), self.uses.len(), self.uploads.len()]
    }
}
