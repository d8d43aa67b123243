//! Phase 2: uploads that nothing in the frame stands in the way of, by buffer.
//!
//! Uploads that are disjoint, to a buffer that nothing else writes in this frame and nothing reads before them, owe
//! something to earlier frames only, and the world after the frame sees all of them. So none can be culled, and their
//! order does not matter: they are sorted once, here, and all later phases take them from here. Only what is not in a
//! group is walked node by node.

use super::Positions;
use super::radix::{self, Keyed};
use super::resolve::{Resolved, Upload};

/// An upload in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouped {
    /// Destination, half-open.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) local: u32,
    /// Place in declaration order.
    pub(crate) position: u32,
}

/// The uploads to one buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) local: u32,
    /// Where they are in [`Groups::uploads`].
    begin: u32,
    end: u32,
}

/// The outcome, and the memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// What is in groups: by local resource, then ascending.
    pub(crate) uploads: Vec<Grouped>,
    pub(crate) groups: Vec<Group>,
    /// Positions that are in no group, as ascending half-open ranges.
    pub(crate) walked: Vec<(u32, u32)>,
    /// Per local resource: whether its uploads are a group.
    grouped: Vec<bool>,
    order: Vec<Keyed>,
    spare: Vec<Keyed>,
}

impl Groups {
    /// Where a group's uploads are in [`uploads`](Self::uploads).
    pub(crate) fn range(&self, group: &Group) -> std::ops::Range<usize> {
        let end = (group.end as usize).min(self.uploads.len());
        (group.begin as usize).min(end)..end
    }

    /// The positions that are walked one by one.
    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = u32> + Clone + '_ {
        self.walked.iter().flat_map(|&(begin, end)| begin..end)
    }
}

/// Finds the groups.
pub(crate) fn run(positions: Positions, resolved: &Resolved, out: &mut Groups) {
    out.uploads.clear();
    out.groups.clear();
    out.walked.clear();
    if resolved.uploads.is_empty() {
        out.walked.push((0, positions.len()));
        return;
    }
    out.grouped.clear();
    out.grouped.extend(resolved.locals.iter().map(|l| !l.entangled));
    sort(positions, resolved, out);
    cut(out);
    leave_walked(positions, resolved, out);
}

/// Copies the uploads of the buffers in question, in order.
fn sort(positions: Positions, resolved: &Resolved, out: &mut Groups) {
    let Groups { uploads, grouped, order, spare, .. } = out;
    let from = &resolved.uploads;
    order.clear();
    let (mut last, mut sorted) = ((0, 0), true);
    for (index, u) in (0u32..).zip(from) {
        if grouped[u.local as usize] {
            order.push(Keyed { key: u.start, index });
            sorted &= last <= (u.local, u.start);
            last = (u.local, u.start);
        }
    }
    if !sorted {
        radix::sort(order, spare);
        if resolved.locals.len() > 1 {
            order.iter_mut().for_each(|item| item.key = from[item.index as usize].local.into());
            radix::sort(order, spare);
        }
    }
    uploads.extend(order.iter().map(|item| {
        let Upload { start, end, local, node } = from[item.index as usize];
        Grouped { start, end, local, position: positions.of(node) }
    }));
}

/// Makes a group of each buffer's uploads, and takes those out that overlap.
fn cut(out: &mut Groups) {
    let mut overlapping = false;
    let mut begin = 0;
    for same in out.uploads.chunk_by(|a, b| a.local == b.local) {
        let (local, end) = (same[0].local, begin + same.len() as u32);
        if same.windows(2).all(|w| w[0].end <= w[1].start) {
            out.groups.push(Group { local, begin, end });
        } else {
            out.grouped[local as usize] = false;
            overlapping = true;
        }
        begin = end;
    }
    if !overlapping {
        return;
    }
    let grouped = &out.grouped;
    out.uploads.retain(|u| grouped[u.local as usize]);
    let mut begin = 0;
    for group in &mut out.groups {
        let len = group.end - group.begin;
        (group.begin, group.end) = (begin, begin + len);
        begin += len;
    }
}

/// Notes what is left: all positions but those of grouped uploads.
fn leave_walked(positions: Positions, resolved: &Resolved, out: &mut Groups) {
    // Those of the prologue come first.
    let split = resolved.uploads.partition_point(|u| u.node < positions.first);
    let (later, first) = resolved.uploads.split_at(split);
    let mut at = 0;
    for upload in first.iter().chain(later).filter(|u| out.grouped[u.local as usize]) {
        let position = positions.of(upload.node);
        if at < position {
            out.walked.push((at, position));
        }
        at = position + 1;
    }
    if at < positions.len() {
        out.walked.push((at, positions.len()));
    }
}
