// A pass that reads one buffer.

@group(0) @binding(0) var<storage, read> source: array<u32, 64>;
@group(0) @binding(3) var<storage, read_write> result: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    result[id.x] = 3u * source[id.x] + 1u;
}
