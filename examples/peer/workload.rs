//! What is uploaded: the same bytes to the same places for every peer.

use crate::args::Work;

/// Bytes of the buffer of U1, U3, U4 and U5.
const BIG: usize = 64 << 20;
/// Bytes of each buffer of U2, and of the largest upload of U5.
const SMALL: usize = 4096;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One upload of a frame.
#[derive(Clone, Copy)]
pub(crate) struct Upload {
    /// Number of the destination buffer.
    pub(crate) buffer: usize,
    /// First byte there.
    pub(crate) offset: usize,
    /// First byte in the frame's data.
    pub(crate) from: usize,
    /// Bytes.
    pub(crate) size: usize,
}

/// What one frame uploads.
pub(crate) struct Frame {
    pub(crate) uploads: Vec<Upload>,
    pub(crate) data: Vec<u8>,
}

impl Frame {
    pub(crate) fn bytes_of(&self, upload: &Upload) -> &[u8] {
        &self.data[upload.from..upload.from + upload.size]
    }

    /// Frame data drawn from a seed: first the bytes, then, for U1, the places.
    fn new(work: Work, uploads: usize, size: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        if work == Work::U5 {
            return Self::mixed(uploads, random);
        }
        let bytes = if work == Work::U3 { BIG } else { uploads * size };
        let data = (0..bytes / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        let at = |i: usize, buffer, offset| Upload { buffer, offset, from: i * size, size };
        let uploads = match work {
            Work::U1 => {
                let places = distinct(&mut random, uploads, BIG / size);
                places.into_iter().enumerate().map(|(i, place)| at(i, 0, place * size)).collect()
            }
            Work::U2 => (0..uploads).map(|i| at(i, i, 0)).collect(),
            Work::U3 => vec![Upload { buffer: 0, offset: 0, from: 0, size: BIG }],
            _ => (0..uploads).map(|i| at(i, 0, i * size)).collect(),
        };
        Frame { uploads, data }
    }

    /// Uploads of any size up to `SMALL`, each at an odd offset in a place of twice that.
    fn mixed(uploads: usize, mut random: Random) -> Self {
        let places = distinct(&mut random, uploads, BIG / (2 * SMALL));
        let mut from = 0;
        let mut upload = |place: usize| {
            let size = 1 + (random.next() % SMALL as u64) as usize;
            let offset = place * 2 * SMALL + (random.next() % SMALL as u64) as usize / 2 * 2 + 1;
            from += size;
            // Within its place: at most `SMALL - 1` and `SMALL` bytes.
            Upload { buffer: 0, offset, from: from - size, size }
        };
        let uploads: Vec<_> = places.into_iter().map(&mut upload).collect();
        let data = (0..from.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        Frame { uploads, data }
    }
}

/// `n` different numbers below `limit`, in the order in which they are drawn.
fn distinct(random: &mut Random, n: usize, limit: usize) -> Vec<usize> {
    let mut taken = vec![false; limit];
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n {
        let next = (random.next() % limit as u64) as usize;
        if !std::mem::replace(&mut taken[next], true) {
            drawn.push(next);
        }
    }
    drawn
}

/// The frames of a workload, which repeat.
pub(crate) struct Workload {
    frames: Vec<Frame>,
    /// Number of destination buffers, and the bytes of each.
    pub(crate) buffers: (usize, usize),
}

impl Workload {
    pub(crate) fn new(work: Work, uploads: usize, size: usize) -> Result<Self, crate::Failure> {
        let buffers = if work == Work::U2 { (uploads, SMALL) } else { (1, BIG) };
        if !size.is_multiple_of(8) || size > SMALL {
            return Err(format!("an upload has a multiple of 8 bytes, at most {SMALL}").into());
        }
        let room = BIG / if work == Work::U5 { 2 * SMALL } else { size };
        if work != Work::U2 && uploads > room {
            return Err(format!("{work:?} has room for {room} uploads").into());
        }
        // Two of 64 MiB are enough to tell frames apart.
        let different = if work == Work::U3 { 2 } else { 4 };
        let seeds = (0..different).map(|i| 0xc0ffee + 7919 * i);
        Ok(Workload { frames: seeds.map(|seed| Frame::new(work, uploads, size, seed)).collect(), buffers })
    }

    /// How many frames there are before they repeat.
    pub(crate) fn different(&self) -> usize {
        self.frames.len()
    }

    /// What frame `number` uploads.
    pub(crate) fn frame(&self, number: usize) -> &Frame {
        &self.frames[number % self.frames.len()]
    }

    /// Bytes a frame uploads.
    pub(crate) fn bytes(&self) -> usize {
        self.frames[0].data.len()
    }
}
