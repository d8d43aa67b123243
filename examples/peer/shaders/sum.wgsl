// A pass that reads three buffers.

@group(0) @binding(0) var<storage, read> a: array<u32, 64>;
@group(0) @binding(1) var<storage, read> b: array<u32, 64>;
@group(0) @binding(2) var<storage, read> c: array<u32, 64>;
@group(0) @binding(3) var<storage, read_write> result: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    result[id.x] = 3u * a[id.x] + 5u * b[id.x] + 7u * c[id.x] + 1u;
}
