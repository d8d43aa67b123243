//! The facade on a Vulkan device, under validation and synchronization validation: right bytes and not one message,
//! until after everything is dropped. Without a device these tests fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use memkit_gpu::ash::vk;
use memkit_gpu::{
    Access, MkBuffer, MkBufferDesc, MkBufferUsage, MkError, MkFrame, MkGpu, MkGpuConfig, MkMemoryType,
    MkReadback, MkSlice, MkValidationLog, VulkanBackend, VulkanConfig, VulkanContext,
};

type Gpu = MkGpu<VulkanBackend>;

/// Runs a test, which drops the `MkGpu` as it likes, and asserts that the layer stayed silent.
#[track_caller]
fn silent(config: MkGpuConfig, test: impl FnOnce(Gpu)) {
    let backend = VulkanBackend::new(VulkanConfig {
        app_name: "memkit-gpu tests".into(),
        validation: true,
        ..Default::default()
    })
    .expect("these tests need a Vulkan device and the validation layer; tests/run installs both");
    let log: MkValidationLog = backend.validation_log();
    test(MkGpu::with_config(backend, config));
    let said: Vec<String> = log.messages().iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "the validation layer says:\n{}", said.join("\n"));
}

fn buffer(gpu: &Gpu, name: &str, size: usize) -> MkBuffer {
    gpu.create_buffer(&MkBufferDesc { name, size, usage: MkBufferUsage::STORAGE, ..Default::default() })
        .unwrap()
}

fn words(seed: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761) ^ seed).collect()
}

/// A pass that copies by hand, as an engine's own commands would.
fn copy_pass<'f>(
    frame: &mut MkFrame<'f, VulkanBackend>,
    name: &str,
    from: impl Into<MkSlice<'static>> + Copy + Send + 'f,
    to: impl Into<MkSlice<'static>> + Copy + Send + 'f,
) {
    frame.pass(name).read(from, Access::COPY_READ).overwrite(to, Access::COPY_WRITE).record(
        move |cx: &mut VulkanContext<'_>| {
            let (from, to) = (cx.resolve(from)?, cx.resolve(to)?);
            let region = vk::BufferCopy { src_offset: from.offset, dst_offset: to.offset, size: from.size };
            // SAFETY: both buffers are declared, large enough, and the command buffer is being recorded.
            unsafe { cx.device().cmd_copy_buffer(cx.command_buffer(), from.buffer, to.buffer, &[region]) };
            Ok(())
        },
    );
}

#[track_caller]
fn reads(ticket: &MkReadback<u32>, want: &[u32]) {
    ticket.wait().unwrap();
    ticket.try_read(|got| assert_eq!(got, want)).unwrap();
}

#[test]
fn the_quick_start_runs_and_its_bytes_arrive() {
    silent(MkGpuConfig::default(), |gpu| {
        let vertices: &[f32] = &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let staging = gpu.staging_buffer_with_data(vertices).unwrap();
        let device = gpu
            .create_device_buffer(
                std::mem::size_of_val(vertices),
                MkBufferUsage::VERTEX | MkBufferUsage::TRANSFER_DST,
            )
            .unwrap();
        gpu.transfer(&staging, &device).unwrap();
        let mut back = gpu.create_staging_buffer(24).unwrap();
        gpu.batch_transfer().copy(&device, &back).submit_and_wait().unwrap();
        let mut got = [0f32; 6];
        back.read(0, &mut got).unwrap();
        assert_eq!(got, vertices);
    });
}

#[test]
fn frames_carry_state_with_one_to_three_in_flight() {
    for frames_in_flight in 1..=3 {
        silent(MkGpuConfig { frames_in_flight, ..Default::default() }, |gpu| {
            let (a, b) = (buffer(&gpu, "a", 4096), buffer(&gpu, "b", 4096));
            let mut tickets: Vec<(u32, MkReadback<u32>)> = Vec::new();
            for n in 0..12 {
                let mut frame = gpu.begin_frame().unwrap();
                frame.upload(&a, 0, &words(n, 1024)).unwrap();
                // Two uploads that overlap: the later bytes win.
                frame.upload(&a, 256, &words(n + 1, 64)).unwrap();
                let t = frame.transient("t", 4096);
                copy_pass(&mut frame, "a to t", a.id(), t);
                frame.fill(b.slice(..64), n);
                copy_pass(&mut frame, "t to b", t.slice(64..4096), b.id().slice(64..4096));
                frame.copy(b.slice(0..16), b.slice(4080..4096));
                tickets.push((n, frame.readback::<u32>(&b, 0..1024).unwrap()));
                frame.submit().unwrap();
            }
            for (n, ticket) in &tickets {
                let mut want = words(*n, 1024);
                want[64..128].copy_from_slice(&words(n + 1, 64));
                want[..16].fill(*n);
                want[1020..].fill(*n);
                reads(ticket, &want);
            }
        });
    }
}

#[test]
fn large_and_small_uploads_are_split_and_merged_within_the_limit() {
    let config = MkGpuConfig { staging_chunk: 64 << 10, staging_limit: 512 << 10, ..Default::default() };
    silent(config, |gpu| {
        let big = buffer(&gpu, "big", 1 << 20);
        for n in 0..6 {
            let mut frame = gpu.begin_frame().unwrap();
            let data = words(n, (200 << 10) / 4);
            frame.upload(&big, 12, &data).unwrap();
            for i in 0..300usize {
                frame.upload(&big, (300 << 10) + i * 7, &[i as u8; 7]).unwrap();
            }
            frame.upload_with(&big, 700_000..700_100, |bytes| bytes.fill(n as u8)).unwrap();
            let back = frame.readback::<u32>(big.slice(12..), 0..data.len()).unwrap();
            let small = frame.readback::<u8>(&big, (300 << 10)..(300 << 10) + 2100).unwrap();
            let placed = frame.readback::<u8>(&big, 700_000..700_100).unwrap();
            frame.submit().unwrap();
            reads(&back, &data);
            small.try_read(|got| assert!(got.iter().enumerate().all(|(i, &b)| b == (i / 7) as u8))).unwrap();
            placed.try_read(|got| assert!(got.iter().all(|&b| b == n as u8))).unwrap();
        }
        let mut frame = gpu.begin_frame().unwrap();
        let error = frame.upload(&big, 0, &vec![0u8; 600 << 10]).unwrap_err();
        assert!(matches!(error, MkError::StagingLimit { limit: 524_288, .. }), "{error}");
    });
}

#[test]
fn an_upload_at_once_comes_after_transfers_and_before_frames_and_helpers_copy_it_whole() {
    let config = MkGpuConfig { upload_threads: 2, ..Default::default() };
    silent(config, |gpu| {
        let n = (11 << 18) + 3;
        let (values, other) = (buffer(&gpu, "values", n * 4), buffer(&gpu, "other", n * 4));
        let staged = gpu.staging_buffer_with_data(&words(9, n)).unwrap();
        for round in 0..3 {
            gpu.transfer(&staged, &values).unwrap();
            let data = words(round, n - 2);
            gpu.upload_now(&values, 4, &data).unwrap();
            let mut frame = gpu.begin_frame().unwrap();
            copy_pass(&mut frame, "copy", values.id(), other.id());
            let ticket = frame.readback::<u32>(&other, 0..n).unwrap();
            frame.submit().unwrap();
            let mut want = words(9, n);
            want[1..n - 1].copy_from_slice(&data);
            reads(&ticket, &want);
        }
    });
}

#[test]
fn everything_may_be_dropped_in_any_order_with_work_in_flight() {
    for order in 0..6 {
        silent(MkGpuConfig::default(), |gpu| {
            let (a, b) = (buffer(&gpu, "a", 1 << 16), buffer(&gpu, "b", 1 << 16));
            let staging = gpu.staging_buffer_with_data(&words(1, 1 << 14)).unwrap();
            let ticket = gpu.transfer(&staging, &a).unwrap();
            let mut frame = gpu.begin_frame().unwrap();
            frame.copy(&a, &b);
            let back = frame.readback::<u32>(&b, 0..16).unwrap();
            let fence = frame.submit().unwrap();
            let pending = gpu.transfer(&b, &a).unwrap();
            let mut open = gpu.begin_frame().unwrap();
            open.upload(&b, 0, &[1u32]).unwrap();
            match order {
                0 => drop((gpu, a, b, staging, ticket, back, fence, pending, open)),
                1 => drop((open, pending, fence, back, ticket, staging, b, a, gpu)),
                2 => drop((a, gpu, b, open, back, staging, fence, ticket, pending)),
                3 => drop((staging, open, gpu, pending, a, fence, b, back, ticket)),
                4 => drop((back, a, b, gpu, open, ticket, staging, pending, fence)),
                _ => {
                    drop((a, b, staging));
                    reads(&back, &words(1, 16));
                    drop((open, gpu, back, fence, pending, ticket));
                }
            }
        });
    }
}

#[test]
fn a_handle_dropped_with_its_transfer_pending_keeps_the_memory_until_it_is_done() {
    silent(MkGpuConfig::default(), |gpu| {
        let end = buffer(&gpu, "end", 4096);
        // All made before any is dropped: see `memory_of_every_type_works` for why no memory is used twice here.
        let make = |n| (gpu.staging_buffer_with_data(&words(n, 1024)).unwrap(), buffer(&gpu, "middle", 4096));
        let made: Vec<_> = (0..20).map(make).collect();
        let back = buffer(&gpu, "back", 4096);
        for (staging, middle) in made {
            gpu.transfer(&staging, &middle).unwrap();
            gpu.transfer(&middle, &end).unwrap();
            drop((staging, middle));
            gpu.flush().unwrap();
        }
        gpu.batch_transfer().copy(&end, &back).submit_and_wait().unwrap();
        gpu.wait_idle().unwrap();
        assert_eq!(gpu.backend().buffer_count(), 2, "`end` and `back`");
        let mut frame = gpu.begin_frame().unwrap();
        let ticket = frame.readback::<u32>(&back, 0..1024).unwrap();
        frame.submit().unwrap();
        reads(&ticket, &words(19, 1024));
    });
}

#[test]
fn a_failed_frame_leaves_nothing_behind_and_the_next_one_is_right() {
    silent(MkGpuConfig::default(), |gpu| {
        let a = buffer(&gpu, "a", 4096);
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&a, 0, &words(2, 1024)).unwrap();
        frame
            .pass("breaks")
            .read(&a, Access::COMPUTE_STORAGE_READ)
            .side_effects()
            .record(|_| Err(MkError::other("no such pipeline")));
        let back = frame.readback::<u32>(&a, 0..1024).unwrap();
        let error = frame.submit().unwrap_err();
        assert!(error.to_string().contains("`breaks`: no such pipeline"), "{error}");
        assert!(error.dump().unwrap().contains("breaks"));
        assert!(matches!(back.wait(), Err(MkError::Cancelled)));
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&a, 0, &words(3, 1024)).unwrap();
        let back = frame.readback::<u32>(&a, 0..1024).unwrap();
        frame.submit().unwrap();
        reads(&back, &words(3, 1024));
    });
}

#[test]
fn memory_of_every_type_works() {
    silent(MkGpuConfig::default(), |gpu| {
        let a = buffer(&gpu, "a", 1024);
        // Kept to the end: the layer 1.3.239 does not know that the host waited before memory was used again for
        // another buffer, and takes that for a hazard (1.4.309 does know).
        let mut kept = Vec::new();
        for memory in [
            MkMemoryType::HostVisible,
            MkMemoryType::HostLocal,
            MkMemoryType::HostCached,
            MkMemoryType::Unified,
        ] {
            let desc = MkBufferDesc { name: "mapped", size: 1024, usage: MkBufferUsage::STORAGE, memory };
            let mut mapped = gpu.create_buffer(&desc).unwrap();
            mapped.write(4, &words(5, 100)).unwrap();
            mapped.map().unwrap()[0] = 9;
            gpu.batch_transfer().copy(&mapped, &a).submit_and_wait().unwrap();
            gpu.batch_transfer().copy(&a, &mapped).submit_and_wait().unwrap();
            let mut got = vec![0u32; 100];
            mapped.read(4, &mut got).unwrap();
            assert_eq!(got, words(5, 100), "{memory}");
            kept.push(mapped);
        }
        let mut device = buffer(&gpu, "device", 4);
        assert!(matches!(device.map(), Err(MkError::NotMappable { .. })));
    });
}

#[test]
fn an_engines_own_buffer_is_used_as_declared_and_left_alone() {
    silent(MkGpuConfig::default(), |gpu| {
        let device = gpu.backend().device().clone();
        let usage = vk::BufferUsageFlags::TRANSFER_DST | vk::BufferUsageFlags::STORAGE_BUFFER;
        let info = vk::BufferCreateInfo::default().size(4096).usage(usage);
        // SAFETY: the device lives, and the infos are valid; the memory fits what the buffer asks for.
        let (raw, memory) = unsafe {
            let raw = device.create_buffer(&info, None).unwrap();
            let needs = device.get_buffer_memory_requirements(raw);
            let memory_type = needs.memory_type_bits.trailing_zeros();
            let info =
                vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(memory_type);
            let memory = device.allocate_memory(&info, None).unwrap();
            device.bind_buffer_memory(raw, memory, 0).unwrap();
            (raw, memory)
        };
        let desc = MkBufferDesc {
            name: "theirs",
            size: 4096,
            usage: MkBufferUsage::TRANSFER_DST | MkBufferUsage::STORAGE,
            ..Default::default()
        };
        // SAFETY: a buffer of this device as described, used by nobody else, destroyed below after the device is done.
        let mut theirs = unsafe { gpu.import_buffer(raw, &desc) }.unwrap();
        assert!(matches!(theirs.map(), Err(MkError::NotMappable { .. })));
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&theirs, 0, &words(1, 1024)).unwrap();
        frame.fill(theirs.slice(0..64), 3);
        frame.submit().unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        let _ticket = frame.readback::<u32>(&theirs, 0..4).unwrap();
        let error = frame.submit().unwrap_err().to_string();
        assert!(error.contains("needs usage TRANSFER_SRC of `theirs`"), "{error}");
        drop(theirs);
        gpu.wait_idle().unwrap();
        // SAFETY: the device is idle and the handle is gone.
        unsafe {
            device.destroy_buffer(raw, None);
            device.free_memory(memory, None);
        }
    });
}

#[test]
fn barriers_name_no_stage_that_the_device_was_not_made_with() {
    use memkit_gpu::graph::{AccessFlags, Stages};
    let graphics = Access::new(Stages::ALL_GRAPHICS, AccessFlags::SHADER_READ);
    let anything = Access::new(Stages::ALL_COMMANDS, AccessFlags::MEMORY_READ | AccessFlags::MEMORY_WRITE);
    silent(MkGpuConfig::default(), |gpu| {
        let a = buffer(&gpu, "a", 1024);
        for _ in 0..3 {
            let mut frame = gpu.begin_frame().unwrap();
            frame.fill(&a, 1);
            // What the vertex shader sees already is no part of what the second reader needs: the umbrella comes apart.
            for access in [Access::VERTEX_STORAGE_READ, graphics] {
                frame.pass("look").read(&a, access).side_effects().record(|_| Ok(()));
            }
            frame.pass("write").write(&a, Access::COMPUTE_STORAGE_WRITE).record(|_| Ok(()));
            frame.pass("look").read(&a, Access::FRAGMENT_STORAGE_READ).side_effects().record(|_| Ok(()));
            frame.pass("change").modify(&a, anything).record(|_| Ok(()));
            frame.submit().unwrap();
        }
    });
}
