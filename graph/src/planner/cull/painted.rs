//! What happens first to each byte of a frame's resources from some point of it on, while that point moves backwards: bytes
//! are painted over and over, and asked for by range.
//!
//! Per resource a tree over the places where a range begins or ends that may be painted or asked for, of which all are known
//! from the start. Its depth is the logarithm of their number, and so are the steps that a range takes.

use std::ops::Range;

/// What happens first to the bytes of a range, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The first position that reads any of them, and the first that overwrites any; [`NEVER`] if there is none.
    pub(super) reader: u32,
    pub(super) by: u32,
    /// Whether there is a byte to which nothing happens.
    pub(super) gap: bool,
}

/// No position.
pub(super) const NEVER: u32 = u32::MAX;

impl Seen {
    const NOTHING: Seen = Seen { reader: NEVER, by: NEVER, gap: true };
    /// Of no bytes.
    const NOWHERE: Seen = Seen { gap: false, ..Seen::NOTHING };

    pub(super) fn read(position: u32) -> Self {
        Seen { reader: position, ..Seen::NOWHERE }
    }

    pub(super) fn overwritten(position: u32) -> Self {
        Seen { by: position, ..Seen::NOWHERE }
    }

    fn and(self, other: Self) -> Self {
        Seen { reader: self.reader.min(other.reader), by: self.by.min(other.by), gap: self.gap | other.gap }
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    seen: Seen,
    /// The same happens to all of it: what is below is out of date.
    alike: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Painted {
    /// Resource and place, ascending.
    cuts: Vec<(u32, u64)>,
    /// Per resource: where its cuts begin; one more at the end.
    begin: Vec<u32>,
    /// Resource by resource; of each a node, what is left of its middle, and what is right.
    nodes: Vec<Node>,
}

/// Part of a tree: its first node, and the cells below.
struct Tree {
    node: usize,
    cells: Range<usize>,
}

impl Tree {
    fn halves(&self) -> [Tree; 2] {
        let Range { start, end } = self.cells;
        let middle = start + (end - start) / 2;
        let left = Tree { node: self.node + 1, cells: start..middle };
        // A tree of n cells has 2 n - 1 nodes.
        let right = Tree { node: self.node + 2 * (middle - start), cells: middle..end };
        [left, right]
    }

    fn is_within(&self, cells: &Range<usize>) -> bool {
        cells.start <= self.cells.start && self.cells.end <= cells.end
    }

    fn meets(&self, cells: &Range<usize>) -> bool {
        cells.start < self.cells.end && self.cells.start < cells.end
    }
}

impl Painted {
    /// Forgets everything. `cuts` are the resources and places where ranges begin or end; those that begin at 0 or end with
    /// their resource need not be among them.
    pub(super) fn begin(&mut self, resources: usize, cuts: impl Iterator<Item = (u32, u64)>) {
        self.cuts.clear();
        self.cuts.extend((0..resources as u32).map(|resource| (resource, 0)));
        self.cuts.extend(cuts);
        self.cuts.sort_unstable();
        self.cuts.dedup();
        self.begin.clear();
        let first = |(index, &(_, place)): (u32, &(u32, u64))| (place == 0).then_some(index);
        self.begin.extend((0..).zip(&self.cuts).filter_map(first));
        self.begin.push(self.cuts.len() as u32);
        self.nodes.clear();
        self.nodes.resize(2 * self.cuts.len(), Node { seen: Seen::NOTHING, alike: true });
    }

    /// This happens to a range before all that is known.
    pub(super) fn paint(&mut self, resource: u32, range: Range<u64>, seen: Seen) {
        let (tree, cells) = self.find(resource, range);
        if tree.is_within(&cells) {
            self.nodes[tree.node] = Node { seen, alike: true };
        } else {
            self.paint_below(tree, &cells, seen);
        }
    }

    /// What happens to a range.
    pub(super) fn seen(&self, resource: u32, range: Range<u64>) -> Seen {
        let (tree, cells) = self.find(resource, range);
        self.seen_below(tree, &cells)
    }

    /// The tree of a resource, and the cells of a range.
    fn find(&self, resource: u32, range: Range<u64>) -> (Tree, Range<usize>) {
        let begin = self.begin[resource as usize] as usize;
        let cuts = &self.cuts[begin..self.begin[resource as usize + 1] as usize];
        let cell = |place: u64| cuts.partition_point(|cut| cut.1 < place);
        (Tree { node: 2 * begin, cells: 0..cuts.len() }, cell(range.start)..cell(range.end))
    }

    /// Paints a part of a tree.
    fn paint_below(&mut self, tree: Tree, cells: &Range<usize>, seen: Seen) {
        let known = self.nodes[tree.node];
        let mut all = Seen::NOWHERE;
        for half in tree.halves() {
            let of = half.node;
            if half.is_within(cells) {
                self.nodes[of] = Node { seen, alike: true };
            } else {
                if known.alike {
                    self.nodes[of] = known;
                }
                if half.meets(cells) {
                    self.paint_below(half, cells, seen);
                }
            }
            all = all.and(self.nodes[of].seen);
        }
        self.nodes[tree.node] = Node { seen: all, alike: false };
    }

    fn seen_below(&self, tree: Tree, cells: &Range<usize>) -> Seen {
        let node = self.nodes[tree.node];
        if node.alike || tree.is_within(cells) {
            return node.seen;
        }
        let met = tree.halves().into_iter().filter(|half| half.meets(cells));
        met.fold(Seen::NOWHERE, |all, half| all.and(self.seen_below(half, cells)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_note_a_byte_would_be() {
        let mut x = 1u64;
        let mut random = move |n: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % n
        };
        let mut painted = Painted::default();
        for round in 0..100 {
            let size = 1 + random([5, 100][round % 2]);
            let ranges: Vec<(u32, Range<u64>)> = (0..1 + random(100))
                .map(|_| {
                    let start = random(size);
                    (random(3) as u32, start..start + 1 + random(size - start))
                })
                .collect();
            let cuts = ranges.iter().flat_map(|(r, range)| [(*r, range.start), (*r, range.end)]);
            painted.begin(3, cuts.filter(|cut| cut.1 < size));
            let mut bytes = vec![[Seen::NOTHING; 3]; size as usize];
            for (position, (resource, range)) in (0..ranges.len() as u32).rev().zip(&ranges) {
                let at = range.start as usize..range.end as usize;
                let wanted =
                    bytes[at.clone()].iter().fold(Seen::NOWHERE, |all, b| all.and(b[*resource as usize]));
                assert_eq!(painted.seen(*resource, range.clone()), wanted);
                let seen = if random(4) == 0 { Seen::read(position) } else { Seen::overwritten(position) };
                painted.paint(*resource, range.clone(), seen);
                bytes[at].iter_mut().for_each(|b| b[*resource as usize] = seen);
            }
        }
    }
}
