//! Phase 2: uploads that nothing in the frame stands in the way of, by buffer.
//!
//! Uploads that are disjoint, to a buffer that nothing else writes in this frame and nothing reads before them, owe
//! something to earlier frames only, and the world after the frame sees all of them. So none can be culled, and their
//! order does not matter: they are sorted once, here, and all later phases take them from here. Only what is not in a
//! group is walked node by node.

use super::Positions;
use super::radix::{self, Keyed};
use super::resolve::{Resolved, Upload};
use crate::resource::HostSlice;

/// An upload in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouped {
    /// Destination, half-open.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) from: HostSlice,
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
    /// Whether the uploads come from more than one staging buffer.
    pub(crate) mixed: bool,
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
    out.grouped.extend(resolved.locals.iter().map(|l| !l.entangled()));
    sort(positions, resolved, out);
    cut(out);
    leave_walked(positions, resolved, out);
}

/// Copies the uploads of the buffers in question, in order.
fn sort(positions: Positions, resolved: &Resolved, out: &mut Groups) {
    let Groups { uploads, grouped, order, spare, .. } = out;
    let from = &resolved.uploads;
    let entangled = resolved.locals.iter().any(|l| l.entangled());
    let (mut last, mut sorted) = ((0, 0), true);
    order.clear();
    order.extend((0u32..).zip(from).map(|(index, u)| {
        sorted &= last <= (u.local, u.start);
        last = (u.local, u.start);
        Keyed { key: u.start, index }
    }));
    if entangled {
        order.retain(|item| grouped[from[item.index as usize].local as usize]);
    }
    if !sorted {
        radix::sort(order, spare);
        if resolved.locals.len() > 1 {
            order.iter_mut().for_each(|item| item.key = from[item.index as usize].local.into());
            radix::sort(order, spare);
        }
    }
    let buffer = from.first().map_or(0, |u| u.from.buffer);
    let mut mixed = 0;
    uploads.extend(order.iter().map(|item| {
        let Upload { start, end, from, local, node } = from[item.index as usize];
        mixed |= from.buffer ^ buffer;
        Grouped { start, end, from, local, position: positions.of(node) }
    }));
    out.mixed = mixed != 0;
}

/// Makes a group of each buffer's uploads, and takes those out that overlap.
fn cut(out: &mut Groups) {
    let Groups { uploads, groups, grouped, .. } = out;
    let mut open = Group { local: u32::MAX, begin: 0, end: 0 };
    let (mut reached, mut disjoint) = (0, true);
    let mut overlapping = false;
    let mut close = |group: Group, disjoint: bool| {
        if disjoint && group.begin < group.end {
            groups.push(group);
        } else if let Some(grouped) = grouped.get_mut(group.local as usize) {
            *grouped = false;
            overlapping = true;
        }
    };
    for upload in &*uploads {
        if upload.local != open.local {
            close(open, disjoint);
            (open.local, open.begin) = (upload.local, open.end);
            (reached, disjoint) = (0, true);
        }
        disjoint &= reached <= upload.start;
        reached = upload.end;
        open.end += 1;
    }
    close(open, disjoint);
    if !overlapping {
        return;
    }
    uploads.retain(|u| grouped[u.local as usize]);
    let mut begin = 0;
    for group in groups {
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
    if out.uploads.len() as u32 == positions.len() {
        return;
    }
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
