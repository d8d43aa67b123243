//! U1 to U5: one call an upload, one frame after the other, two in flight.

use crate::args::{Args, Mode, Work};
use crate::pages::{self, Pages};
use crate::workload::Workload;
use crate::{Failure, check, clock, report};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, MkBuffer, MkBufferDesc, MkBufferUsage, MkError, MkGpu, MkGpuBackend,
    MkMemoryType, VulkanBackend, VulkanConfig,
};
use std::time::Instant;

pub(crate) fn on_vulkan(work: Work, args: &Args) -> Result<bool, Failure> {
    let backend = VulkanBackend::new(VulkanConfig::default())?;
    run(&MkGpu::with_config(backend, args.config()), work, args)
}

pub(crate) fn on_dummy(work: Work, args: &Args) -> Result<bool, Failure> {
    let config = DummyBackendConfig { check: false, ..Default::default() };
    run(&MkGpu::with_config(DummyBackend::with_config(config), args.config()), work, args)
}

fn run<B: MkGpuBackend>(gpu: &MkGpu<B>, work: Work, args: &Args) -> Result<bool, Failure> {
    let workload = Workload::new(work, args.uploads, args.bytes)?;
    let (count, size) = workload.buffers;
    let memory = match args.mode {
        Some(Mode::Direct) => MkMemoryType::Unified,
        _ => MkMemoryType::DeviceLocal,
    };
    let desc = MkBufferDesc { name: "", size, usage: MkBufferUsage::STORAGE, memory };
    let buffers: Vec<MkBuffer> = (0..count).map(|_| gpu.create_buffer(&desc)).collect::<Result<_, _>>()?;
    // What nobody wrote cannot be read back.
    let mut zeros = gpu.begin_frame()?;
    for buffer in &buffers {
        zeros.fill(buffer, 0);
    }
    zeros.submit()?.wait()?;
    let way = match args.mode {
        Some(Mode::Now) => Way::Now,
        Some(Mode::Direct) => Way::Direct,
        Some(Mode::Import) => Way::Import(pages::import(gpu, &workload)?),
        _ => Way::Frame,
    };
    let frame = |number| frame(gpu, &way, &buffers, &workload, number);
    for number in 0..args.warmup {
        frame(number)?;
    }
    gpu.wait_idle()?;

    let mut wall = Vec::with_capacity(args.frames);
    let (process, thread, begin) = (clock::of_process(), clock::of_thread(), Instant::now());
    for number in args.warmup..args.warmup + args.frames {
        let mut result = Ok(());
        let begin = Instant::now();
        clock::region(&mut || result = frame(number));
        wall.push(begin.elapsed().as_secs_f64() * 1e6);
        result?;
    }
    let thread = since(thread, clock::of_thread(), args.frames);
    gpu.wait_idle()?;
    let mean = begin.elapsed().as_secs_f64() * 1e6 / args.frames as f64;
    let process = since(process, clock::of_process(), args.frames);

    if args.costs {
        let stats = gpu.frame_stats();
        eprintln!("{}: {}", gpu.capabilities().device_name, gpu.upload_costs()?);
        eprintln!("{} regions copied, {} scattered", stats.regions, stats.scatter_regions);
    }
    let frames = args.warmup + args.frames;
    let right = args.no_check || check::holds(&workload, frames, |i| read(gpu, &buffers[i]))?;
    let uploads = workload.frame(0).uploads.len();
    let (bytes, memory) = (workload.bytes(), clock::most_memory());
    report::Uploads { work, uploads, bytes, wall, mean, thread, process, memory, right }.print();
    Ok(right)
}

/// How bytes travel.
enum Way {
    /// As uploads of a frame.
    Frame,
    /// As direct writes of a frame.
    Direct,
    /// By `upload_now`.
    Now,
    /// As copies of a frame, from imported memory: one a different frame.
    Import(Vec<Pages>),
}

fn frame<B: MkGpuBackend>(
    gpu: &MkGpu<B>,
    way: &Way,
    buffers: &[MkBuffer],
    workload: &Workload,
    number: usize,
) -> Result<(), MkError> {
    let declared = workload.frame(number);
    if matches!(way, Way::Now) {
        for upload in &declared.uploads {
            gpu.upload_now(&buffers[upload.buffer], upload.offset, declared.bytes_of(upload))?.wait()?;
        }
        return Ok(());
    }
    let mut frame = gpu.begin_frame()?;
    for upload in &declared.uploads {
        let (to, at) = (&buffers[upload.buffer], upload.offset);
        match way {
            Way::Import(pages) => {
                let from = &pages[number % pages.len()].memory;
                frame
                    .copy(from.slice(upload.from..upload.from + upload.size), to.slice(at..at + upload.size));
            }
            Way::Direct => {
                if !frame.upload_direct(to, at, declared.bytes_of(upload))? {
                    return Err(MkError::other("an upload was not written directly"));
                }
            }
            _ => frame.upload(to, at, declared.bytes_of(upload))?,
        }
    }
    frame.submit()?;
    Ok(())
}

fn read<B: MkGpuBackend>(gpu: &MkGpu<B>, buffer: &MkBuffer) -> Result<Vec<u8>, Failure> {
    let mut frame = gpu.begin_frame()?;
    let ticket = frame.readback::<u8>(buffer, 0..buffer.size())?;
    frame.submit()?.wait()?;
    Ok(ticket.try_read(<[u8]>::to_vec)?)
}

/// Microseconds a frame between two readings of a clock.
fn since(begin: Option<u64>, end: Option<u64>, frames: usize) -> Option<f64> {
    Some((end? - begin?) as f64 / 1e3 / frames as f64)
}
