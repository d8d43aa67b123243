//! Pools: buffers of one kind that are used again.

use crate::backend::MkGpuBackend;
use crate::buffer::{MkBuffer, MkSlice};
use crate::device::{GpuRef, lock};
use crate::gpu::MkGpu;
use crate::{MkBufferDesc, MkError};
use memkit_graph::BufferUsage;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex, Weak};

/// Buffers of one size, usage and memory type that come back when they are dropped, and are handed out again once
/// the device is done with them.
///
/// Cloning it gives another handle of the same pool.
#[derive(Clone, Debug)]
pub struct MkGpuPool {
    inner: Arc<PoolInner>,
}

#[derive(Debug)]
struct PoolInner {
    gpu: GpuRef,
    name: String,
    size: usize,
    usage: BufferUsage,
    memory: crate::MkMemoryType,
    free: Mutex<Vec<MkBuffer>>,
}

/// A buffer of a pool. Dropping it gives it back; if the pool is gone, its memory is freed instead.
#[derive(Debug)]
pub struct MkPooledBuffer {
    buffer: MkBuffer,
    pool: Weak<PoolInner>,
}

impl<B: MkGpuBackend> MkGpu<B> {
    /// Makes an empty pool of buffers like `desc`.
    ///
    /// # Errors
    /// [`MkError::ZeroSize`], [`MkError::BufferTooLarge`], [`MkError::DeviceLost`].
    pub fn create_pool(&self, desc: &MkBufferDesc<'_>) -> Result<MkGpuPool, MkError> {
        self.inner.check_lost()?;
        self.inner.check_size(desc.name, desc.size)?;
        Ok(MkGpuPool {
            inner: Arc::new(PoolInner {
                gpu: self.gpu_ref(),
                name: desc.name.to_owned(),
                size: desc.size,
                usage: desc.usage,
                memory: desc.memory,
                free: Mutex::new(Vec::new()),
            }),
        })
    }
}

impl MkGpuPool {
    /// A buffer that the device is done with: one that came back, or a new one. Its bytes are undefined.
    ///
    /// # Errors
    /// [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`], [`MkError::DeviceLost`], [`MkError::GpuDropped`], or what the
    /// backend says.
    #[track_caller]
    pub fn get(&self) -> Result<MkPooledBuffer, MkError> {
        let inner = &self.inner;
        let device = inner.gpu.get()?;
        let mut free = lock(&inner.free);
        for i in 0..free.len() {
            if device.is_idle(free[i].inner.id)? {
                let buffer = free.swap_remove(i);
                return Ok(self.hand_out(buffer));
            }
        }
        drop(free);
        let desc =
            MkBufferDesc { name: &inner.name, size: inner.size, usage: inner.usage, memory: inner.memory };
        Ok(self.hand_out(device.create_buffer(&desc, inner.gpu.clone(), Location::caller())?))
    }

    fn hand_out(&self, buffer: MkBuffer) -> MkPooledBuffer {
        MkPooledBuffer { buffer, pool: Arc::downgrade(&self.inner) }
    }

    /// Number of buffers that came back and wait to be handed out.
    #[must_use]
    pub fn available(&self) -> usize {
        lock(&self.inner.free).len()
    }
}

impl Deref for MkPooledBuffer {
    type Target = MkBuffer;
    fn deref(&self) -> &MkBuffer {
        &self.buffer
    }
}

impl DerefMut for MkPooledBuffer {
    fn deref_mut(&mut self) -> &mut MkBuffer {
        &mut self.buffer
    }
}

impl<'a> From<&'a MkPooledBuffer> for MkSlice<'a> {
    fn from(buffer: &'a MkPooledBuffer) -> Self {
        (&buffer.buffer).into()
    }
}

impl Drop for MkPooledBuffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        // What the caller swapped in may be something else.
        let b = &self.buffer.inner;
        if (b.size, b.usage, b.memory) == (pool.size as u64, pool.usage, pool.memory)
            && b.gpu.id == pool.gpu.id
        {
            lock(&pool.free).push(MkBuffer { inner: self.buffer.inner.clone() });
        }
    }
}
