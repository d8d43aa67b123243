//! What is wrong with single declarations.

use super::{Local, ResolvedUse};
use crate::access::{Access, BufferUsage, Stages};
use crate::error::GraphError;
use crate::frame::{FrameGraph, Mode, Node, NodeKind, Use};
use crate::pairs::{BEYOND, PairTable};
use crate::planner::label;
use crate::resource::Resource;
use crate::state::GraphState;

/// What is wrong with one use, before names are looked up.
enum Problem {
    Bounds(u64),
    Empty,
    Mode(&'static str),
    Device(Stages),
    Beyond,
    Impossible,
    Usage(BufferUsage, BufferUsage),
    Queue,
}

/// A use that is not plainly right: names what is wrong with it, if anything is.
#[inline(never)]
pub(super) fn look_closer(
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
    if resolved.pair == BEYOND {
        return Some(Problem::Beyond);
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
            Problem::Beyond => {
                GraphError::TooManyAccesses { pass, resource, access: u.access, limit: BEYOND.into() }
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
pub(super) fn missing(graph: &FrameGraph, node: &Node, resource: Resource) -> GraphError {
    let pass = label::bare(graph, node);
    match resource {
        Resource::Persistent(id) => GraphError::StaleResource { pass, index: id.index() },
        Resource::Transient(_) => GraphError::ForeignTransient { pass },
    }
}

/// What the uses of one node must not say together.
#[inline(never)]
pub(super) fn check_node(
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
