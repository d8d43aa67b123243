//! Compares what came back with plain sequential code.

use crate::mesh::Mesh;
use crate::scene::Tickets;
use crate::{Failure, inputs, reference};
use memkit_gpu::MkReadback;

/// Follows the frames in order.
pub(crate) struct Verifier<'a> {
    mesh: &'a Mesh,
    particles: Vec<[u32; 4]>,
    next: u32,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(mesh: &'a Mesh) -> Self {
        Verifier { mesh, particles: inputs::particles(), next: 0 }
    }

    /// Number of frames that were right.
    pub(crate) fn verified(&self) -> u32 {
        self.next
    }

    /// Checks the next frame, whose bytes must be there.
    pub(crate) fn check(&mut self, tickets: &Tickets) -> Result<(), Failure> {
        let number = self.next;
        let instances = inputs::instances(number);
        let (args, visible) = reference::cull(&inputs::camera(number), self.mesh.indices, &instances);
        let checksum = reference::checksum(&self.mesh.positions, &instances, &visible);
        reference::particles_step(&mut self.particles);
        compare(number, "draw arguments", &tickets.args, &args)?;
        compare(number, "checksum", &tickets.checksum, &checksum)?;
        compare(number, "particles", &tickets.particles, self.particles.as_flattened())?;
        self.next += 1;
        Ok(())
    }
}

fn compare(frame: u32, what: &str, got: &MkReadback<u32>, want: &[u32]) -> Result<(), Failure> {
    let difference = got.try_read(|got| {
        let different = got.iter().zip(want).position(|(a, b)| a != b);
        different.map(|i| (i, got[i], want[i]))
    })?;
    match difference {
        None => Ok(()),
        Some((i, got, want)) => {
            Err(format!("frame {frame}: {what}, word {i} is {got:#010x}, expected {want:#010x}").into())
        }
    }
}
