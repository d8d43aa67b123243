//! Fails each call of a device in turn, in each way it can fail, under a frame loop that uses every feature: an error or
//! a documented fallback each time, nothing leaked, the next frame right; after a loss every call says so and dropping
//! is clean. On the simulated device the calls are the backend's, on Vulkan those of the driver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

mod draft;
mod dummy;
#[cfg(feature = "vulkan")]
mod hooks;
mod lost;
mod model;
mod owed;
mod scene;
mod steps;
#[cfg(feature = "vulkan")]
mod vulkan;

use memkit_gpu::{MkError, MkFrameProblem};
use std::fmt::Debug;
use std::sync::mpsc;
use std::time::Duration;

/// How a call is made to fail, and so what the facade must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Cause {
    HostMemory,
    DeviceMemory,
    Lost,
    Other,
}

impl Cause {
    fn of(error: &MkError) -> Option<Cause> {
        match error {
            MkError::OutOfHostMemory { .. } => Some(Cause::HostMemory),
            MkError::OutOfMemory { .. } => Some(Cause::DeviceMemory),
            MkError::DeviceLost => Some(Cause::Lost),
            MkError::Backend { .. } => Some(Cause::Other),
            MkError::PartlyUploaded { cause, .. } => Cause::of(cause),
            MkError::Frame(frame) => match &frame.first {
                MkFrameProblem::Call(error) => Cause::of(error),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The errors of a loop in which one call failed: at most one, of the kind asked for, that says `named`. Whether there is
/// one.
#[track_caller]
fn reported(errors: &[(&'static str, MkError)], cause: Cause, named: &str, call: &dyn Debug) -> bool {
    for (step, error) in errors {
        assert_eq!(Cause::of(error), Some(cause), "{call:?} failed, and `{step}` says: {error}");
        assert!(error.to_string().contains(named), "{call:?} failed, and nothing says {named}: {error}");
    }
    let told = errors.len();
    assert!(
        told <= 1 || cause == Cause::Lost,
        "{call:?} failed once, and there are several errors: {errors:?}"
    );
    !errors.is_empty()
}

/// Runs `f` on a thread of its own, and fails if it hangs.
fn no_hang<R: Send + 'static>(what: String, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = f();
        let _ = tx.send(());
        result
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = rx.recv_timeout(Duration::from_secs(120)) {
        panic!("{what}: still running after two minutes");
    }
    thread.join().unwrap_or_else(|panic| {
        eprintln!("in: {what}");
        std::panic::resume_unwind(panic)
    })
}
