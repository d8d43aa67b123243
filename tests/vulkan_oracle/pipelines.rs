//! Pipelines, made when they are first needed: one for each kind of act and each combination of accesses.

use crate::acts::{Kind, Stage};
use crate::spirv::compile;
use crate::wgsl;
use memkit_gpu::ash::{self, vk};
use naga::ShaderStage;
use std::collections::HashMap;

/// What a pipeline does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Does {
    Shader(Stage, Vec<Kind>),
    Dispatch,
    Attributes,
    Indices,
}

/// A pipeline and what binds to it.
#[derive(Clone, Copy)]
pub(crate) struct Pipeline {
    pub(crate) raw: vk::Pipeline,
    pub(crate) point: vk::PipelineBindPoint,
    pub(crate) layout: vk::PipelineLayout,
    pub(crate) set_layout: vk::DescriptorSetLayout,
}

/// All pipelines, and a render pass of one pixel and no attachment.
pub(crate) struct Pipelines {
    device: ash::Device,
    pub(crate) render_pass: vk::RenderPass,
    pub(crate) framebuffer: vk::Framebuffer,
    layouts: HashMap<Vec<vk::DescriptorType>, (vk::DescriptorSetLayout, vk::PipelineLayout)>,
    pipelines: HashMap<Does, Pipeline>,
}

/// The types of the bindings of a pipeline.
pub(crate) fn bindings(does: &Does) -> Vec<vk::DescriptorType> {
    let mut types = vec![vk::DescriptorType::STORAGE_BUFFER; 2];
    if let Does::Shader(_, kinds) = does {
        types.extend(kinds.iter().map(|kind| match kind {
            Kind::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
            Kind::Read | Kind::Write | Kind::Modify => vk::DescriptorType::STORAGE_BUFFER,
        }));
    }
    types
}

impl Pipelines {
    pub(crate) fn new(device: &ash::Device) -> Self {
        let subpasses =
            [vk::SubpassDescription::default().pipeline_bind_point(vk::PipelineBindPoint::GRAPHICS)];
        let info = vk::RenderPassCreateInfo::default().subpasses(&subpasses);
        // SAFETY: the device lives as long as its backend, which outlives `self`; the infos are valid.
        let (render_pass, framebuffer) = unsafe {
            let render_pass = device.create_render_pass(&info, None).unwrap();
            let info =
                vk::FramebufferCreateInfo::default().render_pass(render_pass).width(1).height(1).layers(1);
            (render_pass, device.create_framebuffer(&info, None).unwrap())
        };
        let (layouts, pipelines) = (HashMap::new(), HashMap::new());
        Pipelines { device: device.clone(), render_pass, framebuffer, layouts, pipelines }
    }

    pub(crate) fn len(&self) -> usize {
        self.pipelines.len()
    }

    pub(crate) fn get(&mut self, does: &Does) -> Pipeline {
        if let Some(known) = self.pipelines.get(does) {
            return *known;
        }
        let (set_layout, layout) = self.layout(bindings(does));
        let vertex = |source: &str| self.graphics(source, None, does, layout);
        let raw = match does {
            Does::Shader(Stage::Compute, kinds) => self.compute(&wgsl::shader(Stage::Compute, kinds), layout),
            Does::Shader(Stage::Vertex, kinds) => vertex(&wgsl::shader(Stage::Vertex, kinds)),
            Does::Shader(Stage::Fragment, kinds) => {
                let fragment = wgsl::shader(Stage::Fragment, kinds);
                self.graphics(wgsl::POINT, Some(&fragment), does, layout)
            }
            Does::Dispatch => self.compute(&wgsl::dispatch(), layout),
            Does::Attributes => vertex(&wgsl::attributes()),
            Does::Indices => vertex(&wgsl::indices()),
        };
        let computes = matches!(does, Does::Shader(Stage::Compute, _) | Does::Dispatch);
        let point = if computes { vk::PipelineBindPoint::COMPUTE } else { vk::PipelineBindPoint::GRAPHICS };
        let made = Pipeline { raw, point, layout, set_layout };
        self.pipelines.insert(does.clone(), made);
        made
    }

    fn layout(&mut self, types: Vec<vk::DescriptorType>) -> (vk::DescriptorSetLayout, vk::PipelineLayout) {
        let device = &self.device;
        *self.layouts.entry(types).or_insert_with_key(|types| {
            let stages =
                vk::ShaderStageFlags::COMPUTE | vk::ShaderStageFlags::VERTEX | vk::ShaderStageFlags::FRAGMENT;
            let bindings: Vec<_> = (0..)
                .zip(types)
                .map(|(binding, ty)| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(binding)
                        .descriptor_type(*ty)
                        .descriptor_count(1)
                        .stage_flags(stages)
                })
                .collect();
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            // SAFETY: the device lives, the infos are valid.
            unsafe {
                let set_layout = device.create_descriptor_set_layout(&info, None).unwrap();
                let set_layouts = [set_layout];
                let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&set_layouts);
                (set_layout, device.create_pipeline_layout(&info, None).unwrap())
            }
        })
    }

    fn module(&self, source: &str, stage: ShaderStage) -> vk::ShaderModule {
        let words = compile(source, stage);
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        // SAFETY: the device lives, and the words are a SPIR-V module.
        unsafe { self.device.create_shader_module(&info, None).unwrap() }
    }

    fn compute(&self, source: &str, layout: vk::PipelineLayout) -> vk::Pipeline {
        let module = self.module(source, ShaderStage::Compute);
        let info = [vk::ComputePipelineCreateInfo::default()
            .layout(layout)
            .stage(stage(module, vk::ShaderStageFlags::COMPUTE))];
        // SAFETY: module and layout live, and the layout has every binding of the shader. A module is not needed once
        // its pipeline is made.
        unsafe {
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &info, None);
            self.device.destroy_shader_module(module, None);
            made.unwrap()[0]
        }
    }

    /// Draws points onto the one pixel.
    fn graphics(
        &self,
        vertex: &str,
        fragment: Option<&str>,
        does: &Does,
        layout: vk::PipelineLayout,
    ) -> vk::Pipeline {
        let mut stages = vec![stage(self.module(vertex, ShaderStage::Vertex), vk::ShaderStageFlags::VERTEX)];
        if let Some(source) = fragment {
            stages.push(stage(self.module(source, ShaderStage::Fragment), vk::ShaderStageFlags::FRAGMENT));
        }
        let cells = [vk::VertexInputBindingDescription::default().stride(16)];
        let cell = [vk::VertexInputAttributeDescription::default().format(vk::Format::R32G32B32A32_UINT)];
        let mut input = vk::PipelineVertexInputStateCreateInfo::default();
        if *does == Does::Attributes {
            input = input.vertex_binding_descriptions(&cells).vertex_attribute_descriptions(&cell);
        }
        let assembly =
            vk::PipelineInputAssemblyStateCreateInfo::default().topology(vk::PrimitiveTopology::POINT_LIST);
        let viewports = [vk::Viewport::default().width(1.0).height(1.0).max_depth(1.0)];
        let scissors = [vk::Rect2D::default().extent(vk::Extent2D { width: 1, height: 1 })];
        let viewport =
            vk::PipelineViewportStateCreateInfo::default().viewports(&viewports).scissors(&scissors);
        let rasterization = vk::PipelineRasterizationStateCreateInfo::default()
            .line_width(1.0)
            .rasterizer_discard_enable(fragment.is_none());
        let samples = vk::PipelineMultisampleStateCreateInfo::default()
            .rasterization_samples(vk::SampleCountFlags::TYPE_1);
        let info = [vk::GraphicsPipelineCreateInfo::default()
            .stages(&stages)
            .vertex_input_state(&input)
            .input_assembly_state(&assembly)
            .viewport_state(&viewport)
            .rasterization_state(&rasterization)
            .multisample_state(&samples)
            .layout(layout)
            .render_pass(self.render_pass)];
        // SAFETY: as for `compute`; the render pass lives and has no attachments.
        unsafe {
            let made = self.device.create_graphics_pipelines(vk::PipelineCache::null(), &info, None);
            stages.iter().for_each(|s| self.device.destroy_shader_module(s.module, None));
            made.unwrap()[0]
        }
    }
}

fn stage(
    module: vk::ShaderModule,
    stage: vk::ShaderStageFlags,
) -> vk::PipelineShaderStageCreateInfo<'static> {
    vk::PipelineShaderStageCreateInfo::default().stage(stage).module(module).name(c"main")
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        let device = &self.device;
        // SAFETY: made here, dropped before the backend and once it is idle.
        unsafe {
            self.pipelines.values().for_each(|p| device.destroy_pipeline(p.raw, None));
            for (set_layout, layout) in self.layouts.values() {
                device.destroy_pipeline_layout(*layout, None);
                device.destroy_descriptor_set_layout(*set_layout, None);
            }
            device.destroy_framebuffer(self.framebuffer, None);
            device.destroy_render_pass(self.render_pass, None);
        }
    }
}
