//! The simulated device runs Rust.

use super::Bodies;
use crate::args::Args;
use crate::mesh::Mesh;
use crate::scene::Io;
use crate::{Failure, kernels, run};
use memkit_gpu::{DummyBackend, DummyBackendConfig, DummyContext, MkError, MkGpu, MkGpuConfig};

struct Kernels;

impl Bodies<DummyBackend> for Kernels {
    fn begin(&mut self, _: u32) -> Result<(), MkError> {
        Ok(())
    }

    fn cull(&self, cx: &mut DummyContext<'_>, io: &Io) -> Result<(), MkError> {
        let io = *io;
        cx.dispatch(move |mem| {
            let (camera, instances) = (mem.read(io.camera)?, mem.read(io.instances)?);
            let (mut visible, mut args) = (mem.write(io.visible)?, mem.write(io.args)?);
            kernels::cull(&camera, &instances, &mut visible, &mut args);
            Ok(())
        });
        Ok(())
    }

    fn transform(&self, cx: &mut DummyContext<'_>, io: &Io) -> Result<(), MkError> {
        let io = *io;
        cx.dispatch(move |mem| {
            let args = mem.read::<u32>(io.args)?;
            let (vertices, instances) = (mem.read(io.vertices)?, mem.read(io.instances)?);
            let (visible, mut checksum) = (mem.read(io.visible)?, mem.write(io.checksum)?);
            let groups = args.first().copied().unwrap_or(0);
            kernels::transform(groups, &vertices, &instances, &visible, &mut checksum);
            Ok(())
        });
        Ok(())
    }

    fn particles(&self, cx: &mut DummyContext<'_>, io: &Io) -> Result<(), MkError> {
        let io = *io;
        cx.dispatch(move |mem| {
            kernels::particles(&mut mem.write(io.particles)?);
            Ok(())
        });
        Ok(())
    }

    fn objections(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Runs on the simulated device.
pub(crate) fn run(args: &Args, mesh: &Mesh) -> Result<(), Failure> {
    let backend = DummyBackend::with_config(DummyBackendConfig {
        skip_barrier: args.skip_barrier,
        adversary: args.adversary,
        ..Default::default()
    });
    let config = MkGpuConfig { frames_in_flight: args.in_flight as usize, ..Default::default() };
    let gpu = MkGpu::with_config(backend, config);
    let result = run::run(&gpu, &mut Kernels, args, mesh);
    // A hazard explains wrong bytes better than the bytes do.
    match gpu.backend().take_hazards().as_slice() {
        [] => result,
        [first, ..] => Err(format!("{} hazards, the first:\n{first}", gpu.backend().hazard_count()).into()),
    }
}
