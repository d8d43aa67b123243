//! What a frame leaves in its resources.
//!
//! Frames of one plan, one after the other, leave the same in the same places, later. So it need not be entered for each of
//! them: the state owes it until somebody looks, and the last frame's is then all there is to enter.

use super::{By, GraphState, Mark, RangeState, Written, note};
use crate::pairs::PairId;
use crate::resource::ResourceId;
use std::sync::Arc;

/// What is left in a range of bytes, from its start to where the next begins.
pub(crate) trait Part {
    fn start(&self) -> u64;
}

/// All that a frame leaves in its resources.
#[derive(Debug, Default)]
pub(crate) struct Left {
    groups: Vec<Group>,
    written: Vec<Written>,
    resources: Vec<Resource>,
    parts: Vec<LeftPart>,
    reads: Vec<Leaving>,
}

/// Writes to one resource that nothing read: so many of `written`.
#[derive(Clone, Copy, Debug)]
struct Group {
    id: ResourceId,
    pair: PairId,
    len: u32,
}

/// What is left in one resource: so many of `parts`.
#[derive(Clone, Copy, Debug)]
struct Resource {
    id: ResourceId,
    len: u32,
}

/// The write to a range, and where in `reads` the reads since are.
#[derive(Clone, Copy, Debug)]
struct LeftPart {
    start: u64,
    write: Option<Leaving>,
    reads: (u32, u32),
}

/// An access at a level of the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(crate) level: u32,
    pub(crate) pair: PairId,
}

impl Leaving {
    #[inline]
    fn mark(self, base: u64) -> Mark {
        Mark { pair: self.pair, level: base + u64::from(self.level) }
    }
}

impl Part for LeftPart {
    fn start(&self) -> u64 {
        self.start
    }
}

impl Left {
    pub(crate) fn clear(&mut self) {
        self.groups.clear();
        self.written.clear();
        self.resources.clear();
        self.parts.clear();
        self.reads.clear();
    }

    /// Writes to a resource that nothing read, ascending and disjoint.
    pub(crate) fn push_group(
        &mut self,
        id: ResourceId,
        pair: PairId,
        written: impl Iterator<Item = Written>,
    ) {
        let before = self.written.len();
        self.written.extend(written);
        self.groups.push(Group { id, pair, len: (self.written.len() - before) as u32 });
    }

    /// A resource, of which so many parts follow.
    pub(crate) fn push_resource(&mut self, id: ResourceId, len: usize) {
        self.resources.push(Resource { id, len: len as u32 });
    }

    /// A part: its write, and the reads since, of which the last by each access stays.
    pub(crate) fn push_part(
        &mut self,
        start: u64,
        write: Option<Leaving>,
        reads: impl Iterator<Item = Leaving>,
    ) {
        let begin = self.reads.len();
        for read in reads {
            match self.reads[begin..].iter_mut().find(|known| known.pair == read.pair) {
                Some(known) => known.level = known.level.max(read.level),
                None => self.reads.push(read),
            }
        }
        self.parts.push(LeftPart { start, write, reads: (begin as u32, self.reads.len() as u32) });
    }

    /// Enters it, for a frame that began at level `base`.
    pub(crate) fn enter(&self, state: &mut GraphState, base: u64) {
        let mut written = self.written.as_slice();
        for group in &self.groups {
            let (these, rest) = written.split_at(group.len as usize);
            written = rest;
            let by = By { pair: group.pair, base };
            if let [one] = these
                && state.overwrite_one(group.id, by, *one)
            {
                continue;
            }
            state.overwrite(group.id, by, these.iter().copied());
        }
        let enter = |part: &LeftPart, range: &mut RangeState| {
            if let Some(write) = part.write {
                range.overwrite(write.mark(base));
            }
            let (begin, end) = part.reads;
            let reads = self.reads.get(begin as usize..end as usize).unwrap_or(&[]);
            reads.iter().for_each(|read| note(&mut range.reads, read.mark(base)));
        };
        let mut parts = self.parts.as_slice();
        for resource in &self.resources {
            let (these, rest) = parts.split_at(resource.len as usize);
            parts = rest;
            state.lay(resource.id, these, enter);
        }
    }
}

impl GraphState {
    /// Owes what a frame leaves that began at level `base`; what it owes already is of frames of the same plan, or entered
    /// first.
    pub(crate) fn owe(&mut self, left: &Arc<Left>, base: u64) {
        match &mut self.owed {
            Some((known, of)) if Arc::ptr_eq(known, left) => *of = base,
            _ => {
                self.settle();
                self.owed = Some((Arc::clone(left), base));
            }
        }
    }

    /// Enters what is owed. To be called before anybody looks at ranges or moves them.
    pub(crate) fn settle(&mut self) {
        if let Some((left, base)) = self.owed.take() {
            left.enter(self, base);
        }
    }

    /// Lays what a frame left over the ranges of a resource: `enter` takes a part of it in.
    #[inline]
    pub(crate) fn lay<T: Part>(&mut self, id: ResourceId, parts: &[T], enter: impl Fn(&T, &mut RangeState)) {
        let Some(persistent) = self.resources.get_mut(id.into()) else { return };
        if let ([part], [range]) = (parts, persistent.ranges.as_mut_slice()) {
            enter(part, range);
            return;
        }
        if parts.is_empty() {
            return;
        }
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        let old = persistent.ranges.as_slice();
        let (mut p, mut r) = (0, 0);
        let mut start = 0;
        loop {
            let part_end = parts.get(p + 1).map(Part::start);
            let range_end = old.get(r + 1).map(|n| n.start);
            let mut range = RangeState { start, ..old[r].clone() };
            enter(&parts[p], &mut range);
            spare.push(range);
            let end = match (part_end, range_end) {
                (Some(a), Some(b)) => a.min(b),
                (Some(a), None) | (None, Some(a)) => a,
                (None, None) => break,
            };
            p += usize::from(part_end == Some(end));
            r += usize::from(range_end == Some(end));
            start = end;
        }
        self.set_ranges(id, &mut spare);
        self.spare = spare;
    }
}
