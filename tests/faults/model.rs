//! What the buffers of the scene must hold.

use memkit_gpu::MkReadback;
use std::ops::Range;

/// Words of each buffer.
pub const WORDS: usize = 768;

/// The buffers of the scene, by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buf {
    A,
    B,
    /// Host-visible.
    V,
    /// Host-cached.
    C,
    /// Unified.
    U,
    /// Imported, where there is such a thing.
    I,
}

pub const BUFS: [Buf; 6] = [Buf::A, Buf::B, Buf::V, Buf::C, Buf::U, Buf::I];

/// A change of what buffers hold: what a transfer or a command of a frame does once it is submitted.
#[derive(Clone, Debug)]
pub enum Change {
    /// Words written from the host, from this word on.
    Set(Buf, usize, Vec<u32>),
    /// Words `from` of one buffer go to word `to` of another.
    Copy { from: (Buf, Range<usize>), to: (Buf, usize) },
}

/// A readback of a submitted frame, and what it must bring.
pub struct Expected {
    pub ticket: MkReadback<u32>,
    pub words: Vec<u32>,
}

#[derive(Default)]
pub struct Model {
    held: [Vec<u32>; 6],
}

impl Model {
    pub fn new() -> Self {
        Model { held: std::array::from_fn(|_| vec![0; WORDS]) }
    }

    pub fn words(&self, buf: Buf, range: Range<usize>) -> Vec<u32> {
        self.held[buf as usize][range].to_vec()
    }

    pub fn apply(&mut self, change: &Change) {
        let (to, at, words) = match change {
            Change::Set(buf, at, words) => (*buf, *at, words.clone()),
            Change::Copy { from: (from, range), to: (to, at) } => {
                (*to, *at, self.words(*from, range.clone()))
            }
        };
        self.held[to as usize][at..at + words.len()].copy_from_slice(&words);
    }
}

/// Words that differ from call to call.
pub fn words(seed: u32, n: usize) -> Vec<u32> {
    (1..=n as u32).map(|i| (seed * 1000 + i).wrapping_mul(2_654_435_761)).collect()
}
