//! Far more writes than ranges may be kept: those with narrow gaps between them become one range.

use super::{By, Written};
use crate::state::{RangeState, Ranges, note};

/// The widest gap between neighbours that has to be closed so that about `most` runs of writes are left, and not more: all
/// bits below some power of two.
pub(super) fn widest_to_close(writes: impl Iterator<Item = Written>, most: usize) -> u64 {
    // Gaps by the number of their bits.
    let mut counts = [0usize; u64::BITS as usize + 1];
    let mut at = 0;
    for write in writes {
        counts[(u64::BITS - (write.start - at).leading_zeros()) as usize] += 1;
        at = write.end;
    }
    let mut open = 0;
    for (bits, count) in counts.iter().enumerate().skip(1).rev() {
        open += count;
        // One run more than gaps between them; what is before the first counts as one.
        if open > most {
            return u64::MAX >> (u64::BITS - bits as u32);
        }
    }
    0
}

/// Lays the writes over what was there. Those with gaps of at most `widest` bytes between them become one range.
pub(super) fn draw_together(
    old: &[RangeState],
    size: u64,
    (by, writes): (By, impl Iterator<Item = Written>),
    widest: u64,
    out: &mut Ranges,
) {
    let end_of = |r: usize| old.get(r + 1).map_or(size, |next| next.start);
    // The range in which `at` is, and where it ends.
    let (mut r, mut range_end) = (0, end_of(0));
    let (mut at, mut level) = (0, 0);
    // The range that the last run of writes has taken in: taking it in again would change nothing. And where that ends, as
    // long as `at` is in it.
    let (mut taken, mut taken_end) = (usize::MAX, 0);
    for write in writes {
        if write.start < taken_end && write.start - at <= widest && write.level == level {
            at = write.end;
            continue;
        }
        let joins = !out.is_empty() && at > 0 && write.start - at <= widest;
        while range_end <= at && range_end < size {
            r += 1;
            range_end = end_of(r);
        }
        if at < write.start && !(joins && taken == r && write.start <= range_end) {
            loop {
                match out.last_mut().filter(|_| joins) {
                    Some(run) if taken != r => run.absorb(&old[r]),
                    Some(_) => {}
                    None => out.push(old[r].from(at)),
                }
                taken = r;
                if write.start <= range_end {
                    break;
                }
                at = range_end;
                r += 1;
                range_end = end_of(r);
            }
        }
        let mark = by.mark(write.level);
        match out.last_mut().filter(|_| joins) {
            Some(run) => {
                if write.level != level {
                    note(&mut run.writes, mark);
                    run.coarsened = true;
                }
            }
            None => {
                out.push(RangeState::written(write.start, mark));
                taken = usize::MAX;
            }
        }
        level = write.level;
        at = write.end;
        taken_end = if taken == r { range_end } else { 0 };
    }
    while at < size {
        while range_end <= at {
            r += 1;
            range_end = end_of(r);
        }
        out.push(old[r].from(at));
        at = range_end;
    }
}
