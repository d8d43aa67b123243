//! The shaders, written for what they access. What they compute is in `words.rs` too.

use crate::acts::{INDICES, Kind, Stage};
use crate::words::PRIMES;
use std::fmt::Write;

/// Most words of a uniform buffer.
pub(crate) const UNIFORM_WORDS: u64 = 4096;

/// A shader that accesses uses of these kinds, as bindings 2 and up. Binding 0 is its report; binding 1 gives the hash to
/// begin with, and for each use its words and whether a write keeps every third.
pub(crate) fn shader(stage: Stage, kinds: &[Kind]) -> String {
    let mut text = preamble();
    let _ = writeln!(text, "@group(0) @binding(1) var<storage, read> params: Words;");
    let (mut reads, mut writes) = (String::new(), String::new());
    for (k, kind) in kinds.iter().enumerate() {
        let (binding, len, keeps) = (k + 2, 2 * k + 1, 2 * k + 2);
        let (space, ty) = match kind {
            Kind::Read => ("storage, read", "Words".to_owned()),
            Kind::Uniform => ("uniform", format!("array<vec4<u32>, {}>", UNIFORM_WORDS / 4)),
            Kind::Write | Kind::Modify => ("storage, read_write", "Words".to_owned()),
        };
        let _ = writeln!(text, "@group(0) @binding({binding}) var<{space}> b{k}: {ty};");
        let each = format!("for (var i = 0u; i < params.words[{len}]; i++)");
        match kind {
            Kind::Read | Kind::Modify => {
                let _ = writeln!(reads, "    {each} {{ h = mix(h, b{k}.words[i]); }}");
            }
            Kind::Uniform => {
                let _ = writeln!(reads, "    {each} {{ h = mix(h, b{k}[i / 4u][i % 4u]); }}");
            }
            Kind::Write => {}
        }
        let new = format!("choice(mix(h, {k}u), i)");
        match kind {
            Kind::Write => {
                let kept = format!("params.words[{keeps}] == 1u && i % 3u == 2u");
                let _ = writeln!(writes, "    {each} {{ if !({kept}) {{ b{k}.words[i] = 1u + {new}; }} }}");
            }
            Kind::Modify => {
                let _ = writeln!(
                    writes,
                    "    {each} {{ b{k}.words[i] = 1u + (((b{k}.words[i] - 1u) & 3u) ^ {new}); }}"
                );
            }
            Kind::Read | Kind::Uniform => {}
        }
    }
    let body = format!("    var h = params.words[0];\n{reads}    report.words[0] = h;\n{writes}");
    text += &match stage {
        Stage::Compute => format!("@compute @workgroup_size(1) fn main() {{\n{body}}}"),
        Stage::Vertex => format!("@vertex fn main() -> @builtin(position) vec4<f32> {{\n{body}    {AT}\n}}"),
        Stage::Fragment => format!("@fragment fn main() {{\n{body}}}"),
    };
    text
}

/// Arrays are in a structure, else naga makes two access chains of each access, and the layer 1.3.239 follows one: it would
/// take what is written for what is read.
fn preamble() -> String {
    format!(
        "struct Words {{ words: array<u32> }}
@group(0) @binding(0) var<storage, read_write> report: Words;
fn mix(hash: u32, word: u32) -> u32 {{ let h = (hash ^ word) * {}u; return h ^ (h >> 15u); }}
fn choice(hash: u32, at: u32) -> u32 {{ return (mix(hash, at) * {}u) >> 30u; }}
",
        PRIMES[0], PRIMES[1]
    )
}

/// Where the point is.
const AT: &str = "return vec4(0.0, 0.0, 0.0, 1.0);";

/// A vertex shader that only says where the point is.
pub(crate) const POINT: &str =
    "@vertex fn main() -> @builtin(position) vec4<f32> { return vec4(0.0, 0.0, 0.0, 1.0); }";

/// A compute shader that reports how large the dispatch is.
pub(crate) fn dispatch() -> String {
    preamble()
        + "@group(0) @binding(1) var<storage, read> params: Words;
@compute @workgroup_size(1)
fn main(@builtin(num_workgroups) n: vec3<u32>, @builtin(workgroup_id) id: vec3<u32>) {
    if all(id == vec3(0u)) { report.words[0] = mix(mix(mix(params.words[0], n.x), n.y), n.z); }
}"
}

/// A vertex shader that reports each vertex.
pub(crate) fn attributes() -> String {
    preamble()
        + "@group(0) @binding(1) var<storage, read> params: Words;
@vertex
fn main(@builtin(vertex_index) i: u32, @location(0) cell: vec4<u32>) -> @builtin(position) vec4<f32> {
    report.words[i] = mix(mix(mix(mix(params.words[0], cell.x), cell.y), cell.z), cell.w);
    return vec4(0.0, 0.0, 0.0, 1.0);
}"
}

/// A vertex shader that reports which indices there are; none is 0, where those go that cannot be.
pub(crate) fn indices() -> String {
    preamble()
        + &format!(
            "@vertex
fn main(@builtin(vertex_index) i: u32) -> @builtin(position) vec4<f32> {{
    report.words[select(0u, i, i < {INDICES}u)] = 1u;
    return vec4(0.0, 0.0, 0.0, 1.0);
}}"
        )
}
