// A pass that reads nothing.

@group(0) @binding(3) var<storage, read_write> result: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    result[id.x] = id.x + 1u;
}
