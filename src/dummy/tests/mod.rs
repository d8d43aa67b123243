//! Tests of the simulated device on schedules made by hand.

mod adversary;
mod faults;
mod kernels;
mod memory_model;
mod mistakes;
mod ownership;
mod queue;
mod scatter;

use super::*;
use crate::{
    MkBackendBufferDesc, MkBufferId, MkBufferUsage, MkError, MkGpuBackend, MkMemoryType, MkRecordInput,
    MkSlice,
};
use memkit_graph::{
    Access, BarrierCall, BarrierEntry, BufferDesc, BufferRef, Command, CommandList, CopyRegion, FrameGraph,
    GraphState, HostRead, Mode, Resource, ResourceId, ResourceSlice, ScatterPart, Schedule,
};
use std::ops::Range;
use std::time::Duration;

type Kernel = Box<dyn FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError> + Send>;

/// A device, and buffers that are persistent resources of a graph as well.
struct Rig {
    backend: DummyBackend,
    state: GraphState,
    ids: Vec<ResourceId>,
    buffers: Vec<DummyBuffer>,
}

impl Rig {
    fn new() -> Self {
        Self::with(DummyBackendConfig::default())
    }

    fn with(config: DummyBackendConfig) -> Self {
        let backend = DummyBackend::with_config(config);
        Rig { backend, state: GraphState::new(), ids: vec![], buffers: vec![] }
    }

    fn make(&mut self, name: &str, size: u64, memory: MkMemoryType) -> usize {
        let usage = MkBufferUsage::STORAGE;
        let desc = MkBackendBufferDesc { name, size, usage, memory };
        self.buffers.push(self.backend.create_buffer(&desc).unwrap());
        self.ids.push(self.state.add_buffer(BufferDesc::new(name, size, usage)));
        self.ids.len() - 1
    }

    fn buffer(&mut self, name: &str, size: u64) -> usize {
        self.make(name, size, MkMemoryType::DeviceLocal)
    }

    fn host(&mut self, name: &str, size: u64) -> usize {
        self.make(name, size, MkMemoryType::HostVisible)
    }

    fn slice(&self, at: usize, range: Range<usize>) -> MkSlice<'static> {
        MkBufferId { id: self.ids[at], gpu: 0 }.slice(range)
    }

    fn whole(&self, at: usize) -> MkSlice<'static> {
        MkBufferId { id: self.ids[at], gpu: 0 }.into()
    }

    fn frame(&self) -> Frame {
        let mut schedule = Schedule::default();
        schedule.resources.extend(self.ids.iter().map(|id| Resource::from(*id)));
        schedule.queues.push(CommandList::default());
        Frame { graph: FrameGraph::new(), schedule, kernels: vec![], ids: self.ids.clone() }
    }

    fn record(&self, frame: &mut Frame) -> Result<DummyRecording, MkError> {
        let Frame { graph, schedule, kernels, .. } = frame;
        let input =
            MkRecordInput { name: "test", graph, schedule, buffers: &self.buffers, host_buffers: &[] };
        // SAFETY: the rig's buffers live as long as its backend, unless a test destroys one to see the report; blocks
        // outlive their destruction while a recording holds them.
        unsafe {
            self.backend.record(input, &mut |node, cx| {
                for kernel in kernels.get_mut(node as usize).into_iter().flat_map(|k| k.drain(..)) {
                    cx.dispatch(kernel);
                }
                Ok(())
            })
        }
    }

    fn submit(&self, mut frame: Frame) -> u64 {
        let recording = self.record(&mut frame).unwrap();
        // SAFETY: as in `record`; tests submit from one thread.
        unsafe { self.backend.submit(recording, false).unwrap() }
    }

    /// Submits and waits.
    fn run(&self, frame: Frame) -> u64 {
        let value = self.submit(frame);
        assert!(self.backend.wait(value, Duration::from_secs(20)).unwrap());
        value
    }

    /// The bytes of a buffer, wherever they are. Nothing may be in flight.
    fn peek(&self, at: usize) -> Vec<u8> {
        let block = self.backend.block(&self.buffers[at]).unwrap();
        // SAFETY: the block lives and holds that many bytes; the queue is idle.
        unsafe { std::slice::from_raw_parts(block.pointer().as_ptr(), block.size as usize) }.to_vec()
    }

    /// Writes through the mapped pointer and flushes.
    fn poke(&self, at: usize, offset: usize, bytes: &[u8]) {
        let mapped = self.backend.mapped(&self.buffers[at]).unwrap();
        let range = offset as u64..(offset + bytes.len()) as u64;
        assert!(range.end <= DummyBackend::buffer_size(&self.buffers[at]));
        // SAFETY: within the buffer; tests that write bytes in use hold the queue.
        unsafe {
            mapped.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.backend.flush(&self.buffers[at], range).unwrap();
        }
    }

    /// No report.
    fn clean(&self) {
        let hazards = self.backend.hazards();
        assert!(hazards.is_empty(), "{}", hazards.iter().map(|h| format!("{h}\n\n")).collect::<String>());
    }

    /// The only report.
    fn only(&self, kind: MkHazardKind) -> MkHazard {
        let hazards = self.backend.take_hazards();
        let text = hazards.iter().map(|h| format!("{h}\n\n")).collect::<String>();
        assert_eq!(hazards.len(), 1, "{text}");
        assert_eq!(hazards[0].kind, kind, "{text}");
        hazards.into_iter().next().unwrap()
    }
}

/// A frame and its schedule, command by command.
struct Frame {
    graph: FrameGraph,
    schedule: Schedule,
    kernels: Vec<Vec<Kernel>>,
    ids: Vec<ResourceId>,
}

impl Frame {
    fn command(mut self, command: Command) -> Self {
        self.schedule.queues[0].commands.push(command);
        self
    }

    /// A pass with any uses: buffer, bytes, access, mode.
    fn uses(self, name: &str, uses: &[(usize, Range<u64>, Access, Mode)]) -> Self {
        self.kernel(name, uses, |_| Ok(()))
    }

    fn kernel(
        mut self,
        name: &str,
        uses: &[(usize, Range<u64>, Access, Mode)],
        kernel: impl FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError> + Send + 'static,
    ) -> Self {
        let mut pass = self.graph.pass(name).side_effects();
        for (at, range, access, mode) in uses {
            pass = pass.access(ResourceSlice::new(self.ids[*at].into(), range.clone()), *access, *mode);
        }
        let node = pass.finish().index();
        self.kernels.resize_with(node + 1, Vec::new);
        self.kernels[node].push(Box::new(kernel));
        self.command(Command::Pass(node as u32))
    }

    fn read(self, name: &str, at: usize, range: Range<u64>, access: Access) -> Self {
        self.uses(name, &[(at, range, access, Mode::Read)])
    }

    fn write(self, name: &str, at: usize, range: Range<u64>, access: Access) -> Self {
        self.uses(name, &[(at, range, access, Mode::Overwrite)])
    }

    /// A barrier call of several entries: from, to.
    fn barriers(mut self, entries: &[(Access, Access)]) -> Self {
        let start = self.schedule.entries.len() as u32;
        self.schedule.entries.extend(entries.iter().map(|(src, dst)| BarrierEntry {
            src_stages: src.stages,
            src_access: src.access,
            dst_stages: dst.stages,
            dst_access: dst.access,
        }));
        let at = self.schedule.barriers.len() as u32;
        let entries = start..self.schedule.entries.len() as u32;
        self.schedule.barriers.push(BarrierCall { level: 0, entries });
        self.command(Command::Barrier(at))
    }

    fn barrier(self, src: Access, dst: Access) -> Self {
        self.barriers(&[(src, dst)])
    }

    fn copy(mut self, from: usize, to: usize, regions: &[(u64, u64, u64)]) -> Self {
        let start = self.schedule.regions.len() as u32;
        self.schedule.regions.extend(regions.iter().map(|&(src, dst, size)| CopyRegion {
            src,
            dst,
            size,
            node: 0,
            merged: 1,
        }));
        let regions = start..self.schedule.regions.len() as u32;
        self.command(Command::Copy {
            from: BufferRef::Local(from as u32),
            to: BufferRef::Local(to as u32),
            regions,
        })
    }

    /// Regions: from, to, first byte in each, and size.
    fn scatter(mut self, regions: &[(usize, usize, u64, u64, u64)]) -> Self {
        let start = self.schedule.scatters.len() as u32;
        for &(from, to, src, dst, size) in regions {
            let at = self.schedule.regions.len() as u32;
            self.schedule.regions.push(CopyRegion { src, dst, size, node: 0, merged: 1 });
            self.schedule.scatters.push(ScatterPart {
                from: BufferRef::Local(from as u32),
                to: BufferRef::Local(to as u32),
                regions: at..at + 1,
            });
        }
        let parts = start..self.schedule.scatters.len() as u32;
        self.command(Command::Scatter { parts })
    }

    fn fill(self, to: usize, range: Range<u64>, value: u32) -> Self {
        let (offset, size) = (range.start, range.end - range.start);
        self.command(Command::Fill { to: BufferRef::Local(to as u32), offset, size, value })
    }

    fn host_read(mut self, at: usize, range: Range<u64>) -> Self {
        let (offset, size) = (range.start, range.end - range.start);
        self.schedule.host_reads.push(HostRead { resource: at as u32, offset, size });
        self
    }
}

/// The stages of an access, without the access.
fn execution(of: Access) -> Access {
    Access::new(of.stages, memkit_graph::AccessFlags::empty())
}

/// Whether a report names these two passes, in its fields and in its text.
fn names(hazard: &MkHazard, first: &str, second: &str) {
    let text = hazard.to_string();
    let told = |party: &MkHazardParty, name: &str| match &party.work {
        MkHazardWork::Pass(pass) => &**pass == name,
        MkHazardWork::Copy { from, to } => name == format!("{from}->{to}"),
        MkHazardWork::Scatter => name == "scatter",
        MkHazardWork::Fill { to } => name == format!("fill {to}"),
        MkHazardWork::Release { from, to } => name == format!("release {from}->{to}"),
        MkHazardWork::Acquire { from, to } => name == format!("acquire {from}->{to}"),
        MkHazardWork::Submission => name == "submission",
        MkHazardWork::HostRead => name == "host read",
        MkHazardWork::HostWrite => name == "host write",
        MkHazardWork::Destroy => name == "destroy",
    };
    assert!(hazard.first.as_ref().is_some_and(|p| told(p, first)), "first is not {first}:\n{text}");
    assert!(told(&hazard.second, second), "second is not {second}:\n{text}");
    for party in [hazard.first.as_ref().unwrap(), &hazard.second] {
        assert!(text.contains(&party.to_string()), "{text}");
    }
    assert!(text.contains("Vulkan specification"), "{text}");
}
