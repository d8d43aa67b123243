//! Helper threads for large copies into staging memory: one thread alone is slower than the device fetches.
//!
//! They start with the first copy that is worth it, and end with the `MkGpu`. A copy is cut into pieces, which the
//! calling thread and the helpers take one after the other; it needs no helper to come to its end, and allocates
//! nothing.

use crate::copy::{STREAM_FROM, copy, stream};
use crate::device::lock;
use crate::mapped::MappedAt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From here on helpers take part: waking them takes as long as copying some hundred KiB.
pub(crate) const SHARE_FROM: usize = STREAM_FROM;
/// Bytes that a thread takes at a time.
const PIECE: usize = 128 << 10;
/// How long a helper looks out for the next copy before it sleeps: those of one upload come at short distances.
const LOOK_OUT: Duration = Duration::from_micros(100);

/// The helpers of one `MkGpu`.
pub(crate) struct Workers {
    wanted: usize,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A job came, or the end.
    came: Condvar,
    /// The last helper left a job.
    left: Condvar,
    /// First byte of the job that nobody has taken yet.
    next: AtomicUsize,
    /// Counts jobs, and the end; looked at without the lock.
    news: AtomicU64,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Helpers that are at it.
    busy: usize,
}

/// Bytes to copy.
#[derive(Clone, Copy)]
struct Job {
    to: MappedAt,
    from: MappedAt,
    len: usize,
}

impl Shared {
    /// Copies pieces of a job until none is left.
    ///
    /// # Safety
    /// The job is the current one: its memory is valid, `to` for these copies alone, and `next` counts for it.
    unsafe fn work(&self, job: Job) {
        loop {
            let start = self.next.fetch_add(PIECE, Ordering::Relaxed);
            if start >= job.len {
                return;
            }
            let n = PIECE.min(job.len - start);
            // SAFETY: within the job's memory; each piece is taken once.
            let (to, from) = unsafe { (job.to.add(start).bytes_mut(n), job.from.add(start).bytes(n)) };
            stream(to, from);
        }
    }

    /// What a helper does until the end.
    fn help(&self) {
        let mut seen = 0;
        loop {
            let begin = Instant::now();
            while self.news.load(Ordering::Acquire) == seen && begin.elapsed() < LOOK_OUT {
                std::hint::spin_loop();
            }
            let mut state = lock(&self.state);
            while self.news.load(Ordering::Acquire) == seen {
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            seen = self.news.load(Ordering::Acquire);
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            // None if it is done already.
            let Some(job) = state.job else { continue };
            state.busy += 1;
            drop(state);
            // SAFETY: whoever put the job there takes it away, and then waits until no helper is busy, before its memory
            // or `next` is used for anything else.
            unsafe { self.work(job) };
            let mut state = lock(&self.state);
            state.busy -= 1;
            if state.busy == 0 {
                self.left.notify_all();
            }
        }
    }
}

/// Ends a job, also when what ran meanwhile unwinds: no helper touches its memory afterwards.
struct EndJob<'a>(&'a Shared);

impl Drop for EndJob<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.job = None;
        while state.busy > 0 {
            state = self.0.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Workers {
    /// For `wanted` helpers, none of which runs yet.
    pub(crate) fn new(wanted: usize) -> Self {
        Workers { wanted, shared: Arc::default(), threads: Mutex::default() }
    }

    /// Copies as many bytes as both have: all of them, if they are of one length.
    #[inline]
    pub(crate) fn copy(&self, to: &mut [u8], from: &[u8]) {
        if to.len() < SHARE_FROM {
            copy(to, from);
        } else {
            self.copy_while(to, from, || ());
        }
    }

    /// Copies; the helpers do while this thread runs `meanwhile`, and this thread does afterwards.
    pub(crate) fn copy_while<R>(&self, to: &mut [u8], from: &[u8], meanwhile: impl FnOnce() -> R) -> R {
        let len = to.len().min(from.len());
        // SAFETY: dropped below, or when `meanwhile` unwinds; neither slice is touched before, but by the job.
        let begun =
            (len >= SHARE_FROM).then(|| unsafe { self.begin(&mut to[..len], &from[..len]) }).flatten();
        let Some(end) = begun else {
            let result = meanwhile();
            copy(to, from);
            return result;
        };
        let result = meanwhile();
        let job = lock(&self.shared.state).job;
        if let Some(job) = job {
            // SAFETY: it is this call's, which borrows its memory, until `end` is dropped.
            unsafe { self.shared.work(job) };
        }
        drop(end);
        result
    }

    /// Puts a job to the helpers. None if there are no helpers, or they are at another thread's.
    ///
    /// # Safety
    /// The result is dropped before the borrows of the memory end, and nobody else touches `to` until then.
    unsafe fn begin(&self, to: &mut [u8], from: &[u8]) -> Option<EndJob<'_>> {
        if self.wanted == 0 || !self.are_there() {
            return None;
        }
        let from_at = NonNull::new(from.as_ptr().cast_mut())?;
        let to_at = NonNull::new(to.as_mut_ptr())?;
        let shared = &*self.shared;
        {
            let mut state = lock(&shared.state);
            if state.job.is_some() || state.busy > 0 {
                return None;
            }
            shared.next.store(0, Ordering::Relaxed);
            state.job = Some(Job { to: MappedAt::new(to_at), from: MappedAt::new(from_at), len: to.len() });
            shared.news.fetch_add(1, Ordering::Release);
        }
        shared.came.notify_all();
        Some(EndJob(shared))
    }

    /// Starts helpers that do not run yet. Whether there are any: the system may have no more threads to give.
    fn are_there(&self) -> bool {
        let mut threads = lock(&self.threads);
        if threads.is_empty() {
            for number in 1..=self.wanted {
                let shared = self.shared.clone();
                let named = std::thread::Builder::new().name(format!("memkit-gpu copy {number}"));
                match named.spawn(move || shared.help()) {
                    Ok(thread) => threads.push(thread),
                    Err(_) => break,
                }
            }
        }
        !threads.is_empty()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        {
            let _state = lock(&self.shared.state);
            self.shared.stopped.store(true, Ordering::Release);
            self.shared.news.fetch_add(1, Ordering::Release);
        }
        self.shared.came.notify_all();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 31 + i / 251 + seed * 7) as u8).collect()
    }

    #[test]
    fn any_number_of_helpers_copies_every_byte_once() {
        for helpers in [0, 1, 3] {
            let workers = Workers::new(helpers);
            for (seed, n) in [1, SHARE_FROM - 1, SHARE_FROM, SHARE_FROM + PIECE + 13].into_iter().enumerate()
            {
                let from = numbers(n, seed);
                let mut to = vec![0; n + 2];
                workers.copy(&mut to[1..=n], &from);
                assert!(to[1..=n] == from && to[0] == 0 && to[n + 1] == 0, "{helpers} helpers, {n} bytes");
            }
        }
    }

    #[test]
    fn two_threads_that_copy_at_once_do_not_disturb_each_other() {
        let workers = Workers::new(2);
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let workers = &workers;
                scope.spawn(move || {
                    let from = numbers(SHARE_FROM + 5, seed);
                    for _ in 0..6 {
                        let mut to = vec![0; from.len()];
                        workers.copy(&mut to, &from);
                        assert!(to == from);
                    }
                });
            }
        });
    }

    #[test]
    fn what_runs_meanwhile_may_panic() {
        let workers = Workers::new(2);
        let from = numbers(SHARE_FROM, 0);
        let mut to = vec![0; SHARE_FROM];
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            workers.copy_while(&mut to, &from, || panic!("on purpose"));
        }));
        assert!(unwound.is_err());
        workers.copy(&mut to, &from);
        assert!(to == from);
    }

    #[test]
    fn helpers_that_never_ran_or_sleep_end() {
        drop(Workers::new(3));
        let workers = Workers::new(3);
        let from = numbers(SHARE_FROM, 1);
        workers.copy(&mut vec![0; SHARE_FROM], &from);
        std::thread::sleep(LOOK_OUT * 4);
        drop(workers);
    }
}
