//! Which neighbours merge, where a resource has more ranges than may be kept.

use super::Ranges;

/// Merges neighbours until few enough are left.
#[derive(Debug, Default)]
pub(super) struct Coarsening {
    /// Per range but the last: the bytes that would owe too much if it merged with the next.
    costs: Vec<u64>,
    /// The same in another order.
    ordered: Vec<u64>,
    /// Per range: whether it becomes part of the one before.
    into_left: Vec<bool>,
    /// Where the ranges begin, and where the last ends.
    bounds: Vec<u64>,
}

impl Coarsening {
    /// Merges neighbours until `max` are left.
    pub(super) fn run(&mut self, ranges: &mut Ranges, size: u64, max: usize) {
        let mut bounds = std::mem::take(&mut self.bounds);
        bounds.clear();
        bounds.extend(ranges.iter().map(|r| r.start));
        bounds.push(size);
        self.choose(&bounds, max);
        self.bounds = bounds;
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

    /// Which of some ranges become part of the one before so that `max` are left: those first whose smaller half is
    /// smallest, then those that come first. The fewest bytes then owe a dependency they do not need. `bounds` is where the
    /// ranges begin, and where the last ends.
    pub(super) fn choose(&mut self, bounds: &[u64], max: usize) -> &[bool] {
        self.into_left.clear();
        let len = bounds.len().saturating_sub(1);
        let merges = len.saturating_sub(max.max(1));
        if merges == 0 {
            self.into_left.resize(len, false);
            return &self.into_left;
        }
        self.costs.clear();
        let rights = bounds.get(1..).unwrap_or(&[]);
        let ends = bounds.get(2..).unwrap_or(&[]);
        let neighbours = bounds.iter().zip(rights).zip(ends);
        self.costs.extend(neighbours.map(|((&left, &right), &end)| (right - left).min(end - right)));
        let (limit, mut equal) = self.limit(merges);
        self.into_left.push(false);
        self.into_left.extend(self.costs.iter().map(|&cost| {
            let counted = cost == limit && equal > 0;
            equal -= usize::from(counted);
            cost < limit || counted
        }));
        &self.into_left
    }

    /// The greatest cost among the `merges` least, and how many of these are equal to it.
    fn limit(&mut self, merges: usize) -> (u64, usize) {
        let below = |costs: &[u64], limit: u64| -> (usize, usize) {
            let count = |(less, equal), &cost: &u64| {
                (less + usize::from(cost < limit), equal + usize::from(cost == limit))
            };
            costs.iter().fold((0, 0), count)
        };
        // Uploads of one size are mostly alike: any will do then.
        let guess = self.costs.get(self.costs.len() / 2).copied().unwrap_or(0);
        let (less, equal) = below(&self.costs, guess);
        if less < merges && merges <= less + equal {
            return (guess, merges - less);
        }
        self.ordered.clone_from(&self.costs);
        let (_, &mut limit, _) = self.ordered.select_nth_unstable(merges - 1);
        (limit, merges - below(&self.costs, limit).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let bounds: Vec<u64> = (0..=len).map(|i| widths[..i].iter().sum()).collect();
            let max = 1 + random(len as u64) as usize;
            let mut costs: Vec<(u64, usize)> = (1..len).map(|i| (widths[i - 1].min(widths[i]), i)).collect();
            costs.sort_unstable();
            let mut wanted = vec![false; len];
            costs[..len - max].iter().for_each(|c| wanted[c.1] = true);
            assert_eq!(coarsening.choose(&bounds, max), wanted, "{max} of {widths:?}");
        }
    }
}
