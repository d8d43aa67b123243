//! The usual case: a use of a whole resource that no use of this frame has split. One track, no search.

use super::uses::{after_earlier_reads, after_earlier_writes, uninitialized};
use super::{Detail, Hazard, Hazards, NONE, ReadCell, Source, Track, Walk};
use crate::error::GraphError;
use crate::frame::Mode;
use crate::pairs::PairTable;
use crate::planner::resolve::{Local, ResolvedUse};
use crate::schedule::HazardKind;
use crate::state::Init;
use smallvec::SmallVec;

/// The only track of a resource that is used as a whole. `None`: the general way has to be taken.
#[inline]
fn only(walk: &Walk<'_>, u: &ResolvedUse, local: &Local, tracks: &mut SmallVec<[Track; 1]>) -> Option<Track> {
    if !u.whole {
        return None;
    }
    if tracks.is_empty() {
        let prior = match local.backing.and_then(|id| walk.state.get(id)).map(|p| p.ranges.len()) {
            None => NONE,
            Some(1) => 0,
            Some(_) => return None,
        };
        tracks.push(Track { start: 0, write: NONE, reads: NONE, prior, pair: 0 });
    }
    match tracks.as_slice() {
        [track] => Some(*track),
        _ => None,
    }
}

/// Whether it was done.
#[inline]
pub(super) fn read(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) -> bool {
    let Some(track) = only(walk, u, local, &mut out.tracks[u.local as usize]) else { return false };
    after_write(walk, pairs, position, (u, local), HazardKind::ReadAfterWrite, track, out, errors);
    let known = out.reads.get(track.reads as usize).is_some_and(|c| c.node == position && c.pair == u.pair);
    if !known {
        let head = out.reads.len() as u32;
        out.reads.push(ReadCell { node: position, next: track.reads, pair: u.pair });
        if let Some(track) = out.tracks[u.local as usize].first_mut() {
            track.reads = head;
        }
    }
    true
}

/// Whether it was done. A pass that wrote or reads the resource as well goes the general way.
#[inline]
pub(super) fn write(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) -> bool {
    let Some(track) = only(walk, u, local, &mut out.tracks[u.local as usize]) else { return false };
    let own_read = out.reads.get(track.reads as usize).is_some_and(|c| c.node == position);
    if track.write == position || own_read || pairs.get(u.pair).reads_elsewhere {
        return false;
    }
    let kind = if u.mode == Mode::Modify { HazardKind::ReadAfterWrite } else { HazardKind::WriteAfterWrite };
    after_write(walk, pairs, position, (u, local), kind, track, out, errors);
    let mut at = track.reads;
    while let Some(&cell) = out.reads.get(at as usize) {
        at = cell.next;
        let src = Source::Node(cell.node);
        let kind = HazardKind::WriteAfterRead;
        out.push(walk, Hazard { src, src_pair: cell.pair, dst_pair: u.pair, kind }, || whole(u));
    }
    if track.prior != NONE
        && let Some(prior) = local.backing.and_then(|id| walk.state.get(id)).and_then(|p| p.ranges.first())
    {
        after_earlier_reads(walk, pairs, u, prior, 0..u.end, out);
    }
    if let Some(track) = out.tracks[u.local as usize].first_mut() {
        *track = Track { start: 0, write: position, reads: NONE, prior: NONE, pair: u.pair };
    }
    true
}

fn whole(u: &ResolvedUse) -> Detail {
    Detail { local: Some(u.local), range: 0..u.end, coarsened: false }
}

/// Hazards against the last write, and reads of bytes nobody wrote.
#[inline]
#[expect(clippy::too_many_arguments, reason = "one step of the walk")]
fn after_write(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    kind: HazardKind,
    track: Track,
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    if track.write == position {
        return;
    }
    if track.write != NONE {
        let src = Source::Node(track.write);
        out.push(walk, Hazard { src, src_pair: track.pair, dst_pair: u.pair, kind }, || whole(u));
        return;
    }
    let prior = local.backing.filter(|_| track.prior != NONE).and_then(|id| walk.state.get(id));
    let prior = prior.and_then(|p| p.ranges.first());
    if u.reads() && (local.fresh || prior.is_none_or(|p| p.init == Init::No)) {
        uninitialized(walk, position, 0..u.end, local, errors);
    }
    if let Some(prior) = prior {
        after_earlier_writes(walk, pairs, u, kind, prior, 0..u.end, out);
    }
}
