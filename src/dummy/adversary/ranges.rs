//! Ranges of bytes that commands touch.

use super::split::uses;
use crate::dummy::record::{Declared, Recorded, Step, fits, span};
use smallvec::SmallVec;
use std::ops::Range;

/// A few ranges, half-open, in bytes.
pub(super) type Ranges = SmallVec<[Range<u64>; 2]>;

/// The bytes a copy writes.
pub(super) fn destinations(recorded: &Recorded, from: u32, to: u32, regions: Range<usize>) -> Ranges {
    let block = |at: u32| recorded.buffers.get(at as usize);
    let (Some(from), Some(to)) = (block(from), block(to)) else { return Ranges::new() };
    let regions = recorded.regions.get(regions).unwrap_or(&[]);
    regions.iter().filter(|r| fits(r, from, to)).map(|r| span(r.dst, r)).collect()
}

/// From the first to the last byte that a command uses of a buffer.
pub(super) fn hull(recorded: &Recorded, step: usize, buffer: u32) -> Range<u64> {
    let join = |a: Range<u64>, b: Range<u64>| a.start.min(b.start)..a.end.max(b.end);
    let of = |u: &Declared| u.range.start..u.range.end;
    let found = match recorded.steps.get(step) {
        Some(Step::Pass(pass)) => {
            let uses = recorded.passes.get(*pass).map_or(&[][..], |p| uses(recorded, p));
            uses.iter().filter(|u| u.buffer == buffer).map(of).reduce(join)
        }
        Some(Step::Copy { regions, .. }) => {
            let regions = recorded.regions.get(regions.clone()).unwrap_or(&[]);
            regions.iter().map(|r| span(r.dst, r)).reduce(join)
        }
        Some(Step::Scatter { regions }) => {
            let all = recorded.scatters.get(regions.clone()).unwrap_or(&[]);
            all.iter().filter(|s| s.to == buffer).map(|s| span(s.region.dst, &s.region)).reduce(join)
        }
        Some(Step::Fill { offset, size, .. }) => Some(*offset..offset.saturating_add(*size)),
        _ => None,
    };
    found.unwrap_or_default()
}

/// The bytes in both.
pub(super) fn common(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// A range without the bytes of others.
pub(super) fn without<'r>(range: Range<u64>, others: impl Iterator<Item = &'r Range<u64>>) -> Ranges {
    let mut left = Ranges::new();
    left.push(range);
    for other in others {
        left = left
            .into_iter()
            .flat_map(|r| {
                let cut = common(&r, other);
                if cut.is_empty() { [r, 0..0] } else { [r.start..cut.start, cut.end..r.end] }
            })
            .filter(|r| !r.is_empty())
            .collect();
    }
    left
}
