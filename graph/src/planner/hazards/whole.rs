//! The usual case: a resource that is only ever used as a whole. One state, no search.

use super::uses::{after_earlier_reads, after_earlier_write, kind_of};
use super::{Detail, Hazard, Hazards, NONE, Near, Relation, Track, Walk};
use crate::frame::Mode;
use crate::pairs::PairId;
use crate::planner::resolve::{Local, ResolvedUse};
use crate::schedule::HazardKind;
use crate::state::{Persistent, RangeState};

/// A resource as a whole: a [`Track`] in few bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    write: u32,
    reads: u32,
    pair: PairId,
    pub(super) used: Used,
    /// Whether the writer may be moved to another level.
    moves: bool,
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
    pub(super) const UNTOUCHED: Whole =
        Whole { write: NONE, reads: NONE, pair: 0, used: Used::Not, moves: false };

    pub(super) fn track(self) -> Track {
        // Earlier frames left one range, if any: there is nothing to be found of it otherwise.
        let prior = if self.write == NONE { 0 } else { NONE };
        Track { start: 0, write: self.write, reads: self.reads, prior, pair: self.pair }
    }
}

/// What earlier frames left of a resource, if they left it as a whole; `None` if they did not.
#[inline]
fn prior_of<'a>(walk: &Walk<'a>, local: &Local) -> Option<Option<&'a RangeState>> {
    match local.backing.and_then(|id| walk.state.get(id)) {
        Some(Persistent { ranges, .. }) => match ranges.as_slice() {
            [prior] => Some(Some(prior)),
            _ => None,
        },
        None => Some(None),
    }
}

/// Whether it was done: a read of all of what something in this frame wrote all of.
#[inline]
pub(super) fn read(walk: &Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) -> bool {
    let whole = match out.wholes.get(u.local as usize) {
        Some(whole) if u.whole && whole.used == Used::Whole && whole.write != NONE => *whole,
        _ => return false,
    };
    // A node reads before it writes, so this is none of its own.
    let relation = Relation::within(whole.pair, u.pair, HazardKind::ReadAfterWrite);
    let level = out.level.get(whole.write as usize).copied();
    let stands = out.near.relation == relation && level <= Some(out.near.level);
    let hazard = Hazard::within(relation, whole.write);
    if whole.moves || !walk.forward {
        enter(walk, u, hazard, out);
    } else {
        if walk.causes {
            out.details.push((hazard, detail(u)));
        }
        if !stands {
            let level = level.unwrap_or(0);
            out.settle(hazard, level);
            out.near = Near { relation, level };
        }
    }
    let reads = out.note_read(whole.reads, position, u.pair);
    out.wholes[u.local as usize].reads = reads;
    true
}

/// Whether it was done: a read of all of what earlier frames left as a whole and nothing wrote in this one.
pub(super) fn first_read(
    walk: &mut Walk<'_>,
    position: u32,
    (u, local): (&ResolvedUse, &Local),
    out: &mut Hazards,
) -> bool {
    let whole = out.wholes[u.local as usize];
    if !u.whole || whole.used == Used::InParts {
        return false;
    }
    let Some(prior) = prior_of(walk, local) else { return false };
    after_earlier_write(walk, position, (u, local), (prior, 0..u.end), out);
    let reads = out.note_read(whole.reads, position, u.pair);
    out.wholes[u.local as usize] = Whole { reads, used: Used::Whole, ..whole };
    true
}

/// Whether it was done: a write of all of a resource. A pass that wrote or reads it as well goes the general way.
#[inline(never)]
pub(super) fn write(walk: &mut Walk<'_>, position: u32, u: &ResolvedUse, out: &mut Hazards) -> bool {
    let whole = match out.wholes.get(u.local as usize) {
        Some(whole) if u.whole && whole.used != Used::InParts => *whole,
        _ => return false,
    };
    let own_read = out.reads.get(whole.reads as usize).is_some_and(|c| c.node == position);
    if own_read || u.mode == Mode::Modify && walk.pairs.facts(u.pair).reads_elsewhere {
        return false;
    }
    if whole.write == NONE {
        let local = &walk.locals[u.local as usize];
        let Some(prior) = prior_of(walk, local) else { return false };
        match prior {
            Some(prior) if walk.forward && !walk.causes && whole.reads == NONE && !u.reads() => {
                over_earlier(walk, u, prior, out);
            }
            _ => {
                after_earlier_write(walk, position, (u, local), (prior, 0..u.end), out);
                after_reads(walk, u, whole, out);
                if let Some(prior) = prior {
                    after_earlier_reads(walk, u, (prior, 0..u.end), out);
                }
            }
        }
    } else {
        within(walk, u, (whole.write, whole.pair), kind_of(u), out);
        after_reads(walk, u, whole, out);
    }
    let moves = walk.uploads.contains(&u.pair);
    out.wholes[u.local as usize] =
        Whole { write: position, reads: NONE, pair: u.pair, used: Used::Whole, moves };
    true
}

/// Hazards of a write over what earlier frames left, if that is all there is to say about it.
#[inline(always)]
fn over_earlier(walk: &Walk<'_>, u: &ResolvedUse, prior: &RangeState, out: &mut Hazards) {
    for mark in &prior.writes {
        if mark.level >= out.covered.memory(walk.cover, walk.pairs, mark.pair, u.pair) {
            let relation = Relation::earlier(mark.pair, u.pair, HazardKind::WriteAfterWrite);
            out.settle(Hazard::earlier(relation, mark.level), 0);
        }
    }
    for mark in &prior.reads {
        if mark.level >= out.covered.exec(walk.cover, walk.pairs, mark.pair, u.pair) {
            let relation = Relation::earlier(mark.pair, u.pair, HazardKind::WriteAfterRead);
            out.settle(Hazard::earlier(relation, mark.level), 0);
        }
    }
}

/// Hazards of a write against the reads since the last one.
#[inline]
fn after_reads(walk: &Walk<'_>, u: &ResolvedUse, whole: Whole, out: &mut Hazards) {
    let mut at = whole.reads;
    while let Some(&cell) = out.reads.get(at as usize) {
        at = cell.next;
        within(walk, u, (cell.node, cell.pair), HazardKind::WriteAfterRead, out);
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
    enter(walk, u, Hazard::within(Relation::within(src_pair, u.pair, kind), node), out);
}

/// Enters a hazard of a resource as a whole.
#[inline(never)]
fn enter(walk: &Walk<'_>, u: &ResolvedUse, hazard: Hazard, out: &mut Hazards) {
    out.push(walk, hazard, || detail(u));
}

/// What there is to say about a hazard within the frame of a resource as a whole.
#[inline]
fn detail(u: &ResolvedUse) -> Detail {
    Detail { local: Some(u.local), range: 0..u.end, coarsened: false }
}
