//! One use of one pass: splits the map where it begins and ends, compares it with what is there, and enters it.

use super::{Detail, Hazard, Hazards, NONE, ReadCell, Relation, Track, Walk, whole};
use crate::error::GraphError;
use crate::frame::Mode;
use crate::pairs::PairTable;
use crate::planner::label;
use crate::planner::resolve::{Local, ResolvedUse};
use crate::schedule::HazardKind;
use crate::state::{Init, Mark, RangeState};
use smallvec::SmallVec;
use std::ops::Range;

/// The tracks of `start..end`, split at both ends.
fn split(
    tracks: &mut SmallVec<[Track; 1]>,
    ranges: Option<&[RangeState]>,
    size: u64,
    start: u64,
    end: u64,
) -> Range<usize> {
    if tracks.is_empty() {
        let fresh = |start, prior| Track { start, write: NONE, reads: NONE, prior, pair: 0 };
        match ranges {
            Some(ranges) => tracks.extend(ranges.iter().enumerate().map(|(i, r)| fresh(r.start, i as u32))),
            None => tracks.push(fresh(0, NONE)),
        }
    }
    if tracks.len() == 1 && start == 0 && end == size {
        return 0..1;
    }
    let mut i = tracks.partition_point(|t| t.start <= start) - 1;
    if tracks[i].start < start {
        let tail = Track { start, ..tracks[i] };
        i += 1;
        tracks.insert(i, tail);
    }
    let j = i + tracks[i..].partition_point(|t| t.start < end);
    if end < tracks.get(j).map_or(size, |t| t.start) {
        let tail = Track { start: end, ..tracks[j - 1] };
        tracks.insert(j, tail);
    }
    i..j
}

fn split_use(walk: &Walk<'_>, u: &ResolvedUse, local: &Local, out: &mut Hazards) -> Range<usize> {
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

/// The bytes of track `i` that `u` touches. After the split no track reaches beyond the use.
fn touched(out: &Hazards, u: &ResolvedUse, i: usize) -> Range<u64> {
    let tracks = &out.tracks[u.local as usize];
    tracks[i].start..tracks.get(i + 1).map_or(u.end, |t| t.start).min(u.end)
}

#[inline(never)]
pub(super) fn read(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) {
    let local = &walk.locals[u.local as usize];
    if whole::first_read(walk, position, (u, local), out) {
        return;
    }
    for i in split_use(walk, u, local, out) {
        let track = out.tracks[u.local as usize][i];
        let here = (track, touched(out, u, i));
        after_write(walk, position, (u, local), HazardKind::ReadAfterWrite, here, out);
        let reads = out.note_read(track.reads, position, u.pair);
        out.tracks[u.local as usize][i].reads = reads;
    }
}

#[inline(never)]
pub(super) fn write(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) {
    let tracks = judge_write(walk, position, u, out);
    keep_tracks(walk.pairs, position, u, tracks, out);
}

/// The writes of a node that has several. One must not hide from another what was there before the node.
#[inline(never)]
pub(super) fn write_several(walk: &mut Walk<'_>, position: u32, uses: &[ResolvedUse], out: &mut Hazards) {
    for u in uses.iter().filter(|u| u.writes()) {
        judge_write(walk, position, u, out);
    }
    for u in uses.iter().filter(|u| u.writes()) {
        let tracks = split_use(walk, u, &walk.locals[u.local as usize], out);
        keep_tracks(walk.pairs, position, u, tracks, out);
    }
}

/// The hazards of a write.
fn judge_write(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) -> Range<usize> {
    let local = &walk.locals[u.local as usize];
    let tracks = split_use(walk, u, local, out);
    for i in tracks.clone() {
        let here = (out.tracks[u.local as usize][i], touched(out, u, i));
        after_write(walk, position, (u, local), kind_of(u), here.clone(), out);
        after_reads(walk, position, (u, local), here, out);
    }
    tracks
}

/// What a use is to an earlier write.
#[inline]
pub(super) fn kind_of(u: &ResolvedUse) -> HazardKind {
    match u.mode {
        Mode::Read | Mode::Modify => HazardKind::ReadAfterWrite,
        Mode::Write | Mode::Overwrite => HazardKind::WriteAfterWrite,
    }
}

/// Enters a write. Reads are over with it, but for those of the pass itself in stages where it does not write:
/// nothing that waits for the write waits for them.
fn keep_tracks(
    pairs: &mut PairTable,
    position: u32,
    u: &ResolvedUse,
    tracks: Range<usize>,
    out: &mut Hazards,
) {
    let mut modified = NONE;
    if pairs.get(u.pair).reads_elsewhere {
        let pair = pairs.elsewhere(u.pair);
        out.reads.push(ReadCell { node: position, next: NONE, pair });
        modified = (out.reads.len() - 1) as u32;
    }
    let mut alike = true;
    for i in tracks.clone() {
        let track = out.tracks[u.local as usize][i];
        let mut pair = u.pair;
        if track.write == position && track.pair != pair {
            // One pass writes the same bytes in two ways: whoever follows waits for both.
            pair = pairs.intern(pairs.get(pair).access | pairs.get(track.pair).access);
        }
        let reads = own_reads(pairs, position, pairs.get(pair).write_stages, track.reads, modified, out);
        alike = alike && pair == u.pair && reads == modified;
        let track = Track { start: track.start, write: position, reads, prior: NONE, pair };
        out.tracks[u.local as usize][i] = track;
    }
    if alike && tracks.len() > 1 {
        out.tracks[u.local as usize].drain(tracks.start + 1..tracks.end);
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
