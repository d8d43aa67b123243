//! Which neighbours merge, where a resource has more ranges than may be kept.

use super::Ranges;

/// Merges neighbours until few enough are left.
#[derive(Debug, Default)]
pub(super) struct Coarsening {
    /// Per range but the last: the bytes that would owe too much if it merged with the next.
    costs: Vec<u64>,
    /// Those of the costs that are not told apart by their leading bits, each with its position.
    close: Vec<(u64, u32)>,
    /// Per range: whether it becomes part of the one before.
    into_left: Vec<bool>,
}

/// Leading bits of a cost, the first among them, that are counted by.
const BITS: u32 = 6;
const BUCKETS: usize = (u64::BITS as usize) << (BITS - 1);

/// A number for the leading bits of a cost: greater for a greater one.
#[inline]
fn bucket(cost: u64) -> usize {
    let low = (u64::BITS - cost.leading_zeros()).saturating_sub(BITS);
    (low as usize) * (1 << (BITS - 1)) + (cost >> low) as usize
}

impl Coarsening {
    /// Merges neighbours until `max` are left.
    pub(super) fn run(&mut self, ranges: &mut Ranges, size: u64, max: usize) {
        self.choose(ranges.iter().map(|r| r.start), ranges.len(), size, max);
        let mut position = 0;
        ranges.dedup_by(|next, kept| {
            position += 1;
            if self.into_left[position] {
                kept.absorb(next);
            }
            self.into_left[position]
        });
        // What merged may say the same as its neighbours now.
        ranges.dedup_by(|next, kept| kept.same(next));
    }

    /// Which of `len` ranges, that begin at `starts`, become part of the one before so that `max` are left: those first
    /// whose smaller half is smallest, then those that come first. The fewest bytes then owe a dependency they do not
    /// need.
    pub(super) fn choose(
        &mut self,
        starts: impl Iterator<Item = u64> + Clone,
        len: usize,
        size: u64,
        max: usize,
    ) -> &[bool] {
        self.into_left.clear();
        self.into_left.resize(len, false);
        let mut merges = len.saturating_sub(max.max(1));
        if merges == 0 {
            return &self.into_left;
        }
        let mut counts = [0u32; BUCKETS];
        self.costs.clear();
        let mut begin = 0;
        let mut left = u64::MAX;
        for start in starts.skip(1).chain([size]) {
            let length = start - begin;
            begin = start;
            if left != u64::MAX {
                let cost = left.min(length);
                counts[bucket(cost)] += 1;
                self.costs.push(cost);
            }
            left = length;
        }
        // All costs of the buckets before this one merge.
        let mut limit = 0;
        while (counts[limit] as usize) < merges {
            merges -= counts[limit] as usize;
            limit += 1;
        }
        self.close.clear();
        for (i, &cost) in (0u32..).zip(&self.costs) {
            let of = bucket(cost);
            if of < limit {
                self.into_left[i as usize + 1] = true;
            } else if of == limit {
                self.close.push((cost, i));
            }
        }
        if self.close.iter().any(|c| c.0 != self.close[0].0) {
            self.close.select_nth_unstable(merges - 1);
        }
        for &(_, i) in &self.close[..merges] {
            self.into_left[i as usize + 1] = true;
        }
        &self.into_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greater_costs_have_no_smaller_buckets() {
        let costs =
            (0..200).chain((8..64).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 1])).chain([u64::MAX]);
        let buckets: Vec<usize> = costs.map(bucket).collect();
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert!(buckets.iter().all(|&b| b < BUCKETS));
    }

    #[test]
    fn the_cheapest_merge_and_of_equals_the_first() {
        let mut x = 1u64;
        let mut random = move |n: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % n
        };
        let mut coarsening = Coarsening::default();
        for round in 0..200 {
            let len = 2 + random(300) as usize;
            let widths: Vec<u64> = (0..len).map(|_| 1 + random([3, 64, 100_000][round % 3])).collect();
            let starts: Vec<u64> = (0..len).map(|i| widths[..i].iter().sum()).collect();
            let max = 1 + random(len as u64) as usize;
            let mut costs: Vec<(u64, usize)> = (1..len).map(|i| (widths[i - 1].min(widths[i]), i)).collect();
            costs.sort_unstable();
            let mut wanted = vec![false; len];
            costs[..len - max].iter().for_each(|c| wanted[c.1] = true);
            let size = widths.iter().sum();
            assert_eq!(
                coarsening.choose(starts.iter().copied(), len, size, max),
                wanted,
                "{max} of {widths:?}"
            );
        }
    }
}
