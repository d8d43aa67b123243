//! Scatters of uploads, on the simulated device: what a compute shader that moves bytes does, judged as such.

use super::hazard::{MkHazardParty, MkHazardWork};
use super::judge::{Effects, Judge};
use super::memory::{Block, STALE};
use super::model::Keep;
use super::record::{Recorded, Scattered, fits, span};
use super::run::Runner;
use memkit_graph::Access;
use std::ops::Range;
use std::sync::Arc;

/// What the shader does to the source, and to the destination.
const READ: Access = Access::COMPUTE_STORAGE_READ;
const WRITE: Access = Access::COMPUTE_STORAGE_WRITE;

/// Source and destination of a region.
pub(super) fn blocks<'r>(recorded: &'r Recorded, s: &Scattered) -> Option<(&'r Arc<Block>, &'r Arc<Block>)> {
    Some((recorded.buffers.get(s.from as usize)?, recorded.buffers.get(s.to as usize)?))
}

/// The regions of a scatter that are within their buffers, by position.
pub(super) fn regions(
    recorded: &Recorded,
    regions: Range<usize>,
) -> impl Iterator<Item = (u32, &Scattered, &Arc<Block>, &Arc<Block>)> + Clone {
    let all = recorded.scatters.get(regions).unwrap_or(&[]);
    all.iter().zip(0..).filter_map(|(s, at)| {
        let (from, to) = blocks(recorded, s)?;
        fits(&s.region, from, to).then_some((at, s, from, to))
    })
}

impl Judge {
    pub(super) fn scatter(&mut self, recorded: &Recorded, range: Range<usize>) {
        let party =
            |access| MkHazardParty { work: MkHazardWork::Scatter, access, submission: recorded.value };
        for s in recorded.scatters.get(range.clone()).unwrap_or(&[]) {
            let Some((from, to)) = blocks(recorded, s) else { continue };
            for (block, start, access) in [(from, s.region.src, READ), (to, s.region.dst, WRITE)] {
                let range = span(start, &s.region);
                if range.end > block.size || start.checked_add(s.region.size).is_none() {
                    self.out_of_bounds(block, range, party(access), "; left out");
                }
            }
        }
        let regions = regions(recorded, range);
        if self.model.is_some() {
            self.scatter_overlaps(recorded, regions.clone().map(|(_, s, ..)| s), &party(Access::NONE));
        }
        let Some(model) = &mut self.model else { return };
        let Effects { stale, torn } = &mut self.effects;
        let reports = &self.shared.reports;
        let op = model.op(MkHazardWork::Scatter, recorded.value);
        for (at, s, from, to) in regions.clone() {
            let r = &s.region;
            self.verdict.clear();
            model.judge(&op, from, &span(r.src, r), READ, reports, &mut self.verdict);
            model.judge(&op, to, &span(r.dst, r), WRITE, reports, &mut self.verdict);
            stale.extend(self.verdict.stale.drain(..).map(|bytes| (at, bytes)));
            torn.extend(self.verdict.torn.drain(..).map(|bytes| (s.to, bytes)));
        }
        for (_, s, _, to) in regions.clone() {
            model.keep(&op, to, &span(s.region.dst, &s.region), WRITE, Keep::Write);
        }
        for (_, s, from, _) in regions {
            model.keep(&op, from, &span(s.region.src, &s.region), READ, Keep::Read);
        }
    }

    /// Invocations run in no order: no two write the same bytes, and none reads what another writes.
    fn scatter_overlaps<'r>(
        &mut self,
        recorded: &Recorded,
        regions: impl Iterator<Item = &'r Scattered>,
        party: &MkHazardParty,
    ) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.clear();
        for s in regions {
            let (src, dst) = (span(s.region.src, &s.region), span(s.region.dst, &s.region));
            touched.extend([(s.from, src.start, src.end, true), (s.to, dst.start, dst.end, false)]);
        }
        touched.sort_unstable();
        for same in touched.chunk_by(|a, b| a.0 == b.0) {
            let of = |read| same.iter().filter(move |t| t.3 == read).map(|t| t.1..t.2);
            let block = same.first().and_then(|t| recorded.buffers.get(t.0 as usize));
            if let Some(block) = block.filter(|_| of(false).next().is_some()) {
                self.overlaps(block, of(false), of(true), party);
            }
        }
        self.touched = touched;
    }
}

impl Runner {
    pub(super) fn scatter(&mut self, recorded: &Recorded, range: Range<usize>) {
        for (at, s, from, to) in regions(recorded, range) {
            let r = &s.region;
            self.token.copy(from, r.src, to, r.dst, r.size);
            // Bytes it cannot see arrive as something else.
            for (_, stale) in self.judge.effects.stale.iter().filter(|(region, _)| *region == at) {
                let arrive = |byte: u64| byte - r.src + r.dst;
                self.token.set(to, &(arrive(stale.start)..arrive(stale.end)), STALE);
            }
        }
    }
}
