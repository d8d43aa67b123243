//! Scatters uploads: a compute pipeline that moves pieces of staging memory to their places by address, and the tables
//! that say which.

mod pieces;
mod table;

use super::device::Gpu;
use super::result::refused;
use crate::MkError;
use ash::vk;
use pieces::{Alike, Offset, Piece};
use std::sync::Arc;

pub(super) use pieces::pieces;
#[cfg(test)]
pub(super) use pieces::{MANY_ALIKE, are_alike};
pub(super) use table::{Filled, Table};

const SHADER: &[u8] = include_bytes!("shaders/scatter.spv");

/// Pieces of a workgroup.
const GROUP: u32 = 4;
/// Workgroups that every device runs in one dispatch (Vulkan specification, table "Required Limits",
/// `maxComputeWorkGroupCount`).
const GROUPS: u32 = 65_535;

/// The pipeline.
pub(super) struct Scatter {
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
    gpu: Arc<Gpu>,
}

impl Scatter {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Result<Self, MkError> {
        let mut this = Scatter {
            layout: vk::PipelineLayout::null(),
            pipeline: vk::Pipeline::null(),
            gpu: Arc::clone(gpu),
        };
        let device = &gpu.device;
        let constants =
            [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(CONSTANTS)];
        let info = vk::PipelineLayoutCreateInfo::default().push_constant_ranges(&constants);
        // SAFETY: the device lives; 36 bytes of push constants are within every device's limit.
        this.layout = unsafe { device.create_pipeline_layout(&info, None) }
            .map_err(|e| gpu.failed("vkCreatePipelineLayout", e))?;
        let words = ash::util::read_spv(&mut std::io::Cursor::new(SHADER))
            .map_err(|e| MkError::Backend { call: "read_spv", source: e.into() })?;
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        // SAFETY: a SPIR-V module of version 1.5, whose capabilities are features that are enabled: `Gpu::scatter`.
        let module = unsafe { device.create_shader_module(&info, None) }
            .map_err(|e| gpu.failed("vkCreateShaderModule", e))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main");
        let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(this.layout)];
        // SAFETY: module and layout live and fit each other.
        let made = unsafe { device.create_compute_pipelines(vk::PipelineCache::null(), &info, None) };
        // SAFETY: a module is not needed once its pipeline is made.
        unsafe { device.destroy_shader_module(module, None) };
        let made = made.map_err(|(_, e)| gpu.failed("vkCreateComputePipelines", e))?;
        this.pipeline =
            made.first().copied().ok_or_else(|| refused("vkCreateComputePipelines", "it gave none"))?;
        gpu.debug.name(this.pipeline, "memkit scatter");
        Ok(this)
    }

    /// Binds the pipeline, for any number of dispatches.
    pub(super) fn bind(&self, commands: vk::CommandBuffer) {
        // SAFETY: commands are recorded; the pipeline lives as long as its recorders.
        unsafe { self.gpu.device.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, self.pipeline) };
    }

    /// Records the dispatch of some pieces with the pipeline bound: more than one dispatch only beyond 262,140 pieces.
    pub(super) fn dispatch(&self, commands: vk::CommandBuffer, filled: &Filled) {
        let device = &self.gpu.device;
        let most = (GROUP * GROUPS) as usize;
        for first in (0..filled.pieces).step_by(most) {
            let pieces = (filled.pieces - first).min(most) as u32;
            let constants = Push::new(filled, first, pieces).bytes();
            let stage = vk::ShaderStageFlags::COMPUTE;
            // SAFETY: the layout has this range; the table holds that many pieces, whose addresses are within buffers
            // that live and hold their regions, the caller of `record` says; the groups are within every device's limit.
            unsafe {
                device.cmd_push_constants(commands, self.layout, stage, 0, &constants);
                device.cmd_dispatch(commands, pieces.div_ceil(GROUP), 1, 1);
            }
        }
    }
}

/// The push constants: `Push` of `shaders/scatter.comp`.
#[derive(Clone, Copy, Debug)]
struct Push {
    table: u64,
    pieces: u32,
    /// 0 if they are not alike.
    size: u32,
    to: u64,
    from: u64,
    stride: u32,
}

/// Bytes of them.
const CONSTANTS: u32 = 36;

impl Push {
    /// For some pieces, from this one on.
    fn new(filled: &Filled, first: usize, pieces: u32) -> Self {
        let first = first as u64;
        match filled.alike {
            None => {
                let table = filled.table + first * size_of::<Piece>() as u64;
                Push { table, pieces, size: 0, to: 0, from: 0, stride: 0 }
            }
            Some(Alike { to, from, stride, size }) => {
                let table = filled.table + first * size_of::<Offset>() as u64;
                Push { table, pieces, size, to, from: from + first * u64::from(stride), stride }
            }
        }
    }

    fn bytes(&self) -> [u8; CONSTANTS as usize] {
        let mut bytes = [0; CONSTANTS as usize];
        bytes[..8].copy_from_slice(&self.table.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.pieces.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.size.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.to.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.from.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.stride.to_ne_bytes());
        bytes
    }
}

impl Drop for Scatter {
    fn drop(&mut self) {
        // SAFETY: the recorders are gone, and the backend, which waited for the device: nothing uses these. What was
        // not made is null, which these calls ignore.
        unsafe {
            self.gpu.device.destroy_pipeline(self.pipeline, None);
            self.gpu.device.destroy_pipeline_layout(self.layout, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_dispatch_goes_on_where_the_one_before_ended() {
        let alike = Alike { to: 1000, from: 2000, stride: 48, size: 40 };
        let filled = Filled { table: 1 << 50, pieces: 100, alike: Some(alike) };
        let push = Push::new(&filled, 60, 40);
        assert_eq!((push.table, push.to, push.from), ((1 << 50) + 240, 1000, 2000 + 60 * 48));
        let push = Push::new(&Filled { alike: None, ..filled }, 60, 40);
        assert_eq!((push.table, push.size, push.pieces), ((1 << 50) + 60 * 24, 0, 40));
        let bytes = Push { table: 1, pieces: 2, size: 3, to: 4, from: 5, stride: 6 }.bytes();
        let words: Vec<u32> = bytes.chunks(4).map(|w| u32::from_ne_bytes(w.try_into().unwrap())).collect();
        if cfg!(target_endian = "little") {
            assert_eq!(words, [1, 0, 2, 3, 4, 0, 5, 0, 6]);
        }
    }
}
