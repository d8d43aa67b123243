//! Frames of the facade on a device that runs work in any order the barriers allow: several in flight, the right bytes
//! for every seed; with a barrier left out, wrong ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
use common::*;
use memkit_gpu::{DummyBackend, DummyBackendConfig, MkDeviceBuffer, MkGpu, MkGpuConfig, MkReadback};
use std::collections::BTreeSet;

const WORDS: usize = 64;
const FRAMES: u32 = 12;

fn config(seed: u64) -> DummyBackendConfig {
    DummyBackendConfig { adversary: Some(seed), ..Default::default() }
}

/// What lives from frame to frame.
struct World {
    gpu: Gpu,
    input: MkDeviceBuffer,
    sum: MkDeviceBuffer,
    history: MkDeviceBuffer,
}

impl World {
    fn new(config: DummyBackendConfig, frames_in_flight: usize) -> Self {
        let device = DummyBackend::with_config(config);
        let gpu = MkGpu::with_config(device, MkGpuConfig { frames_in_flight, ..Default::default() });
        let (input, sum) = (storage(&gpu, 4 * WORDS), filled(&gpu, &[0; WORDS]));
        let history = filled(&gpu, &[0; 4 * FRAMES as usize]);
        World { gpu, input, sum, history }
    }

    /// Uploads, doubles into a transient, adds it to what lives on, notes a word of that, and reads it back.
    fn frame(&self, n: u32) -> MkReadback<u32> {
        let mut frame = self.gpu.begin_frame().unwrap();
        frame.upload(&self.input, 0, &[n + 1; WORDS]).unwrap();
        let double = frame.transient("double", 4 * WORDS);
        let (input, sum) = (self.input.id(), self.sum.id());
        frame.pass("double").read(&self.input, R).overwrite(double, W).record(move |cx| {
            cx.dispatch(move |mem| {
                let input = mem.read::<u32>(input)?;
                mem.write::<u32>(double)?.iter_mut().zip(&*input).for_each(|(d, i)| *d = i.wrapping_mul(2));
                Ok(())
            });
            Ok(())
        });
        frame.pass("sum").read(double, R).modify(&self.sum, RW).record(move |cx| {
            cx.dispatch(move |mem| {
                let double = mem.read::<u32>(double)?;
                mem.write::<u32>(sum)?.iter_mut().zip(&*double).for_each(|(s, d)| *s = s.wrapping_add(*d));
                Ok(())
            });
            Ok(())
        });
        let at = 4 * n as usize;
        frame.copy(self.sum.slice(0..4), self.history.slice(at..at + 4));
        let back = frame.readback::<u32>(&self.sum, 0..WORDS).unwrap();
        frame.submit().unwrap();
        back
    }

    /// All frames; the last word read back by each, and all that was noted.
    fn run(&self) -> (Vec<u32>, Vec<u32>) {
        let backs: Vec<_> = (0..FRAMES).map(|n| self.frame(n)).collect();
        let last = |b: &MkReadback<u32>| {
            b.wait().unwrap();
            b.try_read(|words| words[WORDS - 1]).unwrap()
        };
        (backs.iter().map(last).collect(), contents(&self.gpu, &self.history, FRAMES as usize))
    }
}

fn expected() -> Vec<u32> {
    (0..FRAMES).map(|n| (1..=n + 1).map(|i| 2 * i).sum()).collect()
}

#[test]
fn frames_in_flight_give_the_right_bytes_for_every_seed() {
    for seed in 0..24 {
        let world = World::new(config(seed), 1 + seed as usize % 4);
        assert_eq!(world.run(), (expected(), expected()), "seed {seed}");
        assert_clean(&world.gpu);
    }
}

#[test]
fn the_order_alone_shows_a_barrier_that_is_left_out() {
    // Not all of them can: without `check` the device knows nothing of visibility, which is all that a call before the
    // host is for; and a call against a frame that the host waited for orders nothing that is left to order.
    let calls = {
        let world = World::new(config(0), 3);
        world.run();
        world.gpu.backend().barrier_calls()
    };
    let wrong = |skip| {
        (0..24).any(|seed| {
            let order_only = DummyBackendConfig { check: false, skip_barrier: Some(skip), ..config(seed) };
            World::new(order_only, 3).run() != (expected(), expected())
        })
    };
    let found = (0..calls).filter(|skip| wrong(*skip)).count() as u64;
    println!("{found} of {calls} left-out calls give wrong bytes");
    assert!(found * 2 > calls, "{found} of {calls}");
}

#[test]
fn independent_passes_run_in_orders_that_differ_by_seed_only() {
    use std::sync::{Arc, Mutex};
    let order = |seed| {
        let gpu = MkGpu::new(DummyBackend::with_config(config(seed)));
        let log = Arc::new(Mutex::new(Vec::new()));
        let buffers: Vec<_> = (0..12).map(|_| storage(&gpu, 16)).collect();
        let mut frame = gpu.begin_frame().unwrap();
        for (i, buffer) in buffers.iter().enumerate() {
            let log = log.clone();
            frame.pass("p").overwrite(buffer, W).record(move |cx| {
                cx.dispatch(move |_| {
                    log.lock().unwrap().push(i);
                    Ok(())
                });
                Ok(())
            });
        }
        frame.submit().unwrap();
        gpu.wait_idle().unwrap();
        let log = log.lock().unwrap();
        log.clone()
    };
    let orders: BTreeSet<_> = (0..16).map(order).collect();
    assert_eq!(orders.len(), 16);
    assert!((0..16).all(|seed| orders.contains(&order(seed))), "same seed, same run");
}
