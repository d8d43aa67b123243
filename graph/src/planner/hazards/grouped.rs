//! What grouped uploads owe to earlier frames: judged along the ranges these left, without a map of who wrote what.
//!
//! Uploads into one range owe the same, so they share one list. The map is made only for buffers that something reads.

use super::{Detail, Hazard, Hazards, NONE, Source, Track, Walk};
use crate::pairs::{PairId, PairTable};
use crate::planner::groups::{Group, Groups};
use crate::planner::resolve::Resolved;
use crate::schedule::{CopyRegion, HazardKind};
use crate::state::{Mark, RangeState};
use std::ops::Range;

/// The outcome.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Lists of hazards. Of those of one kind from one access each list has that with the source at the latest level.
    list: Vec<Hazard>,
    /// Which list is that of each upload in [`Groups::uploads`], ascending.
    spans: Vec<Span>,
    /// How many of these owe something, and how many there are.
    owing: usize,
    all: usize,
    /// Every hazard with the upload's position, ascending by that, if causes are asked for.
    details: Vec<(u32, (Hazard, Detail))>,
}

/// Uploads in a row that share a list.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Where they end in [`Groups::uploads`]; they begin where those before end.
    end: u32,
    list: (u32, u32),
}

impl Owed {
    /// What uploads in a row owe, each with where they are in [`Groups::uploads`].
    pub(crate) fn lists(&self) -> impl Iterator<Item = (Range<usize>, &[Hazard])> {
        let mut begin = 0;
        self.spans.iter().map(move |span| {
            let range = begin..span.end as usize;
            begin = range.end;
            let (first, end) = span.list;
            (range, self.list.get(first as usize..end as usize).unwrap_or(&[]))
        })
    }

    /// The level of all of them, if it is the same.
    pub(crate) fn level(&self) -> Option<u32> {
        match self.owing {
            0 => Some(0),
            n => (n == self.all).then_some(1),
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

    fn clear(&mut self) {
        self.list.clear();
        self.spans.clear();
        self.owing = 0;
        self.all = 0;
        self.details.clear();
    }

    /// The next uploads, `n` in number, have this list.
    #[inline]
    fn push(&mut self, n: usize, list: (u32, u32)) {
        self.all += n;
        self.owing += if list.0 == list.1 { 0 } else { n };
        let end = self.all as u32;
        match self.spans.last_mut() {
            Some(last) if last.list == list => last.end = end,
            _ => self.spans.push(Span { end, list }),
        }
    }
}

/// Judges all grouped uploads.
pub(super) fn enter(walk: &Walk<'_>, (resolved, groups): (&Resolved, &Groups), out: &mut Hazards) {
    let pairs = &*walk.pairs;
    out.grouped.clear();
    let mut known = [Known::default(); 2];
    for group in &groups.groups {
        let local = &resolved.locals[group.local as usize];
        let ranges = local.backing.and_then(|id| walk.state.get(id)).map_or(&[][..], |p| p.ranges.as_slice());
        let uploads = groups.of(group);
        if ranges.is_empty() {
            // No such buffer is resolved.
            out.grouped.push(uploads.len(), (0, 0));
            continue;
        }
        let number = usize::from(local.scattered);
        let pair = walk.uploads[number];
        if let Some(granules) = groups.marked() {
            let end_of = |r: usize| ranges.get(r + 1).map_or(u64::MAX, |next| next.start);
            let is_written = |(r, range): &(usize, &RangeState)| granules.any(range.start, end_of(*r));
            let written = ranges.iter().enumerate().filter(is_written).map(|(_, range)| range);
            // That they owe it together is enough: they run at one level.
            let list = owed(walk, (pairs, pair), written, out);
            out.grouped.push(uploads.len(), list);
            continue;
        }
        if groups.alone && known[number].holds(ranges, uploads) {
            out.grouped.push(uploads.len(), known[number].list);
            continue;
        }
        judge(walk, (pairs, pair), uploads, ranges, &mut known[number], out);
        if walk.causes {
            explain(walk, (pairs, pair), (groups, group), ranges, out);
        }
        if local.read() || local.host_visible {
            let tracks = out.in_parts(group.local);
            lay((groups, uploads), ranges, local.size, |start, write, prior| {
                let pair = if write == NONE { 0 } else { pair };
                tracks.push(Track { start, write, reads: NONE, prior, pair });
            });
        }
    }
    out.grouped.details.sort_by_key(|d| d.0);
    place(groups, out);
}

/// Gives each upload its level. Those that are alone all have the same, and no place for it.
fn place(groups: &Groups, out: &mut Hazards) {
    if groups.alone {
        return;
    }
    for (range, list) in out.grouped.lists() {
        if !list.is_empty() {
            for upload in &groups.uploads[range] {
                out.level[groups.position(upload) as usize] = 1;
            }
        }
    }
}

/// The list made last for uploads that write alike, and what was there: one write that nothing read since.
#[derive(Clone, Copy, Default)]
struct Known {
    mark: Option<Mark>,
    list: (u32, u32),
}

impl Known {
    /// Whether it holds for uploads to a resource that earlier frames left in these ranges; if not it may hold all the same.
    #[inline(never)]
    fn holds(&self, ranges: &[RangeState], uploads: &[CopyRegion]) -> bool {
        let (Some(first), Some(last)) = (ranges.first(), uploads.last()) else { return false };
        let end = ranges.get(1).map_or(u64::MAX, |next| next.start);
        self.mark.is_some() && last.dst + last.size <= end && one_write(first) == self.mark
    }
}

/// The last write to a range, if it is one and nothing read it since.
#[inline]
fn one_write(range: &RangeState) -> Option<Mark> {
    match (range.writes.as_slice(), range.reads.is_empty()) {
        ([mark], true) => Some(*mark),
        _ => None,
    }
}

/// Finds what each upload to a buffer owes.
#[inline]
fn judge(
    walk: &Walk<'_>,
    pairs: (&PairTable, PairId),
    uploads: &[CopyRegion],
    ranges: &[RangeState],
    known: &mut Known,
    out: &mut Hazards,
) {
    let start_of = |r: usize| ranges.get(r).map_or(u64::MAX, |range| range.start);
    let (mut r, mut next) = (0, start_of(1));
    let mut first = 0;
    while let Some(upload) = uploads.get(first) {
        while next <= upload.dst {
            r += 1;
            next = start_of(r + 1);
        }
        let is_within = |u: &CopyRegion| u.dst + u.size <= next;
        let end = match uploads.last() {
            Some(last) if is_within(last) => uploads.len(),
            _ => first + uploads[first..].partition_point(is_within),
        };
        if end == first {
            let upload_end = upload.dst + upload.size;
            let n = ranges[r..].iter().take_while(|range| range.start < upload_end).count();
            let list = owed(walk, pairs, ranges[r..r + n].iter(), out);
            out.grouped.push(1, list);
            first += 1;
            continue;
        }
        // Buffers that the same frame uploaded to owe the same.
        let mark = one_write(&ranges[r]);
        if mark.is_none() || mark != known.mark {
            *known = Known { mark, list: owed(walk, pairs, std::iter::once(&ranges[r]), out) };
        }
        out.grouped.push(end - first, known.list);
        first = end;
    }
}

/// What uploads into some ranges owe, as a list of its own.
fn owed<'a>(
    walk: &Walk<'_>,
    pairs: (&PairTable, PairId),
    ranges: impl Iterator<Item = &'a RangeState>,
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
    (groups, group): (&Groups, &Group),
    ranges: &[RangeState],
    out: &mut Hazards,
) {
    for upload in groups.of(group) {
        let (start, upload_end) = (upload.dst, upload.dst + upload.size);
        let position = groups.position(upload);
        let first = ranges.partition_point(|r| r.start <= start).saturating_sub(1);
        for (i, prior) in ranges.iter().enumerate().skip(first).take_while(|(_, r)| r.start < upload_end) {
            let end = ranges.get(i + 1).map_or(upload_end, |next| next.start).min(upload_end);
            let range: Range<u64> = prior.start.max(start)..end;
            hazards(walk, pairs, prior, out, |out, hazard| {
                let (range, coarsened) = (range.clone(), prior.coarsened);
                let detail = Detail { local: Some(group.local), range, coarsened };
                out.grouped.details.push((position, (hazard, detail)));
            });
        }
    }
}

/// Calls `push` with the start, the writer and the earlier state of each range, ascending: uploads over what was there.
fn lay(
    (groups, uploads): (&Groups, &[CopyRegion]),
    ranges: &[RangeState],
    size: u64,
    mut push: impl FnMut(u64, u32, u32),
) {
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
        untouched(at, upload.dst, &mut push);
        push(upload.dst, groups.position(upload), NONE);
        at = upload.dst + upload.size;
    }
    untouched(at, size, &mut push);
}
