//! The simulated queue, as the host and its thread share it: what was submitted, what is done, what is waited for.

use super::config::DummyBackendConfig;
use super::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork, Reports};
use super::memory::Block;
use super::record::{HostWrite, Recorded};
use crate::MkError;
use memkit_graph::Access;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Recordings kept for later use.
const POOLED: usize = 16;
/// With an adversary: submissions held back, beyond which the oldest is due.
const HELD: u64 = 8;
/// With an adversary: polls in a row that make the oldest submission due.
const POLLS: u32 = 8;
/// With an adversary: how long a poll waits for what is due.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the backend and its thread share.
pub(super) struct Shared {
    pub(super) config: DummyBackendConfig,
    pub(super) reports: Reports,
    /// Barrier calls run so far, the skipped one included.
    pub(super) barriers: AtomicU64,
    /// The newest submission the host knows to be done, because it asked or waited.
    observed: AtomicU64,
    state: Mutex<State>,
    /// Something for the thread to do.
    work: Condvar,
    /// A timeline value was reached.
    done: Condvar,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Job>,
    #[expect(clippy::vec_box, reason = "handed out as boxes")]
    pool: Vec<Box<Recorded>>,
    /// Recordings whose submit failed. What their kernels captured is dropped later, when no lock is held.
    #[expect(clippy::vec_box, reason = "handed out as boxes")]
    failed: Vec<Box<Recorded>>,
    host_writes: Vec<HostWrite>,
    paused: bool,
    stop: bool,
    /// By a fault, or because the thread ended other than by being told to.
    lost: bool,
    submitted: u64,
    completed: u64,
    /// With an adversary: the newest submission that was asked for.
    due: u64,
    /// With an adversary: polls since the last submission, wait, or poll that made one due.
    polls: u32,
}

/// What the thread is told.
pub(super) enum Job {
    /// To run a submission, or to take it up. Boxed as recordings are: moving one moves a pointer.
    Run(Box<Recorded>),
    /// To reach a timeline value, with an adversary.
    Reach(u64),
}

impl State {
    /// A submission has to run, and all before it. What runs when depends on the order of these calls and of submissions
    /// alone: both come to the thread as jobs.
    fn ask(&mut self, value: u64) {
        self.polls = 0;
        if value > self.due {
            self.due = value;
            self.pending.push_back(Job::Reach(value));
        }
    }
}

impl Shared {
    pub(super) fn new(config: DummyBackendConfig) -> Self {
        Shared {
            config,
            reports: Reports::default(),
            barriers: AtomicU64::new(0),
            observed: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty recording.
    pub(super) fn take(&self) -> Box<Recorded> {
        self.drop_failed();
        self.state().pool.pop().unwrap_or_default()
    }

    /// Takes back a recording whose submit failed: the caller holds locks, so that nothing of it is dropped yet.
    pub(super) fn shelve(&self, recorded: Box<Recorded>) {
        self.state().failed.push(recorded);
    }

    /// Drops what recordings whose submit failed captured.
    pub(super) fn drop_failed(&self) {
        let failed = std::mem::take(&mut self.state().failed);
        failed.into_iter().for_each(|recorded| self.recycle(recorded));
    }

    /// Takes a recording back. Runs destructors of kernels, so no lock is held.
    pub(super) fn recycle(&self, mut recorded: Box<Recorded>) {
        recorded.clear();
        let mut state = self.state();
        if state.pool.len() < POOLED {
            state.pool.push(recorded);
        }
    }

    /// Queues a recording and returns its timeline value; gives it back if the device is lost.
    pub(super) fn push(&self, mut recorded: Box<Recorded>) -> Result<u64, Box<Recorded>> {
        let mut state = self.state();
        if state.lost {
            return Err(recorded);
        }
        state.submitted += 1;
        let value = state.submitted;
        recorded.value = value;
        recorded.host_writes.append(&mut state.host_writes);
        for block in &recorded.buffers {
            block.last_use.fetch_max(value, Ordering::Relaxed);
            if block.destroyed.load(Ordering::Relaxed) {
                let party = |work, submission| MkHazardParty { work, access: Access::NONE, submission };
                self.reports.push(MkHazard {
                    kind: MkHazardKind::UseAfterFree,
                    buffer: block.name.clone(),
                    range: 0..block.size,
                    first: Some(party(MkHazardWork::Destroy, value - 1)),
                    second: party(MkHazardWork::Submission, value),
                    mend: None,
                    detail: None,
                });
            }
        }
        state.pending.push_back(Job::Run(recorded));
        if self.config.adversary.is_some() {
            state.ask(value.saturating_sub(HELD));
        }
        drop(state);
        self.work.notify_one();
        Ok(value)
    }

    /// Notes that the host wrote bytes, for the model to see in order with the submissions.
    pub(super) fn host_write(&self, block: &Arc<Block>, range: Range<u64>) {
        let observed = self.observed.load(Ordering::Relaxed);
        let mut state = self.state();
        // Bytes after bytes, as staging is filled, stay one entry.
        if let Some(last) = state.host_writes.last_mut()
            && Arc::ptr_eq(&last.block, block)
            && last.observed == observed
            && (last.range.start <= range.end && range.start <= last.range.end)
        {
            last.range = last.range.start.min(range.start)..last.range.end.max(range.end);
            return;
        }
        state.host_writes.push(HostWrite { block: block.clone(), range, observed });
    }

    /// The host destroys a buffer: reports work that may still use it.
    pub(super) fn destroyed(&self, block: &Arc<Block>) {
        block.destroyed.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.host_writes.retain(|w| !Arc::ptr_eq(&w.block, block));
        let (observed, last) =
            (self.observed.load(Ordering::Relaxed), block.last_use.load(Ordering::Relaxed));
        // A lost device counts as done with everything.
        if last > observed && !state.lost {
            let party = |work, submission| MkHazardParty { work, access: Access::NONE, submission };
            self.reports.push(MkHazard {
                kind: MkHazardKind::UseAfterFree,
                buffer: block.name.clone(),
                range: 0..block.size,
                first: Some(party(MkHazardWork::Submission, last)),
                second: party(MkHazardWork::Destroy, state.submitted),
                mend: None,
                detail: Some(format!("the host had waited for submission {observed} at most").into()),
            });
        }
    }

    pub(super) fn submitted(&self) -> u64 {
        self.state().submitted
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// Loses the device. What is in flight and has not begun never runs.
    pub(super) fn lose(&self) {
        self.state().lost = true;
        self.work.notify_one();
        self.done.notify_all();
    }

    /// The newest value reached, which the host knows from now on.
    pub(super) fn completed(&self) -> Result<u64, MkError> {
        let state = self.state();
        if state.lost {
            return Err(MkError::DeviceLost);
        }
        self.observed.fetch_max(state.completed, Ordering::Relaxed);
        Ok(state.completed)
    }

    /// The same, asked by the host. With an adversary it waits a little for what is due, so that the answer depends on
    /// what was asked for before and not on how far the thread is. Not so while the queue is held, nor on its own thread.
    pub(super) fn poll(&self, is_worker: impl FnOnce() -> bool) -> Result<u64, MkError> {
        if self.config.adversary.is_some() && !is_worker() {
            let deadline = Instant::now() + PATIENCE;
            let mut state = self.state();
            state.polls += 1;
            if state.polls >= POLLS {
                let next = state.submitted.min(state.due + 1);
                state.ask(next);
                self.work.notify_one();
            }
            while state.completed < state.due && !state.paused && !state.lost {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        self.completed()
    }

    /// Waits for a value; `false` at once for one that was never submitted.
    pub(super) fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        // Too far ahead for the clock is forever.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state();
        if self.config.adversary.is_some() && value <= state.submitted {
            state.ask(value);
            self.work.notify_one();
        }
        loop {
            if state.lost {
                return Err(MkError::DeviceLost);
            }
            if state.completed >= value {
                self.observed.fetch_max(value, Ordering::Relaxed);
                return Ok(true);
            }
            if value > state.submitted {
                return Ok(false);
            }
            state = match deadline {
                None => self.done.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A submission stays in flight for as long as it is said to.
    pub(super) fn delay(&self) {
        let delay = Duration::from_micros(self.config.transfer_delay_us);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }

    pub(super) fn pause(&self, paused: bool) {
        self.state().paused = paused;
        self.work.notify_one();
    }

    /// Tells the thread to end once everything submitted has run, paused or not.
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.work.notify_one();
    }

    /// What to do next; `None` when it is time to end.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if !state.paused || state.stop || state.lost {
                if let Some(job) = state.pending.pop_front() {
                    return Some(job);
                }
                if state.stop {
                    return None;
                }
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A submission ran.
    pub(super) fn finished(&self, mut recorded: Box<Recorded>) {
        // Gone before the value is reached: a wait that returns finds nothing held any more. A kernel that was not run
        // may panic as it is dropped, and takes nothing along: each panic leaves one fewer.
        while catch_unwind(AssertUnwindSafe(|| recorded.clear())).is_err() {}
        let mut state = self.state();
        state.completed = recorded.value;
        if state.pool.len() < POOLED {
            state.pool.push(recorded);
        }
        drop(state);
        self.done.notify_all();
    }
}
