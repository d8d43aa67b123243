//! The simulated device: its own calls fail, one by one, at random, and at its limits.

use crate::lost::every_call_says_so;
use crate::scene::{Body, Lost, Scene, config};
use crate::{Cause, no_hang, reported};
use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, DummyCalls, DummyFailedCall, DummyFault, DummyFaultError,
    DummyFaultWhen, DummyStats, MkBufferUsage, MkError, MkFrame, MkGpu, MkSlice,
};
use std::collections::BTreeMap;

impl Body for DummyBackend {
    const KEEPS: bool = false;
    const LARGE: usize = 8 << 10;

    fn copy_pass(frame: &mut MkFrame<'static, Self>, from: MkSlice<'static>, to: MkSlice<'static>) {
        frame.pass("copies").read(from, Access::COPY_READ).overwrite(to, Access::COPY_WRITE).record(
            move |cx| {
                cx.dispatch(move |mem| {
                    let from = mem.read::<u32>(from)?;
                    let mut to = mem.write::<u32>(to)?;
                    let n = to.len();
                    to.copy_from_slice(&from[..n]);
                    Ok(())
                });
                Ok(())
            },
        );
    }
}

/// How the device is set up: frames in flight, and how long work takes in microseconds.
#[derive(Clone, Copy, Debug)]
struct Setup {
    in_flight: usize,
    delay: u64,
}

fn gpu(setup: Setup, faults: &[DummyFault]) -> MkGpu<DummyBackend> {
    let config_of_device = DummyBackendConfig { transfer_delay_us: setup.delay, ..Default::default() };
    let backend = DummyBackend::with_config(config_of_device);
    faults.iter().for_each(|fault| backend.inject(*fault));
    MkGpu::with_config(backend, config(setup.in_flight))
}

fn cause(error: DummyFaultError) -> Cause {
    match error {
        DummyFaultError::OutOfHostMemory => Cause::HostMemory,
        DummyFaultError::OutOfDeviceMemory => Cause::DeviceMemory,
        DummyFaultError::DeviceLost => Cause::Lost,
        _ => Cause::Other,
    }
}

/// Nothing is left once everything is dropped, and the simulator had nothing to object to.
#[track_caller]
fn nothing_left(stats: &DummyStats) {
    assert_eq!((stats.buffer_count(), stats.total_allocated()), (0, 0), "something is left");
    let hazards = stats.hazards();
    assert!(hazards.is_empty(), "{} hazards, the first:\n{}", hazards.len(), hazards[0]);
}

type Errors = Vec<(&'static str, MkError)>;

/// Runs the loop with these faults; returns the calls that failed, and what the facade said.
fn run(setup: Setup, turns: u32, faults: &[DummyFault]) -> (Vec<DummyFailedCall>, Errors) {
    let gpu = gpu(setup, faults);
    let stats = gpu.backend().stats();
    let (failed, errors) = match Scene::new(gpu, None) {
        Ok(mut scene) => {
            for n in 0..turns {
                scene.turn(n);
            }
            scene.gpu.backend().clear_faults();
            scene.check();
            let failed = scene.gpu.backend().failed_calls();
            let errors = std::mem::take(&mut scene.errors);
            if errors.iter().any(|(_, e)| e.is_device_lost()) {
                every_call_says_so(&mut scene.into_lost());
            } else {
                let left = |gpu: &MkGpu<DummyBackend>| {
                    (gpu.backend().buffer_count(), Some(gpu.backend().total_allocated()))
                };
                scene.wind_down(left);
            }
            (failed, errors)
        }
        Err(mut lost) => {
            every_call_says_so(&mut lost);
            let Lost { gpu, errors, .. } = *lost;
            (gpu.backend().failed_calls(), errors)
        }
    };
    nothing_left(&stats);
    (failed, errors)
}

/// A call whose failure may go unreported, because the facade does without or tries again:
/// asking how far the timeline is, to give memory back (asked again by the next call);
/// flushing what was written through a map guard, which cannot say so (flushed again by the next use of the buffer).
fn has_fallback(call: DummyCalls) -> bool {
    DummyCalls::COMPLETED.union(DummyCalls::FLUSH).contains(call)
}

/// What an error must name: the buffer that could not be made, or the call.
fn named(call: DummyCalls, error: DummyFaultError) -> &'static str {
    match call {
        _ if error == DummyFaultError::DeviceLost => "lost",
        DummyCalls::CREATE_BUFFER | DummyCalls::MAP if error != DummyFaultError::Failed => "`",
        DummyCalls::CREATE_BUFFER => "create_buffer",
        DummyCalls::MAP => "map",
        DummyCalls::FLUSH => "flush",
        DummyCalls::INVALIDATE => "invalidate",
        DummyCalls::RECORD | DummyCalls::END_RECORD => "record",
        DummyCalls::SUBMIT => "submit",
        DummyCalls::COMPLETED => "completed",
        _ => "wait",
    }
}

fn fail_each_call(error: DummyFaultError) {
    let setups = [Setup { in_flight: 2, delay: 0 }, Setup { in_flight: 1, delay: 300 }];
    // Of each call: how often it failed and was reported, and how often it was not.
    let mut seen: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for setup in setups {
        // Which call is which depends on how far the device is; a few numbers beyond the last make up for that.
        let mut beyond = 0;
        for k in 0.. {
            let what = format!("{error:?} in call {k}, {setup:?}");
            let fault = DummyFault { calls: DummyCalls::all(), when: DummyFaultWhen::Nth(k), error };
            let (failed, errors) = no_hang(what.clone(), move || run(setup, 2, &[fault]));
            let Some(call) = failed.first() else {
                assert!(errors.is_empty(), "{what} was not reached: {errors:?}");
                beyond += 1;
                if beyond == 3 {
                    break;
                }
                continue;
            };
            let told = reported(&errors, cause(error), named(call.call, error), &what);
            assert!(told || has_fallback(call.call), "{what} failed ({:?}) and nobody says so", call.call);
            let count = seen.entry(format!("{:?}", call.call)).or_default();
            *(if told { &mut count.0 } else { &mut count.1 }) += 1;
        }
    }
    let all: u32 = seen.values().map(|(told, not)| told + not).sum();
    println!("{error:?}: {all} calls failed");
    for (call, (told, not)) in &seen {
        println!("    {call}: {told} errors, {not} by fallback");
    }
    let missing: Vec<_> = DummyCalls::all()
        .iter()
        .map(|call| format!("{call:?}"))
        .filter(|call| !seen.contains_key(call))
        .collect();
    assert!(missing.is_empty(), "the loop never makes these calls: {missing:?}");
}

#[test]
fn each_call_without_host_memory() {
    fail_each_call(DummyFaultError::OutOfHostMemory);
}

#[test]
fn each_call_without_device_memory() {
    fail_each_call(DummyFaultError::OutOfDeviceMemory);
}

#[test]
fn each_call_failing_for_another_reason() {
    fail_each_call(DummyFaultError::Failed);
}

#[test]
fn each_call_losing_the_device() {
    fail_each_call(DummyFaultError::DeviceLost);
}

#[test]
fn calls_that_fail_at_random_leave_every_frame_that_works_right() {
    let mut failed = 0;
    for seed in 0..6u64 {
        let one_in = |calls, error| DummyFault {
            calls: DummyCalls::all(),
            when: DummyFaultWhen::OneIn { calls, seed: seed + u64::from(calls) },
            error,
        };
        let faults = [
            one_in(20, DummyFaultError::OutOfHostMemory),
            one_in(30, DummyFaultError::OutOfDeviceMemory),
            one_in(40, DummyFaultError::Failed),
        ];
        let setup = Setup { in_flight: 1 + seed as usize % 3, delay: seed % 2 * 200 };
        let what = format!("random faults, seed {seed}");
        let (calls, errors) = no_hang(what.clone(), move || run(setup, 20, &faults));
        assert!(calls.len() > 50, "{what}: {}", calls.len());
        for (step, error) in &errors {
            assert!(Cause::of(error).is_some_and(|c| c != Cause::Lost), "{what}, {step}: {error}");
        }
        failed += calls.len();
    }
    println!("at random: {failed} calls failed");
}

#[test]
fn a_fault_without_a_hit_changes_nothing() {
    let never = DummyFault {
        calls: DummyCalls::all(),
        when: DummyFaultWhen::OneIn { calls: 0, seed: 1 },
        error: DummyFaultError::DeviceLost,
    };
    let (failed, errors) = run(Setup { in_flight: 3, delay: 0 }, 4, &[never]);
    assert!(failed.is_empty() && errors.is_empty(), "{failed:?} {errors:?}");
}

#[test]
fn at_the_limit_of_allocations_calls_fail_until_a_buffer_goes() {
    let limit = DummyBackendConfig { allocation_limit: 4, ..Default::default() };
    let gpu = MkGpu::new(DummyBackend::with_config(limit));
    let make = || gpu.create_device_buffer(64, MkBufferUsage::STORAGE);
    let mut held: Vec<_> = (0..4).map(|_| make().unwrap()).collect();
    assert!(matches!(make(), Err(MkError::OutOfMemory { size: 64, .. })));
    let mut frame = gpu.begin_frame().unwrap();
    assert!(matches!(frame.upload(&held[0], 0, &[1u32]), Err(MkError::OutOfMemory { .. })));
    assert!(matches!(frame.readback::<u32>(&held[0], 0..1), Err(MkError::OutOfMemory { .. })));
    frame.fill(&held[0], 9);
    frame.submit().unwrap();
    held.truncate(1);
    assert_eq!(gpu.backend().buffer_count(), 4, "taken up by the next call");
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(held[0].slice(4..), 0, &[1u32]).unwrap();
    let back = frame.readback::<u32>(&held[0], 0..3).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    back.try_read(|words| assert_eq!(words, [9, 1, 9])).unwrap();
    assert!(gpu.backend().hazards().is_empty());
}
