//! Runs planned frames on the simulated device: it finds no hazard, and the bytes are those of the declarations.

use super::reference::{self, Memory, Reference, reads};
use super::{Planned, Scene};
use memkit_gpu::graph::{
    BufferDesc, BufferRef, BufferUsage, Command, CopyRegion, FrameGraph, GraphState, Mode, Planner, Resource,
    ResourceId, ResourceSlice, Schedule,
};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyBuffer, MkBackendBufferDesc, MkError, MkGpuBackend, MkHazardKind,
    MkMemoryType, MkRecordInput,
};
use std::collections::HashMap;
use std::time::Duration;

/// Bytes the device has.
pub const MEMORY: usize = 1 << 20;
/// Staging buffers a frame may name.
const STAGING: usize = 4;

struct Device {
    backend: DummyBackend,
    buffers: HashMap<Resource, DummyBuffer>,
    staging: Vec<DummyBuffer>,
    last: u64,
}

/// Runs the frames, and one more that reads everything back. `false` if the device has not what they need, which it says
/// with an error.
pub fn run(
    scene: &Scene,
    ids: &[ResourceId],
    pool: &[Option<ResourceId>],
    (state, planner): (&mut GraphState, &mut Planner),
    frames: &[Planned<'_>],
) -> bool {
    let Some(mut device) = Device::new(scene, ids, pool, state, frames) else { return false };
    let buffers = ids.iter().zip(&scene.buffers);
    let buffers = buffers.map(|(id, b)| (*id, Memory::new(b.size, b.initialized)));
    let mut expected = Reference { buffers: buffers.collect(), reads_unwritten: false };
    for frame in frames {
        if !reference::names_known_buffers(frame.graph, &expected.buffers)
            || !device.add_transients(frame.graph, pool)
            || !device.submit(frame.graph, &frame.schedule)
        {
            return false;
        }
        expected.frame(frame);
    }
    let results = device.read_back(scene, ids, (state, planner), &expected);
    assert!(device.backend.wait(device.last, Duration::from_secs(60)).unwrap());
    let mut hazards = device.backend.take_hazards();
    if expected.reads_unwritten {
        hazards.retain(|h| h.kind != MkHazardKind::Uninitialized);
    }
    assert!(hazards.is_empty(), "{} hazards, the first:\n{}", hazards.len(), hazards[0]);
    for (id, copy) in results {
        let Memory { bytes, written } = &expected.buffers[&id];
        let got = device.bytes(&copy, bytes.len());
        for (at, is_written) in written.iter().enumerate() {
            assert!(
                !is_written || got[at] == bytes[at],
                "byte {at} of {id:?}: {} not {}",
                got[at],
                bytes[at]
            );
        }
    }
    true
}

impl Device {
    fn new(
        scene: &Scene,
        ids: &[ResourceId],
        pool: &[Option<ResourceId>],
        state: &GraphState,
        frames: &[Planned<'_>],
    ) -> Option<Device> {
        // Half of the scenes run out of order.
        let seed: u64 = frames.iter().map(|f| f.graph.len() as u64).sum();
        let config = DummyBackendConfig {
            memory_limit: MEMORY,
            max_buffer_size: MEMORY,
            adversary: (seed % 2 == 1).then_some(seed),
            ..Default::default()
        };
        let mut device = Device {
            backend: DummyBackend::with_config(config),
            buffers: HashMap::new(),
            staging: Vec::new(),
            last: 0,
        };
        for (id, b) in ids.iter().zip(&scene.buffers) {
            let buffer = device.make(&b.name, b.size, b.initialized || b.host_visible)?;
            device.buffers.insert((*id).into(), buffer);
        }
        for id in pool.iter().flatten() {
            let desc = state.buffer(*id).unwrap();
            let buffer = device.make(&desc.name, desc.size, false)?;
            device.buffers.insert((*id).into(), buffer);
        }
        for (number, size) in staging_sizes(frames).into_iter().enumerate() {
            let buffer = device.make("staging", size?, true)?;
            let bytes: Vec<u8> = (0..size?).map(|at| reference::staged(number as u32, at)).collect();
            store(&device.backend, &buffer, &bytes);
            device.staging.push(buffer);
        }
        Some(device)
    }

    /// A buffer; `None` if its size is nothing for this device, which must say so.
    fn make(&self, name: &str, size: u64, mapped: bool) -> Option<DummyBuffer> {
        let memory = if mapped { MkMemoryType::HostVisible } else { MkMemoryType::DeviceLocal };
        let desc = MkBackendBufferDesc { name, size, usage: BufferUsage::all(), memory };
        match self.backend.create_buffer(&desc) {
            Ok(buffer) => Some(buffer),
            Err(MkError::ZeroSize { .. } | MkError::BufferTooLarge { .. } | MkError::OutOfMemory { .. }) => {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Finds memory for the transients of a frame.
    fn add_transients(&mut self, graph: &FrameGraph, pool: &[Option<ResourceId>]) -> bool {
        let named = (0..graph.len()).filter_map(|i| graph.node(i)).flat_map(|n| graph.uses(&n));
        let sizes: Vec<u64> = graph.transients().map(|(_, t)| t.size).collect();
        for u in named {
            let Resource::Transient(id) = u.slice.resource else { continue };
            let at = id.index() as usize;
            if self.buffers.contains_key(&u.slice.resource) {
                continue;
            }
            let buffer = match pool.get(at).copied().flatten() {
                Some(id) => self.buffers[&id.into()],
                None => match self.make("transient", sizes[at], false) {
                    Some(buffer) => buffer,
                    None => return false,
                },
            };
            self.buffers.insert(u.slice.resource, buffer);
        }
        true
    }

    /// Records and submits a frame. `false` if it names staging memory that is not there.
    fn submit(&mut self, graph: &FrameGraph, schedule: &Schedule) -> bool {
        let buffers: Vec<_> = schedule.resources.iter().map(|r| self.buffers[r]).collect();
        let input =
            MkRecordInput { name: "fuzz", graph, schedule, buffers: &buffers, host_buffers: &self.staging };
        // SAFETY: nothing is destroyed before the backend is dropped.
        let recording = unsafe {
            self.backend.record(input, &mut |index, cx| {
                let node = graph.node(index as usize).unwrap();
                let uses: Vec<(ResourceSlice, Mode)> = graph.uses(&node).map(|u| (u.slice, u.mode)).collect();
                cx.dispatch(move |mem| {
                    let mut read = Vec::new();
                    for (slice, _) in uses.iter().filter(|u| reads(u.1)) {
                        read.extend_from_slice(&mem.read_resource::<u8>(*slice)?);
                    }
                    for (slice, mode) in uses.iter().filter(|u| u.1 != Mode::Read) {
                        reference::put(
                            reference::hash(index, &read),
                            *mode,
                            &mut mem.write_resource(*slice)?,
                        );
                    }
                    Ok(())
                });
                Ok(())
            })
        };
        match recording {
            Ok(recording) => {
                // SAFETY: as above, and this is the only thread that submits.
                self.last = unsafe { self.backend.submit(recording, false).unwrap() };
                true
            }
            Err(error) => {
                let unknown = |(number, _): (u32, CopyRegion)| number as usize >= STAGING;
                assert!(staged(schedule).any(unknown), "{error}");
                false
            }
        }
    }

    /// One more frame, which copies every written byte to a buffer the host sees.
    fn read_back(
        &mut self,
        scene: &Scene,
        ids: &[ResourceId],
        (state, planner): (&mut GraphState, &mut Planner),
        expected: &Reference,
    ) -> Vec<(ResourceId, DummyBuffer)> {
        let mut graph = FrameGraph::new();
        let mut results = Vec::new();
        for (id, b) in ids.iter().zip(&scene.buffers) {
            if !b.usage.contains(BufferUsage::TRANSFER_SRC) {
                continue;
            }
            let desc = BufferDesc::new("result", b.size, BufferUsage::TRANSFER_DST);
            let result = state.add_buffer(BufferDesc { host_visible: true, ..desc });
            let Some(buffer) = self.make("result", b.size, true) else { continue };
            self.buffers.insert(result.into(), buffer);
            for run in expected.buffers[id].runs() {
                graph.readback(id.slice(run.clone()), result.slice(run));
            }
            results.push((*id, buffer));
        }
        let schedule = planner.plan(&graph, state).unwrap().clone();
        planner.commit(state);
        assert!(self.submit(&graph, &schedule));
        results
    }

    fn bytes(&self, buffer: &DummyBuffer, len: usize) -> Vec<u8> {
        let mapped = self.backend.mapped(buffer).unwrap();
        // SAFETY: that many bytes are mapped, and everything submitted is done.
        unsafe { std::slice::from_raw_parts(mapped.as_ptr(), len) }.to_vec()
    }
}

/// Bytes that the schedules read of each staging buffer; none where the end is no number.
fn staging_sizes(frames: &[Planned<'_>]) -> Vec<Option<u64>> {
    let mut sizes = Vec::new();
    for Planned { schedule, .. } in frames {
        for (number, region) in staged(schedule) {
            let number = number as usize;
            if number >= STAGING {
                continue;
            }
            if sizes.len() <= number {
                sizes.resize(number + 1, Some(1));
            }
            let end = region.src.checked_add(region.size);
            sizes[number] = sizes[number].zip(end).map(|(size, end): (u64, u64)| size.max(end));
        }
    }
    sizes
}

/// What a schedule reads of staging buffers, copied and scattered.
fn staged(schedule: &Schedule) -> impl Iterator<Item = (u32, CopyRegion)> {
    schedule.queues.iter().flat_map(|q| &q.commands).flat_map(|command| {
        let list: Vec<(BufferRef, CopyRegion)> = match command {
            Command::Copy { from, regions, .. } => {
                schedule.regions_of(regions).iter().map(|r| (*from, *r)).collect()
            }
            Command::Scatter { parts } => schedule.scattered_by(parts).map(|s| (s.from, s.region)).collect(),
            _ => Vec::new(),
        };
        list.into_iter().filter_map(|(from, region)| match from {
            BufferRef::Host(number) => Some((number, region)),
            BufferRef::Local(_) => None,
        })
    })
}

fn store(backend: &DummyBackend, buffer: &DummyBuffer, bytes: &[u8]) {
    let mapped = backend.mapped(buffer).unwrap();
    // SAFETY: the buffer was made with this many bytes, and no submission uses it yet.
    unsafe { mapped.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    // SAFETY: it lives and is mapped.
    unsafe { backend.flush(buffer, 0..bytes.len() as u64).unwrap() };
}
