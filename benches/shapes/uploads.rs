//! The shapes uploads are measured with: whole frames of the facade, on the simulated device without its checks. What
//! a thread counts here is declaring, staging, planning, recording and submitting.

use memkit_gpu::{DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkError, MkGpu};

/// Where a frame's uploads go, 256 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Places of one buffer without an order, none twice.
    U1,
    /// Each to its own buffer.
    U2,
    /// One behind the other in one buffer.
    U4,
}

const BYTES: usize = 256;

/// A frame that is run again and again.
pub(crate) struct Uploads {
    gpu: MkGpu<DummyBackend>,
    buffers: Vec<MkDeviceBuffer>,
    /// Buffer and offset of each upload.
    places: Vec<(usize, usize)>,
    data: [u8; BYTES],
}

impl Uploads {
    pub(crate) fn new(shape: Shape, uploads: usize) -> Result<Self, MkError> {
        let config = DummyBackendConfig { check: false, ..Default::default() };
        let gpu = MkGpu::new(DummyBackend::with_config(config));
        // Eight places an upload; stepping by an odd number meets each of a power of two once.
        let room = (uploads * 8).next_power_of_two();
        let (count, size) = if shape == Shape::U2 { (uploads, 4096) } else { (1, room * BYTES) };
        let make = |_| gpu.create_device_buffer(size, MkBufferUsage::STORAGE);
        let buffers = (0..count).map(make).collect::<Result<_, _>>()?;
        let place = |i: usize| match shape {
            Shape::U1 => (0, i.wrapping_mul(0x9e37_79b1) % room * BYTES),
            Shape::U2 => (i, 0),
            Shape::U4 => (0, i * BYTES),
        };
        Ok(Uploads { gpu, buffers, places: (0..uploads).map(place).collect(), data: [7; BYTES] })
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
        frame.submit()
    }
}
