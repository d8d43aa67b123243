//! What must not compile, and what must.
//!
//! The expected messages are those of the stable compiler that CI uses. To write them anew:
//! `TRYBUILD=overwrite cargo test --test compile_fail`.

#[test]
fn what_must_not_compile_does_not() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    cases.pass("tests/compile_pass/*.rs");
}
