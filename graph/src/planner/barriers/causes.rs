//! Says why each entry is there.

use super::Calls;
use crate::coverage::EntryScopes;
use crate::pairs::PairTable;
use crate::planner::Positions;
use crate::planner::hazards::{Detail, Hazard, Source};
use crate::schedule::{Cause, Party, Schedule};

/// A hazard that asked for something of the current call.
#[derive(Debug)]
pub(super) struct PendingCause {
    pub(super) hazard: Hazard,
    pub(super) detail: Detail,
    pub(super) consumer: Party,
    pub(super) need: EntryScopes,
    pub(super) chain: u64,
}

impl Calls {
    /// Says which entries serve each hazard of the call.
    pub(super) fn name_causes(
        &mut self,
        pairs: &PairTable,
        positions: Positions,
        entries: std::ops::Range<u32>,
        schedule: &mut Schedule,
    ) {
        for pending in self.pending_causes.drain(..) {
            let serves = |e: &EntryScopes| {
                let memory = e.dst_atoms.intersects(&pending.need.dst_atoms)
                    && (e.src_writes.intersects(&pending.need.src_writes)
                        || e.src_stages & pending.chain != 0);
                let exec = e.src_stages & pending.need.src_stages != 0
                    && e.dst_stages & pending.need.dst_stages != 0;
                memory || exec
            };
            for entry in entries.clone().filter(|&e| serves(&self.scopes[e as usize])) {
                let PendingCause { hazard, detail, consumer, .. } = &pending;
                schedule.causes.push(cause(pairs, positions, entry, hazard, detail, *consumer));
            }
        }
    }
}

pub(super) fn cause(
    pairs: &PairTable,
    positions: Positions,
    entry: u32,
    hazard: &Hazard,
    detail: &Detail,
    consumer: Party,
) -> Cause {
    Cause {
        entry,
        kind: hazard.kind,
        resource: detail.local,
        range: detail.range.clone(),
        producer: match hazard.src {
            Source::Node(position) => Party::Node(positions.node(position)),
            Source::Earlier(_) => Party::EarlierFrame,
        },
        producer_access: pairs.get(hazard.src_pair).access,
        consumer,
        consumer_access: pairs.get(hazard.dst_pair).access,
        coarsened: detail.coarsened,
    }
}
