//! A set of bytes, as ranges.

/// Ascending, disjoint, not touching; half-open.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn intersects(&self, start: u64, end: u64) -> bool {
        let i = self.0.partition_point(|r| r.1 <= start);
        self.0.get(i).is_some_and(|r| r.0 < end)
    }

    /// The ranges with a byte in `start..end`.
    pub(super) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = &(u64, u64)> {
        let i = self.0.partition_point(|r| r.1 <= start);
        self.0[i..].iter().take_while(move |r| r.0 < end)
    }

    pub(super) fn insert(&mut self, start: u64, end: u64) {
        let i = self.0.partition_point(|r| r.1 < start);
        let j = i + self.0[i..].partition_point(|r| r.0 <= end);
        if i == j {
            self.0.insert(i, (start, end));
            return;
        }
        self.0[i] = (start.min(self.0[i].0), end.max(self.0[j - 1].1));
        self.0.drain(i + 1..j);
    }

    pub(super) fn remove(&mut self, start: u64, end: u64) {
        let i = self.0.partition_point(|r| r.1 <= start);
        let j = i + self.0[i..].partition_point(|r| r.0 < end);
        if i == j {
            return;
        }
        let (head, tail) = ((self.0[i].0, start), (end, self.0[j - 1].1));
        // By hand: `splice` would collect what is left on the heap.
        let mut next = i;
        for left in [head, tail].into_iter().filter(|r| r.0 < r.1) {
            match self.0.get_mut(next).filter(|_| next < j) {
                Some(place) => *place = left,
                None => self.0.insert(next, left),
            }
            next += 1;
        }
        self.0.drain(next.min(j)..j);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_splits_and_inserting_joins() {
        let mut r = Ranges(vec![(0, 100)]);
        r.remove(10, 20);
        assert_eq!(r.0, [(0, 10), (20, 100)]);
        assert!(!r.intersects(10, 20) && r.intersects(9, 11));
        r.insert(10, 15);
        assert_eq!(r.0, [(0, 15), (20, 100)]);
        r.insert(12, 25);
        assert_eq!(r.0, [(0, 100)]);
        r.remove(0, 100);
        assert!(r.is_empty());
        r.remove(3, 4);
        assert!(r.is_empty());
    }
}
