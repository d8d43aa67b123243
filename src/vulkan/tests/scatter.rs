//! The shader that scatters uploads, and what it costs.

use super::super::scatter::{MANY_ALIKE, are_alike};
use super::*;

const SCATTER_WRITE: (Stages, AccessFlags) = (Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_WRITE);

fn region(src: u64, to: u32, dst: u64, size: u64) -> ScatterRegion {
    let region = CopyRegion { src, dst, size, node: 0, merged: 1 };
    ScatterRegion { from: BufferRef::Host(0), to: BufferRef::Local(to), region }
}

/// Scatters regions from one buffer into others, which hold nines before, and compares every byte of them.
fn check(backend: &VulkanBackend, source: usize, sizes: &[u64], dispatches: &[Vec<ScatterRegion>]) {
    let bytes: Vec<u8> = (0..source).map(|i| (i % 251) as u8).collect();
    let up = buffer(backend, source as u64, MkMemoryType::HostVisible);
    write(backend, &up, &bytes);
    let targets: Vec<_> =
        sizes.iter().map(|&size| buffer(backend, size, MkMemoryType::DeviceLocal)).collect();
    let down: Vec<_> = sizes.iter().map(|&size| buffer(backend, size, MkMemoryType::HostCached)).collect();
    let mut plan = Plan::default();
    for (i, &size) in (0..).zip(sizes) {
        plan.resource("target", size);
        plan.fill(BufferRef::Local(i), size, 0x0909_0909);
    }
    plan.barrier(&[entry(FILL_WRITE, SCATTER_WRITE)]);
    dispatches.iter().for_each(|regions| plan.scatter(regions));
    plan.barrier(&[entry(SCATTER_WRITE, COPY_READ)]);
    for (i, &size) in (0..).zip(sizes) {
        plan.copy(BufferRef::Local(i), BufferRef::Host(1 + i), &[(0, 0, size)]);
    }
    plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    let host: Vec<_> = [up].into_iter().chain(down.iter().copied()).collect();
    // The layer takes a new buffer for one that had its handle before: catching up orders the two.
    wait(backend, plan.run(backend, &targets, &host, true));
    for (i, &size) in sizes.iter().enumerate() {
        let mut wanted = vec![9; size as usize];
        for s in dispatches.iter().flatten().filter(|s| s.to == BufferRef::Local(i as u32)) {
            let (src, dst, n) = (s.region.src as usize, s.region.dst as usize, s.region.size as usize);
            wanted[dst..dst + n].copy_from_slice(&bytes[src..src + n]);
        }
        let found = read(backend, &down[i], size as usize);
        let wrong = (0..found.len()).find(|&at| found[at] != wanted[at]);
        assert_eq!(wrong.map(|at| (i, at, found[at], wanted[at])), None, "buffer, byte, found, wanted");
    }
    for buffer in targets.into_iter().chain(host) {
        // SAFETY: the submission is done.
        unsafe { backend.destroy_buffer(buffer) };
    }
}

#[test]
fn every_size_and_alignment_arrives_and_no_byte_beside_it_changes() {
    silent(|backend| {
        for ahead in 0..16 {
            let (mut regions, mut src, mut dst) = (Vec::new(), 0, 0);
            for size in (1..=52).chain([255, 256, 257, 1007, 1008, 1023, 1024, 1025, 2500]) {
                for back in 0..16 {
                    // One byte between, or none.
                    (src, dst) = (src + 16 - src % 16 + ahead, dst + 16 - dst % 16 + back);
                    regions.push(region(src, 0, dst, size));
                    (src, dst) = (src + size, dst + size);
                }
            }
            check(&backend, src as usize, &[(dst + 3) & !3], &[regions]);
        }
    });
}

#[test]
fn regions_of_one_dispatch_touch_each_other_and_lie_in_many_buffers() {
    silent(|backend| {
        let sizes: Vec<u64> = (0..40).map(|i| 64 + 4 * i).collect();
        let mut regions = Vec::new();
        let mut src = 1;
        for (to, &size) in (0..).zip(&sizes) {
            let mut dst = 0;
            for n in [1, 2, 3, 5, 7, 11, 13, 17, 1, 1, 1].into_iter().cycle() {
                if dst + n > size {
                    break;
                }
                regions.push(region(src, to, dst, n));
                (src, dst) = (src + n, dst + n);
            }
        }
        // In two dispatches that need no barrier between.
        let second = regions.split_off(regions.len() / 2);
        check(&backend, src as usize, &sizes, &[regions, second]);
    });
}

#[test]
fn large_regions_are_the_work_of_many_groups_and_the_table_grows() {
    silent(|backend| {
        let size = 3 << 20;
        check(&backend, size + 64, &[size as u64 + 64], &[vec![region(5, 0, 18, size as u64)]]);
        assert_eq!(backend.buffer_count(), 1, "the table");
        check(&backend, 64, &[64], &[vec![region(0, 0, 0, 64)]]);
        let many = (0..5000).map(|i| region(i * 3, 0, i * 4, 3)).collect();
        check(&backend, 15_000, &[20_000], &[many]);
    });
}

#[test]
fn regions_that_are_alike_arrive_whatever_their_size_and_alignment() {
    silent(|backend| {
        let count = MANY_ALIKE as u64 + 3;
        for (size, stride) in
            [(1, 1), (3, 5), (16, 16), (40, 48), (64, 64), (77, 80), (256, 300), (1000, 1003), (1009, 1009)]
        {
            for (ahead, back) in [(0, 0), (1, 0), (0, 3), (5, 12), (8, 15)] {
                // 241 and the count have no divisor in common: every place once.
                let places = (0..count).map(|i| i * 241 % count);
                let apart = size + ahead % 3;
                let regions: Vec<_> = (0..)
                    .zip(places)
                    .map(|(i, at)| region(ahead + i * stride, 0, back + at * apart, size))
                    .collect();
                assert!(are_alike(&regions.iter().map(|r| r.region).collect::<Vec<_>>()));
                check(
                    &backend,
                    (ahead + count * stride + 16) as usize,
                    &[(back + count * apart + 7) & !3],
                    &[regions],
                );
            }
        }
    });
}

#[test]
fn regions_that_are_alike_are_one_of_the_dispatches_of_a_scatter() {
    silent(|backend| {
        let count = MANY_ALIKE as u64;
        let mut regions = vec![region(7, 0, 3, 9), region(90, 1, 40, 1)];
        regions.extend((0..count).map(|i| region(i * 8, 2, (count - 1 - i) * 20, 8)));
        regions.extend((0..count).map(|i| region(i * 12, 3, i * 16, 12)));
        regions.extend([region(1, 4, 0, 50), region(2, 5, 8, 30)]);
        // As many, of which one is larger.
        regions.extend((0..count).map(|i| region(i * 12, 6, i * 16, 12 + u64::from(i == 100))));
        let sizes = [64, 64, count * 20, count * 16, 64, 64, count * 16 + 4];
        check(&backend, 13 * count as usize + 100, &sizes, &[regions]);
    });
}

#[test]
fn what_uploads_cost_is_measured() {
    silent(|backend| {
        assert!(backend.capabilities().scatter_uploads, "lavapipe has the features");
        let costs = backend.upload_costs(MkMemoryType::HostLocal).unwrap();
        println!("{}: {costs}", backend.capabilities().device_name);
        // The others are differences, which a busy machine may make zero.
        assert!(costs.scatter > 0, "{costs}");
        assert_eq!(backend.buffer_count(), 0);
    });
}

#[test]
fn a_borrowed_device_scatters_only_with_the_features_its_owner_names() {
    silent(|owner| {
        let mut lent = super::borrowing::lend(&owner);
        lent.storage_buffer_8bit_access = false;
        // SAFETY: the owner outlives it and does not use its queue meanwhile.
        let backend = unsafe { VulkanBackend::from_raw(lent) }.unwrap();
        assert!(!backend.capabilities().scatter_uploads);
        assert_eq!(backend.upload_costs(MkMemoryType::HostLocal).unwrap(), UploadCosts::default());
        let up = buffer(&backend, 64, MkMemoryType::HostVisible);
        let mut plan = Plan::default();
        plan.resource("target", 64);
        plan.scatter(&[region(0, 0, 0, 64)]);
        let result = plan.record(&backend, &[up], &[up], &mut |_, _| Ok(()));
        assert!(matches!(result.map(drop), Err(MkError::Backend { .. })));
    });
}
