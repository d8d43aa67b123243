//! Which work waits for which: the execution dependencies of the Vulkan specification (7.1, "Execution and Memory
//! Dependencies"), from barriers and stages alone.
//!
//! A node is a piece of a command in one stage, or one entry of a barrier call. An entry waits for all earlier work in
//! its source stages (first synchronization scope) and holds up all later work in its destination stages (second
//! scope). It waits for an earlier entry if its source stages meet that one's destination stages: a dependency chain.
//! Entries of one call do not wait for each other. Nothing else orders two nodes: submission order alone gives no
//! execution dependency (7.2, "Implicit Synchronization Guarantees").
//!
//! Stage masks are taken literally, as the [model](crate::dummy::model) takes them: without logically earlier or later
//! stages.

use memkit_graph::{BarrierEntry, Stages};
use smallvec::SmallVec;
use std::collections::{BinaryHeap, VecDeque};

/// Number of a node, ascending over the life of the device.
pub(super) type NodeId = u64;

/// What may be known of stages that are one bit of 64.
const STAGES: usize = u64::BITS as usize;

/// Waiting work. `T` is what a piece stands for.
pub(super) struct Graph<T> {
    /// Nodes that may not be done, and those between them.
    nodes: VecDeque<Node<T>>,
    /// Number of the first of `nodes`.
    base: NodeId,
    /// Per stage, what an entry with this source stage waits for. What another of the list waits for is left out.
    sources: Vec<Vec<NodeId>>,
    /// Per stage, the entries that hold up later work in it; likewise.
    gates: Vec<Vec<NodeId>>,
    /// Pieces that wait for nothing; the largest priority first, then the oldest.
    ready: BinaryHeap<(u64, std::cmp::Reverse<NodeId>)>,
}

struct Node<T> {
    /// What has to be done first.
    waits: u32,
    then: SmallVec<[NodeId; 4]>,
    priority: u64,
    /// None for an entry, and for a piece that was handed out.
    piece: Option<T>,
    done: bool,
}

impl<T> Graph<T> {
    pub(super) fn new() -> Self {
        let lists = || std::iter::repeat_with(Vec::new).take(STAGES).collect();
        Graph { nodes: VecDeque::new(), base: 0, sources: lists(), gates: lists(), ready: BinaryHeap::new() }
    }

    /// Adds a piece of work in one stage, after all that was added before. It is not ready before it is
    /// [released](Self::release).
    pub(super) fn piece(&mut self, stage: Stages, priority: u64, piece: T) -> NodeId {
        let id = self.node(priority, Some(piece));
        for s in bits(stage) {
            self.wait_for_list(id, s, |g| &mut g.gates);
            self.list(id, s, |g| &mut g.sources);
        }
        id
    }

    /// `then` waits for `first`.
    pub(super) fn precede(&mut self, first: NodeId, then: NodeId) {
        let Some(node) = self.get(first).filter(|n| !n.done) else { return };
        node.then.push(then);
        if let Some(node) = self.get(then) {
            node.waits += 1;
        }
    }

    /// Nothing more will be put before a node.
    pub(super) fn release(&mut self, id: NodeId) {
        self.arrive(id);
    }

    /// A barrier call, after all that was added before.
    pub(super) fn barrier(&mut self, call: &[BarrierEntry]) {
        let entries: SmallVec<[(NodeId, Stages, Stages); 4]> = call
            .iter()
            .map(|e| (self.node(u64::MAX, None), e.src_stages.expanded(), e.dst_stages.expanded()))
            .collect();
        for &(id, src, _) in &entries {
            for s in bits(src) {
                self.wait_for_list(id, s, |g| &mut g.sources);
            }
        }
        // Only now: entries of one call do not chain.
        for &(_, src, dst) in &entries {
            for s in bits(src.intersection(dst)) {
                // Whatever waits for this entry waits for all that is in the lists.
                for lists in [&mut self.sources, &mut self.gates] {
                    if let Some(list) = lists.get_mut(s) {
                        list.clear();
                    }
                }
            }
        }
        for &(id, _, dst) in &entries {
            for s in bits(dst) {
                self.list(id, s, |g| &mut g.sources);
                self.list(id, s, |g| &mut g.gates);
            }
        }
        entries.iter().for_each(|e| self.release(e.0));
    }

    /// The next piece to do, and the node to be [done](Self::done).
    pub(super) fn next(&mut self) -> Option<(NodeId, T)> {
        let (_, std::cmp::Reverse(id)) = self.ready.pop()?;
        let piece = self.get(id)?.piece.take()?;
        Some((id, piece))
    }

    /// A piece was done: what waited for it alone is ready.
    pub(super) fn done(&mut self, id: NodeId) {
        let mut finished: SmallVec<[NodeId; 8]> = SmallVec::new();
        finished.push(id);
        while let Some(id) = finished.pop() {
            let Some(node) = self.get(id) else { continue };
            node.done = true;
            for then in std::mem::take(&mut node.then) {
                if self.arrive_only(then) {
                    finished.push(then);
                }
            }
        }
        while self.nodes.front().is_some_and(|n| n.done) {
            self.nodes.pop_front();
            self.base += 1;
        }
    }

    /// Nodes, and numbers of nodes in lists.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let lists = self.sources.iter().chain(&self.gates);
        self.nodes.len() + self.ready.len() + lists.map(Vec::len).sum::<usize>()
    }

    fn node(&mut self, priority: u64, piece: Option<T>) -> NodeId {
        // It waits for its release.
        self.nodes.push_back(Node { waits: 1, then: SmallVec::new(), priority, piece, done: false });
        self.base + self.nodes.len() as NodeId - 1
    }

    fn get(&mut self, id: NodeId) -> Option<&mut Node<T>> {
        self.nodes.get_mut(usize::try_from(id.checked_sub(self.base)?).ok()?)
    }

    /// Adds a node to a list. What is done leaves it before it outgrows the nodes.
    fn list(&mut self, id: NodeId, stage: usize, of: fn(&mut Self) -> &mut Vec<Vec<NodeId>>) {
        let (base, most) = (self.base, self.nodes.len());
        let Some(list) = of(self).get_mut(stage) else { return };
        if list.len() > most {
            list.retain(|old| *old >= base);
        }
        list.push(id);
    }

    /// `id` waits for what is left to do of a list; the rest of the list is dropped.
    fn wait_for_list(&mut self, id: NodeId, stage: usize, of: fn(&mut Self) -> &mut Vec<Vec<NodeId>>) {
        let Some(list) = of(self).get_mut(stage) else { return };
        let mut list = std::mem::take(list);
        list.retain(|first| self.get(*first).is_some_and(|n| !n.done));
        for &first in &list {
            // One that was added with the same call, or twice, does not matter: it counts twice and arrives twice.
            self.precede(first, id);
        }
        if let Some(place) = of(self).get_mut(stage) {
            *place = list;
        }
    }

    /// One thing less to wait for; an entry that waits for nothing more is done.
    fn arrive(&mut self, id: NodeId) {
        if self.arrive_only(id) {
            self.done(id);
        }
    }

    /// The same, and returns whether that makes an entry done.
    fn arrive_only(&mut self, id: NodeId) -> bool {
        let Some(node) = self.get(id) else { return false };
        node.waits = node.waits.saturating_sub(1);
        if node.waits > 0 {
            return false;
        }
        if node.piece.is_none() {
            return true;
        }
        let ready = (node.priority, std::cmp::Reverse(id));
        self.ready.push(ready);
        false
    }
}

/// The positions of the bits of a mask.
fn bits(stages: Stages) -> impl Iterator<Item = usize> {
    stages.iter().map(|s| s.bits().trailing_zeros() as usize)
}
