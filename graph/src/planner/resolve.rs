//! Phase 1: looks up every resource once, and finds what is wrong with single declarations.

mod uploads;

use super::label;
use crate::access::{Access, AccessFlags, BufferUsage, Stages};
use crate::error::GraphError;
use crate::frame::{Entry, FrameGraph, Mode, Node, NodeKind, Use};
use crate::pairs::{PairId, PairTable};
use crate::resource::{Resource, ResourceId, ResourceSlice};
use crate::state::GraphState;
use uploads::{Together, uploads};

/// A resource of this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(crate) resource: Resource,
    /// Bytes.
    pub(crate) size: u64,
    /// What it may be used for; a transient's usage follows from its accesses.
    pub(crate) usage: BufferUsage,
    /// Where the state between frames is kept; none for a transient with memory of its own.
    pub(crate) backing: Option<ResourceId>,
    /// Its bytes are undefined at the beginning of the frame, whatever the backing held.
    pub(crate) fresh: bool,
    pub(crate) host_visible: bool,
    /// Whether uploads to it can be scattered, and whether they are.
    pub(crate) scatter: bool,
    pub(crate) scattered: bool,
    /// Whether something reads it.
    pub(crate) read: bool,
    /// Whether something but grouped uploads writes it.
    written: bool,
    /// Whether its uploads have to be walked one by one: something else writes it, something reads it before one of
    /// them, or an explicit order names one.
    pub(crate) entangled: bool,
}

/// A use with numbers for names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedUse {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) local: u32,
    pub(crate) pair: PairId,
    pub(crate) mode: Mode,
    /// Whether it is all of the resource.
    pub(crate) whole: bool,
}

impl ResolvedUse {
    pub(crate) fn reads(&self) -> bool {
        matches!(self.mode, Mode::Read | Mode::Modify)
    }

    pub(crate) fn writes(&self) -> bool {
        self.mode != Mode::Read
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.local == other.local && self.start < other.end && other.start < self.end
    }
}

impl Resolved {
    /// The uses of a node.
    #[inline]
    pub(crate) fn uses_of(&self, entry: Entry<'_>) -> &[ResolvedUse] {
        match entry {
            Entry::Upload(number) => std::slice::from_ref(&self.uploads[number]),
            Entry::Node(node) => &self.uses[node.uses.0 as usize..node.uses.1 as usize],
        }
    }
}

/// The outcome, and the memory the look-ups need.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) locals: Vec<Local>,
    /// Position by position those of [`FrameGraph`].
    pub(crate) uses: Vec<ResolvedUse>,
    /// The uses of its uploads, likewise, once [settled](Self::settle_uploads).
    pub(crate) uploads: Vec<ResolvedUse>,
    /// The local resource of each of its uploads.
    pub(crate) upload_locals: Vec<u32>,
    pub(crate) together: Together,
    /// Per slot of the state: the frame that last used it, and its local number there.
    slots: Vec<(u32, u32)>,
    /// Nothing can be left out: each node has side effects, or writes something that outlives the frame and that no
    /// node overwrites after another wrote it.
    pub(crate) all_needed: bool,
    stamp: u32,
    transients: Vec<u32>,
    /// The accesses of uploads: copied, and scattered, which is the same if none are.
    pub(crate) upload_pairs: [PairId; 2],
}

const NONE: u32 = u32::MAX;

/// Looks everything up. `backings` gives transients memory that earlier frames used, position by position.
pub(crate) fn run(
    graph: &FrameGraph,
    state: &mut GraphState,
    backings: &[Option<ResourceId>],
    out: &mut Resolved,
    errors: &mut Vec<GraphError>,
) {
    out.locals.clear();
    out.uses.clear();
    out.uses.reserve(graph.uses.len());
    out.uploads.clear();
    out.upload_locals.clear();
    out.together = Together::NONE;
    out.transients.clear();
    out.transients.resize(graph.transients.len(), NONE);
    out.all_needed = graph.prologue.is_none();
    out.stamp = out.stamp.wrapping_add(1);
    if out.stamp == 0 {
        out.slots.fill((0, 0));
        out.stamp = 1;
    }
    for (name, t) in graph.transients() {
        if t.size == 0 {
            errors.push(GraphError::ZeroSize { resource: name.to_owned() });
        }
    }
    let copy_write = state.pairs.intern(Access::COPY_WRITE);
    out.upload_pairs = [copy_write; 2];
    // Neighbours are often alike.
    let mut last = (Access::COPY_WRITE, copy_write);
    let mut number = 0;
    while number < graph.len() {
        let entry = graph.entry(number as u32);
        if let Entry::Upload(first) = entry {
            let mut rest = graph.rest_of_run(first);
            while !rest.is_empty() {
                let mut fine = uploads(graph, state, rest, copy_write, out);
                if fine == 0 {
                    odd_upload(graph, state, backings, (number, &mut last), out, errors);
                    fine = 1;
                }
                number += fine;
                rest = rest.get(fine..).unwrap_or(&[]);
            }
            continue;
        }
        let Entry::Node(node) = entry else { break };
        number += 1;
        let first = out.uses.len();
        let mut seen = node.side_effects;
        for u in graph.uses(node) {
            seen |= u.mode != Mode::Read;
            resolve_use(graph, state, backings, node, (u, &mut last), out, errors);
        }
        out.all_needed &= seen;
        let uses = &out.uses[first..];
        let fine = node.kind == NodeKind::Pass && !may_contradict(uses);
        if !fine && errors.is_empty() {
            check_node(graph, state, node, uses, &out.locals, errors);
        }
    }
    for order in &graph.orders {
        let known = |p: crate::PassId| p.frame == graph.serial && p.index() < graph.len();
        if !known(order.first) || !known(order.then) {
            errors.push(GraphError::ForeignPass);
            continue;
        }
        for (order_of, access) in [(order.first, order.first_access), (order.then, order.then_access)] {
            let stages = state.pairs.missing(access.stages);
            if !stages.is_empty() {
                let pass = label::at(graph, state, order_of.index);
                errors.push(GraphError::StageNotOnDevice {
                    pass,
                    of: "for an explicit order".to_owned(),
                    stages,
                });
            }
            if let Entry::Upload(number) = graph.entry(order_of.index)
                && let Some(&local) = out.upload_locals.get(number)
            {
                // What is in error has no local resource.
                if let Some(local) = out.locals.get_mut(local as usize) {
                    local.entangled = true;
                }
            }
        }
    }
}

/// An upload that has to be looked at closely, or is to a transient.
fn odd_upload(
    graph: &FrameGraph,
    state: &mut GraphState,
    backings: &[Option<ResourceId>],
    (number, last): (usize, &mut (Access, PairId)),
    out: &mut Resolved,
    errors: &mut Vec<GraphError>,
) {
    let Some(node) = graph.node(number) else { return };
    let [u] = graph.uses(&node) else { return };
    resolve_use(graph, state, backings, &node, (u, last), out, errors);
    // Its use stands among those of other uploads.
    let Some(resolved) = out.uses.pop() else { return };
    out.upload_locals.push(resolved.local);
    out.together.ascend = false;
    if errors.is_empty() {
        check_node(graph, state, &node, &[resolved], &out.locals, errors);
    }
}

#[inline]
fn resolve_use(
    graph: &FrameGraph,
    state: &mut GraphState,
    backings: &[Option<ResourceId>],
    node: &Node,
    (u, last): (&Use, &mut (Access, PairId)),
    out: &mut Resolved,
    errors: &mut Vec<GraphError>,
) {
    if u.access != last.0 {
        *last = (u.access, state.pairs.intern(u.access));
    }
    let pair = last.1;
    let found = match u.slice.resource {
        Resource::Persistent(id) => persistent(state, id, out),
        Resource::Transient(id) if id.frame == graph.serial => {
            transient(graph, state, backings, id.index, out)
        }
        Resource::Transient(_) => None,
    };
    let (start, mut end, mode) = (u.slice.start, u.slice.end, u.mode);
    let Some(local) = found else {
        errors.push(missing(graph, node, u.slice.resource));
        out.uses.push(ResolvedUse { start, end, local: 0, pair, mode, whole: false });
        return;
    };
    let of = &mut out.locals[local as usize];
    if end == ResourceSlice::WHOLE {
        end = of.size;
    }
    let whole = start == 0 && end == of.size;
    let resolved = ResolvedUse { start, end, local, pair, mode, whole };
    if resolved.writes() {
        out.all_needed &= !(of.fresh || of.written && mode == Mode::Overwrite);
    }
    of.note(&resolved, graph.prologue.is_some());
    let fine = start < end
        && end <= of.size
        && node.queue.is_none()
        && state.pairs.facts(pair).plainly_allowed(mode, of.usage);
    if !fine {
        look_closer(graph, state, node, u, (&resolved, &out.locals[local as usize]), errors);
    }
    out.uses.push(resolved);
}

impl Local {
    /// Keeps in mind what the frame does to it.
    #[inline]
    fn note(&mut self, u: &ResolvedUse, prologue: bool) {
        self.written |= u.writes();
        // Uploads come this way only if there is something about them.
        self.entangled |= u.writes();
        if u.reads() {
            self.read = true;
            // What the prologue declares comes last here and is meant first.
            self.entangled |= prologue;
        }
    }
}

/// The local number of a persistent resource.
#[inline]
fn persistent(state: &GraphState, id: ResourceId, out: &mut Resolved) -> Option<u32> {
    match out.slots.get(id.index() as usize) {
        Some(&(stamp, local)) if stamp == out.stamp => {
            // Another version of the slot is stale, or was made stale since.
            (out.locals[local as usize].backing == Some(id)).then_some(local)
        }
        _ => first_use(state, id, out),
    }
}

/// A persistent resource that this frame names for the first time.
#[inline(never)]
fn first_use(state: &GraphState, id: ResourceId, out: &mut Resolved) -> Option<u32> {
    let slot = id.index() as usize;
    let desc = &state.get(id)?.desc;
    let local = push(
        out,
        Local {
            resource: id.into(),
            size: desc.size,
            usage: desc.usage,
            backing: Some(id),
            fresh: false,
            host_visible: desc.host_visible,
            scatter: desc.scatter,
            scattered: false,
            read: false,
            written: false,
            entangled: false,
        },
    );
    if out.slots.len() <= slot {
        out.slots.resize((slot + 1).next_power_of_two(), (0, 0));
    }
    out.slots[slot] = (out.stamp, local);
    Some(local)
}

#[inline(never)]
fn transient(
    graph: &FrameGraph,
    state: &GraphState,
    backings: &[Option<ResourceId>],
    index: u32,
    out: &mut Resolved,
) -> Option<u32> {
    let known = *out.transients.get(index as usize)?;
    if known != NONE {
        return Some(known);
    }
    let desc = graph.transients.get(index as usize)?;
    let backing = backings.get(index as usize).copied().flatten();
    let local = push(
        out,
        Local {
            resource: crate::TransientId { index, frame: graph.serial }.into(),
            size: desc.size,
            usage: BufferUsage::all(),
            backing,
            fresh: true,
            host_visible: false,
            scatter: backing.and_then(|id| state.buffer(id)).is_some_and(|desc| desc.scatter),
            scattered: false,
            read: false,
            written: false,
            // It may have no memory that earlier frames used, and is not looked at afterwards.
            entangled: true,
        },
    );
    out.transients[index as usize] = local;
    Some(local)
}

fn push(out: &mut Resolved, local: Local) -> u32 {
    out.locals.push(local);
    (out.locals.len() - 1) as u32
}

/// What is wrong with one use, before names are looked up.
enum Problem {
    Bounds(u64),
    Empty,
    Mode(&'static str),
    Device(Stages),
    Impossible,
    Usage(BufferUsage, BufferUsage),
    Queue,
}

/// A use that is not plainly right: names what is wrong with it, if anything is.
#[inline(never)]
fn look_closer(
    graph: &FrameGraph,
    state: &GraphState,
    node: &Node,
    u: &Use,
    (resolved, local): (&ResolvedUse, &Local),
    errors: &mut Vec<GraphError>,
) {
    if let Some(problem) = check_use(&state.pairs, node, u, resolved, local.size, local.usage) {
        errors.push(problem.named(graph, state, node, u));
    }
}

fn check_use(
    pairs: &PairTable,
    node: &Node,
    u: &Use,
    resolved: &ResolvedUse,
    size: u64,
    usage: BufferUsage,
) -> Option<Problem> {
    if resolved.start > resolved.end || resolved.end > size {
        return Some(Problem::Bounds(size));
    }
    if resolved.start == resolved.end {
        return Some(Problem::Empty);
    }
    let pair = pairs.get(resolved.pair);
    if !pair.missing.is_empty() {
        return Some(Problem::Device(pair.missing));
    }
    if let Some(remedy) = mode_problem(u.mode, u.access) {
        return Some(Problem::Mode(remedy));
    }
    if !pair.possible || pair.atom_list.is_empty() {
        return Some(Problem::Impossible);
    }
    if let Some(&needed) = pair.usages.iter().find(|needed| !usage.intersects(**needed)) {
        return Some(Problem::Usage(needed, usage));
    }
    if let Some(queue) = node.queue
        && !queue.supported_stages().contains(u.access.stages)
    {
        return Some(Problem::Queue);
    }
    None
}

/// What is wrong with an access in a mode, and what to do.
pub(crate) fn mode_problem(mode: Mode, access: Access) -> Option<&'static str> {
    match mode {
        Mode::Read if access.writes() => Some("a read must not write; use `modify`, `write` or `overwrite`"),
        Mode::Read if !access.reads() => Some("name an access that reads"),
        Mode::Write | Mode::Overwrite if !access.writes() => Some("name an access that writes"),
        Mode::Write | Mode::Overwrite if access.reads() => {
            Some("a write must not read; use `modify` to read and write in place")
        }
        Mode::Modify if !(access.reads() && access.writes()) => {
            Some("`modify` needs an access that reads and one that writes")
        }
        _ => None,
    }
}

impl Problem {
    fn named(self, graph: &FrameGraph, state: &GraphState, node: &Node, u: &Use) -> GraphError {
        let pass = label::node(graph, state, node);
        let resource = label::resource(graph, state, u.slice.resource);
        let (start, end) = (u.slice.start, u.slice.end);
        match self {
            Problem::Bounds(size) => GraphError::OutOfBounds { pass, resource, range: start..end, size },
            Problem::Empty => GraphError::EmptyRange { pass, resource, offset: start },
            Problem::Mode(remedy) => {
                GraphError::ModeMismatch { pass, resource, mode: u.mode, access: u.access, remedy }
            }
            Problem::Device(stages) => {
                GraphError::StageNotOnDevice { pass, of: format!("use of `{resource}`"), stages }
            }
            Problem::Impossible => GraphError::ImpossibleAccess { pass, resource, access: u.access },
            Problem::Usage(needed, has) => GraphError::MissingUsage { pass, resource, needed, has },
            Problem::Queue => {
                let queue = node.queue.unwrap_or(crate::Queue::Graphics);
                let stages = u.access.stages.difference(queue.supported_stages());
                GraphError::StageNotOnQueue { pass, resource, stages, queue }
            }
        }
    }
}

#[cold]
fn missing(graph: &FrameGraph, node: &Node, resource: Resource) -> GraphError {
    let pass = label::bare(graph, node);
    match resource {
        Resource::Persistent(id) => GraphError::StaleResource { pass, index: id.index() },
        Resource::Transient(_) => GraphError::ForeignTransient { pass },
    }
}

/// Whether a pass reads a resource that it overwrites, in whatever parts.
#[inline]
fn may_contradict(uses: &[ResolvedUse]) -> bool {
    let mut overwrites = uses.iter().filter(|u| u.mode == Mode::Overwrite);
    overwrites.any(|over| uses.iter().any(|u| u.local == over.local && u.reads()))
}

/// What the uses of one node must not say together.
#[inline(never)]
fn check_node(
    graph: &FrameGraph,
    state: &GraphState,
    node: &Node,
    uses: &[ResolvedUse],
    locals: &[Local],
    errors: &mut Vec<GraphError>,
) {
    let name = |u: &ResolvedUse| label::resource(graph, state, locals[u.local as usize].resource);
    match (node.kind, uses) {
        (NodeKind::Copy | NodeKind::Readback, [from, to]) => {
            if from.end - from.start != to.end - to.start {
                errors.push(GraphError::CopySize {
                    from: name(from),
                    from_size: from.end - from.start,
                    to: name(to),
                    to_size: to.end - to.start,
                });
            } else if from.overlaps(to) {
                errors.push(GraphError::CopyOverlap {
                    resource: name(from),
                    from: from.start..from.end,
                    to: to.start..to.end,
                });
            }
        }
        (NodeKind::Fill { .. }, [to]) if to.start % 4 != 0 || to.end % 4 != 0 => {
            errors.push(GraphError::FillAlignment { resource: name(to), range: to.start..to.end });
        }
        (NodeKind::Upload { from }, [to]) if from.offset.checked_add(to.end - to.start).is_none() => {
            let (resource, size) = (name(to), to.end - to.start);
            errors.push(GraphError::StagingRange { resource, offset: from.offset, size });
        }
        (NodeKind::Pass, _) => {
            for over in uses.iter().filter(|u| u.mode == Mode::Overwrite) {
                if let Some(read) = uses.iter().find(|u| u.overlaps(over) && u.reads()) {
                    errors.push(GraphError::Contradiction {
                        pass: label::node(graph, state, node),
                        resource: name(over),
                        range: over.start.max(read.start)..over.end.min(read.end),
                    });
                }
            }
        }
        _ => {}
    }
}

/// Accesses of a pass that an explicit order names without declaring any: nothing narrower is known.
pub(crate) const ANYTHING: Access =
    Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE));
