//! What the shader that scatters is told: pieces of regions, or where each of many goes that are alike.

use memkit_graph::{CopyRegion, Schedule};
use std::mem::MaybeUninit;
use std::ops::Range;

/// A part of a region. `Piece` of `shaders/scatter.comp`, which is made for the numbers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Piece {
    /// Addresses of the first bytes.
    pub(super) to: u64,
    pub(super) from: u64,
    /// Bytes.
    pub(super) size: u32,
    unused: u32,
}

/// Blocks that the shader stores at once, in bytes.
const BLOCK: u64 = 16;
/// Most bytes of a piece: a few blocks for each of its invocations, so that one large region is the work of many.
const PIECE: u64 = 1024;
/// Most bytes of a region that is one piece, wherever it begins.
const ONE_PIECE: u64 = PIECE - (BLOCK - 1);

/// Takes a region apart. All but its first and last piece begin and end with whole blocks.
#[inline(always)]
pub(super) fn split(to: u64, from: u64, size: u64, mut push: impl FnMut(Piece)) {
    // At most a piece.
    let piece = |at: u64, n: u64| Piece { to: to + at, from: from + at, size: n as u32, unused: 0 };
    if (1..=ONE_PIECE).contains(&size) {
        push(piece(0, size));
        return;
    }
    let mut done = 0;
    while done < size {
        let n = (PIECE - (to + done) % BLOCK).min(size - done);
        push(piece(done, n));
        done += n;
    }
}

/// The most pieces that the scatters of a schedule come apart into.
pub(in crate::vulkan) fn pieces(schedule: &Schedule) -> usize {
    // A region, with what comes before its first block, has less than a piece more than its bytes take.
    let (mut regions, mut bytes) = (0u64, 0u64);
    // Their bytes are apart in a buffer; what else is handed in runs out of room.
    let mut add = |some: &Range<u32>| {
        bytes = schedule.regions_of(some).iter().fold(bytes, |bytes, region| bytes.wrapping_add(region.size));
        regions += some.len() as u64;
    };
    let mut open = 0..0;
    for part in &schedule.scatters {
        // Most go on where the one before ended.
        if part.regions.start != open.end {
            add(&std::mem::replace(&mut open, part.regions.start..part.regions.start));
        }
        open.end = part.regions.end;
    }
    add(&open);
    let bytes = bytes.saturating_add(regions * (BLOCK - 1));
    usize::try_from(regions + bytes / PIECE).unwrap_or(usize::MAX)
}

/// Pieces of one size, one after the other in staging memory: the table says only how far from `to` each goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    pub(super) to: u64,
    /// Where the first comes from, and how many bytes after the one before each other.
    pub(super) from: u64,
    pub(super) stride: u32,
    pub(super) size: u32,
}

/// From so many regions of one kind on, the shorter table of a dispatch of their own is taken to be worth it: it saves ten
/// thousand bytes of memory that the device fetches over its bus.
pub(in crate::vulkan) const MANY_ALIKE: usize = 512;

/// An entry of the table of pieces that are alike.
pub(super) type Offset = u32;

/// Whether regions are alike.
#[cfg(test)]
pub(in crate::vulkan) fn are_alike(regions: &[CopyRegion]) -> bool {
    let mut table = vec![MaybeUninit::uninit(); regions.len()];
    Alike::of(regions, (0, 0)).is_some_and(|alike| alike.write(regions, &mut table))
}

impl Alike {
    /// What regions are alike in, if they are: pieces, each `stride` bytes of staging memory after the one before, that go to
    /// the first 4 GiB of a buffer. Addresses are those of the buffers.
    pub(super) fn of(regions: &[CopyRegion], (from, to): (u64, u64)) -> Option<Self> {
        let [first, second, ..] = regions else { return None };
        let (size, stride) = (first.size, second.src.checked_sub(first.src)?);
        let last = stride.checked_mul(regions.len() as u64)?;
        let is_piece = (1..=ONE_PIECE).contains(&size);
        (is_piece && regions.len() >= MANY_ALIKE && last <= u64::from(u32::MAX)).then_some(Alike {
            to,
            from: from + first.src,
            stride: stride as u32,
            size: size as u32,
        })
    }

    /// Writes the table of regions that may be alike. Whether they are, and there was room.
    pub(super) fn write(&self, regions: &[CopyRegion], table: &mut [MaybeUninit<Offset>]) -> bool {
        let Some(first) = regions.first().filter(|_| regions.len() <= table.len()) else { return false };
        let (size, stride) = (u64::from(self.size), u64::from(self.stride));
        let (mut src, mut any) = (first.src, 0);
        for (entry, region) in table.iter_mut().zip(regions) {
            if region.size != size || region.src != src {
                return false;
            }
            src = src.wrapping_add(stride);
            any |= region.dst;
            entry.write(region.dst as Offset);
        }
        any <= u64::from(Offset::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memkit_graph::{BufferRef, ScatterPart};

    fn of_one(size: u64) -> Schedule {
        Schedule {
            regions: vec![CopyRegion { src: 0, dst: 0, size, node: 0, merged: 1 }],
            scatters: vec![ScatterPart { from: BufferRef::Host(0), to: BufferRef::Local(0), regions: 0..1 }],
            ..Schedule::default()
        }
    }

    #[test]
    fn pieces_cover_a_region_once_and_begin_with_whole_blocks() {
        for to in [0, 1, 15, 16, 4096 + 9] {
            for size in [0, 1, 15, 16, 1008, 1009, 1023, 1024, 1025, 2047, 2048, 2049, 65_536] {
                let mut next = (to, 7);
                let mut count = 0;
                split(to, 7, size, |piece| {
                    assert_eq!((piece.to, piece.from), next);
                    assert!(count == 0 || piece.to % BLOCK == 0);
                    assert!(piece.size > 0 && u64::from(piece.size) <= PIECE);
                    next = (piece.to + u64::from(piece.size), piece.from + u64::from(piece.size));
                    count += 1;
                });
                assert_eq!(next, (to + size, 7 + size));
                assert!(count <= pieces(&of_one(size)), "{to} {size}: {count}");
            }
        }
    }

    /// The entries of a table of regions, each from `stride` bytes after the one before, if they are alike.
    fn entries(regions: &[CopyRegion]) -> Option<(Alike, Vec<Offset>)> {
        let mut table = vec![MaybeUninit::new(7); regions.len()];
        let alike = Alike::of(regions, (1 << 40, 1 << 41))?;
        // SAFETY: all were initialized above.
        alike
            .write(regions, &mut table)
            .then(|| (alike, table.iter().map(|e| unsafe { e.assume_init() }).collect()))
    }

    #[test]
    fn only_regions_that_differ_in_their_destination_alone_are_alike() {
        let region =
            |i: u64| CopyRegion { src: 96 + 48 * i, dst: i * 7919 % 1000 * 48, size: 40, node: 0, merged: 1 };
        let regions: Vec<_> = (0..MANY_ALIKE as u64).map(region).collect();
        let (alike, table) = entries(&regions).unwrap();
        assert_eq!(alike, Alike { to: 1 << 41, from: (1 << 40) + 96, stride: 48, size: 40 });
        assert!(table.iter().zip(&regions).all(|(&entry, r)| u64::from(entry) == r.dst));
        let changed = |at: usize, change: &dyn Fn(&mut CopyRegion)| {
            let mut regions = regions.clone();
            change(&mut regions[at]);
            entries(&regions)
        };
        for at in [0, 1, 2, 50, MANY_ALIKE - 1] {
            assert!(changed(at, &|r| r.size -= 1).is_none(), "{at}");
            assert!(changed(at, &|r| r.src += 1).is_none(), "{at}");
            assert!(changed(at, &|r| r.dst += 1 << 32).is_none(), "{at}");
            assert!(changed(at, &|r| r.dst = (1 << 32) - 40).is_some(), "{at}");
        }
        assert!(entries(&regions[..MANY_ALIKE - 1]).is_none());
        assert!(!alike.write(&regions, &mut vec![MaybeUninit::new(0); MANY_ALIKE - 1]), "no room");
        // Those of one size may be too large for a piece, or too far from each other in staging memory.
        let scaled = |by: u64| {
            regions
                .iter()
                .map(|r| CopyRegion { size: r.size * by, src: r.src * by, ..*r })
                .collect::<Vec<_>>()
        };
        assert!(entries(&scaled(25)).is_some() && entries(&scaled(26)).is_none());
        let far: Vec<_> = (0..).zip(&regions).map(|(i, r)| CopyRegion { src: i << 23, ..*r }).collect();
        assert!(entries(&far).is_none());
    }
}
