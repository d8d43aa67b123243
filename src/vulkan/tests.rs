//! Against whatever device the loader gives (in CI lavapipe), always under the validation layer, which must stay
//! silent until after the drop. Without a device these tests fail.

mod borrowing;
mod buffers;
mod missing;
mod opening;
mod ownership;
mod running;
mod scatter;

use super::*;
use crate::{MkMemoryType, MkTransient};
use memkit_graph::{
    AccessFlags, BarrierCall, BarrierEntry, BufferRef, BufferUsage, Command, CommandList, CopyRegion,
    FrameGraph, ScatterPart, ScatterRegion, Schedule, Stages,
};
use std::process::Command as Process;

fn config() -> VulkanConfig {
    VulkanConfig { app_name: "memkit tests".into(), validation: true, ..Default::default() }
}

/// Runs `test` on a backend and asserts that the validation layer says nothing, the drop included.
fn silent(test: impl FnOnce(VulkanBackend)) {
    let backend =
        VulkanBackend::new(config()).expect("these tests need a Vulkan device and the validation layer");
    let log = backend.validation_log();
    test(backend);
    assert_silent(&log);
}

/// Messages that are not about this library: id, a part of the text, why.
const KNOWN: [(&str, &str, &str); 1] = [(
    "WARNING-vkGetDeviceProcAddr-device",
    "vkGetPhysicalDeviceVideoEncodeQualityLevelPropertiesKHR",
    "while vkCreateDevice runs on NVIDIA's driver 580, under layer 1.4.309; no code here asks for this function",
)];

/// What the layer said, but for what is known.
fn said(log: &MkValidationLog) -> Vec<MkValidationMessage> {
    let known = |m: &MkValidationMessage| KNOWN.iter().any(|k| m.id == k.0 && m.text.contains(k.1));
    log.messages().into_iter().filter(|m| !known(m)).collect()
}

fn assert_silent(log: &MkValidationLog) {
    let said: Vec<String> = said(log).iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "the validation layer says:\n{}", said.join("\n"));
}

fn buffer(backend: &VulkanBackend, size: u64, memory: MkMemoryType) -> VulkanBuffer {
    let usage = BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST | BufferUsage::STORAGE;
    backend.create_buffer(&MkBackendBufferDesc { name: "test", size, usage, memory }).unwrap()
}

fn write(backend: &VulkanBackend, buffer: &VulkanBuffer, bytes: &[u8]) {
    let to = backend.mapped(buffer).unwrap();
    assert!(bytes.len() as u64 <= buffer.size());
    // SAFETY: mapped, large enough, and the device does not use it now.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len());
        backend.flush(buffer, 0..bytes.len() as u64).unwrap();
    }
}

fn read(backend: &VulkanBackend, buffer: &VulkanBuffer, len: usize) -> Vec<u8> {
    let from = backend.mapped(buffer).unwrap();
    // SAFETY: mapped, large enough, and the device does not use it now.
    unsafe {
        backend.invalidate(buffer, 0..len as u64).unwrap();
        std::slice::from_raw_parts(from.as_ptr(), len).to_vec()
    }
}

/// A schedule put together by hand.
#[derive(Default)]
struct Plan {
    graph: FrameGraph,
    schedule: Schedule,
}

fn entry(src: (Stages, AccessFlags), dst: (Stages, AccessFlags)) -> BarrierEntry {
    BarrierEntry { src_stages: src.0, src_access: src.1, dst_stages: dst.0, dst_access: dst.1 }
}

const COPY_WRITE: (Stages, AccessFlags) = (Stages::COPY, AccessFlags::TRANSFER_WRITE);
const COPY_READ: (Stages, AccessFlags) = (Stages::COPY, AccessFlags::TRANSFER_READ);
/// Not `CLEAR` alone, which is what a fill is: the layer 1.3.239 takes fills for copies.
const FILL_WRITE: (Stages, AccessFlags) = (Stages::ALL_TRANSFER, AccessFlags::TRANSFER_WRITE);
const HOST_READ: (Stages, AccessFlags) = (Stages::HOST, AccessFlags::HOST_READ);

impl Plan {
    /// Declares a transient buffer, so that commands and passes can name it by its position.
    fn resource(&mut self, name: &str, size: u64) -> MkTransient {
        let id = self.graph.transient(name, size);
        self.schedule.resources.push(id.into());
        MkTransient { id, gpu: 0 }
    }

    fn push(&mut self, command: Command) {
        if self.schedule.queues.is_empty() {
            self.schedule.queues.push(CommandList::default());
        }
        self.schedule.queues[0].commands.push(command);
    }

    fn barrier(&mut self, entries: &[BarrierEntry]) {
        let start = self.schedule.entries.len() as u32;
        self.schedule.entries.extend(entries);
        let entries = start..self.schedule.entries.len() as u32;
        let call = self.schedule.barriers.len() as u32;
        self.schedule.barriers.push(BarrierCall { level: call + 1, entries });
        self.push(Command::Barrier(call));
    }

    fn copy(&mut self, from: BufferRef, to: BufferRef, regions: &[(u64, u64, u64)]) {
        let start = self.schedule.regions.len() as u32;
        let regions =
            regions.iter().map(|&(src, dst, size)| CopyRegion { src, dst, size, node: 0, merged: 1 });
        self.schedule.regions.extend(regions);
        let regions = start..self.schedule.regions.len() as u32;
        self.push(Command::Copy { from, to, regions });
    }

    fn scatter(&mut self, regions: &[ScatterRegion]) {
        let start = self.schedule.scatters.len() as u32;
        for of_part in regions.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
            let at = self.schedule.regions.len() as u32;
            self.schedule.regions.extend(of_part.iter().map(|s| s.region));
            let (from, to) = (of_part[0].from, of_part[0].to);
            self.schedule.scatters.push(ScatterPart { from, to, regions: at..at + of_part.len() as u32 });
        }
        let parts = start..self.schedule.scatters.len() as u32;
        self.push(Command::Scatter { parts });
    }

    fn fill(&mut self, to: BufferRef, size: u64, value: u32) {
        self.push(Command::Fill { to, offset: 0, size, value });
    }

    fn record(
        &self,
        backend: &VulkanBackend,
        buffers: &[VulkanBuffer],
        host_buffers: &[VulkanBuffer],
        pass: &mut MkRecordPass<'_, VulkanBackend>,
    ) -> Result<VulkanRecording, MkError> {
        let (graph, schedule) = (&self.graph, &self.schedule);
        let input = MkRecordInput { name: "test frame", graph, schedule, buffers, host_buffers };
        // SAFETY: the tests keep buffers alive until their work is done, or drop the backend, which waits.
        unsafe { backend.record(input, pass) }
    }

    /// Records and submits a plan without passes.
    fn run(
        &self,
        backend: &VulkanBackend,
        buffers: &[VulkanBuffer],
        host: &[VulkanBuffer],
        catch_up: bool,
    ) -> u64 {
        let recording = self.record(backend, buffers, host, &mut |_, _| Ok(())).unwrap();
        // SAFETY: as above; tests submit from one thread at a time.
        unsafe { backend.submit(recording, catch_up) }.unwrap()
    }
}

fn wait(backend: &VulkanBackend, value: u64) {
    assert!(backend.wait(value, Duration::MAX).unwrap());
    assert!(backend.completed().unwrap() >= value);
}

/// Uploads `size` bytes from host buffer 0 through buffer 0 into host buffer 1.
fn round_trip(size: u64) -> Plan {
    let mut plan = Plan::default();
    plan.resource("middle", size);
    plan.copy(BufferRef::Host(0), BufferRef::Local(0), &[(0, 0, size)]);
    plan.barrier(&[entry(COPY_WRITE, COPY_READ)]);
    plan.copy(BufferRef::Local(0), BufferRef::Host(1), &[(0, 0, size)]);
    plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    plan
}

const CHILD: &str = "MEMKIT_TEST_CHILD";

/// Runs the calling test again, alone in a process that `launch` prepares, and there `child`.
fn alone(test: &str, mut launch: Process, child: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    launch.args(["--exact", &format!("vulkan::tests::{test}"), "--nocapture"]).env(CHILD, "1");
    let output = launch.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// This test program.
fn own_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}
