//! Rounds mapped ranges outwards to whole atoms (`nonCoherentAtomSize`), as `VkMappedMemoryRange` asks for.

use std::ops::Range;

/// Where an allocation lies in its memory object, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    pub(super) offset: u64,
    /// A multiple of the atom from `offset`, or the end of the memory object.
    pub(super) size: u64,
}

/// Bytes `range` of an allocation as offset and size in its memory object: both multiples of `atom`, but that the
/// last atom may end with the memory object (VUID-VkMappedMemoryRange-size-01390). `None` for no bytes.
///
/// `offset` of the placement is a multiple of `atom`, which is a power of two: so the result stays within the
/// allocation, and no neighbour's bytes are flushed or invalidated.
pub(super) fn rounded(placement: Placement, range: Range<u64>, atom: u64) -> Option<(u64, u64)> {
    let atom = atom.max(1);
    let end = range.end.min(placement.size);
    if range.start >= end {
        return None;
    }
    let start = range.start / atom * atom;
    let end = end.checked_next_multiple_of(atom).map_or(placement.size, |e| e.min(placement.size));
    Some((placement.offset.checked_add(start)?, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: Placement = Placement { offset: 1024, size: 512 };

    #[test]
    fn ranges_grow_to_whole_atoms_of_the_memory_object() {
        assert_eq!(rounded(MIDDLE, 0..1, 64), Some((1024, 64)));
        assert_eq!(rounded(MIDDLE, 63..65, 64), Some((1024, 128)));
        assert_eq!(rounded(MIDDLE, 64..128, 64), Some((1088, 64)));
        assert_eq!(rounded(MIDDLE, 500..512, 64), Some((1472, 64)));
        assert_eq!(rounded(MIDDLE, 7..9, 1), Some((1031, 2)));
    }

    #[test]
    fn the_last_atom_ends_with_the_memory() {
        let whole = Placement { offset: 0, size: 100 };
        assert_eq!(rounded(whole, 70..100, 64), Some((64, 36)));
        assert_eq!(rounded(whole, 0..u64::MAX, 64), Some((0, 100)));
    }

    #[test]
    fn no_bytes_are_no_range() {
        assert_eq!(rounded(MIDDLE, 5..5, 64), None);
        assert_eq!(rounded(MIDDLE, 512..600, 64), None);
        #[expect(clippy::reversed_empty_ranges)]
        let backwards = 9..3;
        assert_eq!(rounded(MIDDLE, backwards, 64), None);
    }

    #[test]
    fn any_range_is_covered_and_stays_inside() {
        for atom in [1, 4, 64, 256] {
            for start in 0..40 {
                for end in start + 1..=300 {
                    let placement = Placement { offset: 512, size: 512 };
                    let (offset, size) = rounded(placement, start..end, atom).unwrap();
                    assert!(offset % atom == 0 && size % atom == 0);
                    assert!(offset <= 512 + start && 512 + end <= offset + size);
                    assert!(offset >= 512 && offset + size <= 1024);
                }
            }
        }
    }
}
