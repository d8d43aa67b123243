//! Random frame sequences: what they are, how they run on the simulated device, and what should come out.
#![allow(dead_code, reason = "each test target uses its part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod case;
pub mod depth;
pub mod reference;
pub mod rig;
