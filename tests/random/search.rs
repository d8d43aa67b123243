//! Tries random cases, and shrinks one that fails.

use super::case::{Case, Limits, decode, raw};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// Checks cases until `frames` frames are done: `check` returns how many frames it did, or what is wrong. Panics with
/// what is wrong with the smallest case that fails.
pub fn search(
    frames: u64,
    limits: Limits,
    seed: [u8; 32],
    check: &mut dyn FnMut(&Case) -> Result<u64, String>,
) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    // Milliseconds: a case that fails is worth some patience, and no more.
    let max_shrink_time = 30_000;
    let config = Config {
        cases: u32::MAX,
        max_shrink_iters: 4000,
        max_shrink_time,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (strategy, state) = (raw(limits), RefCell::new((0, check)));
    while state.borrow().0 < frames {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let result = runner.run_one(tree, |raw| {
            let (done, check) = &mut *state.borrow_mut();
            *done += check(&decode(&raw, limits)).map_err(TestCaseError::fail)?;
            Ok(())
        });
        match result {
            Ok(_) => {}
            Err(TestError::Fail(why, _)) => panic!("{why}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A number as a seed.
pub fn seed_of(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}
