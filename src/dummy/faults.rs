//! Faults on demand: calls of the simulated device that fail because somebody asked for it.

use crate::{MkError, MkMemoryType, MkSource};
use std::sync::{Mutex, MutexGuard, PoisonError};

bitflags::bitflags! {
    /// Calls of the simulated device that can fail: those of [`MkGpuBackend`](crate::MkGpuBackend), some of them at
    /// two points.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DummyCalls: u16 {
        /// Making a buffer, before anything of it is there.
        const CREATE_BUFFER = 1;
        /// Mapping a buffer that the host reaches: part of making it, once its memory is there.
        const MAP = 1 << 1;
        /// Making host writes visible to the device.
        const FLUSH = 1 << 2;
        /// Making device writes visible to the host.
        const INVALIDATE = 1 << 3;
        /// Beginning to record, before the first pass.
        const RECORD = 1 << 4;
        /// Ending a recording, after the last pass.
        const END_RECORD = 1 << 5;
        /// Submitting.
        const SUBMIT = 1 << 6;
        /// Asking how far the timeline is.
        const COMPLETED = 1 << 7;
        /// Waiting for the timeline.
        const WAIT = 1 << 8;
    }
}

impl DummyCalls {
    /// What a failed call is called in errors.
    fn name(self) -> &'static str {
        match self {
            DummyCalls::CREATE_BUFFER => "create_buffer",
            DummyCalls::MAP => "map",
            DummyCalls::FLUSH => "flush",
            DummyCalls::INVALIDATE => "invalidate",
            DummyCalls::RECORD => "record",
            DummyCalls::END_RECORD => "end of record",
            DummyCalls::SUBMIT => "submit",
            DummyCalls::COMPLETED => "completed",
            DummyCalls::WAIT => "wait",
            _ => "call",
        }
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DummyFaultError {
    /// [`MkError::OutOfHostMemory`].
    OutOfHostMemory,
    /// [`MkError::OutOfMemory`].
    OutOfDeviceMemory,
    /// [`MkError::DeviceLost`], by this call and every later one. Work in flight that has not begun never runs.
    DeviceLost,
    /// [`MkError::Backend`].
    Failed,
}

/// Which of the calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DummyFaultWhen {
    /// One: the call with this number, counted from 0 since the fault was [injected](crate::DummyBackend::inject).
    Nth(u64),
    /// On average one in so many, chosen by the seed and the number of the call: the same calls each time. 1 is every
    /// call, 0 none.
    OneIn {
        /// How many calls it takes on average.
        calls: u32,
        /// Chooses which.
        seed: u64,
    },
}

/// A fault to be [injected](crate::DummyBackend::inject) into the simulated device.
///
/// ```
/// use memkit_gpu::{DummyBackend, DummyCalls, DummyFault, DummyFaultError, DummyFaultWhen, MkBufferUsage, MkGpu};
/// let gpu = MkGpu::new(DummyBackend::new());
/// let buffer = gpu.create_device_buffer(16, MkBufferUsage::STORAGE)?;
/// gpu.backend().inject(DummyFault {
///     calls: DummyCalls::SUBMIT,
///     when: DummyFaultWhen::Nth(0),
///     error: DummyFaultError::OutOfDeviceMemory,
/// });
/// let mut frame = gpu.begin_frame()?;
/// frame.fill(&buffer, 7);
/// assert!(frame.submit().is_err());
/// let mut frame = gpu.begin_frame()?;                    // the next one works
/// frame.fill(&buffer, 7);
/// frame.submit()?;
/// assert_eq!(gpu.backend().failed_calls().len(), 1);
/// # Ok::<(), memkit_gpu::MkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DummyFault {
    /// Which calls are counted, and may fail.
    pub calls: DummyCalls,
    /// Which of them fail.
    pub when: DummyFaultWhen,
    /// How they fail.
    pub error: DummyFaultError,
}

/// A call that failed because of a [`DummyFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DummyFailedCall {
    /// Its number among all calls of the device that can fail, counted from 0.
    pub number: u64,
    /// The call: one flag.
    pub call: DummyCalls,
    /// How it failed.
    pub error: DummyFaultError,
}

/// Failed calls kept; later ones fail all the same.
const KEPT: usize = 1000;

/// What a failing call was about: a buffer, if it was to make one.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) size: u64,
    pub(super) memory: MkMemoryType,
}

/// The faults of one device.
#[derive(Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Default)]
struct State {
    /// With how many of its calls each has seen.
    injected: Vec<(DummyFault, u64)>,
    calls: u64,
    failed: Vec<DummyFailedCall>,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inject(&self, fault: DummyFault) {
        self.state().injected.push((fault, 0));
    }

    pub(super) fn clear(&self) {
        self.state().injected.clear();
    }

    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn failed(&self) -> Vec<DummyFailedCall> {
        self.state().failed.clone()
    }

    /// Counts a call, and says whether and how it is to fail.
    pub(super) fn enter(&self, call: DummyCalls) -> Option<DummyFaultError> {
        let mut state = self.state();
        let State { injected, calls, failed } = &mut *state;
        let number = *calls;
        *calls += 1;
        let mut error = None;
        for (fault, seen) in injected.iter_mut().filter(|(f, _)| f.calls.contains(call)) {
            if fault.when.hits(*seen) {
                error = error.or(Some(fault.error));
            }
            *seen += 1;
        }
        if let Some(error) = error
            && failed.len() < KEPT
        {
            failed.push(DummyFailedCall { number, call, error });
        }
        error
    }
}

impl DummyFaultWhen {
    fn hits(self, number: u64) -> bool {
        match self {
            DummyFaultWhen::Nth(n) => n == number,
            DummyFaultWhen::OneIn { calls: 0, .. } => false,
            DummyFaultWhen::OneIn { calls, seed } => mix(seed ^ mix(number)).is_multiple_of(calls.into()),
        }
    }
}

/// Spreads a number over all 64 bits (the finaliser of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

impl DummyFaultError {
    /// As the facade gets it.
    pub(super) fn into_error(self, call: DummyCalls, subject: Option<Subject<'_>>) -> MkError {
        let source = || Some(MkSource::from("fault injected into the simulated device"));
        let name = subject.map_or(call.name(), |s| s.name);
        match self {
            DummyFaultError::OutOfHostMemory => {
                MkError::OutOfHostMemory { what: name.into(), source: source() }
            }
            DummyFaultError::OutOfDeviceMemory => MkError::OutOfMemory {
                resource: name.into(),
                size: subject.map_or(0, |s| s.size),
                memory: subject.map_or(MkMemoryType::DeviceLocal, |s| s.memory),
                source: source(),
            },
            DummyFaultError::DeviceLost => MkError::DeviceLost,
            DummyFaultError::Failed => MkError::Backend {
                call: call.name(),
                source: "fault injected into the simulated device".into(),
            },
        }
    }
}
