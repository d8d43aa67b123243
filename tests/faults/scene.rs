//! A frame loop that uses every feature of the facade on any backend, and knows what must come of it. Each step is
//! written as an engine would: the first error ends it, and what was begun is dropped.

use crate::model::{BUFS, Buf, Change, Expected, Model, WORDS, words};
use memkit_gpu::{
    MkBuffer, MkBufferDesc, MkBufferUsage, MkError, MkFence, MkFrame, MkGpu, MkGpuBackend, MkGpuConfig,
    MkGpuPool, MkGpuTransfer, MkMemoryType, MkReadback, MkSlice, MkTransient,
};
use std::ops::Range;
use std::time::Duration;

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
    bufs: Vec<MkBuffer>,
    pool: MkGpuPool,
    model: Model,
    /// Transfers that were asked for and not seen to be submitted.
    pending: Vec<(MkGpuTransfer, Change)>,
    expected: Vec<Expected>,
    fence: Option<MkFence>,
    kept: Vec<Box<dyn Send>>,
    /// What failed: the step, and how.
    pub errors: Vec<(&'static str, MkError)>,
}

/// A frame, and what it will have changed once it is submitted.
struct Draft<B: Body> {
    frame: MkFrame<'static, B>,
    changes: Vec<Change>,
    /// With the number of changes before each.
    readbacks: Vec<(MkReadback<u32>, usize, Buf, Range<usize>)>,
}

type Done = Result<(), MkError>;

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

    fn slice(&self, buf: Buf, words: Range<usize>) -> MkSlice<'static> {
        self.bufs[buf as usize].id().slice(words.start * 4..words.end * 4)
    }

    fn begin(&mut self) -> Result<Draft<B>, MkError> {
        Ok(Draft { frame: self.gpu.begin_frame()?, changes: Vec::new(), readbacks: Vec::new() })
    }

    /// Submits a frame. If that works, all that was pending and the frame itself have happened; otherwise its readbacks
    /// are cancelled and nothing else has.
    fn submit(&mut self, draft: Draft<B>) -> Done {
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
    fn submitted(&mut self) {
        for (_, change) in self.pending.drain(..) {
            self.model.apply(&change);
        }
    }

    /// Uploads of every kind, a fill, a copy, passes over a transient, an explicit order, readbacks.
    fn frame(&mut self, n: u32) -> Done {
        let mut draft = self.begin()?;
        draft.frame.set_name("everything");
        let (a, b) = (self.slice(Buf::A, 0..WORDS), self.slice(Buf::B, 0..WORDS));
        // Longer than two chunks; then small ones, two of which overlap; then one written in place.
        draft.upload(Buf::A, a, 0, words(n, 640))?;
        for i in 0..8 {
            draft.upload(Buf::A, a, 640 + i * 3, words(n + 1, 2))?;
        }
        draft.upload(Buf::A, a, 641, words(n + 2, 9))?;
        draft.upload_with(Buf::B, b, 700, &words(n + 3, 60))?;
        draft.set(Buf::B, self.slice(Buf::B, 0..16), 0, 16);
        draft.copy((Buf::A, 0..32), (Buf::B, 16), self);
        let (t, all) = (draft.frame.transient("t", 4 * 600), self.slice(Buf::A, 100..700));
        B::copy_pass(&mut draft.frame, all, t.into());
        B::copy_pass(&mut draft.frame, t.slice(0..2000), self.slice(Buf::B, 64..564));
        draft.changes.push(Change::Copy { from: (Buf::A, 100..600), to: (Buf::B, 64) });
        let filled = draft.frame.fill(self.slice(Buf::A, 760..768), 5);
        let copied = draft.frame.copy(t.slice(0..4), self.slice(Buf::B, 760..761));
        draft.frame.order(filled, copied);
        draft.changes.push(Change::Set(Buf::A, 760, vec![5; 8]));
        draft.changes.push(Change::Copy { from: (Buf::A, 100..101), to: (Buf::B, 760) });
        draft.readback(Buf::B, b, 0..WORDS)?;
        draft.readback(Buf::A, a, 630..700)?;
        self.submit(draft)
    }

    /// Two frames open at once, submitted in the other order.
    fn two_frames(&mut self, n: u32) -> Done {
        let (mut first, mut second) = (self.begin()?, self.begin()?);
        let b = self.slice(Buf::B, 0..WORDS);
        first.upload(Buf::B, b, 100, words(n + 4, 50))?;
        first.copy((Buf::B, 100..130), (Buf::A, 300), self);
        second.upload(Buf::B, b, 120, words(n + 5, 50))?;
        second.readback(Buf::B, b, 90..180)?;
        let scratch: MkTransient = first.frame.transient("scratch", 256);
        first.frame.fill(scratch, n);
        first.frame.copy(scratch, self.slice(Buf::A, 400..464));
        first.changes.push(Change::Set(Buf::A, 400, vec![n; 64]));
        self.submit(second)?;
        self.submit(first)
    }

    /// A frame that is declared and never submitted.
    fn dropped_frame(&mut self, n: u32) -> Done {
        let mut draft = self.begin()?;
        let a = self.slice(Buf::A, 0..WORDS);
        draft.upload(Buf::A, a, 0, words(n + 6, 300))?;
        draft.readback(Buf::A, a, 0..10)?;
        Ok(())
    }

    /// Pending transfers that build on each other, taken along by a flush, a frame, a batch and a ticket.
    fn transfers(&mut self, n: u32) -> Done {
        self.transfer((Buf::A, 0..64), (Buf::B, 200))?;
        self.transfer((Buf::B, 200..264), (Buf::V, 0))?;
        self.gpu.flush()?;
        self.submitted();
        self.transfer((Buf::V, 0..10), (Buf::C, 50))?;
        let mut draft = self.begin()?;
        draft.upload(Buf::C, self.slice(Buf::C, 0..WORDS), 55, words(n + 7, 10))?;
        self.submit(draft)?;
        self.transfer((Buf::C, 50..70), (Buf::U, 0))?;
        let (a, b) = (&self.bufs[Buf::A as usize], &self.bufs[Buf::B as usize]);
        let whole = self.gpu.batch_transfer().copy(a, b).submit()?;
        self.submitted();
        self.model.apply(&Change::Copy { from: (Buf::A, 0..WORDS), to: (Buf::B, 0) });
        whole.wait()?;
        // The same bytes once more: an error of the wait alone leaves nothing to be found out.
        let (a, b) = (&self.bufs[Buf::A as usize], &self.bufs[Buf::B as usize]);
        self.gpu.batch_transfer().copy(a, b).submit_and_wait()?;
        self.transfer((Buf::A, 500..600), (Buf::C, 300))?;
        if let Some((ticket, _)) = self.pending.last() {
            ticket.is_complete()?;
            ticket.wait()?;
        }
        self.submitted();
        Ok(())
    }

    fn transfer(&mut self, from: (Buf, Range<usize>), to: (Buf, usize)) -> Done {
        let (a, b) = (&self.bufs[from.0 as usize], &self.bufs[to.0 as usize]);
        let builder = self.gpu.transfer_builder(a, b).src_offset(from.1.start * 4);
        let ticket = builder.dst_offset(to.1 * 4).size(from.1.len() * 4).submit()?;
        self.pending.push((ticket, Change::Copy { from, to }));
        Ok(())
    }

    /// Buffers of every memory type, written and read by the host and copied by the device.
    fn host_memory(&mut self, n: u32) -> Done {
        self.gpu.wait_idle()?;
        for buf in [Buf::V, Buf::C, Buf::U] {
            let data = words(n + 8 + buf as u32, 20);
            // An error may come before or after the bytes are there: written again, there is no doubt.
            let write = || self.bufs[buf as usize].write(40, &data);
            if again(&mut self.errors, "write", write).is_none() {
                return Err(MkError::DeviceLost);
            }
            self.model.apply(&Change::Set(buf, 10, data));
            let mut map = self.bufs[buf as usize].map()?;
            map[1200..1204].copy_from_slice(&n.to_ne_bytes());
            drop(map);
            self.model.apply(&Change::Set(buf, 300, vec![n]));
        }
        let mut draft = self.begin()?;
        draft.copy((Buf::V, 0..100), (Buf::A, 600), self);
        draft.copy((Buf::U, 0..40), (Buf::C, 700), self);
        if self.bufs.len() > Buf::I as usize {
            draft.copy((Buf::V, 0..400), (Buf::I, 100), self);
            draft.copy((Buf::I, 90..110), (Buf::A, 740), self);
        }
        self.submit(draft)?;
        if let Some(fence) = &self.fence {
            fence.wait()?;
        }
        for buf in [Buf::V, Buf::C, Buf::U] {
            let mut got = vec![0u32; WORDS];
            self.bufs[buf as usize].read(0, &mut got)?;
            same(&got, &self.model.words(buf, 0..WORDS), "read by the host");
        }
        Ok(())
    }

    /// Staging buffers: made with data, written, mapped, and dropped with their transfers in flight.
    fn staging(&mut self, n: u32) -> Done {
        let mut staging = self.gpu.staging_buffer_with_data(&words(n + 20, 32))?;
        staging.write(8, &[n])?;
        staging.map()?[0..4].copy_from_slice(&(n + 1).to_ne_bytes());
        let mut data = words(n + 20, 32);
        (data[0], data[2]) = (n + 1, n);
        let to = &self.bufs[Buf::A as usize];
        let ticket = self.gpu.transfer_builder(&staging, to).offset(4).submit()?;
        self.pending.push((ticket, Change::Set(Buf::A, 1, data)));
        self.let_go(staging);
        self.gpu.flush()?;
        self.submitted();
        let temporary = self.gpu.create_device_buffer(256, MkBufferUsage::STORAGE)?;
        let mut draft = self.begin()?;
        draft.frame.upload(&temporary, 0, &words(n, 64))?;
        draft.frame.copy(&temporary, self.slice(Buf::B, 0..64));
        draft.changes.push(Change::Set(Buf::B, 0, words(n, 64)));
        self.let_go(temporary);
        self.submit(draft)
    }

    fn let_go(&mut self, buffer: impl Send + 'static) {
        if B::KEEPS {
            self.kept.push(Box::new(buffer));
        }
    }

    /// Buffers that are large enough for memory of their own.
    fn large(&mut self, n: u32) -> Done {
        let desc =
            |name, memory| MkBufferDesc { name, size: B::LARGE, usage: MkBufferUsage::STORAGE, memory };
        let mut host = self.gpu.create_buffer(&desc("large host", MkMemoryType::HostVisible))?;
        let device = self.gpu.create_buffer(&desc("large device", MkMemoryType::DeviceLocal))?;
        host.write(B::LARGE - 256, &words(n + 30, 64))?;
        let mut draft = self.begin()?;
        draft.frame.copy(host.slice(B::LARGE - 256..), device.slice(..256));
        draft.frame.copy(device.slice(..256), self.slice(Buf::B, 600..664));
        draft.changes.push(Change::Set(Buf::B, 600, words(n + 30, 64)));
        self.let_go((host, device));
        self.submit(draft)
    }

    /// Pooled buffers, handed out again.
    fn pool(&mut self, n: u32) -> Done {
        for round in 0..3 {
            let pooled = self.pool.get()?;
            let mut draft = self.begin()?;
            draft.frame.fill(&*pooled, n + round);
            draft.frame.copy(&*pooled, self.slice(Buf::A, 200..264));
            draft.changes.push(Change::Set(Buf::A, 200, vec![n + round; 64]));
            self.submit(draft)?;
        }
        Ok(())
    }

    /// Fences, and the tickets of all readbacks so far.
    fn tickets(&mut self) -> Done {
        let fence = self.gpu.fence();
        fence.is_complete()?;
        while !fence.wait_timeout(Duration::from_millis(100))? {}
        while let Some(Expected { ticket, words }) = self.expected.last() {
            ticket.wait()?;
            let mut got = vec![0; words.len()];
            ticket.read_into(&mut got)?;
            same(&got, words, "read back");
            self.expected.pop();
        }
        Ok(())
    }
}

impl<B: Body> Draft<B> {
    fn upload(&mut self, buf: Buf, all: MkSlice<'static>, at: usize, data: Vec<u32>) -> Done {
        self.frame.upload(all, at * 4, &data)?;
        self.changes.push(Change::Set(buf, at, data));
        Ok(())
    }

    fn upload_with(&mut self, buf: Buf, all: MkSlice<'static>, at: usize, data: &[u32]) -> Done {
        let range = at * 4..(at + data.len()) * 4;
        self.frame.upload_with(all, range, |bytes| {
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(data) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
        })?;
        self.changes.push(Change::Set(buf, at, data.to_vec()));
        Ok(())
    }

    /// Fills `slice`, which is the words from `at` on, with zeros.
    fn set(&mut self, buf: Buf, slice: MkSlice<'static>, at: usize, n: usize) {
        self.frame.fill(slice, 0);
        self.changes.push(Change::Set(buf, at, vec![0; n]));
    }

    fn copy(&mut self, from: (Buf, Range<usize>), to: (Buf, usize), scene: &Scene<B>) {
        let end = to.1 + from.1.len();
        self.frame.copy(scene.slice(from.0, from.1.clone()), scene.slice(to.0, to.1..end));
        self.changes.push(Change::Copy { from, to });
    }

    fn readback(&mut self, buf: Buf, all: MkSlice<'static>, range: Range<usize>) -> Done {
        let ticket = self.frame.readback::<u32>(all, range.clone())?;
        self.readbacks.push((ticket, self.changes.len(), buf, range));
        Ok(())
    }
}

#[track_caller]
fn same(got: &[u32], want: &[u32], how: &str) {
    let wrong = got.iter().zip(want).position(|(got, want)| got != want);
    if let Some(at) = wrong {
        panic!("{how}: word {at} of {} is {:#x}, it must be {:#x}", want.len(), got[at], want[at]);
    }
}

/// Tries until it works, and notes what failed; `None` once the device is lost.
fn again<T>(
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
