//! Why a node was left out: what happens to its bytes later in the frame.

use super::Ranges;
use crate::frame::{FrameGraph, Mode};
use crate::planner::Positions;
use crate::planner::resolve::{Resolved, ResolvedUse};
use crate::schedule::CullReason;

const NONE: u32 = u32::MAX;

/// What later nodes do to the bytes of each resource. Kept only from the first node that is left out: most frames
/// have none.
#[derive(Debug, Default)]
pub(super) struct Why {
    begun: bool,
    events: Vec<Event>,
    /// Per resource: the event that comes first in the frame.
    first: Vec<u32>,
    left: Ranges,
}

#[derive(Debug)]
struct Event {
    start: u64,
    end: u64,
    node: u32,
    /// Overwritten by a node that stays, or read by one that was left out itself.
    overwrites: bool,
    /// The next of the resource, later in the frame.
    next: u32,
}

impl Why {
    pub(super) fn clear(&mut self) {
        self.begun = false;
        self.events.clear();
        self.first.clear();
    }

    /// The node at `position` is left out. If it is the first, catches up on those after it, which all stay.
    pub(super) fn begin(
        &mut self,
        graph: &FrameGraph,
        positions: Positions,
        resolved: &Resolved,
        keep: &[bool],
        position: u32,
    ) {
        if self.begun {
            return;
        }
        self.begun = true;
        self.first.resize(resolved.locals.len(), NONE);
        for later in (position + 1..positions.len()).rev().filter(|&p| keep[p as usize]) {
            let index = positions.node(later);
            self.kept(index, resolved.uses_of(graph.entry(index)));
        }
    }

    pub(super) fn kept(&mut self, node: u32, uses: &[ResolvedUse]) {
        if self.begun {
            uses.iter().filter(|u| u.mode == Mode::Overwrite).for_each(|u| self.push(node, u, true));
        }
    }

    pub(super) fn culled(&mut self, node: u32, uses: &[ResolvedUse]) {
        uses.iter().filter(|u| u.reads()).for_each(|u| self.push(node, u, false));
    }

    fn push(&mut self, node: u32, u: &ResolvedUse, overwrites: bool) {
        let first = &mut self.first[u.local as usize];
        self.events.push(Event { start: u.start, end: u.end, node, overwrites, next: *first });
        *first = (self.events.len() - 1) as u32;
    }

    /// Follows the bytes that a node writes, from event to event.
    pub(super) fn reason(&mut self, uses: &[ResolvedUse]) -> CullReason {
        let (mut by, mut unread) = (None, None);
        for u in uses.iter().filter(|u| u.writes()) {
            self.left.clear();
            self.left.insert(u.start, u.end);
            let mut at = self.first[u.local as usize];
            while let Some(event) = self.events.get(at as usize).filter(|_| !self.left.is_empty()) {
                at = event.next;
                if !self.left.intersects(event.start, event.end) {
                    continue;
                }
                if !event.overwrites {
                    return CullReason::OnlyCulledReaders { reader: event.node };
                }
                by.get_or_insert(event.node);
                self.left.remove(event.start, event.end);
            }
            if !self.left.is_empty() {
                unread.get_or_insert(u.local);
            }
        }
        match (unread, by) {
            (Some(resource), _) => CullReason::Unread { resource },
            (None, Some(by)) => CullReason::Overwritten { by },
            (None, None) => CullReason::NoOutput,
        }
    }
}
