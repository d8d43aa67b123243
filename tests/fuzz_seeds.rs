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
    assert!(
        total.planned > 30 && total.ran > 20 && total.refused > 5,
        "the seeds are not what they were: {total:?}"
    );
}

/// Seeds of frames people can read, one by one: what must become of them.
#[test]
fn the_readable_seeds_are_what_they_say() {
    let of = |name: &str| {
        let path = format!("{}/fuzz/seeds/{name}.json", env!("CARGO_MANIFEST_DIR"));
        fuzz::run(&std::fs::read(path).unwrap())
    };
    let ran = |n| fuzz::Outcome { loaded: true, planned: n, refused: 0, ran: n };
    assert_eq!(of("g1-chain"), ran(1));
    assert_eq!(of("g2-interleaved-chains"), ran(2));
    assert_eq!(of("frame-loop"), ran(3));
    assert_eq!(of("every-feature"), ran(1));
    assert_eq!(of("coarsened-ranges"), ran(4));
    assert_eq!(of("cycle"), fuzz::Outcome { loaded: true, refused: 1, ..Default::default() });
    let planned_only = fuzz::Outcome { loaded: true, planned: 1, refused: 1, ran: 0 };
    assert_eq!(of("sizes-of-64-bits"), planned_only);
    assert_eq!(of("dump"), fuzz::Outcome { loaded: true, ..Default::default() });
    assert_eq!(of("dump-cut-short"), fuzz::Outcome::default());
    assert_eq!(of("dump-newer"), fuzz::Outcome::default());
}
