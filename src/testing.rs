//! Tests of your own frames, without a GPU.
//!
//! [`MkTestGpu::run`] runs a test on simulated devices and fails it if one of them objects to anything: a dependency that
//! is missing, bytes nobody wrote, bytes a pass did not declare. [`MkTestGpu::assert_bytes`] compares what came out.
//!
//! ```
//! use memkit_gpu::testing::MkTestGpu;
//! use memkit_gpu::{Access, DummyBackend, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame};
//!
//! // What is tested: code of yours that declares passes.
//! fn double(frame: &mut MkFrame<'_, DummyBackend>, values: &MkDeviceBuffer) {
//!     let id = values.id();
//!     let in_place = Access::COMPUTE_STORAGE_READ | Access::COMPUTE_STORAGE_WRITE;
//!     frame.pass("double").modify(values, in_place).record(move |cx| {
//!         cx.dispatch(move |mem| Ok(mem.write::<u32>(id)?.iter_mut().for_each(|v| *v *= 2)));
//!         Ok(())
//!     });
//! }
//!
//! // The test.
//! MkTestGpu::run(|gpu| {
//!     let values = gpu.create_device_buffer(12, MkBufferUsage::STORAGE)?;
//!     gpu.frame(|frame| frame.upload(&values, 0, &[1u32, 2, 3]).map(drop))?;
//!     gpu.frame(|frame| Ok(double(frame, &values)))?;
//!     gpu.assert_bytes(&values, &[2u32, 4, 6]);
//!     Ok(())
//! });
//! ```
#![expect(clippy::panic, reason = "these are assertions: they panic where a test fails, and say so")]

use crate::{
    DummyBackend, DummyBackendConfig, FrameDump, MkError, MkFrame, MkGpu, MkGpuConfig, MkHazard, MkSlice,
    MkUploadMethod,
};
use bytemuck::AnyBitPattern;
use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Dumps kept: those of the newest frames.
const DUMPS: usize = 32;
/// Reports and differences a message shows.
const SHOWN: usize = 3;
/// Seeds of adversaries that a test runs on.
const ADVERSARIES: u64 = 8;

/// An [`MkGpu`] on a simulated device that remembers its frames, for messages. Everything an `MkGpu` does works on it.
#[derive(Debug)]
pub struct MkTestGpu {
    gpu: MkGpu<DummyBackend>,
    /// What the device is, for messages.
    label: String,
    /// By submission, oldest first.
    dumps: Mutex<VecDeque<(u64, FrameDump)>>,
}

impl Deref for MkTestGpu {
    type Target = MkGpu<DummyBackend>;
    fn deref(&self) -> &Self::Target {
        &self.gpu
    }
}

impl Default for MkTestGpu {
    fn default() -> Self {
        Self::with_config(DummyBackendConfig::default(), MkGpuConfig::default())
    }
}

impl MkTestGpu {
    /// On a device of these settings; [`run`](Self::run) chooses them itself.
    /// [`check`](DummyBackendConfig::check) must be on for hazards to be found.
    #[must_use]
    pub fn with_config(device: DummyBackendConfig, config: MkGpuConfig) -> Self {
        Self::labelled("device".to_owned(), device, config)
    }

    fn labelled(label: String, device: DummyBackendConfig, config: MkGpuConfig) -> Self {
        let gpu = MkGpu::with_config(DummyBackend::with_config(device), config);
        MkTestGpu { gpu, label, dumps: Mutex::default() }
    }

    /// Runs `test` on each device that a frame should be right on: one that runs work at once, one that keeps it in
    /// flight for a while, so that frames overlap on the host, and eight that run it in other orders that the barriers
    /// allow ([`adversary`](DummyBackendConfig::adversary), seeds 0 to 7; messages name the seed). On those with odd seeds
    /// all uploads are scattered, as many small ones are on a real device.
    ///
    /// # Panics
    /// If `test` returns an error, or a device found a hazard in anything submitted.
    #[track_caller]
    pub fn run(test: impl Fn(&MkTestGpu) -> Result<(), MkError>) {
        for (label, device) in devices() {
            let uploads = match device.adversary {
                Some(seed) if seed % 2 == 1 => MkUploadMethod::Scatter,
                _ => MkUploadMethod::Auto,
            };
            let gpu = Self::labelled(label, device, MkGpuConfig { uploads, ..MkGpuConfig::default() });
            if let Err(error) = test(&gpu) {
                panic!("on the {}: {error}\n{}", gpu.label, error.dump().unwrap_or_default());
            }
            gpu.assert_no_hazards();
        }
    }

    /// Begins a frame, lets `declare` declare it, submits it and keeps its dump. Waits for nothing but what
    /// [`begin_frame`](MkGpu::begin_frame) waits for.
    ///
    /// # Errors
    /// Those of `declare`, and of [`MkFrame::submit`].
    pub fn frame<'f, R>(
        &self,
        declare: impl FnOnce(&mut MkFrame<'f, DummyBackend>) -> Result<R, MkError>,
    ) -> Result<R, MkError> {
        let mut frame = self.gpu.begin_frame()?;
        let result = declare(&mut frame)?;
        let (fence, dump) = frame.submit_and_dump()?;
        let mut dumps = self.dumps();
        if dumps.len() == DUMPS {
            dumps.pop_front();
        }
        dumps.push_back((fence.value, dump));
        Ok(result)
    }

    /// Waits for everything submitted, pending transfers included, and asserts that the device objected to nothing.
    ///
    /// # Panics
    /// If it did, with the reports (both parties, the bytes, the barrier that would mend it) and the dumps of the
    /// frames concerned, as far as they went through [`frame`](Self::frame). If the device cannot be waited for.
    #[track_caller]
    pub fn assert_no_hazards(&self) {
        if let Err(error) = self.gpu.wait_idle() {
            panic!("on the {}: {error}", self.label);
        }
        let hazards = self.gpu.backend().hazards();
        if !hazards.is_empty() {
            panic!("{}", self.report(&hazards));
        }
    }

    /// Reads a buffer, or a part of one, by a frame of its own, and asserts that it begins with these values; then that
    /// the device objected to nothing.
    ///
    /// # Panics
    /// If the values differ, with the first that do and the dump of the newest frame that writes the buffer. If they
    /// cannot be read. As [`assert_no_hazards`](Self::assert_no_hazards).
    #[track_caller]
    pub fn assert_bytes<'s, T>(&self, slice: impl Into<MkSlice<'s>>, expected: &[T])
    where
        T: AnyBitPattern + PartialEq + Debug,
    {
        let slice = slice.into();
        let found = match self.read::<T>(slice, expected.len()) {
            Ok(found) => found,
            Err(error) => panic!("on the {}: {error}\n{}", self.label, error.dump().unwrap_or_default()),
        };
        // A hazard explains wrong bytes, not the other way round.
        self.assert_no_hazards();
        let pairs = found.iter().zip(expected).enumerate();
        let wrong: Vec<(usize, (&T, &T))> =
            pairs.filter(|(_, (found, expected))| found != expected).collect();
        if !wrong.is_empty() {
            panic!("{}", self.difference(&slice.describe(), &wrong, expected.len()));
        }
    }

    fn read<T: AnyBitPattern>(&self, slice: MkSlice<'_>, len: usize) -> Result<Vec<T>, MkError> {
        let mut frame = self.gpu.begin_frame()?;
        let ticket = frame.readback::<T>(slice, 0..len)?;
        frame.submit()?;
        ticket.wait()?;
        ticket.try_read(<[T]>::to_vec)
    }

    fn dumps(&self) -> MutexGuard<'_, VecDeque<(u64, FrameDump)>> {
        self.dumps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, hazards: &[MkHazard]) -> String {
        let mut text = format!("on the {}: {} hazards\n", self.label, hazards.len());
        let shown = hazards.get(..SHOWN.min(hazards.len())).unwrap_or_default();
        for hazard in shown {
            let _ = writeln!(text, "\n{hazard}");
        }
        let parties = shown.iter().flat_map(|h| h.first.iter().chain([&h.second]));
        let concerned: Vec<u64> = parties.map(|p| p.submission).collect();
        for (submission, dump) in self.dumps().iter().filter(|(s, _)| concerned.contains(s)) {
            let _ = writeln!(text, "\nsubmission {submission}:\n{}", dump.to_text());
        }
        text
    }

    fn difference<T: Debug>(&self, name: &str, wrong: &[(usize, (&T, &T))], len: usize) -> String {
        let mut text = format!("on the {}: {} of {len} values of `{name}` differ\n", self.label, wrong.len());
        for (at, (found, expected)) in wrong.iter().take(SHOWN) {
            let byte = at * size_of::<T>();
            let _ = writeln!(text, "  value {at} (byte {byte} of it): {found:?}, expected {expected:?}");
        }
        let dumps = self.dumps();
        if let Some((submission, dump)) = dumps.iter().rev().find(|(_, dump)| writes(dump, name)) {
            let _ = writeln!(text, "\nlast written in submission {submission}:\n{}", dump.to_text());
        }
        text
    }
}

/// Whether a node of the frame writes the buffer of this name.
fn writes(dump: &FrameDump, name: &str) -> bool {
    let is_it = |r: u32| dump.resources.get(r as usize).is_some_and(|r| r.name == name);
    let mut uses = dump.nodes.iter().flat_map(|n| &n.uses);
    uses.any(|u| u.mode != crate::graph::Mode::Read && is_it(u.resource))
}

/// The devices of [`MkTestGpu::run`].
fn devices() -> impl Iterator<Item = (String, DummyBackendConfig)> {
    let slow = DummyBackendConfig { transfer_delay_us: 200, ..Default::default() };
    let in_order =
        [("device that runs at once", DummyBackendConfig::default()), ("device that runs late", slow)];
    let adversaries = (0..ADVERSARIES).map(|seed| {
        let device = DummyBackendConfig { adversary: Some(seed), ..Default::default() };
        (format!("device that reorders work (adversary: Some({seed}))"), device)
    });
    in_order.map(|(label, device)| (label.to_owned(), device)).into_iter().chain(adversaries)
}
