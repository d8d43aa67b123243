//! Choices that depend on the seed and on what is chosen for, and on nothing else: not on time, threads, or how many
//! choices there were before.

/// Where choices come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64);

impl Seed {
    /// A number for what these numbers name.
    pub(super) fn draw(self, what: &[u64]) -> u64 {
        what.iter().fold(scramble(self.0), |drawn, n| scramble(drawn ^ scramble(*n)))
    }
}

/// The output function of SplitMix64: each bit of the result depends on all of `x`.
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
