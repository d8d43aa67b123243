//! The shapes uploads are measured with: whole frames of the facade, on the simulated device without its checks. What
//! a thread counts here is declaring, staging, planning, recording and submitting.

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame, MkGpu,
    MkGpuConfig,
};

/// Where a frame's uploads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Places of one buffer without an order, none twice.
    U1,
    /// Each to its own buffer.
    U2,
    /// One behind the other in one buffer.
    U4,
    /// As `U1`, and a pass reads them all: a node with as many producers as there are uploads.
    Read,
    /// Anywhere in half the bytes that they hold: each overlaps others, whose bytes it replaces.
    Over,
    /// As `Over`, with a pass that reads them in the middle. Each frame is planned anew.
    OverTwice,
}

/// Bytes of each, unless said otherwise.
const BYTES: usize = 256;
/// A buffer of its own is as large as so many uploads.
const OWN: usize = 16;

/// A frame that is run again and again.
pub(crate) struct Uploads {
    gpu: MkGpu<DummyBackend>,
    buffers: Vec<MkDeviceBuffer>,
    /// Buffer and offset of each upload.
    places: Vec<(usize, usize)>,
    data: Vec<u8>,
    /// After how many of them a pass reads the first buffer.
    read: Option<usize>,
}

impl Uploads {
    pub(crate) fn new(shape: Shape, uploads: usize) -> Result<Self, MkError> {
        Self::with_bytes(shape, uploads, BYTES)
    }

    /// With uploads of so many bytes.
    pub(crate) fn with_bytes(shape: Shape, uploads: usize, bytes: usize) -> Result<Self, MkError> {
        let config = DummyBackendConfig { check: false, ..Default::default() };
        let plan_cache = if shape == Shape::OverTwice { 0 } else { MkGpuConfig::default().plan_cache };
        let planning = MkGpuConfig { plan_cache, ..Default::default() };
        let gpu = MkGpu::with_config(DummyBackend::with_config(config), planning);
        // Eight places an upload; stepping by an odd number meets each of a power of two once.
        let room = (uploads * 8).next_power_of_two();
        let (count, size) = if shape == Shape::U2 { (uploads, OWN * bytes) } else { (1, room * bytes) };
        let make = |_| gpu.create_device_buffer(size, MkBufferUsage::STORAGE);
        let buffers = (0..count).map(make).collect::<Result<Vec<_>, _>>()?;
        let place = |i: usize| match shape {
            Shape::U1 | Shape::Read => (0, i.wrapping_mul(0x9e37_79b1) % room * bytes),
            Shape::U2 => (i, 0),
            Shape::U4 => (0, i * bytes),
            // By the golden ratio: as evenly as can be, however many there are.
            Shape::Over | Shape::OverTwice => {
                let spread = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                (0, ((spread * (uploads * bytes / 2) as u64) >> 32) as usize)
            }
        };
        let read = match shape {
            Shape::Read => Some(uploads),
            Shape::OverTwice => Some(uploads / 2),
            _ => None,
        };
        if read.is_some() {
            let mut frame = gpu.begin_frame()?;
            frame.fill(&buffers[0], 0);
            frame.submit()?;
        }
        let places = (0..uploads).map(place).collect();
        Ok(Uploads { gpu, buffers, places, data: vec![7; bytes], read })
    }

    /// Runs one frame and waits for it.
    pub(crate) fn frame(&self, measure: impl FnOnce(&mut dyn FnMut())) -> Result<(), MkError> {
        let mut done = None;
        measure(&mut || done = Some(self.submit()));
        done.map_or(Ok(()), |fence| fence?.wait())
    }

    fn upload(
        &self,
        frame: &mut MkFrame<'_, DummyBackend>,
        places: &[(usize, usize)],
    ) -> Result<(), MkError> {
        let mut places = places.iter();
        places.try_for_each(|&(buffer, offset)| frame.upload(&self.buffers[buffer], offset, &self.data))
    }

    fn submit(&self) -> Result<memkit_gpu::MkFence, MkError> {
        let mut frame = self.gpu.begin_frame()?;
        let (before, after) = self.places.split_at(self.read.unwrap_or(0));
        self.upload(&mut frame, before)?;
        if self.read.is_some() {
            let reads = frame.pass("read").read(&self.buffers[0], Access::COMPUTE_STORAGE_READ);
            reads.side_effects().record(|_| Ok(()));
        }
        self.upload(&mut frame, after)?;
        frame.submit()
    }
}
