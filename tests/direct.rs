//! Direct writes: straight into a buffer's memory, only where that means what an upload means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyCalls, DummyFault, DummyFaultError, DummyFaultWhen, MkBuffer,
    MkBufferDesc, MkBufferUsage, MkError, MkGpu, MkGpuBackend, MkMemoryType,
};

fn unified<B: MkGpuBackend>(gpu: &MkGpu<B>, size: usize) -> MkBuffer {
    let (usage, memory) = (MkBufferUsage::STORAGE, MkMemoryType::Unified);
    gpu.create_buffer(&MkBufferDesc { name: "unified", size, usage, memory }).unwrap()
}

#[test]
fn an_idle_buffer_is_written_in_place_and_later_passes_see_it_without_a_barrier() {
    let gpu = gpu();
    let (buffer, sums) = (unified(&gpu, 64), filled(&gpu, &[0; 16]));
    gpu.wait_idle().unwrap();
    let before = gpu.backend().buffer_count();
    let mut frame = gpu.begin_frame().unwrap();
    assert!(frame.upload_direct(&buffer, 0, &[1u32; 16]).unwrap());
    assert!(frame.upload_direct(&buffer, 8, &[2u32, 3]).unwrap(), "more of the same buffer");
    add(&mut frame, "add", buffer.id().slice(..), 10);
    frame.copy(&buffer, &sums);
    let (_, dump) = frame.submit_and_dump().unwrap();
    assert_eq!(gpu.backend().buffer_count(), before, "no staging memory");
    assert_eq!(dump.totals.uploads, 0);
    assert_eq!(dump.host_writes.iter().map(|w| w.range.clone()).collect::<Vec<_>>(), [0..64, 8..16]);
    let text = dump.to_text();
    assert!(
        text.contains("written directly by the host, before the frame\n  unified[0..64)\n  unified[8..16)"),
        "{text}"
    );
    let mut wanted = [11; 16];
    (wanted[2], wanted[3]) = (12, 13);
    assert_eq!(contents(&gpu, &sums, 16), wanted);
    assert_clean(&gpu);
}

#[test]
fn what_the_device_may_still_use_is_uploaded_through_staging_memory() {
    let gpu = gpu();
    let (buffer, copy) = (unified(&gpu, 64), storage(&gpu, 64));
    gpu.backend().pause();
    let mut frame = gpu.begin_frame().unwrap();
    assert!(frame.upload_direct(&buffer, 0, &[1u32; 16]).unwrap());
    frame.copy(&buffer, &copy);
    frame.submit().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    assert!(!frame.upload_direct(&buffer, 0, &[2u32; 16]).unwrap(), "in flight");
    frame.submit().unwrap();
    gpu.backend().resume();
    assert_eq!((contents(&gpu, &copy, 16), contents(&gpu, &buffer, 16)), (vec![1; 16], vec![2; 16]));
    gpu.transfer(&buffer, &copy).unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    assert!(!frame.upload_direct(&buffer, 0, &[3u32; 16]).unwrap(), "a transfer is pending");
    frame.submit().unwrap();
    assert_eq!((contents(&gpu, &copy, 16), contents(&gpu, &buffer, 16)), (vec![2; 16], vec![3; 16]));
    assert_clean(&gpu);
}

#[test]
fn a_range_that_the_frame_touched_before_is_uploaded_in_order() {
    let gpu = gpu();
    let (buffer, copy) = (unified(&gpu, 128), storage(&gpu, 64));
    let mut frame = gpu.begin_frame().unwrap();
    assert!(frame.upload_direct(&buffer, 0, &[1u32; 16]).unwrap());
    frame.copy(buffer.slice(..64), &copy);
    assert!(!frame.upload_direct(&buffer, 60, &[2u32; 2]).unwrap(), "the copy reads the first of these");
    assert!(frame.upload_direct(&buffer, 72, &[3u32; 2]).unwrap(), "untouched");
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &copy, 16), [1; 16]);
    assert_eq!(contents(&gpu, buffer.slice(56..80), 6), [1, 2, 2, 0xCDCD_CDCD, 3, 3]);
    assert_clean(&gpu);
}

#[test]
fn memory_the_host_cannot_map_and_buffers_of_other_frames_are_uploaded_through_staging_memory() {
    let gpu = gpu();
    let (far, near) = (storage(&gpu, 16), unified(&gpu, 16));
    let mut other = gpu.begin_frame().unwrap();
    other.fill(&near, 5);
    let mut frame = gpu.begin_frame().unwrap();
    assert!(!frame.upload_direct(&far, 0, &[1u32; 4]).unwrap());
    assert!(!frame.upload_direct(&near, 0, &[1u32; 4]).unwrap());
    let error = err(frame.upload_direct(&near, 8, &[1u32; 4]).map(drop));
    assert!(matches!(error, MkError::OutOfBounds { .. }));
    // Submitted in the other order: what is submitted last counts.
    frame.submit().unwrap();
    other.submit().unwrap();
    assert_eq!((contents(&gpu, &far, 4), contents(&gpu, &near, 4)), (vec![1; 4], vec![5; 4]));
    assert_clean(&gpu);
}

#[test]
fn until_the_frame_is_submitted_or_dropped_the_buffer_is_its_own() {
    let gpu = gpu();
    let (mut buffer, other) = (unified(&gpu, 16), filled(&gpu, &[7; 4]));
    for submitted in [true, false] {
        gpu.wait_idle().unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        assert!(frame.upload_direct(&buffer, 0, &[1u32; 4]).unwrap());
        let mut second = gpu.begin_frame().unwrap();
        second.copy(&other, &buffer);
        assert!(matches!(err(second.submit()), MkError::InUse { resource } if &*resource == "unified"));
        assert!(matches!(err(buffer.map().map(drop)), MkError::InUse { .. }));
        let mut third = gpu.begin_frame().unwrap();
        assert!(!third.upload_direct(&buffer, 0, &[2u32; 4]).unwrap(), "one frame at a time");
        drop(third);
        if submitted {
            frame.submit().unwrap().wait().unwrap();
            assert_eq!(contents(&gpu, &buffer, 4), [1; 4]);
        } else {
            drop(frame);
        }
        gpu.wait_idle().unwrap();
        buffer.write(0, &[3u32; 4]).unwrap();
        assert_eq!(contents(&gpu, &buffer, 4), [3; 4]);
    }
    // A transfer that came after the write, and would run before the frame.
    gpu.wait_idle().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    assert!(frame.upload_direct(&buffer, 0, &[1u32; 4]).unwrap());
    let ticket = gpu.transfer(&other, &buffer).unwrap();
    assert!(matches!(err(frame.submit()), MkError::InUse { .. }));
    ticket.wait().unwrap();
    assert_eq!(contents(&gpu, &buffer, 4), [7; 4]);
    assert_clean(&gpu);
}

#[test]
fn a_frame_that_fails_gives_the_buffer_back() {
    for calls in [DummyCalls::FLUSH, DummyCalls::RECORD, DummyCalls::SUBMIT, DummyCalls::INVALIDATE] {
        let gpu = gpu();
        let buffer = unified(&gpu, 16);
        gpu.backend().inject(DummyFault {
            calls,
            when: DummyFaultWhen::Nth(0),
            error: DummyFaultError::Failed,
        });
        let mut frame = gpu.begin_frame().unwrap();
        let declared = frame.upload_direct(&buffer, 0, &[1u32; 4]);
        assert_eq!(declared.is_err(), calls == DummyCalls::INVALIDATE);
        if declared.is_ok() {
            assert!(matches!(err(frame.submit()), MkError::Backend { .. }), "{calls:?}");
        } else {
            drop(frame);
        }
        gpu.backend().clear_faults();
        let mut frame = gpu.begin_frame().unwrap();
        assert!(frame.upload_direct(&buffer, 4, &[2u32; 3]).unwrap());
        frame.submit().unwrap();
        assert_eq!(contents(&gpu, buffer.slice(4..), 3), [2; 3]);
        assert_clean(&gpu);
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Frames of uploads of both kinds, copies and fills, with some waits between: what is read back is what was declared.
/// Returns how many uploads were direct, and how many not.
fn random_frames<B: MkGpuBackend>(gpu: &MkGpu<B>, seed: u64, frames: usize) -> (usize, usize) {
    const WORDS: usize = 64;
    let mut numbers = Numbers(seed);
    let buffers = [unified(gpu, WORDS * 4), unified(gpu, WORDS * 4)];
    let mut wanted = [vec![0u32; WORDS], vec![0u32; WORDS]];
    let mut frame = gpu.begin_frame().unwrap();
    for buffer in &buffers {
        frame.fill(buffer, 0);
    }
    frame.submit().unwrap();
    let mut counts = (0, 0);
    for number in 0..frames as u32 {
        if numbers.below(2) == 0 {
            gpu.wait_idle().unwrap();
        }
        let mut frame = gpu.begin_frame().unwrap();
        let mut tickets = Vec::new();
        for step in 0..numbers.below(6) as u32 {
            let (which, n) = (numbers.below(2), 1 + numbers.below(16));
            let at = numbers.below(WORDS - n);
            let bytes = at * 4..(at + n) * 4;
            match numbers.below(5) {
                0 | 1 => {
                    let data: Vec<u32> = (0..n as u32).map(|i| number << 16 | step << 8 | i).collect();
                    let direct = frame.upload_direct(&buffers[which], at * 4, &data).unwrap();
                    *(if direct { &mut counts.0 } else { &mut counts.1 }) += 1;
                    wanted[which][at..at + n].copy_from_slice(&data);
                }
                2 => {
                    frame.upload(&buffers[which], at * 4, &vec![number; n]).unwrap();
                    wanted[which][at..at + n].fill(number);
                }
                3 => {
                    let to = numbers.below(WORDS - n);
                    frame.copy(buffers[which].slice(bytes), buffers[1 - which].slice(to * 4..(to + n) * 4));
                    let moved = wanted[which][at..at + n].to_vec();
                    wanted[1 - which][to..to + n].copy_from_slice(&moved);
                }
                _ => {
                    let back = frame.readback::<u32>(buffers[which].slice(bytes), 0..n).unwrap();
                    tickets.push((back, wanted[which][at..at + n].to_vec()));
                }
            }
        }
        frame.submit().unwrap();
        for (back, wanted) in tickets {
            back.wait().unwrap();
            back.try_read(|got| assert_eq!(got, wanted, "seed {seed}, frame {number}")).unwrap();
        }
    }
    counts
}

#[test]
fn random_frames_mean_the_same_whether_written_directly_or_not() {
    let mut all = (0, 0);
    for seed in 0..12 {
        let adversary = (seed % 3 != 0).then_some(seed);
        let config = DummyBackendConfig { adversary, ..Default::default() };
        let gpu = MkGpu::new(DummyBackend::with_config(config));
        let (direct, not) = random_frames(&gpu, seed, 60);
        all = (all.0 + direct, all.1 + not);
        assert_clean(&gpu);
    }
    assert!(all.0 > 100 && all.1 > 100, "{} direct, {} not", all.0, all.1);
}

#[cfg(feature = "vulkan")]
#[test]
fn random_frames_on_vulkan_mean_the_same_and_the_layer_stays_silent() {
    use memkit_gpu::{VulkanBackend, VulkanConfig};
    let config = VulkanConfig { validation: true, ..Default::default() };
    let backend =
        VulkanBackend::new(config).expect("this test needs a Vulkan device and the validation layer");
    let log = backend.validation_log();
    let gpu = MkGpu::new(backend);
    let (direct, not) = random_frames(&gpu, 5, 150);
    assert!(direct > 10 && not > 10, "{direct} direct, {not} not");
    drop(gpu);
    let said: Vec<String> = log.messages().iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "the validation layer says:\n{}", said.join("\n"));
}
