//! G1 and G2 as whole frames on Vulkan: declared, planned, recorded with a dispatch a pass, and submitted. Declaring
//! and planning are through the frame here, closures and kept buffers included. What the last frame left is checked.

use crate::args::{Args, Work};
use crate::dispatch::{BUFFER, Dispatches, READS, wanted};
use crate::graphs::{iterations, reads};
use crate::{Failure, clock, report};
use memkit_gpu::{
    Access, MkBufferUsage, MkDeviceBuffer, MkError, MkFence, MkFrame, MkGpu, MkReadback, MkSlice,
    VulkanBackend, VulkanConfig,
};
use std::time::{Duration, Instant};

pub(crate) fn run(work: Work, args: &Args) -> Result<bool, Failure> {
    let gpu = MkGpu::new(VulkanBackend::new(VulkanConfig::default())?);
    let make = |_| gpu.create_device_buffer(BUFFER, MkBufferUsage::STORAGE);
    let scene = Scene {
        work,
        buffers: (0..args.passes).map(make).collect::<Result<_, _>>()?,
        dispatches: Dispatches::new(gpu.backend(), args.passes)?,
        gpu,
    };
    let iterations = iterations(args);
    // The first frame also writes the descriptor sets.
    scene.frame(true)?.1.wait()?;
    for _ in 0..args.warmup.min(iterations) {
        scene.frame(false)?.1.wait()?;
    }
    let mut times = report::Graphs::default();
    for _ in 0..iterations {
        let mut result = None;
        clock::region(&mut || result = Some(scene.frame(false)));
        if let Some(frame) = result {
            let (time, fence) = frame?;
            fence.wait()?;
            let [declare, plan, record] = time.map(|t| t.as_nanos() as f64);
            times.add(declare, plan, record);
        }
    }
    times.print(work, args.passes);
    Ok(args.no_check || scene.holds()?)
}

struct Scene {
    work: Work,
    buffers: Vec<MkDeviceBuffer>,
    // Before the device goes.
    dispatches: Dispatches,
    gpu: MkGpu<VulkanBackend>,
}

impl Scene {
    /// Runs one frame. Returns what declaring took, what planning took with all that is neither recording nor
    /// submitting, and what these two took.
    fn frame(&self, first: bool) -> Result<([Duration; 3], MkFence), MkError> {
        let mut frame = self.gpu.begin_frame()?;
        let begin = Instant::now();
        self.declare(&mut frame, first);
        let declared = Instant::now();
        let fence = frame.submit()?;
        let submit = declared.elapsed();
        let stats = self.gpu.frame_stats();
        let record = stats.record + stats.submit;
        Ok(([declared - begin, submit.saturating_sub(record), record], fence))
    }

    fn declare<'f>(&'f self, frame: &mut MkFrame<'f, VulkanBackend>, first: bool) {
        for (i, written) in self.buffers.iter().enumerate() {
            let mut pass = frame.pass("pass");
            for read in reads(self.work, i) {
                pass = pass.read(&self.buffers[read], Access::COMPUTE_STORAGE_READ);
            }
            pass.overwrite(written, Access::COMPUTE_STORAGE_WRITE).record(move |cx| {
                let mut count = 0;
                let mut slices: [MkSlice<'_>; READS] = [written.into(); READS];
                for (slice, read) in slices.iter_mut().zip(reads(self.work, i)) {
                    *slice = (&self.buffers[read]).into();
                    count += 1;
                }
                if first {
                    self.dispatches.write_set(cx, i, &slices[..count], written.into())?;
                }
                self.dispatches.record(cx, i, count);
                Ok(())
            });
        }
    }

    /// Reads all buffers back and compares them.
    fn holds(&self) -> Result<bool, Failure> {
        let mut frame = self.gpu.begin_frame()?;
        let words = BUFFER / size_of::<u32>();
        let tickets: Vec<MkReadback<u32>> =
            self.buffers.iter().map(|b| frame.readback(b, 0..words)).collect::<Result<_, _>>()?;
        frame.submit()?.wait()?;
        let mut right = true;
        let wanted = wanted(self.buffers.len(), |i| reads(self.work, i).collect());
        for (i, (ticket, wanted)) in tickets.iter().zip(&wanted).enumerate() {
            if !ticket.try_read(|found| found == wanted)? {
                eprintln!("buffer {i} does not hold what its pass should have written");
                right = false;
            }
        }
        Ok(right)
    }
}
