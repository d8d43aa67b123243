//! Uploads in a row to one buffer, looked up once: they come by the thousand.

use super::{Resolved, ResolvedUse, persistent};
use crate::frame::{FrameGraph, Mode, Upload};
use crate::pairs::PairId;
use crate::planner::granules::Extent;
use crate::resource::Resource;
use crate::state::GraphState;

/// What is known of a frame's uploads together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Together {
    /// Whether they ascend by local resource and start.
    pub(crate) ascend: bool,
    /// Whether they come from several staging buffers.
    pub(crate) mixed: bool,
    /// Bits that are set in the start of one of them, and of each; and in the end of one, as declared.
    any: u64,
    all: u64,
    ends: u64,
    /// Local resource and start of the last, as long as they ascend.
    last: (u32, u64),
}

impl Together {
    /// Of no uploads.
    pub(super) const NONE: Self =
        Together { ascend: true, mixed: false, any: 0, all: u64::MAX, ends: 0, last: (0, 0) };

    /// Bits in which their starts differ.
    pub(crate) fn differ(&self) -> u64 {
        self.any & !self.all
    }

    /// Where so many uploads are, if they are to one resource of `size` bytes and nothing was odd about any of them.
    pub(crate) fn extent(&self, uploads: usize, size: u64) -> Extent {
        let Together { any, all, ends, .. } = *self;
        Extent { uploads, first: all, end: ends.min(size), any: any | ends }
    }

    /// Takes in uploads to a resource of `size` bytes, the first of some, as long as nothing is wrong with them. Returns how
    /// many.
    #[inline(never)]
    fn add(&mut self, uploads: &[Upload], (local, size): (u32, u64)) -> usize {
        let (last_local, last) = self.last;
        self.ascend &= last_local <= local;
        let mut fine = 0;
        let mut offsets = 0;
        if self.ascend {
            let last = if last_local == local { last } else { 0 };
            (fine, offsets) = self.ascending(uploads, last, size);
        }
        if !self.ascend {
            let (more, others) = self.any_way(&uploads[fine..], size);
            (fine, offsets) = (fine + more, offsets | others);
        }
        self.last.0 = local;
        let most = u64::MAX - size;
        if offsets > most {
            // One of them may be as well.
            fine = uploads.iter().take(fine).position(|upload| upload.offset > most).unwrap_or(fine);
        }
        fine
    }

    /// Takes in those that ascend. Returns how many, and all bits of their offsets. Where they do not, the other loop, which does
    /// not compare neighbours, goes on.
    #[inline(always)]
    fn ascending(&mut self, uploads: &[Upload], mut last: u64, size: u64) -> (usize, u64) {
        let Together { mut any, mut all, mut ends, .. } = *self;
        let (mut fine, mut offsets) = (0, 0);
        for upload in uploads {
            let Upload { start, end, .. } = *upload;
            if (start >= end || end > size) && upload.is_wrong(size) {
                break;
            }
            if start < last {
                self.ascend = false;
                break;
            }
            last = start;
            any |= start;
            all &= start;
            ends |= end;
            offsets |= upload.offset;
            fine += 1;
        }
        *self = Together { any, all, ends, last: (self.last.0, last), ..*self };
        (fine, offsets)
    }

    /// Takes in those with which nothing is wrong, whether they ascend or not. Returns likewise.
    #[inline(always)]
    fn any_way(&mut self, uploads: &[Upload], size: u64) -> (usize, u64) {
        let Together { mut any, mut all, mut ends, .. } = *self;
        let mut offsets = 0;
        let mut rest = uploads.iter();
        let is_wrong = rest.any(|upload| {
            let Upload { start, end, .. } = *upload;
            if (start >= end || end > size) && upload.is_wrong(size) {
                return true;
            }
            any |= start;
            all &= start;
            ends |= end;
            offsets |= upload.offset;
            false
        });
        *self = Together { any, all, ends, ..*self };
        (uploads.len() - rest.len() - usize::from(is_wrong), offsets)
    }
}

impl Default for Together {
    fn default() -> Self {
        Self::NONE
    }
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
    let of = (local, of.size);
    out.together.mixed |= batch.buffer != host;
    let fine = out.together.add(rest, of);
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
