//! Says why each entry is there.

use super::ask::{unordered, unseen};
use super::{Calls, Frame};
use crate::coverage::{Coverage, EntryScopes};
use crate::planner::hazards::{Detail, Hazard, Source};
use crate::schedule::{Cause, HazardKind, Party, Schedule};
use std::ops::Range;

/// A hazard that asks for something of the current call.
#[derive(Debug)]
pub(super) struct PendingCause {
    hazard: Hazard,
    detail: Detail,
    consumer: Party,
    need: EntryScopes,
    /// Stages to chain from.
    chain: u64,
}

impl Calls {
    /// Notes what every hazard of a level needs, before the call begins to serve them.
    pub(super) fn pend_causes(&mut self, frame: Frame<'_>, level: u32, host: bool, cover: &Coverage) {
        let hazards = frame.hazards;
        for &position in frame.levels.nodes(level) {
            let consumer = Party::Node(frame.positions.node(position));
            let begin = hazards.details_begin[position as usize] as usize;
            let end = hazards.details_begin[position as usize + 1] as usize;
            for (hazard, detail) in &hazards.details[begin..end] {
                self.pend(frame, cover, hazard, detail, consumer);
            }
        }
        for index in frame.levels.details(level) {
            let (position, (hazard, detail)) = &hazards.grouped.details()[index as usize];
            self.pend(frame, cover, hazard, detail, Party::Node(frame.positions.node(*position)));
        }
        if host {
            for (hazard, detail) in hazards.host.iter().zip(&hazards.host_details) {
                self.pend(frame, cover, hazard, detail, Party::Host);
            }
        }
    }

    fn pend(
        &mut self,
        frame: Frame<'_>,
        cover: &Coverage,
        hazard: &Hazard,
        detail: &Detail,
        consumer: Party,
    ) {
        let level = frame.level_of(hazard.src());
        let mut need = EntryScopes::default();
        let mut chain = 0;
        for u in unseen(frame.pairs, cover, level, hazard) {
            need.src_writes.insert(u.write);
            need.dst_atoms = need.dst_atoms.union(u.to);
            chain |= u.from;
        }
        for u in unordered(frame.pairs, cover, level, hazard) {
            need.src_stages |= u.via;
            need.dst_stages |= u.to;
        }
        if need != EntryScopes::default() {
            let (hazard, detail) = (*hazard, detail.clone());
            self.pending_causes.push(PendingCause { hazard, detail, consumer, need, chain });
        }
    }

    /// Says which entries serve each hazard of the call.
    pub(super) fn name_causes(&mut self, frame: Frame<'_>, entries: Range<u32>, schedule: &mut Schedule) {
        for pending in self.pending_causes.drain(..) {
            let PendingCause { hazard, need, chain, .. } = &pending;
            let earlier =
                matches!(hazard.src(), Source::Earlier(_)) && hazard.kind() != HazardKind::WriteAfterRead;
            let mut widened = self.widened.iter().filter(|w| earlier && need.src_writes.contains(w.0));
            if let Some(&(_, entry)) = widened.next() {
                schedule.causes.push(pending.cause(frame, entry));
                continue;
            }
            let serves = |e: &EntryScopes| {
                let memory = e.dst_atoms.intersects(&need.dst_atoms)
                    && (e.src_writes.intersects(&need.src_writes) || e.src_stages & chain != 0);
                let exec = e.src_stages & need.src_stages != 0 && e.dst_stages & need.dst_stages != 0;
                memory || exec
            };
            for entry in entries.clone().filter(|&e| serves(&self.scopes[e as usize])) {
                schedule.causes.push(pending.cause(frame, entry));
            }
        }
    }
}

impl PendingCause {
    fn cause(&self, frame: Frame<'_>, entry: u32) -> Cause {
        let PendingCause { hazard, detail, consumer, .. } = self;
        Cause {
            entry,
            kind: hazard.kind(),
            resource: detail.local,
            range: detail.range.clone(),
            producer: match hazard.src() {
                Source::Node(position) => Party::Node(frame.positions.node(position)),
                Source::Earlier(_) => Party::EarlierFrame,
            },
            producer_access: frame.pairs.get(hazard.src_pair()).access,
            consumer: *consumer,
            consumer_access: frame.pairs.get(hazard.dst_pair()).access,
            coarsened: detail.coarsened,
        }
    }
}
