//! Writes of which a bit for each granule says where they are.

use super::{By, GraphState, Written, widest_gap};
use crate::planner::granules::Granules;
use crate::resource::ResourceId;
use crate::state::{RangeState, Ranges};

impl GraphState {
    /// Takes in writes at one level, as [`overwrite`](Self::overwrite) does.
    #[inline(never)]
    pub(crate) fn overwrite_marked(&mut self, id: ResourceId, by: By, level: u32, writes: &Granules) {
        if !writes.has_more_runs_than(self.max_ranges) {
            let places = writes.drawn_together(0).map(|(start, end)| Written { start, end, level });
            return self.overwrite(id, by, places);
        }
        let Some(persistent) = self.resources.get(id.into()) else { return };
        let size = persistent.desc.size;
        let widest = widest_gap(size, self.max_ranges);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::BufferUsage;
    use crate::planner::granules::Extent;
    use crate::resource::BufferDesc;
    use crate::state::{Mark, note};

    const SIZE: u64 = 3000;

    fn random(x: &mut u64, n: u64) -> u64 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 33) % n
    }

    /// Ascending writes that are apart, of multiples of `granule` bytes, few or many, here or there.
    fn places(x: &mut u64, granule: u64) -> Vec<(u64, u64)> {
        let (mut at, mut places) = (granule * random(x, 40), Vec::new());
        let (narrow, wide) = (1 + random(x, 4), 1 + random(x, 300));
        let end = SIZE - random(x, SIZE / 2);
        loop {
            let gap = if random(x, 20) == 0 { random(x, wide) } else { random(x, narrow) };
            let start = at + granule * gap;
            at = start + granule * (1 + random(x, 5));
            if at > end {
                return places;
            }
            places.push((start, at));
        }
    }

    #[test]
    fn marked_writes_leave_what_the_same_writes_leave_one_by_one() {
        let mut x = 5;
        let mut compared = 0;
        for max in [1, 3, 16, 60] {
            let mut states = [GraphState::with_max_ranges(max), GraphState::with_max_ranges(max)];
            let ids =
                states.each_mut().map(|s| s.add_buffer(BufferDesc::new("b", SIZE, BufferUsage::STORAGE)));
            for frame in 0..400u64 {
                let granule = [1, 4, 8][frame as usize % 3];
                let (by, places) =
                    (By { pair: 1 + frame as u16 % 3, base: 2 * frame }, places(&mut x, granule));
                let level = random(&mut x, 2) as u32;
                let writes = places.iter().map(|&(start, end)| Written { start, end, level });
                states[1].overwrite(ids[1], by, writes.clone());
                let mut granules = Granules::default();
                match granules.begin(Extent::of(&places)) {
                    Some(mut marker) => {
                        assert!(places.iter().rev().all(|&(start, end)| marker.mark(start, end)));
                        states[0].overwrite_marked(ids[0], by, level, &granules);
                        compared += usize::from(states[1].draws_together(writes));
                    }
                    None => states[0].overwrite(ids[0], by, writes),
                }
                let [left, wanted] = [0, 1].map(|i| states[i].get(ids[i]).map(|p| p.ranges.clone()));
                assert_eq!(left, wanted, "at most {max}, frame {frame}: {places:?}");
                // A read here and there.
                let at = random(&mut x, 1000) as usize;
                for (state, id) in states.iter_mut().zip(ids) {
                    let Some(p) = state.resources.get_mut(id.into()) else { unreachable!() };
                    let len = p.ranges.len();
                    note(&mut p.ranges[at % len].reads, Mark { pair: 4, level: 2 * frame });
                }
            }
        }
        assert!(compared > 800, "{compared}");
    }
}
