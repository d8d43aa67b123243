//! What handles and tickets know of their `MkGpu`: a weak reference without the backend's type.

use crate::buffer::{BufferInner, MkBuffer};
use crate::mapped::MapMode;
use crate::readback::ReadbackKey;
use crate::workers::Workers;
use crate::{MkBufferDesc, MkError};
use memkit_graph::ResourceId;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What handles and tickets ask of their `MkGpu`.
pub(crate) trait Device: Send + Sync {
    fn create_buffer(
        &self,
        desc: &MkBufferDesc<'_>,
        gpu: GpuRef,
        at: &Location<'_>,
    ) -> Result<MkBuffer, MkError>;
    /// Whether no submitted or pending work uses the buffer.
    fn is_idle(&self, id: ResourceId) -> Result<bool, MkError>;
    /// Keeps the device from the buffer and returns where it is mapped.
    fn map(&self, buffer: &BufferInner, range: Range<u64>, mode: MapMode) -> Result<NonNull<u8>, MkError>;
    /// Who copies large amounts.
    fn workers(&self) -> &Workers;
    /// Lets the device have it again. On an error the host's writes are flushed again by the next use of the buffer.
    fn unmap(&self, buffer: &BufferInner, range: Range<u64>, mode: MapMode) -> Result<(), MkError>;
    /// The timeline value that ends a batch of transfers, submitting it if it is pending. None while a call that
    /// runs the caller's code is about to submit it.
    fn batch_value(&self, batch: u64) -> Result<Option<u64>, MkError>;
    fn is_reached(&self, value: u64) -> Result<bool, MkError>;
    /// Waits a while for a timeline value; `false` if it is not reached by then.
    fn wait_briefly(&self, value: u64, timeout: Duration) -> Result<bool, MkError>;
    /// The timeline value that ends a readback's frame.
    fn readback_value(&self, key: ReadbackKey) -> Result<u64, MkError>;
    fn with_readback(&self, key: ReadbackKey, f: &mut dyn FnMut(&[u8])) -> Result<(), MkError>;
}

/// What handles and tickets hold of their `MkGpu`; they share one.
pub(crate) struct GpuLink {
    pub(crate) id: u32,
    pub(crate) device: Weak<dyn Device>,
    /// [`CLOSED`] and [`LOST`]; 0 as long as it can be used.
    state: AtomicU8,
    /// What handles dropped; taken up by the next call that has the core. Dropping a handle takes this lock alone, so
    /// that it can be done anywhere, on the device's own threads too.
    pub(crate) dropped: Mutex<Dropped>,
}

/// The `MkGpu` is dropped: nothing is submitted any more, and every call answers `GpuDropped`.
const CLOSED: u8 = 1;
/// The device is known to be lost: every call answers `DeviceLost`.
const LOST: u8 = 2;

#[derive(Default)]
pub(crate) struct Dropped {
    pub(crate) buffers: Vec<ResourceId>,
    pub(crate) readbacks: Vec<ReadbackKey>,
}

/// A weak reference to an `MkGpu`, and its number.
#[derive(Clone)]
pub(crate) struct GpuRef(pub(crate) Arc<GpuLink>);

impl std::ops::Deref for GpuRef {
    type Target = GpuLink;
    fn deref(&self) -> &GpuLink {
        &self.0
    }
}

impl std::fmt::Debug for GpuRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MkGpu #{}", self.id)
    }
}

impl GpuLink {
    pub(crate) fn new(id: u32, device: Weak<dyn Device>) -> Self {
        GpuLink { id, device, state: AtomicU8::new(0), dropped: Mutex::default() }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Acquire) & LOST != 0
    }

    /// Whether calls answer something else than `GpuDropped` or `DeviceLost`.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        self.state.load(Ordering::Acquire) == 0
    }

    /// The `MkGpu` is dropped.
    pub(crate) fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::Release);
    }

    /// The device is lost.
    pub(crate) fn lose(&self) {
        self.state.fetch_or(LOST, Ordering::Release);
    }
}

impl GpuRef {
    pub(crate) fn get(&self) -> Result<Arc<dyn Device>, MkError> {
        self.device.upgrade().filter(|_| !self.is_closed()).ok_or(MkError::GpuDropped)
    }

    pub(crate) fn drop_buffer(&self, id: ResourceId) {
        if !self.is_closed() {
            lock(&self.dropped).buffers.push(id);
        }
    }

    pub(crate) fn drop_readback(&self, key: ReadbackKey) {
        if !self.is_closed() {
            lock(&self.dropped).readbacks.push(key);
        }
    }

    /// Waits until what `value` names is reached, or `timeout` has passed; `Duration::MAX` waits forever. What is being
    /// submitted by this very thread cannot be waited for: that is [`MkError::NotReady`].
    ///
    /// The reference is let go between short waits, so that dropping the `MkGpu` never waits for a waiter.
    pub(crate) fn wait(
        &self,
        value: impl Fn(&dyn Device) -> Result<Option<u64>, MkError>,
        timeout: Duration,
    ) -> Result<bool, MkError> {
        const SLICE: Duration = Duration::from_millis(50);
        let begin = Instant::now();
        loop {
            let left = timeout.saturating_sub(begin.elapsed()).min(SLICE);
            let device = self.get()?;
            match value(&*device)? {
                Some(value) if device.wait_briefly(value, left)? => return Ok(true),
                Some(_) => {}
                None if Inside::is_this_thread() => return Err(MkError::NotReady),
                None => std::thread::sleep(left.min(Duration::from_micros(50))),
            }
            if begin.elapsed() >= timeout {
                return Ok(false);
            }
        }
    }
}

thread_local! {
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, this thread is inside a call of the library that runs the caller's code, or holds a map guard:
/// dropping an `MkGpu` here must not wait for that call to end.
pub(crate) struct Inside(PhantomData<*const ()>);

impl Inside {
    pub(crate) fn enter() -> Self {
        INSIDE.set(INSIDE.get() + 1);
        Inside(PhantomData)
    }

    fn is_this_thread() -> bool {
        INSIDE.get() > 0
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
    }
}

/// Set once everything of an `MkGpu` is destroyed.
#[derive(Default)]
pub(crate) struct Ended {
    done: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    pub(crate) fn set(&self) {
        *lock(&self.done) = true;
        self.changed.notify_all();
    }

    /// Waits for the end, unless this thread itself holds it up.
    pub(crate) fn wait(&self) {
        if Inside::is_this_thread() {
            return;
        }
        let mut done = lock(&self.done);
        while !*done {
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Locks; a panic elsewhere does not spoil the data, because no caller's code runs under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
