//! Takes away any one barrier call, entry, stage or access of a plan: the simulator must object. That proves that
//! plans are minimal and that the simulator sees.
//!
//! Long mode: `MEMKIT_MUTANTS=100000 cargo test --release --test mutation -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod random;

use memkit_gpu::DummyBackendConfig;
use memkit_gpu::graph::{Access, AccessFlags, BarrierEntry, Mode, Schedule, Stages};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use random::case::{Buffer, Case, Frame, Kind, Limits, Node, On, Use, decode, raw};
use random::rig::{self, Sequence};
use random::search::{number, seed_of};
use random::{NOTHING, reference};
use std::collections::BTreeMap;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Call,
    Entry,
    SrcStage,
    SrcAccess,
    DstStage,
    DstAccess,
}

#[derive(Debug, Default)]
struct Tally {
    sequences: u64,
    scattered: u64,
    killed: BTreeMap<Part, u64>,
    total: BTreeMap<Part, u64>,
    survivors: Vec<String>,
}

impl Tally {
    fn all(&self) -> u64 {
        self.total.values().sum()
    }
}

/// The accesses that some stage is left for.
fn possible(access: AccessFlags, stages: Stages) -> AccessFlags {
    access.iter().filter(|a| a.expanded().intersects(stages.supported_accesses())).collect()
}

/// An entry without each of its bits. An access goes with the last stage that could do it.
fn smaller(e: BarrierEntry) -> Vec<(Part, BarrierEntry)> {
    let mut list = Vec::new();
    for s in e.src_stages.iter() {
        let src_stages = e.src_stages.difference(s);
        list.push((
            Part::SrcStage,
            BarrierEntry { src_stages, src_access: possible(e.src_access, src_stages), ..e },
        ));
    }
    for s in e.dst_stages.iter() {
        let dst_stages = e.dst_stages.difference(s);
        list.push((
            Part::DstStage,
            BarrierEntry { dst_stages, dst_access: possible(e.dst_access, dst_stages), ..e },
        ));
    }
    for a in e.src_access.iter() {
        list.push((Part::SrcAccess, BarrierEntry { src_access: e.src_access.difference(a), ..e }));
    }
    for a in e.dst_access.iter() {
        list.push((Part::DstAccess, BarrierEntry { dst_access: e.dst_access.difference(a), ..e }));
    }
    list
}

/// Every mutant of a schedule, with what was taken from where.
fn mutants(schedule: &Schedule) -> Vec<(Part, String, Schedule)> {
    let mut list = Vec::new();
    for (i, call) in schedule.barriers.iter().enumerate() {
        let mut mutant = schedule.clone();
        mutant.entries[call.entries.start as usize..call.entries.end as usize].fill(NOTHING);
        list.push((Part::Call, format!("call {i}"), mutant));
        let several = call.entries.len() > 1;
        for at in call.entries.start as usize..call.entries.end as usize {
            let entry = schedule.entries[at];
            let whole = several.then_some((Part::Entry, NOTHING));
            for (part, smaller) in whole.into_iter().chain(smaller(entry)) {
                let mut mutant = schedule.clone();
                mutant.entries[at] = smaller;
                list.push((part, format!("call {i}: {entry}  =>  {smaller}"), mutant));
            }
        }
    }
    list
}

fn check(sequence: &Sequence, tally: &mut Tally) {
    let hazards = sequence.run(None, false).hazards;
    assert!(hazards.is_empty(), "{}\nsee the test target `oracle`", hazards[0]);
    tally.sequences += 1;
    for (k, planned) in sequence.frames.iter().enumerate() {
        tally.scattered += planned.schedule.scatter_region_count() as u64;
        for (part, what, mutant) in mutants(&planned.schedule) {
            *tally.total.entry(part).or_default() += 1;
            if sequence.run(Some((k, &mutant)), false).hazards.is_empty() {
                tally.survivors.push(format!("frame {k}, {what}\n{}", random::listing(sequence, k)));
            } else {
                *tally.killed.entry(part).or_default() += 1;
            }
        }
    }
}

fn run(mutants: u64, seed: u64, lacking: bool) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_of(seed));
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tally = Tally::default();
    while tally.all() < mutants {
        let passes = [6, 12, 40][tally.sequences as usize % 3];
        let limits = Limits { frames: 4, passes, coarsen: false, lacking };
        let raw = raw(limits).new_tree(&mut runner).unwrap().current();
        let (sequence, _) = rig::plan(&decode(&raw, limits), rig::How { bare: true, ..Default::default() });
        check(&sequence, &mut tally);
    }
    let (killed, total) = (tally.killed.values().sum::<u64>(), tally.all());
    for (part, n) in &tally.total {
        println!("{part:?}: {}/{n}", tally.killed.get(part).copied().unwrap_or(0));
    }
    // No rule makes a mutant equivalent: the list is empty.
    println!("{} scattered regions", tally.scattered);
    println!("{} sequences: killed {killed}/{total}, equivalent 0", tally.sequences);
    let shortest = tally.survivors.iter().min_by_key(|s| s.len());
    assert!(killed == total, "{} survive, among them\n{}", tally.survivors.len(), shortest.unwrap());
}

#[test]
fn every_part_of_a_plan_is_needed() {
    run(6_000, 1, false);
}

/// Umbrella stages come apart there, into those that the device has.
#[test]
fn every_part_is_needed_on_devices_that_lack_stages() {
    run(2_000, 5, true);
}

/// Among these are calls with entries that others of the call make superfluous; few calls have such.
#[test]
fn every_part_is_needed_where_entries_have_to_be_pruned() {
    run(600, 102, false);
    run(1_000, 164, false);
}

/// Among these are entries of earlier calls that could serve a hazard, and then would leave another superfluous.
#[test]
fn every_part_is_needed_where_entries_of_earlier_calls_serve() {
    run(500, 126, true);
    run(500, 187, true);
}

/// Interleaved chains, repeated: the frame that an entry of an earlier call is widened for.
fn chains(chains: usize, length: usize, frames: usize) -> Case {
    let size = 16;
    let buffer = |i| Use {
        on: On::Buffer(i),
        range: 0..size,
        access: Access::COMPUTE_STORAGE_WRITE,
        mode: Mode::Overwrite,
    };
    let node = |i: usize| {
        let mut uses = vec![buffer(i)];
        if i >= chains {
            let access = Access::COMPUTE_STORAGE_READ;
            uses.push(Use { access, mode: Mode::Read, ..buffer(i - chains) });
        }
        Node { kind: Kind::Pass, uses, side_effects: false, salt: i as u32 }
    };
    let frame = Frame { nodes: (0..chains * length).map(node).collect(), ..Frame::default() };
    Case {
        buffers: vec![Buffer { size, host: false }; chains * length],
        pool: Vec::new(),
        frames: vec![frame; frames],
        max_ranges: None,
        stages: Stages::all(),
        meaning: &reference::Bytes,
        scatter: false,
    }
}

#[test]
fn every_part_of_repeated_chains_is_needed() {
    let (sequence, _) = rig::plan(&chains(3, 6, 5), rig::How { bare: true, ..Default::default() });
    let calls: Vec<_> = sequence.frames.iter().map(|f| f.schedule.entries.len()).collect();
    assert_eq!(calls, [5, 6, 6, 6, 6], "one entry a call");
    let mut tally = Tally::default();
    check(&sequence, &mut tally);
    assert!(tally.survivors.is_empty(), "{}", tally.survivors[0]);
}

/// Puts what the reports propose where a call is missing, until they fall silent. Returns how often.
fn mend(sequence: &Sequence, k: usize, call: usize) -> Result<u32, String> {
    let mut schedule = sequence.frames[k].schedule.clone();
    let mut proposed: Vec<BarrierEntry> = Vec::new();
    for round in 0..16 {
        let end = schedule.entries.len() as u32;
        schedule.entries.extend(&proposed);
        schedule.barriers[call].entries = end..schedule.entries.len() as u32;
        let hazards = sequence.run(Some((k, &schedule)), false).hazards;
        let Some(first) = hazards.first() else { return Ok(round) };
        let before = proposed.len();
        for entry in hazards.iter().filter_map(|h| h.mend) {
            if !proposed.contains(&entry) {
                proposed.push(entry);
            }
        }
        if proposed.len() == before {
            return Err(format!("{proposed:?} are there, and still:\n{first}"));
        }
    }
    Err(format!("not mended by {proposed:?}"))
}

#[test]
fn what_reports_propose_mends_a_plan_that_lacks_a_call() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let limits = Limits { frames: 4, passes: 12, coarsen: false, lacking: true };
    let mut rounds: BTreeMap<u32, u32> = BTreeMap::new();
    while rounds.values().sum::<u32>() < 500 {
        let raw = raw(limits).new_tree(&mut runner).unwrap().current();
        let (sequence, _) = rig::plan(&decode(&raw, limits), rig::How { bare: true, ..Default::default() });
        for (k, planned) in sequence.frames.iter().enumerate() {
            for call in 0..planned.schedule.barriers.len() {
                let n = mend(&sequence, k, call).unwrap_or_else(|e| {
                    panic!("frame {k}, call {call}: {e}\n{}", random::listing(&sequence, k))
                });
                *rounds.entry(n).or_default() += 1;
            }
        }
    }
    println!("mended by the reports of so many runs: {rounds:?}");
    assert!(!rounds.contains_key(&0), "a call that nobody misses");
}

/// Barrier calls that are dropped, and how many of those give wrong bytes under an adversary.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    wrong: u64,
    total: u64,
}

/// Drops barrier calls, one at a time, from frames whose last one reads everything back. What the reports say does not
/// count: only bytes do. Calls of which the host alone is in the second scope are not dropped without `check`: the
/// host comes after the device in any order.
fn dropped(calls: u64, check: bool) -> Wrong {
    const SEEDS: u64 = 16;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let limits = Limits { frames: 3, passes: 12, coarsen: false, lacking: false };
    let mut n = Wrong::default();
    while n.total < calls {
        let raw = raw(limits).new_tree(&mut runner).unwrap().current();
        let case = rig::with_results(decode(&raw, limits));
        let (sequence, _) = rig::plan(&case, rig::How { bare: true, ..Default::default() });
        let expected = reference::run(&sequence.case);
        let goes_wrong = |instead: Option<(usize, &Schedule)>, seed| {
            let config = DummyBackendConfig { check, adversary: Some(seed), ..Default::default() };
            let ran = sequence.run_on(config, instead, true);
            ran.bytes.iter().zip(&expected).any(|(b, e)| b.as_ref().is_some_and(|b| b != e))
        };
        for seed in 0..SEEDS {
            assert!(!goes_wrong(None, seed), "nothing is dropped");
        }
        for (k, planned) in sequence.frames.iter().enumerate() {
            let whole = mutants(&planned.schedule).into_iter().filter(|(part, ..)| *part == Part::Call);
            for ((.., mutant), call) in whole.zip(&planned.schedule.barriers) {
                let entries = planned.schedule.entries_of(call);
                if !check && entries.iter().all(|e| e.dst_stages == Stages::HOST) {
                    continue;
                }
                n.total += 1;
                n.wrong += u64::from((0..SEEDS).any(|seed| goes_wrong(Some((k, &mutant)), seed)));
            }
        }
    }
    let how = if check { "order and visibility" } else { "order alone" };
    println!(
        "adversary, {how}: {}/{} dropped barrier calls give wrong bytes in {SEEDS} seeds",
        n.wrong, n.total
    );
    n
}

/// Not all: what a pass with side effects reads too early, no byte shows. And seeds may miss.
#[test]
fn dropped_barrier_calls_give_wrong_bytes_under_an_adversary() {
    let n = dropped(150, true);
    assert!(n.wrong * 100 >= n.total * 95, "{n:?}");
    let n = dropped(150, false);
    assert!(n.wrong * 100 >= n.total * 80, "{n:?}");
}

#[test]
#[ignore = "long: run with --release; MEMKIT_MUTANTS says how many mutants at least, MEMKIT_SEED which"]
fn every_part_of_many_plans_is_needed() {
    run(number("MEMKIT_MUTANTS", 100_000), number("MEMKIT_SEED", 2), true);
}
