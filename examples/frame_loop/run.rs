//! The loop.

use crate::Failure;
use crate::args::Args;
use crate::bodies::Bodies;
use crate::mesh::Mesh;
use crate::report::Report;
use crate::scene::{Scene, Tickets};
use crate::verify::Verifier;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use memkit_gpu::{FrameDump, MkGpu, MkGpuBackend};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

/// Runs the frames, checks each, and prints the table.
pub(crate) fn run<B: MkGpuBackend>(
    gpu: &MkGpu<B>,
    bodies: &mut (impl Bodies<B> + Sync),
    args: &Args,
    mesh: &Mesh,
) -> Result<(), Failure> {
    let scene = Scene::new(gpu, mesh, args.corrupt_mesh)?;
    let mut verifier = Verifier::new(mesh);
    let mut report = Report::default();
    let mut waiting: VecDeque<Tickets> = VecDeque::new();
    let bar = progress(args.frames);
    for number in 0..args.frames {
        let mut frame = gpu.begin_frame()?;
        // `begin_frame` waited for the frame submitted this long ago, so its bytes are there.
        if number >= args.in_flight
            && let Some(tickets) = waiting.pop_front()
        {
            verifier.check(&tickets)?;
        }
        bodies.begin(number)?;
        let begin = Instant::now();
        let tickets = scene.declare(&mut frame, number, &*bodies)?;
        let declared = begin.elapsed();
        let before = gpu.fence();
        let done = match &args.dump {
            Some(dir) if number < 2 => {
                let (done, dump) = frame.submit_and_dump()?;
                write_dump(dir, number, &dump)?;
                done
            }
            _ => frame.submit()?,
        };
        waiting.push_back(tickets);
        // Each submit moves the timeline on by one.
        report.add(declared, gpu.frame_stats(), done.value() - before.value());
        bar.inc(1);
    }
    gpu.wait_idle()?;
    for tickets in waiting {
        verifier.check(&tickets)?;
    }
    bar.finish_and_clear();
    if let Some(first) = bodies.objections().first() {
        return Err(format!("the validation layer objects: {first}").into());
    }
    println!("{}", gpu.capabilities().device_name);
    report.print(mesh.positions.len(), verifier.verified(), args.frames);
    Ok(())
}

fn progress(frames: u32) -> ProgressBar {
    // Drawn on a terminal only.
    let bar = ProgressBar::with_draw_target(Some(u64::from(frames)), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} frames {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn write_dump(dir: &Path, number: u32, dump: &FrameDump) -> Result<(), Failure> {
    let failed = |e| format!("cannot write dumps to {}: {e}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    let files = [
        ("txt", dump.to_text()),
        ("dot", dump.to_dot()),
        ("mmd", dump.to_mermaid()),
        ("json", dump.to_json()?),
    ];
    for (extension, text) in files {
        std::fs::write(dir.join(format!("frame-{number}.{extension}")), text).map_err(failed)?;
    }
    Ok(())
}
