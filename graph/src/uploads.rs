//! How uploads travel: as copy regions, or scattered by a compute shader; and what decides.
//!
//! A copy region costs microseconds on real hardware, whatever its size. Many small uploads of a level can instead be
//! spread by a dispatch that reads them from staging memory and writes each to its place: one
//! [`Command::Scatter`](crate::Command::Scatter), for which a backend may take a few dispatches. It needs destinations that a shader can write by address
//! ([`BufferDesc::scatter`](crate::BufferDesc::scatter)); uploads to others are copied.
//!
//! # The rule
//!
//! Uploads that continue each other, in staging memory and at their destination, count as one region: all that do, where
//! nothing else writes the buffer in the frame, else those that are declared one after the other. Under
//! [`UploadRule::Cheapest`] a region of `n` bytes costs `copy_region + n × copy_byte` as a copy and
//! `scatter_region + n × scatter_byte` scattered. The regions of a buffer are *worth scattering* if that is
//! cheaper for all of them together: the uploads of a frame to one buffer travel alike. What it saves is added up over
//! the buffers for which it is, and if the sum is more than `scatter`, the cost of the dispatch itself, the uploads to
//! these are scattered, in all levels. Otherwise every upload is copied. Only uploads that are not culled count.
//!
//! The decision is made when a frame is planned: how many uploads there are is known then, and the schedule says what
//! came of it ([`Schedule::uploads`](crate::Schedule::uploads)). Same frame, same rule: same choice.

/// What decides how uploads travel. Uploads to buffers that cannot be written by address are always copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum UploadRule {
    /// As copy regions.
    #[default]
    Copy,
    /// Scattered.
    Scatter,
    /// Whichever costs less.
    Cheapest(UploadCosts),
}

/// What uploads cost on a device, in picoseconds of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct UploadCosts {
    /// One more region in a copy command.
    pub copy_region: u64,
    /// One more byte in a copy command.
    pub copy_byte: u64,
    /// A dispatch that scatters, with the barrier behind it.
    pub scatter: u64,
    /// One more region in it.
    pub scatter_region: u64,
    /// One more byte in it.
    pub scatter_byte: u64,
}

impl UploadCosts {
    /// What regions of `bytes` bytes together cost as copies, and scattered.
    #[must_use]
    pub const fn of_regions(&self, regions: u32, bytes: u64) -> (u64, u64) {
        let regions = regions as u64;
        (
            regions.saturating_mul(self.copy_region).saturating_add(bytes.saturating_mul(self.copy_byte)),
            regions
                .saturating_mul(self.scatter_region)
                .saturating_add(bytes.saturating_mul(self.scatter_byte)),
        )
    }
}

impl std::fmt::Display for UploadCosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ns = |ps: u64| ps / 1000;
        write!(
            f,
            "a copy region {} ns and {} ps a byte, a scatter {} ns with {} ns a region and {} ps a byte",
            ns(self.copy_region),
            self.copy_byte,
            ns(self.scatter),
            ns(self.scatter_region),
            self.scatter_byte
        )
    }
}

/// How the uploads of a frame travel, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct UploadChoice {
    /// What decided.
    pub rule: UploadRule,
    /// Uploads that are scattered. The others are copied.
    pub scattered: u32,
    /// Uploads worth scattering that are copied because their buffer cannot be written by address.
    pub out_of_reach: u32,
    /// Regions worth scattering, whether they are or not.
    pub regions: u32,
    /// Under [`UploadRule::Cheapest`]: what these cost as copies, in picoseconds.
    pub as_copies: u64,
    /// Likewise, what they cost scattered, the dispatch included.
    pub as_scatter: u64,
}
