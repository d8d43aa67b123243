//! Phase 8: batches the transfers of a level, and writes the command list.

use super::Positions;
use super::cull::{Kept, Part};
use super::groups::Groups;
use super::order::Levels;
use super::radix::{self, Keyed};
use super::resolve::Resolved;
use crate::frame::{Entry, FrameGraph, Node, NodeKind};
use crate::schedule::{BufferRef, Command, CommandList, CopyRegion, ScatterPart, Schedule};
use std::ops::Range;

/// The memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    regions: Vec<Region>,
    /// The regions' order.
    order: Vec<Keyed>,
    spare: Vec<Keyed>,
    /// The grouped uploads by level, then staging buffer, then as in their groups.
    grouped: Vec<Keyed>,
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
    (resolved, groups, kept): (&Resolved, &mut Groups, &Kept),
    levels: &Levels,
    scratch: &mut Transfers,
    schedule: &mut Schedule,
) {
    if schedule.queues.is_empty() {
        schedule.queues.push(CommandList::default());
    }
    let mut commands = std::mem::take(&mut schedule.queues[0].commands);
    scratch.sort_grouped(groups, levels);
    let mut grouped = 0;
    // All that there is to do is to copy or scatter them.
    let as_they_are = groups.alone && !groups.mixed();
    let last = if levels.is_empty() { 0 } else { levels.last() + 1 };
    let all = last.max(levels.host.map_or(0, |h| h + 1));
    if levels.only_passes {
        commands.reserve(positions.len() as usize + all as usize);
    }
    for level in 0..all {
        if level > 0 {
            commands.push(Command::Barrier(level - 1));
        }
        if as_they_are && levels.grouped == Some(level) {
            emit_alone((resolved, groups), schedule, &mut commands);
            continue;
        }
        let nodes = levels.nodes(level);
        if levels.only_passes {
            for &position in nodes {
                commands.push(Command::Pass(positions.node(position)));
            }
            continue;
        }
        gather(graph, positions, (resolved, kept), nodes, &mut scratch.regions);
        scratch.sort();
        let scattered = schedule.scatters.len() as u32;
        scratch.emit(schedule, &mut commands);
        scratch.emit_grouped((resolved, groups, levels), (level, &mut grouped), schedule, &mut commands);
        scatter(scattered, schedule, &mut commands);
        for &position in nodes {
            let index = positions.node(position);
            let Entry::Node(node) = graph.entry(index) else { continue };
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
        let entry = graph.entry(index);
        match (entry, resolved.uses_of(entry)) {
            (Entry::Upload(number), [to]) => {
                let from = graph.upload_from(&graph.uploads[number]);
                let scatter = resolved.locals[to.local as usize].scattered;
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
            (Entry::Node(Node { kind: NodeKind::Copy | NodeKind::Readback, .. }), [from, to]) => {
                out.push(Region {
                    from: BufferRef::Local(from.local),
                    to: BufferRef::Local(to.local),
                    dst: to.start,
                    src: from.start,
                    size: to.end - to.start,
                    node: index,
                    scatter: false,
                })
            }
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

    /// Puts the grouped uploads in order by level and staging buffer, if they differ in that.
    fn sort_grouped(&mut self, groups: &Groups, levels: &Levels) {
        self.grouped.clear();
        if levels.grouped.is_some() && !groups.mixed() {
            return;
        }
        self.grouped.extend((0u32..).zip(&groups.uploads).map(|(index, u)| {
            let level = groups.level(u, levels);
            Keyed { key: u64::from(level) << 32 | u64::from(groups.host(index as usize)), index }
        }));
        radix::sort(&mut self.grouped, &mut self.spare);
    }

    /// Writes the copies of the grouped uploads of a level. In [`grouped`](Self::grouped) they begin at place `at`, which
    /// is moved on.
    fn emit_grouped(
        &self,
        (resolved, groups, levels): (&Resolved, &Groups, &Levels),
        (level, at): (u32, &mut usize),
        schedule: &mut Schedule,
        commands: &mut Vec<Command>,
    ) {
        if self.grouped.is_empty() {
            if levels.grouped == Some(level) {
                for group in &groups.groups {
                    let buffers = (BufferRef::Host(groups.host(0)), BufferRef::Local(group.local));
                    emit_group(resolved, (group.local, buffers), groups.of(group).iter(), schedule, commands);
                }
            }
            return;
        }
        let rest = self.grouped.get(*at..).unwrap_or(&[]);
        let rest = &rest[..rest.partition_point(|item| item.key >> 32 <= u64::from(level))];
        *at += rest.len();
        let mut rest = rest;
        while let Some(first) = rest.first() {
            let Some(group) = groups.group_of(first.index) else { break };
            let range = group.range();
            let same = |item: &&Keyed| item.key == first.key && range.contains(&(item.index as usize));
            let (of_group, others) = rest.split_at(rest.iter().take_while(same).count());
            let buffers = (BufferRef::Host(first.key as u32), BufferRef::Local(group.local));
            let uploads = of_group.iter().filter_map(|item| groups.uploads.get(item.index as usize));
            emit_group(resolved, (group.local, buffers), uploads, schedule, commands);
            rest = others;
        }
    }

    /// One copy command a pair of buffers, and what is scattered; regions adjacent on both sides become one.
    fn emit(&self, schedule: &mut Schedule, commands: &mut Vec<Command>) {
        let mut regions = self.order.iter().map(|item| &self.regions[item.index as usize]).peekable();
        while let Some(first) = regions.next() {
            let begin = schedule.regions.len();
            let mut last = first.alone();
            while let Some(r) = regions.next_if(|r| r.buffers() == first.buffers()) {
                if !last.take(&r.alone()) {
                    schedule.regions.push(std::mem::replace(&mut last, r.alone()));
                }
            }
            schedule.regions.push(last);
            let regions = begin as u32..schedule.regions.len() as u32;
            move_regions((first.from, first.to, first.scatter), regions, schedule, commands);
        }
    }
}

/// Copies regions from one buffer to another, or has them scattered at the end of the level.
#[inline]
fn move_regions(
    (from, to, scatter): (BufferRef, BufferRef, bool),
    regions: Range<u32>,
    schedule: &mut Schedule,
    commands: &mut Vec<Command>,
) {
    match scatter {
        true => schedule.scatters.push(ScatterPart { from, to, regions }),
        false => commands.push(Command::Copy { from, to, regions }),
    }
}

/// Writes the scatter of a level, of the parts from this one on.
fn scatter(first: u32, schedule: &Schedule, commands: &mut Vec<Command>) {
    let parts = first..schedule.scatters.len() as u32;
    if !parts.is_empty() {
        commands.push(Command::Scatter { parts });
    }
}

/// Writes the uploads from one staging buffer to one resource, ascending; regions adjacent on both sides become one.
#[inline]
fn emit_group<'a>(
    resolved: &Resolved,
    (local, (from, to)): (u32, (BufferRef, BufferRef)),
    uploads: impl Iterator<Item = &'a CopyRegion>,
    schedule: &mut Schedule,
    commands: &mut Vec<Command>,
) {
    let begin = schedule.regions.len() as u32;
    merge(uploads, |region| schedule.regions.push(region));
    let regions = begin..schedule.regions.len() as u32;
    let scatter = resolved.locals[local as usize].scattered;
    move_regions((from, to, scatter), regions, schedule, commands);
}

/// Writes uploads that are alone in their frame, and merged already: their regions are the schedule's.
fn emit_alone(
    (resolved, groups): (&Resolved, &mut Groups),
    schedule: &mut Schedule,
    commands: &mut Vec<Command>,
) {
    let from = BufferRef::Host(groups.host(0));
    for group in &groups.groups {
        let regions = group.range();
        let regions = regions.start as u32..regions.end as u32;
        let to = BufferRef::Local(group.local);
        let scatter = resolved.locals[group.local as usize].scattered;
        move_regions((from, to, scatter), regions, schedule, commands);
    }
    scatter(0, schedule, commands);
    std::mem::swap(&mut schedule.regions, &mut groups.uploads);
}

/// Calls `push` with the regions of uploads.
#[inline]
fn merge<'a>(mut uploads: impl Iterator<Item = &'a CopyRegion>, mut push: impl FnMut(CopyRegion)) {
    let Some(mut last) = uploads.next().copied() else { return };
    for u in uploads {
        if !last.take(u) {
            push(std::mem::replace(&mut last, *u));
        }
    }
    push(last);
}

impl Region {
    /// What makes it part of one command with others.
    fn buffers(&self) -> (BufferRef, BufferRef, bool) {
        (self.from, self.to, self.scatter)
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
        let [u, ..] = resolved.uses_of(graph.entry(node)) else { break };
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
