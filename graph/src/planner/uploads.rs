//! Phase 4: chooses how uploads travel, before hazards ask by which access they write. The rule stands in
//! [`crate::uploads`].

use super::Positions;
use super::cull::Kept;
use super::groups::{Group, Groups};
use super::resolve::Resolved;
use crate::access::Access;
use crate::frame::{Entry, FrameGraph};
use crate::pairs::PairTable;
use crate::resource::HostSlice;
use crate::uploads::{UploadChoice, UploadRule};
use std::ops::Range;

/// The access of an upload that is scattered: what its shader does to the destination.
pub(crate) const SCATTER_WRITE: Access = Access::COMPUTE_STORAGE_WRITE;

/// Uploads that become one region.
#[derive(Clone, Copy)]
struct Run {
    uploads: u32,
    local: u32,
    /// Where it ends at its destination, and in staging memory.
    end_to: u64,
    end_from: HostSlice,
    size: u64,
}

impl Run {
    fn new(local: u32, to: Range<u64>, from: HostSlice) -> Self {
        let size = to.end - to.start;
        let end_from = HostSlice { offset: from.offset + size, ..from };
        Run { uploads: 1, local, end_to: to.end, end_from, size }
    }

    /// Whether an upload continues the run; it is part of it then.
    fn take(&mut self, next: Run) -> bool {
        let from = HostSlice { offset: next.end_from.offset - next.size, ..next.end_from };
        let continues =
            (next.local, from, next.end_to - next.size) == (self.local, self.end_from, self.end_to);
        if continues {
            self.uploads += 1;
            self.end_to = next.end_to;
            self.end_from = next.end_from;
            self.size += next.size;
        }
        continues
    }
}

/// What the uploads to one resource cost, in picoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    uploads: u32,
    regions: u32,
    bytes: u64,
    copied: u64,
    scattered: u64,
}

/// The memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// By group.
    grouped: Vec<Costs>,
    /// By local resource, if uploads are walked.
    walked: Vec<Costs>,
}

/// Gives uploads that are scattered the access of the shader.
pub(crate) fn run(
    (graph, positions): (&FrameGraph, Positions),
    (groups, kept): (&Groups, &Kept),
    rule: UploadRule,
    pairs: &mut PairTable,
    (resolved, scratch): (&mut Resolved, &mut Uploads),
) -> UploadChoice {
    let mut choice = UploadChoice { rule, ..UploadChoice::default() };
    if rule == UploadRule::Copy {
        return choice;
    }
    scratch.grouped.clear();
    scratch.grouped.extend(groups.groups.iter().map(|group| {
        let of = of_group(groups, group, rule);
        if of.is_worth(rule) {
            choice.count(&of, resolved.locals[group.local as usize].scatter);
        }
        of
    }));
    scratch.walk((graph, positions), (groups, kept), resolved);
    for (of, local) in scratch.walked.iter_mut().zip(&resolved.locals) {
        of.price(rule);
        if of.is_worth(rule) {
            choice.count(of, local.scatter);
        }
    }
    if !choice.scatters() {
        return choice;
    }
    resolved.upload_pairs[1] = pairs.intern(SCATTER_WRITE);
    let grouped = groups.groups.iter().map(|group| group.local as usize).zip(&scratch.grouped);
    for (local, of) in grouped.chain(scratch.walked.iter().enumerate()) {
        let local = &mut resolved.locals[local];
        if local.scatter && of.is_worth(rule) {
            local.scattered = true;
            choice.scattered += of.uploads;
        }
    }
    // Grouped uploads are told by their buffer.
    for position in groups.positions() {
        if let Entry::Upload(number) = graph.entry(positions.node(position)) {
            let u = &mut resolved.uploads[number];
            u.pair = resolved.upload_pairs[usize::from(resolved.locals[u.local as usize].scattered)];
        }
    }
    choice
}

/// What a group costs.
#[inline]
fn of_group(groups: &Groups, group: &Group, rule: UploadRule) -> Costs {
    let regions = groups.of(group);
    let mut of = Costs { uploads: group.uploads, bytes: group.bytes, ..Costs::default() };
    of.regions = regions.len() as u32;
    let mut last: Option<Run> = None;
    // Those that are alone are joined already.
    let single = if groups.alone { &[][..] } else { regions };
    for (index, u) in group.range().zip(single) {
        let from = HostSlice { buffer: groups.host(index), offset: u.src };
        let next = Run::new(group.local, u.dst..u.dst + u.size, from);
        if last.as_mut().is_some_and(|run| run.take(next)) {
            of.regions -= 1;
        } else {
            last = Some(next);
        }
    }
    of.price(rule);
    of
}

impl Uploads {
    /// Adds up the uploads that are walked.
    fn walk(
        &mut self,
        (graph, positions): (&FrameGraph, Positions),
        (groups, kept): (&Groups, &Kept),
        resolved: &Resolved,
    ) {
        self.walked.clear();
        if groups.alone {
            return;
        }
        self.walked.resize(resolved.locals.len(), Costs::default());
        let walked = groups.positions().filter(|&p| kept.keep[p as usize]);
        let walked = walked.filter_map(|position| {
            let Entry::Upload(number) = graph.entry(positions.node(position)) else { return None };
            let u = &resolved.uploads[number];
            Some(Run::new(u.local, u.start..u.end, graph.upload_from(&graph.uploads[number])))
        });
        each_run(walked, &mut |run| {
            let of = &mut self.walked[run.local as usize];
            of.uploads += run.uploads;
            of.regions += 1;
            of.bytes = of.bytes.saturating_add(run.size);
        });
    }
}

impl Costs {
    /// Works out what the regions cost.
    fn price(&mut self, rule: UploadRule) {
        let UploadRule::Cheapest(costs) = rule else { return };
        (self.copied, self.scattered) = costs.of_regions(self.regions, self.bytes);
    }

    fn is_worth(&self, rule: UploadRule) -> bool {
        match rule {
            UploadRule::Copy => false,
            UploadRule::Scatter => self.uploads > 0,
            UploadRule::Cheapest(_) => self.copied > self.scattered,
        }
    }
}

impl UploadChoice {
    /// Adds the uploads to a buffer, which are worth scattering.
    fn count(&mut self, of: &Costs, reached: bool) {
        if !reached {
            self.out_of_reach += of.uploads;
            return;
        }
        self.regions += of.regions;
        self.as_copies = self.as_copies.saturating_add(of.copied);
        self.as_scatter = self.as_scatter.saturating_add(of.scattered);
    }

    /// Whether to scatter what is worth it: adds the dispatch's own cost.
    fn scatters(&mut self) -> bool {
        match self.rule {
            UploadRule::Cheapest(costs) if self.regions > 0 => {
                self.as_scatter = self.as_scatter.saturating_add(costs.scatter);
                self.as_scatter < self.as_copies
            }
            UploadRule::Scatter => self.regions > 0,
            _ => false,
        }
    }
}

/// Calls `f` with each run of uploads.
fn each_run(uploads: impl Iterator<Item = Run>, f: &mut impl FnMut(&Run)) {
    let mut open: Option<Run> = None;
    for next in uploads {
        if !open.as_mut().is_some_and(|run| run.take(next)) {
            open.replace(next).iter().for_each(&mut *f);
        }
    }
    open.iter().for_each(f);
}
