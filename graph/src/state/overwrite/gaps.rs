//! Far more writes than ranges may be kept: those with narrow gaps between them become one range.

use super::{By, Written};
use crate::state::{RangeState, Ranges, note};

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
    let mut writes = writes;
    while let Some(write) = next(&mut writes, &mut at, taken_end, widest, level) {
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

/// The next write that does more than make the last run longer. `at` is moved to the end of those before it.
#[inline]
fn next(
    writes: &mut impl Iterator<Item = Written>,
    at: &mut u64,
    taken_end: u64,
    widest: u64,
    level: u32,
) -> Option<Written> {
    let mut end = *at;
    let found = writes.find(|write| {
        let longer = write.start < taken_end && write.start - end <= widest && write.level == level;
        if longer {
            end = write.end;
        }
        !longer
    });
    *at = end;
    found
}
