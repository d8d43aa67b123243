//! Phase 6: batches the transfers of a level, and writes the command list.

use super::Positions;
use super::cull::{Kept, Part};
use super::order::Levels;
use super::radix::{self, Keyed};
use super::resolve::Resolved;
use crate::frame::{FrameGraph, NodeKind};
use crate::schedule::{BufferRef, Command, CommandList, CopyRegion, ScatterRegion, Schedule};

/// The memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    regions: Vec<Region>,
    /// The regions' order.
    order: Vec<Keyed>,
    spare: Vec<Keyed>,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    from: BufferRef,
    to: BufferRef,
    dst: u64,
    src: u64,
    size: u64,
    node: u32,
    /// Written by a shader.
    scatter: bool,
}

/// Writes the commands of every level to the first queue.
pub(crate) fn run(
    graph: &FrameGraph,
    positions: Positions,
    (resolved, kept): (&Resolved, &Kept),
    levels: &Levels,
    scratch: &mut Transfers,
    schedule: &mut Schedule,
) {
    if schedule.queues.is_empty() {
        schedule.queues.push(CommandList::default());
    }
    let mut commands = std::mem::take(&mut schedule.queues[0].commands);
    let last = if levels.sorted.is_empty() { 0 } else { levels.last() + 1 };
    for level in 0..last.max(levels.host.map_or(0, |h| h + 1)) {
        if level > 0 {
            commands.push(Command::Barrier(level - 1));
        }
        let nodes = levels.nodes(level);
        gather(graph, positions, (resolved, kept), nodes, &mut scratch.regions);
        scratch.sort();
        scratch.emit(schedule, &mut commands);
        for &position in nodes {
            let index = positions.node(position);
            let node = &graph.nodes[index as usize];
            match node.kind {
                NodeKind::Pass => commands.push(Command::Pass(index)),
                NodeKind::Fill { value } => {
                    let u = &resolved.uses[node.uses.0 as usize];
                    let to = BufferRef::Local(u.local);
                    commands.push(Command::Fill { to, offset: u.start, size: u.end - u.start, value });
                }
                NodeKind::Upload { .. } | NodeKind::Copy | NodeKind::Readback => {}
            }
        }
    }
    schedule.queues[0].commands = commands;
}

/// The copy regions of some nodes.
fn gather(
    graph: &FrameGraph,
    positions: Positions,
    (resolved, kept): (&Resolved, &Kept),
    nodes: &[u32],
    out: &mut Vec<Region>,
) {
    out.clear();
    for &position in nodes {
        let index = positions.node(position);
        let node = &graph.nodes[index as usize];
        let uses = &resolved.uses[node.uses.0 as usize..node.uses.1 as usize];
        match (node.kind, uses) {
            (NodeKind::Upload { from }, [to]) => {
                let scatter = resolved.scatter == Some(to.pair);
                let mut push = |start: u64, end: u64| {
                    out.push(Region {
                        from: BufferRef::Host(from.buffer),
                        to: BufferRef::Local(to.local),
                        dst: start,
                        src: from.offset + (start - to.start),
                        size: end - start,
                        node: index,
                        scatter,
                    });
                };
                let parts = parts_of(&kept.parts, position);
                if parts.is_empty() {
                    push(to.start, to.end);
                }
                parts.iter().for_each(|p| push(p.start, p.end));
            }
            (NodeKind::Copy | NodeKind::Readback, [from, to]) => out.push(Region {
                from: BufferRef::Local(from.local),
                to: BufferRef::Local(to.local),
                dst: to.start,
                src: from.start,
                size: to.end - to.start,
                node: index,
                scatter: false,
            }),
            _ => {}
        }
    }
}

fn parts_of(parts: &[Part], position: u32) -> &[Part] {
    let begin = parts.partition_point(|p| p.position < position);
    let end = begin + parts[begin..].partition_point(|p| p.position == position);
    &parts[begin..end]
}

impl Transfers {
    /// Orders the regions so that those of one command stand together, ascending by destination, and what is scattered
    /// comes last.
    fn sort(&mut self) {
        self.order.clear();
        self.order.extend((0u32..).zip(&self.regions).map(|(index, r)| Keyed { key: r.dst, index }));
        radix::sort(&mut self.order, &mut self.spare);
        // Each sort keeps what the ones before it did where it finds no difference.
        let number = |buffer| match buffer {
            BufferRef::Local(i) => u64::from(i),
            BufferRef::Host(i) => 1 << 32 | u64::from(i),
        };
        for buffer in [|r: &Region| (r.to, false), |r: &Region| (r.from, r.scatter)] {
            for item in &mut self.order {
                let (buffer, scatter) = buffer(&self.regions[item.index as usize]);
                item.key = u64::from(scatter) << 33 | number(buffer);
            }
            radix::sort(&mut self.order, &mut self.spare);
        }
    }

    /// One copy command a pair of buffers, and one scatter; regions adjacent on both sides become one.
    fn emit(&self, schedule: &mut Schedule, commands: &mut Vec<Command>) {
        let mut regions = self.order.iter().map(|item| &self.regions[item.index as usize]).peekable();
        while let Some(first) = regions.next_if(|r| !r.scatter) {
            let begin = schedule.regions.len();
            let mut last = first.alone();
            while let Some(r) = regions.next_if(|r| r.buffers() == first.buffers()) {
                if !r.continues(&mut last) {
                    schedule.regions.push(std::mem::replace(&mut last, r.alone()));
                }
            }
            schedule.regions.push(last);
            let regions = begin as u32..schedule.regions.len() as u32;
            commands.push(Command::Copy { from: first.from, to: first.to, regions });
        }
        let begin = schedule.scatters.len();
        let mut buffers = None;
        for r in regions {
            let last = schedule.scatters.last_mut().filter(|_| buffers == Some(r.buffers()));
            if !last.is_some_and(|last| r.continues(&mut last.region)) {
                schedule.scatters.push(ScatterRegion { from: r.from, to: r.to, region: r.alone() });
            }
            buffers = Some(r.buffers());
        }
        if buffers.is_some() {
            commands.push(Command::Scatter { regions: begin as u32..schedule.scatters.len() as u32 });
        }
    }
}

impl Region {
    /// What makes it part of one command with others.
    fn buffers(&self) -> (BufferRef, BufferRef, bool) {
        (self.from, self.to, self.scatter)
    }

    /// Whether it continues another on both sides; that one takes it in then.
    fn continues(&self, last: &mut CopyRegion) -> bool {
        let continues = last.dst + last.size == self.dst && last.src + last.size == self.src;
        if continues {
            last.size += self.size;
            last.merged += 1;
            last.node = last.node.min(self.node);
        }
        continues
    }

    fn alone(&self) -> CopyRegion {
        CopyRegion { src: self.src, dst: self.dst, size: self.size, node: self.node, merged: 1 }
    }
}

/// The bytes of uploads that later bytes replaced.
pub(crate) fn trimmed(
    graph: &FrameGraph,
    positions: Positions,
    (resolved, kept): (&Resolved, &Kept),
    schedule: &mut Schedule,
) {
    let mut parts = kept.parts.as_slice();
    while let Some(first) = parts.first() {
        let of = parts_of(parts, first.position);
        let node = positions.node(first.position);
        let u = &resolved.uses[graph.nodes[node as usize].uses.0 as usize];
        let mut at = u.start;
        let ends = of.iter().map(|p| (p.start, p.end)).chain([(u.end, u.end)]);
        for (start, end) in ends {
            if at < start {
                schedule.trimmed.push(crate::schedule::Trimmed { node, range: at..start });
            }
            at = end;
        }
        parts = &parts[of.len()..];
    }
}
