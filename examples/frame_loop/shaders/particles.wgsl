// Moves each particle one step, in place: what it becomes follows from what it was, and from nothing else.

// Position, velocity, seed and age of each particle.
@group(0) @binding(0) var<storage, read_write> particles: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&particles) / 4u {
        return;
    }
    let at = id.x << 2u;
    let seed = particles[at + 2u] * 1664525u + 1013904223u;
    var position = particles[at];
    var velocity = particles[at + 1u] + (seed >> 24u) - 128u;
    var age = particles[at + 3u] + 1u;
    if age > 64u + (seed >> 26u) {
        position = seed >> 8u;
        velocity = 0u;
        age = 0u;
    }
    particles[at] = position + velocity;
    particles[at + 1u] = velocity;
    particles[at + 2u] = seed;
    particles[at + 3u] = age;
}
