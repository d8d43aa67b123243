//! Phase 3: leaves out what nothing outside the frame can see, and the parts of uploads that later bytes replace.
//!
//! One walk from the last declaration to the first, keeping per resource the bytes that somebody later, or the
//! world after the frame, still needs. Culling is transitive by construction: a node that is left out adds nothing
//! to what is needed.

mod painted;
mod ranges;
mod why;

use super::Positions;
use super::groups::Groups;
use super::resolve::{Local, Resolved, ResolvedUse};
use crate::frame::{Entry, FrameGraph, Mode};
use crate::schedule::CullReason;
use ranges::Ranges;
use why::Why;

/// The outcome, and the memory the walk needs. Positions are those of the declaration order.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Per position: whether the node stays.
    pub(crate) keep: Vec<bool>,
    /// What was left out, last declaration first.
    pub(crate) culled: Vec<(u32, CullReason)>,
    /// Uploads that are needed in part only: position, and the ranges that stay, in any order.
    pub(crate) parts: Vec<Part>,
    live: Vec<Live>,
    why: Why,
}

impl Kept {
    fn clear(&mut self) {
        self.keep.clear();
        self.culled.clear();
        self.parts.clear();
        self.why.clear();
    }
}

/// A range of an upload that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) position: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The bytes of one resource that are still needed.
#[derive(Debug, Default)]
struct Live {
    extent: Extent,
    /// What is needed if it is `Parts`.
    ranges: Ranges,
}

/// How much of a resource is needed. Most are used as a whole, and need no ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Extent {
    #[default]
    Nothing,
    All,
    Parts,
}

impl Live {
    #[inline]
    fn intersects(&self, u: &ResolvedUse) -> bool {
        match self.extent {
            Extent::Nothing => false,
            Extent::All => true,
            Extent::Parts => self.ranges.intersects(u.start, u.end),
        }
    }

    #[inline]
    fn insert(&mut self, u: &ResolvedUse) {
        match self.extent {
            Extent::All => {}
            _ if u.whole => self.extent = Extent::All,
            extent => {
                if extent == Extent::Nothing {
                    self.ranges.clear();
                }
                self.extent = Extent::Parts;
                self.ranges.insert(u.start, u.end);
            }
        }
    }

    #[inline]
    fn remove(&mut self, u: &ResolvedUse, locals: &[Local]) {
        match self.extent {
            Extent::Nothing => {}
            _ if u.whole => self.extent = Extent::Nothing,
            _ => self.in_parts(u, locals).remove(u.start, u.end),
        }
    }

    /// Removes what an upload writes, and notes which ranges of it stay, if not all of it does. Returns whether any does.
    #[inline]
    fn take(&mut self, position: u32, u: &ResolvedUse, locals: &[Local], parts: &mut Vec<Part>) -> bool {
        match self.extent {
            Extent::Nothing => return false,
            Extent::All if u.whole => {
                self.extent = Extent::Nothing;
                return true;
            }
            _ => {}
        }
        let mut needed = false;
        self.in_parts(u, locals).take(u.start, u.end, |start, end| {
            needed = true;
            if (start, end) != (u.start, u.end) {
                parts.push(Part { position, start, end });
            }
        });
        needed
    }

    /// The ranges of what is needed of a resource, which is something.
    #[inline]
    fn in_parts(&mut self, u: &ResolvedUse, locals: &[Local]) -> &mut Ranges {
        if self.extent == Extent::All {
            self.ranges.clear();
            self.ranges.insert(0, locals[u.local as usize].size);
        }
        self.extent = Extent::Parts;
        &mut self.ranges
    }
}

/// Walks the frame backwards. Grouped uploads stay.
pub(crate) fn run(
    graph: &FrameGraph,
    positions: Positions,
    (resolved, groups): (&Resolved, &Groups),
    out: &mut Kept,
) {
    out.clear();
    out.keep.resize(graph.len(), true);
    if resolved.all_needed && groups.len as usize == graph.uploads.len() {
        return;
    }
    begin((resolved, groups), out);
    for position in groups.positions().rev() {
        let node_index = positions.node(position);
        let entry = graph.entry(node_index);
        let uses = resolved.uses_of(entry);
        let needed = match (entry, uses) {
            (Entry::Upload(_), [u]) => {
                let live = &mut out.live[u.local as usize];
                live.take(position, u, &resolved.locals, &mut out.parts)
            }
            _ => {
                let written = |u: &ResolvedUse| u.writes() && out.live[u.local as usize].intersects(u);
                let needed = entry.has_side_effects() || uses.iter().any(written);
                if needed {
                    need(uses, &resolved.locals, &mut out.live);
                }
                needed
            }
        };
        if !needed {
            out.why.begin(graph, positions, (resolved, groups), position);
            out.culled.push((node_index, out.why.reason(positions, uses)));
            out.why.culled(position, uses);
            continue;
        }
        out.keep[position as usize] = true;
        out.why.kept(position, uses);
    }
    out.parts.sort_unstable();
}

fn begin((resolved, groups): (&Resolved, &Groups), out: &mut Kept) {
    for &(begin, end) in &groups.walked {
        out.keep[begin as usize..end as usize].fill(false);
    }
    if out.live.len() < resolved.locals.len() {
        out.live.resize_with(resolved.locals.len(), Live::default);
    }
    for (live, local) in out.live.iter_mut().zip(&resolved.locals) {
        // A persistent resource is looked at after the frame; a transient is not.
        live.extent = if local.fresh { Extent::Nothing } else { Extent::All };
    }
}

/// Moves what is needed to before a kept node.
#[inline]
fn need(uses: &[ResolvedUse], locals: &[Local], live: &mut [Live]) {
    for u in uses.iter().filter(|u| u.mode == Mode::Overwrite) {
        live[u.local as usize].remove(u, locals);
    }
    for u in uses.iter().filter(|u| u.reads()) {
        live[u.local as usize].insert(u);
    }
}
