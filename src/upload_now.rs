//! Uploads that submit themselves: cut into parts, so that the device fetches one while the next is written.

use crate::backend::MkGpuBackend;
use crate::buffer::{BufferInner, MkBuffer, check_range};
use crate::device::lock;
use crate::gpu::{Inner, MkGpu};
use crate::staging::{HeldChunk, Room};
use crate::submit::OpenWork;
use crate::{MkError, MkFence};
use bytemuck::NoUninit;
use memkit_graph::{HostSlice, ResourceSlice};
use std::fmt::Write;
use std::sync::Arc;

/// Bytes of a part at most: large enough that a submission is a small part of its time, small enough that neither the
/// first copy to staging memory nor the last one to the device, during which the other side has nothing to do, takes long.
const PART: usize = 4 << 20;
/// Parts that may be submitted and not done. With those that are written and about to be submitted they bound the
/// staging memory of one upload.
const IN_FLIGHT: usize = 3;

/// An upload on its way.
struct Upload<'a, B: MkGpuBackend> {
    inner: &'a Arc<Inner<B>>,
    to: &'a BufferInner,
    /// First byte in the buffer.
    start: u64,
    bytes: &'a [u8],
    alignment: u64,
    /// The number of the frame that its parts are.
    number: u64,
    /// Timeline values of the last parts submitted, the oldest at `parts % IN_FLIGHT`.
    values: [u64; IN_FLIGHT],
    /// Parts and bytes that were submitted.
    parts: usize,
    submitted: usize,
    /// The newest part, written and not submitted: that happens while the helpers write the next.
    written: Option<Part<B>>,
}

struct Part<B: MkGpuBackend> {
    work: OpenWork<B>,
    /// Bytes of the upload up to its end.
    end: usize,
}

/// Whether there is room for a part.
enum Begun {
    /// This chunk.
    Chunk(HeldChunk),
    /// Once this timeline value is reached.
    Later(u64),
    /// Nothing submitted holds what it lacks.
    Never(MkError),
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// Uploads elements to `offset` bytes from the start of a buffer at once, beside frames: it submits its own parts,
    /// pending transfers first, and the device fetches one part while the next is written to staging memory. The elements
    /// were read when it returns; the fence is reached when the last of them have arrived.
    ///
    /// It comes after all that was submitted before and before all that is submitted later, as a frame does; what other
    /// threads submit meanwhile may come between two parts. It waits for the device where it would otherwise take more
    /// than some 20 MiB of staging memory. For many small uploads a frame costs less.
    ///
    /// # Errors
    /// [`MkError::OutOfBounds`], [`MkError::ZeroSize`], [`MkError::ForeignHandle`], [`MkError::InUse`] if the buffer is
    /// mapped, [`MkError::StagingLimit`], [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`], [`MkError::DeviceLost`],
    /// [`MkError::Frame`] if a pending transfer fails, or what the backend says: nothing was submitted then. If parts were
    /// submitted before it, [`MkError::PartlyUploaded`] says how many bytes, with the cause: these arrive, the
    /// others stay as they were.
    pub fn upload_now<T: NoUninit>(
        &self,
        to: &MkBuffer,
        offset: usize,
        data: &[T],
    ) -> Result<MkFence, MkError> {
        let (inner, to) = (&self.inner, &*to.inner);
        inner.check_lost()?;
        if to.gpu.id != inner.link.id {
            return Err(MkError::ForeignHandle { resource: (&*to.name).into() });
        }
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let start = check_range(to, offset as u64, bytes.len() as u64)?.start;
        if bytes.is_empty() {
            return Err(MkError::ZeroSize { resource: format!("upload to {}", to.name).into() });
        }
        let number = {
            let mut core = lock(&inner.core);
            core.next_frame += 1;
            core.next_frame - 1
        };
        let mut upload = Upload {
            inner,
            to,
            start,
            bytes,
            alignment: align_of::<T>().min(16) as u64,
            number,
            values: [0; IN_FLIGHT],
            parts: 0,
            submitted: 0,
            written: None,
        };
        match upload.run() {
            Ok(value) => Ok(MkFence { gpu: self.gpu_ref(), value }),
            Err(cause) => Err(upload.failed(cause)),
        }
    }
}

impl<B: MkGpuBackend> Upload<'_, B> {
    /// Writes and submits everything. Returns the timeline value of the last part.
    fn run(&mut self) -> Result<u64, MkError> {
        let mut done = 0;
        while done < self.bytes.len() {
            match self.begin(self.bytes.len() - done)? {
                Begun::Chunk(chunk) => done = self.write(chunk, done)?,
                // The device may have nothing else to do.
                _ if self.written.is_some() => self.submit()?,
                Begun::Later(value) => self.inner.wait_value(value)?,
                Begun::Never(error) => return Err(error),
            }
        }
        self.submit()?;
        Ok(self.values[(self.parts + IN_FLIGHT - 1) % IN_FLIGHT])
    }

    /// Finds room in staging memory for some of `left` bytes.
    fn begin(&self, left: usize) -> Result<Begun, MkError> {
        let inner = self.inner;
        let mut core = lock(&inner.core);
        let oldest = self.values[self.parts % IN_FLIGHT];
        if !inner.is_done(&mut core, oldest)? {
            return Ok(Begun::Later(oldest));
        }
        inner.is_done(&mut core, u64::MAX)?;
        let completed = core.completed;
        // A whole part if there is room for it, and whatever there is under a limit that is smaller.
        let whole = (left.min(PART) as u64).min(core.staging.chunk_size());
        let room = match core.staging.room(whole, completed) {
            Room::Full { .. } => core.staging.room(0, completed),
            room => room,
        };
        Ok(match room {
            Room::Chunk(chunk) => Begun::Chunk(chunk),
            Room::Make(size) => Begun::Chunk(inner.make_chunk(&mut core, size)?),
            Room::Wait(value) => Begun::Later(value),
            Room::Full { limit } => {
                let (asked, held_by_this_frame) = (left as u64, 0);
                Begun::Never(MkError::StagingLimit { asked, limit, held_by_this_frame })
            }
        })
    }

    /// Writes the bytes from `done` on that the part has room for, and submits the part before it meanwhile. Returns up to
    /// where.
    fn write(&mut self, chunk: HeldChunk, done: usize) -> Result<usize, MkError> {
        let inner = self.inner;
        let mut work = OpenWork::open(inner, self.number);
        work.ws.chunks.push(chunk);
        let Some(chunk) = work.ws.chunks.last_mut() else { return Ok(done) };
        let buffer = chunk.number;
        let left = &self.bytes[done..];
        let (offset, room) = chunk.take(left.len().min(PART), self.alignment);
        let end = done + room.len();
        inner.workers.copy_while(room, left, || self.submit())?;
        let range = self.start + done as u64..self.start + end as u64;
        let to = ResourceSlice::new(self.to.id.into(), range);
        work.ws.graph.upload(HostSlice { buffer, offset }, to);
        work.ws.name.clear();
        // Writing to a string cannot fail.
        let _ = write!(work.ws.name, "upload to {}, part {}", self.to.name, self.parts + 1);
        self.written = Some(Part { work, end });
        Ok(end)
    }

    /// Submits the part that is written, if there is one.
    fn submit(&mut self) -> Result<(), MkError> {
        let Some(mut part) = self.written.take() else { return Ok(()) };
        let (value, _) = self.inner.run(&mut part.work.ws, None)?;
        self.values[self.parts % IN_FLIGHT] = value;
        self.parts += 1;
        self.submitted = part.end;
        Ok(())
    }

    /// What to say when it could not be finished.
    fn failed(&self, cause: MkError) -> MkError {
        if self.submitted == 0 {
            return cause;
        }
        MkError::PartlyUploaded {
            resource: (&*self.to.name).into(),
            submitted: self.submitted as u64,
            size: self.bytes.len() as u64,
            cause: Box::new(cause),
        }
    }
}
