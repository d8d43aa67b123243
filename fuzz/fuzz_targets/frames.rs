//! Serialized frames: load, plan, dump, simulate. What is done with an input stands in `tests/fuzz`.
#![no_main]

#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::run(data);
});
