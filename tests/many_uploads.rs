//! Many scattered uploads to one buffer, frame after frame: right bytes, no hazard, one copy command.
#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_gpu::{DummyBackend, MkBufferDesc, MkBufferUsage, MkGpu, MkGpuConfig};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

const SIZE: usize = 16 << 10;

fn run(max_ranges: usize, seed: u64) {
    let gpu = MkGpu::with_config(DummyBackend::new(), MkGpuConfig { max_ranges, ..Default::default() });
    let make = |name| {
        let usage = MkBufferUsage::STORAGE;
        gpu.create_buffer(&MkBufferDesc { name, size: SIZE, usage, ..Default::default() }).unwrap()
    };
    let (a, b) = (make("a"), make("b"));
    let mut random = Random(seed);
    let mut want = vec![0u8; SIZE];
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(&a, 0);
    frame.submit().unwrap();
    for n in 0..40u8 {
        let mut frame = gpu.begin_frame().unwrap();
        // A read before some of the uploads now and then: those frames go the general way.
        let looks_first = random.below(4) == 0;
        let early = looks_first.then(|| frame.readback::<u8>(&a, 0..SIZE).unwrap());
        let before = want.clone();
        let mut at = 0;
        let mut places = Vec::new();
        while at < SIZE - 200 {
            let (start, len) = (at + random.below(300), 1 + random.below(100));
            at = start + len;
            if at <= SIZE {
                places.push(start..at);
            }
        }
        // Declared in any order.
        for i in (1..places.len()).rev() {
            places.swap(i, random.below(i + 1));
        }
        for (i, place) in places.iter().enumerate() {
            let bytes = vec![n.wrapping_mul(31).wrapping_add(i as u8) | 1; place.len()];
            frame.upload(&a, place.start, &bytes).unwrap();
            want[place.clone()].copy_from_slice(&bytes);
        }
        frame.copy(a.slice(64..128), b.slice(0..64));
        let all = frame.readback::<u8>(&a, 0..SIZE).unwrap();
        let (done, dump) = frame.submit_and_dump().unwrap();
        done.wait().unwrap();
        all.try_read(|got| assert_eq!(got, want, "frame {n}")).unwrap();
        if let Some(early) = early {
            early.try_read(|got| assert_eq!(got, before, "frame {n}, before the uploads")).unwrap();
        }
        let text = dump.to_text();
        assert_eq!(text.matches("copy staging").count(), 1, "one batch:\n{text}");
        let hazards = gpu.backend().take_hazards();
        assert!(hazards.is_empty(), "frame {n}: {}\n{text}", hazards[0]);
    }
}

#[test]
fn scattered_uploads_arrive_whatever_earlier_frames_left() {
    for seed in 0..6 {
        run(256, seed);
    }
}

#[test]
fn so_they_do_when_the_ranges_kept_between_frames_are_few() {
    for seed in 10..13 {
        run(5, seed);
    }
    run(1, 99);
}

/// Uploads to several buffers in any order, from several staging chunks; in some frames they overlap, or something reads
/// a buffer before, between or after them.
fn mixed(seed: u64) {
    const BUFFERS: usize = 5;
    const SMALL: usize = 2 << 10;
    let config = MkGpuConfig { max_ranges: 9, staging_chunk: 1 << 10, ..Default::default() };
    let gpu = MkGpu::with_config(DummyBackend::new(), config);
    let make = |_| gpu.create_device_buffer(SMALL, MkBufferUsage::STORAGE).unwrap();
    let buffers: Vec<_> = (0..BUFFERS).map(make).collect();
    let mut random = Random(seed);
    let mut want = vec![vec![0u8; SMALL]; BUFFERS];
    let mut frame = gpu.begin_frame().unwrap();
    buffers.iter().for_each(|b| _ = frame.fill(b, 0));
    frame.submit().unwrap();
    for n in 0..60 {
        let mut frame = gpu.begin_frame().unwrap();
        let overlap = random.below(3) == 0;
        let mut free = [0; BUFFERS];
        let mut reads = Vec::new();
        for i in 0..random.below(120) {
            let b = random.below(BUFFERS);
            let len = 1 + random.below(60);
            let start = if overlap { random.below(SMALL - len) } else { free[b] + random.below(3) * 7 };
            if start + len > SMALL {
                continue;
            }
            free[b] = start + len;
            let bytes = vec![(n * 7 + i) as u8; len];
            frame.upload(&buffers[b], start, &bytes).unwrap();
            want[b][start..start + len].copy_from_slice(&bytes);
            if random.below(20) == 0 {
                // Another buffer than the last in most cases.
                let b = random.below(BUFFERS);
                reads.push((frame.readback::<u8>(&buffers[b], 0..SMALL).unwrap(), want[b].clone()));
            }
            if random.below(60) == 0 {
                let at = random.below(SMALL / 4) * 4;
                frame.fill(buffers[b].slice(at..SMALL), 0);
                want[b][at..].fill(0);
            }
        }
        let b = random.below(BUFFERS);
        reads.push((frame.readback::<u8>(&buffers[b], 0..SMALL).unwrap(), want[b].clone()));
        let (done, dump) = frame.submit_and_dump().unwrap();
        done.wait().unwrap();
        let hazards = gpu.backend().take_hazards();
        assert!(hazards.is_empty(), "frame {n}: {}\n{}", hazards[0], dump.to_text());
        for (ticket, want) in reads {
            ticket.try_read(|got| assert_eq!(got, want, "frame {n}\n{}", dump.to_text())).unwrap();
        }
    }
}

#[test]
fn uploads_to_many_buffers_arrive_whatever_else_the_frame_does() {
    for seed in 0..20 {
        mixed(seed);
    }
}
