//! Phase 3: chooses how uploads travel, before hazards ask by which access they write. The rule stands in
//! [`crate::uploads`].

use super::Positions;
use super::cull::Kept;
use super::resolve::{Resolved, ResolvedUse};
use crate::access::Access;
use crate::frame::{FrameGraph, NodeKind};
use crate::pairs::PairTable;
use crate::resource::HostSlice;
use crate::uploads::{UploadChoice, UploadRule};

/// The access of an upload that is scattered: what its shader does to the destination.
pub(crate) const SCATTER_WRITE: Access = Access::COMPUTE_STORAGE_WRITE;

/// Uploads that become one region.
#[derive(Clone, Copy)]
struct Run {
    /// The first node, and one past the last.
    begin: u32,
    end: u32,
    local: u32,
    /// Where it ends at its destination, and in staging memory.
    end_to: u64,
    end_from: HostSlice,
    size: u64,
}

impl Run {
    fn new(node: u32, u: &ResolvedUse, from: HostSlice) -> Self {
        let size = u.end - u.start;
        let end_from = HostSlice { offset: from.offset + size, ..from };
        Run { begin: node, end: node + 1, local: u.local, end_to: u.end, end_from, size }
    }

    /// Whether an upload continues the run; it is part of it then.
    fn take(&mut self, next: Run) -> bool {
        let from = HostSlice { offset: next.end_from.offset - next.size, ..next.end_from };
        let continues = (next.begin, next.local, from) == (self.end, self.local, self.end_from)
            && next.end_to - next.size == self.end_to;
        if continues {
            self.end = next.end;
            self.end_to = next.end_to;
            self.end_from = next.end_from;
            self.size += next.size;
        }
        continues
    }
}

/// Gives uploads that are scattered the access of the shader.
pub(crate) fn run(
    graph: &FrameGraph,
    positions: Positions,
    kept: &Kept,
    rule: UploadRule,
    pairs: &mut PairTable,
    resolved: &mut Resolved,
) -> UploadChoice {
    let mut choice = UploadChoice { rule, ..UploadChoice::default() };
    resolved.scatter = None;
    if rule == UploadRule::Copy || resolved.locals.iter().all(|l| l.uploads == 0) {
        return choice;
    }
    let worth = |size| match rule {
        UploadRule::Cheapest(costs) => {
            let (copied, scattered) = costs.of_region(size);
            copied > scattered
        }
        _ => true,
    };
    let mut runs = std::mem::take(&mut resolved.runs);
    runs.clear();
    each_run((graph, positions, kept), resolved, |run| {
        if !worth(run.size) {
        } else if resolved.locals[run.local as usize].scatter {
            choice.count(run.size);
            runs.push((run.begin, run.end));
        } else {
            choice.out_of_reach += run.end - run.begin;
        }
    });
    if choice.scatters() {
        let pair = pairs.intern(SCATTER_WRITE);
        resolved.scatter = Some(pair);
        for &(begin, end) in &runs {
            choice.scattered += end - begin;
            for node in &graph.nodes[begin as usize..end as usize] {
                resolved.uses[node.uses.0 as usize].pair = pair;
            }
        }
    }
    resolved.runs = runs;
    choice
}

impl UploadChoice {
    /// Adds a region that is worth scattering.
    fn count(&mut self, size: u64) {
        self.regions += 1;
        if let UploadRule::Cheapest(costs) = self.rule {
            let (copied, scattered) = costs.of_region(size);
            self.as_copies = self.as_copies.saturating_add(copied);
            self.as_scatter = self.as_scatter.saturating_add(scattered);
        }
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

/// Calls `f` with each run of kept uploads.
fn each_run(
    (graph, positions, kept): (&FrameGraph, Positions, &Kept),
    resolved: &Resolved,
    mut f: impl FnMut(&Run),
) {
    let mut open: Option<Run> = None;
    for (node, index) in graph.nodes.iter().zip(0u32..) {
        let NodeKind::Upload { from } = node.kind else { continue };
        if !kept.keep[positions.of(index) as usize] {
            continue;
        }
        let next = Run::new(index, &resolved.uses[node.uses.0 as usize], from);
        if !open.as_mut().is_some_and(|run| run.take(next)) {
            open.replace(next).iter().for_each(&mut f);
        }
    }
    open.iter().for_each(f);
}
