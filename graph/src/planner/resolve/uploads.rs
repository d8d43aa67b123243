//! Uploads in a row to one buffer, looked up once: they come by the thousand.

use super::{Resolved, ResolvedUse, persistent};
use crate::frame::{FrameGraph, Mode, NodeKind, Use};
use crate::pairs::PairId;
use crate::resource::{HostSlice, Resource, ResourceSlice};
use crate::state::GraphState;

/// An upload, as all phases see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload {
    /// Destination, half-open.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) from: HostSlice,
    pub(crate) local: u32,
    /// Position in the frame.
    pub(crate) node: u32,
}

/// Resolves uploads to one persistent buffer that nothing is wrong with, from node `first` on. Returns how many: none if
/// the first has to be looked at closely.
#[inline]
pub(super) fn uploads(
    graph: &FrameGraph,
    state: &GraphState,
    first: usize,
    pair: PairId,
    out: &mut Resolved,
) -> usize {
    let Some(Use { slice: ResourceSlice { resource: Resource::Persistent(id), .. }, .. }) =
        graph.nodes.get(first).and_then(|node| graph.uses.get(node.uses.0 as usize))
    else {
        return 0;
    };
    let Some(local) = persistent(state, *id, out) else { return 0 };
    let of = &mut out.locals[local as usize];
    if !state.pairs.facts(pair).plainly_allowed(Mode::Overwrite, of.usage) {
        return 0;
    }
    if of.read() {
        of.tangle();
    }
    let size = of.size;
    let rest = graph.nodes.get(first..).unwrap_or(&[]);
    // Uploads have one use each, so theirs stand one after the other too.
    let uses = graph.uses.get(out.uses.len()..).unwrap_or(&[]);
    let Resolved { uses: resolved, uploads, .. } = out;
    let mut number = first as u32;
    for (node, u) in rest.iter().zip(uses) {
        let NodeKind::Upload { from } = node.kind else { break };
        let ResourceSlice { resource: Resource::Persistent(to), start, end } = u.slice else { break };
        let end = if end == ResourceSlice::WHOLE { size } else { end };
        let fits = start < end && end <= size && from.offset <= u64::MAX - size;
        if to != *id || !fits || u.mode != Mode::Overwrite {
            break;
        }
        let whole = end - start == size;
        resolved.push(ResolvedUse { start, end, local, pair, mode: Mode::Overwrite, whole });
        uploads.push(Upload { start, end, from, local, node: number });
        number += 1;
    }
    number as usize - first
}
