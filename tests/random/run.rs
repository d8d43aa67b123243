//! Runs planned sequences on a device.

use super::case::Node;
use super::reference::{Meaning, Memory};
use super::rig::{Sequence, slice, usage};
use memkit_gpu::graph::{Resource, ResourceSlice, Schedule};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyContext, MkBackendBufferDesc, MkError, MkGpuBackend, MkHazard,
    MkKernelMemory, MkMemoryType, MkRecordInput,
};
use std::collections::HashMap;
use std::time::Duration;

/// What came of a run.
pub struct Ran {
    pub hazards: Vec<MkHazard>,
    /// Final bytes of the host-visible buffers.
    pub bytes: Vec<Option<Vec<u8>>>,
}

/// The body of a pass that is to be recorded.
pub struct Body<'a, B: MkGpuBackend> {
    pub frame: usize,
    /// Among the nodes of its frame.
    pub position: usize,
    pub node: &'a Node,
    /// Of each use.
    pub slices: Vec<ResourceSlice>,
    pub buffers: Vec<B::Buffer>,
}

/// How the bodies of passes are recorded on a backend.
pub trait Bodies<B: MkGpuBackend> {
    fn record(&mut self, body: Body<'_, B>, cx: &mut B::Context<'_>) -> Result<(), MkError>;
}

/// No bodies at all.
struct Without;

impl<B: MkGpuBackend> Bodies<B> for Without {
    fn record(&mut self, _: Body<'_, B>, _: &mut B::Context<'_>) -> Result<(), MkError> {
        Ok(())
    }
}

/// Kernels that do what the case means.
struct Kernels(&'static dyn Meaning);

impl Bodies<DummyBackend> for Kernels {
    fn record(&mut self, body: Body<'_, DummyBackend>, cx: &mut DummyContext<'_>) -> Result<(), MkError> {
        let (meaning, node, slices) = (self.0, body.node.clone(), body.slices);
        cx.dispatch(move |mem| {
            let mut memory = Declared { mem, slices: &slices, error: None };
            meaning.pass(&node, &mut memory);
            memory.error.map_or(Ok(()), Err)
        });
        Ok(())
    }
}

/// What a kernel sees.
struct Declared<'a, 'm> {
    mem: &'a MkKernelMemory<'m>,
    slices: &'a [ResourceSlice],
    error: Option<MkError>,
}

impl Memory for Declared<'_, '_> {
    fn read(&mut self, at: usize) -> Vec<u8> {
        match self.mem.read_resource::<u8>(self.slices[at]) {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => {
                self.error.get_or_insert(error);
                Vec::new()
            }
        }
    }

    fn write(&mut self, at: usize, f: &mut dyn FnMut(&mut [u8])) {
        match self.mem.write_resource::<u8>(self.slices[at]) {
            Ok(mut bytes) => f(&mut bytes),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

impl Sequence {
    /// Runs the sequence. `instead` replaces one frame's schedule; without `bytes` the passes' kernels are left out.
    pub fn run(&self, instead: Option<(usize, &Schedule)>, bytes: bool) -> Ran {
        self.run_on(DummyBackendConfig::default(), instead, bytes)
    }

    /// The same, on a simulated device with these settings.
    pub fn run_on(
        &self,
        config: DummyBackendConfig,
        instead: Option<(usize, &Schedule)>,
        bytes: bool,
    ) -> Ran {
        let backend = DummyBackend::with_config(DummyBackendConfig { stages: self.case.stages, ..config });
        let bodies: &mut dyn Bodies<DummyBackend> =
            if bytes { &mut Kernels(self.case.meaning) } else { &mut Without };
        let bytes = self.run_with(&backend, bodies, instead, false);
        Ran { hazards: backend.hazards(), bytes }
    }

    /// Runs the sequence on a backend: all frames are recorded before one is submitted, and submitted before
    /// one is waited for. Returns the final bytes of the
    /// host-visible buffers. With `catch_up` the first submission waits for all that ran on the device before.
    pub fn run_with<B: MkGpuBackend>(
        &self,
        backend: &B,
        bodies: &mut dyn Bodies<B>,
        instead: Option<(usize, &Schedule)>,
        catch_up: bool,
    ) -> Vec<Option<Vec<u8>>> {
        let mut made: Vec<B::Buffer> = Vec::new();
        let mut make = |name: &str, size: u64, host: bool| {
            let memory = if host { MkMemoryType::HostVisible } else { MkMemoryType::DeviceLocal };
            let desc = MkBackendBufferDesc { name, size, usage: usage(), memory };
            made.push(backend.create_buffer(&desc).unwrap());
            made[made.len() - 1]
        };
        let named = |kind: &str, i: usize| format!("{kind}{i}");
        let buffers = self.case.buffers.iter().enumerate();
        let buffers: Vec<_> = buffers.map(|(i, b)| make(&named("b", i), b.size, b.host)).collect();
        for (buffer, b) in buffers.iter().zip(&self.case.buffers).filter(|(_, b)| b.host) {
            let mut fresh = vec![0; b.size as usize];
            self.case.meaning.fresh(&mut fresh);
            store(backend, buffer, &fresh);
        }
        let pool = self.case.pool.iter().enumerate();
        let pool: Vec<_> = pool.map(|(i, size)| make(&named("pool", i), *size, false)).collect();
        let mut at: HashMap<Resource, B::Buffer> = HashMap::new();
        at.extend(self.ids.iter().zip(&buffers).map(|(id, b)| (Resource::from(*id), *b)));
        at.extend(self.pool.iter().zip(&pool).map(|(id, b)| (Resource::from(*id), *b)));
        let mut recordings = Vec::new();
        for (k, planned) in self.frames.iter().enumerate() {
            at.extend(planned.transients.iter().zip(&pool).map(|(id, b)| (Resource::from(*id), *b)));
            let staging = make(&named("staging", k), planned.staging.len().max(1) as u64, true);
            store(backend, &staging, &planned.staging);
            let schedule = instead.filter(|i| i.0 == k).map_or(&planned.schedule, |i| i.1);
            recordings.push(self.record(backend, k, schedule, (&at, staging), bodies));
        }
        // Recording may look for finished work, and a validation layer that hears of it has nothing to say about what
        // comes after: no submission comes before the last recording.
        let mut last = 0;
        for (k, recording) in recordings.into_iter().enumerate() {
            // SAFETY: recorded above, its buffers live until the wait below, and this is the only thread that submits.
            last = unsafe { backend.submit(recording, catch_up && k == 0).unwrap() };
        }
        assert!(backend.wait(last, Duration::from_secs(60)).unwrap());
        let bytes = buffers.iter().zip(&self.case.buffers);
        let bytes = bytes.map(|(b, desc)| desc.host.then(|| load(backend, b, desc.size))).collect();
        // SAFETY: made here, and all that uses them is done.
        made.into_iter().for_each(|buffer| unsafe { backend.destroy_buffer(buffer) });
        bytes
    }

    fn record<B: MkGpuBackend>(
        &self,
        backend: &B,
        k: usize,
        schedule: &Schedule,
        (at, staging): (&HashMap<Resource, B::Buffer>, B::Buffer),
        bodies: &mut dyn Bodies<B>,
    ) -> B::Recording {
        let planned = &self.frames[k];
        let buffers: Vec<_> = schedule.resources.iter().map(|r| at[r]).collect();
        let host_buffers = [staging];
        let input = MkRecordInput {
            name: "random",
            graph: &planned.graph,
            schedule,
            buffers: &buffers,
            host_buffers: &host_buffers,
        };
        let frame = &self.case.frames[k];
        let n = frame.nodes.len();
        // SAFETY: the buffers live until what is recorded here is done.
        let recording = unsafe {
            backend.record(input, &mut |index, cx| {
                let position = (index as usize + frame.prologue) % n;
                let node = &frame.nodes[position];
                let slices: Vec<_> =
                    node.uses.iter().map(|u| slice(u, &self.ids, &planned.transients)).collect();
                let buffers = slices.iter().map(|s| at[&s.resource]).collect();
                bodies.record(Body { frame: k, position, node, slices, buffers }, cx)
            })
        };
        recording.unwrap()
    }
}

/// Writes bytes to a mapped buffer that nothing uses yet.
pub fn store<B: MkGpuBackend>(backend: &B, buffer: &B::Buffer, bytes: &[u8]) {
    assert!(bytes.len() as u64 <= B::buffer_size(buffer));
    let mapped = backend.mapped(buffer).unwrap();
    // SAFETY: that many bytes are mapped, and no submission uses them yet.
    unsafe { mapped.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    // SAFETY: it lives and is mapped.
    unsafe { backend.flush(buffer, 0..bytes.len() as u64).unwrap() };
}

/// The first bytes of a mapped buffer, when all that uses it is done.
pub fn load<B: MkGpuBackend>(backend: &B, buffer: &B::Buffer, size: u64) -> Vec<u8> {
    assert!(size <= B::buffer_size(buffer));
    let mapped = backend.mapped(buffer).unwrap();
    // SAFETY: it lives and is mapped, and nothing the host wrote is unflushed.
    unsafe { backend.invalidate(buffer, 0..size).unwrap() };
    // SAFETY: that many bytes are mapped, and everything submitted is done.
    unsafe { std::slice::from_raw_parts(mapped.as_ptr(), size as usize) }.to_vec()
}
