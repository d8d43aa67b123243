//! Writes to many parts of one resource, taken in at once.
//!
//! Hundreds of uploads split a buffer's ranges into hundreds, of which few may be kept: it is decided which of them merge
//! before any is made.

mod gaps;
mod marked;

use super::{GraphState, Mark, RangeState, Ranges};
use crate::pairs::PairId;
use crate::resource::ResourceId;
use std::ops::Range;

/// Bytes that a frame wrote, and nothing read since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Half-open.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The level within the frame.
    pub(crate) level: u32,
}

/// By which access a frame wrote, and the level it began at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    pub(crate) pair: PairId,
    pub(crate) base: u64,
}

impl By {
    fn mark(self, level: u32) -> Mark {
        Mark { pair: self.pair, level: self.base + u64::from(level) }
    }
}

/// The memory it takes.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Where each piece begins, and where the last ends.
    bounds: Vec<u64>,
    /// What each is part of.
    of: Vec<u32>,
    spare: Ranges,
}

/// In `Pieces::of`: written at the level in the other bits. Without it they are the number of the range that stays.
const NEW: u32 = 1 << 31;

impl GraphState {
    /// Takes in a write, if it is to all of a range.
    #[inline(never)]
    pub(crate) fn overwrite_one(&mut self, id: ResourceId, by: By, write: Written) -> bool {
        let Some(persistent) = self.resources.get_mut(id.into()) else { return false };
        let range = exactly(&mut persistent.ranges, persistent.desc.size, &write);
        range.is_some_and(|range| {
            range.overwrite(by.mark(write.level));
            true
        })
    }

    /// Whether writes are drawn together, ascending and disjoint: if they are to more places than ranges may be kept.
    fn draws_together(&self, writes: impl Iterator<Item = Written>) -> bool {
        let mut last: Option<Written> = None;
        let mut places = writes.filter(|write| {
            let last = last.replace(*write);
            last.is_none_or(|last| (last.end, last.level) != (write.start, write.level))
        });
        places.nth(self.max_ranges).is_some()
    }

    /// Makes what was laid out in the spare memory the ranges of a resource.
    fn set_spare(&mut self, id: ResourceId) {
        let mut ranges = std::mem::take(&mut self.pieces.spare);
        self.set_ranges(id, &mut ranges);
        self.pieces.spare = ranges;
    }

    /// Takes in writes, ascending and disjoint.
    ///
    /// Those to more places than ranges may be kept are drawn together in one walk, across gaps of up to four times the bytes that
    /// each range has if they share the resource alike: what lies in such a gap owes what the writes owe, and what it
    /// owed before.
    pub(crate) fn overwrite(
        &mut self,
        id: ResourceId,
        by: By,
        writes: impl Iterator<Item = Written> + Clone,
    ) {
        let (draws_together, max) = (self.draws_together(writes.clone()), self.max_ranges);
        let Some(persistent) = self.resources.get_mut(id.into()) else { return };
        let size = persistent.desc.size;
        if draws_together {
            let spare = &mut self.pieces.spare;
            spare.clear();
            gaps::draw_together(&persistent.ranges, size, (by, writes), widest_gap(size, max), spare);
            self.set_spare(id);
            return;
        }
        if fits(&persistent.ranges, size, writes.clone()) {
            in_place(&mut persistent.ranges, by, writes);
            return;
        }
        self.pieces.cut(&persistent.ranges, size, writes);
        let Pieces { bounds, of, spare } = &mut self.pieces;
        let into_left = self.coarsening.choose(bounds, self.max_ranges);
        spare.clear();
        make(&persistent.ranges, by, (bounds, of, into_left), spare);
        if spare.len() < of.len() {
            // What merged may say the same as its neighbours now.
            spare.dedup_by(|next, kept| kept.same(next));
        }
        std::mem::swap(&mut persistent.ranges, spare);
    }
}

/// So wide that with few enough wider ones the rest can be kept.
fn widest_gap(size: u64, max_ranges: usize) -> u64 {
    size / (max_ranges as u64).div_ceil(4)
}

/// The range that a write is to all of, if there is one.
#[inline]
fn exactly<'a>(ranges: &'a mut [RangeState], size: u64, write: &Written) -> Option<&'a mut RangeState> {
    let r = ranges.partition_point(|range| range.start < write.start);
    let end = ranges.get(r + 1).map_or(size, |next| next.start);
    ranges.get_mut(r).filter(|range| range.start == write.start && end == write.end)
}

/// Whether each write is to all of a range, and no two become one.
fn fits(ranges: &[RangeState], size: u64, writes: impl Iterator<Item = Written>) -> bool {
    let mut r = 0;
    let mut last: Option<Written> = None;
    for write in writes {
        while ranges.get(r).is_some_and(|range| range.start < write.start) {
            r += 1;
        }
        let end = ranges.get(r + 1).map_or(size, |next| next.start);
        let joins = last.is_some_and(|last| last.end == write.start && last.level == write.level);
        if joins || end != write.end || ranges.get(r).is_none_or(|range| range.start != write.start) {
            return false;
        }
        last = Some(write);
    }
    true
}

fn in_place(ranges: &mut [RangeState], by: By, writes: impl Iterator<Item = Written>) {
    let mut rest = ranges.iter_mut();
    for write in writes {
        if let Some(range) = rest.find(|range| range.start == write.start) {
            range.overwrite(by.mark(write.level));
        }
    }
}

impl Pieces {
    /// Lays the writes over what was there; neighbours that say the same are one.
    fn cut(&mut self, ranges: &[RangeState], size: u64, writes: impl Iterator<Item = Written>) {
        self.bounds.clear();
        self.of.clear();
        // The range in which `at` is, and where it ends.
        let (mut r, mut range_end) = (0usize, ranges.get(1).map_or(size, |next| next.start));
        let (mut at, mut last) = (0, NEW - 1);
        for Written { start, end, level } in writes {
            if at < start {
                self.untouched(at..start, ranges, (&mut r, &mut range_end), size);
                last = NEW - 1;
            }
            // Neighbours from before differ; writes may be next to each other.
            if last != NEW | level {
                last = NEW | level;
                self.push(start, last);
            }
            at = end;
        }
        if at < size {
            self.untouched(at..size, ranges, (&mut r, &mut range_end), size);
        }
        self.bounds.push(size);
    }

    /// Bytes that no write touches stay part of the ranges they were in.
    #[inline(always)]
    fn untouched(
        &mut self,
        bytes: Range<u64>,
        ranges: &[RangeState],
        (r, range_end): (&mut usize, &mut u64),
        size: u64,
    ) {
        while *range_end <= bytes.start && *range_end < size {
            *r += 1;
            *range_end = ranges.get(*r + 1).map_or(size, |next| next.start);
        }
        self.push(bytes.start, *r as u32);
        while *range_end < bytes.end {
            let start = *range_end;
            *r += 1;
            *range_end = ranges.get(*r + 1).map_or(size, |next| next.start);
            self.push(start, *r as u32);
        }
    }

    #[inline]
    fn push(&mut self, start: u64, of: u32) {
        self.bounds.push(start);
        self.of.push(of);
    }
}

/// Makes the ranges.
fn make(old: &[RangeState], by: By, (bounds, of, into_left): (&[u64], &[u32], &[bool]), out: &mut Ranges) {
    // What the last range has taken in: taking it in again would change nothing.
    let mut taken = [u32::MAX; 2];
    for ((&start, &of), &joins) in bounds.iter().zip(of).zip(into_left) {
        if joins && (of == taken[0] || of == taken[1]) {
            continue;
        }
        let next = match old.get(of as usize) {
            Some(range) if of & NEW == 0 => range.from(start),
            _ => RangeState::written(start, by.mark(of & !NEW)),
        };
        match out.last_mut().filter(|_| joins) {
            Some(last) => {
                taken[(of >> 31) as usize] = of;
                last.absorb(&next);
            }
            None => {
                taken = [of; 2];
                out.push(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::BufferUsage;
    use crate::resource::BufferDesc;
    use crate::state::{Init, note};

    fn random(x: &mut u64, n: u64) -> u64 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 33) % n
    }

    /// What writes leave of each byte.
    fn byte_by_byte(before: &Ranges, size: u64, by: By, writes: &[Written]) -> Ranges {
        let of = |at| {
            let r = before.partition_point(|r| r.start <= at) - 1;
            match writes.iter().find(|w| w.start <= at && at < w.end) {
                Some(write) => RangeState::written(at, by.mark(write.level)),
                None => RangeState { start: at, ..before[r].clone() },
            }
        };
        (0..size).map(of).collect()
    }

    /// Whether what is kept of a byte says at least what is known of it.
    fn covers(kept: &RangeState, known: &RangeState) -> bool {
        let marks = |kept: &[Mark], known: &[Mark]| {
            known.iter().all(|m| kept.iter().any(|k| k.pair == m.pair && k.level >= m.level))
        };
        marks(&kept.writes, &known.writes)
            && marks(&kept.reads, &known.reads)
            && (kept.init == known.init || kept.init == Init::Mixed)
    }

    /// Writes to a buffer of 200 bytes.
    fn some_writes(x: &mut u64, ranges: &Ranges, same_places: bool) -> Vec<Written> {
        let mut writes = Vec::new();
        if same_places {
            let starts = ranges.iter().map(|r| r.start);
            let ends = starts.clone().skip(1).chain([200]);
            let whole = starts.zip(ends).filter(|_| random(x, 2) == 0);
            return whole.map(|(start, end)| Written { start, end, level: 0 }).collect();
        }
        let mut at = 0;
        while at < 200 {
            let start = at + random(x, 12);
            let end = (start + 1 + random(x, 12)).min(200);
            let level = random(x, 2) as u32;
            if start < end {
                writes.push(Written { start, end, level });
            }
            at = end.max(start);
        }
        writes
    }

    #[test]
    fn writes_at_once_leave_what_one_after_the_other_leaves_or_more() {
        let mut x = 3;
        let mut drawn_together = 0;
        for max in [1, 2, 5, 16, 256] {
            let mut state = GraphState::with_max_ranges(max);
            let mut other = GraphState::with_max_ranges(max);
            let desc = || BufferDesc::new("b", 200, BufferUsage::STORAGE);
            let (id, other_id) = (state.add_buffer(desc()), other.add_buffer(desc()));
            for frame in 0..100 {
                let by = By { pair: 1, base: 2 * frame };
                let Some(before) = state.get(id).map(|p| p.ranges.clone()) else { return };
                let writes = some_writes(&mut x, &before, frame % 3 == 0);
                let mut bytes = byte_by_byte(&before, 200, by, &writes);
                state.overwrite(id, by, writes.iter().copied());
                let Some(kept) = state.get(id).map(|p| p.ranges.clone()) else { return };
                let context = || format!("at most {max}, frame {frame}: {writes:?} gave {kept:?}");
                if writes.len() > max {
                    drawn_together += 1;
                    assert!(kept.len() <= max && kept[0].start == 0, "{}", context());
                    assert!(kept.windows(2).all(|w| w[0].start < w[1].start), "{}", context());
                    for byte in &bytes {
                        let r = kept.partition_point(|r| r.start <= byte.start) - 1;
                        assert!(covers(&kept[r], byte), "byte {}: {}", byte.start, context());
                        let is_exact = kept[r].coarsened
                            || RangeState { start: 0, ..kept[r].clone() }
                                == RangeState { start: 0, ..byte.clone() };
                        assert!(is_exact, "byte {}: {}", byte.start, context());
                    }
                } else {
                    // Equal neighbours merged, then as many as may be kept.
                    other.set_ranges(other_id, &mut bytes);
                    assert_eq!(other.get(other_id).map(|p| &p.ranges), Some(&kept), "{}", context());
                }
                // A read here and there.
                if let Some(p) = state.resources.get_mut(id.into()) {
                    let len = p.ranges.len();
                    note(&mut p.ranges[frame as usize % len].reads, Mark { pair: 2, level: 2 * frame });
                }
            }
        }
        assert!(drawn_together > 50, "{drawn_together}");
    }
}
