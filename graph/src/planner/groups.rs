//! Phase 2: uploads that nothing in the frame stands in the way of, by buffer.
//!
//! Uploads that are disjoint, to a buffer that nothing else writes in this frame and nothing reads before them, owe
//! something to earlier frames only, and the world after the frame sees all of them. So none can be culled, and their
//! order does not matter: they are sorted once, here, and all later phases take them from here. Only what is not in a
//! group is walked node by node. Where the frame is nothing else, uploads to one buffer are not even sorted, if a bit for each
//! of their places shows that they are apart, and what they come from ascends in one staging buffer.

mod regions;
#[cfg(test)]
mod tests;

use super::Positions;
use super::granules::Granules;
use super::order::Levels;
use super::radix::{self, Keyed};
use super::resolve::Resolved;
use crate::frame::{self, FrameGraph};
use crate::pairs::PairId;
use crate::resource::ResourceId;
use crate::schedule::{CopyRegion, Schedule};
use crate::state::Written;
use regions::{Kind, append, explicit_region, merge, region};

/// The uploads to one buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) local: u32,
    /// Where they are in [`Groups::uploads`].
    begin: u32,
    end: u32,
    /// How many there are, and their bytes.
    pub(crate) uploads: u32,
    pub(crate) bytes: u64,
}

/// What grouped uploads to a resource leave.
pub(crate) struct Leaves<'a> {
    pub(crate) id: ResourceId,
    /// The access they write by.
    pub(crate) pair: PairId,
    /// Ascending, unless they are [marked](Groups::marked).
    pub(crate) regions: &'a [CopyRegion],
}

/// The outcome, and the memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// What is in groups: by local resource, then ascending at the destination, unless they are [marked](Self::marked). One an
    /// upload, unless the frame has [nothing else](Self::alone).
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
    /// Whether there is one group, which is alone, and whose uploads are in the order of their nodes.
    is_marked: bool,
    granules: Granules,
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

impl Group {
    /// Where its uploads are in [`Groups::uploads`].
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.begin as usize..self.end as usize
    }
}

impl Groups {
    /// The group that the upload at this place is in.
    pub(crate) fn group_of(&self, index: u32) -> Option<&Group> {
        let end = self.groups.partition_point(|group| group.begin <= index);
        self.groups.get(end.checked_sub(1)?)
    }

    /// The uploads of a group.
    pub(crate) fn of(&self, group: &Group) -> &[CopyRegion] {
        self.uploads.get(group.range()).unwrap_or(&[])
    }

    /// Place of an upload in declaration order.
    pub(crate) fn position(&self, upload: &CopyRegion) -> u32 {
        self.positions.of(upload.node)
    }

    /// The staging buffer of the upload at this place of [`uploads`](Self::uploads).
    pub(crate) fn host(&self, index: usize) -> u32 {
        self.hosts.get(index).copied().unwrap_or(self.host)
    }

    /// What grouped uploads leave, in resources of which no map was made because nothing reads them.
    pub(crate) fn leave<'a>(
        &'a self,
        resolved: &'a Resolved,
        schedule: &'a Schedule,
    ) -> impl Iterator<Item = Leaves<'a>> {
        // The schedule has them as they are, if there is nothing else.
        let all = if self.uploads.is_empty() { &schedule.regions } else { &self.uploads };
        self.groups.iter().filter_map(move |group| {
            let local = &resolved.locals[group.local as usize];
            let id = local.backing.filter(|_| !local.read() && !local.host_visible)?;
            let pair = resolved.upload_pairs[usize::from(local.scattered)];
            Some(Leaves { id, pair, regions: all.get(group.range())? })
        })
    }

    /// Where the uploads of the only group are, if they are in the order of their nodes.
    pub(crate) fn marked(&self) -> Option<&Granules> {
        self.is_marked.then_some(&self.granules)
    }

    /// The level of an upload.
    #[inline]
    pub(crate) fn level(&self, upload: &CopyRegion, levels: &Levels) -> u32 {
        levels.grouped.unwrap_or_else(|| levels.level[self.position(upload) as usize])
    }

    /// What an upload leaves.
    #[inline]
    pub(crate) fn written(&self, upload: &CopyRegion, levels: &Levels) -> Written {
        Written { start: upload.dst, end: upload.dst + upload.size, level: self.level(upload, levels) }
    }

    /// Whether the uploads come from more than one staging buffer.
    pub(crate) fn mixed(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The positions that are walked one by one.
    pub(crate) fn positions(&self) -> impl DoubleEndedIterator<Item = u32> + Clone + '_ {
        self.walked.iter().flat_map(|&(begin, end)| begin..end)
    }

    fn is_grouped(&self, local: u32) -> bool {
        self.grouped.is_empty() || self.grouped.get(local as usize).copied().unwrap_or(false)
    }
}

/// Finds the groups.
pub(crate) fn run(
    graph: &FrameGraph,
    positions: Positions,
    resolved: &mut Resolved,
    causes: bool,
    out: &mut Groups,
) {
    out.walked.clear();
    out.grouped.clear();
    out.positions = positions;
    out.alone = false;
    clear_groups(out);
    if graph.uploads.is_empty() {
        out.uploads.clear();
        out.walked.push((0, positions.len()));
        return;
    }
    if resolved.locals.iter().any(|l| l.entangled()) {
        out.grouped.extend(resolved.locals.iter().map(|l| !l.entangled()));
    }
    out.alone = !causes
        && out.grouped.is_empty()
        && graph.uploads.len() == positions.len() as usize
        && resolved.locals.iter().all(|l| !l.host_visible);
    gather(graph, resolved, out);
    if !out.alone {
        resolved.settle_uploads(graph);
        leave_walked(graph, positions, resolved, out);
    }
}

fn clear(out: &mut Groups) {
    out.uploads.clear();
    clear_groups(out);
}

/// Clears all but the regions, for a phase that writes others in their place.
fn clear_groups(out: &mut Groups) {
    out.groups.clear();
    out.hosts.clear();
    out.len = 0;
    out.is_marked = false;
}

/// Copies the uploads of the buffers in question, in order.
fn gather(graph: &FrameGraph, resolved: &Resolved, out: &mut Groups) {
    out.host = graph.uploads.first().map_or(0, |u| graph.upload_from(u).buffer);
    let from = (graph, resolved);
    if !resolved.together.ascend && out.alone && mark(graph, resolved, out) {
        out.len = graph.uploads.len() as u32;
        return;
    }
    clear(out);
    let mut packed = std::mem::take(&mut out.packed);
    let mut order = std::mem::take(&mut out.order);
    if resolved.together.ascend && out.grouped.is_empty() {
        cut(from, &graph.uploads, |upload| upload, out);
    } else if let Some(bits) = pack(from, &out.grouped, &mut packed) {
        radix::sort_packed(&mut packed, &mut out.spare_packed, bits);
        cut(from, &packed, |item| &graph.uploads[*item as u32 as usize], out);
    } else {
        sort(from, &out.grouped, &mut order, &mut out.spare);
        cut(from, &order, |item| &graph.uploads[item.index as usize], out);
    }
    out.packed = packed;
    out.order = order;
}

/// Makes one group of uploads to one buffer, from one staging buffer, in the order of nodes, if bits show that they are apart
/// and what they come from ascends. Returns whether it is so.
#[inline(never)]
fn mark(graph: &FrameGraph, resolved: &Resolved, out: &mut Groups) -> bool {
    let ([local], false) = (resolved.locals.as_slice(), resolved.together.mixed) else { return false };
    // All were taken in: an odd one would have entangled the buffer.
    let extent = resolved.together.extent(graph.uploads.len(), local.size);
    let Some(mut marker) = out.granules.begin(extent) else { return false };
    // A loop for each: both together would take more registers than there are.
    if !graph.uploads.iter().all(|upload| marker.mark(upload.start, upload.end)) {
        return false;
    }
    let Some(bytes) = append(&graph.uploads, explicit_region, Kind::Apart, (&mut out.uploads, 0)) else {
        return false;
    };
    out.is_marked = true;
    let (uploads, end) = (graph.uploads.len() as u32, out.uploads.len() as u32);
    out.groups.push(Group { local: 0, begin: 0, end, uploads, bytes });
    true
}

/// Writes what is to be sorted to `packed`: what tells destinations apart in the upper half, the place among the uploads in
/// the lower. Returns how many bits the former has; none if it has too many.
fn pack((graph, resolved): (&FrameGraph, &Resolved), grouped: &[bool], packed: &mut Vec<u64>) -> Option<u32> {
    let differ = resolved.together.differ();
    let low = differ.trailing_zeros().min(u64::BITS - 1);
    let width = u64::BITS - (differ >> low).leading_zeros();
    let locals = usize::BITS - resolved.locals.len().saturating_sub(1).leading_zeros();
    if width + locals > u32::BITS {
        return None;
    }
    let mask = (1u64 << width) - 1;
    let place = |(index, u): (u64, &frame::Upload)| (u.start >> low & mask) << u32::BITS | index;
    let all = (0..).zip(&graph.uploads);
    packed.clear();
    if locals == 0 && grouped.is_empty() {
        packed.extend(all.map(place));
        return Some(width);
    }
    let all = all.map(|(index, u)| (index, u, resolved.local_of(u)));
    let all = all.filter(|(.., local)| grouped.is_empty() || grouped[*local as usize]);
    // With one local there may be no bit for it; it is 0.
    let shift = (width + u32::BITS).min(u64::BITS - 1);
    let local_and_place = |(index, u, local)| place((index, u)) | u64::from(local) << shift;
    packed.extend(all.map(local_and_place));
    Some(width + locals)
}

/// Sorts by local resource, then start, whatever these are.
fn sort(
    (graph, resolved): (&FrameGraph, &Resolved),
    grouped: &[bool],
    order: &mut Vec<Keyed>,
    spare: &mut Vec<Keyed>,
) {
    let is_grouped = |local: u32| grouped.is_empty() || grouped[local as usize];
    order.clear();
    let all = (0u32..).zip(&graph.uploads).filter(|(_, u)| is_grouped(resolved.local_of(u)));
    order.extend(all.map(|(index, u)| Keyed { key: u.start, index }));
    radix::sort(order, spare);
    if resolved.locals.len() > 1 {
        let local = |item: &Keyed| resolved.local_of(&graph.uploads[item.index as usize]);
        order.iter_mut().for_each(|item| item.key = local(item).into());
        radix::sort(order, spare);
    }
}

/// Makes a group of each buffer's uploads, and leaves out those that overlap. `upload` finds the upload that an item stands
/// for; items ascend by local resource and destination.
fn cut<'a, T>(
    (graph, resolved): (&'a FrameGraph, &Resolved),
    items: &'a [T],
    upload: impl Fn(&'a T) -> &'a frame::Upload + Copy,
    out: &mut Groups,
) {
    fill((graph, resolved), items, upload, out);
    if out.alone && !out.grouped.is_empty() {
        // Not alone after all: those that continue each other stay apart.
        out.alone = false;
        clear(out);
        fill((graph, resolved), items, upload, out);
    }
    out.len = match out.grouped.is_empty() {
        true => items.len() as u32,
        false => out.uploads.iter().map(|u| u.merged).sum(),
    };
}

fn fill<'a, T>(
    (graph, resolved): (&'a FrameGraph, &Resolved),
    items: &'a [T],
    upload: impl Fn(&'a T) -> &'a frame::Upload + Copy,
    out: &mut Groups,
) {
    // From several staging buffers they are joined once it is known which of them each comes from.
    let kind = if out.alone && !resolved.together.mixed { Kind::Joined } else { Kind::Single };
    let mut rest = items;
    while let Some(first) = rest.first() {
        let local = resolved.local_of(upload(first));
        let is_other = |item: &'a T| resolved.local_of(upload(item)) != local;
        let len = match resolved.locals.len() {
            1 => rest.len(),
            _ => rest.iter().position(is_other).unwrap_or(rest.len()),
        };
        let of;
        (of, rest) = rest.split_at(len);
        if !out.is_grouped(local) {
            continue;
        }
        let size = resolved.locals[local as usize].size;
        let begin = out.uploads.len();
        let region = |item: &'a T| region(upload(item), size);
        let bytes = match of {
            [one] => {
                let region = region(one);
                out.uploads.push(region);
                Some(region.size)
            }
            _ => append(of, region, kind, (&mut out.uploads, begin)),
        };
        if resolved.together.mixed {
            out.hosts.extend(of.iter().map(|item| graph.upload_from(upload(item)).buffer));
        }
        let Some(bytes) = bytes else {
            out.uploads.truncate(begin);
            out.hosts.truncate(begin);
            out.grouped.resize(resolved.locals.len(), true);
            out.grouped[local as usize] = false;
            continue;
        };
        if out.alone && resolved.together.mixed {
            merge(begin, &mut out.uploads, &mut out.hosts);
        }
        let (uploads, end) = (of.len() as u32, out.uploads.len() as u32);
        out.groups.push(Group { local, begin: begin as u32, end, uploads, bytes });
    }
}

/// Notes what is left: all positions but those of grouped uploads.
fn leave_walked(graph: &FrameGraph, positions: Positions, resolved: &Resolved, out: &mut Groups) {
    if out.len == positions.len() {
        return;
    }
    // Those of the prologue come first.
    let split = graph.uploads.partition_point(|u| u.node < positions.first);
    let all = graph.uploads.iter();
    let mut at = 0;
    for upload in all.clone().skip(split).chain(all.take(split)) {
        if !out.is_grouped(resolved.local_of(upload)) {
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
