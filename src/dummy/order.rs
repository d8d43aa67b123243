//! Explicit orders on the simulated device: which commands they are about, and holding those to them.

use super::DummyBackend;
use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork};
use super::judge::{Judge, intern};
use super::record::{Recorded, Step};
use crate::MkRecordInput;
use memkit_graph::{
    Access, AccessFlags, BufferRef, Command, CopyRegion, NodeKind, ResourceSlice, Stages, Use,
};

/// What a pass that declares nothing may do.
pub(super) const ANYTHING: Access =
    Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE));

/// The position of the command that does what a node declares; none if the schedule left it out.
pub(super) fn step_of(input: MkRecordInput<'_, DummyBackend>, node: u32) -> Option<usize> {
    let (graph, schedule) = (input.graph, input.schedule);
    let declared = graph.node(node as usize)?;
    let commands = &schedule.queues.first()?.commands;
    if declared.kind == NodeKind::Pass {
        return commands.iter().position(|c| *c == Command::Pass(node));
    }
    // Transfers are merged: one is where its first byte that is left goes, in its level.
    let level = schedule.order.iter().find(|p| p.node == node)?.level;
    let mut now = 0;
    let uses = graph.uses(&declared);
    let to = &uses.clone().next_back()?;
    let at =
        |u: &Use| schedule.resources.iter().zip(0..).find(|(r, _)| **r == u.slice.resource).map(|(_, i)| i);
    let local = BufferRef::Local(at(to)?);
    let first = uses.clone().next()?;
    let (source, start) = match declared.kind {
        NodeKind::Upload { from } => (BufferRef::Host(from.buffer), from.offset),
        NodeKind::Copy | NodeKind::Readback => (BufferRef::Local(at(&first)?), first.slice.start),
        _ => (local, 0),
    };
    let end = |end: u64| if end == ResourceSlice::WHOLE { u64::MAX } else { end };
    // The same shift from source to destination, and bytes in common.
    let is_part = |r: &CopyRegion| {
        r.src.wrapping_sub(r.dst) == start.wrapping_sub(to.slice.start)
            && r.dst < end(to.slice.end)
            && to.slice.start < r.dst.saturating_add(r.size)
    };
    commands.iter().position(|c| match c {
        Command::Barrier(call) => {
            now = schedule.barriers.get(*call as usize).map_or(now, |c| c.level);
            false
        }
        _ if now != level => false,
        Command::Fill { to: there, offset, value, .. } => {
            *there == local
                && *offset == to.slice.start
                && declared.kind == (NodeKind::Fill { value: *value })
        }
        Command::Copy { from, to: there, regions } if *there == local && *from == source => {
            schedule.regions_of(regions).iter().any(is_part)
        }
        Command::Scatter { parts } => {
            schedule.scattered_by(parts).any(|s| (s.from, s.to) == (source, local) && is_part(&s.region))
        }
        _ => false,
    })
}

impl Judge {
    /// After a command: keeps what is ordered before another.
    pub(super) fn order_first(&mut self, recorded: &Recorded, at: usize) {
        for (i, order) in recorded.orders.iter().enumerate().filter(|(_, o)| o.first == at) {
            let work = self.work(recorded, at);
            let accesses = recorded.order_accesses.get(order.first_accesses.clone()).unwrap_or(&[]);
            if let (Some(model), Some(slot)) = (&mut self.model, self.ordered.get_mut(i)) {
                let op = model.op(work, recorded.value);
                *slot = Some(model.order_first(&op, accesses));
            }
        }
    }

    /// Before a command: what is ordered before it must be done and visible.
    pub(super) fn order_then(&mut self, recorded: &Recorded, at: usize) {
        for (i, order) in recorded.orders.iter().enumerate().filter(|(_, o)| o.then == at) {
            let work = self.work(recorded, at);
            let first = self.work(recorded, order.first);
            let accesses = recorded.order_accesses.get(order.then_accesses.clone()).unwrap_or(&[]);
            let Some(model) = &mut self.model else { return };
            match self.ordered.get(i).copied().flatten() {
                Some(number) => {
                    let op = model.op(work, recorded.value);
                    model.order_then(number, &op, accesses, &self.shared.reports);
                }
                None => {
                    let party =
                        |work| MkHazardParty { work, access: Access::NONE, submission: recorded.value };
                    self.shared.reports.push(MkHazard {
                        kind: MkHazardKind::OrderViolated,
                        buffer: "".into(),
                        range: 0..0,
                        first: Some(party(first)),
                        second: party(work),
                        mend: None,
                        detail: Some("it runs before the other".into()),
                    });
                }
            }
        }
    }

    fn work(&mut self, recorded: &Recorded, at: usize) -> MkHazardWork {
        let name =
            |buffer: u32| recorded.buffers.get(buffer as usize).map_or_else(|| "".into(), |b| b.name.clone());
        match recorded.steps.get(at) {
            Some(Step::Pass(pass)) => {
                let text = recorded.passes.get(*pass).and_then(|p| recorded.names.get(p.name.clone()));
                MkHazardWork::Pass(intern(&mut self.names, text.unwrap_or("")))
            }
            Some(Step::Copy { from, to, .. }) => MkHazardWork::Copy { from: name(*from), to: name(*to) },
            Some(Step::Scatter { .. }) => MkHazardWork::Scatter,
            Some(Step::Fill { to, .. }) => MkHazardWork::Fill { to: name(*to) },
            _ => MkHazardWork::Submission,
        }
    }
}
