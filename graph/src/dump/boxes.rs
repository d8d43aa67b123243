//! What is drawn and listed as one thing: a pass, or all transfers of one command.
//!
//! A frame may have a thousand uploads that end as one copy command; a person wants to see one.

use super::model::{CauseDump, CommandDump, EntryDump, FrameDump, NodeKindDump};
use super::write::{bytes, count, len};
use crate::schedule::{BufferRef, Party};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// One command, seen as a box.
pub(super) struct CommandBox {
    /// The declared nodes it stands for.
    pub(super) nodes: Vec<u32>,
    /// What to write into it, line by line.
    pub(super) lines: Vec<String>,
    /// Whether it is a pass.
    pub(super) pass: bool,
}

/// The boxes of one level.
pub(super) struct LevelBoxes {
    /// What to write above it.
    pub(super) title: String,
    /// Positions in [`Boxes::all`].
    pub(super) boxes: Range<usize>,
}

/// Boxes of a whole frame, by queue and level.
pub(super) struct Boxes {
    pub(super) all: Vec<CommandBox>,
    pub(super) levels: Vec<LevelBoxes>,
    of_node: HashMap<u32, usize>,
}

/// One end of a drawn hazard.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// A position in [`Boxes::all`].
    Box(usize),
    /// A node without a box.
    Node(u32),
    /// Earlier frames.
    Earlier,
    /// The host.
    Host,
}

impl Boxes {
    pub(super) fn new(dump: &FrameDump) -> Self {
        let mut boxes = Boxes { all: Vec::new(), levels: Vec::new(), of_node: HashMap::new() };
        for (q, queue) in dump.queues.iter().enumerate() {
            for level in &queue.levels {
                let start = boxes.all.len();
                for command in &level.commands {
                    let b = command_box(dump, command);
                    for &n in &b.nodes {
                        boxes.of_node.entry(n).or_insert(boxes.all.len());
                    }
                    boxes.all.push(b);
                }
                let title = match (dump.queues.len(), &level.barrier) {
                    (0 | 1, _) => format!("level {}", level.level),
                    _ => format!("queue {q}, level {}", level.level),
                };
                let title = match &level.barrier {
                    Some(b) => format!("{title}, after a barrier of {}", count(len(&b.entries), "entry")),
                    None => title,
                };
                boxes.levels.push(LevelBoxes { title, boxes: start..boxes.all.len() });
            }
        }
        boxes
    }

    /// Where a party is drawn.
    pub(super) fn end(&self, party: Party) -> End {
        match party {
            Party::Node(n) => self.of_node.get(&n).map_or(End::Node(n), |&b| End::Box(b)),
            Party::EarlierFrame => End::Earlier,
            Party::Host => End::Host,
        }
    }

    /// Hazards of one entry that differ by transfer or range only, taken together, in order of appearance.
    pub(super) fn grouped<'a>(&self, entry: &'a EntryDump) -> Vec<Vec<&'a CauseDump>> {
        let mut places = HashMap::new();
        let mut groups: Vec<Vec<&CauseDump>> = Vec::new();
        for c in &entry.causes {
            let (p, n) = (c.producer, c.consumer);
            let key = (
                (c.kind, c.resource, c.coarsened),
                (self.end(p.who), p.stages, p.access),
                (self.end(n.who), n.stages, n.access),
            );
            let place = *places.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                group.push(c);
            }
        }
        groups
    }
}

/// The parties of one kind in a group, as one name.
pub(super) fn parties(dump: &FrameDump, parties: impl Iterator<Item = Party>) -> String {
    let mut seen = HashSet::new();
    let mut nodes = Vec::new();
    for party in parties {
        match party {
            Party::Node(n) => {
                if seen.insert(n) {
                    nodes.push(n);
                }
            }
            Party::EarlierFrame => return "<earlier frames>".to_owned(),
            Party::Host => return "<host>".to_owned(),
        }
    }
    together(dump, &nodes)
}

/// What a group of hazards is about: a resource with a range, readback memory, or nothing.
pub(super) fn subject(dump: &FrameDump, group: &[&CauseDump]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let Some(name) = first.resource.map(|r| dump.resource_name(r)) else { return String::new() };
    let mut ranges: Vec<Range<u64>> = group.iter().map(|c| c.range.clone()).collect();
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for r in ranges {
        match joined.last_mut() {
            Some(last) if r.start <= last.end => last.end = last.end.max(r.end),
            _ => joined.push(r),
        }
    }
    match &joined[..] {
        [one] => format!("{name}{}", bytes(one)),
        [first, .., last] => {
            format!("{name}{} ({} ranges)", bytes(&(first.start..last.end)), joined.len())
        }
        [] => name,
    }
}

/// One name for several nodes: `7 uploads -> vertices`.
pub(super) fn together(dump: &FrameDump, nodes: &[u32]) -> String {
    let first = match nodes {
        [] => return "<nothing>".to_owned(),
        [one] => return dump.node_name(*one),
        [first, ..] => dump.nodes.get(*first as usize),
    };
    let n = len(nodes);
    let target = |i: usize| {
        let resource = first.and_then(|f| f.uses.get(i)).map(|u| u.resource);
        resource.map_or_else(|| "<nothing>".to_owned(), |r| dump.resource_name(r))
    };
    match first.map(|f| f.kind) {
        Some(NodeKindDump::Upload { .. }) if several_targets(dump, nodes) => {
            format!("{n} uploads -> {} and others", target(0))
        }
        Some(NodeKindDump::Upload { .. }) => format!("{n} uploads -> {}", target(0)),
        Some(NodeKindDump::Copy) => format!("{n} copies {} -> {}", target(0), target(1)),
        Some(NodeKindDump::Fill { .. }) => format!("{n} fills of {}", target(0)),
        Some(NodeKindDump::Readback) => format!("{n} readbacks {} -> {}", target(0), target(1)),
        Some(NodeKindDump::Pass) | None => format!("{n} passes"),
    }
}

/// Whether nodes have different first resources: those of a scatter may.
fn several_targets(dump: &FrameDump, nodes: &[u32]) -> bool {
    let of = |n: &u32| dump.nodes.get(*n as usize).and_then(|n| n.uses.first()).map(|u| u.resource);
    nodes.windows(2).any(|pair| of(&pair[0]) != of(&pair[1]))
}

/// All nodes of a command's regions, each once.
pub(super) fn copied_nodes<'a>(regions: impl IntoIterator<Item = &'a super::model::RegionDump>) -> Vec<u32> {
    let mut seen = HashSet::new();
    regions.into_iter().flat_map(|r| &r.nodes).copied().filter(|&n| seen.insert(n)).collect()
}

fn command_box(dump: &FrameDump, command: &CommandDump) -> CommandBox {
    match command {
        CommandDump::Pass { node } => {
            let mut lines = vec![dump.node_name(*node)];
            if let Some(n) = dump.nodes.get(*node as usize) {
                lines.extend(n.queue.map(|q| format!("on {q}")));
                if n.side_effects {
                    lines.push("side effects".to_owned());
                }
            }
            CommandBox { nodes: vec![*node], lines, pass: true }
        }
        CommandDump::Copy { from, to, regions } => {
            let nodes = copied_nodes(regions);
            let size = regions.iter().fold(0_u64, |sum, r| sum.saturating_add(r.size));
            let lines = vec![
                together(dump, &nodes),
                format!("one copy {} -> {}", dump.buffer_name(*from), dump.buffer_name(*to)),
                format!("{}, {size} B", count(len(regions), "region")),
            ];
            CommandBox { nodes, lines, pass: false }
        }
        CommandDump::Scatter { regions } => {
            let nodes = copied_nodes(regions.iter().map(|r| &r.region));
            let size = regions.iter().fold(0_u64, |sum, r| sum.saturating_add(r.region.size));
            let lines = vec![
                together(dump, &nodes),
                "one scatter by a compute shader".to_owned(),
                format!("{}, {size} B", count(len(regions), "region")),
            ];
            CommandBox { nodes, lines, pass: false }
        }
        CommandDump::Fill { to, range, value, nodes } => {
            let lines = match nodes.as_slice() {
                [] => vec![format!("fill {}{} with {value:#010x}", dump.buffer_name(*to), bytes(range))],
                some => vec![together(dump, some)],
            };
            CommandBox { nodes: nodes.clone(), lines, pass: false }
        }
    }
}

/// An edge of a drawing: everything that orders one box before another.
pub(super) struct Edge {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) lines: Vec<String>,
}

/// Lines of an edge label beyond which the rest is counted only.
const EDGE_LINES: usize = 6;

/// All edges, in order of first appearance.
pub(super) fn edges(dump: &FrameDump, boxes: &Boxes) -> Vec<Edge> {
    let mut places: HashMap<(End, End), usize> = HashMap::new();
    let mut edges: Vec<Edge> = Vec::new();
    let barriers = dump.queues.iter().flat_map(|q| &q.levels).filter_map(|l| l.barrier.as_ref());
    for entry in barriers.flat_map(|b| &b.entries) {
        for group in boxes.grouped(entry) {
            let Some(first) = group.first() else { continue };
            let ends = (boxes.end(first.producer.who), boxes.end(first.consumer.who));
            let place = *places.entry(ends).or_insert_with(|| {
                edges.push(Edge { from: ends.0, to: ends.1, lines: Vec::new() });
                edges.len() - 1
            });
            let subject = subject(dump, &group);
            let mark = if first.coarsened { " (coarsened)" } else { "" };
            let line = match subject.as_str() {
                "" => first.kind.to_string(),
                s => format!("{}: {s}{mark}", first.kind),
            };
            if let Some(edge) = edges.get_mut(place) {
                edge.lines.push(line);
            }
        }
    }
    for edge in &mut edges {
        if edge.lines.len() > EDGE_LINES {
            let rest = edge.lines.len() - EDGE_LINES;
            edge.lines.truncate(EDGE_LINES);
            edge.lines.push(format!("and {rest} more"));
        }
    }
    edges
}

/// Why a drawing has no edges, if causes are missing.
pub(super) const NO_CAUSES: &str = "causes were not collected (PlanOptions::causes): hazards are not shown";

/// Culled nodes with reasons; transfers that went for the same reason are one.
pub(super) fn culled(dump: &FrameDump) -> Vec<(String, &str, Vec<u32>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(Vec<u32>, &str)> = Vec::new();
    for c in &dump.culled {
        let node = dump.nodes.get(c.node as usize);
        let word = node.map(|n| n.kind.word());
        // Passes stay apart: each has a name of its own.
        let apart = if matches!(word, Some("pass") | None) { Some(c.node) } else { None };
        let target = node.and_then(|n| n.uses.last()).map(|u| u.resource);
        let place = *places.entry((apart, word, target, c.because.as_str())).or_insert_with(|| {
            groups.push((Vec::new(), c.because.as_str()));
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.0.push(c.node);
        }
    }
    groups.into_iter().map(|(nodes, why)| (together(dump, &nodes), why, nodes)).collect()
}

/// Which levels use each resource: first and last.
pub(super) fn lifetimes(dump: &FrameDump) -> HashMap<u32, (u32, u32)> {
    let mut map: HashMap<u32, (u32, u32)> = HashMap::new();
    for node in &dump.nodes {
        let Some(level) = node.level else { continue };
        for u in &node.uses {
            let (first, last) = map.entry(u.resource).or_insert((level, level));
            *first = level.min(*first);
            *last = level.max(*last);
        }
    }
    map
}

/// The lowest staging byte the frame touches in each staging buffer, so that offsets can be shown relative to it.
pub(super) fn staging_bases(dump: &FrameDump) -> HashMap<u32, u64> {
    let mut map: HashMap<u32, u64> = HashMap::new();
    for node in &dump.nodes {
        if let NodeKindDump::Upload { staging, offset } = node.kind {
            let base = map.entry(staging).or_insert(offset);
            *base = offset.min(*base);
        }
    }
    map
}

/// A position in a buffer: bytes of a resource, or relative to what the frame uses of a staging buffer.
pub(super) fn position(bases: &HashMap<u32, u64>, buffer: BufferRef, offset: u64) -> String {
    match buffer {
        BufferRef::Local(_) => offset.to_string(),
        BufferRef::Host(h) => format!("+{}", offset.saturating_sub(bases.get(&h).copied().unwrap_or(0))),
    }
}
