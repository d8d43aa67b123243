//! Why a node was left out: what happens to its bytes later in the frame.

use super::painted::{NEVER, Painted, Seen};
use crate::frame::{FrameGraph, Mode};
use crate::planner::Positions;
use crate::planner::groups::Groups;
use crate::planner::resolve::{Resolved, ResolvedUse};
use crate::schedule::CullReason;

/// What later nodes do to the bytes of each resource: overwritten by a node that stays, or read by one that was left out
/// itself. Kept only from the first node that is left out: most frames have none.
#[derive(Debug, Default)]
pub(super) struct Why {
    begun: bool,
    painted: Painted,
}

impl Why {
    pub(super) fn clear(&mut self) {
        self.begun = false;
    }

    /// The node at `position` is left out. If it is the first, catches up on those after it, which all stay.
    pub(super) fn begin(
        &mut self,
        graph: &FrameGraph,
        positions: Positions,
        (resolved, groups): (&Resolved, &Groups),
        position: u32,
    ) {
        if self.begun {
            return;
        }
        self.begun = true;
        let uses_at = |position| resolved.uses_of(graph.entry(positions.node(position)));
        // Nobody asks for the buffers of grouped uploads.
        let parts = groups.positions().flat_map(uses_at).filter(|u| !u.whole);
        let cuts = parts.flat_map(|u| [(u.local, u.start), (u.local, u.end)]);
        self.painted.begin(resolved.locals.len(), cuts);
        for later in groups.positions().rev().take_while(|&later| later > position) {
            self.kept(later, uses_at(later));
        }
    }

    /// The node at a position stays.
    #[inline]
    pub(super) fn kept(&mut self, position: u32, uses: &[ResolvedUse]) {
        if self.begun {
            for u in uses.iter().filter(|u| u.mode == Mode::Overwrite) {
                self.painted.paint(u.local, u.start..u.end, Seen::overwritten(position));
            }
        }
    }

    /// The node at a position is left out.
    pub(super) fn culled(&mut self, position: u32, uses: &[ResolvedUse]) {
        for u in uses.iter().filter(|u| u.reads()) {
            self.painted.paint(u.local, u.start..u.end, Seen::read(position));
        }
    }

    /// What happens to the bytes that a node writes.
    pub(super) fn reason(&self, positions: Positions, uses: &[ResolvedUse]) -> CullReason {
        let (mut by, mut unread) = (None, None);
        for u in uses.iter().filter(|u| u.writes()) {
            let seen = self.painted.seen(u.local, u.start..u.end);
            if seen.reader != NEVER {
                return CullReason::OnlyCulledReaders { reader: positions.node(seen.reader) };
            }
            by = by.or((seen.by != NEVER).then_some(seen.by));
            unread = unread.or(seen.gap.then_some(u.local));
        }
        match (unread, by) {
            (Some(resource), _) => CullReason::Unread { resource },
            (None, Some(by)) => CullReason::Overwritten { by: positions.node(by) },
            (None, None) => CullReason::NoOutput,
        }
    }
}
