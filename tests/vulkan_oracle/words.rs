//! What shaders compute, computed here as well: the functions of the same names in `wgsl.rs`.
//!
//! Every word that is ever written is one of 1, 2, 3 and 4: any of them is a size of a dispatch and an index.

use crate::random::case::Node;
use crate::random::reference::{Meaning, Memory};
use memkit_gpu::graph::Mode;

/// Constants of the two functions that mix.
pub(crate) const PRIMES: [u32; 2] = [0x9E37_79B1, 0x85EB_CA77];

/// Begins a hash.
pub(crate) fn begin(salt: u32) -> u32 {
    mix(0x811C_9DC5, salt)
}

/// Takes in a word.
pub(crate) fn mix(hash: u32, word: u32) -> u32 {
    let h = (hash ^ word).wrapping_mul(PRIMES[0]);
    h ^ h >> 15
}

/// The word at a position of what a hash writes, less one.
fn choice(hash: u32, at: u32) -> u32 {
    mix(hash, at).wrapping_mul(PRIMES[1]) >> 30
}

/// Writes words; `Write` leaves every third as it was.
pub(crate) fn put(hash: u32, mode: Mode, words: &mut [u32]) {
    for (word, at) in words.iter_mut().zip(0..) {
        match mode {
            Mode::Write if !is_written(at) => {}
            Mode::Modify => *word = 1 + ((word.wrapping_sub(1) & 3) ^ choice(hash, at)),
            _ => *word = 1 + choice(hash, at),
        }
    }
}

/// Whether `Mode::Write` writes the word at a position.
pub(crate) fn is_written(at: u32) -> bool {
    at % 3 != 2
}

/// Bytes as words.
pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// Words as bytes.
pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Changes bytes as words.
pub(crate) fn with_words(bytes: &mut [u8], f: impl FnOnce(&mut [u32])) {
    let mut words = words(bytes);
    f(&mut words);
    bytes.copy_from_slice(&self::bytes(&words));
}

/// What the nodes of a mapped case do: passes do their acts.
#[derive(Debug)]
pub(crate) struct Acts;

impl Meaning for Acts {
    fn fresh(&self, bytes: &mut [u8]) {
        with_words(bytes, |words| words.fill(1));
    }

    fn upload(&self, salt: u32, bytes: &mut [u8]) {
        with_words(bytes, |words| put(begin(!salt), Mode::Overwrite, words));
    }

    fn fill(&self, salt: u32) -> u32 {
        1 + choice(begin(salt), 0)
    }

    fn pass(&self, node: &Node, memory: &mut dyn Memory) {
        crate::acts::run(node, memory, &mut |_, _| {});
    }
}
