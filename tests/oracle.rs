//! The simulator as the planner's oracle: random frames run without a hazard and give the bytes that their
//! declarations mean.
//!
//! Long mode: `MEMKIT_FRAMES=100000 cargo test --release --test oracle -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod random;

use memkit_gpu::DummyBackendConfig;
use memkit_gpu::graph::{Access, GraphError, Mode, Stages};
use random::case::{Buffer, Case, Frame, Kind, Limits, Node, On, Use};
use random::run::Ran;
use random::search::{number, search, seed_of};
use random::{depth, listing, reference, rig};

const LIMITS: Limits = Limits { frames: 6, passes: 200, coarsen: true, lacking: true };

#[derive(Debug, Default)]
struct Tally {
    sequences: u64,
    frames: u64,
    passes: u64,
    calls: u64,
    scattered: u64,
    cycles: u64,
}

fn check(case: &Case, tally: &mut Tally) -> Result<(), String> {
    let case = rig::with_results(case.clone());
    let (sequence, errors) = rig::plan(&case, rig::How::default());
    for e in &errors {
        if !matches!(e.first, GraphError::Cycle { .. }) {
            return Err(format!("a valid frame is refused: {e}"));
        }
    }
    same_plans(&case, &sequence)?;
    let expected = depth::of(&sequence);
    for (k, (planned, expected)) in sequence.frames.iter().zip(expected).enumerate() {
        let calls = planned.schedule.barriers.len();
        // Merged ranges may cost a call.
        if calls != expected && (case.max_ranges.is_none() || calls < expected) {
            return Err(format!(
                "frame {k}: {calls} barrier calls, but the longest chain of hazards is {expected} deep\n{}",
                listing(&sequence, k)
            ));
        }
        tally.frames += 1;
        tally.passes += planned.graph.len() as u64;
        tally.calls += calls as u64;
        tally.scattered += planned.schedule.scatter_region_count() as u64;
    }
    let expected = reference::run(&sequence.case);
    for adversary in [None, Some(adversary_of(&sequence.case))] {
        let ran = sequence.run_on(DummyBackendConfig { adversary, ..Default::default() }, None, true);
        right(&sequence, &ran, &expected).map_err(|e| format!("adversary {adversary:?}: {e}"))?;
    }
    tally.sequences += 1;
    tally.cycles += errors.len() as u64;
    Ok(())
}

/// No hazard, and the expected bytes.
fn right(sequence: &rig::Sequence, ran: &Ran, expected: &[Vec<u8>]) -> Result<(), String> {
    if let Some(hazard) = ran.hazards.first() {
        let k = hazard.second.submission as usize - 1;
        return Err(format!(
            "{hazard}\nand {} more\n{}",
            ran.hazards.len() - 1,
            listing(sequence, k.min(sequence.frames.len() - 1))
        ));
    }
    for (i, (bytes, expected)) in ran.bytes.iter().zip(expected).enumerate() {
        if bytes.as_ref().is_some_and(|b| b != expected) {
            return Err(format!("b{i}: got {bytes:?}\nexpected {expected:?}"));
        }
    }
    Ok(())
}

/// An adversary's seed that the case gives, so that a smaller case keeps its own.
fn adversary_of(case: &Case) -> u64 {
    let nodes = case.frames.iter().flat_map(|f| &f.nodes);
    nodes.fold(0, |seed, n| reference::mix(seed, &n.salt.to_le_bytes()))
}

/// Planning is deterministic, and causes change nothing.
fn same_plans(case: &Case, sequence: &rig::Sequence) -> Result<(), String> {
    let (again, _) = rig::plan(case, rig::How::default());
    let (bare, _) = rig::plan(case, rig::How { bare: true, ..Default::default() });
    for ((a, b), c) in sequence.frames.iter().zip(&again.frames).zip(&bare.frames) {
        // Transients carry the serial number of their frame.
        let mut again = b.schedule.clone();
        again.resources.clone_from(&a.schedule.resources);
        if again != a.schedule {
            return Err("planning twice gives two schedules".to_owned());
        }
        let (a, c) = (&a.schedule, &c.schedule);
        if (&a.queues, &a.barriers, &a.entries, &a.regions, &a.scatters)
            != (&c.queues, &c.barriers, &c.entries, &c.regions, &c.scatters)
        {
            return Err("causes change the schedule".to_owned());
        }
    }
    Ok(())
}

fn run(frames: u64, seed: [u8; 32]) -> Tally {
    let mut tally = Tally::default();
    search(frames, LIMITS, seed, &mut |case| {
        let before = tally.frames;
        check(case, &mut tally)?;
        Ok(tally.frames - before)
    });
    tally
}

#[test]
fn random_frames_run_without_a_hazard_and_give_the_declared_bytes() {
    let tally = run(2000, [7; 32]);
    println!("{tally:?}");
    assert!(tally.passes > 10_000 && tally.calls > 2_000 && tally.scattered > 200, "{tally:?}");
}

#[test]
#[ignore = "long: run with --release; MEMKIT_FRAMES says how many frames, MEMKIT_SEED which"]
fn many_random_frames() {
    let tally = run(number("MEMKIT_FRAMES", 100_000), seed_of(number("MEMKIT_SEED", 1)));
    println!("{tally:?}");
}

/// Found by a long run: an entry was widened in a later call, and what chained on from it seemed to make visible
/// writes that came after it.
#[test]
fn a_widened_entry_shows_nothing_of_later_writes() {
    use Mode::{Modify, Overwrite, Read, Write};
    let (cw, cr) = (Access::COMPUTE_STORAGE_WRITE, Access::COMPUTE_STORAGE_READ);
    let (fw, vr) = (Access::FRAGMENT_STORAGE_WRITE, Access::VERTEX_ATTRIBUTE_READ);
    let (to, from) = (Access::COPY_WRITE, Access::COPY_READ);
    let sizes = [28, 48, 12, 32];
    let on = |i, range, access, mode| Use { on: On::Buffer(i), range, access, mode };
    let node = |kind, uses: &[Use]| Node { kind, uses: uses.to_vec(), side_effects: false, salt: 1 };
    let fill = |i: usize| node(Kind::Fill, &[on(i, 0..sizes[i], Access::FILL_WRITE, Overwrite)]);
    let first = vec![
        fill(0),
        fill(1),
        fill(3),
        node(Kind::Readback, &[on(0, 0..12, from, Read), on(2, 0..12, to, Overwrite)]),
        node(Kind::Copy, &[on(2, 0..12, from, Read), on(0, 0..12, to, Overwrite)]),
        node(Kind::Pass, &[on(0, 12..13, fw, Write), on(1, 0..48, cw, Write)]),
    ];
    let in_place = on(2, 0..12, Access::COMPUTE_STORAGE_READ_WRITE, Modify);
    let second = vec![
        node(Kind::Pass, &[on(0, 13..14, fw, Write), on(1, 16..17, vr, Read), in_place]),
        node(Kind::Upload, &[on(3, 0..32, to, Overwrite)]),
        node(Kind::Pass, &[on(1, 19..20, cw, Write), on(0, 0..28, cr, Read), on(3, 0..32, cr, Read)]),
        node(Kind::Pass, &[on(0, 0..28, cw, Write)]),
        node(Kind::Pass, &[on(0, 0..28, vr, Read), on(3, 0..32, cw, Write)]),
    ];
    let case = Case {
        buffers: sizes.iter().enumerate().map(|(i, &size)| Buffer { size, host: i == 2 }).collect(),
        pool: Vec::new(),
        frames: vec![
            Frame { nodes: first, ..Frame::default() },
            Frame { nodes: second, orders: vec![(0, 1)], ..Frame::default() },
        ],
        max_ranges: None,
        stages: Stages::all(),
        meaning: &reference::Bytes,
        scatter: false,
    };
    if let Err(text) = check(&case, &mut Tally::default()) {
        panic!("{text}");
    }
}

/// Uploads that are planned together owe each what its own buffer does, and of what they owe alike the newest stands for
/// all. The frames are short: an upload, or a read by a compute shader, of whole buffers.
fn uploads_owe(buffers: usize, frames: &[&[(Kind, usize)]]) {
    let node = |salt: u32, kind, i| {
        let (access, mode) = match kind {
            Kind::Upload => (Access::COPY_WRITE, Mode::Overwrite),
            _ => (Access::COMPUTE_STORAGE_READ, Mode::Read),
        };
        let on = Use { on: On::Buffer(i), range: 0..16, access, mode };
        Node { kind, uses: vec![on], side_effects: kind == Kind::Pass, salt }
    };
    let frames = frames.iter().map(|nodes| Frame {
        nodes: (1..).zip(*nodes).map(|(salt, &(kind, i))| node(salt, kind, i)).collect(),
        ..Frame::default()
    });
    let case = Case {
        buffers: vec![Buffer { size: 16, host: false }; buffers],
        pool: Vec::new(),
        frames: frames.collect(),
        max_ranges: None,
        stages: Stages::all(),
        meaning: &reference::Bytes,
        scatter: false,
    };
    if let Err(text) = check(&case, &mut Tally::default()) {
        panic!("{text}");
    }
}

#[test]
fn an_upload_owes_what_its_own_buffer_was_last_written_at() {
    use Kind::Upload;
    // The second frame's barrier covers what the first wrote to 0, and not what comes after it.
    uploads_owe(3, &[&[(Upload, 0), (Upload, 2)], &[(Upload, 2), (Upload, 1)], &[(Upload, 0), (Upload, 1)]]);
}

#[test]
fn of_what_uploads_owe_alike_the_newest_stands() {
    use Kind::{Pass, Upload};
    // What the third frame wrote to 0 is available when the last begins, what it wrote to 1 after that is not.
    let third: &[_] = &[(Upload, 0), (Pass, 0), (Upload, 1)];
    uploads_owe(2, &[&[(Upload, 1)], &[(Pass, 1)], third, &[(Upload, 0), (Upload, 1)]]);
}
