//! Many uploads to one buffer, entered at once.
//!
//! Splitting the map of a buffer for each of a thousand scattered uploads would move its entries about a thousand
//! times. Uploads that are disjoint, to a buffer that nothing else writes in this frame and nothing reads before them,
//! owe something to earlier frames only, so their order does not matter: the map is made in one go, sorted.

use super::uses::{after_earlier_reads, after_earlier_writes};
use super::{Hazards, NONE, Track, Walk};
use crate::frame::{Node, NodeKind};
use crate::pairs::PairTable;
use crate::planner::cull::Kept;
use crate::planner::radix::{self, Keyed};
use crate::planner::resolve::{Local, Resolved, ResolvedUse};
use crate::schedule::HazardKind;
use crate::state::RangeState;

/// Fewer uploads than this to a buffer take the general way.
const FEW: u32 = 8;

/// One upload.
#[derive(Clone, Copy, Debug)]
struct Entered {
    local: u32,
    start: u64,
    end: u64,
    position: u32,
}

/// The uploads that are entered at once, and the order in which they become maps.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    uploads: Vec<Entered>,
    order: Vec<Keyed>,
    spare: Vec<Keyed>,
}

impl Bulk {
    /// Orders the uploads by buffer, then ascending.
    fn sort(&mut self) {
        self.order.clear();
        self.order.extend((0u32..).zip(&self.uploads).map(|(index, e)| Keyed { key: e.start, index }));
        radix::sort(&mut self.order, &mut self.spare);
        for item in &mut self.order {
            item.key = self.uploads[item.index as usize].local.into();
        }
        radix::sort(&mut self.order, &mut self.spare);
    }
}

/// Whether an upload is one of many that are entered at once.
pub(super) fn holds(node: &Node, u: &ResolvedUse, resolved: &Resolved, kept: &Kept) -> bool {
    matches!(node.kind, NodeKind::Upload { .. }) && applies(u.local, resolved, kept)
}

fn applies(local: u32, resolved: &Resolved, kept: &Kept) -> bool {
    let of = &resolved.locals[local as usize];
    of.uploads >= FEW && !of.read_before_upload && of.backing.is_some() && kept.uploads_are_disjoint(local)
}

/// Makes the maps of all buffers with such uploads.
pub(super) fn enter(walk: &Walk<'_>, resolved: &Resolved, kept: &Kept, out: &mut Hazards) {
    if !resolved.locals.iter().any(|l| l.uploads >= FEW) {
        return;
    }
    let mut bulk = std::mem::take(&mut out.bulk);
    bulk.uploads.clear();
    for position in 0..walk.positions.len() {
        let node = &walk.graph.nodes[walk.positions.node(position) as usize];
        if !matches!(node.kind, NodeKind::Upload { .. }) {
            continue;
        }
        let u = &resolved.uses[node.uses.0 as usize];
        if applies(u.local, resolved, kept) {
            bulk.uploads.push(Entered { local: u.local, start: u.start, end: u.end, position });
        }
    }
    bulk.sort();
    let uploads = &bulk.uploads;
    for same in bulk.order.chunk_by(|a, b| a.key == b.key) {
        let entered = same.iter().map(|item| &uploads[item.index as usize]);
        let Some(first) = entered.clone().next() else { continue };
        let local = &resolved.locals[first.local as usize];
        let tracks = &mut out.tracks[first.local as usize];
        lay(entered, ranges_of(walk, local), local.size, |start, write, prior| {
            let pair = if write == NONE { 0 } else { write_pair(walk, resolved, write) };
            tracks.push(Track { start, write, reads: NONE, prior, pair });
        });
    }
    out.bulk = bulk;
}

/// The access an upload writes by.
fn write_pair(walk: &Walk<'_>, resolved: &Resolved, position: u32) -> crate::pairs::PairId {
    let node = &walk.graph.nodes[walk.positions.node(position) as usize];
    resolved.uses[node.uses.0 as usize].pair
}

fn ranges_of<'a>(walk: &Walk<'a>, local: &Local) -> &'a [RangeState] {
    local.backing.and_then(|id| walk.state.get(id)).map_or(&[], |p| p.ranges.as_slice())
}

/// Calls `push` with the start, the writer and the earlier state of each range, ascending: uploads over what was there.
fn lay<'a>(
    uploads: impl Iterator<Item = &'a Entered>,
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
        untouched(at, upload.start, &mut push);
        push(upload.start, upload.position, NONE);
        at = upload.end;
    }
    untouched(at, size, &mut push);
}

/// The hazards of one such upload: against earlier frames.
pub(super) fn judge(
    walk: &Walk<'_>,
    pairs: &PairTable,
    u: &ResolvedUse,
    locals: &[Local],
    out: &mut Hazards,
) {
    let ranges = ranges_of(walk, &locals[u.local as usize]);
    let first = ranges.partition_point(|r| r.start <= u.start).saturating_sub(1);
    for (i, prior) in ranges.iter().enumerate().skip(first).take_while(|(_, r)| r.start < u.end) {
        let end = ranges.get(i + 1).map_or(u.end, |next| next.start).min(u.end);
        let range = prior.start.max(u.start)..end;
        after_earlier_writes(walk, pairs, u, HazardKind::WriteAfterWrite, prior, range.clone(), out);
        after_earlier_reads(walk, pairs, u, prior, range, out);
    }
}
