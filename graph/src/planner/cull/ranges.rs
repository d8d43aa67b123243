//! A set of bytes, as ranges.

use crate::planner::sequence::{Place, Sequence};

/// Ascending, disjoint, not touching; half-open.
#[derive(Debug, Default)]
pub(super) struct Ranges(Sequence<(u64, u64)>);

impl Ranges {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn intersects(&self, start: u64, end: u64) -> bool {
        self.0.get(self.first(start)).is_some_and(|r| r.0 < end)
    }

    pub(super) fn insert(&mut self, start: u64, end: u64) {
        let first = self.0.seek(|r| r.1 < start);
        let Some((last, after)) = self.last(first, |r| r.0 <= end) else {
            self.0.insert(first, (start, end));
            return;
        };
        if let Some(range) = self.0.get_mut(first) {
            *range = (start.min(range.0), end.max(last.1));
        }
        self.0.remove(self.0.next(first), after);
    }

    pub(super) fn remove(&mut self, start: u64, end: u64) {
        self.take(start, end, |_, _| {});
    }

    /// Removes the bytes in `start..end`, and calls `taken` with each range that it removes.
    pub(super) fn take(&mut self, start: u64, end: u64, mut taken: impl FnMut(u64, u64)) {
        let mut first = self.first(start);
        let taken = |r: &(u64, u64)| {
            let meets = r.0 < end;
            if meets {
                taken(r.0.max(start), r.1.min(end));
            }
            meets
        };
        let Some((last, after)) = self.last(first, taken) else { return };
        if let Some(range) = self.0.get_mut(first).filter(|r| r.0 < start) {
            range.1 = start;
            first = self.0.next(first);
            if first == after && end < last.1 {
                self.0.insert(after, (end, last.1));
                return;
            }
        }
        let mut to = after;
        if end < last.1
            && let Some(place) = self.0.previous(after)
            && let Some(range) = self.0.get_mut(place)
        {
            range.0 = end;
            to = place;
        }
        self.0.remove(first, to);
    }

    /// The first with a byte at `start` or after.
    fn first(&self, start: u64) -> Place {
        self.0.seek(|r| r.1 <= start)
    }

    /// The last, from a place on, of which `reached` is true, and the place after it; none if that is true of none.
    fn last(
        &self,
        first: Place,
        mut reached: impl FnMut(&(u64, u64)) -> bool,
    ) -> Option<((u64, u64), Place)> {
        let mut last = *self.0.get(first).filter(|r| reached(r))?;
        let mut after = self.0.next(first);
        while let Some(range) = self.0.get(after).filter(|r| reached(r)) {
            last = *range;
            after = self.0.next(after);
        }
        Some((last, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(r: &Ranges) -> Vec<(u64, u64)> {
        let places = std::iter::successors(Some(r.first(0)), |&place| Some(r.0.next(place)));
        places.map_while(|place| r.0.get(place).copied()).collect()
    }

    #[test]
    fn removing_splits_and_inserting_joins() {
        let mut r = Ranges::default();
        r.insert(0, 100);
        r.remove(10, 20);
        assert_eq!(all(&r), [(0, 10), (20, 100)]);
        assert!(!r.intersects(10, 20) && r.intersects(9, 11));
        r.insert(10, 15);
        assert_eq!(all(&r), [(0, 15), (20, 100)]);
        r.insert(12, 25);
        assert_eq!(all(&r), [(0, 100)]);
        r.remove(0, 100);
        assert!(all(&r).is_empty());
        r.remove(3, 4);
        assert!(all(&r).is_empty());
    }

    #[test]
    fn it_is_what_a_bit_a_byte_would_be() {
        let mut x = 1u64;
        let mut random = move |n: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % n
        };
        for round in 0..40 {
            let (mut r, mut bytes) = (Ranges::default(), vec![false; [40, 4000][round % 2]]);
            let size = bytes.len() as u64;
            for _ in 0..size {
                let start = random(size);
                let end = (start + 1 + random([3, 30][round / 2 % 2])).min(size);
                let (from, to) = (start as usize, end as usize);
                assert_eq!(r.intersects(start, end), bytes[from..to].contains(&true));
                let inserts = random(2) == 0;
                if inserts {
                    r.insert(start, end);
                } else {
                    let before = bytes.clone();
                    r.take(start, end, |a, b| bytes[a as usize..b as usize].fill(false));
                    assert!(bytes[..from] == before[..from] && bytes[to..] == before[to..]);
                    assert!(!bytes[from..to].contains(&true), "all that was there is taken");
                }
                bytes[from..to].fill(inserts);
            }
            let starts = (0..bytes.len()).filter(|&i| bytes[i] && (i == 0 || !bytes[i - 1]));
            let end = |from: usize| (from..bytes.len()).find(|&i| !bytes[i]).unwrap_or(bytes.len());
            assert!(all(&r).into_iter().eq(starts.map(|i| (i as u64, end(i) as u64))));
        }
    }
}
