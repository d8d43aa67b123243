//! G1 and G2 as whole frames on Vulkan: declared, planned, recorded with a dispatch a pass, and submitted. Declaring
//! and planning are through the frame here, closures and kept buffers included. What the last frame left is checked.
//! After each frame the same dispatches run by hand, to be compared with.

use crate::args::{Args, Work};
use crate::by_hand::ByHand;
use crate::dispatch::{BUFFER, Dispatches, READS, wanted};
use crate::graphs::{iterations, reads};
use crate::timer::Timer;
use crate::{Failure, clock, report};
use memkit_gpu::{
    Access, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame, MkGpu, MkReadback, MkSlice, VulkanBackend,
    VulkanConfig,
};
use std::time::{Duration, Instant};

pub(crate) fn run(work: Work, args: &Args) -> Result<bool, Failure> {
    let gpu = MkGpu::new(VulkanBackend::new(VulkanConfig::default())?);
    let make = |_| gpu.create_device_buffer(BUFFER, MkBufferUsage::STORAGE);
    let scene = Scene {
        work,
        buffers: (0..args.passes).map(make).collect::<Result<_, _>>()?,
        dispatches: Dispatches::new(gpu.backend(), args.passes)?,
        timer: Timer::new(gpu.backend())?,
        by_hand: ByHand::new(gpu.backend())?,
        gpu,
    };
    let iterations = iterations(args);
    // The first frame also writes the descriptor sets.
    scene.frame(true)?;
    for _ in 0..args.warmup.min(iterations) {
        scene.frame(false)?;
        scene.by_hand()?;
    }
    let mut times = report::Graphs::default();
    let mut beside = report::Beside::default();
    for _ in 0..iterations {
        let mut frame = None;
        clock::region(&mut || frame = Some(scene.frame(false)));
        if let Some(frame) = frame {
            let Times { declare, plan, record, submit, gpu } = frame?;
            times.add(declare, plan, record + submit);
            beside.ours(record, gpu);
        }
        let (record, gpu) = scene.by_hand()?;
        beside.by_hand(record, gpu);
    }
    times.print(work, args.passes, Some(beside));
    Ok(args.no_check || scene.holds()?)
}

struct Scene {
    work: Work,
    buffers: Vec<MkDeviceBuffer>,
    // Before the device goes.
    dispatches: Dispatches,
    timer: Timer,
    by_hand: ByHand,
    gpu: MkGpu<VulkanBackend>,
}

/// Nanoseconds that the parts of a frame took the calling thread, planning with all that is none of the others; and the
/// device.
struct Times {
    declare: f64,
    plan: f64,
    record: f64,
    submit: f64,
    gpu: f64,
}

impl Scene {
    /// Runs one frame and waits for it.
    fn frame(&self, first: bool) -> Result<Times, MkError> {
        let nanoseconds = |time: Duration| time.as_nanos() as f64;
        let mut frame = self.gpu.begin_frame()?;
        let begin = Instant::now();
        self.declare(&mut frame, first);
        let declare = nanoseconds(begin.elapsed());
        let begin = Instant::now();
        let fence = frame.submit()?;
        let all = nanoseconds(begin.elapsed());
        let stats = self.gpu.frame_stats();
        let (record, submit) = (nanoseconds(stats.record), nanoseconds(stats.submit));
        fence.wait()?;
        let gpu = self.timer.nanoseconds()?;
        Ok(Times { declare, plan: all - record - submit, record, submit, gpu })
    }

    /// Runs the same dispatches by hand, and waits for them. Returns the nanoseconds that recording took, and the device.
    fn by_hand(&self) -> Result<(f64, f64), MkError> {
        let frame = (self.work, self.buffers.len());
        let record = self.by_hand.frame(self.gpu.backend(), &self.dispatches, &self.timer, frame)?;
        Ok((record.as_nanos() as f64, self.timer.nanoseconds()?))
    }

    fn declare<'f>(&'f self, frame: &mut MkFrame<'f, VulkanBackend>, first: bool) {
        // It touches nothing, so it comes before every barrier; the last pass is recorded last.
        frame.pass("begin").side_effects().record(|cx| {
            self.timer.begin(cx.command_buffer());
            Ok(())
        });
        let last = self.buffers.len() - 1;
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
                self.dispatches.record(cx.device(), cx.command_buffer(), i, count);
                if i == last {
                    self.timer.end(cx.command_buffer());
                }
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
