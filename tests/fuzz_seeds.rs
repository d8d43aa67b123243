//! Every seed of the fuzz target `frames` as an ordinary test: what the fuzzer once found stays found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod fuzz;

use std::path::PathBuf;

fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_seed_of_the_fuzzer_loads_plans_and_runs_without_a_hazard() {
    let mut total = fuzz::Outcome::default();
    for (path, bytes) in seeds() {
        println!("{}", path.display());
        let outcome = fuzz::run(&bytes);
        println!("  {outcome:?}");
        total.planned += outcome.planned;
        total.refused += outcome.refused;
        total.ran += outcome.ran;
    }
    println!("{total:?}");
}
