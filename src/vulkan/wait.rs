//! How a wait is spent: polling for a short while, then asleep.
//!
//! Waking up from `vkWaitSemaphores` takes some 40 µs, so that a value that comes soon is better polled for; but a wait
//! that polls in vain takes that time from others, a software device among them. How long is worth it is learned: waits
//! that turn out short make the next ones poll longer, long ones make them sleep sooner. A wait never polls for more
//! than [`MOST`], and never sleeps before [`LEAST`] has passed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A wait polls at least for this long.
const LEAST: Duration = Duration::from_micros(4);
/// And at most for this long: about what sleeping and waking up cost. Whatever comes later, polling has then at most
/// doubled the cost of the wait.
const MOST: Duration = Duration::from_micros(40);

/// How long the next wait polls.
pub(super) struct Patience {
    nanoseconds: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { nanoseconds: AtomicU64::new(nanoseconds(MOST)) }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Patience {
    pub(super) fn bound(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Learns from how long a wait took, sleep included. Waits on several threads may overwrite what each other
    /// learned: it is an estimate.
    pub(super) fn learn(&self, took: Duration) {
        // A sleep makes a wait as much longer as waking up takes.
        let short = took <= MOST * 2;
        let now = self.bound();
        let next = if short { (now * 2).min(MOST) } else { (now / 2).max(LEAST) };
        self.nanoseconds.store(nanoseconds(next), Ordering::Relaxed);
    }
}

/// How polling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// The value is reached.
    Reached,
    /// The caller's time is over.
    TimedOut,
    /// Time to sleep.
    InVain,
}

/// Asks `reached` until it says so, `timeout` is over, or `bound` is. It is asked at least once. `elapsed` is the time
/// since the wait began.
pub(super) fn poll<E>(
    bound: Duration,
    timeout: Duration,
    mut reached: impl FnMut() -> Result<bool, E>,
    mut elapsed: impl FnMut() -> Duration,
) -> Result<Polled, E> {
    loop {
        if reached()? {
            return Ok(Polled::Reached);
        }
        let passed = elapsed();
        if passed >= timeout {
            return Ok(Polled::TimedOut);
        }
        if passed >= bound {
            return Ok(Polled::InVain);
        }
        // About a microsecond: each question goes through the driver.
        for _ in 0..32 {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Polls for something that happens at `at`, on a clock that each question moves on by a microsecond. Returns how it
    /// ended, and when.
    fn polled(bound: Duration, timeout: Duration, at: Duration) -> (Polled, Duration) {
        let clock = Cell::new(Duration::ZERO);
        let reached = || {
            clock.set(clock.get() + MICROSECOND);
            Ok::<bool, ()>(clock.get() >= at)
        };
        (poll(bound, timeout, reached, || clock.get()).unwrap(), clock.get())
    }

    #[test]
    fn what_comes_soon_is_seen_without_a_sleep_and_nothing_polls_for_longer_than_its_bound() {
        for at in 1..=100 {
            let at = MICROSECOND * at;
            let (how, when) = polled(MOST, Duration::MAX, at);
            let wanted = if at <= MOST { (Polled::Reached, at) } else { (Polled::InVain, MOST) };
            assert_eq!((how, when), wanted);
        }
    }

    #[test]
    fn a_timeout_ends_polling_and_one_of_zero_asks_once() {
        assert_eq!(polled(MOST, MICROSECOND * 5, MOST), (Polled::TimedOut, MICROSECOND * 5));
        assert_eq!(polled(MOST, Duration::ZERO, MICROSECOND), (Polled::Reached, MICROSECOND));
        assert_eq!(polled(MOST, Duration::ZERO, MOST), (Polled::TimedOut, MICROSECOND));
    }

    #[test]
    fn a_failure_ends_it() {
        assert_eq!(poll(MOST, MOST, || Err("lost"), || Duration::ZERO), Err("lost"));
    }

    #[test]
    fn long_waits_sleep_sooner_and_short_ones_poll_again_within_the_bounds() {
        let patience = Patience::default();
        let mut last = patience.bound();
        assert_eq!(last, MOST, "the first wait polls");
        for _ in 0..10 {
            patience.learn(MOST * 10);
            assert!(patience.bound() <= last && patience.bound() >= LEAST);
            last = patience.bound();
        }
        assert_eq!(last, LEAST);
        // A sleep that ended soon: polling would have seen it.
        for _ in 0..10 {
            patience.learn(MOST + MICROSECOND);
            assert!(patience.bound() >= last && patience.bound() <= MOST);
            last = patience.bound();
        }
        assert_eq!(last, MOST);
    }
}
