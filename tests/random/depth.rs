//! The depth of each frame, found without the planner: from the declarations byte by byte, and for what earlier frames
//! left behind from the barriers those frames had.

use super::case::{Case, Frame, Kind, Node, On, Use};
use super::rig::{Planned, Sequence};
use memkit_gpu::graph::{Access, AccessFlags, BarrierEntry, Mode, Stages};
use std::collections::{BTreeSet, HashMap};

/// One write in one stage with one access, or one read in one stage (no access).
#[derive(Clone)]
struct Record {
    stage: Stages,
    access: AccessFlags,
    /// Stages ordered after it, and stages ordered after its being available.
    after: Stages,
    available: Stages,
    visible: Vec<(Stages, AccessFlags)>,
}

type Id = usize;

/// Who touched one byte last.
#[derive(Clone, Default)]
struct Byte {
    write: Vec<Id>,
    reads: BTreeSet<Id>,
}

/// What earlier frames left.
#[derive(Default)]
struct Past {
    records: HashMap<Id, Record>,
    next: Id,
    bytes: HashMap<(bool, usize, u64), Byte>,
    /// What the device runs.
    stages: Stages,
}

/// Transients stand for the pool memory behind them.
fn key(on: On, byte: u64) -> (bool, usize, u64) {
    match on {
        On::Buffer(i) => (false, i, byte),
        On::Transient(i) => (true, i, byte),
    }
}

/// The expected number of barrier calls of each frame.
pub fn of(sequence: &Sequence) -> Vec<usize> {
    let mut past = Past { stages: sequence.case.stages, ..Past::default() };
    let mut depths = Vec::new();
    for (frame, planned) in sequence.case.frames.iter().zip(&sequence.frames) {
        let kept = live(&sequence.case, frame);
        depths.push(depth(&sequence.case, frame, &kept, &past));
        past.pass(frame, planned, &kept);
    }
    depths
}

/// Per node, the bytes of its writes that matter; none if the node does not.
fn live(case: &Case, frame: &Frame) -> Vec<Option<Vec<Vec<u64>>>> {
    let mut needed: BTreeSet<(bool, usize, u64)> = BTreeSet::new();
    for (i, b) in case.buffers.iter().enumerate() {
        needed.extend((0..b.size).map(|byte| (false, i, byte)));
    }
    let mut kept = vec![None; frame.nodes.len()];
    for (i, node) in frame.nodes.iter().enumerate().rev() {
        let used = |u: &Use, byte: &u64| needed.contains(&key(u.on, *byte));
        let writes = || node.uses.iter().filter(|u| u.writes());
        if !node.side_effects && !writes().any(|u| u.range.clone().any(|b| used(u, &b))) {
            continue;
        }
        // Only uploads shrink to what matters.
        let keeps = |u: &Use| -> Vec<u64> {
            u.range.clone().filter(|b| node.kind != Kind::Upload || used(u, b)).collect()
        };
        kept[i] = Some(node.uses.iter().map(keeps).collect());
        for u in node.uses.iter().filter(|u| u.mode == Mode::Overwrite) {
            for b in u.range.clone() {
                needed.remove(&key(u.on, b));
            }
        }
        for u in node.uses.iter().filter(|u| u.reads()) {
            needed.extend(u.range.clone().map(|b| key(u.on, b)));
        }
    }
    kept
}

/// Edges of the longest chain of hazards.
fn depth(case: &Case, frame: &Frame, kept: &[Option<Vec<Vec<u64>>>], past: &Past) -> usize {
    let n = frame.nodes.len();
    let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); n];
    let mut head = vec![false; n];
    let mut bytes: HashMap<_, (Option<usize>, Vec<usize>)> = HashMap::new();
    for (i, node) in frame.nodes.iter().enumerate() {
        let Some(parts) = &kept[i] else { continue };
        // Bytes that an earlier node of the frame wrote.
        let mut inside = BTreeSet::new();
        for reads in [true, false] {
            for (u, part) in node.uses.iter().zip(parts).filter(|(u, _)| reads != u.writes()) {
                for byte in part {
                    let key = key(u.on, *byte);
                    let (write, readers) = bytes.entry(key).or_default();
                    if write.is_some_and(|w| w != i) {
                        inside.insert(key);
                    }
                    before[i].extend(*write);
                    if u.writes() {
                        before[i].extend(readers.iter().copied());
                    }
                    if write.is_none_or(|w| w == i && !inside.contains(&key)) {
                        head[i] |= past.hazard(key, u);
                    }
                    if u.writes() {
                        *write = Some(i);
                        readers.clear();
                    } else {
                        readers.push(i);
                    }
                }
            }
        }
        before[i].remove(&i);
    }
    for &(first, then) in &frame.orders {
        if kept[first].is_some() && kept[then].is_some() {
            before[then].insert(first);
        }
    }
    // Orders may go against the declaration: repeat until nothing changes.
    let mut level = vec![0; n];
    loop {
        let mut changed = false;
        for i in (0..n).filter(|i| kept[*i].is_some()) {
            let above = before[i].iter().map(|b| level[*b] + 1).max().unwrap_or(0).max(usize::from(head[i]));
            changed |= above != level[i];
            level[i] = above;
        }
        if !changed {
            break;
        }
    }
    let host = bytes.iter().filter(|((t, i, _), _)| !t && case.buffers[*i].host);
    let host = host.filter_map(|(_, (write, _))| write.map(|w| level[w] + 1)).max().unwrap_or(0);
    (0..n).filter(|i| kept[*i].is_some()).map(|i| level[i]).max().unwrap_or(0).max(host)
}

impl Past {
    fn pairs(&self, access: Access, of: AccessFlags) -> Vec<(Stages, AccessFlags)> {
        let wanted = access.access.expanded() & of.expanded();
        let stages = access.stages.expanded() & self.stages;
        stages.iter().flat_map(|s| (s.supported_accesses() & wanted).iter().map(move |a| (s, a))).collect()
    }

    /// Whether a use of a byte must still wait for an earlier frame.
    fn hazard(&self, key: (bool, usize, u64), u: &Use) -> bool {
        let Some(byte) = self.bytes.get(&key) else { return false };
        let all = AccessFlags::READS | AccessFlags::WRITES;
        let needs = self.pairs(u.access, all);
        let sees = |r: &Record, (s, a): (Stages, AccessFlags)| {
            r.visible.iter().any(|(stages, access)| stages.contains(s) && access.contains(a))
        };
        let memory = byte.write.iter().any(|w| needs.iter().any(|n| !sees(&self.records[w], *n)));
        let stages: Stages = self.pairs(u.access, AccessFlags::WRITES).iter().map(|p| p.0).collect();
        let order = u.writes() && byte.reads.iter().any(|r| !self.records[r].after.contains(stages));
        memory || order
    }

    /// Takes in a frame as it was planned.
    fn pass(&mut self, frame: &Frame, planned: &Planned, kept: &[Option<Vec<Vec<u64>>>]) {
        let schedule = &planned.schedule;
        let n = frame.nodes.len();
        let levels = schedule.order.iter().map(|p| p.level + 1).max().unwrap_or(0);
        // Who touched a byte last is a matter of declaration; when, of the schedule.
        let mut made: HashMap<usize, Vec<Vec<Id>>> = HashMap::new();
        for level in 0..levels.max(schedule.barriers.len() as u32 + 1) {
            if level > 0 {
                self.barrier(schedule.entries_of(&schedule.barriers[level as usize - 1]));
            }
            for placed in schedule.order.iter().filter(|p| p.level == level) {
                let position = (placed.node as usize + frame.prologue) % n;
                let ids = frame.nodes[position].uses.iter().map(|u| self.records_of(u)).collect();
                made.insert(position, ids);
            }
        }
        for (i, node) in frame.nodes.iter().enumerate() {
            if let (Some(parts), Some(ids)) = (&kept[i], made.get(&i)) {
                self.touch(node, parts, ids);
            }
        }
        let live: BTreeSet<Id> =
            self.bytes.values().flat_map(|b| b.write.iter().chain(&b.reads)).copied().collect();
        self.records.retain(|id, _| live.contains(id));
    }

    /// Writes first: what a node reads of what it writes itself is still to be waited for.
    fn touch(&mut self, node: &Node, parts: &[Vec<u64>], ids: &[Vec<Id>]) {
        let mut mine: BTreeSet<(bool, usize, u64)> = BTreeSet::new();
        for writes in [true, false] {
            for ((u, part), ids) in node.uses.iter().zip(parts).zip(ids) {
                for byte in part {
                    let key = key(u.on, *byte);
                    let entry = self.bytes.entry(key).or_default();
                    let records = &self.records;
                    let of = |write: bool| {
                        ids.iter().copied().filter(move |id| write != records[id].access.is_empty())
                    };
                    if writes && u.writes() {
                        if mine.insert(key) {
                            *entry = Byte::default();
                        }
                        entry.write.extend(of(true));
                    } else if !writes && u.reads() {
                        entry.reads.extend(of(false));
                    }
                }
            }
        }
    }

    fn records_of(&mut self, u: &Use) -> Vec<Id> {
        let mut new = Vec::new();
        if u.writes() {
            new.extend(self.pairs(u.access, AccessFlags::WRITES));
        }
        if u.reads() {
            let stages: Stages = self.pairs(u.access, AccessFlags::READS).iter().map(|p| p.0).collect();
            new.extend(stages.iter().map(|s| (s, AccessFlags::empty())));
        }
        let first = self.next;
        for (stage, access) in new {
            let none = Stages::empty();
            let record = Record { stage, access, after: none, available: none, visible: Vec::new() };
            self.records.insert(self.next, record);
            self.next += 1;
        }
        (first..self.next).collect()
    }

    fn barrier(&mut self, call: &[BarrierEntry]) {
        for record in self.records.values_mut() {
            let (after, available) = (record.after | record.stage, record.available);
            for e in call {
                let (src, dst) = (e.src_stages.expanded(), e.dst_stages.expanded());
                if src.intersects(after) {
                    record.after |= dst;
                }
                let literal = src.contains(record.stage)
                    && !record.access.is_empty()
                    && e.src_access.expanded().contains(record.access);
                if literal || src.intersects(available) {
                    record.available |= dst;
                    let sees = (dst, e.dst_access.expanded());
                    if !record.visible.contains(&sees) {
                        record.visible.push(sees);
                    }
                }
            }
        }
    }
}
