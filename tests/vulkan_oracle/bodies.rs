//! Records the acts of passes.

use crate::acts::{self, Act, Stage};
use crate::pipelines::{Does, Pipelines, bindings};
use crate::random::case::{Case, Kind, Node};
use crate::random::run::{Bodies, Body};
use crate::words;
use memkit_gpu::ash::{self, vk};
use memkit_gpu::graph::Mode;
use memkit_gpu::{MkError, VulkanBackend, VulkanBuffer, VulkanContext};
use std::collections::BTreeSet;

/// An act, with its part of the reports and of the constants.
pub(crate) struct Placed {
    pub(crate) act: Act,
    pub(crate) report: u64,
    constants: u64,
}

/// The acts of a sequence: by frame, node and act.
pub(crate) struct Layout {
    pub(crate) acts: Vec<Vec<Vec<Placed>>>,
    /// Bytes of all reports.
    pub(crate) reports: u64,
    pub(crate) constants: Vec<u8>,
    cell: u64,
}

impl Layout {
    pub(crate) fn new(case: &Case, cell: u64) -> Self {
        // One buffer is made of each: neither may be empty.
        let mut layout = Layout { acts: Vec::new(), reports: cell, constants: vec![0; cell as usize], cell };
        for frame in &case.frames {
            let nodes =
                frame.nodes.iter().map(|n| if n.kind == Kind::Pass { layout.place(n) } else { Vec::new() });
            let nodes = nodes.collect();
            layout.acts.push(nodes);
        }
        layout
    }

    fn place(&mut self, node: &Node) -> Vec<Placed> {
        let acts = acts::acts(node).into_iter().enumerate();
        acts.map(|(i, act)| {
            let report = self.reports;
            self.reports += (act.report_len(&node.uses) as u64 * 4).next_multiple_of(self.cell);
            let constants = self.constants.len() as u64;
            self.constants.extend(words::bytes(&constants_of(node, i, &act)));
            self.constants.resize(self.constants.len().next_multiple_of(self.cell as usize), 0);
            Placed { act, report, constants }
        })
        .collect()
    }
}

fn len(node: &Node, at: usize) -> u64 {
    node.uses[at].range.end - node.uses[at].range.start
}

/// The parameters of a shader, or what is copied.
fn constants_of(node: &Node, i: usize, act: &Act) -> Vec<u32> {
    let hash = acts::hash_of(node, i);
    match act {
        Act::Shader(_, touches) => {
            let params =
                touches.iter().flat_map(|t| [(len(node, t.at) / 4) as u32, u32::from(t.mode == Mode::Write)]);
            std::iter::once(hash).chain(params).collect()
        }
        // The draw with indices needs none, but something has to be bound.
        Act::Dispatch(_) | Act::Attributes(_) | Act::Indices(_) => vec![hash],
        Act::CopyOut(_) => Vec::new(),
        Act::CopyIn(at, _) | Act::Update(at) => {
            let mut words = vec![0; (len(node, *at) / 4) as usize];
            words::put(hash, Mode::Overwrite, &mut words);
            words
        }
    }
}

/// Records a sequence.
pub(crate) struct Recorder<'a> {
    pub(crate) device: ash::Device,
    pub(crate) pipelines: &'a mut Pipelines,
    pub(crate) layout: &'a Layout,
    pub(crate) reports: VulkanBuffer,
    pub(crate) constants: VulkanBuffer,
    /// One for each set; to be destroyed when all is done.
    pub(crate) pool: vk::DescriptorPool,
    /// Frame and position of what was recorded.
    pub(crate) recorded: BTreeSet<(usize, usize)>,
}

/// A pool with a set for each act of a sequence.
pub(crate) fn descriptor_pool(device: &ash::Device, layout: &Layout) -> vk::DescriptorPool {
    let acts = layout.acts.iter().flatten().flatten();
    let does: Vec<Does> = acts.filter_map(|p| pipeline(&p.act)).collect();
    let count = |ty| does.iter().flat_map(bindings).filter(|t| *t == ty).count() as u32;
    let sizes = [vk::DescriptorType::STORAGE_BUFFER, vk::DescriptorType::UNIFORM_BUFFER]
        .map(|ty| vk::DescriptorPoolSize { ty, descriptor_count: count(ty).max(1) });
    let info = vk::DescriptorPoolCreateInfo::default().max_sets(does.len().max(1) as u32).pool_sizes(&sizes);
    // SAFETY: the device lives.
    unsafe { device.create_descriptor_pool(&info, None).unwrap() }
}

/// The pipeline an act needs.
fn pipeline(act: &Act) -> Option<Does> {
    match act {
        Act::Shader(stage, touches) => Some(Does::Shader(*stage, touches.iter().map(|t| t.kind).collect())),
        Act::Dispatch(_) => Some(Does::Dispatch),
        Act::Attributes(_) => Some(Does::Attributes),
        Act::Indices(_) => Some(Does::Indices),
        Act::CopyOut(_) | Act::CopyIn(..) | Act::Update(_) => None,
    }
}

impl Bodies<VulkanBackend> for Recorder<'_> {
    fn record(&mut self, body: Body<'_, VulkanBackend>, cx: &mut VulkanContext<'_>) -> Result<(), MkError> {
        self.recorded.insert((body.frame, body.position));
        let layout = self.layout;
        for placed in &layout.acts[body.frame][body.position] {
            self.act(&body, placed, cx.command_buffer());
        }
        Ok(())
    }
}

impl Recorder<'_> {
    fn act(&mut self, body: &Body<'_, VulkanBackend>, placed: &Placed, commands: vk::CommandBuffer) {
        self.bind(body, placed, commands);
        let device = &self.device;
        let uses = &body.node.uses;
        let at = |at: usize| (body.buffers[at].raw(), uses[at].range.start, len(body.node, at));
        // SAFETY: the command buffer is being recorded; what the command needs is bound, and what it accesses is declared
        // by the pass or its own part of the reports and constants, all of which live until the sequence is done. The
        // arguments of the dispatch are small, see `words.rs`.
        unsafe {
            match placed.act {
                Act::Shader(Stage::Compute, _) => device.cmd_dispatch(commands, 1, 1, 1),
                Act::Shader(..) => self.draw(commands, || device.cmd_draw(commands, 1, 1, 0, 0)),
                Act::Dispatch(u) => {
                    let (buffer, offset, _) = at(u);
                    device.cmd_dispatch_indirect(commands, buffer, offset);
                }
                Act::Attributes(u) => {
                    let (buffer, offset, size) = at(u);
                    device.cmd_bind_vertex_buffers(commands, 0, &[buffer], &[offset]);
                    self.draw(commands, || device.cmd_draw(commands, (size / 16) as u32, 1, 0, 0));
                }
                Act::Indices(u) => {
                    let (buffer, offset, size) = at(u);
                    device.cmd_bind_index_buffer(commands, buffer, offset, vk::IndexType::UINT32);
                    self.draw(commands, || {
                        device.cmd_draw_indexed(commands, (size / 4) as u32, 1, 0, 0, 0);
                    });
                }
                Act::CopyOut(u) => {
                    let (from, src_offset, size) = at(u);
                    let region = vk::BufferCopy { src_offset, dst_offset: placed.report, size };
                    device.cmd_copy_buffer(commands, from, self.reports.raw(), &[region]);
                }
                Act::CopyIn(u, mode) => {
                    let (to, offset, size) = at(u);
                    let words =
                        (0..(size / 4) as u32).filter(|w| mode == Mode::Overwrite || words::is_written(*w));
                    let word = |w: u32| vk::BufferCopy {
                        src_offset: placed.constants + u64::from(w) * 4,
                        dst_offset: offset + u64::from(w) * 4,
                        size: 4,
                    };
                    let regions: Vec<_> = words.map(word).collect();
                    device.cmd_copy_buffer(commands, self.constants.raw(), to, &regions);
                }
                Act::Update(u) => {
                    let (to, offset, size) = at(u);
                    let start = placed.constants as usize;
                    let bytes = &self.layout.constants[start..start + size as usize];
                    device.cmd_update_buffer(commands, to, offset, bytes);
                }
            }
        }
    }

    /// Binds the pipeline of an act, if it has one, with its report, its parameters and its uses.
    fn bind(&mut self, body: &Body<'_, VulkanBackend>, placed: &Placed, commands: vk::CommandBuffer) {
        let Some(does) = pipeline(&placed.act) else { return };
        let pipeline = self.pipelines.get(&does);
        let part = |buffer: &VulkanBuffer, offset: u64, range: u64| vk::DescriptorBufferInfo {
            buffer: buffer.raw(),
            offset,
            range,
        };
        let node = body.node;
        let report = placed.act.report_len(&node.uses) as u64 * 4;
        let params = 4 * constants_len(&placed.act);
        let mut infos =
            vec![part(&self.reports, placed.report, report), part(&self.constants, placed.constants, params)];
        if let Act::Shader(_, touches) = &placed.act {
            let uses = touches.iter();
            infos.extend(
                uses.map(|t| part(&body.buffers[t.at], node.uses[t.at].range.start, len(node, t.at))),
            );
        }
        let layouts = [pipeline.set_layout];
        let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(self.pool).set_layouts(&layouts);
        // SAFETY: the pool has room for a set for each act, and nobody else uses it.
        let sets = unsafe { self.device.allocate_descriptor_sets(&info).unwrap() };
        let writes: Vec<_> = (0..)
            .zip(&infos)
            .zip(bindings(&does))
            .map(|((binding, info), ty)| {
                vk::WriteDescriptorSet::default()
                    .dst_set(sets[0])
                    .dst_binding(binding)
                    .descriptor_type(ty)
                    .buffer_info(std::slice::from_ref(info))
            })
            .collect();
        // SAFETY: the set is new; the buffers live, have every usage, and the ranges are aligned to cells.
        unsafe {
            self.device.update_descriptor_sets(&writes, &[]);
            self.device.cmd_bind_pipeline(commands, pipeline.point, pipeline.raw);
            self.device.cmd_bind_descriptor_sets(commands, pipeline.point, pipeline.layout, 0, &sets, &[]);
        }
    }

    fn draw(&self, commands: vk::CommandBuffer, draw: impl FnOnce()) {
        let info = vk::RenderPassBeginInfo::default()
            .render_pass(self.pipelines.render_pass)
            .framebuffer(self.pipelines.framebuffer)
            .render_area(vk::Rect2D::default().extent(vk::Extent2D { width: 1, height: 1 }));
        // SAFETY: the command buffer is being recorded, outside any render pass; this one has no attachments.
        unsafe {
            self.device.cmd_begin_render_pass(commands, &info, vk::SubpassContents::INLINE);
            draw();
            self.device.cmd_end_render_pass(commands);
        }
    }
}

/// Words of the parameters of a shader.
fn constants_len(act: &Act) -> u64 {
    if let Act::Shader(_, touches) = act { 1 + 2 * touches.len() as u64 } else { 1 }
}
