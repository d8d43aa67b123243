//! Runs planned sequences on a Vulkan device under the validation layer.

use crate::acts;
use crate::bodies::{Layout, Recorder, descriptor_pool};
use crate::pipelines::Pipelines;
use crate::random::reference;
use crate::random::rig::Sequence;
use crate::random::run::{load, store};
use crate::wgsl::UNIFORM_WORDS;
use crate::words;
use memkit_gpu::ash::vk;
use memkit_gpu::graph::{
    AccessFlags, BarrierCall, BarrierEntry, BufferUsage, Command, CommandList, FrameGraph, Schedule, Stages,
};
use memkit_gpu::{
    MkBackendBufferDesc, MkGpuBackend, MkMemoryType, MkRecordInput, MkValidationLog, MkValidationMessage,
    VulkanBackend, VulkanBorrow, VulkanBuffer, VulkanConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;
use std::time::Duration;

/// A device, and what many sequences share on it.
pub(crate) struct Device {
    pub(crate) backend: VulkanBackend,
    pipelines: Option<Pipelines>,
    /// Bytes: any multiple of it suits as an offset of any descriptor.
    pub(crate) cell: u64,
    pub(crate) log: MkValidationLog,
}

/// What came of a sequence.
pub(crate) struct Outcome {
    /// Final bytes of the host-visible buffers.
    pub(crate) bytes: Vec<Option<Vec<u8>>>,
    /// Acts that read something else than they should have.
    pub(crate) misread: Vec<String>,
    /// How many acts of each kind ran.
    pub(crate) acts: BTreeMap<&'static str, u64>,
    pub(crate) messages: Vec<MkValidationMessage>,
}

/// Mesa's software rasterizer draws on threads of its own, and that of Debian 12 (22.3.6) forgets to wait for them now and
/// then: a barrier after a fragment shader's write then waits for nothing, in about one sequence of a thousand. Not so
/// 25.0.7 and 26.2.6, nor any without these threads. Where `LP_NUM_THREADS` is set, it stays.
fn on_one_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("LP_NUM_THREADS").is_none() {
            // SAFETY: only the Vulkan loader and its drivers read the environment without the lock of the standard library,
            // and in this process nobody loads them but by `Device::new`, which waits for this.
            unsafe { std::env::set_var("LP_NUM_THREADS", "0") };
        }
    });
}

impl Device {
    pub(crate) fn new() -> Self {
        on_one_thread();
        let device_features = vk::PhysicalDeviceFeatures::default()
            .vertex_pipeline_stores_and_atomics(true)
            .fragment_stores_and_atomics(true);
        let backend = VulkanBackend::new(VulkanConfig {
            app_name: "memkit-gpu vulkan_oracle".into(),
            validation: true,
            device_features,
            ..Default::default()
        })
        .expect("this test needs a Vulkan device and the validation layer; tests/run installs both");
        let stages = backend.capabilities().stages;
        assert!(stages.contains(Stages::ALL_GRAPHICS), "this test needs a queue that draws: {stages}");
        // SAFETY: the backend lives.
        let limits =
            unsafe { backend.instance().get_physical_device_properties(backend.physical_device()) }.limits;
        let cell = limits.min_storage_buffer_offset_alignment.max(limits.min_uniform_buffer_offset_alignment);
        let pipelines = Some(Pipelines::new(backend.device()));
        let log = backend.validation_log();
        Device { backend, pipelines, cell: cell.max(16), log }
    }

    /// The same device as one that is lent: what is recorded there does not depend on the layer. The lender must not run
    /// anything meanwhile, and must outlive it.
    pub(crate) fn lend(&self) -> Self {
        let own = &self.backend;
        let borrow = VulkanBorrow {
            instance: own.instance().clone(),
            physical_device: own.physical_device(),
            device: own.device().clone(),
            queue: own.queue(),
            queue_family: own.queue_family(),
            queue_lock: None,
            api_version: own.api_version(),
            optional_stages: Stages::empty(),
            buffer_device_address: own.capabilities().scatter_uploads,
            storage_buffer_8bit_access: own.capabilities().scatter_uploads,
            external_memory_host: false,
            debug_utils: true,
        };
        // SAFETY: the lender made all of it so, outlives the borrower, and they take turns on one thread.
        let backend = unsafe { VulkanBackend::from_raw(borrow) }.unwrap();
        let pipelines = Some(Pipelines::new(backend.device()));
        Device { backend, pipelines, cell: self.cell, log: self.log.clone() }
    }

    pub(crate) fn pipelines(&self) -> usize {
        self.pipelines.as_ref().map_or(0, Pipelines::len)
    }

    fn buffer(&self, name: &str, size: u64, usage: BufferUsage, memory: MkMemoryType) -> VulkanBuffer {
        self.backend.create_buffer(&MkBackendBufferDesc { name, size, usage, memory }).unwrap()
    }

    /// Runs a sequence; `instead` replaces one frame's schedule.
    pub(crate) fn run(&mut self, sequence: &Sequence, instead: Option<(usize, &Schedule)>) -> Outcome {
        let sizes = sequence.case.buffers.iter().map(|b| b.size).chain(sequence.case.pool.iter().copied());
        assert!(sizes.max().unwrap_or(0) <= 4 * UNIFORM_WORDS, "larger than a uniform buffer may be");
        let layout = Layout::new(&sequence.case, self.cell);
        let usage = BufferUsage::STORAGE | BufferUsage::TRANSFER_DST;
        let reports = self.buffer("reports", layout.reports, usage, MkMemoryType::HostCached);
        store(&self.backend, &reports, &vec![0; layout.reports as usize]);
        let usage = BufferUsage::STORAGE | BufferUsage::TRANSFER_SRC;
        let size = layout.constants.len() as u64;
        let constants = self.buffer("constants", size, usage, MkMemoryType::HostVisible);
        store(&self.backend, &constants, &layout.constants);
        let device = self.backend.device().clone();
        let pool = descriptor_pool(&device, &layout);
        let pipelines = self.pipelines.as_mut().unwrap();
        let (layout, recorded) = (&layout, BTreeSet::new());
        let mut recorder =
            Recorder { device: device.clone(), pipelines, layout, reports, constants, pool, recorded };
        // Memory is used again: what ran before must be done, as far as the device and the layer know.
        let bytes = sequence.run_with(&self.backend, &mut recorder, instead, true);
        let recorded = recorder.recorded;
        self.show_host();
        let reports_read = load(&self.backend, &reports, layout.reports);
        let (misread, acts) = misread(sequence, layout, &recorded, &reports_read);
        // SAFETY: everything that uses these is done.
        unsafe {
            device.destroy_descriptor_pool(pool, None);
            self.backend.destroy_buffer(reports);
            self.backend.destroy_buffer(constants);
        }
        // The layer 1.3.239 takes notice of this wait alone, and would remember all submissions so far.
        // SAFETY: nobody else uses the device.
        unsafe { device.device_wait_idle() }.unwrap();
        Outcome { bytes, misread, acts, messages: self.log.take() }
    }

    /// Makes everything that was written visible to the host. The reports are no part of the frames, and nor is this.
    fn show_host(&self) {
        let entry = BarrierEntry {
            src_stages: Stages::ALL_COMMANDS,
            src_access: AccessFlags::MEMORY_WRITE,
            dst_stages: Stages::HOST,
            dst_access: AccessFlags::HOST_READ,
        };
        let schedule = Schedule {
            queues: vec![CommandList { commands: vec![Command::Barrier(0)] }],
            barriers: vec![BarrierCall { level: 0, entries: 0..1 }],
            entries: vec![entry],
            ..Schedule::default()
        };
        let (graph, name) = (FrameGraph::new(), "show the host");
        let input =
            MkRecordInput { name, graph: &graph, schedule: &schedule, buffers: &[], host_buffers: &[] };
        // SAFETY: it uses no buffers, and this is the only thread that submits.
        let value = unsafe {
            let recording = self.backend.record(input, &mut |_, _| Ok(())).unwrap();
            self.backend.submit(recording, false).unwrap()
        };
        assert!(self.backend.wait(value, Duration::from_secs(60)).unwrap());
    }
}

/// Compares what the acts of the recorded passes report with what they should. Returns which acts ran, too.
fn misread(
    sequence: &Sequence,
    layout: &Layout,
    recorded: &BTreeSet<(usize, usize)>,
    reports: &[u8],
) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let (mut misread, mut count) = (Vec::new(), BTreeMap::new());
    reference::run_with(&sequence.case, &mut |(k, position), node, memory| {
        let placed = &layout.acts[k][position];
        let ran = recorded.contains(&(k, position));
        for act in placed.iter().filter(|_| ran) {
            *count.entry(act.act.name()).or_default() += 1;
        }
        acts::run(node, memory, &mut |i, wanted| {
            let start = placed[i].report as usize;
            let found = words::words(&reports[start..start + 4 * wanted.len()]);
            if ran && found != wanted {
                misread.push(format!(
                    "frame {k}, pass {position}, {:?}: read {found:?}, expected {wanted:?}",
                    placed[i].act
                ));
            }
        });
    });
    (misread, count)
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: nobody else uses the device.
        let _ = unsafe { self.backend.device().device_wait_idle() };
        self.pipelines = None;
    }
}
