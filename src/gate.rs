//! How an open frame writes staging memory without holding its `MkGpu`.
//!
//! Uploads come by the thousand, and each holds the `MkGpu` while it writes memory of it. By a reference that is taken and
//! given back that costs two atomic exchanges; here it is one, on a word that is the frame's own.

use std::sync::atomic::{AtomicU8, Ordering};

const FREE: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

/// One frame's gate to what its `MkGpu` mapped. One thread at a time passes it, the frame's own; another may close it.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU8);

/// While it lives, closing the gate waits.
pub(crate) struct Passed<'a>(&'a Gate);

impl Gate {
    /// Passes the gate; none once it is closed.
    #[inline]
    pub(crate) fn pass(&self) -> Option<Passed<'_>> {
        if self.0.swap(PASSED, Ordering::Acquire) == FREE {
            return Some(Passed(self));
        }
        // Nobody passed it, since only this thread does.
        self.0.store(CLOSED, Ordering::Relaxed);
        None
    }

    /// Closes it for good, once nobody is behind it. What was written there happened before.
    pub(crate) fn close(&self) {
        while self.0.compare_exchange(FREE, CLOSED, Ordering::Acquire, Ordering::Relaxed) == Err(PASSED) {
            // Copying less than a MiB takes no longer than this.
            std::thread::yield_now();
        }
    }
}

impl Drop for Passed<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.0.store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn nobody_passes_a_closed_gate_and_nobody_is_behind_it() {
        for _ in 0..200 {
            let (gate, behind) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
            let (theirs, written) = (Arc::clone(&gate), Arc::clone(&behind));
            let writer = std::thread::spawn(move || {
                while let Some(_passed) = theirs.pass() {
                    written.fetch_add(1, Ordering::Relaxed);
                    written.fetch_add(1, Ordering::Relaxed);
                }
                assert!(theirs.pass().is_none(), "it stays closed");
            });
            std::thread::yield_now();
            gate.close();
            let seen = behind.load(Ordering::Relaxed);
            assert_eq!(seen % 2, 0, "closed while somebody was behind it");
            assert!(writer.join().is_ok());
            assert_eq!(behind.load(Ordering::Relaxed), seen, "passed after it was closed");
            gate.close();
        }
    }
}
