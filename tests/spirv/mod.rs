//! WGSL to SPIR-V.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "tests")]

use naga::ShaderStage;
use naga::back::spv;

/// SPIR-V 1.3 of a shader whose entry point is `main`; with names, without bounds checks.
pub fn compile(source: &str, stage: ShaderStage) -> Vec<u32> {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let point_size = if stage == ShaderStage::Vertex {
        spv::WriterFlags::FORCE_POINT_SIZE
    } else {
        spv::WriterFlags::empty()
    };
    // What depends on the build profile or on other users of naga is stated, so that the bytes do not depend on it.
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::DEBUG | point_size,
        bounds_check_policies: naga::proc::BoundsCheckPolicies::default(),
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: "main".to_owned() };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap()
}
