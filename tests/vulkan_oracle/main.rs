//! The Vulkan device and the Khronos validation layer, with synchronization validation, as the oracle of the planner and
//! of the simulator: random frames run without a message, and give the bytes that their declarations mean.
//!
//! The frames are those of the target `oracle`, mapped to what a device can do (`mapped.rs`); their passes do on the
//! device what they declare, in the declared stages and by the declared kinds of access (`acts.rs`).
//!
//! Long mode: `MEMKIT_FRAMES=10000 cargo test --release --features vulkan --test vulkan_oracle -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod acts;
mod bodies;
mod device;
mod mapped;
mod pipelines;
#[path = "../random/mod.rs"]
mod random;
#[path = "../spirv/mod.rs"]
mod spirv;
mod wgsl;
mod words;

use device::{Device, Outcome};
use memkit_gpu::graph::GraphError;
use memkit_gpu::{DummyBackendConfig, MkGpuBackend};
use random::case::{Case, Limits};
use random::search::{number, search, seed_of};
use random::{listing, reference, rig};

const LIMITS: Limits = Limits { frames: 6, passes: 200, coarsen: true, lacking: false };

#[derive(Debug, Default)]
struct Tally {
    sequences: u64,
    frames: u64,
    passes: u64,
    barriers: u64,
    /// Commands of passes.
    acts: u64,
}

fn check(case: &Case, device: &mut Device, tally: &mut Tally) -> Result<(), String> {
    let case = rig::with_results(mapped::mapped(case, device.cell, device.backend.capabilities().stages));
    let (sequence, errors) = rig::plan(&case, rig::How::default());
    if let Some(error) = errors.iter().find(|e| !matches!(e.first, GraphError::Cycle { .. })) {
        return Err(format!("a valid frame is refused: {error}"));
    }
    let expected = reference::run(&sequence.case);
    let simulated = sequence.run_on(DummyBackendConfig::default(), None, true);
    if let Some(hazard) = simulated.hazards.first() {
        return Err(format!("the simulator: {hazard}"));
    }
    wrong(&simulated.bytes, &expected).map_or(Ok(()), |e| Err(format!("the simulator: {e}")))?;
    let outcome = device.run(&sequence, None);
    right(&outcome, &expected)
        .map_err(|e| format!("{e}\n{}", listing(&sequence, sequence.frames.len() - 1)))?;
    tally.sequences += 1;
    tally.frames += sequence.frames.len() as u64;
    tally.passes += sequence.frames.iter().map(|f| f.graph.len() as u64).sum::<u64>();
    tally.barriers += sequence.frames.iter().map(|f| f.schedule.barriers.len() as u64).sum::<u64>();
    tally.acts += outcome.acts;
    Ok(())
}

/// No message, and the expected bytes.
fn right(outcome: &Outcome, expected: &[Vec<u8>]) -> Result<(), String> {
    if let Some(message) = outcome.messages.first() {
        return Err(format!("the validation layer: {message}\nand {} more", outcome.messages.len() - 1));
    }
    if let Some(misread) = outcome.misread.first() {
        return Err(misread.clone());
    }
    wrong(&outcome.bytes, expected).map_or(Ok(()), Err)
}

/// The first buffer with other bytes than expected.
fn wrong(found: &[Option<Vec<u8>>], expected: &[Vec<u8>]) -> Option<String> {
    let mut pairs = found.iter().zip(expected).enumerate();
    let (i, (found, expected)) = pairs.find(|(_, (f, e))| f.as_ref().is_some_and(|f| f != *e))?;
    Some(format!("b{i}: got {found:?}\nexpected {expected:?}"))
}

fn run(frames: u64, seed: [u8; 32]) -> Tally {
    let (mut device, mut tally) = (Device::new(), Tally::default());
    search(frames, LIMITS, seed, &mut |case| {
        let before = tally.frames;
        check(case, &mut device, &mut tally)?;
        Ok(tally.frames - before)
    });
    println!("{tally:?}, {} pipelines, on {}", device.pipelines(), device.backend.capabilities().device_name);
    let log = device.log.clone();
    drop(device);
    assert_eq!(log.messages(), [], "left behind");
    tally
}

#[test]
fn random_frames_run_without_a_message_and_give_the_declared_bytes() {
    let tally = run(300, [7; 32]);
    assert!(tally.acts > 3_000 && tally.barriers > 500, "{tally:?}");
}

#[test]
#[ignore = "long: run with --release; MEMKIT_FRAMES says how many frames, MEMKIT_SEED which"]
fn many_random_frames() {
    run(number("MEMKIT_FRAMES", 10_000), seed_of(number("MEMKIT_SEED", 1)));
}
