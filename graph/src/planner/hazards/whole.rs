//! The usual case: a resource that is only ever used as a whole. One state, no search.

use super::uses::{after_earlier_reads, after_earlier_writes, uninitialized};
use super::{Detail, Hazard, Hazards, NONE, ReadCell, Source, Track, Walk};
use crate::error::GraphError;
use crate::frame::Mode;
use crate::pairs::{PairId, PairTable};
use crate::planner::resolve::{Local, ResolvedUse};
use crate::schedule::HazardKind;
use crate::state::{Init, RangeState};

/// A resource as a whole: a [`Track`] in few bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    write: u32,
    reads: u32,
    pair: PairId,
    pub(super) used: Used,
}

/// How this frame used a resource so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    Not,
    /// As a whole, and earlier frames left it as a whole, if anything.
    Whole,
    /// The map has its ranges.
    InParts,
}

impl Whole {
    pub(super) const UNTOUCHED: Whole = Whole { write: NONE, reads: NONE, pair: 0, used: Used::Not };

    pub(super) fn track(self) -> Track {
        // Earlier frames left one range, if any: there is nothing to be found of it otherwise.
        let prior = if self.write == NONE { 0 } else { NONE };
        Track { start: 0, write: self.write, reads: self.reads, prior, pair: self.pair }
    }
}

/// The state of a resource that is used as a whole. `None`: the general way has to be taken.
#[inline]
fn whole_of(walk: &Walk<'_>, u: &ResolvedUse, local: &Local, out: &Hazards) -> Option<Whole> {
    let whole = *out.wholes.get(u.local as usize).filter(|_| u.whole)?;
    match whole.used {
        Used::Whole => Some(whole),
        Used::Not => {
            let ranges = local.backing.and_then(|id| walk.state.get(id)).map_or(1, |p| p.ranges.len());
            (ranges == 1).then_some(Whole { used: Used::Whole, ..whole })
        }
        Used::InParts => None,
    }
}

/// What earlier frames left, if this one has not written yet.
#[inline]
fn prior_of<'a>(walk: &Walk<'a>, local: &Local, whole: Whole) -> Option<&'a RangeState> {
    let id = local.backing.filter(|_| whole.write == NONE)?;
    walk.state.get(id)?.ranges.first()
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
    let Some(whole) = whole_of(walk, u, local, out) else { return false };
    if whole.write == NONE {
        let prior = prior_of(walk, local, whole);
        after_earlier(walk, pairs, position, (u, local), prior, out, errors);
    } else if whole.write != position {
        within(walk, u, (whole.write, whole.pair), HazardKind::ReadAfterWrite, out);
    }
    let mut reads = whole.reads;
    let known = out.reads.get(reads as usize).is_some_and(|c| c.node == position && c.pair == u.pair);
    if !known {
        reads = out.reads.len() as u32;
        out.reads.push(ReadCell { node: position, next: whole.reads, pair: u.pair });
    }
    out.wholes[u.local as usize] = Whole { reads, ..whole };
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
    let Some(whole) = whole_of(walk, u, local, out) else { return false };
    let own_read = out.reads.get(whole.reads as usize).is_some_and(|c| c.node == position);
    if whole.write == position || own_read || pairs.facts(u.pair).reads_elsewhere {
        return false;
    }
    let prior = prior_of(walk, local, whole);
    if whole.write == NONE {
        after_earlier(walk, pairs, position, (u, local), prior, out, errors);
    } else {
        within(walk, u, (whole.write, whole.pair), kind_of(u), out);
    }
    let mut at = whole.reads;
    while let Some(&cell) = out.reads.get(at as usize) {
        at = cell.next;
        within(walk, u, (cell.node, cell.pair), HazardKind::WriteAfterRead, out);
    }
    if let Some(prior) = prior {
        after_earlier_reads(walk, pairs, u, prior, 0..u.end, out);
    }
    out.wholes[u.local as usize] = Whole { write: position, reads: NONE, pair: u.pair, used: Used::Whole };
    true
}

fn kind_of(u: &ResolvedUse) -> HazardKind {
    match u.mode {
        Mode::Read | Mode::Modify => HazardKind::ReadAfterWrite,
        Mode::Write | Mode::Overwrite => HazardKind::WriteAfterWrite,
    }
}

/// Hazards against what earlier frames wrote, and a read of bytes nobody wrote.
#[inline]
fn after_earlier(
    walk: &Walk<'_>,
    pairs: &PairTable,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    prior: Option<&RangeState>,
    out: &mut Hazards,
    errors: &mut Vec<GraphError>,
) {
    if u.reads() && (local.fresh || prior.is_none_or(|p| p.init == Init::No)) {
        uninitialized(walk, position, 0..u.end, local, errors);
    }
    if let Some(prior) = prior {
        after_earlier_writes(walk, pairs, u, kind_of(u), prior, 0..u.end, out);
    }
}

/// Enters a hazard against a node of this frame.
#[inline]
fn within(
    walk: &Walk<'_>,
    u: &ResolvedUse,
    (node, src_pair): (u32, PairId),
    kind: HazardKind,
    out: &mut Hazards,
) {
    let hazard = Hazard { src: Source::Node(node), src_pair, dst_pair: u.pair, kind };
    if !walk.causes && !walk.uploads.contains(&src_pair) && out.stands_for(node, &hazard) {
        return;
    }
    out.push(walk, hazard, || Detail { local: Some(u.local), range: 0..u.end, coarsened: false });
}
