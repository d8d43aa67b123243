//! Explicit orders: between two commands of one submission, whatever bytes they touch.

use super::access::pairs;
use super::{Model, Op, memory_dependency};
use crate::dummy::hazard::{MkHazard, MkHazardKind, Reports};
use crate::dummy::model::records::{Interval, ReadRecord, WriteRecord};
use memkit_graph::{Access, AccessFlags, BarrierEntry, Stages};

impl Model {
    /// A submission begins: orders are within one.
    pub(in crate::dummy) fn clear_orders(&mut self) {
        self.orders.clear();
    }

    /// The first of two ordered commands ran. Returns a number for [`order_then`](Self::order_then).
    pub(in crate::dummy) fn order_first(&mut self, op: &Op, accesses: &[Access]) -> usize {
        let mut interval = Interval { seen: self.log.now(), ..Interval::default() };
        for access in accesses {
            let none = Stages::empty();
            interval.writes.extend(pairs(*access, AccessFlags::WRITES).into_iter().map(|(stage, access)| {
                let party = op.party(Access::new(stage, access));
                WriteRecord {
                    op: op.serial,
                    party,
                    stage,
                    access,
                    chain: none,
                    available: none,
                    visible: Default::default(),
                }
            }));
            for stage in access.stages.expanded().iter() {
                let party = op.party(Access::new(stage, AccessFlags::empty()));
                interval.reads.push(ReadRecord { op: op.serial, party, stage, chain: none });
            }
        }
        self.orders.push(interval);
        self.orders.len() - 1
    }

    /// The later of two ordered commands is about to run: all that the first did must be done and visible to it.
    pub(in crate::dummy) fn order_then(
        &mut self,
        at: usize,
        op: &Op,
        accesses: &[Access],
        reports: &Reports,
    ) {
        let Some(first) = self.orders.get_mut(at) else { return };
        self.log.bring_up(first);
        for access in accesses {
            let needs = pairs(*access, AccessFlags::READS | AccessFlags::WRITES);
            let memory = memory_dependency(first.writes.iter(), &needs, MkHazardKind::OrderViolated);
            let memory = memory.map(|(_, party, mend)| (party, mend));
            let stages = access.stages.expanded();
            let late = first.reads.iter().find(|r| !r.chain.contains(stages)).map(|r| {
                let mend = BarrierEntry {
                    src_stages: r.stage,
                    src_access: AccessFlags::empty(),
                    dst_stages: stages.difference(r.chain),
                    dst_access: AccessFlags::empty(),
                };
                (r.party.clone(), mend)
            });
            if let Some((party, mend)) = memory.or(late) {
                reports.push(MkHazard {
                    kind: MkHazardKind::OrderViolated,
                    buffer: "".into(),
                    range: 0..0,
                    first: Some(party),
                    second: op.party(*access),
                    mend: Some(mend),
                    detail: None,
                });
            }
        }
    }
}
