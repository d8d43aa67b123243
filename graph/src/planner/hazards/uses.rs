//! One use of one pass: splits the map where it begins and ends, compares it with what is there, and enters it.

use super::{Detail, Hazard, Hazards, NONE, ReadCell, Relation, Track, Walk, whole};
use crate::error::GraphError;
use crate::frame::Mode;
use crate::pairs::PairTable;
use crate::planner::label;
use crate::planner::resolve::{Local, ResolvedUse};
use crate::planner::sequence::{Place, Sequence};
use crate::schedule::HazardKind;
use crate::state::{Init, Mark, RangeState};
use std::ops::Range;

/// Splits the tracks at both ends of `start..end`. Returns the first between.
fn split(
    tracks: &mut Sequence<Track>,
    ranges: Option<&[RangeState]>,
    size: u64,
    start: u64,
    end: u64,
) -> Place {
    if tracks.is_empty() {
        let fresh = |start, prior| Track { start, write: NONE, reads: NONE, prior, pair: 0 };
        match ranges {
            Some(ranges) => ranges.iter().zip(0..).for_each(|(r, i)| tracks.push(fresh(r.start, i))),
            None => tracks.push(fresh(0, NONE)),
        }
    }
    // The end first: the place of what comes before stays.
    let after = cut(tracks, size, end);
    // Most uses are of one track: there is nothing to look for.
    match tracks.previous(after).and_then(|last| Some((last, *tracks.get(last)?))) {
        Some((last, track)) if track.start == start => last,
        Some((_, track)) if track.start < start => tracks.insert(after, Track { start, ..track }),
        _ => cut(tracks, size, start),
    }
}

/// Makes a track begin at a byte, unless it is the end of all. Returns the place of the first that begins there or after.
#[inline]
fn cut(tracks: &mut Sequence<Track>, size: u64, at: u64) -> Place {
    let place = tracks.seek(|t| t.start < at);
    if at >= tracks.get(place).map_or(size, |t| t.start) {
        return place;
    }
    let before = tracks.previous(place).and_then(|before| tracks.get(before));
    match before.copied() {
        Some(before) => tracks.insert(place, Track { start: at, ..before }),
        None => place,
    }
}

fn split_use(walk: &Walk<'_>, u: &ResolvedUse, local: &Local, out: &mut Hazards) -> Place {
    let ranges = local.backing.and_then(|id| walk.state.get(id)).map(|p| p.ranges.as_slice());
    split(out.in_parts(u.local), ranges, local.size, u.start, u.end)
}

#[inline]
fn prior_of<'a>(walk: &Walk<'a>, local: &Local, track: &Track) -> Option<&'a RangeState> {
    if track.prior == NONE {
        return None;
    }
    walk.state.get(local.backing?)?.ranges.get(track.prior as usize)
}

/// The track at a place, the bytes of it that `u` touches, and the place after it; none if they are beyond the use. After the
/// split no track reaches beyond it.
#[inline]
fn touched(out: &Hazards, u: &ResolvedUse, place: Place) -> Option<(Track, Range<u64>, Place)> {
    let tracks = &out.tracks[u.local as usize];
    let track = *tracks.get(place).filter(|t| t.start < u.end)?;
    let next = tracks.next(place);
    let end = tracks.get(next).map_or(u.end, |t| t.start);
    Some((track, track.start..end, next))
}

/// Enters what became of the track at a place.
#[inline]
fn set(out: &mut Hazards, u: &ResolvedUse, place: Place, track: Track) {
    if let Some(known) = out.tracks[u.local as usize].get_mut(place) {
        *known = track;
    }
}

#[inline(never)]
pub(super) fn read(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) {
    let local = &walk.locals[u.local as usize];
    if whole::first_read(walk, position, (u, local), out) {
        return;
    }
    let mut place = split_use(walk, u, local, out);
    while let Some((track, range, next)) = touched(out, u, place) {
        after_write(walk, position, (u, local), HazardKind::ReadAfterWrite, (track, range), out);
        let reads = out.note_read(track.reads, position, u.pair);
        set(out, u, place, Track { reads, ..track });
        place = next;
    }
}

#[inline(never)]
pub(super) fn write(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) {
    let first = judge_write(walk, position, u, out);
    keep_tracks(walk.pairs, position, u, first, out);
}

/// The writes of a node that has several. One must not hide from another what was there before the node.
#[inline(never)]
pub(super) fn write_several(walk: &mut Walk<'_>, position: u32, uses: &[ResolvedUse], out: &mut Hazards) {
    for u in uses.iter().filter(|u| u.writes()) {
        judge_write(walk, position, u, out);
    }
    for u in uses.iter().filter(|u| u.writes()) {
        let first = split_use(walk, u, &walk.locals[u.local as usize], out);
        keep_tracks(walk.pairs, position, u, first, out);
    }
}

/// The hazards of a write. Returns the place of the first of its tracks.
fn judge_write(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) -> Place {
    let local = &walk.locals[u.local as usize];
    let first = split_use(walk, u, local, out);
    let mut place = first;
    while let Some((track, range, next)) = touched(out, u, place) {
        after_write(walk, position, (u, local), kind_of(u), (track, range.clone()), out);
        after_reads(walk, position, (u, local), (track, range), out);
        place = next;
    }
    first
}

/// What a use is to an earlier write.
#[inline]
pub(super) fn kind_of(u: &ResolvedUse) -> HazardKind {
    match u.mode {
        Mode::Read | Mode::Modify => HazardKind::ReadAfterWrite,
        Mode::Write | Mode::Overwrite => HazardKind::WriteAfterWrite,
    }
}

/// Enters a write over the tracks from a place on. Reads are over with it, but for those of the pass itself in stages where
/// it does not write: nothing that waits for the write waits for them.
fn keep_tracks(pairs: &mut PairTable, position: u32, u: &ResolvedUse, first: Place, out: &mut Hazards) {
    let mut modified = NONE;
    if pairs.get(u.pair).reads_elsewhere {
        let pair = pairs.elsewhere(u.pair);
        out.reads.push(ReadCell { node: position, next: NONE, pair });
        modified = (out.reads.len() - 1) as u32;
    }
    let mut alike = true;
    let mut place = first;
    while let Some((track, _, next)) = touched(out, u, place) {
        let mut pair = u.pair;
        if track.write == position && track.pair != pair {
            // One pass writes the same bytes in two ways: whoever follows waits for both.
            pair = pairs.intern(pairs.get(pair).access | pairs.get(track.pair).access);
        }
        let reads = own_reads(pairs, position, pairs.get(pair).write_stages, track.reads, modified, out);
        alike = alike && pair == u.pair && reads == modified;
        let track = Track { start: track.start, write: position, reads, prior: NONE, pair };
        set(out, u, place, track);
        place = next;
    }
    if alike {
        let tracks = &mut out.tracks[u.local as usize];
        tracks.remove(tracks.next(first), place);
    }
}

/// The reads of `position` at the head of a list that happen in other stages than these, before `tail`.
fn own_reads(
    pairs: &PairTable,
    position: u32,
    write_stages: u64,
    head: u32,
    tail: u32,
    out: &mut Hazards,
) -> u32 {
    let (mut at, mut kept) = (head, tail);
    while let Some(&cell) = out.reads.get(at as usize).filter(|c| c.node == position) {
        at = cell.next;
        if pairs.get(cell.pair).read_stages & !write_stages != 0 {
            out.reads.push(ReadCell { next: kept, ..cell });
            kept = (out.reads.len() - 1) as u32;
        }
    }
    kept
}

/// Hazards against the last write of a track, of which `range` is touched, and reads of bytes nobody wrote.
fn after_write(
    walk: &mut Walk<'_>,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    kind: HazardKind,
    (track, range): (Track, Range<u64>),
    out: &mut Hazards,
) {
    if track.write == position {
        return;
    }
    if track.write != NONE {
        let hazard = Hazard::within(Relation::within(track.pair, u.pair, kind), track.write);
        out.push(walk, hazard, || Detail { local: Some(u.local), range, coarsened: false });
        return;
    }
    let prior = prior_of(walk, local, &track);
    after_earlier_write(walk, position, (u, local), (prior, range), out);
}

/// Hazards against what earlier frames wrote to `range`, and a read of bytes nobody wrote.
#[inline]
pub(super) fn after_earlier_write(
    walk: &mut Walk<'_>,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    (prior, range): (Option<&RangeState>, Range<u64>),
    out: &mut Hazards,
) {
    if u.reads() && (local.fresh || prior.is_none_or(|p| p.init == Init::No)) {
        uninitialized(walk, position, range.clone(), local);
    }
    let Some(prior) = prior else { return };
    for mark in &prior.writes {
        if mark.level >= out.covered.memory(walk.cover, walk.pairs, mark.pair, u.pair) {
            push_earlier(walk, u, kind_of(u), *mark, (prior, range.clone()), out);
        }
    }
}

/// Hazards of a write against earlier frames' reads of `range`.
#[inline]
pub(super) fn after_earlier_reads(
    walk: &Walk<'_>,
    u: &ResolvedUse,
    (prior, range): (&RangeState, Range<u64>),
    out: &mut Hazards,
) {
    for mark in &prior.reads {
        if mark.level >= out.covered.exec(walk.cover, walk.pairs, mark.pair, u.pair) {
            push_earlier(walk, u, HazardKind::WriteAfterRead, *mark, (prior, range.clone()), out);
        }
    }
}

fn push_earlier(
    walk: &Walk<'_>,
    u: &ResolvedUse,
    kind: HazardKind,
    mark: Mark,
    (prior, range): (&RangeState, Range<u64>),
    out: &mut Hazards,
) {
    let hazard = Hazard::earlier(Relation::earlier(mark.pair, u.pair, kind), mark.level);
    out.push(walk, hazard, || Detail { local: Some(u.local), range, coarsened: prior.coarsened });
}

/// Hazards of a write against the reads since the last write of a track, of which `range` is touched.
fn after_reads(
    walk: &Walk<'_>,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    (track, range): (Track, Range<u64>),
    out: &mut Hazards,
) {
    let kind = HazardKind::WriteAfterRead;
    let mut at = track.reads;
    while let Some(&cell) = out.reads.get(at as usize) {
        at = cell.next;
        if cell.node == position {
            continue;
        }
        let hazard = Hazard::within(Relation::within(cell.pair, u.pair, kind), cell.node);
        let range = range.clone();
        out.push(walk, hazard, || Detail { local: Some(u.local), range, coarsened: false });
    }
    if let Some(prior) = prior_of(walk, local, &track) {
        after_earlier_reads(walk, u, (prior, range), out);
    }
}

#[cold]
fn uninitialized(walk: &mut Walk<'_>, position: u32, range: Range<u64>, local: &Local) {
    walk.errors.push(GraphError::Uninitialized {
        pass: label::at(walk.graph, walk.state, walk.positions.node(position)),
        resource: label::resource(walk.graph, walk.state, local.resource),
        range,
    });
}
