//! What a sequence means: its declarations executed one by one on plain bytes.

use super::case::{Case, Kind, Node, On, Use};
use memkit_gpu::graph::Mode;

/// What fresh memory of the simulated device holds.
const FRESH: u8 = 0xCD;

/// The final bytes of every buffer.
pub fn run(case: &Case) -> Vec<Vec<u8>> {
    let mut buffers: Vec<Vec<u8>> = case.buffers.iter().map(|b| vec![FRESH; b.size as usize]).collect();
    for frame in &case.frames {
        let mut transients: Vec<Vec<u8>> =
            frame.transients.iter().map(|&size| vec![FRESH; size as usize]).collect();
        for node in &frame.nodes {
            step(node, &mut buffers, &mut transients);
        }
    }
    buffers
}

fn step(node: &Node, buffers: &mut [Vec<u8>], transients: &mut [Vec<u8>]) {
    let mut of = |u: &Use, f: &mut dyn FnMut(&mut [u8])| {
        let bytes = match u.on {
            On::Buffer(i) => &mut buffers[i],
            On::Transient(i) => &mut transients[i],
        };
        f(&mut bytes[u.range.start as usize..u.range.end as usize]);
    };
    match node.kind {
        Kind::Pass => {
            let mut hash = begin(node.salt);
            for u in node.uses.iter().filter(|u| u.reads()) {
                of(u, &mut |bytes| hash = mix(hash, bytes));
            }
            for u in node.uses.iter().filter(|u| u.writes()) {
                of(u, &mut |bytes| put(hash, u.mode, bytes));
            }
        }
        Kind::Upload => of(&node.uses[0], &mut |bytes| upload(node.salt, bytes)),
        Kind::Fill => of(&node.uses[0], &mut |bytes| {
            bytes.chunks_mut(4).for_each(|c| c.copy_from_slice(&fill(node.salt).to_ne_bytes()));
        }),
        Kind::Copy | Kind::Readback => {
            let mut copy = Vec::new();
            of(&node.uses[0], &mut |bytes| copy.extend_from_slice(bytes));
            of(&node.uses[1], &mut |bytes| bytes.copy_from_slice(&copy));
        }
    }
}

pub fn begin(salt: u32) -> u64 {
    (u64::from(salt) ^ 0xCBF2_9CE4_8422_2325).wrapping_mul(0x100_0000_01B3)
}

/// Takes in what a pass reads.
pub fn mix(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

/// What a pass writes; `Write` leaves every third byte as it was.
pub fn put(hash: u64, mode: Mode, bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        let new = (hash.wrapping_add(i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        match mode {
            Mode::Write if i % 3 == 2 => {}
            Mode::Modify => *byte ^= new,
            _ => *byte = new,
        }
    }
}

pub fn upload(salt: u32, bytes: &mut [u8]) {
    put(begin(salt ^ 0x55), Mode::Overwrite, bytes);
}

pub fn fill(salt: u32) -> u32 {
    salt.wrapping_mul(0x0101_0101) ^ 0x1234_5678
}
