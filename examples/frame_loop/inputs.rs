//! The scene, frame by frame: what goes into the passes and into the reference alike.

/// Instances of the mesh.
pub(crate) const INSTANCES: usize = 1000;
/// Particles.
pub(crate) const PARTICLES: usize = 4096;
/// Words of the indirect arguments: a `VkDispatchIndirectCommand`, then a `VkDrawIndexedIndirectCommand`.
pub(crate) const ARGS: usize = 8;

/// A coordinate of the mesh as 16.16 fixed point: rounded half away from zero, held within ±16384; what is not a number
/// is 0.
pub(crate) fn quantise(x: f32) -> i32 {
    if x.is_nan() {
        return 0;
    }
    (f64::from(x.clamp(-16384.0, 16384.0)) * 65536.0).round() as i32
}

/// Four planes `(a, b, c, d)`: the left and right side of the view, near and far. A point `(x, y, z)` is inside a plane
/// if `a*x + b*y + c*z + d >= 0`. Normals are about 1024 long.
///
/// The camera walks a circle and turns the other way round.
pub(crate) fn camera(frame: u32) -> [i32; 16] {
    let walk = frame.wrapping_mul(5) as i32;
    let turn = frame.wrapping_mul(3) as i32;
    let (x, z) = (300 * sine(walk + 256) / 1024, 300 * sine(walk) / 1024);
    // An eighth of a circle to each side.
    let normals = [turn + 128, turn - 128, turn, turn + 512].map(|angle| (sine(angle + 256), -sine(angle)));
    let beyond = [0, 0, -20 * 1024, 1400 * 1024];
    let mut planes = [0; 16];
    for ((plane, (a, c)), d) in planes.chunks_exact_mut(4).zip(normals).zip(beyond) {
        plane[0] = a;
        plane[2] = c;
        plane[3] = d - a * x - c * z;
    }
    planes
}

/// What the culling pass gets: the planes, and how many indices a draw of the mesh has.
pub(crate) fn camera_block(frame: u32, indices: u32) -> [i32; 20] {
    let mut block = [0; 20];
    block[..16].copy_from_slice(&camera(frame));
    block[16] = indices as i32;
    block
}

/// All instances, 16 words each: `x`, `y`, `z` within -1000..1000, scale (1 to 8), radius, rotation (0 to 7), and ten
/// words that make each upload differ from the last.
///
/// They drift, each at its own pace, and come back on the other side.
pub(crate) fn instances(frame: u32) -> Vec<[i32; 16]> {
    (0..INSTANCES as u32)
        .map(|i| {
            let mut random = Random(i.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995);
            let mut axis = || {
                let (start, pace) = (random.below(2000), random.below(9));
                (start.wrapping_add(pace.wrapping_mul(frame)) % 2000) as i32 - 1000
            };
            let mut words = [0; 16];
            words[..3].fill_with(&mut axis);
            let scale = 1 + random.below(8) as i32;
            words[3] = scale;
            words[4] = scale * 2;
            words[5] = (random.below(8).wrapping_add(frame / 16) & 7) as i32;
            words[6..].fill_with(|| random.below(1 << 30) as i32 ^ frame as i32);
            words
        })
        .collect()
}

/// The particles before the first frame: position, velocity, seed, age.
pub(crate) fn particles() -> Vec<[u32; 4]> {
    let mut random = Random(12345);
    (0..PARTICLES).map(|_| [random.below(1 << 24), 0, random.below(u32::MAX), random.below(64)]).collect()
}

/// About 1024 times the sine of an angle of which 1024 are a circle: two parabolas.
fn sine(angle: i32) -> i32 {
    let angle = angle & 1023;
    let half = angle & 511;
    let height = half * (512 - half) / 64;
    if angle < 512 { height } else { -height }
}

struct Random(u32);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((self.0 >> ((self.0 >> 28) + 4)) ^ self.0).wrapping_mul(277_803_737);
        ((word >> 22) ^ word) % end
    }
}
