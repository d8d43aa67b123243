//! Uploads in a row to one buffer, looked up once: they come by the thousand.

use super::{Resolved, ResolvedUse, persistent};
use crate::frame::{FrameGraph, Mode, Upload};
use crate::pairs::PairId;
use crate::resource::{Resource, ResourceSlice};
use crate::state::GraphState;

/// Resolves uploads to one persistent buffer that nothing is wrong with, from the first that is not resolved on. Returns how
/// many: none if the first has to be looked at closely.
#[inline]
pub(super) fn uploads(graph: &FrameGraph, state: &GraphState, pair: PairId, out: &mut Resolved) -> usize {
    let rest = graph.uploads.get(out.uploads.len()..).unwrap_or(&[]);
    let Some(first) = rest.first() else { return 0 };
    let to = first.to.slice.resource;
    let Resource::Persistent(id) = to else { return 0 };
    let Some(local) = persistent(state, id, out) else { return 0 };
    let of = &mut out.locals[local as usize];
    if !state.pairs.facts(pair).plainly_allowed(Mode::Overwrite, of.usage) {
        return 0;
    }
    of.entangled |= of.read;
    let size = of.size;
    let before = out.uploads.last().map(|last| (last.local, last.start));
    let (mut last, mut ascend) = match before {
        Some((of, start)) if of == local => (start, true),
        Some((of, _)) => (0, of < local),
        None => (0, true),
    };
    let resolve = |(number, upload): (u32, &Upload)| {
        let ResourceSlice { resource, start, end } = upload.to.slice;
        let end = if end == ResourceSlice::WHOLE { size } else { end };
        let fits = start < end && end <= size && upload.offset <= u64::MAX - size;
        if resource != to || upload.node != number || !fits {
            return None;
        }
        ascend &= last <= start;
        last = start;
        let whole = end - start == size;
        Some(ResolvedUse { start, end, local, pair, mode: Mode::Overwrite, whole })
    };
    let known = out.uploads.len();
    out.uploads.extend((first.node..).zip(rest).map_while(resolve));
    out.uploads_ascend &= ascend;
    out.uploads.len() - known
}
