//! What a sequence means: its declarations executed one by one on plain bytes.

use super::case::{Case, Kind, Node, On, Use};
use memkit_gpu::graph::Mode;

/// What the nodes of a case do to bytes.
pub trait Meaning: std::fmt::Debug + Sync {
    /// What memory holds before anyone writes it.
    fn fresh(&self, bytes: &mut [u8]);
    /// The bytes of an upload.
    fn upload(&self, salt: u32, bytes: &mut [u8]);
    /// The word of a fill.
    fn fill(&self, salt: u32) -> u32;
    /// What a pass does.
    fn pass(&self, node: &Node, memory: &mut dyn Memory);
}

/// The bytes behind the uses of a pass, each by its position.
pub trait Memory {
    fn read(&mut self, at: usize) -> Vec<u8>;
    fn write(&mut self, at: usize, f: &mut dyn FnMut(&mut [u8]));
}

/// The final bytes of every buffer.
pub fn run(case: &Case) -> Vec<Vec<u8>> {
    run_with(case, &mut |_, node, memory| case.meaning.pass(node, memory))
}

/// Does a pass, given its frame and its position there.
pub type DoPass<'a> = dyn FnMut((usize, usize), &Node, &mut dyn Memory) + 'a;

/// The same, with passes done by `pass`.
pub fn run_with(case: &Case, pass: &mut DoPass<'_>) -> Vec<Vec<u8>> {
    let fresh = |size: u64| {
        let mut bytes = vec![0; size as usize];
        case.meaning.fresh(&mut bytes);
        bytes
    };
    let mut buffers: Vec<Vec<u8>> = case.buffers.iter().map(|b| fresh(b.size)).collect();
    for (k, frame) in case.frames.iter().enumerate() {
        let mut transients: Vec<Vec<u8>> = frame.transients.iter().map(|&size| fresh(size)).collect();
        for (position, node) in frame.nodes.iter().enumerate() {
            let mut memory = Plain { uses: &node.uses, buffers: &mut buffers, transients: &mut transients };
            match node.kind {
                Kind::Pass => pass((k, position), node, &mut memory),
                Kind::Upload => memory.write(0, &mut |bytes| case.meaning.upload(node.salt, bytes)),
                Kind::Fill => memory.write(0, &mut |bytes| {
                    let word = case.meaning.fill(node.salt).to_ne_bytes();
                    bytes.chunks_mut(4).for_each(|c| c.copy_from_slice(&word));
                }),
                Kind::Copy | Kind::Readback => {
                    let copy = memory.read(0);
                    memory.write(1, &mut |bytes| bytes.copy_from_slice(&copy));
                }
            }
        }
    }
    buffers
}

/// Plain bytes.
struct Plain<'a> {
    uses: &'a [Use],
    buffers: &'a mut [Vec<u8>],
    transients: &'a mut [Vec<u8>],
}

impl Memory for Plain<'_> {
    fn read(&mut self, at: usize) -> Vec<u8> {
        let mut copy = Vec::new();
        self.write(at, &mut |bytes| copy.extend_from_slice(bytes));
        copy
    }

    fn write(&mut self, at: usize, f: &mut dyn FnMut(&mut [u8])) {
        let u = &self.uses[at];
        let bytes = match u.on {
            On::Buffer(i) => &mut self.buffers[i],
            On::Transient(i) => &mut self.transients[i],
        };
        f(&mut bytes[u.range.start as usize..u.range.end as usize]);
    }
}

/// Everything that is written depends on every byte that is read.
#[derive(Debug)]
pub struct Bytes;

impl Meaning for Bytes {
    /// As fresh memory of the simulated device.
    fn fresh(&self, bytes: &mut [u8]) {
        bytes.fill(0xCD);
    }

    fn upload(&self, salt: u32, bytes: &mut [u8]) {
        put(begin(salt ^ 0x55), Mode::Overwrite, bytes);
    }

    fn fill(&self, salt: u32) -> u32 {
        salt.wrapping_mul(0x0101_0101) ^ 0x1234_5678
    }

    fn pass(&self, node: &Node, memory: &mut dyn Memory) {
        let mut hash = begin(node.salt);
        for (at, _) in node.uses.iter().enumerate().filter(|(_, u)| u.reads()) {
            hash = mix(hash, &memory.read(at));
        }
        for (at, u) in node.uses.iter().enumerate().filter(|(_, u)| u.writes()) {
            memory.write(at, &mut |bytes| put(hash, u.mode, bytes));
        }
    }
}

fn begin(salt: u32) -> u64 {
    (u64::from(salt) ^ 0xCBF2_9CE4_8422_2325).wrapping_mul(0x100_0000_01B3)
}

/// Takes in what a pass reads.
pub fn mix(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

/// What a pass writes; `Write` leaves every third byte as it was.
fn put(hash: u64, mode: Mode, bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        let new = (hash.wrapping_add(i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        match mode {
            Mode::Write if i % 3 == 2 => {}
            Mode::Modify => *byte ^= new,
            _ => *byte = new,
        }
    }
}
