//! The shapes uploads are measured with: whole frames of the facade, on the simulated device without its checks. What
//! a thread counts here is declaring, staging, planning, recording and submitting.

use memkit_gpu::{Access, DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkError, MkGpu};

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
    /// Whether a pass reads the first buffer after them.
    read: bool,
}

impl Uploads {
    pub(crate) fn new(shape: Shape, uploads: usize) -> Result<Self, MkError> {
        Self::with_bytes(shape, uploads, BYTES)
    }

    /// With uploads of so many bytes.
    pub(crate) fn with_bytes(shape: Shape, uploads: usize, bytes: usize) -> Result<Self, MkError> {
        let config = DummyBackendConfig { check: false, ..Default::default() };
        let gpu = MkGpu::new(DummyBackend::with_config(config));
        // Eight places an upload; stepping by an odd number meets each of a power of two once.
        let room = (uploads * 8).next_power_of_two();
        let (count, size) = if shape == Shape::U2 { (uploads, OWN * bytes) } else { (1, room * bytes) };
        let make = |_| gpu.create_device_buffer(size, MkBufferUsage::STORAGE);
        let buffers = (0..count).map(make).collect::<Result<Vec<_>, _>>()?;
        let place = |i: usize| match shape {
            Shape::U1 | Shape::Read => (0, i.wrapping_mul(0x9e37_79b1) % room * bytes),
            Shape::U2 => (i, 0),
            Shape::U4 => (0, i * bytes),
        };
        if shape == Shape::Read {
            let mut frame = gpu.begin_frame()?;
            frame.fill(&buffers[0], 0);
            frame.submit()?;
        }
        let places = (0..uploads).map(place).collect();
        Ok(Uploads { gpu, buffers, places, data: vec![7; bytes], read: shape == Shape::Read })
    }

    /// Runs one frame and waits for it.
    pub(crate) fn frame(&self, measure: impl FnOnce(&mut dyn FnMut())) -> Result<(), MkError> {
        let mut done = None;
        measure(&mut || done = Some(self.submit()));
        done.map_or(Ok(()), |fence| fence?.wait())
    }

    fn submit(&self) -> Result<memkit_gpu::MkFence, MkError> {
        let mut frame = self.gpu.begin_frame()?;
        for &(buffer, offset) in &self.places {
            frame.upload(&self.buffers[buffer], offset, &self.data)?;
        }
        if self.read {
            let reads = frame.pass("read").read(&self.buffers[0], Access::COMPUTE_STORAGE_READ);
            reads.side_effects().record(|_| Ok(()));
        }
        frame.submit()
    }
}
