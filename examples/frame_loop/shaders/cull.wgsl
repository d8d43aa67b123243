// Which instances the camera sees, and the arguments of the indirect commands that follow.
// One workgroup; the order of the visible list is not defined, its content is.

// Words 0..16: four planes (a, b, c, d), seen is a*x + b*y + c*z + d + 1024*radius >= 0. |a|, |b|, |c| <= 1024,
// |x|, |y|, |z| <= 1024, |d| <= 2^30 and 0 <= radius <= 2^16 keep every sum within 32 bits.
// Word 16, if there is one: indices of the mesh, for the draw.
@group(0) @binding(0) var<storage, read> camera: array<i32>;
// 16 words each: x, y, z, scale, radius, rotation, and ten that are not looked at here.
@group(0) @binding(1) var<storage, read> instances: array<i32>;
// Numbers of the visible instances; the rest is 0xffffffff. As long as there are instances.
@group(0) @binding(2) var<storage, read_write> visible: array<u32>;
// Words 0..3 are a VkDispatchIndirectCommand, 3..8 a VkDrawIndexedIndirectCommand.
@group(0) @binding(3) var<storage, read_write> args: array<atomic<u32>>;

const GROUP: u32 = 256u;
const INSTANCE_COUNT: u32 = 4u;

fn seen(i: u32) -> bool {
    let at = i << 4u;
    for (var plane = 0u; plane < 16u; plane += 4u) {
        let distance = camera[plane] * instances[at]
            + camera[plane + 1u] * instances[at + 1u]
            + camera[plane + 2u] * instances[at + 2u]
            + camera[plane + 3u];
        if distance + 1024 * instances[at + 4u] < 0 {
            return false;
        }
    }
    return true;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) me: u32) {
    if me == 0u {
        var indices = 0u;
        if arrayLength(&camera) > 16u {
            indices = bitcast<u32>(camera[16]);
        }
        atomicStore(&args[0], 0u);
        atomicStore(&args[1], 1u);
        atomicStore(&args[2], 1u);
        atomicStore(&args[3], indices);
        atomicStore(&args[4], 0u);
        atomicStore(&args[5], 0u);
        atomicStore(&args[6], 0u);
        atomicStore(&args[7], 0u);
    }
    for (var i = me; i < arrayLength(&visible); i += GROUP) {
        visible[i] = 0xffffffffu;
    }
    storageBarrier();
    let instance_count = arrayLength(&instances) / 16u;
    for (var i = me; i < instance_count; i += GROUP) {
        if seen(i) {
            let place = atomicAdd(&args[INSTANCE_COUNT], 1u);
            if place < arrayLength(&visible) {
                visible[place] = i;
            }
        }
    }
    storageBarrier();
    if me == 0u {
        atomicStore(&args[0], atomicLoad(&args[INSTANCE_COUNT]));
    }
}
