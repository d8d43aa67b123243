//! From a random case to one that a Vulkan device can really do.
//!
//! - Each byte becomes a cell of several, so that any range suits any descriptor. What overlaps what stays as it was.
//! - Uses of one pass that overlap and are not all reads become one, by a compute shader: in two commands of one pass
//!   they would race.
//! - A `write` that keeps bytes of a transient which nobody wrote would keep anything: it becomes an `overwrite`.
//! - Reads as a uniform texel buffer, which WGSL has not, become reads as a storage buffer.

use crate::acts;
use crate::random::case::{Case, Frame, Kind, Node, On, Use};
use crate::words::Acts;
use memkit_gpu::MkCapabilities;
use memkit_gpu::graph::{Access, Mode};

/// The case for a device, with cells of so many bytes.
pub(crate) fn mapped(case: &Case, cell: u64, device: &MkCapabilities) -> Case {
    let scatter = case.scatter && device.scatter_uploads;
    let mut case = Case { stages: device.stages, scatter, meaning: &Acts, ..case.clone() };
    case.pool.iter_mut().for_each(|size| *size *= cell);
    case.buffers.iter_mut().for_each(|b| b.size *= cell);
    for frame in &mut case.frames {
        map_frame(frame, cell);
    }
    case
}

fn map_frame(frame: &mut Frame, cell: u64) {
    let mut written: Vec<Vec<bool>> =
        frame.transients.iter().map(|&cells| vec![false; cells as usize]).collect();
    for node in &mut frame.nodes {
        if node.kind == Kind::Pass {
            merge(node, &written);
        }
        for u in node.uses.iter_mut().filter(|u| u.writes()) {
            let On::Transient(t) = u.on else { continue };
            let cells = &mut written[t][u.range.start as usize..u.range.end as usize];
            if u.mode == Mode::Write && cells.contains(&false) {
                u.mode = Mode::Overwrite;
            }
            cells.fill(true);
        }
        for u in &mut node.uses {
            u.range = u.range.start * cell..u.range.end * cell;
            if node.kind == Kind::Pass && !acts::is_done(u) {
                assert_eq!(u.access, Access::COMPUTE_SAMPLED_READ, "{u:?}");
                u.access = Access::COMPUTE_STORAGE_READ;
            }
        }
    }
    frame.transients.iter_mut().for_each(|size| *size *= cell);
}

/// Makes one use of those that overlap, unless all read.
fn merge(node: &mut Node, written: &[Vec<bool>]) {
    let mut merged: Vec<Use> = Vec::new();
    for mut u in node.uses.drain(..) {
        while let Some(i) = merged.iter().position(|o| o.overlaps(&u) && (o.writes() || u.writes())) {
            let other = merged.swap_remove(i);
            let reads = u.reads() || other.reads();
            let over = [u.mode, other.mode].contains(&Mode::Overwrite);
            u.range = u.range.start.min(other.range.start)..u.range.end.max(other.range.end);
            let readable = match u.on {
                On::Buffer(_) => true,
                On::Transient(t) => {
                    !written[t][u.range.start as usize..u.range.end as usize].contains(&false)
                }
            };
            u.mode = match (reads, over) {
                (true, _) if readable => Mode::Modify,
                (false, false) => Mode::Write,
                _ => Mode::Overwrite,
            };
            u.access = match u.mode {
                Mode::Modify => Access::COMPUTE_STORAGE_READ_WRITE,
                _ => Access::COMPUTE_STORAGE_WRITE,
            };
        }
        merged.push(u);
    }
    node.uses = merged;
}
