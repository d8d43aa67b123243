//! Phase 2: uploads that nothing in the frame stands in the way of, by buffer.
//!
//! Uploads that are disjoint, to a buffer that nothing else writes in this frame and nothing reads before them, owe
//! something to earlier frames only, and the world after the frame sees all of them. So none can be culled, and their
//! order does not matter: they are sorted once, here, and all later phases take them from here. Only what is not in a
//! group is walked node by node.

use super::Positions;
use super::radix::{self, Keyed};
use super::resolve::{Resolved, ResolvedUse};
use crate::frame::{self, FrameGraph};
use crate::schedule::CopyRegion;

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
    /// What is in groups: by local resource, then ascending at the destination. One an upload, unless the frame has
    /// [nothing else](Self::alone).
    pub(crate) uploads: Vec<CopyRegion>,
    pub(crate) groups: Vec<Group>,
    /// How many uploads are in groups.
    pub(crate) len: u32,
    /// Positions that are in no group, as ascending half-open ranges.
    pub(crate) walked: Vec<(u32, u32)>,
    /// Whether the frame is nothing but grouped uploads to buffers the host does not look at, and no causes are asked
    /// for. Then all run at one level, nothing names a single one, and those that continue each other in staging memory
    /// and at their destination are one.
    pub(crate) alone: bool,
    positions: Positions,
    /// The staging buffer of all uploads, or of the first.
    host: u32,
    /// The staging buffer of each of `uploads`, if there are several.
    hosts: Vec<u32>,
    /// Per local resource: whether its uploads are a group. Empty if all are.
    grouped: Vec<bool>,
    packed: Vec<u64>,
    order: Vec<Keyed>,
    spare: Vec<Keyed>,
    spare_packed: Vec<u64>,
}

impl Groups {
    /// Where a group's uploads are in [`uploads`](Self::uploads).
    pub(crate) fn range(&self, group: &Group) -> std::ops::Range<usize> {
        let end = (group.end as usize).min(self.uploads.len());
        (group.begin as usize).min(end)..end
    }

    /// The group that the upload at this place is in.
    pub(crate) fn group_of(&self, index: u32) -> Option<&Group> {
        let end = self.groups.partition_point(|group| group.begin <= index);
        self.groups.get(end.checked_sub(1)?)
    }

    /// The uploads of a group.
    pub(crate) fn of(&self, group: &Group) -> &[CopyRegion] {
        self.uploads.get(self.range(group)).unwrap_or(&[])
    }

    /// Place of an upload in declaration order.
    pub(crate) fn position(&self, upload: &CopyRegion) -> u32 {
        self.positions.of(upload.node)
    }

    /// The staging buffer of the upload at this place of [`uploads`](Self::uploads).
    pub(crate) fn host(&self, index: usize) -> u32 {
        self.hosts.get(index).copied().unwrap_or(self.host)
    }

    /// Whether the uploads come from more than one staging buffer.
    pub(crate) fn mixed(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The positions that are walked one by one.
    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = u32> + Clone + '_ {
        self.walked.iter().flat_map(|&(begin, end)| begin..end)
    }

    /// The next of `uploads` comes from this staging buffer.
    #[inline]
    fn note_host(&mut self, buffer: u32) {
        if buffer != self.host || !self.hosts.is_empty() {
            let known = self.uploads.len();
            self.hosts.resize(known, self.host);
            self.hosts.push(buffer);
        }
    }

    fn is_grouped(&self, local: u32) -> bool {
        self.grouped.is_empty() || self.grouped.get(local as usize).copied().unwrap_or(false)
    }
}

/// Finds the groups.
pub(crate) fn run(
    graph: &FrameGraph,
    positions: Positions,
    resolved: &Resolved,
    causes: bool,
    out: &mut Groups,
) {
    out.walked.clear();
    out.grouped.clear();
    out.positions = positions;
    out.alone = false;
    clear(out);
    if resolved.uploads.is_empty() {
        out.walked.push((0, positions.len()));
        return;
    }
    if resolved.locals.iter().any(|l| l.entangled) {
        out.grouped.extend(resolved.locals.iter().map(|l| !l.entangled));
    }
    out.alone = !causes
        && out.grouped.is_empty()
        && resolved.uploads.len() == positions.len() as usize
        && resolved.locals.iter().all(|l| !l.host_visible);
    gather((graph, resolved), out);
    leave_walked(graph, positions, resolved, out);
}

fn clear(out: &mut Groups) {
    out.uploads.clear();
    out.groups.clear();
    out.hosts.clear();
    out.len = 0;
}

/// Copies the uploads of the buffers in question, in order.
fn gather((graph, resolved): (&FrameGraph, &Resolved), out: &mut Groups) {
    let all = Declared { to: &resolved.uploads, from: &graph.uploads };
    out.host = all.from.first().map_or(0, |u| u.buffer);
    let mut packed = std::mem::take(&mut out.packed);
    let mut order = std::mem::take(&mut out.order);
    if resolved.uploads_ascend && out.grouped.is_empty() {
        cut(|| all.to.iter().zip(all.from), resolved, out);
    } else if pack(resolved, out, &mut packed) {
        radix::sort_packed(&mut packed, &mut out.spare_packed);
        cut(|| packed.iter().filter_map(|&item| all.at(item as u32)), resolved, out);
    } else {
        sort(resolved, out, &mut order);
        cut(|| order.iter().filter_map(|item| all.at(item.index)), resolved, out);
    }
    out.packed = packed;
    out.order = order;
}

/// An upload: where to, and what the frame says of it.
type Upload<'a> = (&'a ResolvedUse, &'a frame::Upload);

/// All uploads of a frame.
#[derive(Clone, Copy)]
struct Declared<'a> {
    to: &'a [ResolvedUse],
    from: &'a [frame::Upload],
}

impl<'a> Declared<'a> {
    #[inline]
    fn at(self, index: u32) -> Option<Upload<'a>> {
        Some((self.to.get(index as usize)?, self.from.get(index as usize)?))
    }
}

/// Writes what is to be sorted to `packed`: what tells destinations apart in the upper half, the place among the uploads in
/// the lower. False if there are too many bits of it.
fn pack(resolved: &Resolved, out: &Groups, packed: &mut Vec<u64>) -> bool {
    let uploads = || (0u64..).zip(&resolved.uploads).filter(|(_, u)| out.is_grouped(u.local));
    let first = uploads().next().map_or(0, |(_, u)| u.start);
    let differ = uploads().fold(0, |differ, (_, u)| differ | (u.start ^ first));
    let low = differ.trailing_zeros().min(u64::BITS - 1);
    let width = (u64::BITS - (differ >> low).leading_zeros()).min(u64::BITS - 1);
    let locals = usize::BITS - resolved.locals.len().saturating_sub(1).leading_zeros();
    if width + locals > u32::BITS {
        return false;
    }
    let mask = (1 << width) - 1;
    packed.clear();
    packed.extend(uploads().map(|(index, u)| {
        let key = u64::from(u.local) << width | (u.start >> low & mask);
        key << u32::BITS | index
    }));
    true
}

/// Sorts by local resource, then start, whatever these are.
fn sort(resolved: &Resolved, out: &mut Groups, order: &mut Vec<Keyed>) {
    let from = &resolved.uploads;
    order.clear();
    let grouped = (0u32..).zip(from).filter(|(_, u)| out.is_grouped(u.local));
    order.extend(grouped.map(|(index, u)| Keyed { key: u.start, index }));
    radix::sort(order, &mut out.spare);
    if resolved.locals.len() > 1 {
        order.iter_mut().for_each(|item| item.key = from[item.index as usize].local.into());
        radix::sort(order, &mut out.spare);
    }
}

/// Makes a group of each buffer's uploads, which come in order, and leaves out those that overlap.
fn cut<'a, I: Iterator<Item = Upload<'a>>>(uploads: impl Fn() -> I, resolved: &Resolved, out: &mut Groups) {
    fill(uploads(), resolved, out);
    if out.alone && !out.grouped.is_empty() {
        // Not alone after all.
        out.alone = false;
        clear(out);
        let grouped = std::mem::take(&mut out.grouped);
        fill(uploads().filter(|(to, _)| grouped[to.local as usize]), resolved, out);
        out.grouped = grouped;
    }
    out.len = match out.grouped.is_empty() {
        true => resolved.uploads.len() as u32,
        false => out.uploads.iter().map(|u| u.merged).sum(),
    };
}

fn fill<'a>(uploads: impl Iterator<Item = Upload<'a>>, resolved: &Resolved, out: &mut Groups) {
    let mut open = Group { local: u32::MAX, begin: 0, end: 0 };
    let (mut reached, mut disjoint) = (0, true);
    let merge = out.alone;
    // Where the last one ends in staging memory.
    let mut read = (0, 0);
    for (to, from) in uploads {
        if to.local != open.local {
            close(open, disjoint, resolved, out);
            open = Group { local: to.local, begin: out.uploads.len() as u32, end: 0 };
            (reached, disjoint) = (0, true);
        }
        // The first of a buffer continues nothing, and none is empty.
        let follows = merge && reached > 0 && reached == to.start;
        let continues = follows && read == (from.buffer, from.offset);
        disjoint &= reached <= to.start;
        reached = to.end;
        let size = to.end - to.start;
        read = (from.buffer, from.offset + size);
        match out.uploads.last_mut().filter(|_| continues) {
            Some(last) => {
                last.size += size;
                last.merged += 1;
                last.node = last.node.min(from.node);
            }
            None => {
                out.note_host(from.buffer);
                let region = CopyRegion { src: from.offset, dst: to.start, size, node: from.node, merged: 1 };
                out.uploads.push(region);
            }
        }
    }
    close(open, disjoint, resolved, out);
}

/// Ends a group with what was entered last. What overlaps is none.
#[inline]
fn close(mut group: Group, disjoint: bool, resolved: &Resolved, out: &mut Groups) {
    group.end = out.uploads.len() as u32;
    if group.begin >= group.end {
        return;
    }
    if disjoint {
        out.groups.push(group);
        return;
    }
    out.uploads.truncate(group.begin as usize);
    out.hosts.truncate(group.begin as usize);
    if out.grouped.is_empty() {
        out.grouped.resize(resolved.locals.len(), true);
    }
    out.grouped[group.local as usize] = false;
}

/// Notes what is left: all positions but those of grouped uploads.
fn leave_walked(graph: &FrameGraph, positions: Positions, resolved: &Resolved, out: &mut Groups) {
    if out.len == positions.len() {
        return;
    }
    // Those of the prologue come first.
    let split = graph.uploads.partition_point(|u| u.node < positions.first);
    let all = graph.uploads.iter().zip(&resolved.uploads);
    let mut at = 0;
    for (upload, to) in all.clone().skip(split).chain(all.take(split)) {
        if !out.is_grouped(to.local) {
            continue;
        }
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
