//! Every hazard between kept nodes, found again from what they declare.
//!
//! The planner's causes name only hazards that made a barrier entry; one that another entry covers has none. To say why a
//! node comes before another, all are needed. This is the plain way to find them, meant for looking at one frame.

use super::model::{FrameDump, NodeDump, UseDump};
use super::transfers::without;
use super::write::at;
use crate::frame::Mode;
use crate::schedule::HazardKind;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// One hazard within the frame.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) kind: HazardKind,
    /// None for an explicit order.
    pub(super) resource: Option<u32>,
    pub(super) range: Range<u64>,
}

/// All hazards and explicit orders, by the order in which the later nodes are meant.
pub(super) fn links(dump: &FrameDump) -> Vec<Link> {
    let mut tracks: HashMap<u32, Track> = HashMap::new();
    let mut links = Vec::new();
    let mut trimmed: HashMap<u32, Vec<Range<u64>>> = HashMap::new();
    for t in &dump.trimmed {
        trimmed.entry(t.node).or_default().push(t.range.clone());
    }
    let prologue = dump.nodes.iter().enumerate().filter(|(_, n)| n.prologue);
    let body = dump.nodes.iter().enumerate().filter(|(_, n)| !n.prologue);
    for (i, node) in prologue.chain(body).filter(|(_, n)| kept(dump, n)) {
        let i = at(i);
        match (trimmed.get(&i), node.uses.as_slice()) {
            (Some(cuts), [whole]) => {
                // Bytes that are not uploaded wait for nobody.
                let left = without(whole.range.clone(), cuts);
                let uses: Vec<UseDump> =
                    left.into_iter().map(|range| UseDump { range, ..whole.clone() }).collect();
                node_links(i, &uses, &mut tracks, &mut links);
            }
            (_, uses) => node_links(i, uses, &mut tracks, &mut links),
        }
    }
    // Uploads of one batch may overlap: later bytes win there without any order.
    links.retain(|l| !same_level(dump, l));
    let known = |n: u32| dump.nodes.get(n as usize).is_some_and(|n| kept(dump, n));
    links.extend(dump.explicit_orders.iter().filter_map(|o| {
        let (from, to) = (o.first.filter(|&n| known(n))?, o.then.filter(|&n| known(n))?);
        Some(Link { from, to, kind: HazardKind::Order, resource: None, range: 0..0 })
    }));
    links
}

fn kept(dump: &FrameDump, node: &NodeDump) -> bool {
    dump.problem.is_some() || node.level.is_some()
}

fn same_level(dump: &FrameDump, link: &Link) -> bool {
    let level = |n: u32| dump.nodes.get(n as usize).and_then(|n| n.level);
    level(link.from).is_some() && level(link.from) == level(link.to)
}

fn node_links(me: u32, uses: &[UseDump], tracks: &mut HashMap<u32, Track>, links: &mut Vec<Link>) {
    // Reads see what was before the node, whatever the node writes itself.
    for u in uses.iter().filter(|u| matches!(u.mode, Mode::Read | Mode::Modify)) {
        for (range, part) in tracks.entry(u.resource).or_default().parts(&u.range) {
            if let Some(from) = part.writer.filter(|&w| w != me) {
                let kind = HazardKind::ReadAfterWrite;
                push(links, Link { from, to: me, kind, resource: Some(u.resource), range });
            }
        }
    }
    for u in uses.iter().filter(|u| u.mode != Mode::Read) {
        let mut found: Vec<Link> = Vec::new();
        for (range, part) in tracks.entry(u.resource).or_default().parts(&u.range) {
            let link =
                |kind, from| Link { from, to: me, kind, resource: Some(u.resource), range: range.clone() };
            // What is modified was read first, and that link is there.
            let writer = part.writer.filter(|&w| w != me && u.mode != Mode::Modify);
            found.extend(writer.map(|from| link(HazardKind::WriteAfterWrite, from)));
            found.extend(part.readers.iter().map(|&from| link(HazardKind::WriteAfterRead, from)));
        }
        found.sort_by_key(|l| (l.from, l.kind == HazardKind::WriteAfterRead, l.range.start));
        found.into_iter().for_each(|link| push(links, link));
    }
    for u in uses {
        for (_, part) in tracks.entry(u.resource).or_default().parts(&u.range) {
            if u.mode != Mode::Read {
                *part = Part { end: part.end, writer: Some(me), readers: Vec::new() };
            } else if part.writer != Some(me) && part.readers.last() != Some(&me) {
                part.readers.push(me);
            }
        }
    }
}

/// Neighbouring ranges of one hazard are one.
fn push(links: &mut Vec<Link>, link: Link) {
    if let Some(last) = links.last_mut()
        && (last.from, last.to, last.kind, last.resource) == (link.from, link.to, link.kind, link.resource)
        && last.range.end == link.range.start
    {
        last.range.end = link.range.end;
    } else {
        links.push(link);
    }
}

/// Who used the bytes of one resource last.
struct Track(BTreeMap<u64, Part>);

#[derive(Clone)]
struct Part {
    end: u64,
    writer: Option<u32>,
    readers: Vec<u32>,
}

impl Default for Track {
    fn default() -> Self {
        Track(BTreeMap::from([(0, Part { end: u64::MAX, writer: None, readers: Vec::new() })]))
    }
}

impl Track {
    /// The parts that make up `range`; none if it is empty.
    fn parts(&mut self, range: &Range<u64>) -> impl Iterator<Item = (Range<u64>, &mut Part)> {
        let range = range.start..range.end.max(range.start);
        self.split(range.start);
        self.split(range.end);
        self.0.range_mut(range).map(|(&start, part)| (start..part.end, part))
    }

    fn split(&mut self, place: u64) {
        if let Some((&start, part)) = self.0.range_mut(..=place).next_back()
            && start < place
            && place < part.end
        {
            let rest = part.clone();
            part.end = place;
            self.0.insert(place, rest);
        }
    }
}
