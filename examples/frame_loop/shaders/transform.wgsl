// Puts every vertex of every visible instance into the world and adds it to a checksum that does not depend on order.
// Dispatched indirectly, one workgroup an instance.

// x, y, z of each vertex, 16.16 fixed point.
@group(0) @binding(0) var<storage, read> vertices: array<i32>;
// 16 words each: x, y, z, scale, radius, rotation, …
@group(0) @binding(1) var<storage, read> instances: array<i32>;
@group(0) @binding(2) var<storage, read> visible: array<u32>;
// Sum, exclusive or and number of the vertices' hashes, and the sum of those mixed once more; wrapping.
@group(0) @binding(3) var<storage, read_write> checksum: array<atomic<u32>>;

const GROUP: u32 = 64u;

fn mix32(seed: u32) -> u32 {
    var h = seed;
    h = (h ^ (h >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

// One of eight: the axes change places, and two of them direction.
fn rotated(v: vec3<i32>, rotation: i32) -> vec3<i32> {
    var r = v;
    if (rotation & 1) != 0 {
        r = r.yzx;
    }
    if (rotation & 2) != 0 {
        r = vec3<i32>(-r.x, -r.y, r.z);
    }
    if (rotation & 4) != 0 {
        r = vec3<i32>(r.y, -r.x, r.z);
    }
    return r;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32) {
    if group.x >= arrayLength(&visible) {
        return;
    }
    let instance = visible[group.x];
    if instance >= arrayLength(&instances) / 16u {
        return;
    }
    let at = instance << 4u;
    let position = vec3<i32>(instances[at], instances[at + 1u], instances[at + 2u]);
    let scale = instances[at + 3u];
    let rotation = instances[at + 5u];
    let vertex_count = arrayLength(&vertices) / 3u;

    var sum = 0u;
    var xored = 0u;
    var count = 0u;
    var mixed = 0u;
    for (var v = me; v < vertex_count; v += GROUP) {
        let local = vec3<i32>(vertices[3u * v], vertices[3u * v + 1u], vertices[3u * v + 2u]);
        let world = bitcast<vec3<u32>>(rotated(local, rotation) * scale + position * 65536);
        var h = mix32(instance * 0x9e3779b9u + v);
        h = mix32(h ^ world.x);
        h = mix32(h ^ world.y);
        h = mix32(h ^ world.z);
        sum += h;
        xored ^= h;
        count += 1u;
        mixed += mix32(h + 0x9e3779b9u);
    }
    atomicAdd(&checksum[0], sum);
    atomicXor(&checksum[1], xored);
    atomicAdd(&checksum[2], count);
    atomicAdd(&checksum[3], mixed);
}
