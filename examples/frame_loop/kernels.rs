//! The passes for a device that runs Rust: the three shaders, statement by statement, over slices of words.
//!
//! A slice is the range a pass declared. Invocations run one after the other, which is one of the orders a shader allows.

/// `cull.wgsl`: writes every word of `visible` and `args`.
pub(crate) fn cull(camera: &[i32], instances: &[i32], visible: &mut [u32], args: &mut [u32]) {
    let indices = camera.get(16).copied().unwrap_or(0) as u32;
    args.copy_from_slice(&[0, 1, 1, indices, 0, 0, 0, 0]);
    visible.fill(u32::MAX);
    for i in 0..instances.len() / 16 {
        if seen(camera, instances, i) {
            let place = args[4] as usize;
            args[4] += 1;
            if place < visible.len() {
                visible[place] = i as u32;
            }
        }
    }
    args[0] = args[4];
}

fn seen(camera: &[i32], instances: &[i32], i: usize) -> bool {
    let at = i << 4;
    for plane in (0..16).step_by(4) {
        let distance = camera[plane]
            .wrapping_mul(instances[at])
            .wrapping_add(camera[plane + 1].wrapping_mul(instances[at + 1]))
            .wrapping_add(camera[plane + 2].wrapping_mul(instances[at + 2]))
            .wrapping_add(camera[plane + 3]);
        if distance.wrapping_add(instances[at + 4].wrapping_mul(1024)) < 0 {
            return false;
        }
    }
    true
}

/// `transform.wgsl`, dispatched with `groups` workgroups (word 0 of what `cull` wrote): adds to `checksum`.
pub(crate) fn transform(
    groups: u32,
    vertices: &[i32],
    instances: &[i32],
    visible: &[u32],
    checksum: &mut [u32],
) {
    for &instance in visible.iter().take(groups as usize) {
        if instance as usize >= instances.len() / 16 {
            continue;
        }
        let at = (instance as usize) << 4;
        let (scale, rotation) = (instances[at + 3], instances[at + 5]);
        for v in 0..vertices.len() / 3 {
            let local = [vertices[3 * v], vertices[3 * v + 1], vertices[3 * v + 2]];
            let mut h = mix32(instance.wrapping_mul(0x9e37_79b9).wrapping_add(v as u32));
            for (axis, along) in rotated(local, rotation).into_iter().enumerate() {
                let position = instances[at + axis].wrapping_mul(65536);
                h = mix32(h ^ along.wrapping_mul(scale).wrapping_add(position) as u32);
            }
            checksum[0] = checksum[0].wrapping_add(h);
            checksum[1] ^= h;
            checksum[2] = checksum[2].wrapping_add(1);
            checksum[3] = checksum[3].wrapping_add(mix32(h.wrapping_add(0x9e37_79b9)));
        }
    }
}

fn rotated(v: [i32; 3], rotation: i32) -> [i32; 3] {
    let mut r = v;
    if rotation & 1 != 0 {
        r = [r[1], r[2], r[0]];
    }
    if rotation & 2 != 0 {
        r = [r[0].wrapping_neg(), r[1].wrapping_neg(), r[2]];
    }
    if rotation & 4 != 0 {
        r = [r[1], r[0].wrapping_neg(), r[2]];
    }
    r
}

fn mix32(seed: u32) -> u32 {
    let h = (seed ^ seed >> 16).wrapping_mul(0x7feb_352d);
    let h = (h ^ h >> 15).wrapping_mul(0x846c_a68b);
    h ^ h >> 16
}

/// `particles.wgsl`: one step, in place.
pub(crate) fn particles(particles: &mut [u32]) {
    for p in particles.chunks_exact_mut(4) {
        let seed = p[2].wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut position = p[0];
        let mut velocity = p[1].wrapping_add(seed >> 24).wrapping_sub(128);
        let mut age = p[3].wrapping_add(1);
        if age > 64 + (seed >> 26) {
            position = seed >> 8;
            velocity = 0;
            age = 0;
        }
        p.copy_from_slice(&[position.wrapping_add(velocity), velocity, seed, age]);
    }
}
