//! The usual case: a use of a whole resource that no use of this frame has split. One track, no search.

use super::uses::{after_reads, after_write};
use super::{Hazards, NONE, ReadCell, Track, Walk};
use crate::error::GraphError;
use crate::frame::Mode;
use crate::pairs::PairTable;
use crate::planner::resolve::{Local, ResolvedUse};
use crate::schedule::HazardKind;
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
    let kind = HazardKind::ReadAfterWrite;
    after_write(walk, pairs, position, (u, local), kind, (track, 0..u.end), out, errors);
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
    after_write(walk, pairs, position, (u, local), kind, (track, 0..u.end), out, errors);
    after_reads(walk, pairs, position, (u, local), (track, 0..u.end), out);
    if let Some(track) = out.tracks[u.local as usize].first_mut() {
        *track = Track { start: 0, write: position, reads: NONE, prior: NONE, pair: u.pair };
    }
    true
}
