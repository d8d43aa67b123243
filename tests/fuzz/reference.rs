//! What frames mean: their declarations executed one by one on plain bytes.

use super::Planned;
use memkit_gpu::graph::{FrameGraph, Mode, NodeKind, Resource, ResourceId, ResourceSlice, Use};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What fresh memory of the simulated device holds.
const FRESH: u8 = 0xCD;

/// A buffer, and which of its bytes hold something.
#[derive(Clone, Default)]
pub struct Memory {
    pub bytes: Vec<u8>,
    pub written: Vec<bool>,
}

impl Memory {
    pub fn new(size: u64, written: bool) -> Memory {
        let size = usize::try_from(size).unwrap();
        Memory { bytes: vec![FRESH; size], written: vec![written; size] }
    }

    /// Maximal ranges of written bytes.
    pub fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for at in (0..self.written.len()).filter(|&at| self.written[at]) {
            let at = at as u64;
            match runs.last_mut().filter(|r| r.end == at) {
                Some(run) => run.end = at + 1,
                None => runs.push(at..at + 1),
            }
        }
        runs
    }
}

/// The world after the frames.
pub struct Reference {
    pub buffers: HashMap<ResourceId, Memory>,
    /// Some node that ran reads bytes nobody wrote. The planner lets this pass only where it merged ranges.
    pub reads_unwritten: bool,
}

impl Reference {
    pub fn frame(&mut self, frame: &Planned<'_>) {
        let ran: HashSet<u32> = frame.schedule.order.iter().map(|p| p.node).collect();
        // One that is larger than the device is not used.
        let sizes = frame.graph.transients().map(|(_, t)| t.size.min(super::device::MEMORY as u64));
        let mut transients: Vec<Memory> = sizes.map(|size| Memory::new(size, false)).collect();
        for index in frame.graph.declaration_order() {
            let node = frame.graph.node(index as usize).unwrap();
            let uses: Vec<Use> = frame.graph.uses(&node).collect();
            let unwritten =
                Step { buffers: &mut self.buffers, transients: &mut transients }.run(index, node.kind, &uses);
            self.reads_unwritten |= unwritten && ran.contains(&index);
        }
    }
}

/// The bytes a use names.
fn range(slice: &ResourceSlice, size: usize) -> Range<usize> {
    let end = if slice.end == ResourceSlice::WHOLE { size } else { slice.end as usize };
    slice.start as usize..end
}

struct Step<'a> {
    buffers: &'a mut HashMap<ResourceId, Memory>,
    transients: &'a mut [Memory],
}

impl Step<'_> {
    fn memory(&mut self, u: &Use) -> (&mut Memory, Range<usize>) {
        let memory = match u.slice.resource {
            Resource::Persistent(id) => self.buffers.get_mut(&id).unwrap(),
            Resource::Transient(id) => &mut self.transients[id.index() as usize],
        };
        let range = range(&u.slice, memory.bytes.len());
        (memory, range)
    }

    /// Takes in what a node reads, in one piece. Whether it is all there comes back.
    fn read(&mut self, u: &Use, into: &mut Vec<u8>) -> bool {
        let (memory, range) = self.memory(u);
        into.extend_from_slice(&memory.bytes[range.clone()]);
        memory.written[range].iter().all(|w| *w)
    }

    fn write(&mut self, u: &Use, f: impl FnOnce(&mut [u8])) {
        let (memory, range) = self.memory(u);
        memory.written[range.clone()].fill(true);
        f(&mut memory.bytes[range]);
    }

    /// Whether the node reads bytes that nobody wrote.
    fn run(&mut self, index: u32, kind: NodeKind, uses: &[Use]) -> bool {
        let mut read = Vec::new();
        let mut all_there = true;
        for u in uses.iter().filter(|u| reads(u.mode)) {
            all_there &= self.read(u, &mut read);
        }
        for u in uses.iter().filter(|u| u.mode != Mode::Read) {
            self.write(u, |bytes| match kind {
                NodeKind::Pass => put(hash(index, &read), u.mode, bytes),
                NodeKind::Upload { from } => {
                    // Culled uploads may come from anywhere.
                    let at = |i: u64| from.offset.wrapping_add(i);
                    (0..).zip(bytes).for_each(|(i, b)| *b = staged(from.buffer, at(i)));
                }
                NodeKind::Fill { value } => {
                    bytes.chunks_mut(4).for_each(|c| c.copy_from_slice(&value.to_ne_bytes()[..c.len()]));
                }
                NodeKind::Copy | NodeKind::Readback => bytes.copy_from_slice(&read),
            });
        }
        !all_there
    }
}

pub fn reads(mode: Mode) -> bool {
    matches!(mode, Mode::Read | Mode::Modify)
}

/// What pass `index` makes of the bytes it reads.
pub fn hash(index: u32, bytes: &[u8]) -> u64 {
    let begin = u64::from(index) ^ 0xCBF2_9CE4_8422_2325;
    bytes.iter().fold(begin, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
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

/// What staging memory holds.
pub fn staged(buffer: u32, at: u64) -> u8 {
    (u64::from(buffer) ^ at).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
}

/// Frames whose reads can be followed byte by byte.
pub fn names_known_buffers(graph: &FrameGraph, buffers: &HashMap<ResourceId, Memory>) -> bool {
    (0..graph.len()).filter_map(|i| graph.node(i)).flat_map(|n| graph.uses(&n)).all(|u| {
        match u.slice.resource {
            Resource::Persistent(id) => buffers.contains_key(&id),
            Resource::Transient(_) => true,
        }
    })
}
