//! Uploads in a row to one buffer, looked up once: they come by the thousand.

use super::{Resolved, ResolvedUse, persistent};
use crate::frame::{FrameGraph, Mode, Upload};
use crate::pairs::PairId;
use crate::resource::{Resource, ResourceSlice};
use crate::state::GraphState;

/// What is known of a frame's uploads together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Together {
    /// Whether they ascend by local resource and start.
    pub(crate) ascend: bool,
    /// Bits in which their starts differ.
    pub(crate) starts: u64,
    /// Whether they come from several staging buffers.
    pub(crate) mixed: bool,
    /// Local resource and start of the last.
    last: (u32, u64),
}

impl Together {
    /// Of no uploads.
    pub(super) const NONE: Self = Together { ascend: true, starts: 0, mixed: false, last: (0, 0) };
}

/// Resolves uploads to one persistent buffer that nothing is wrong with, the first of `rest`, which are declared one after
/// the other. Returns how many: none if the first has to be looked at closely.
#[inline]
pub(super) fn uploads(
    graph: &FrameGraph,
    state: &GraphState,
    rest: &[Upload],
    pair: PairId,
    out: &mut Resolved,
) -> usize {
    let (Some(first), Some(very_first)) = (rest.first(), graph.uploads.first()) else { return 0 };
    let Resource::Persistent(id) = first.to.slice.resource else { return 0 };
    let Some(local) = persistent(state, id, out) else { return 0 };
    let of = &mut out.locals[local as usize];
    if !state.pairs.facts(pair).plainly_allowed(Mode::Overwrite, of.usage) {
        return 0;
    }
    if of.read() {
        of.tangle();
    }
    let (size, most) = (of.size, u64::MAX - of.size);
    let Together { mut ascend, mut starts, mut mixed, last: (last_local, last) } = out.together;
    ascend &= last_local <= local;
    let mut last = if last_local == local { last } else { 0 };
    let (first_start, host) = (very_first.to.slice.start, very_first.buffer);
    let mut hosts = 0;
    let mut fine = 0;
    for upload in rest {
        let ResourceSlice { resource, start, end } = upload.to.slice;
        let end = if end == ResourceSlice::WHOLE { size } else { end };
        let is_plain = start < end && end <= size && upload.offset <= most;
        if !is_plain || resource != Resource::Persistent(id) {
            break;
        }
        ascend &= last <= start;
        last = start;
        starts |= start ^ first_start;
        hosts |= upload.buffer ^ host;
        fine += 1;
    }
    mixed |= hosts != 0;
    out.together = Together { ascend, starts, mixed, last: (local, last) };
    out.upload_locals.resize(out.upload_locals.len() + fine, local);
    fine
}

impl Resolved {
    /// Resolves the use of each upload, for phases that look at single ones.
    pub(crate) fn settle_uploads(&mut self, graph: &FrameGraph) {
        let (locals, pair) = (&self.locals, self.upload_pairs[0]);
        let resolve = |(upload, &local): (&Upload, &u32)| {
            let size = locals.get(local as usize).map_or(0, |l| l.size);
            let (start, end) = upload.range(size);
            ResolvedUse { start, end, local, pair, mode: Mode::Overwrite, whole: end - start == size }
        };
        self.uploads.clear();
        self.uploads.extend(graph.uploads.iter().zip(&self.upload_locals).map(resolve));
    }
}
