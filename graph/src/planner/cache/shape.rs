//! The structure of a frame: what is declared, as far as a plan depends on it.

use super::PlanChange;
use super::moves::Moves;
use crate::frame::{Batch, Declared, Entry, FrameGraph, Node, Order, Run, TransientDesc, Upload, Use};
use crate::planner::PlanOptions;
use crate::resource::{HostSlice, Resource, ResourceId};

/// What a plan is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) graph: &'a FrameGraph,
    pub(crate) options: PlanOptions,
    pub(crate) backings: &'a [Option<ResourceId>],
}

/// From so many uploads a buffer on, a frame of nothing else is not worth remembering: see [`PlanChange::Uploads`].
const UPLOADS_A_BUFFER: usize = 4;
/// Uses of a frame beyond which it is not remembered: it would take many megabytes.
const MAX_USES: usize = 1 << 18;

impl Asked<'_> {
    /// Why the frame is not worth remembering, if it is not.
    pub(super) fn never_kept(&self) -> Option<PlanChange> {
        let Declared { nodes, uses, uploads, batches, .. } = self.graph.declared();
        if uses.len() + uploads.len() > MAX_USES {
            return Some(PlanChange::TooLarge);
        }
        // Neighbours, and those among them that differ in their buffers, of which one may be the staging buffer.
        let (pairs, turns) = (uploads.len().saturating_sub(1), batches.len().saturating_sub(1));
        let few_buffers = turns < pairs.div_ceil(UPLOADS_A_BUFFER);
        (nodes.is_empty() && few_buffers).then_some(PlanChange::Uploads)
    }

    fn backing(&self, transient: usize) -> Option<ResourceId> {
        self.backings.get(transient).copied().flatten()
    }
}

/// A structure that is remembered.
#[derive(Debug, Default)]
pub(super) struct Shape {
    options: PlanOptions,
    prologue: Option<u32>,
    /// Of the frame that `uses` and `uploads` are of.
    serial: u32,
    // As `Declared` has them.
    runs: Vec<Run>,
    nodes: Vec<Node>,
    uses: Vec<Use>,
    uploads: Vec<Upload>,
    batches: Vec<Batch>,
    transients: Vec<TransientDesc>,
    /// By transient.
    backings: Vec<Option<ResourceId>>,
    orders: Vec<Order>,
}

/// What comes out of comparing a frame with a structure.
#[derive(Clone, Copy)]
pub(super) enum Compared {
    Differs(Place),
    /// The same, but that the staging memory of an upload moved otherwise than that of others.
    StagingDiffers(u32),
    Same,
}

/// Where a frame differs from a structure.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In the number of its nodes or uses.
    Size,
    // Positions as in `Declared`.
    Use(usize),
    Node(usize),
    Upload(usize),
    /// Position of a node: an upload here, another there.
    Order(usize),
    Beside,
}

/// Where frames differed before: looked at first, because it is often the same place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint {
    at_use: usize,
    at_node: usize,
    at_upload: usize,
}

impl Hint {
    /// Whether it is known already that frames differ there.
    pub(super) fn is(self, place: Place) -> bool {
        match place {
            Place::Use(at) => self.at_use == at,
            Place::Node(at) => self.at_node == at,
            Place::Upload(at) => self.at_upload == at,
            Place::Size | Place::Order(_) | Place::Beside => false,
        }
    }

    pub(super) fn note(&mut self, place: Place) {
        match place {
            Place::Use(at) => self.at_use = at,
            Place::Node(at) => self.at_node = at,
            Place::Upload(at) => self.at_upload = at,
            Place::Size | Place::Order(_) | Place::Beside => {}
        }
    }
}

impl Shape {
    pub(super) fn remember(&mut self, asked: Asked<'_>) {
        let graph = asked.graph;
        self.options = asked.options;
        self.prologue = graph.prologue;
        self.serial = graph.serial;
        let Declared { runs, nodes, uses, uploads, batches } = graph.declared();
        copy(runs, &mut self.runs);
        copy(nodes, &mut self.nodes);
        copy(uses, &mut self.uses);
        copy(uploads, &mut self.uploads);
        copy(batches, &mut self.batches);
        self.transients.clone_from(&graph.transients);
        self.orders.clone_from(&graph.orders);
        self.backings.clear();
        self.backings.extend((0..graph.transients.len()).map(|i| asked.backing(i)));
    }

    /// Takes on where the staging memory is now.
    pub(super) fn follow(&mut self, asked: Asked<'_>, moves: &Moves) {
        if moves.any() {
            // That alone: the names of transients are those of another frame.
            let Declared { uploads, batches, .. } = asked.graph.declared();
            self.uploads.iter_mut().zip(uploads).for_each(|(old, new)| old.offset = new.offset);
            self.batches.iter_mut().zip(batches).for_each(|(old, new)| old.buffer = new.buffer);
        }
    }

    fn declared(&self) -> Declared<'_> {
        Declared {
            runs: &self.runs,
            nodes: &self.nodes,
            uses: &self.uses,
            uploads: &self.uploads,
            batches: &self.batches,
        }
    }

    /// Compares a frame with it. `moves` says then where its staging memory went.
    pub(super) fn compare(&self, asked: Asked<'_>, hint: Hint, moves: &mut Moves) -> Compared {
        moves.clear();
        let graph = asked.graph;
        if !self.is_as_large(graph) {
            return Compared::Differs(Place::Size);
        }
        let beside = self.options == asked.options
            && self.prologue == graph.prologue
            && self.same_transients(asked)
            && same_orders(&self.orders, graph);
        if !beside {
            return Compared::Differs(Place::Beside);
        }
        self.first_difference(graph, hint, moves)
            .map_or_else(|| moves.end().map_or(Compared::Same, Compared::StagingDiffers), Compared::Differs)
    }

    /// The first that differs, those that differed before looked at first. Both have as many of each kind.
    fn first_difference(&self, graph: &FrameGraph, hint: Hint, moves: &mut Moves) -> Option<Place> {
        let (old, new, serials) = (self.declared(), graph.declared(), self.serial ^ graph.serial);
        if let (Some(old), Some(new)) = (old.uses.get(hint.at_use), new.uses.get(hint.at_use))
            && difference(old, new, serials) != 0
        {
            return Some(Place::Use(hint.at_use));
        }
        if let (Some(old), Some(new)) = (old.nodes.get(hint.at_node), new.nodes.get(hint.at_node))
            && !same_node(old, new)
        {
            return Some(Place::Node(hint.at_node));
        }
        if let (Some(was), Some(is)) = (old.uploads.get(hint.at_upload), new.uploads.get(hint.at_upload))
            && !same_upload((was, old.batch_of(was)), (is, new.batch_of(is)), serials)
        {
            return Some(Place::Upload(hint.at_upload));
        }
        if let Some(at) = first_use(old.uses, new.uses, serials) {
            return Some(Place::Use(at));
        }
        let mut nodes = old.nodes.iter().zip(new.nodes);
        if let Some(at) = nodes.position(|(old, new)| old.uses != new.uses || !same_node(old, new)) {
            return Some(Place::Node(at));
        }
        if old.runs != new.runs {
            let is_upload = |of: Declared<'_>, at| of.entry(at).is_upload();
            return (0..old.len()).find(|&at| is_upload(old, at) != is_upload(new, at)).map(Place::Order);
        }
        for (at, (was, is)) in old.uploads.iter().zip(new.uploads).enumerate() {
            let (old, new) = (old.batch_of(was), new.batch_of(is));
            if !same_upload((was, old), (is, new), serials) {
                return Some(Place::Upload(at));
            }
            let from = |buffer, offset| HostSlice { buffer, offset };
            moves.enter(from(old.buffer, was.offset), from(new.buffer, is.offset), is.node);
        }
        None
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

    /// Whether a frame has as many nodes of each kind, and uses.
    pub(super) fn is_as_large(&self, graph: &FrameGraph) -> bool {
        self.declared().counts() == graph.declared().counts()
    }

    /// What differs in a frame that was compared with it.
    #[cold]
    pub(super) fn change(&self, asked: Asked<'_>, place: Place) -> PlanChange {
        let graph = asked.graph;
        let at = match place {
            Place::Size => return self.resized(graph),
            Place::Beside => match self.first_difference(graph, Hint::default(), &mut Moves::default()) {
                Some(place) => return self.change(asked, place),
                None => return self.beside_nodes(asked),
            },
            Place::Use(at) => {
                let of = |entry: Entry<'_>| matches!(entry, Entry::Node(node) if node.uses.1 as usize > at);
                self.position(of)
            }
            Place::Node(at) => {
                let node = self.nodes.get(at);
                self.position(
                    |entry| matches!(entry, Entry::Node(n) if node.is_some_and(|of| std::ptr::eq(n, of))),
                )
            }
            Place::Upload(at) => self.uploads.get(at).map_or(0, |upload| upload.node as usize),
            Place::Order(at) => at,
        };
        self.node(at, graph).unwrap_or(PlanChange::Node { node: at as u32 })
    }

    /// The first node of which something is true.
    fn position(&self, is: impl Fn(Entry<'_>) -> bool) -> usize {
        let old = self.declared();
        (0..old.len()).find(|&at| is(old.entry(at))).unwrap_or(0)
    }

    /// What differs in a frame of another size: where nodes were added or taken out, all after that differ.
    fn resized(&self, graph: &FrameGraph) -> PlanChange {
        let (before, now) = (self.declared().len(), graph.len());
        let (mut begin, mut end) = (0, before.min(now));
        while begin < end {
            let middle = begin + (end - begin) / 2;
            if self.node(middle, graph).is_none() { begin = middle + 1 } else { end = middle }
        }
        let node = begin as u32;
        match before.cmp(&now) {
            std::cmp::Ordering::Less => PlanChange::Added { node },
            std::cmp::Ordering::Greater => PlanChange::Removed { node },
            std::cmp::Ordering::Equal => PlanChange::Node { node },
        }
    }

    /// What differs in a node that both have.
    fn node(&self, at: usize, graph: &FrameGraph) -> Option<PlanChange> {
        let (old, new, node) = (self.declared(), graph.declared(), at as u32);
        let (was, is, serials) = (old.entry(at), new.entry(at), self.serial ^ graph.serial);
        let (before, now) = (old.uses_of(was), new.uses_of(is));
        let same = match (was, is) {
            (Entry::Upload(_), Entry::Upload(_)) => true,
            (Entry::Node(old), Entry::Node(new)) => same_node(old, new),
            _ => false,
        };
        if !same || before.clone().count() != now.clone().count() {
            return Some(PlanChange::Node { node });
        }
        let differs = before.zip(now).position(|(old, new)| difference(&old, &new, serials) != 0)?;
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

fn copy<T: Copy>(from: &[T], to: &mut Vec<T>) {
    to.clear();
    to.extend_from_slice(from);
}

/// Whether two nodes do the same, their uses aside.
#[inline]
fn same_node(old: &Node, new: &Node) -> bool {
    old.kind == new.kind && old.queue == new.queue && old.side_effects == new.side_effects
}

/// The first of two frames' uses that differ. `serials`: what differs between the frames' serial numbers.
fn first_use(old: &[Use], new: &[Use], serials: u32) -> Option<usize> {
    // One branch for several.
    const CHUNK: usize = 8;
    let differ = |(old, new): (&[Use], &[Use])| {
        old.iter().zip(new).fold(0, |all, (old, new)| all | difference(old, new, serials)) != 0
    };
    let chunk = old.chunks(CHUNK).zip(new.chunks(CHUNK)).position(differ)?;
    let both = old.iter().zip(new).enumerate().skip(chunk * CHUNK);
    both.take(CHUNK).find(|(_, (old, new))| difference(old, new, serials) != 0).map(|(at, _)| at)
}

/// The bits in which two uses differ.
#[inline(always)]
fn difference(old: &Use, new: &Use, serials: u32) -> u64 {
    let (a, b) = (&old.slice, &new.slice);
    let rest = a.start ^ b.start
        | a.end ^ b.end
        | old.access.stages.bits() ^ new.access.stages.bits()
        | old.access.access.bits() ^ new.access.access.bits();
    let resource = resource_difference(a.resource, b.resource, serials);
    u64::from(resource) | rest | u64::from(old.mode as u8 ^ new.mode as u8)
}

/// Whether two uploads write the same bytes.
#[inline(always)]
fn same_upload((was, old): (&Upload, &Batch), (is, new): (&Upload, &Batch), serials: u32) -> bool {
    was.difference(is) | u64::from(resource_difference(old.resource, new.resource, serials)) == 0
}

/// The bits in which two resources differ. Transients are compared by their place among those of the frame: an id has the
/// serial number of its frame beside it.
#[inline(always)]
fn resource_difference(old: Resource, new: Resource, serials: u32) -> u32 {
    let parts = |resource| match resource {
        Resource::Persistent(id) => (0u32, id.index, id.version),
        Resource::Transient(id) => (1, id.index, id.frame),
    };
    let ((transient, index, stamp), (other, other_index, other_stamp)) = (parts(old), parts(new));
    let expected = transient.wrapping_neg() & serials;
    transient ^ other | index ^ other_index | stamp ^ other_stamp ^ expected
}

fn same_orders(old: &[Order], graph: &FrameGraph) -> bool {
    let same = |(old, new): (&Order, &Order)| {
        (old.first.index, old.then.index) == (new.first.index, new.then.index)
            && (old.first_access, old.then_access) == (new.first_access, new.then_access)
            && (new.first.frame, new.then.frame) == (graph.serial, graph.serial)
    };
    old.len() == graph.orders.len() && old.iter().zip(&graph.orders).all(same)
}
