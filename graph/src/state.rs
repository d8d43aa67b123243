//! Where earlier frames left each persistent resource, and what barriers already cover.

mod coarsening;
mod left;
mod overwrite;

use crate::access::{Queue, Stages};
use crate::coverage::Coverage;
use crate::pairs::{PairId, PairTable};
use crate::resource::{BufferDesc, ResourceId};
use coarsening::Coarsening;
pub(crate) use left::{Leaving, Left, Part};
use overwrite::Pieces;
pub(crate) use overwrite::{By, Written};
use slotmap::{Key, KeyData, SlotMap};
use smallvec::SmallVec;
use std::sync::Arc;

slotmap::new_key_type! { struct Slot; }

impl From<Slot> for ResourceId {
    fn from(slot: Slot) -> Self {
        let raw = slot.data().as_ffi();
        ResourceId { index: raw as u32, version: (raw >> 32) as u32 }
    }
}

impl From<ResourceId> for Slot {
    fn from(id: ResourceId) -> Self {
        KeyData::from_ffi(u64::from(id.version) << 32 | u64::from(id.index)).into()
    }
}

/// What outlives a frame: the persistent resources, where earlier frames left each byte range of them, and which
/// dependencies the barriers of earlier frames cover already.
///
/// Only [`Planner::commit`](crate::Planner::commit) moves it on. A frame that is planned and not committed leaves no trace.
#[derive(Debug)]
pub struct GraphState {
    /// No other has it.
    pub(crate) identity: u64,
    resources: SlotMap<Slot, Persistent>,
    pub(crate) pairs: PairTable,
    pub(crate) cover: Coverage,
    /// The level the next frame begins at.
    pub(crate) next_level: u64,
    /// Counts commits, so that a plan knows whether another came between.
    pub(crate) commits: u64,
    /// Counts buffers taken out.
    pub(crate) removals: u64,
    /// What the last frames left and is not entered yet, and the level the last of them began at.
    owed: Option<(Arc<Left>, u64)>,
    spare: Ranges,
    max_ranges: usize,
    coarsening: Coarsening,
    pieces: Pieces,
}

/// One resource.
#[derive(Debug)]
pub(crate) struct Persistent {
    pub(crate) desc: BufferDesc,
    /// Ascending by `start`, the first at 0; each ends where the next begins.
    pub(crate) ranges: Ranges,
}

pub(crate) type Ranges = SmallVec<[RangeState; 1]>;
pub(crate) type Marks = SmallVec<[Mark; 2]>;

/// An access of an earlier frame, and the level it happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) pair: PairId,
    pub(crate) level: u64,
}

/// Whether bytes were ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    No,
    Yes,
    /// Written and unwritten bytes were merged; nothing is said about them.
    Mixed,
}

/// Where earlier frames left a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeState {
    pub(crate) start: u64,
    pub(crate) init: Init,
    /// Ranges that differed were merged: the marks may name bytes nobody touched.
    pub(crate) coarsened: bool,
    /// The last writes; one, unless ranges were merged.
    pub(crate) writes: Marks,
    /// The newest read since by each access.
    pub(crate) reads: Marks,
}

impl RangeState {
    fn untouched(initialized: bool) -> Self {
        RangeState {
            start: 0,
            init: if initialized { Init::Yes } else { Init::No },
            coarsened: false,
            writes: Marks::new(),
            reads: Marks::new(),
        }
    }

    /// What is left of a range once it is written.
    fn written(start: u64, mark: Mark) -> Self {
        let mut writes = Marks::new();
        writes.push(mark);
        RangeState { start, init: Init::Yes, coarsened: false, writes, reads: Marks::new() }
    }

    /// Takes in a write of all of it.
    #[inline]
    pub(crate) fn overwrite(&mut self, mark: Mark) {
        self.rewrite(mark);
        if !self.reads.is_empty() {
            self.reads.clear();
        }
    }

    /// The same, but for the reads, which are over.
    #[inline]
    pub(crate) fn rewrite(&mut self, mark: Mark) {
        match self.writes.as_mut_slice() {
            [only] => *only = mark,
            _ => {
                self.writes.clear();
                self.writes.push(mark);
            }
        }
        self.init = Init::Yes;
        self.coarsened = false;
    }

    /// The same from another byte on.
    fn from(&self, start: u64) -> Self {
        // Not by `clone`, which takes the marks one by one.
        RangeState {
            start,
            writes: Marks::from_slice(&self.writes),
            reads: Marks::from_slice(&self.reads),
            ..*self
        }
    }

    /// Whether two neighbours say the same.
    fn same(&self, other: &Self) -> bool {
        self.init == other.init
            && self.coarsened == other.coarsened
            && self.writes == other.writes
            && self.reads == other.reads
    }

    /// Takes in a neighbour that differs: all marks of both, for all bytes of both.
    fn absorb(&mut self, other: &Self) {
        for mark in &other.writes {
            note(&mut self.writes, *mark);
        }
        for mark in &other.reads {
            note(&mut self.reads, *mark);
        }
        if self.init != other.init {
            self.init = Init::Mixed;
        }
        self.coarsened = true;
    }
}

/// Adds a mark; of two by the same access the newer stays.
#[inline]
pub(crate) fn note(marks: &mut Marks, mark: Mark) {
    match marks.as_mut_slice() {
        [] => marks.push(mark),
        [one] if one.pair == mark.pair => one.level = one.level.max(mark.level),
        _ => note_another(marks, mark),
    }
}

fn note_another(marks: &mut Marks, mark: Mark) {
    match marks.iter_mut().find(|m| m.pair == mark.pair) {
        Some(known) => known.level = known.level.max(mark.level),
        None => {
            marks.push(mark);
            marks.sort_unstable();
        }
    }
}

impl Default for GraphState {
    fn default() -> Self {
        Self::new()
    }
}

impl GraphState {
    /// Most ranges a buffer keeps between frames, unless [`with_max_ranges`](Self::with_max_ranges) says otherwise.
    pub const DEFAULT_MAX_RANGES: usize = 256;

    /// No resources, nothing run yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_ranges(Self::DEFAULT_MAX_RANGES)
    }

    /// Like [`new`](Self::new), with another limit on the ranges a buffer keeps between frames (at least 1). Beyond
    /// it the cheapest neighbours merge conservatively: more is synchronized, never less.
    /// Where uploads alone write more places of a buffer than that in one frame, they are drawn together across gaps of up to
    /// four times `size / max_ranges` bytes.
    #[must_use]
    pub fn with_max_ranges(max_ranges: usize) -> Self {
        Self::for_device(Stages::all(), max_ranges)
    }

    /// Like [`with_max_ranges`](Self::with_max_ranges), for a device whose queue runs only these stages (and transfers,
    /// which each does). Umbrella stages stand for those of them only, so that no barrier names another; a pass that names
    /// another itself is an error.
    ///
    /// `stages` holds an umbrella bit where the queue knows it: `ALL_GRAPHICS` and `VERTEX_INPUT` if it draws.
    /// [`Queue::supported_stages`] without those of [`Stages::OPTIONAL`] that the device was not made with is right.
    #[must_use]
    pub fn for_device(stages: Stages, max_ranges: usize) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static IDENTITY: AtomicU64 = AtomicU64::new(0);
        GraphState {
            identity: IDENTITY.fetch_add(1, Ordering::Relaxed),
            resources: SlotMap::with_key(),
            pairs: PairTable::new(stages | Queue::Transfer.supported_stages()),
            cover: Coverage::default(),
            next_level: 1,
            commits: 0,
            removals: 0,
            owed: None,
            spare: Ranges::new(),
            max_ranges: max_ranges.max(1),
            coarsening: Coarsening::default(),
            pieces: Pieces::default(),
        }
    }

    /// Registers a buffer.
    pub fn add_buffer(&mut self, desc: BufferDesc) -> ResourceId {
        let ranges = SmallVec::from_elem(RangeState::untouched(desc.initialized), 1);
        self.resources.insert(Persistent { desc, ranges }).into()
    }

    /// Takes a buffer out. Its id is stale from now on.
    pub fn remove(&mut self, id: ResourceId) -> Option<BufferDesc> {
        self.removals += 1;
        self.resources.remove(id.into()).map(|p| p.desc)
    }

    /// The description of a buffer; `None` if the id is stale.
    #[must_use]
    pub fn buffer(&self, id: ResourceId) -> Option<&BufferDesc> {
        self.resources.get(id.into()).map(|p| &p.desc)
    }

    /// Number of registered buffers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether no buffer is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Number of byte ranges kept about a buffer; 1 while it is used as a whole.
    #[must_use]
    pub fn range_count(&self, id: ResourceId) -> usize {
        self.get(id).map_or(0, |p| p.ranges.len())
    }

    pub(crate) fn get(&self, id: ResourceId) -> Option<&Persistent> {
        self.resources.get(id.into())
    }

    /// Replaces what is known of a resource, merging equal neighbours and keeping to the limit. `ranges` is left
    /// with the old ones, to be reused.
    pub(crate) fn set_ranges(&mut self, id: ResourceId, ranges: &mut Ranges) {
        let Some(persistent) = self.resources.get_mut(id.into()) else { return };
        ranges.dedup_by(|next, kept| kept.same(next));
        if ranges.len() > self.max_ranges {
            self.coarsening.run(ranges, persistent.desc.size, self.max_ranges);
        }
        std::mem::swap(&mut persistent.ranges, ranges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u64, level: u64) -> RangeState {
        let mut r = RangeState::untouched(true);
        r.start = start;
        note(&mut r.writes, Mark { pair: 1, level });
        r
    }

    #[test]
    fn ids_survive_the_way_through_the_slot_map() {
        let mut s = GraphState::new();
        let a = s.add_buffer(BufferDesc::new("a", 4, crate::BufferUsage::STORAGE));
        let b = s.add_buffer(BufferDesc::new("b", 4, crate::BufferUsage::STORAGE));
        assert_eq!(s.buffer(b).map(|d| &*d.name), Some("b"));
        s.remove(a);
        assert!(s.buffer(a).is_none());
        let c = s.add_buffer(BufferDesc::new("c", 4, crate::BufferUsage::STORAGE));
        assert_eq!(c.index(), a.index(), "slots are reused");
        assert!(s.buffer(a).is_none(), "but the old id stays stale");
    }

    #[test]
    fn beyond_the_limit_the_smallest_neighbours_merge_and_say_so() {
        let mut ranges: Ranges = [at(0, 1), at(100, 2), at(104, 3), at(200, 4)].into_iter().collect();
        Coarsening::default().run(&mut ranges, 300, 3);
        let starts: Vec<u64> = ranges.iter().map(|r| r.start).collect();
        assert_eq!(starts, [0, 104, 200]);
        assert!(ranges[0].coarsened);
        assert_eq!(ranges[0].writes[0].level, 2, "the newer mark stays");
    }

    #[test]
    fn equal_neighbours_merge() {
        let mut s = GraphState::new();
        let id = s.add_buffer(BufferDesc::new("a", 300, crate::BufferUsage::STORAGE));
        let mut ranges: Ranges = [at(0, 1), at(100, 1), at(200, 2)].into_iter().collect();
        s.set_ranges(id, &mut ranges);
        assert_eq!(s.range_count(id), 2);
    }
}
