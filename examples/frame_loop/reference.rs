//! What every frame must give, computed plainly, one thing after the other. Shares nothing with shaders and kernels.

use std::collections::BTreeSet;

/// The indirect arguments, and which instances are visible.
pub(crate) fn cull(camera: &[i32; 16], indices: u32, instances: &[[i32; 16]]) -> ([u32; 8], BTreeSet<u32>) {
    let inside = |instance: &[i32; 16]| {
        let [x, y, z, _, radius, ..] = instance.map(i64::from);
        camera.chunks(4).all(|plane| {
            let [a, b, c, d] = [plane[0], plane[1], plane[2], plane[3]].map(i64::from);
            a * x + b * y + c * z + d >= -1024 * radius
        })
    };
    let visible: BTreeSet<u32> =
        (0_u32..).zip(instances).filter(|(_, i)| inside(i)).map(|(n, _)| n).collect();
    let n = visible.len() as u32;
    ([n, 1, 1, indices, n, 0, 0, 0], visible)
}

/// The checksum over the vertices of all visible instances.
pub(crate) fn checksum(vertices: &[[i32; 3]], instances: &[[i32; 16]], visible: &BTreeSet<u32>) -> [u32; 4] {
    // All arithmetic is modulo 2^32.
    const M: u64 = 1 << 32;
    let scramble = |h: u64| {
        let h = (h ^ h >> 16) * 0x7feb_352d % M;
        let h = (h ^ h >> 15) * 0x846c_a68b % M;
        h ^ h >> 16
    };
    let (mut sum, mut xor, mut count, mut again) = (0, 0, 0, 0);
    for &n in visible {
        let instance = instances[n as usize].map(i64::from);
        for (v, vertex) in (0_u64..).zip(vertices) {
            let [mut x, mut y, mut z] = vertex.map(i64::from);
            if instance[5] & 1 == 1 {
                (x, y, z) = (y, z, x);
            }
            if instance[5] >> 1 & 1 == 1 {
                (x, y) = (-x, -y);
            }
            if instance[5] >> 2 & 1 == 1 {
                (x, y) = (y, -x);
            }
            let mut h = scramble((u64::from(n) * 0x9e37_79b9 + v) % M);
            for (along, position) in [x, y, z].into_iter().zip(instance) {
                let world = along * instance[3] + position * 65536;
                h = scramble(h ^ world.rem_euclid(M as i64) as u64);
            }
            sum = (sum + h) % M;
            xor ^= h;
            count += 1;
            again = (again + scramble((h + 0x9e37_79b9) % M)) % M;
        }
    }
    [sum, xor, count % M, again].map(|word| word as u32)
}

/// One step of all particles.
pub(crate) fn particles_step(particles: &mut [[u32; 4]]) {
    for [position, velocity, seed, age] in particles {
        *seed = ((u64::from(*seed) * 1_664_525 + 1_013_904_223) % (1 << 32)) as u32;
        *age = age.wrapping_add(1);
        if *age > 64 + *seed / (1 << 26) {
            (*position, *velocity, *age) = (*seed / 256, 0, 0);
        } else {
            *velocity = (*velocity as i32).wrapping_add((*seed / (1 << 24)) as i32 - 128) as u32;
        }
        *position = position.wrapping_add(*velocity);
    }
}
