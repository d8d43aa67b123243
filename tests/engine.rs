//! The library as a part of an engine: fields, `&mut self` methods, code generic over the backend.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{
    DummyBackend, MkBufferUsage, MkDeviceBuffer, MkError, MkFence, MkFrame, MkGpu, MkGpuBackend,
};
use std::collections::HashMap;

/// A renderer that owns the gpu and the frame it is drawing.
struct Renderer {
    gpu: MkGpu<DummyBackend>,
    frame: Option<MkFrame<'static, DummyBackend>>,
    meshes: HashMap<&'static str, MkDeviceBuffer>,
    drawn: u32,
}

impl Renderer {
    fn new() -> Self {
        Renderer { gpu: gpu(), frame: None, meshes: HashMap::new(), drawn: 0 }
    }

    fn begin(&mut self) -> Result<(), MkError> {
        self.frame = Some(self.gpu.begin_frame()?);
        Ok(())
    }

    fn draw(&mut self, name: &'static str, value: u32) -> Result<(), MkError> {
        let frame = self.frame.as_mut().ok_or(MkError::NotReady)?;
        let mesh = match self.meshes.entry(name) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(self.gpu.create_device_buffer(16, MkBufferUsage::STORAGE)?)
            }
        };
        frame.upload(&*mesh, 0, &[value; 4])?;
        let id = mesh.id();
        frame.pass(name).modify(&*mesh, RW).record(move |cx| {
            cx.dispatch(move |mem| {
                mem.write::<u32>(id)?[3] += 1;
                Ok(())
            });
            Ok(())
        });
        self.drawn += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<MkFence, MkError> {
        self.frame.take().ok_or(MkError::NotReady)?.submit()
    }
}

#[test]
fn a_renderer_with_the_gpu_and_an_open_frame_as_fields_draws() {
    let mut renderer = Renderer::new();
    for n in 0..5 {
        renderer.begin().unwrap();
        renderer.draw("cube", n).unwrap();
        renderer.draw("tree", n + 1).unwrap();
        renderer.end().unwrap();
    }
    assert_eq!(renderer.drawn, 10);
    assert_eq!(contents(&renderer.gpu, &renderer.meshes["tree"], 4), [5, 5, 5, 6]);
    assert_clean(&renderer.gpu);
    // With a frame left open, fields are dropped in the order of their declaration: the gpu first.
    renderer.begin().unwrap();
    renderer.draw("cube", 1).unwrap();
}

/// What a backend has to bring for the engine's frame: the body of each pass.
trait Bodies: MkGpuBackend {
    fn double(cx: &mut Self::Context<'_>, buffer: memkit_gpu::MkBufferId) -> Result<(), MkError>;
}

impl Bodies for DummyBackend {
    fn double(cx: &mut Self::Context<'_>, buffer: memkit_gpu::MkBufferId) -> Result<(), MkError> {
        assert_eq!(cx.pass_name(), "double");
        cx.resolve(buffer)?;
        cx.dispatch(move |mem| {
            mem.write::<u32>(buffer)?.iter_mut().for_each(|v| *v *= 2);
            Ok(())
        });
        Ok(())
    }
}

/// An engine that is generic over its backend.
struct Engine<B: Bodies> {
    gpu: MkGpu<B>,
    values: MkDeviceBuffer,
}

impl<B: Bodies> Engine<B> {
    fn new(backend: B) -> Result<Self, MkError> {
        let gpu = MkGpu::new(backend);
        let values = gpu.create_device_buffer(16, MkBufferUsage::STORAGE)?;
        Ok(Engine { gpu, values })
    }

    fn frame(&mut self, values: &[u32]) -> Result<Vec<u32>, MkError> {
        let mut frame = self.gpu.begin_frame()?;
        frame.upload(&self.values, 0, values)?;
        let id = self.values.id();
        frame.pass("double").modify(&self.values, RW).record(move |cx| B::double(cx, id));
        let back = frame.readback::<u32>(&self.values, 0..values.len())?;
        frame.submit()?;
        back.wait()?;
        back.try_read(<[u32]>::to_vec)
    }
}

#[test]
fn an_engine_generic_over_its_backend_runs() {
    let mut engine = Engine::new(DummyBackend::new()).unwrap();
    assert_eq!(engine.frame(&[1, 2, 3, 4]).unwrap(), [2, 4, 6, 8]);
    assert_clean(&engine.gpu);
}

#[test]
fn closures_may_borrow_what_lives_longer_than_the_frame() {
    let gpu = gpu();
    let b = storage(&gpu, 4);
    let mut log = Vec::new();
    let names = [String::from("one"), String::from("two")];
    let mut frame = gpu.begin_frame().unwrap();
    let (log_mut, names_ref) = (&mut log, &names);
    frame.pass("logs").overwrite(&b, W).record(move |cx| {
        log_mut.extend(names_ref.iter().map(String::as_str));
        cx.dispatch(|_| Ok(()));
        Ok(())
    });
    frame.submit().unwrap();
    assert_eq!(log, ["one", "two"]);
}
