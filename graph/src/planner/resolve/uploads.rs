//! Uploads in a row to one buffer, looked up once: they come by the thousand.

use super::{Resolved, ResolvedUse, persistent};
use crate::frame::{FrameGraph, Mode, Upload};
use crate::pairs::PairId;
use crate::resource::Resource;
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

/// Resolves uploads that nothing is wrong with, the first of `rest`, which are of one batch and to a persistent buffer.
/// Returns how many: none if the first has to be looked at closely.
#[inline]
pub(super) fn uploads(
    graph: &FrameGraph,
    state: &GraphState,
    rest: &[Upload],
    pair: PairId,
    out: &mut Resolved,
) -> usize {
    let (Some(first), Some(very_first)) = (rest.first(), graph.uploads.first()) else { return 0 };
    let declared = graph.declared();
    let (batch, host) = (declared.batch_of(first), declared.batch_of(very_first).buffer);
    let Resource::Persistent(id) = batch.resource else { return 0 };
    let Some(local) = persistent(state, id, out) else { return 0 };
    let of = &mut out.locals[local as usize];
    if !state.pairs.facts(pair).plainly_allowed(Mode::Overwrite, of.usage) {
        return 0;
    }
    if of.read() {
        of.tangle();
    }
    let (size, most) = (of.size, u64::MAX - of.size);
    let Together { mut ascend, mut starts, mixed, last: (last_local, last) } = out.together;
    ascend &= last_local <= local;
    let mut last = if last_local == local { last } else { 0 };
    let first_start = very_first.start;
    let mut fine = 0;
    for upload in rest {
        let (start, end) = upload.range(size);
        let is_plain = start < end && end <= size && upload.offset <= most;
        if !is_plain {
            break;
        }
        ascend &= last <= start;
        last = start;
        starts |= start ^ first_start;
        fine += 1;
    }
    out.together = Together { ascend, starts, mixed: mixed | (batch.buffer != host), last: (local, last) };
    out.enter_batch(first, local);
    fine
}

impl Resolved {
    /// Notes the local resource of an upload, and of all others of its batch.
    #[inline]
    pub(super) fn enter_batch(&mut self, upload: &Upload, local: u32) {
        // Batches come one after the other.
        if self.batch_locals.len() <= upload.batch as usize {
            self.batch_locals.push(local);
        }
    }

    /// The local resource of an upload.
    #[inline]
    pub(crate) fn local_of(&self, upload: &Upload) -> u32 {
        self.batch_locals[upload.batch as usize]
    }

    /// Resolves the use of each upload, for phases that look at single ones.
    pub(crate) fn settle_uploads(&mut self, graph: &FrameGraph) {
        let pair = self.upload_pairs[0];
        let mut uploads = std::mem::take(&mut self.uploads);
        uploads.clear();
        uploads.extend(graph.uploads.iter().map(|upload| {
            let local = self.local_of(upload);
            let size = self.locals.get(local as usize).map_or(0, |l| l.size);
            let (start, end) = upload.range(size);
            ResolvedUse { start, end, local, pair, mode: Mode::Overwrite, whole: end - start == size }
        }));
        self.uploads = uploads;
    }
}
