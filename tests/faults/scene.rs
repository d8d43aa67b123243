//! A frame loop that uses every feature of the facade on any backend, and knows what must come of it. Each step is
//! written as an engine would: the first error ends it, and what was begun is dropped.

use crate::draft::Draft;
use crate::model::{BUFS, Buf, Change, Expected, Model, WORDS};
use memkit_gpu::{
    MkBuffer, MkBufferDesc, MkBufferUsage, MkError, MkFence, MkFrame, MkGpu, MkGpuBackend, MkGpuConfig,
    MkGpuPool, MkGpuTransfer, MkMemoryType, MkSlice,
};
use std::ops::Range;

/// What differs between backends.
pub trait Body: MkGpuBackend {
    /// Whether buffers are kept to the end that the loop would drop while their work is in flight: the layer 1.3.239
    /// does not know that the host waited before memory is used again, and takes that for a hazard.
    const KEEPS: bool;

    /// Bytes of a buffer that is large enough for memory of its own.
    const LARGE: usize;

    /// A pass that copies one slice to another with commands or a kernel of its own.
    fn copy_pass(frame: &mut MkFrame<'static, Self>, from: MkSlice<'static>, to: MkSlice<'static>);
}

/// Bytes of the chunks that the library makes for uploads and for readbacks.
const CHUNK: usize = 1 << 10;
const READBACK_CHUNK: u64 = 256 << 10;

/// Small chunks, so that an upload is spread over several, and a limit that makes frames wait for earlier ones.
pub fn config(frames_in_flight: usize) -> MkGpuConfig {
    MkGpuConfig { frames_in_flight, staging_chunk: CHUNK, staging_limit: 5 << 10, ..Default::default() }
}

/// How often a call that fails is tried again before that counts as a failure for good.
const TRIES: usize = 1000;

pub struct Scene<B: Body> {
    pub gpu: MkGpu<B>,
    pub bufs: Vec<MkBuffer>,
    pub pool: MkGpuPool,
    pub model: Model,
    /// Transfers that were asked for and not seen to be submitted.
    pub pending: Vec<(MkGpuTransfer, Change)>,
    pub expected: Vec<Expected>,
    pub fence: Option<MkFence>,
    pub kept: Vec<Box<dyn Send>>,
    /// What failed: the step, and how.
    pub errors: Vec<(&'static str, MkError)>,
}

pub type Done = Result<(), MkError>;

impl<B: Body> Scene<B> {
    /// Makes the buffers and fills them. What fails is tried again; a lost device ends it: `Err` with what there is.
    pub fn new(gpu: MkGpu<B>, imported: Option<MkBuffer>) -> Result<Self, Box<Lost<B>>> {
        let mut errors = Vec::new();
        let mut bufs = Vec::new();
        let lost = |gpu, bufs, errors| Err(Box::new(Lost { gpu, bufs, errors }));
        let memories = [
            ("a", MkMemoryType::DeviceLocal),
            ("b", MkMemoryType::DeviceLocal),
            ("v", MkMemoryType::HostVisible),
            ("c", MkMemoryType::HostCached),
            ("u", MkMemoryType::Unified),
        ];
        for (name, memory) in memories {
            let desc = MkBufferDesc { name, size: WORDS * 4, usage: MkBufferUsage::STORAGE, memory };
            match again(&mut errors, "make", || gpu.create_buffer(&desc)) {
                Some(buffer) => bufs.push(buffer),
                None => return lost(gpu, bufs, errors),
            }
        }
        let desc =
            MkBufferDesc { name: "pooled", size: 256, usage: MkBufferUsage::STORAGE, ..Default::default() };
        let Some(pool) = again(&mut errors, "make", || gpu.create_pool(&desc)) else {
            return lost(gpu, bufs, errors);
        };
        bufs.extend(imported);
        let (model, pending, expected) = (Model::new(), Vec::new(), Vec::new());
        let mut scene =
            Scene { gpu, bufs, pool, model, pending, expected, fence: None, kept: Vec::new(), errors };
        let zeros = |scene: &mut Self| {
            let mut draft = scene.begin()?;
            for buf in scene.known() {
                draft.set(buf, scene.slice(buf, 0..WORDS), 0, WORDS);
            }
            scene.submit(draft)
        };
        let mut errors = std::mem::take(&mut scene.errors);
        let begun = again(&mut errors, "begin", || zeros(&mut scene));
        scene.errors = errors;
        if begun.is_none() {
            return Err(Box::new(scene.into_lost()));
        }
        Ok(scene)
    }

    /// One turn of the loop. Ends early if the device is lost.
    pub fn turn(&mut self, n: u32) {
        self.step("frame", |s| s.frame(n));
        self.step("two frames", |s| s.two_frames(n));
        self.step("dropped frame", |s| s.dropped_frame(n));
        self.step("transfers", |s| s.transfers(n));
        self.step("host memory", |s| s.host_memory(n));
        self.step("beside frames", |s| s.beside_frames(n));
        self.step("staging", |s| s.staging(n));
        self.step("large buffers", |s| s.large(n));
        self.step("pool", |s| s.pool(n));
        self.step("tickets", |s| s.tickets());
        self.step("wait_idle", |s| s.gpu.wait_idle());
    }

    /// Whether the device is lost.
    pub fn is_lost(&self) -> bool {
        self.errors.iter().any(|(_, e)| e.is_device_lost())
    }

    /// Drops all handles, and asserts that after some frames only the library's own chunks are left. `left` tells
    /// the number of buffers and, where it is known, their bytes.
    pub fn wind_down(self, left: impl FnOnce(&MkGpu<B>) -> (usize, Option<u64>)) {
        let Scene { gpu, bufs, pool, expected, kept, .. } = self;
        drop((bufs, pool, expected, kept));
        // Transient memory is kept for some frames.
        for _ in 0..20 {
            drop(gpu.begin_frame().unwrap());
        }
        gpu.wait_idle().unwrap();
        let (count, bytes) = left(&gpu);
        assert!(count <= 4 + config(1).staging_limit / CHUNK, "{count} buffers are left");
        // Each is a chunk for uploads or one for readbacks: several of those, if tickets piled up.
        let chunks = |reads: usize| (count - reads) as u64 * CHUNK as u64 + reads as u64 * READBACK_CHUNK;
        let fits = bytes.is_none_or(|bytes| (1..=count).any(|reads| chunks(reads) == bytes));
        assert!(fits, "{count} buffers of {bytes:?} bytes are left: others than chunks");
    }

    pub fn into_lost(self) -> Lost<B> {
        Lost { gpu: self.gpu, bufs: self.bufs, errors: self.errors }
    }

    fn step(&mut self, name: &'static str, f: impl FnOnce(&mut Self) -> Done) {
        if self.is_lost() {
            return;
        }
        if let Err(error) = f(self) {
            self.errors.push((name, error));
            self.recover();
        }
    }

    /// After an error: finds out what became of the transfers, and checks that the very next frame is right.
    fn recover(&mut self) {
        if self.is_lost() {
            return;
        }
        for (ticket, change) in std::mem::take(&mut self.pending) {
            let mut errors = std::mem::take(&mut self.errors);
            let done = again(&mut errors, "settle", || match ticket.wait() {
                Ok(()) => Ok(true),
                Err(MkError::Cancelled) => Ok(false),
                Err(error) => Err(error),
            });
            self.errors = errors;
            if done == Some(true) {
                self.model.apply(&change);
            }
        }
        self.check();
    }

    /// Compares all buffers with what they must hold, by way of a frame.
    pub fn check(&mut self) {
        if self.is_lost() {
            return;
        }
        let mut errors = std::mem::take(&mut self.errors);
        again(&mut errors, "check", || {
            let mut draft = self.begin()?;
            for buf in self.known() {
                draft.readback(buf, self.slice(buf, 0..WORDS), 0..WORDS)?;
            }
            self.submit(draft)?;
            self.tickets()
        });
        self.errors = errors;
    }

    fn known(&self) -> impl Iterator<Item = Buf> + use<B> {
        BUFS.into_iter().take(self.bufs.len())
    }

    pub fn slice(&self, buf: Buf, words: Range<usize>) -> MkSlice<'static> {
        self.bufs[buf as usize].id().slice(words.start * 4..words.end * 4)
    }

    pub fn begin(&mut self) -> Result<Draft<B>, MkError> {
        Ok(Draft { frame: self.gpu.begin_frame()?, changes: Vec::new(), readbacks: Vec::new() })
    }

    /// Submits a frame. If that works, all that was pending and the frame itself have happened; otherwise its readbacks
    /// are cancelled and nothing else has.
    pub fn submit(&mut self, draft: Draft<B>) -> Done {
        let Draft { frame, changes, readbacks } = draft;
        match frame.submit() {
            Ok(fence) => {
                self.submitted();
                let mut readbacks = readbacks.into_iter().peekable();
                for at in 0..=changes.len() {
                    while let Some((ticket, _, buf, range)) = readbacks.next_if(|r| r.1 == at) {
                        self.expected.push(Expected { ticket, words: self.model.words(buf, range) });
                    }
                    changes.get(at).into_iter().for_each(|change| self.model.apply(change));
                }
                self.fence = Some(fence);
                Ok(())
            }
            Err(error) => {
                for (ticket, ..) in readbacks {
                    match ticket.wait() {
                        Err(MkError::Cancelled) => {}
                        Err(MkError::DeviceLost) if error.is_device_lost() => {}
                        other => panic!("a readback of a frame that failed ({error}) says {other:?}"),
                    }
                }
                Err(error)
            }
        }
    }

    /// All that was pending has been submitted.
    pub fn submitted(&mut self) {
        for (_, change) in self.pending.drain(..) {
            self.model.apply(&change);
        }
    }
}

#[track_caller]
pub fn same(got: &[u32], want: &[u32], how: &str) {
    let wrong = got.iter().zip(want).position(|(got, want)| got != want);
    if let Some(at) = wrong {
        panic!("{how}: word {at} of {} is {:#x}, it must be {:#x}", want.len(), got[at], want[at]);
    }
}

/// Tries until it works, and notes what failed; `None` once the device is lost.
pub fn again<T>(
    errors: &mut Vec<(&'static str, MkError)>,
    step: &'static str,
    mut f: impl FnMut() -> Result<T, MkError>,
) -> Option<T> {
    for _ in 0..TRIES {
        match f() {
            Ok(value) => return Some(value),
            Err(error) => {
                let lost = error.is_device_lost();
                errors.push((step, error));
                if lost {
                    return None;
                }
            }
        }
    }
    panic!("{step}: still failing: {:?}", errors.last())
}

/// What is left of a scene whose device is lost.
pub struct Lost<B: MkGpuBackend> {
    pub gpu: MkGpu<B>,
    pub bufs: Vec<MkBuffer>,
    pub errors: Vec<(&'static str, MkError)>,
}
