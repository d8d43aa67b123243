//! Time to declare and plan a frame: `cargo bench --bench planning`. Items are passes.

mod shapes;

use divan::Bencher;
use divan::counter::ItemsCount;
use memkit_gpu::graph::PlanOptions;
use shapes::{Bench, Shape};

fn main() {
    divan::main();
}

const PASSES: [usize; 4] = [10, 100, 1000, 5000];

fn measure(bencher: Bencher<'_, '_>, shape: Shape, passes: usize, causes: bool) {
    let mut bench = Bench::new(shape, passes);
    for _ in 0..3 {
        bench.frame(PlanOptions { causes, ..PlanOptions::default() });
    }
    bencher.counter(ItemsCount::new(passes)).bench_local(move || {
        divan::black_box(bench.frame(PlanOptions { causes, ..PlanOptions::default() }).depth());
    });
}

#[divan::bench(args = PASSES)]
fn g1(bencher: Bencher<'_, '_>, passes: usize) {
    measure(bencher, Shape::G1, passes, false);
}

#[divan::bench(args = PASSES)]
fn g1_with_causes(bencher: Bencher<'_, '_>, passes: usize) {
    measure(bencher, Shape::G1, passes, true);
}

#[divan::bench(args = PASSES)]
fn g2(bencher: Bencher<'_, '_>, passes: usize) {
    measure(bencher, Shape::G2, passes, false);
}
