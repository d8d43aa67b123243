//! The frame, declared once for every backend.

use crate::bodies::Bodies;
use crate::inputs::{self, ARGS, INSTANCES, PARTICLES};
use crate::mesh::Mesh;
use memkit_gpu::{
    Access, MkBuffer, MkBufferDesc, MkBufferId, MkBufferUsage, MkError, MkFrame, MkGpu, MkGpuBackend,
    MkReadback, MkTransient, Queue,
};

/// The buffers that live as long as the program.
pub(crate) struct Scene {
    camera: MkBuffer,
    instances: MkBuffer,
    vertices: MkBuffer,
    particles: MkBuffer,
    indices: u32,
}

/// What a pass works on: plain data, copied into closures.
#[derive(Clone, Copy)]
pub(crate) struct Io {
    pub(crate) camera: MkBufferId,
    pub(crate) instances: MkBufferId,
    pub(crate) vertices: MkBufferId,
    pub(crate) particles: MkBufferId,
    pub(crate) visible: MkTransient,
    pub(crate) args: MkTransient,
    pub(crate) checksum: MkTransient,
}

/// What comes back of a frame.
pub(crate) struct Tickets {
    pub(crate) args: MkReadback<u32>,
    pub(crate) checksum: MkReadback<u32>,
    pub(crate) particles: MkReadback<u32>,
}

impl Scene {
    /// Makes the buffers, and uploads what never changes.
    pub(crate) fn new<B: MkGpuBackend>(gpu: &MkGpu<B>, mesh: &Mesh, corrupt: bool) -> Result<Self, MkError> {
        let buffer = |name, size| {
            gpu.create_buffer(&MkBufferDesc {
                name,
                size,
                usage: MkBufferUsage::STORAGE,
                ..Default::default()
            })
        };
        let scene = Scene {
            camera: buffer("camera", size_of::<[i32; 20]>())?,
            instances: buffer("instances", INSTANCES * 64)?,
            vertices: buffer("vertices", size_of_val(mesh.positions.as_slice()))?,
            particles: buffer("particles", PARTICLES * 16)?,
            indices: mesh.indices,
        };
        let mut positions: Vec<u8> = memkit_gpu::bytemuck::cast_slice(&mesh.positions).to_vec();
        if corrupt && let Some(byte) = positions.first_mut() {
            *byte ^= 1;
        }
        let mut frame = gpu.begin_frame()?;
        frame.set_name("scene");
        frame.upload(&scene.vertices, 0, &positions)?;
        frame.upload(&scene.particles, 0, &inputs::particles())?;
        frame.submit()?;
        Ok(scene)
    }

    /// Declares frame `number`.
    pub(crate) fn declare<'f, B: MkGpuBackend>(
        &self,
        frame: &mut MkFrame<'f, B>,
        number: u32,
        bodies: &'f (impl Bodies<B> + Sync),
    ) -> Result<Tickets, MkError> {
        frame.upload(&self.camera, 0, &inputs::camera_block(number, self.indices))?;
        let instances = inputs::instances(number);
        for k in 0..INSTANCES {
            // Scattered: 389 and 1,000 have no common factor, so each comes once, and no two neighbours together.
            let i = k * 389 % INSTANCES;
            frame.upload(&self.instances, i * 64, &instances[i])?;
        }

        let io = Io {
            camera: self.camera.id(),
            instances: self.instances.id(),
            vertices: self.vertices.id(),
            particles: self.particles.id(),
            visible: frame.transient("visible", INSTANCES * 4),
            args: frame.transient("args", ARGS * 4),
            checksum: frame.transient("checksum", 16),
        };
        frame.fill(io.checksum, 0);
        frame
            .pass("cull")
            .on(Queue::Compute)
            .read(&self.camera, Access::COMPUTE_STORAGE_READ)
            .read(&self.instances, Access::COMPUTE_STORAGE_READ)
            .overwrite(io.visible, Access::COMPUTE_STORAGE_WRITE)
            .overwrite(io.args, Access::COMPUTE_STORAGE_WRITE)
            .record(move |cx| bodies.cull(cx, &io));
        frame
            .pass("transform")
            .read(io.args, Access::INDIRECT_READ)
            .read(&self.vertices, Access::COMPUTE_STORAGE_READ)
            .read(&self.instances, Access::COMPUTE_STORAGE_READ)
            .read(io.visible, Access::COMPUTE_STORAGE_READ)
            .modify(io.checksum, Access::COMPUTE_STORAGE_READ_WRITE)
            .record(move |cx| bodies.transform(cx, &io));
        frame
            .pass("particles")
            .modify(&self.particles, Access::COMPUTE_STORAGE_READ_WRITE)
            .record(move |cx| bodies.particles(cx, &io));
        let lines = frame.transient("debug lines", 4096);
        frame
            .pass("debug lines")
            .read(io.visible, Access::COMPUTE_STORAGE_READ)
            .overwrite(lines, Access::COMPUTE_STORAGE_WRITE)
            .record(move |_| Err(MkError::other("nobody needs this pass, so it must not be recorded")));

        Ok(Tickets {
            args: frame.readback(io.args, 0..ARGS)?,
            checksum: frame.readback(io.checksum, 0..4)?,
            particles: frame.readback(&self.particles, 0..PARTICLES * 4)?,
        })
    }
}
