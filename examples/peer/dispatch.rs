//! The dispatches of G1 and G2: pipelines, and a descriptor set a pass, made once.

use memkit_gpu::ash::{self, vk};
use memkit_gpu::{MkError, MkSlice, VulkanBackend, VulkanContext};

/// By the number of buffers a pass reads.
const SHADERS: [(usize, &[u8]); 3] = [
    (0, include_bytes!("shaders/first.spv")),
    (1, include_bytes!("shaders/next.spv")),
    (3, include_bytes!("shaders/sum.spv")),
];
/// Three buffers that are read and one that is written.
const BINDINGS: u32 = 4;

/// The most buffers a pass reads.
pub(crate) const READS: usize = 3;
/// Bytes of a buffer: one workgroup's words.
pub(crate) const BUFFER: usize = 256;

/// Pipelines and descriptor sets. To be dropped before the `MkGpu`, once nothing submitted uses them.
pub(crate) struct Dispatches {
    device: ash::Device,
    set_layout: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipelines: Vec<vk::Pipeline>,
    pool: vk::DescriptorPool,
    sets: Vec<vk::DescriptorSet>,
}

fn failed(call: &'static str) -> impl Fn(vk::Result) -> MkError {
    move |error| MkError::Backend { call, source: error.into() }
}

impl Dispatches {
    pub(crate) fn new(backend: &VulkanBackend, passes: usize) -> Result<Self, MkError> {
        let mut this = Dispatches {
            device: backend.device().clone(),
            set_layout: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            pipelines: Vec::new(),
            pool: vk::DescriptorPool::null(),
            sets: Vec::new(),
        };
        // What was made before an error is destroyed by the drop of `this`.
        this.make_layouts()?;
        for (_, code) in SHADERS {
            this.make_pipeline(code)?;
        }
        this.make_sets(u32::try_from(passes).unwrap_or(u32::MAX))?;
        Ok(this)
    }

    fn make_layouts(&mut self) -> Result<(), MkError> {
        let binding = |binding| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(binding)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..BINDINGS).map(binding).collect();
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

    fn make_sets(&mut self, passes: u32) -> Result<(), MkError> {
        let sizes = [vk::DescriptorPoolSize {
            ty: vk::DescriptorType::STORAGE_BUFFER,
            descriptor_count: passes.saturating_mul(BINDINGS),
        }];
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(passes).pool_sizes(&sizes);
        // SAFETY: the device lives.
        self.pool = unsafe { self.device.create_descriptor_pool(&info, None) }
            .map_err(failed("vkCreateDescriptorPool"))?;
        let layouts = vec![self.set_layout; passes as usize];
        let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(self.pool).set_layouts(&layouts);
        // SAFETY: the pool is new and has room for all of them.
        self.sets = unsafe { self.device.allocate_descriptor_sets(&info) }
            .map_err(failed("vkAllocateDescriptorSets"))?;
        Ok(())
    }

    /// Writes the descriptor set of a pass, before it is used for the first time: what it reads, and what it writes.
    pub(crate) fn write_set(
        &self,
        cx: &VulkanContext<'_>,
        pass: usize,
        reads: &[MkSlice<'_>],
        written: MkSlice<'_>,
    ) -> Result<(), MkError> {
        // A pass that reads one or two buffers where the shader has three bindings reads the first one again.
        let bindings = shader_for(reads.len()).0;
        for binding in (0..bindings).chain([READS]) {
            let slice = if binding == READS { written } else { *reads.get(binding).unwrap_or(&reads[0]) };
            let found = cx.resolve(slice)?;
            let info =
                [vk::DescriptorBufferInfo { buffer: found.buffer, offset: found.offset, range: found.size }];
            let write = vk::WriteDescriptorSet::default()
                .dst_set(self.sets[pass])
                .dst_binding(binding as u32)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&info);
            // SAFETY: nothing uses the set yet; the buffer is a storage buffer that the pass declared.
            unsafe { self.device.update_descriptor_sets(&[write], &[]) };
        }
        Ok(())
    }

    /// Records the dispatch of a pass that reads so many buffers.
    pub(crate) fn record(
        &self,
        device: &ash::Device,
        commands: vk::CommandBuffer,
        pass: usize,
        reads: usize,
    ) {
        let pipeline = self.pipelines[shader_for(reads).1];
        let point = vk::PipelineBindPoint::COMPUTE;
        // SAFETY: the command buffer is being recorded; pipeline, layout and set fit each other, and the set was
        // written in the first frame.
        unsafe {
            device.cmd_bind_pipeline(commands, point, pipeline);
            device.cmd_bind_descriptor_sets(commands, point, self.layout, 0, &[self.sets[pass]], &[]);
            device.cmd_dispatch(commands, 1, 1, 1);
        }
    }
}

/// How many bindings the shader for so many reads has, and its number.
fn shader_for(reads: usize) -> (usize, usize) {
    let number = SHADERS.iter().position(|s| s.0 >= reads).unwrap_or(SHADERS.len() - 1);
    (SHADERS[number].0, number)
}

impl Drop for Dispatches {
    fn drop(&mut self) {
        // SAFETY: dropped before the `MkGpu`, after it was idle; handles that were never made are null, which these
        // calls ignore.
        unsafe {
            let _ = self.device.device_wait_idle();
            self.device.destroy_descriptor_pool(self.pool, None);
            self.pipelines.drain(..).for_each(|pipeline| self.device.destroy_pipeline(pipeline, None));
            self.device.destroy_pipeline_layout(self.layout, None);
            self.device.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}

/// What the buffers hold after a frame, worked out one pass after the other.
pub(crate) fn wanted(passes: usize, reads: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<u32>> {
    let mut buffers: Vec<Vec<u32>> = Vec::with_capacity(passes);
    for pass in 0..passes {
        let reads = reads(pass);
        let at = |n: usize, i: usize| buffers[*reads.get(n).unwrap_or(&reads[0])][i];
        let word = |i: usize| match reads.len() {
            0 => i as u32 + 1,
            1 => 3u32.wrapping_mul(at(0, i)).wrapping_add(1),
            _ => {
                let [a, b, c] = [(3u32, 0), (5, 1), (7, 2)].map(|(f, n)| f.wrapping_mul(at(n, i)));
                a.wrapping_add(b).wrapping_add(c).wrapping_add(1)
            }
        };
        let words = (0..BUFFER / size_of::<u32>()).map(word).collect();
        buffers.push(words);
    }
    buffers
}
