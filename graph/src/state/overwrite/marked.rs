//! Writes of which a bit for each granule says where they are.

use super::{By, GraphState, Written};
use crate::planner::granules::Granules;
use crate::resource::ResourceId;
use crate::state::{RangeState, Ranges};

impl GraphState {
    /// Takes in writes at one level, at most `most` where they do not touch. They are drawn together as by
    /// [`overwrite`](Self::overwrite).
    #[inline(never)]
    pub(crate) fn overwrite_marked(
        &mut self,
        id: ResourceId,
        by: By,
        level: u32,
        writes: &Granules,
        most: usize,
    ) {
        if !self.draws_together(most) {
            let written = |(start, end)| Written { start, end, level };
            return self.overwrite(id, by, writes.runs().map(written), most);
        }
        let Some(persistent) = self.resources.get(id.into()) else { return };
        let size = persistent.desc.size;
        let widest = self.widest_gap(size);
        let spare = &mut self.pieces.spare;
        spare.clear();
        draw_together(&persistent.ranges, size, (by, level, writes), widest, spare);
        self.set_spare(id);
    }
}

/// Lays the writes over what was there. Those with gaps of at most `widest` bytes between them become one range.
fn draw_together(
    old: &[RangeState],
    size: u64,
    (by, level, writes): (By, u32, &Granules),
    widest: u64,
    out: &mut Ranges,
) {
    let end_of = |r: usize| old.get(r + 1).map_or(size, |next| next.start);
    // The first range that is not over at `at`.
    let (mut r, mut at) = (0, 0);
    // Enters what was there up to a byte.
    let keep = |to: u64, r: &mut usize, at: &mut u64, out: &mut Ranges| {
        while *at < to && *r < old.len() {
            out.push(old[*r].from(*at));
            *at = end_of(*r).min(to);
            *r += usize::from(*at == end_of(*r));
        }
    };
    for (start, end) in writes.drawn_together(widest) {
        keep(start, &mut r, &mut at, out);
        let mut range = RangeState::written(start, by.mark(level));
        while at < end && r < old.len() {
            let old_end = end_of(r).min(end);
            if !writes.all(at, old_end) {
                range.absorb(&old[r]);
            }
            at = old_end;
            r += usize::from(at == end_of(r));
        }
        out.push(range);
    }
    keep(size, &mut r, &mut at, out);
}
