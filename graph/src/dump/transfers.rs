//! Which declared transfers became which commands.

use super::model::{FrameDump, NodeKindDump, RegionDump, ScatterRegionDump, TrimmedDump};
use super::write::at;
use crate::frame::{FrameGraph, Mode};
use crate::schedule::{BufferRef, CopyRegion, ScatterRegion, Schedule};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// What of a declared transfer is really copied: a node may leave several pieces when later bytes win.
struct Piece {
    dst: Range<u64>,
    /// Source position less destination position: pieces of one region agree on it.
    shift: i128,
    node: u32,
}

/// Pieces of all kept transfers by level and buffers, ascending by destination.
pub(super) struct Pieces(HashMap<(u32, BufferRef, BufferRef), Vec<Piece>>);

impl Pieces {
    pub(super) fn new(dump: &FrameDump) -> Self {
        let mut gone: BTreeMap<u32, Vec<Range<u64>>> = BTreeMap::new();
        for t in &dump.trimmed {
            gone.entry(t.node).or_default().push(t.range.clone());
        }
        let mut map: HashMap<_, Vec<Piece>> = HashMap::new();
        for (i, node) in dump.nodes.iter().enumerate() {
            let Some(level) = node.level else { continue };
            let i = at(i);
            let Some((from, to, src, dst)) = ends(node.kind, &node.uses) else { continue };
            let shift = i128::from(src) - i128::from(dst.start);
            let cuts = gone.get(&i).map_or(&[][..], Vec::as_slice);
            let pieces = without(dst, cuts).into_iter().map(|dst| Piece { dst, shift, node: i });
            map.entry((level, from, to)).or_default().extend(pieces);
        }
        for pieces in map.values_mut() {
            pieces.sort_by_key(|p| (p.dst.start, p.node));
        }
        Pieces(map)
    }

    /// The regions of one copy command with the nodes they came from.
    pub(super) fn regions(
        &self,
        regions: &[CopyRegion],
        level: u32,
        from: BufferRef,
        to: BufferRef,
    ) -> Vec<RegionDump> {
        let pieces = self.0.get(&(level, from, to)).map_or(&[][..], Vec::as_slice);
        regions
            .iter()
            .map(|r| {
                let shift = i128::from(r.src) - i128::from(r.dst);
                let end = r.dst.saturating_add(r.size);
                let first = pieces.partition_point(|p| p.dst.end <= r.dst);
                let mut seen = HashSet::new();
                let inside = pieces.iter().skip(first).take_while(|p| p.dst.start < end);
                let mut nodes: Vec<u32> =
                    inside.filter(|p| p.shift == shift).map(|p| p.node).filter(|&n| seen.insert(n)).collect();
                if nodes.is_empty() {
                    nodes.push(r.node);
                }
                RegionDump { src: r.src, dst: r.dst, size: r.size, merged: r.merged, nodes }
            })
            .collect()
    }
}

impl Pieces {
    /// The regions of one scatter with the uploads they came from.
    pub(super) fn scatters(
        &self,
        regions: impl Iterator<Item = ScatterRegion>,
        level: u32,
    ) -> Vec<ScatterRegionDump> {
        let one = |s: ScatterRegion| {
            let region = self.regions(&[s.region], level, s.from, s.to).pop()?;
            Some(ScatterRegionDump { from: s.from, to: s.to, region })
        };
        regions.filter_map(one).collect()
    }
}

/// Source buffer, destination buffer, first source byte, destination bytes.
fn ends(
    kind: NodeKindDump,
    uses: &[super::model::UseDump],
) -> Option<(BufferRef, BufferRef, u64, Range<u64>)> {
    let first = uses.first()?;
    let local = BufferRef::Local(first.resource);
    match kind {
        NodeKindDump::Upload { staging, offset } => {
            Some((BufferRef::Host(staging), local, offset, first.range.clone()))
        }
        NodeKindDump::Copy | NodeKindDump::Readback => {
            let second = uses.get(1)?;
            Some((local, BufferRef::Local(second.resource), first.range.start, second.range.clone()))
        }
        NodeKindDump::Pass | NodeKindDump::Fill { .. } => None,
    }
}

/// `range` without `cuts`.
pub(super) fn without(range: Range<u64>, cuts: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut cuts: Vec<&Range<u64>> = cuts.iter().collect();
    cuts.sort_by_key(|c| c.start);
    let mut out = Vec::new();
    let mut start = range.start;
    for cut in cuts {
        if start < cut.start.min(range.end) {
            out.push(start..cut.start.min(range.end));
        }
        start = start.max(cut.end);
    }
    if start < range.end {
        out.push(start..range.end);
    }
    out
}

/// Kept fills that became this command.
pub(super) fn fills(dump: &FrameDump, level: u32, to: BufferRef, range: &Range<u64>, value: u32) -> Vec<u32> {
    let wanted = |(_, n): &(usize, &super::model::NodeDump)| {
        n.level == Some(level)
            && n.kind == NodeKindDump::Fill { value }
            && n.uses.first().is_some_and(|u| {
                BufferRef::Local(u.resource) == to && u.range.start < range.end && range.start < u.range.end
            })
    };
    dump.nodes.iter().enumerate().filter(wanted).map(|(i, _)| at(i)).collect()
}

/// Trimmed parts, each with the later nodes that write them whole or in part.
pub(super) fn trimmed(dump: &FrameDump, graph: &FrameGraph, schedule: &Schedule) -> Vec<TrimmedDump> {
    if schedule.trimmed.is_empty() {
        return Vec::new();
    }
    // Kept overwrites by resource, in the order in which they are meant.
    let mut rank: HashMap<u32, usize> = HashMap::new();
    let mut by_resource: HashMap<u32, Vec<(usize, u32, Range<u64>)>> = HashMap::new();
    for (when, i) in graph.declaration_order().enumerate() {
        rank.insert(i, when);
        let Some(node) = dump.nodes.get(i as usize).filter(|n| n.level.is_some()) else { continue };
        for u in node.uses.iter().filter(|u| u.mode == Mode::Overwrite) {
            by_resource.entry(u.resource).or_default().push((when, i, u.range.clone()));
        }
    }
    let winners = |node: u32, range: &Range<u64>| -> Vec<u32> {
        let target = dump.nodes.get(node as usize).and_then(|n| n.uses.first()).map(|u| u.resource);
        let (Some(target), Some(&when)) = (target, rank.get(&node)) else { return Vec::new() };
        let later = by_resource.get(&target).map_or(&[][..], Vec::as_slice);
        let mut nodes: Vec<u32> = later
            .iter()
            .filter(|(w, _, r)| *w > when && r.start < range.end && range.start < r.end)
            .map(|(_, i, _)| *i)
            .collect();
        nodes.dedup();
        nodes
    };
    schedule
        .trimmed
        .iter()
        .map(|t| TrimmedDump { node: t.node, range: t.range.clone(), by: winners(t.node, &t.range) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn cutting_leaves_what_no_cut_covers() {
        let cut = |start, end, cuts: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let cuts: Vec<_> = cuts.iter().map(|&(a, b)| a..b).collect();
            without(start..end, &cuts).into_iter().map(|r| (r.start, r.end)).collect()
        };
        assert_eq!(cut(0, 10, &[]), [(0, 10)]);
        assert_eq!(cut(0, 10, &[(6, 8), (2, 4)]), [(0, 2), (4, 6), (8, 10)]);
        assert_eq!(cut(0, 10, &[(0, 10)]), []);
        assert_eq!(cut(0, 10, &[(0, 3), (2, 12)]), []);
        assert_eq!(cut(4, 10, &[(0, 5), (20, 30)]), [(5, 10)]);
    }
}
