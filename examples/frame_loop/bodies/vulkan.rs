//! On Vulkan the passes are compute shaders; their SPIR-V is in the tree beside its source.

use super::Bodies;
use crate::args::Args;
use crate::inputs::PARTICLES;
use crate::mesh::Mesh;
use crate::scene::Io;
use crate::{Failure, run};
use memkit_gpu::ash::{self, vk};
use memkit_gpu::{
    MkError, MkGpu, MkGpuConfig, MkSlice, MkValidationLog, VulkanBackend, VulkanConfig, VulkanContext,
};

const SHADERS: [&[u8]; 3] = [
    include_bytes!("../shaders/cull.spv"),
    include_bytes!("../shaders/transform.spv"),
    include_bytes!("../shaders/particles.spv"),
];
/// Storage buffers of a pass; those a shader does not use stay unbound.
const BINDINGS: u32 = 4;

/// Pipelines, and a descriptor pool for each frame in flight.
struct Pipelines {
    device: ash::Device,
    log: MkValidationLog,
    set_layout: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipelines: Vec<vk::Pipeline>,
    pools: Vec<vk::DescriptorPool>,
    current: usize,
}

fn failed(call: &'static str) -> impl Fn(vk::Result) -> MkError {
    move |error| MkError::Backend { call, source: error.into() }
}

impl Pipelines {
    fn new(backend: &VulkanBackend, in_flight: u32) -> Result<Self, MkError> {
        let mut this = Pipelines {
            device: backend.device().clone(),
            log: backend.validation_log(),
            set_layout: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            pipelines: Vec::new(),
            pools: Vec::new(),
            current: 0,
        };
        // What was made before an error is destroyed by the drop of `this`.
        this.make_layouts()?;
        for code in SHADERS {
            this.make_pipeline(code)?;
        }
        for _ in 0..in_flight {
            this.make_pool()?;
        }
        Ok(this)
    }

    fn make_layouts(&mut self) -> Result<(), MkError> {
        let bindings: Vec<_> = (0..BINDINGS)
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: the device lives as long as its backend, which outlives `self`; the info is valid.
        self.set_layout = unsafe { self.device.create_descriptor_set_layout(&info, None) }
            .map_err(failed("vkCreateDescriptorSetLayout"))?;
        let layouts = [self.set_layout];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts);
        // SAFETY: as above.
        self.layout = unsafe { self.device.create_pipeline_layout(&info, None) }
            .map_err(failed("vkCreatePipelineLayout"))?;
        Ok(())
    }

    fn make_pipeline(&mut self, code: &[u8]) -> Result<(), MkError> {
        let words = ash::util::read_spv(&mut std::io::Cursor::new(code)).map_err(MkError::other)?;
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        // SAFETY: the words are a SPIR-V module that a test compares with its source.
        let module = unsafe { self.device.create_shader_module(&info, None) }
            .map_err(failed("vkCreateShaderModule"))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main");
        let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(self.layout)];
        // SAFETY: module and layout live, and the layout has every binding of the shaders.
        let made = unsafe { self.device.create_compute_pipelines(vk::PipelineCache::null(), &info, None) };
        // SAFETY: a module is not needed once its pipelines are made.
        unsafe { self.device.destroy_shader_module(module, None) };
        self.pipelines.extend(made.map_err(|(_, error)| failed("vkCreateComputePipelines")(error))?);
        Ok(())
    }

    fn make_pool(&mut self) -> Result<(), MkError> {
        let passes = SHADERS.len() as u32;
        let sizes = [vk::DescriptorPoolSize {
            ty: vk::DescriptorType::STORAGE_BUFFER,
            descriptor_count: passes * BINDINGS,
        }];
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(passes).pool_sizes(&sizes);
        // SAFETY: the device lives.
        let pool = unsafe { self.device.create_descriptor_pool(&info, None) }
            .map_err(failed("vkCreateDescriptorPool"))?;
        self.pools.push(pool);
        Ok(())
    }

    /// Binds a pipeline and its buffers, in the order of the shader's bindings.
    fn bind(&self, cx: &VulkanContext<'_>, pipeline: usize, buffers: &[MkSlice<'_>]) -> Result<(), MkError> {
        let layouts = [self.set_layout];
        let info = vk::DescriptorSetAllocateInfo::default()
            .descriptor_pool(self.pools[self.current])
            .set_layouts(&layouts);
        // SAFETY: the pool was reset in `begin` and has room for a set a pass; one frame at a time uses it.
        let sets = unsafe { self.device.allocate_descriptor_sets(&info) }
            .map_err(failed("vkAllocateDescriptorSets"))?;
        for (binding, buffer) in (0u32..).zip(buffers) {
            let found = cx.resolve(*buffer)?;
            let info =
                [vk::DescriptorBufferInfo { buffer: found.buffer, offset: found.offset, range: found.size }];
            let write = vk::WriteDescriptorSet::default()
                .dst_set(sets[0])
                .dst_binding(binding)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&info);
            // SAFETY: the set is new and not in use, the buffer is a storage buffer that the pass declared.
            unsafe { self.device.update_descriptor_sets(&[write], &[]) };
        }
        let (point, commands) = (vk::PipelineBindPoint::COMPUTE, cx.command_buffer());
        // SAFETY: the command buffer is being recorded; pipeline, layout and set fit each other.
        unsafe {
            self.device.cmd_bind_pipeline(commands, point, self.pipelines[pipeline]);
            self.device.cmd_bind_descriptor_sets(commands, point, self.layout, 0, &sets, &[]);
        }
        Ok(())
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        // SAFETY: dropped before the `MkGpu`, after it was idle; handles that were never made are null, which these
        // calls ignore.
        unsafe {
            let _ = self.device.device_wait_idle();
            self.pools.drain(..).for_each(|pool| self.device.destroy_descriptor_pool(pool, None));
            self.pipelines.drain(..).for_each(|pipeline| self.device.destroy_pipeline(pipeline, None));
            self.device.destroy_pipeline_layout(self.layout, None);
            self.device.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}

impl Bodies<VulkanBackend> for Pipelines {
    fn begin(&mut self, number: u32) -> Result<(), MkError> {
        self.current = number as usize % self.pools.len();
        // SAFETY: the frame that used this pool last is done: there are as many pools as frames in flight.
        unsafe {
            self.device
                .reset_descriptor_pool(self.pools[self.current], vk::DescriptorPoolResetFlags::empty())
                .map_err(failed("vkResetDescriptorPool"))
        }
    }

    fn cull(&self, cx: &mut VulkanContext<'_>, io: &Io) -> Result<(), MkError> {
        self.bind(cx, 0, &[io.camera.into(), io.instances.into(), io.visible.into(), io.args.into()])?;
        // SAFETY: pipeline and buffers are bound.
        unsafe { cx.device().cmd_dispatch(cx.command_buffer(), 1, 1, 1) };
        Ok(())
    }

    fn transform(&self, cx: &mut VulkanContext<'_>, io: &Io) -> Result<(), MkError> {
        let buffers = [io.vertices.into(), io.instances.into(), io.visible.into(), io.checksum.into()];
        self.bind(cx, 1, &buffers)?;
        let args = cx.resolve(io.args)?;
        // SAFETY: pipeline and buffers are bound; the arguments begin at a multiple of 4 bytes.
        unsafe { cx.device().cmd_dispatch_indirect(cx.command_buffer(), args.buffer, args.offset) };
        Ok(())
    }

    fn particles(&self, cx: &mut VulkanContext<'_>, io: &Io) -> Result<(), MkError> {
        self.bind(cx, 2, &[io.particles.into()])?;
        // SAFETY: pipeline and buffers are bound.
        unsafe { cx.device().cmd_dispatch(cx.command_buffer(), (PARTICLES / 64) as u32, 1, 1) };
        Ok(())
    }

    fn objections(&self) -> Vec<String> {
        self.log.messages().iter().map(ToString::to_string).collect()
    }
}

/// Runs on a Vulkan device.
pub(crate) fn run(args: &Args, mesh: &Mesh) -> Result<(), Failure> {
    if args.skip_barrier.is_some() {
        return Err("--skip-barrier is for the simulated device".into());
    }
    let backend = VulkanBackend::new(VulkanConfig {
        app_name: "frame_loop".into(),
        app_version: 1,
        validation: args.validate,
        ..Default::default()
    })?;
    let log = backend.validation_log();
    let config = MkGpuConfig { frames_in_flight: args.in_flight as usize, ..Default::default() };
    let gpu = MkGpu::with_config(backend, config);
    let mut pipelines = Pipelines::new(gpu.backend(), args.in_flight)?;
    let result = run::run(&gpu, &mut pipelines, args, mesh);
    drop(pipelines);
    drop(gpu);
    // Some messages come only when the device is destroyed.
    match log.messages().first() {
        Some(first) => Err(format!("the validation layer objects: {first}").into()),
        None => result,
    }
}
