//! Things in order, with room for more between any two: thousands of uploads cut a buffer into thousands of ranges, each
//! somewhere among those there are.
//!
//! They are kept in blocks. One more moves what comes after it in its block only, and a full block becomes two. Where few
//! are put in between, as in most frames, there is one block, however long.

use smallvec::SmallVec;

/// A block of so many becomes two when another is put in.
const FULL: usize = 128;

type Block<T> = SmallVec<[T; 1]>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    /// The first `used` have one item at least; the others have none, and are memory to use again.
    blocks: SmallVec<[Block<T>; 1]>,
    used: usize,
}

/// Where an item is, or where one beyond the last would be. Putting in and removing moves what comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    block: usize,
    at: usize,
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Sequence { blocks: SmallVec::new(), used: 0 }
    }
}

impl<T: Copy> Sequence<T> {
    /// Leaves nothing, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.close(0, self.used);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The first of which `before` is not true; it is true of those before and of no other.
    #[inline]
    pub(crate) fn seek(&self, before: impl Fn(&T) -> bool) -> Place {
        let begun = match self.used() {
            // The usual case: no search among blocks.
            [_] => 1,
            blocks => blocks.partition_point(|block| block.first().is_some_and(&before)),
        };
        let Some(block) = begun.checked_sub(1) else { return Place { block: 0, at: 0 } };
        let at = self.blocks[block].partition_point(&before);
        self.or_next(Place { block, at })
    }

    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.used().get(place.block)?.get(place.at)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.blocks.get_mut(..self.used)?.get_mut(place.block)?.get_mut(place.at)
    }

    /// The place after that of an item.
    #[inline]
    pub(crate) fn next(&self, place: Place) -> Place {
        self.or_next(Place { at: place.at + 1, ..place })
    }

    /// The place of the item before, if there is one.
    #[inline]
    pub(crate) fn previous(&self, place: Place) -> Option<Place> {
        if let Some(at) = place.at.checked_sub(1) {
            return Some(Place { at, ..place });
        }
        let block = place.block.checked_sub(1)?;
        Some(Place { block, at: self.blocks.get(block)?.len().checked_sub(1)? })
    }

    /// Adds an item at the end.
    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        if self.used == 0 {
            self.open(0);
        }
        self.blocks[self.used - 1].push(item);
    }

    /// Puts an item before that at a place. Returns where it is.
    pub(crate) fn insert(&mut self, place: Place, item: T) -> Place {
        let Place { mut block, mut at } = place;
        if at == 0 && block > 0 && (block == self.used || self.blocks[block].len() >= FULL) {
            // At the end of the block before, where it moves nothing.
            block -= 1;
            at = self.blocks[block].len();
        }
        if self.used == 0 {
            self.open(0);
        } else if self.blocks[block].len() >= FULL {
            (block, at) = self.part(block, at);
        }
        self.blocks[block].insert(at, item);
        Place { block, at }
    }

    /// Removes the items from a place to before another.
    pub(crate) fn remove(&mut self, from: Place, to: Place) {
        if from >= to {
            return;
        }
        if from.block == to.block {
            self.blocks[from.block].drain(from.at..to.at);
            return;
        }
        self.blocks[from.block].truncate(from.at);
        if to.at > 0 {
            self.blocks[to.block].drain(..to.at);
        }
        let first = from.block + usize::from(from.at > 0);
        self.close(first, to.block);
    }

    /// Makes one block of all.
    pub(crate) fn join(&mut self) {
        if let [first, rest @ ..] = &mut self.blocks[..self.used]
            && !rest.is_empty()
        {
            first.reserve(rest.iter().map(|block| block.len()).sum());
            rest.iter().for_each(|block| first.extend_from_slice(block));
            self.close(1, self.used);
        }
    }

    /// All items, once [joined](Self::join).
    pub(crate) fn joined(&self) -> &[T] {
        self.used().first().map_or(&[], |block| block)
    }

    #[inline]
    fn used(&self) -> &[Block<T>] {
        &self.blocks[..self.used]
    }

    /// The same place, as that of the first of the next block if it is at the end of one.
    #[inline]
    fn or_next(&self, place: Place) -> Place {
        match self.blocks.get(place.block) {
            Some(block) if place.at >= block.len() => Place { block: place.block + 1, at: 0 },
            _ => place,
        }
    }

    /// Makes two of a full block, one of which takes an item at place `at` of it. Returns where.
    #[cold]
    fn part(&mut self, block: usize, at: usize) -> (usize, usize) {
        self.open(block + 1);
        let [first, second, ..] = &mut self.blocks[block..] else { return (block, at) };
        // One after the other, as an ascending staircase comes, they fill each block.
        let half = if at == first.len() { at } else { first.len() / 2 };
        second.extend_from_slice(&first[half..]);
        first.truncate(half);
        if at >= half { (block + 1, at - half) } else { (block, at) }
    }

    /// Makes room for a block, which is empty yet.
    fn open(&mut self, block: usize) {
        if self.used == self.blocks.len() {
            self.blocks.push(Block::new());
        }
        self.blocks[block..=self.used].rotate_right(1);
        self.used += 1;
    }

    /// Takes out the blocks from `first` to before `end`.
    fn close(&mut self, first: usize, end: usize) {
        self.blocks[first..end].iter_mut().for_each(|block| block.clear());
        self.blocks[first..self.used].rotate_left(end - first);
        self.used -= end - first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every item lies in a block, no used block is empty, and places go through all.
    fn check(sequence: &Sequence<u64>, wanted: &[u64]) {
        assert!(sequence.used().iter().all(|block| !block.is_empty()));
        assert!(sequence.blocks[sequence.used..].iter().all(|block| block.is_empty()));
        let mut place = Place { block: 0, at: 0 };
        for item in wanted {
            assert_eq!(sequence.get(place), Some(item));
            let next = sequence.next(place);
            assert_eq!(sequence.previous(next), Some(place));
            place = next;
        }
        assert_eq!(sequence.get(place), None);
        assert_eq!(sequence.is_empty(), wanted.is_empty());
    }

    #[test]
    fn it_is_what_a_vector_would_be() {
        let mut x = 1u64;
        let mut random = move |n: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % n
        };
        let mut sequence = Sequence::default();
        for round in 0..60 {
            sequence.clear();
            let (mut wanted, steps) = (Vec::new(), [20, 300, 3000][round % 3]);
            for i in 0..random(2 * steps) {
                sequence.push(i * 1000);
                wanted.push(i * 1000);
            }
            for _ in 0..steps {
                // Up, down, or anywhere.
                let limit = match round / 3 % 4 {
                    0 => 1,
                    1 => u64::MAX >> 1,
                    _ => random(wanted.last().map_or(1, |last| last + 2)),
                };
                let at = wanted.partition_point(|&w| w < limit);
                let place = sequence.seek(|&w| w < limit);
                assert_eq!(sequence.get(place), wanted.get(at));
                if random(8) > 0 {
                    let placed = sequence.insert(place, limit);
                    wanted.insert(at, limit);
                    assert_eq!(sequence.get(placed), Some(&limit));
                } else {
                    let most = [3, 300][random(2) as usize];
                    let end = (at + random(most) as usize).min(wanted.len());
                    let to = (at..end).fold(place, |to, _| sequence.next(to));
                    sequence.remove(place, to);
                    wanted.drain(at..end);
                }
            }
            check(&sequence, &wanted);
            let blocks = sequence.used;
            assert!(blocks <= 2 + 2 * steps as usize * 2 / FULL, "{blocks} blocks of {steps} steps");
            sequence.join();
            assert_eq!(sequence.joined(), wanted);
            check(&sequence, &wanted);
        }
    }

    #[test]
    fn going_down_at_the_seam_of_two_full_blocks_fills_blocks() {
        let mut sequence = Sequence::default();
        let mut place = Place { block: 0, at: 0 };
        for i in 0..10 * FULL as u64 {
            place = sequence.insert(place, u64::MAX - i);
        }
        assert!(sequence.used <= 20, "{}", sequence.used);
        sequence.join();
        assert!(sequence.joined().is_sorted() && sequence.joined().len() == 10 * FULL);
    }
}
