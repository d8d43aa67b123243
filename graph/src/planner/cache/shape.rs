//! The structure of a frame: what is declared, as far as a plan depends on it.

use super::PlanChange;
use crate::frame::{FrameGraph, Node, NodeKind, Order, TransientDesc, Use};
use crate::planner::PlanOptions;
use crate::resource::{HostSlice, Resource, ResourceId};

/// What a plan is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) graph: &'a FrameGraph,
    pub(crate) options: PlanOptions,
    pub(crate) backings: &'a [Option<ResourceId>],
}

impl Asked<'_> {
    fn backing(&self, transient: usize) -> Option<ResourceId> {
        self.backings.get(transient).copied().flatten()
    }
}

/// A structure that is remembered.
#[derive(Debug, Default)]
pub(super) struct Shape {
    options: PlanOptions,
    prologue: Option<u32>,
    /// Of the frame that `uses` are of.
    serial: u32,
    nodes: Vec<Node>,
    uses: Vec<Use>,
    transients: Vec<TransientDesc>,
    /// By transient.
    backings: Vec<Option<ResourceId>>,
    orders: Vec<Order>,
}

/// What comes out of comparing a frame with a structure.
#[derive(Clone, Copy)]
pub(super) enum Compared {
    Differs,
    /// The same, but that the staging memory of an upload moved otherwise than that of others.
    StagingDiffers(u32),
    Same,
}

impl Shape {
    pub(super) fn remember(&mut self, asked: Asked<'_>) {
        let graph = asked.graph;
        self.options = asked.options;
        self.prologue = graph.prologue;
        self.serial = graph.serial;
        self.nodes.clone_from(&graph.nodes);
        self.uses.clone_from(&graph.uses);
        self.transients.clone_from(&graph.transients);
        self.orders.clone_from(&graph.orders);
        self.backings.clear();
        self.backings.extend((0..graph.transients.len()).map(|i| asked.backing(i)));
    }

    /// Takes on where the staging memory is now.
    pub(super) fn follow(&mut self, asked: Asked<'_>, moves: &Moves) {
        if moves.any() {
            self.nodes.clone_from(&asked.graph.nodes);
        }
    }

    /// Compares a frame with it. `moves` says then where its staging memory went.
    pub(super) fn compare(&self, asked: Asked<'_>, moves: &mut Moves) -> Compared {
        moves.clear();
        let graph = asked.graph;
        let alike = self.nodes.len() == graph.nodes.len()
            && self.uses.len() == graph.uses.len()
            && self.options == asked.options
            && self.prologue == graph.prologue
            && self.same_transients(asked)
            && same_orders(&self.orders, graph)
            && same_uses(&self.uses, &graph.uses, self.serial ^ graph.serial);
        if !alike {
            return Compared::Differs;
        }
        let mut differs = None;
        for (at, (old, new)) in (0..).zip(self.nodes.iter().zip(&graph.nodes)) {
            if !(old.uses == new.uses && same_node(old, new)) {
                return Compared::Differs;
            }
            if let (NodeKind::Upload { from: old }, NodeKind::Upload { from: new }) = (old.kind, new.kind)
                && !moves.enter(old, new)
            {
                differs = differs.or(Some(at));
            }
        }
        if !moves.keep_order() {
            differs = differs.or(Some(0));
        }
        differs.map_or(Compared::Same, Compared::StagingDiffers)
    }

    fn same_transients(&self, asked: Asked<'_>) -> bool {
        self.transients.len() == asked.graph.transients.len() && self.transient_difference(asked).is_none()
    }

    fn transient_difference(&self, asked: Asked<'_>) -> Option<PlanChange> {
        let both = self.transients.iter().zip(&self.backings).zip(&asked.graph.transients);
        for (i, ((old, &backing), new)) in both.enumerate() {
            let index = i as u32;
            if old.size != new.size {
                return Some(PlanChange::Transient { index });
            }
            if backing != asked.backing(i) {
                return Some(PlanChange::Backing { index });
            }
        }
        None
    }

    /// The first difference of a frame that differs, and how many nodes come before it.
    #[cold]
    pub(super) fn difference(&self, asked: Asked<'_>) -> (u32, PlanChange) {
        let graph = asked.graph;
        let (old_len, len) = (self.nodes.len(), graph.nodes.len());
        let all = len.min(old_len) as u32;
        let nodes = self.nodes.iter().zip(&graph.nodes);
        let first =
            (0..).zip(nodes).find_map(|(node, (old, new))| Some((node, self.node(old, new, node, graph)?)));
        match first {
            Some((node, _)) if old_len < len => (node, PlanChange::Added { node }),
            Some((node, _)) if old_len > len => (node, PlanChange::Removed { node }),
            Some(first) => first,
            None if old_len < len => (all, PlanChange::Added { node: all }),
            None if old_len > len => (all, PlanChange::Removed { node: all }),
            None => (all, self.beside_nodes(asked)),
        }
    }

    fn node(&self, old: &Node, new: &Node, node: u32, graph: &FrameGraph) -> Option<PlanChange> {
        let before = self.uses.get(old.uses.0 as usize..old.uses.1 as usize).unwrap_or(&[]);
        let (now, serials) = (graph.uses(new), self.serial ^ graph.serial);
        if !same_node(old, new) || before.len() != now.len() {
            return Some(PlanChange::Node { node });
        }
        let differs = before.iter().zip(now).position(|(old, new)| difference(old, new, serials) != 0)?;
        Some(PlanChange::Use { node, number: differs as u32 })
    }

    /// What differs, if no node does.
    fn beside_nodes(&self, asked: Asked<'_>) -> PlanChange {
        let index = self.transients.len().min(asked.graph.transients.len()) as u32;
        if let Some(change) = self.transient_difference(asked) {
            change
        } else if self.transients.len() != asked.graph.transients.len() {
            PlanChange::Transient { index }
        } else if self.options != asked.options {
            PlanChange::Options
        } else {
            PlanChange::Order
        }
    }
}

/// Whether two nodes do the same, their uses and the staging memory of uploads aside.
#[inline]
fn same_node(old: &Node, new: &Node) -> bool {
    let kind = match (old.kind, new.kind) {
        (NodeKind::Upload { .. }, NodeKind::Upload { .. }) => true,
        (old, new) => old == new,
    };
    kind && old.queue == new.queue && old.side_effects == new.side_effects
}

/// Whether all uses of two frames are the same. `serials`: what differs between the frames' serial numbers.
fn same_uses(old: &[Use], new: &[Use], serials: u32) -> bool {
    // One branch for several.
    let same = |(old, new): (&[Use], &[Use])| {
        old.iter().zip(new).fold(0, |all, (old, new)| all | difference(old, new, serials)) == 0
    };
    old.chunks(8).zip(new.chunks(8)).all(same)
}

/// The bits in which two uses differ. Transients are compared by their place among those of the frame: an id has the serial
/// number of its frame beside it.
#[inline(always)]
fn difference(old: &Use, new: &Use, serials: u32) -> u64 {
    let parts = |u: &Use| match u.slice.resource {
        Resource::Persistent(id) => (0u32, id.index, id.version),
        Resource::Transient(id) => (1, id.index, id.frame),
    };
    let ((transient, index, stamp), (other, other_index, other_stamp)) = (parts(old), parts(new));
    let expected = transient.wrapping_neg() & serials;
    let resource = transient ^ other | index ^ other_index | stamp ^ other_stamp ^ expected;
    let (a, b) = (&old.slice, &new.slice);
    let rest = a.start ^ b.start
        | a.end ^ b.end
        | old.access.stages.bits() ^ new.access.stages.bits()
        | old.access.access.bits() ^ new.access.access.bits();
    u64::from(resource) | rest | u64::from(old.mode as u8 ^ new.mode as u8)
}

fn same_orders(old: &[Order], graph: &FrameGraph) -> bool {
    let same = |(old, new): (&Order, &Order)| {
        (old.first.index, old.then.index) == (new.first.index, new.then.index)
            && (old.first_access, old.then_access) == (new.first_access, new.then_access)
            && (new.first.frame, new.then.frame) == (graph.serial, graph.serial)
    };
    old.len() == graph.orders.len() && old.iter().zip(&graph.orders).all(same)
}

/// Offsets below this can move: none of what fits a resource ends beyond 64 bits then.
const FAR: u64 = 1 << 62;

/// Where the staging memory of a structure went.
#[derive(Debug, Default)]
pub(super) struct Moves {
    moves: Vec<Move>,
}

/// Where one staging buffer went.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: u32,
    to: u32,
    /// What is added to offsets, modulo 2^64.
    by: u64,
}

impl Moves {
    fn clear(&mut self) {
        self.moves.clear();
    }

    /// Whether anything went elsewhere.
    pub(super) fn any(&self) -> bool {
        self.moves.iter().any(|m| m.from != m.to || m.by != 0)
    }

    /// Where a slice is now.
    pub(super) fn apply(&self, slice: HostSlice) -> HostSlice {
        let moved = self.moves.iter().find(|m| m.from == slice.buffer);
        moved.map_or(slice, |m| HostSlice { buffer: m.to, offset: slice.offset.wrapping_add(m.by) })
    }

    /// Takes in where an upload is now. Returns whether that fits what is known.
    #[inline]
    fn enter(&mut self, old: HostSlice, new: HostSlice) -> bool {
        let to = Move { from: old.buffer, to: new.buffer, by: new.offset.wrapping_sub(old.offset) };
        let near = old == new || (old.offset | new.offset) < FAR;
        let fits = |m: &Move| near && (m.to, m.by) == (to.to, to.by);
        if let Some(last) = self.moves.last().filter(|m| m.from == to.from) {
            return fits(last);
        }
        match self.moves.iter().position(|m| m.from == to.from) {
            Some(known) => {
                let last = self.moves.len() - 1;
                self.moves.swap(known, last);
                fits(&self.moves[last])
            }
            None => {
                self.moves.push(to);
                near
            }
        }
    }

    /// Whether different buffers are still different, and in the same order by number.
    fn keep_order(&mut self) -> bool {
        self.moves.sort_unstable_by_key(|m| m.from);
        self.moves.is_sorted_by(|a, b| a.to < b.to)
    }
}
