//! Uploads that travel by every method, on both backends: the same bytes, byte for byte, and nothing to object to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use memkit_gpu::graph::UploadCosts;
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, MkBuffer, MkBufferDesc, MkBufferUsage, MkError, MkGpu, MkGpuBackend,
    MkGpuConfig, MkMemoryType, MkUploadMethod,
};

/// Costs by which two small uploads are worth a dispatch.
const CHEAP: UploadCosts =
    UploadCosts { copy_region: 1000, copy_byte: 0, scatter: 1500, scatter_region: 0, scatter_byte: 1 };

const METHODS: [MkUploadMethod; 4] =
    [MkUploadMethod::Auto, MkUploadMethod::Copy, MkUploadMethod::Scatter, MkUploadMethod::Costs(CHEAP)];

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

const SIZE: usize = 12_000;

fn config(uploads: MkUploadMethod) -> MkGpuConfig {
    // Small chunks: one dispatch reads from several.
    MkGpuConfig { uploads, staging_chunk: 4096, ..Default::default() }
}

/// Frames of uploads of 1 to 4,096 bytes at any offset, over each other too, to device and host memory and to
/// transients, before and after copies. Returns how many regions were scattered.
fn run<B: MkGpuBackend>(gpu: &MkGpu<B>, seed: u64) -> Result<usize, MkError> {
    let make = |(name, memory)| {
        gpu.create_buffer(&MkBufferDesc { name, size: SIZE, usage: MkBufferUsage::STORAGE, memory })
    };
    let kinds =
        [("a", MkMemoryType::DeviceLocal), ("b", MkMemoryType::DeviceLocal), ("h", MkMemoryType::Unified)];
    let buffers: Vec<MkBuffer> = kinds.map(make).into_iter().collect::<Result<_, _>>()?;
    let mut want = vec![vec![0u8; SIZE]; buffers.len()];
    let mut random = Random(seed);
    let mut zeros = gpu.begin_frame()?;
    for buffer in &buffers {
        zeros.fill(buffer, 0);
    }
    zeros.submit()?;
    let mut scattered = 0;
    for _ in 0..6 {
        let mut frame = gpu.begin_frame()?;
        let upload = |random: &mut Random| {
            let most = [8, 70, 300, 4096][random.below(4)];
            let size = 1 + random.below(most);
            (random.below(SIZE - size), (0..size).map(|_| random.below(256) as u8).collect::<Vec<_>>())
        };
        for _ in 0..2 {
            for _ in 0..10 + random.below(20) {
                let (to, (offset, bytes)) = (random.below(buffers.len()), upload(&mut random));
                frame.upload(&buffers[to], offset, &bytes)?;
                want[to][offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            frame.copy(buffers[0].slice(5..905), buffers[1].slice(64..964));
            let (from, to) = want.split_at_mut(1);
            to[0][64..964].copy_from_slice(&from[0][5..905]);
        }
        let transient = frame.transient("t", 333);
        let (_, bytes) = upload(&mut random);
        let parts: Vec<u8> = bytes.into_iter().cycle().take(333).collect();
        parts.chunks(37).enumerate().try_for_each(|(i, part)| frame.upload(transient, 37 * i, part))?;
        frame.copy(transient, buffers[0].slice(1000..1333));
        want[0][1000..1333].copy_from_slice(&parts);
        let tickets =
            buffers.iter().map(|b| frame.readback::<u8>(b, 0..SIZE)).collect::<Result<Vec<_>, _>>()?;
        let (done, dump) = frame.submit_and_dump()?;
        done.wait()?;
        for (i, (ticket, want)) in tickets.iter().zip(&want).enumerate() {
            ticket.try_read(|got| {
                let wrong = (0..SIZE).find(|&at| got[at] != want[at]);
                assert!(wrong.is_none(), "seed {seed}, buffer {i}, byte {wrong:?}\n{dump}");
            })?;
        }
        let stats = gpu.frame_stats();
        assert_eq!(stats.scatter_regions > 0, dump.to_text().contains("  scatter "), "{dump}");
        scattered += stats.scatter_regions;
    }
    Ok(scattered)
}

/// Uploads of one size in any order to places of a row, at any offset, with bytes between them that stay, and a few others to
/// another buffer. Returns how many regions were scattered.
fn run_alike<B: MkGpuBackend>(
    gpu: &MkGpu<B>,
    size: usize,
    count: usize,
    seed: u64,
) -> Result<usize, MkError> {
    let mut random = Random(seed);
    let (first, apart) = (random.below(40), size + random.below(3) * (1 + random.below(20)));
    let buffers = [(first + apart * count + 12) / 4 * 4, SIZE]
        .map(|size| gpu.create_device_buffer(size, MkBufferUsage::STORAGE));
    let [row, other] = buffers.map(Result::unwrap);
    let mut want = [vec![0xA5; row.size()], vec![0xA5; SIZE]];
    let mut begin = gpu.begin_frame()?;
    begin.fill(&row, 0xA5A5_A5A5);
    begin.fill(&other, 0xA5A5_A5A5);
    begin.submit()?;
    let mut scattered = 0;
    for round in 0..3 {
        let mut order: Vec<usize> = (0..count).collect();
        (1..count).rev().for_each(|i| order.swap(i, random.below(i + 1)));
        let mut frame = gpu.begin_frame()?;
        for &place in &order {
            let bytes: Vec<u8> = (0..size).map(|i| (place * 7 + i + round) as u8).collect();
            let at = first + apart * place;
            frame.upload(&row, at, &bytes)?;
            want[0][at..at + size].copy_from_slice(&bytes);
        }
        for place in 0..round * 40 {
            frame.upload(&other, place * 100, &[place as u8; 77])?;
            want[1][place * 100..][..77].fill(place as u8);
        }
        frame.submit()?;
        scattered += gpu.frame_stats().scatter_regions;
        for (buffer, want) in [&row, &other].into_iter().zip(&want) {
            let mut frame = gpu.begin_frame()?;
            let ticket = frame.readback::<u8>(buffer, 0..want.len())?;
            frame.submit()?.wait()?;
            ticket.try_read(|got| {
                let wrong = (0..want.len()).find(|&at| got[at] != want[at]);
                assert!(
                    wrong.is_none(),
                    "{count} of {size} bytes, {apart} apart from {first} on, byte {wrong:?}"
                );
            })?;
        }
    }
    Ok(scattered)
}

/// Chunks of staging memory of which one has all, and of which several have some.
const CHUNKS: [usize; 2] = [1 << 20, 4096];

fn scattering(staging_chunk: usize) -> MkGpuConfig {
    MkGpuConfig { uploads: MkUploadMethod::Scatter, staging_chunk, ..Default::default() }
}

/// The same with sizes that are pieces of a scatter and those that are not, few and many.
fn run_all_alike<B: MkGpuBackend>(gpu: &MkGpu<B>) {
    for (seed, size) in (0..).zip([1, 3, 4, 16, 48, 64, 100, 256, 1000, 1009, 1010, 1024, 2048]) {
        for count in [63, 600] {
            let scattered = run_alike(gpu, size, count, seed).unwrap();
            assert!(scattered >= count, "{scattered} of {count}");
        }
    }
}

fn expected(method: MkUploadMethod, scattered: usize) {
    match method {
        MkUploadMethod::Scatter | MkUploadMethod::Costs(_) => assert!(scattered > 100, "{scattered}"),
        _ => assert_eq!(scattered, 0, "{method:?}"),
    }
}

#[test]
fn every_method_gives_the_same_bytes_on_the_simulated_device() {
    for method in METHODS {
        for adversary in [None, Some(1), Some(2)] {
            let backend = DummyBackend::with_config(DummyBackendConfig { adversary, ..Default::default() });
            let gpu = MkGpu::with_config(backend, config(method));
            expected(method, run(&gpu, 7 + adversary.unwrap_or(0)).unwrap());
            assert!(gpu.backend().hazards().is_empty(), "{}", gpu.backend().hazards()[0]);
        }
    }
}

#[test]
fn uploads_that_are_alike_arrive_on_the_simulated_device() {
    for chunk in CHUNKS {
        let gpu = MkGpu::with_config(DummyBackend::new(), scattering(chunk));
        run_all_alike(&gpu);
        assert!(gpu.backend().hazards().is_empty(), "{}", gpu.backend().hazards()[0]);
    }
}

#[test]
fn a_device_says_what_uploads_cost_and_auto_goes_by_it() {
    let device = DummyBackendConfig { upload_costs: CHEAP, ..Default::default() };
    let gpu = MkGpu::with_config(DummyBackend::with_config(device.clone()), config(MkUploadMethod::Auto));
    let buffer = gpu.create_device_buffer(400, MkBufferUsage::STORAGE).unwrap();
    let frame = |gpu: &MkGpu<DummyBackend>, uploads: usize| {
        let mut frame = gpu.begin_frame().unwrap();
        (0..uploads).for_each(|i| frame.upload(&buffer, 40 * i, &[i as u8; 20]).unwrap());
        frame.submit().unwrap();
        gpu.frame_stats().scatter_regions
    };
    assert_eq!(frame(&gpu, 7), 0, "too few to measure for");
    assert_eq!(frame(&gpu, 8), 8);
    assert_eq!(frame(&gpu, 7), 7, "the costs are known by now");
    assert_eq!(frame(&gpu, 1), 0);
    assert_eq!(gpu.upload_costs().unwrap(), CHEAP);
    // A device that cannot copies, whatever is asked for, and says so.
    let device = DummyBackendConfig { scatter_uploads: false, ..device };
    let gpu = MkGpu::with_config(DummyBackend::with_config(device), config(MkUploadMethod::Scatter));
    assert!(!gpu.capabilities().scatter_uploads);
    assert_eq!(run(&gpu, 3).unwrap(), 0);
}

#[cfg(feature = "vulkan")]
mod vulkan {
    use super::*;
    use memkit_gpu::ash::vk;
    use memkit_gpu::{VulkanBackend, VulkanConfig};

    /// Runs a test and asserts that the layer stayed silent.
    fn silent(config: MkGpuConfig, test: impl FnOnce(&MkGpu<VulkanBackend>)) {
        let validating = VulkanConfig { validation: true, ..Default::default() };
        let backend = VulkanBackend::new(validating)
            .expect("these tests need a Vulkan device and the validation layer; tests/run installs both");
        let log = backend.validation_log();
        let gpu = MkGpu::with_config(backend, config);
        test(&gpu);
        drop(gpu);
        let said: Vec<String> = log.messages().iter().map(ToString::to_string).collect();
        assert!(said.is_empty(), "the validation layer says:\n{}", said.join("\n"));
    }

    #[test]
    fn every_method_gives_the_same_bytes() {
        for method in METHODS {
            // A device each: the layer 1.3.239 takes a new buffer for one that had its handle before.
            for seed in 20..23 {
                silent(config(method), |gpu| {
                    let scattered = run(gpu, seed).unwrap();
                    // What is measured on a real device may say either.
                    if method != MkUploadMethod::Auto {
                        expected(method, scattered);
                    }
                });
            }
        }
    }

    #[test]
    fn uploads_that_are_alike_arrive() {
        for chunk in CHUNKS {
            silent(scattering(chunk), run_all_alike);
        }
    }

    #[test]
    fn more_uploads_than_one_dispatch_takes_arrive() {
        silent(scattering(4 << 20), |gpu| {
            assert_eq!(run_alike(gpu, 2, 262_141, 3).unwrap(), 3 * 262_141 + 40 + 80);
        });
    }

    #[test]
    fn a_software_device_keeps_copies_because_it_measures_so() {
        silent(config(MkUploadMethod::Auto), |gpu| {
            let costs = gpu.upload_costs().unwrap();
            println!("{}: {costs}", gpu.capabilities().device_name);
            if gpu.capabilities().device_name.contains("llvmpipe") {
                assert_eq!(run(gpu, 1).unwrap(), 0, "{costs}");
            }
        });
    }

    #[test]
    fn an_imported_buffer_is_copied_to_beside_others_that_are_scattered_to() {
        silent(config(MkUploadMethod::Scatter), |gpu| {
            let device = gpu.backend().device();
            let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
            let info = vk::BufferCreateInfo::default().size(256).usage(usage);
            // SAFETY: the device lives, the infos are valid, and the memory fits what the buffer asks for.
            let (raw, memory) = unsafe {
                let raw = device.create_buffer(&info, None).unwrap();
                let needs = device.get_buffer_memory_requirements(raw);
                let memory_type = needs.memory_type_bits.trailing_zeros();
                let info = vk::MemoryAllocateInfo::default()
                    .allocation_size(needs.size)
                    .memory_type_index(memory_type);
                let memory = device.allocate_memory(&info, None).unwrap();
                device.bind_buffer_memory(raw, memory, 0).unwrap();
                (raw, memory)
            };
            let usage = MkBufferUsage::TRANSFER_SRC | MkBufferUsage::TRANSFER_DST;
            let desc = MkBufferDesc { name: "own", size: 256, usage, ..Default::default() };
            // SAFETY: a buffer of this device as described, used by nobody else, destroyed once it is idle.
            let own = unsafe { gpu.import_buffer(raw, &desc) }.unwrap();
            let other = gpu.create_device_buffer(256, MkBufferUsage::STORAGE).unwrap();
            let mut frame = gpu.begin_frame().unwrap();
            let bytes: Vec<u8> = (0..=255).collect();
            frame.upload(&own, 0, &bytes).unwrap();
            frame.upload(&other, 0, &bytes).unwrap();
            let tickets = [frame.readback::<u8>(&own, 0..256), frame.readback::<u8>(&other, 0..256)];
            let (done, dump) = frame.submit_and_dump().unwrap();
            done.wait().unwrap();
            assert_eq!((dump.uploads.scattered, dump.uploads.out_of_reach), (1, 1), "{dump}");
            assert!(dump.to_text().contains("1 upload worth scattering copied: no address"), "{dump}");
            for ticket in tickets {
                ticket.unwrap().try_read(|got| assert_eq!(got, bytes)).unwrap();
            }
            drop(own);
            gpu.wait_idle().unwrap();
            // SAFETY: the library is done with it.
            unsafe {
                device.destroy_buffer(raw, None);
                device.free_memory(memory, None);
            }
        });
    }
}
