//! Phase 5: one barrier call before each level, with the fewest entries.
//!
//! A hazard asks for something only if the calls so far do not cover it. What it asks for is judged per atom (one
//! stage with one access); what several hazards of one call ask for is merged, so that no entry and no bit of an
//! entry is there twice.

mod causes;
mod entries;
mod flags;
mod needs;
mod prune;
mod widen;

use super::Positions;
use super::hazards::{Detail, Hazard, Hazards, Source};
use super::order::{self, Levels};
use crate::coverage::{Coverage, EntryScopes};
use crate::pairs::{AtomIndex, AtomSet, PairId, PairTable, bits};
use crate::schedule::{BarrierCall, HazardKind, Party, Schedule};
use causes::{PendingCause, cause};
use needs::{ChainNeed, ExecNeed, MemoryNeed, Needs, push_new};
use smallvec::SmallVec;

/// The outcome beside what goes into the schedule, and the memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// The entries in numbers, parallel to [`Schedule::entries`].
    pub(crate) scopes: Vec<EntryScopes>,
    needs: Needs,
    /// Relations already asked for in the current call.
    asked: Vec<(PairId, PairId, Asked)>,
    pending_causes: Vec<PendingCause>,
    /// Hazards of the current call against earlier frames.
    earlier: Vec<Earlier>,
    chains: widen::Chains,
    scratch: Coverage,
}

/// A hazard against an earlier frame that an earlier call of this frame may serve.
#[derive(Clone, Copy, Debug)]
struct Earlier {
    consumer: u32,
    /// Position among the hazards.
    hazard: u32,
    write: AtomIndex,
    unseen: AtomSet,
}

/// Which dependencies were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Memory,
    Exec,
    Both,
}

/// One hazard while it is asked about.
struct Asking<'a> {
    pairs: &'a PairTable,
    cover: &'a Coverage,
    level: u64,
    /// Its relation was asked for before: only the cause is wanted.
    known: bool,
    /// Whether all of the source is asked for literally towards all of the destination.
    literal: bool,
    need: EntryScopes,
    /// Stages to chain from.
    chain: u64,
}

impl Asking<'_> {
    fn without_host(&self, stages: u64) -> u64 {
        bits(stages).filter(|&s| !self.pairs.is_host(s)).fold(0, |set, s| set | 1 << s)
    }
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
                let detail =
                    hazards.host_details.get(i).filter(|_| hazards.details.len() == hazards.list.len());
                let level = base + u64::from(levels.level_of(hazard.src));
                out.ask(pairs, cover, level, *hazard, (Party::Host, detail));
            }
        }
        let first = schedule.entries.len();
        let (scopes, entries) = (&mut out.scopes, &mut schedule.entries);
        entries::make(&mut out.needs, &mut entries::Out { pairs, scopes, entries, first });
        cover.apply(&out.scopes[first..], boundary, &mut out.scratch);
        let entries = first as u32..schedule.entries.len() as u32;
        out.chains.note(&out.needs, &out.scopes, schedule, entries.clone(), boundary);
        out.name_causes(pairs, positions, entries.clone(), schedule);
        schedule.barriers.push(BarrierCall { level, entries });
    }
    schedule.causes.sort_by_key(|c| c.entry);
}

impl Calls {
    fn begin_call(&mut self) {
        self.needs.clear();
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
                let detail = hazards.details.get(first + i);
                match hazard.src {
                    Source::Node(src) => {
                        let level = base + u64::from(levels.level[src as usize]);
                        self.ask(pairs, cover, level, *hazard, (consumer, detail));
                    }
                    Source::Earlier(_) => self.earlier.push(Earlier {
                        consumer: position,
                        hazard: (first + i) as u32,
                        write: 0,
                        unseen: AtomSet::default(),
                    }),
                }
            }
        }
        if !self.earlier.is_empty() {
            self.ask_earlier(pairs, positions, hazards, cover, schedule);
        }
    }

    /// Takes in the hazards of the call against earlier frames.
    fn ask_earlier(
        &mut self,
        pairs: &PairTable,
        positions: Positions,
        hazards: &Hazards,
        cover: &mut Coverage,
        schedule: &mut Schedule,
    ) {
        let mut earlier = std::mem::take(&mut self.earlier);
        // First those that only this call can serve.
        earlier.retain_mut(|e| {
            let hazard = hazards.list[e.hazard as usize];
            let known = self.may_widen(pairs, cover, &hazard).filter(|&(write, unseen)| {
                self.chains.find(pairs, &schedule.entries, &self.scopes, write, unseen).is_some()
            });
            match known {
                Some((write, unseen)) => (e.write, e.unseen) = (write, unseen),
                None => self.ask_one(pairs, positions, hazards, cover, *e),
            }
            known.is_some()
        });
        // One entry serves all hazards of a write, or none does; what is asked for here may serve others on its way.
        let mut unseen: SmallVec<[(AtomIndex, AtomSet); 4]> = SmallVec::new();
        loop {
            unseen.clear();
            for e in &earlier {
                match unseen.iter_mut().find(|u| u.0 == e.write) {
                    Some(known) => known.1 = known.1.union(e.unseen),
                    None => unseen.push((e.write, e.unseen)),
                }
            }
            let before = earlier.len();
            earlier.retain(|e| {
                let all = unseen.iter().find(|u| u.0 == e.write).map_or(e.unseen, |u| u.1);
                let found = self.chains.find(pairs, &schedule.entries, &self.scopes, e.write, all);
                let hazard = hazards.list[e.hazard as usize];
                let keep = found.is_some() && self.may_widen(pairs, cover, &hazard).is_some();
                if !keep {
                    self.ask_one(pairs, positions, hazards, cover, *e);
                }
                keep
            });
            if earlier.len() == before {
                break;
            }
        }
        for &(write, unseen) in &unseen {
            let alike = || earlier.iter().filter(|e| e.write == write);
            let Some(number) = self.chains.find(pairs, &schedule.entries, &self.scopes, write, unseen) else {
                // Widened for another write just now.
                alike().for_each(|e| self.ask_one(pairs, positions, hazards, cover, *e));
                continue;
            };
            let entry = self.chains.widen(number, pairs, &mut self.scopes, write, cover, schedule);
            for e in alike() {
                let Some(detail) = hazards.details.get(e.hazard as usize) else { continue };
                let hazard = hazards.list[e.hazard as usize];
                let consumer = Party::Node(positions.node(e.consumer));
                schedule.causes.push(cause(pairs, positions, entry, &hazard, detail, consumer));
            }
        }
        earlier.clear();
        self.earlier = earlier;
    }

    fn ask_one(
        &mut self,
        pairs: &PairTable,
        positions: Positions,
        hazards: &Hazards,
        cover: &Coverage,
        e: Earlier,
    ) {
        let hazard = hazards.list[e.hazard as usize];
        let Source::Earlier(level) = hazard.src else { return };
        let consumer = Party::Node(positions.node(e.consumer));
        self.ask(pairs, cover, level, hazard, (consumer, hazards.details.get(e.hazard as usize)));
    }

    /// The only write of a hazard against an earlier frame, and who cannot see it yet, if this call does not serve it
    /// anyway.
    fn may_widen(
        &self,
        pairs: &PairTable,
        cover: &Coverage,
        hazard: &Hazard,
    ) -> Option<(AtomIndex, AtomSet)> {
        let Source::Earlier(level) = hazard.src else { return None };
        let (src, dst) = (pairs.get(hazard.src_pair), pairs.get(hazard.dst_pair));
        let [write] = *src.write_list.as_slice() else { return None };
        if hazard.kind == HazardKind::WriteAfterRead {
            return None;
        }
        let mut unseen = AtomSet::default();
        for &to in dst.atom_list.iter().filter(|&&to| cover.visible(write, to) <= level) {
            unseen.insert(to);
        }
        let left = self.needs.left_by(pairs, write, cover.available_at(write, level), unseen);
        (!left.is_empty()).then_some((write, unseen))
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
        let kind = match hazard.kind {
            HazardKind::ReadAfterWrite | HazardKind::WriteAfterWrite => Asked::Memory,
            HazardKind::WriteAfterRead => Asked::Exec,
            HazardKind::Order => Asked::Both,
        };
        let key = (hazard.src_pair, hazard.dst_pair, kind);
        // What was asked for literally serves hazards of the relation at any level.
        let known = self.asked.contains(&key);
        if known && detail.is_none() {
            return;
        }
        let mut asking =
            Asking { pairs, cover, level, known, literal: true, need: EntryScopes::default(), chain: 0 };
        if kind != Asked::Exec {
            self.ask_memory(&hazard, &mut asking);
        }
        let (src, dst) = (pairs.get(hazard.src_pair), pairs.get(hazard.dst_pair));
        match hazard.kind {
            HazardKind::WriteAfterRead => self.ask_exec(src.read_stages, dst.write_stages, &mut asking),
            HazardKind::Order => self.ask_exec(src.stages, dst.stages, &mut asking),
            HazardKind::ReadAfterWrite | HazardKind::WriteAfterWrite => {}
        }
        if asking.literal && !known {
            self.asked.push(key);
        }
        let Asking { need, chain, .. } = asking;
        if let Some(detail) = detail
            && need != EntryScopes::default()
        {
            self.pending_causes.push(PendingCause { hazard, detail: detail.clone(), consumer, need, chain });
        }
    }

    fn ask_memory(&mut self, hazard: &Hazard, asking: &mut Asking<'_>) {
        let (pairs, level) = (asking.pairs, asking.level);
        let (src, dst) = (pairs.get(hazard.src_pair), pairs.get(hazard.dst_pair));
        let mut rows: SmallVec<[(AtomSet, AtomSet); 4]> = SmallVec::new();
        for &write in &src.write_list {
            let mut unseen = AtomSet::default();
            for &to in dst.atom_list.iter().filter(|&&to| asking.cover.visible(write, to) <= level) {
                unseen.insert(to);
            }
            if unseen.is_empty() {
                asking.literal = false;
                continue;
            }
            asking.need.dst_atoms = asking.need.dst_atoms.union(unseen);
            asking.need.src_writes.insert(write);
            if !asking.known {
                self.chains.serve(write, level);
            }
            // A chain by way of the host would be no cheaper, and reads strangely.
            let from = asking.without_host(asking.cover.available_at(write, level));
            if from != 0 {
                asking.literal = false;
                asking.chain |= from;
                if !asking.known {
                    push_new(&mut self.needs.chained, ChainNeed { write, from, dst: unseen });
                }
                continue;
            }
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
            asking.literal = asking.literal && all;
            let whole = all.then_some((hazard.src_pair, hazard.dst_pair));
            if !asking.known {
                push_new(&mut self.needs.memory, MemoryNeed { src: rows_src, dst: unseen, whole });
            }
        }
    }

    fn ask_exec(&mut self, src: u64, dst: u64, asking: &mut Asking<'_>) {
        for s in bits(src) {
            let late = bits(dst).filter(|&t| asking.cover.ordered(s, t) <= asking.level);
            let late = late.fold(0, |set, t| set | 1 << t);
            asking.literal = asking.literal && late == dst;
            if late == 0 {
                continue;
            }
            let own = 1 << s;
            let via = own | asking.without_host(asking.cover.ordered_after(s, asking.level));
            asking.literal = asking.literal && via == own;
            asking.need.src_stages |= via;
            asking.need.dst_stages |= late;
            if asking.known {
                continue;
            }
            match self.needs.exec.iter_mut().find(|e| e.via == via) {
                Some(same) => same.dst |= late,
                None => self.needs.exec.push(ExecNeed { own, via, dst: late }),
            }
        }
    }
}
