//! What grouped uploads owe to earlier frames: judged along the ranges these left, without a map of who wrote what.
//!
//! Uploads into one range owe the same, so they share one list. The map is made only for buffers that something reads.

use super::{Detail, Hazard, Hazards, NONE, Source, Track, Walk};
use crate::pairs::{PairId, PairTable};
use crate::planner::groups::{Grouped, Groups};
use crate::planner::resolve::Resolved;
use crate::schedule::HazardKind;
use crate::state::RangeState;
use std::ops::Range;

/// The outcome.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Lists of hazards. Of those of one kind from one access each list has that with the source at the latest level.
    list: Vec<Hazard>,
    /// Where the list of each upload in [`Groups::uploads`] is.
    of: Vec<(u32, u32)>,
    /// How many owe something.
    owing: usize,
    /// Every hazard with the upload's position, ascending by that, if causes are asked for.
    details: Vec<(u32, (Hazard, Detail))>,
}

impl Owed {
    /// Where the list is of what the upload at this place of [`Groups::uploads`] owes.
    #[inline]
    pub(crate) fn place(&self, index: usize) -> (u32, u32) {
        self.of.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn list(&self, (begin, end): (u32, u32)) -> &[Hazard] {
        self.list.get(begin as usize..end as usize).unwrap_or(&[])
    }

    /// The level of all of them, if it is the same.
    pub(crate) fn level(&self) -> Option<u32> {
        match self.owing {
            0 => Some(0),
            n => (n == self.of.len()).then_some(1),
        }
    }

    /// The highest level of any.
    pub(crate) fn highest(&self) -> u32 {
        u32::from(self.owing > 0)
    }

    /// All there is to say about their hazards, each with the position of the upload, ascending by that.
    pub(crate) fn details(&self) -> &[(u32, (Hazard, Detail))] {
        &self.details
    }
}

/// Judges all grouped uploads.
pub(super) fn enter(walk: &Walk<'_>, (resolved, groups): (&Resolved, &Groups), out: &mut Hazards) {
    let pairs = &*walk.pairs;
    out.grouped.list.clear();
    out.grouped.of.clear();
    out.grouped.owing = 0;
    out.grouped.details.clear();
    let mut known = [Known { range: None, list: (0, 0) }; 2];
    for group in &groups.groups {
        let local = &resolved.locals[group.local as usize];
        let ranges = local.backing.and_then(|id| walk.state.get(id)).map_or(&[][..], |p| p.ranges.as_slice());
        let uploads = groups.uploads.get(groups.range(group)).unwrap_or(&[]);
        if ranges.is_empty() {
            // No such buffer is resolved.
            out.grouped.of.resize(out.grouped.of.len() + uploads.len(), (0, 0));
            continue;
        }
        let number = usize::from(local.scattered);
        let pair = walk.uploads[number];
        judge(walk, (pairs, pair), uploads, ranges, &mut known[number], out);
        if walk.causes {
            explain(walk, (pairs, pair), uploads, ranges, out);
        }
        if local.read() || local.host_visible {
            let tracks = out.in_parts(group.local);
            lay(uploads, ranges, local.size, |start, write, prior| {
                let pair = if write == NONE { 0 } else { pair };
                tracks.push(Track { start, write, reads: NONE, prior, pair });
            });
        }
    }
    out.grouped.details.sort_by_key(|d| d.0);
}

/// The list made last for uploads that write alike, and the range it is about.
#[derive(Clone, Copy)]
struct Known<'a> {
    range: Option<&'a RangeState>,
    list: (u32, u32),
}

/// Whether an upload owes the same to both; `false` says nothing if there is more to compare than one write.
#[inline]
fn alike(a: &RangeState, b: &RangeState) -> bool {
    match (a.writes.as_slice(), b.writes.as_slice()) {
        ([a_write], [b_write]) => a_write == b_write && a.reads.is_empty() && b.reads.is_empty(),
        _ => false,
    }
}

/// Finds what each upload owes, and its level.
fn judge<'a>(
    walk: &Walk<'_>,
    pairs: (&PairTable, PairId),
    uploads: &[Grouped],
    ranges: &'a [RangeState],
    known: &mut Known<'a>,
    out: &mut Hazards,
) {
    let mut r = 0;
    let mut list = (0, 0);
    // The range that `list` is about.
    let mut current = usize::MAX;
    for upload in uploads {
        while ranges.get(r + 1).is_some_and(|next| next.start <= upload.start) {
            r += 1;
        }
        let alone = ranges.get(r + 1).is_none_or(|next| upload.end <= next.start);
        if !alone {
            let n = ranges[r..].iter().take_while(|range| range.start < upload.end).count();
            list = owed(walk, pairs, &ranges[r..r + n], out);
            current = usize::MAX;
        } else if current != r {
            let range = &ranges[r..=r];
            // Buffers that the same frame uploaded to owe the same.
            if !known.range.is_some_and(|known| alike(known, &range[0])) {
                *known = Known { range: range.first(), list: owed(walk, pairs, range, out) };
            }
            list = known.list;
            current = r;
        }
        out.grouped.of.push(list);
        if list.0 != list.1 {
            out.level[upload.position as usize] = 1;
            out.grouped.owing += 1;
        }
    }
}

/// What an upload into some ranges owes, as a list of its own.
fn owed(
    walk: &Walk<'_>,
    pairs: (&PairTable, PairId),
    ranges: &[RangeState],
    out: &mut Hazards,
) -> (u32, u32) {
    let begin = out.grouped.list.len();
    for range in ranges {
        hazards(walk, pairs, range, out, |out, hazard| {
            let list = &mut out.grouped.list;
            match list[begin..].iter_mut().find(|known| known.relation() == hazard.relation()) {
                Some(known) if known.is_before(hazard, 0, 0) => *known = hazard,
                Some(_) => {}
                None => list.push(hazard),
            }
        });
    }
    (begin as u32, out.grouped.list.len() as u32)
}

/// Calls `push` with each hazard of an upload, which writes by `dst_pair`, against what earlier frames did to a range.
fn hazards(
    walk: &Walk<'_>,
    (pairs, dst_pair): (&PairTable, PairId),
    range: &RangeState,
    out: &mut Hazards,
    mut push: impl FnMut(&mut Hazards, Hazard),
) {
    let hazard = |src, src_pair: PairId, kind| Hazard::new(src, src_pair, dst_pair, kind);
    for mark in &range.writes {
        if mark.level >= out.covered.memory(walk.cover, pairs, mark.pair, dst_pair) {
            push(out, hazard(Source::Earlier(mark.level), mark.pair, HazardKind::WriteAfterWrite));
        }
    }
    for mark in &range.reads {
        if mark.level >= out.covered.exec(walk.cover, pairs, mark.pair, dst_pair) {
            push(out, hazard(Source::Earlier(mark.level), mark.pair, HazardKind::WriteAfterRead));
        }
    }
}

/// Notes the hazards of each upload with the bytes concerned.
fn explain(
    walk: &Walk<'_>,
    pairs: (&PairTable, PairId),
    uploads: &[Grouped],
    ranges: &[RangeState],
    out: &mut Hazards,
) {
    for upload in uploads {
        let position = upload.position;
        let first = ranges.partition_point(|r| r.start <= upload.start).saturating_sub(1);
        for (i, prior) in ranges.iter().enumerate().skip(first).take_while(|(_, r)| r.start < upload.end) {
            let end = ranges.get(i + 1).map_or(upload.end, |next| next.start).min(upload.end);
            let range: Range<u64> = prior.start.max(upload.start)..end;
            hazards(walk, pairs, prior, out, |out, hazard| {
                let (range, coarsened) = (range.clone(), prior.coarsened);
                let detail = Detail { local: Some(upload.local), range, coarsened };
                out.grouped.details.push((position, (hazard, detail)));
            });
        }
    }
}

/// Calls `push` with the start, the writer and the earlier state of each range, ascending: uploads over what was there.
fn lay(uploads: &[Grouped], ranges: &[RangeState], size: u64, mut push: impl FnMut(u64, u32, u32)) {
    let mut at = 0;
    let mut r = 0;
    let mut untouched = |from: u64, to: u64, push: &mut dyn FnMut(u64, u32, u32)| {
        let mut from = from;
        while from < to {
            while ranges.get(r + 1).is_some_and(|next| next.start <= from) {
                r += 1;
            }
            push(from, NONE, r as u32);
            from = ranges.get(r + 1).map_or(to, |next| next.start).min(to);
        }
    };
    for upload in uploads {
        untouched(at, upload.start, &mut push);
        push(upload.start, upload.position, NONE);
        at = upload.end;
    }
    untouched(at, size, &mut push);
}
