//! Phase 5: one barrier call before each level, with the fewest entries.
//!
//! A hazard asks for something only if the calls so far do not cover it. What it asks for is judged per atom (one
//! stage with one access); what several hazards of one call ask for is merged, so that no entry and no bit of an
//! entry is there twice.

use super::Positions;
use super::hazards::{Detail, Hazard, Hazards, Source};
use super::order::{self, Levels};
use crate::access::{AccessFlags, Stages};
use crate::coverage::{Coverage, EntryScopes};
use crate::pairs::{AtomIndex, AtomSet, PairId, PairTable, bits};
use crate::schedule::{BarrierCall, BarrierEntry, Cause, HazardKind, Party, Schedule};
use smallvec::SmallVec;

/// How many entries are kept in mind to be widened; more would make planning quadratic.
const MAX_CHAINS: usize = 8;

/// The outcome beside what goes into the schedule, and the memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// The entries in numbers, parallel to [`Schedule::entries`].
    pub(crate) scopes: Vec<EntryScopes>,
    memory: Vec<MemoryNeed>,
    chained: Vec<ChainNeed>,
    exec: Vec<ExecNeed>,
    /// Relations already asked for in the current call.
    asked: Vec<(PairId, PairId, bool)>,
    pending_causes: Vec<PendingCause>,
    /// Hazards of the current call against earlier frames: position, and number among the position's hazards.
    earlier: Vec<(u32, u32)>,
    /// The first entries of this frame that chain on from writes that were available already, and their boundaries.
    chains: SmallVec<[(u32, u64); MAX_CHAINS]>,
    scratch: Coverage,
}

/// Writes that must become available and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MemoryNeed {
    src: AtomSet,
    dst: AtomSet,
    /// The declared accesses, if the need is for all of both.
    whole: Option<(PairId, PairId)>,
}

/// Writes that are available already and must become visible, by a chain from any of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChainNeed {
    write: AtomIndex,
    from: u64,
    dst: AtomSet,
}

/// Stages that must come after others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExecNeed {
    src: u64,
    dst: u64,
}

#[derive(Debug)]
struct PendingCause {
    hazard: Hazard,
    detail: Detail,
    consumer: Party,
    need: EntryScopes,
    chain: u64,
}

/// Places the calls. `cover` is moved on by each; `base` is the level the frame begins at.
#[expect(clippy::too_many_arguments, reason = "the inputs of one phase")]
pub(crate) fn run(
    pairs: &PairTable,
    positions: Positions,
    hazards: &Hazards,
    levels: &Levels,
    base: u64,
    cover: &mut Coverage,
    out: &mut Calls,
    schedule: &mut Schedule,
) {
    out.scopes.clear();
    out.chains.clear();
    let last = levels.last().max(levels.host.unwrap_or(0));
    for level in 1..=last {
        let boundary = base + u64::from(level);
        out.begin_call();
        if level <= levels.last() {
            let range = levels.begin[level as usize] as usize..levels.begin[level as usize + 1] as usize;
            out.ask_level(pairs, positions, hazards, levels, base, &levels.sorted[range], cover, schedule);
        }
        if levels.host == Some(level) {
            for (i, hazard) in hazards.host.iter().enumerate() {
                // Host hazards always carry details; the schedule shows them only if causes are collected.
                let detail = hazards.host_details.get(i).filter(|_| hazards.details.len() == hazards.list.len());
                let level = base + u64::from(levels.level_of(hazard.src));
                out.ask(pairs, cover, level, *hazard, (Party::Host, detail));
            }
        }
        let first = schedule.entries.len();
        out.finish_call(pairs, schedule);
        cover.apply(&out.scopes[first..], boundary, &mut out.scratch);
        let entries = first as u32..schedule.entries.len() as u32;
        out.note_chains(entries.clone(), boundary, schedule);
        out.name_causes(pairs, positions, entries.clone(), schedule);
        schedule.barriers.push(BarrierCall { level, entries });
    }
    schedule.causes.sort_by_key(|c| c.entry);
}

impl Calls {
    fn begin_call(&mut self) {
        self.memory.clear();
        self.chained.clear();
        self.exec.clear();
        self.asked.clear();
        self.pending_causes.clear();
        self.earlier.clear();
    }

    /// Takes in the hazards of one level: those within the frame first, because what they ask for may serve those
    /// against earlier frames too.
    #[expect(clippy::too_many_arguments, reason = "the inputs of one phase")]
    fn ask_level(
        &mut self,
        pairs: &PairTable,
        positions: Positions,
        hazards: &Hazards,
        levels: &Levels,
        base: u64,
        nodes: &[u32],
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) {
        for &position in nodes {
            let first = hazards.begin[position as usize] as usize;
            let consumer = Party::Node(positions.node(position));
            for (i, hazard) in order::of(hazards, position).iter().enumerate() {
                match hazard.src {
                    Source::Node(src) => {
                        let level = base + u64::from(levels.level[src as usize]);
                        let detail = hazards.details.get(first + i);
                        self.ask(pairs, cover, level, *hazard, (consumer, detail));
                    }
                    Source::Earlier(_) => self.earlier.push((position, i as u32)),
                }
            }
        }
        for i in 0..self.earlier.len() {
            let (position, number) = self.earlier[i];
            let at = hazards.begin[position as usize] as usize + number as usize;
            let hazard = hazards.list[at];
            let Source::Earlier(level) = hazard.src else { continue };
            let consumer = Party::Node(positions.node(position));
            let detail = hazards.details.get(at);
            if let Some(entry) = self.widen(pairs, cover, &hazard, level, schedule) {
                if let Some(detail) = detail {
                    schedule.causes.push(cause(pairs, positions, entry, &hazard, detail, consumer));
                }
                continue;
            }
            self.ask(pairs, cover, level, hazard, (consumer, detail));
        }
    }

    fn note_chains(&mut self, entries: std::ops::Range<u32>, boundary: u64, schedule: &Schedule) {
        for e in entries {
            let entry = &schedule.entries[e as usize];
            if self.chains.len() < MAX_CHAINS && entry.src_access.is_empty() && !entry.dst_access.is_empty() {
                self.chains.push((e, boundary));
            }
        }
    }

    /// Serves a hazard against an earlier frame by an entry of an earlier call of this frame, if that only has to
    /// make available what it makes visible already. One source access there saves an entry here, and all later
    /// hazards of the kind are served with it.
    fn widen(
        &mut self,
        pairs: &PairTable,
        cover: &mut Coverage,
        hazard: &Hazard,
        level: u64,
        schedule: &mut Schedule,
    ) -> Option<u32> {
        let (src, dst) = (pairs.get(hazard.src_pair), pairs.get(hazard.dst_pair));
        let [write] = *src.write_list.as_slice() else { return None };
        if hazard.kind == HazardKind::WriteAfterRead {
            return None;
        }
        let mut unseen = AtomSet::default();
        for &to in dst.atom_list.iter().filter(|&&to| cover.visible(write, to) <= level) {
            unseen.insert(to);
        }
        let here = self.memory.iter().filter(|n| n.src.contains(write));
        if here.fold(unseen, |left, n| left.minus(n.dst)).is_empty() {
            return None;
        }
        let atom = pairs.atom(write);
        let fits = |&(e, _): &(u32, u64)| {
            let scopes = &self.scopes[e as usize];
            schedule.entries[e as usize].src_access.is_empty()
                && scopes.src_stages >> atom.stage & 1 != 0
                && unseen.minus(scopes.dst_atoms).is_empty()
        };
        let (entry, boundary) = self.chains.iter().copied().find(fits)?;
        schedule.entries[entry as usize].src_access |= atom.access;
        let scopes = &mut self.scopes[entry as usize];
        scopes.src_writes = scopes.src_writes.union(pairs.atoms_of(1 << atom.stage, atom.access));
        cover.raise_visible(write, scopes, boundary);
        Some(entry)
    }

    /// Takes in what one hazard still needs; its source happened at `level`.
    fn ask(
        &mut self,
        pairs: &PairTable,
        cover: &Coverage,
        level: u64,
        hazard: Hazard,
        (consumer, detail): (Party, Option<&Detail>),
    ) {
        let exec_only = hazard.kind == HazardKind::WriteAfterRead;
        let key = (hazard.src_pair, hazard.dst_pair, exec_only);
        // The newest hazard of a relation decides; older ones are covered with it.
        if detail.is_none() && self.asked.contains(&key) {
            return;
        }
        let mut need = EntryScopes::default();
        let mut chain = 0;
        let mut asked_all = true;
        if !exec_only {
            asked_all = self.ask_memory(pairs, cover, &hazard, level, &mut need, &mut chain);
        }
        if exec_only || hazard.kind == HazardKind::Order {
            let (src, dst) = (pairs.get(hazard.src_pair).stages, pairs.get(hazard.dst_pair).stages);
            let all = self.ask_exec(cover, src, dst, level, &mut need);
            asked_all = asked_all && all;
        }
        if asked_all && detail.is_none() {
            self.asked.push(key);
        }
        if let Some(detail) = detail
            && need != EntryScopes::default()
        {
            self.pending_causes.push(PendingCause { hazard, detail: detail.clone(), consumer, need, chain });
        }
    }

    /// Returns whether all atoms of the source are asked for literally towards all of the destination.
    fn ask_memory(
        &mut self,
        pairs: &PairTable,
        cover: &Coverage,
        hazard: &Hazard,
        level: u64,
        need: &mut EntryScopes,
        chain: &mut u64,
    ) -> bool {
        let (src, dst) = (pairs.get(hazard.src_pair), pairs.get(hazard.dst_pair));
        let mut rows: SmallVec<[(AtomSet, AtomSet); 4]> = SmallVec::new();
        let mut literal = true;
        for &write in &src.write_list {
            let mut unseen = AtomSet::default();
            for &to in dst.atom_list.iter().filter(|&&to| cover.visible(write, to) <= level) {
                unseen.insert(to);
            }
            if unseen.is_empty() {
                literal = false;
                continue;
            }
            need.dst_atoms = need.dst_atoms.union(unseen);
            let mut from = cover.available_at(write, level);
            // A chain by way of the host would be no cheaper, and reads strangely.
            from = bits(from).filter(|&s| !pairs.is_host(s)).fold(0, |set, s| set | 1 << s);
            if from != 0 {
                literal = false;
                *chain |= from;
                need.src_writes.insert(write);
                push_new(&mut self.chained, ChainNeed { write, from, dst: unseen });
                continue;
            }
            need.src_writes.insert(write);
            match rows.iter_mut().find(|r| r.1 == unseen) {
                Some(row) => row.0.insert(write),
                None => {
                    let mut one = AtomSet::default();
                    one.insert(write);
                    rows.push((one, unseen));
                }
            }
        }
        for (rows_src, unseen) in rows {
            let all = rows_src == src.writes && unseen == dst.atoms;
            literal = literal && all;
            let whole = all.then_some((hazard.src_pair, hazard.dst_pair));
            push_new(&mut self.memory, MemoryNeed { src: rows_src, dst: unseen, whole });
        }
        literal
    }

    fn ask_exec(&mut self, cover: &Coverage, src: u64, dst: u64, level: u64, need: &mut EntryScopes) -> bool {
        let mut all = true;
        for s in bits(src) {
            let late = bits(dst).filter(|&t| cover.ordered(s, t) <= level).fold(0, |set, t| set | 1 << t);
            all = all && late == dst;
            if late != 0 {
                need.src_stages |= 1 << s;
                need.dst_stages |= late;
                match self.exec.iter_mut().find(|e| e.dst == late) {
                    Some(known) => known.src |= 1 << s,
                    None => self.exec.push(ExecNeed { src: 1 << s, dst: late }),
                }
            }
        }
        all
    }

    /// Turns what was asked for into entries.
    fn finish_call(&mut self, pairs: &PairTable, schedule: &mut Schedule) {
        let first = self.scopes.len();
        if let ([one], [], []) = (self.memory.as_slice(), self.chained.as_slice(), self.exec.as_slice()) {
            let one = *one;
            self.push_memory(pairs, one.src, one.dst, one.whole, schedule);
            return;
        }
        // Larger needs first: what they cover, smaller ones need not ask for again.
        self.memory.sort_by_key(|n| std::cmp::Reverse(n.src.len() * n.dst.len()));
        for i in 0..self.memory.len() {
            self.add_memory(pairs, self.memory[i], first, schedule);
        }
        self.chained.sort_by_key(|n| std::cmp::Reverse(n.dst.len()));
        for i in 0..self.chained.len() {
            self.add_chained(pairs, self.chained[i], first, schedule);
        }
        self.exec.sort_by_key(|n| std::cmp::Reverse(n.src.count_ones() * n.dst.count_ones()));
        for i in 0..self.exec.len() {
            self.add_exec(pairs, self.exec[i], first, schedule);
        }
    }

    fn add_memory(&mut self, pairs: &PairTable, need: MemoryNeed, first: usize, schedule: &mut Schedule) {
        let mut rows: SmallVec<[(AtomSet, AtomSet); 4]> = SmallVec::new();
        for write in need.src.iter() {
            let covering = self.scopes[first..].iter().filter(|e| e.src_writes.contains(write));
            let left = covering.fold(need.dst, |left, e| left.minus(e.dst_atoms));
            if left.is_empty() {
                continue;
            }
            match rows.iter_mut().find(|r| r.1 == left) {
                Some(row) => row.0.insert(write),
                None => {
                    let mut one = AtomSet::default();
                    one.insert(write);
                    rows.push((one, left));
                }
            }
        }
        for (src, dst) in rows {
            let whole = need.whole.filter(|_| src == need.src && dst == need.dst);
            self.push_memory(pairs, src, dst, whole, schedule);
        }
    }

    fn add_chained(&mut self, pairs: &PairTable, need: ChainNeed, first: usize, schedule: &mut Schedule) {
        let reaches = |e: &&EntryScopes| e.src_stages & need.from != 0 || e.src_writes.contains(need.write);
        let covering = self.scopes[first..].iter().filter(reaches);
        let left = covering.fold(need.dst, |left, e| left.minus(e.dst_atoms));
        if left.is_empty() {
            return;
        }
        // A stage that this call waits for anyway costs nothing more.
        let dst = left.iter().fold(0u64, |set, a| set | 1 << pairs.atom(a).stage);
        let anyway = self.exec.iter().filter(|e| e.dst & dst != 0).fold(0, |set, e| set | e.src);
        let from = if need.from & anyway != 0 { need.from & anyway } else { need.from };
        let stage = 1u64 << from.trailing_zeros();
        for (dst_stages, dst_access) in flags_of(pairs, left) {
            let entry = BarrierEntry {
                src_stages: pairs.stage_flags(stage),
                src_access: AccessFlags::empty(),
                dst_stages: pairs.stage_flags(dst_stages),
                dst_access,
            };
            let dst_atoms = pairs.atoms_of(dst_stages, dst_access);
            let scopes =
                EntryScopes { src_stages: stage, src_writes: AtomSet::default(), dst_stages, dst_atoms };
            self.push(entry, scopes, schedule);
        }
    }

    fn add_exec(&mut self, pairs: &PairTable, need: ExecNeed, first: usize, schedule: &mut Schedule) {
        let mut rows: SmallVec<[(u64, u64); 4]> = SmallVec::new();
        for s in bits(need.src) {
            let covering = self.scopes[first..].iter().filter(|e| e.src_stages >> s & 1 != 0);
            let left = covering.fold(need.dst, |left, e| left & !e.dst_stages);
            if left == 0 {
                continue;
            }
            match rows.iter_mut().find(|r| r.1 == left) {
                Some(row) => row.0 |= 1 << s,
                None => rows.push((1 << s, left)),
            }
        }
        for (src_stages, dst_stages) in rows {
            let entry = BarrierEntry {
                src_stages: pairs.stage_flags(src_stages),
                src_access: AccessFlags::empty(),
                dst_stages: pairs.stage_flags(dst_stages),
                dst_access: AccessFlags::empty(),
            };
            self.push(entry, EntryScopes { src_stages, dst_stages, ..EntryScopes::default() }, schedule);
        }
    }

    fn push_memory(
        &mut self,
        pairs: &PairTable,
        src: AtomSet,
        dst: AtomSet,
        whole: Option<(PairId, PairId)>,
        schedule: &mut Schedule,
    ) {
        for (src_stages, src_access) in flags_of(pairs, src) {
            for (dst_stages, dst_access) in flags_of(pairs, dst) {
                let scopes = EntryScopes {
                    src_stages,
                    src_writes: pairs.atoms_of(src_stages, src_access),
                    dst_stages,
                    dst_atoms: pairs.atoms_of(dst_stages, dst_access),
                };
                let (src_flags, src_kinds) = declared(pairs, whole.map(|w| w.0), src_stages, src_access);
                let (dst_flags, dst_kinds) = declared(pairs, whole.map(|w| w.1), dst_stages, dst_access);
                let entry = BarrierEntry {
                    src_stages: src_flags,
                    src_access: src_kinds & AccessFlags::WRITES,
                    dst_stages: dst_flags,
                    dst_access: dst_kinds,
                };
                self.push(entry, scopes, schedule);
            }
        }
    }

    fn push(&mut self, entry: BarrierEntry, scopes: EntryScopes, schedule: &mut Schedule) {
        self.scopes.push(scopes);
        schedule.entries.push(entry);
    }

    /// Says which entry each hazard of the call ended in.
    fn name_causes(
        &mut self,
        pairs: &PairTable,
        positions: Positions,
        entries: std::ops::Range<u32>,
        schedule: &mut Schedule,
    ) {
        for pending in self.pending_causes.drain(..) {
            let serves = |e: &EntryScopes| {
                let memory = e.dst_atoms.intersects(&pending.need.dst_atoms)
                    && (e.src_writes.intersects(&pending.need.src_writes) || e.src_stages & pending.chain != 0);
                let exec = e.src_stages & pending.need.src_stages != 0
                    && e.dst_stages & pending.need.dst_stages != 0;
                memory || exec
            };
            let Some(entry) = entries.clone().find(|&e| serves(&self.scopes[e as usize])) else { continue };
            let cause = cause(pairs, positions, entry, &pending.hazard, &pending.detail, pending.consumer);
            schedule.causes.push(cause);
        }
    }
}

fn cause(
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

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// The stages and accesses of a set of atoms: one group for each distinct set of accesses, so that no stage gets an
/// access that was not asked for.
fn flags_of(pairs: &PairTable, atoms: AtomSet) -> SmallVec<[(u64, AccessFlags); 2]> {
    let mut by_stage: SmallVec<[(u64, AccessFlags); 2]> = SmallVec::new();
    for atom in atoms.iter() {
        let atom = pairs.atom(atom);
        let stage = 1u64 << atom.stage;
        match by_stage.iter_mut().find(|g| g.0 == stage) {
            Some(group) => group.1 |= atom.access,
            None => by_stage.push((stage, atom.access)),
        }
    }
    let mut groups: SmallVec<[(u64, AccessFlags); 2]> = SmallVec::new();
    for (stage, access) in by_stage {
        // Joining is exact when the stage could do nothing more with the joined accesses, and nor could the others.
        let exact = |g: &(u64, AccessFlags)| {
            let all = g.1 | access;
            let possible = |stages: u64| pairs.stage_flags(stages).supported_accesses() & all;
            possible(stage) == access && bits(g.0).all(|s| possible(1 << s) == (g.1 & possible(1 << s)))
                && possible(g.0) & !g.1 == AccessFlags::empty()
        };
        match groups.iter_mut().find(|g| exact(g)) {
            Some(group) => {
                group.0 |= stage;
                group.1 |= access;
            }
            None => groups.push((stage, access)),
        }
    }
    groups
}

/// The flags as they were declared, if these are all of them; umbrella bits then stay as short as they were said.
fn declared(
    pairs: &PairTable,
    pair: Option<PairId>,
    stages: u64,
    access: AccessFlags,
) -> (Stages, AccessFlags) {
    let exact = (pairs.stage_flags(stages), access);
    let Some(pair) = pair.map(|p| pairs.get(p)) else { return exact };
    if pair.stages == stages { (pair.access.stages, pair.access.access) } else { exact }
}
