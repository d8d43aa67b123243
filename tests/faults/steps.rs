//! The steps of the loop, a group of features each.

use crate::model::{Buf, Change, Expected, WORDS, words};
use crate::scene::{Body, Done, Scene, again, same};
use memkit_gpu::{MkBufferDesc, MkBufferUsage, MkError, MkMemoryType, MkTransient};
use std::ops::Range;
use std::time::Duration;

impl<B: Body> Scene<B> {
    /// Uploads of every kind, a fill, a copy, passes over a transient, an explicit order, readbacks.
    pub fn frame(&mut self, n: u32) -> Done {
        let mut draft = self.begin()?;
        draft.frame.set_name("everything");
        let (a, b) = (self.slice(Buf::A, 0..WORDS), self.slice(Buf::B, 0..WORDS));
        // Longer than two chunks; then small ones, two of which overlap; then one written in place.
        draft.upload(Buf::A, a, 0, words(n, 640))?;
        for i in 0..8 {
            draft.upload(Buf::A, a, 640 + i * 3, words(n + 1, 2))?;
        }
        draft.upload(Buf::A, a, 641, words(n + 2, 9))?;
        draft.upload_with(Buf::B, b, 700, &words(n + 3, 60))?;
        draft.set(Buf::B, self.slice(Buf::B, 0..16), 0, 16);
        draft.copy((Buf::A, 0..32), (Buf::B, 16), self);
        let (t, all) = (draft.frame.transient("t", 4 * 600), self.slice(Buf::A, 100..700));
        B::copy_pass(&mut draft.frame, all, t.into());
        B::copy_pass(&mut draft.frame, t.slice(0..2000), self.slice(Buf::B, 64..564));
        draft.changes.push(Change::Copy { from: (Buf::A, 100..600), to: (Buf::B, 64) });
        let filled = draft.frame.fill(self.slice(Buf::A, 760..768), 5);
        let copied = draft.frame.copy(t.slice(0..4), self.slice(Buf::B, 760..761));
        draft.frame.order(filled, copied);
        draft.changes.push(Change::Set(Buf::A, 760, vec![5; 8]));
        draft.changes.push(Change::Copy { from: (Buf::A, 100..101), to: (Buf::B, 760) });
        draft.readback(Buf::B, b, 0..WORDS)?;
        draft.readback(Buf::A, a, 630..700)?;
        self.submit(draft)
    }

    /// Two frames open at once, submitted in the other order.
    pub fn two_frames(&mut self, n: u32) -> Done {
        let (mut first, mut second) = (self.begin()?, self.begin()?);
        let b = self.slice(Buf::B, 0..WORDS);
        first.upload(Buf::B, b, 100, words(n + 4, 50))?;
        first.copy((Buf::B, 100..130), (Buf::A, 300), self);
        second.upload(Buf::B, b, 120, words(n + 5, 50))?;
        second.readback(Buf::B, b, 90..180)?;
        let scratch: MkTransient = first.frame.transient("scratch", 256);
        first.frame.fill(scratch, n);
        first.frame.copy(scratch, self.slice(Buf::A, 400..464));
        first.changes.push(Change::Set(Buf::A, 400, vec![n; 64]));
        self.submit(second)?;
        self.submit(first)
    }

    /// A frame that is declared and never submitted.
    pub fn dropped_frame(&mut self, n: u32) -> Done {
        let mut draft = self.begin()?;
        let a = self.slice(Buf::A, 0..WORDS);
        draft.upload(Buf::A, a, 0, words(n + 6, 300))?;
        draft.readback(Buf::A, a, 0..10)?;
        Ok(())
    }

    /// Pending transfers that build on each other, taken along by a flush, a frame, a batch and a ticket.
    pub fn transfers(&mut self, n: u32) -> Done {
        self.transfer((Buf::A, 0..64), (Buf::B, 200))?;
        self.transfer((Buf::B, 200..264), (Buf::V, 0))?;
        self.gpu.flush()?;
        self.submitted();
        self.transfer((Buf::V, 0..10), (Buf::C, 50))?;
        let mut draft = self.begin()?;
        draft.upload(Buf::C, self.slice(Buf::C, 0..WORDS), 55, words(n + 7, 10))?;
        self.submit(draft)?;
        self.transfer((Buf::C, 50..70), (Buf::U, 0))?;
        let (a, b) = (&self.bufs[Buf::A as usize], &self.bufs[Buf::B as usize]);
        let whole = self.gpu.batch_transfer().copy(a, b).submit()?;
        self.submitted();
        self.model.apply(&Change::Copy { from: (Buf::A, 0..WORDS), to: (Buf::B, 0) });
        whole.wait()?;
        // The same bytes once more: an error of the wait alone leaves nothing to be found out.
        let (a, b) = (&self.bufs[Buf::A as usize], &self.bufs[Buf::B as usize]);
        self.gpu.batch_transfer().copy(a, b).submit_and_wait()?;
        self.transfer((Buf::A, 500..600), (Buf::C, 300))?;
        if let Some((ticket, _)) = self.pending.last() {
            ticket.is_complete()?;
            ticket.wait()?;
        }
        self.submitted();
        Ok(())
    }

    fn transfer(&mut self, from: (Buf, Range<usize>), to: (Buf, usize)) -> Done {
        let (a, b) = (&self.bufs[from.0 as usize], &self.bufs[to.0 as usize]);
        let builder = self.gpu.transfer_builder(a, b).src_offset(from.1.start * 4);
        let ticket = builder.dst_offset(to.1 * 4).size(from.1.len() * 4).submit()?;
        self.pending.push((ticket, Change::Copy { from, to }));
        Ok(())
    }

    /// Buffers of every memory type, written and read by the host and copied by the device.
    pub fn host_memory(&mut self, n: u32) -> Done {
        self.gpu.wait_idle()?;
        for buf in [Buf::V, Buf::C, Buf::U] {
            let data = words(n + 8 + buf as u32, 20);
            // An error may come before or after the bytes are there: written again, there is no doubt.
            let write = || self.bufs[buf as usize].write(40, &data);
            if again(&mut self.errors, "write", write).is_none() {
                return Err(MkError::DeviceLost);
            }
            self.model.apply(&Change::Set(buf, 10, data));
            let mut map = self.bufs[buf as usize].map()?;
            map[1200..1204].copy_from_slice(&n.to_ne_bytes());
            drop(map);
            self.model.apply(&Change::Set(buf, 300, vec![n]));
        }
        let mut draft = self.begin()?;
        draft.copy((Buf::V, 0..100), (Buf::A, 600), self);
        draft.copy((Buf::U, 0..40), (Buf::C, 700), self);
        if self.bufs.len() > Buf::I as usize {
            draft.copy((Buf::V, 0..400), (Buf::I, 100), self);
            draft.copy((Buf::I, 90..110), (Buf::A, 740), self);
        }
        self.submit(draft)?;
        if let Some(fence) = &self.fence {
            fence.wait()?;
        }
        for buf in [Buf::V, Buf::C, Buf::U] {
            let mut got = vec![0u32; WORDS];
            self.bufs[buf as usize].read(0, &mut got)?;
            same(&got, &self.model.words(buf, 0..WORDS), "read by the host");
        }
        Ok(())
    }

    /// An upload that submits its own parts, behind a pending transfer; and one straight into mapped memory.
    pub fn beside_frames(&mut self, n: u32) -> Done {
        self.transfer((Buf::V, 20..40), (Buf::A, 90))?;
        let data = words(n + 40, 700);
        let uploaded = self.gpu.upload_now(&self.bufs[Buf::A as usize], 4 * 30, &data);
        let arrived = match &uploaded {
            Ok(_) => 700,
            Err(MkError::PartlyUploaded { submitted, .. }) => *submitted as usize / 4,
            Err(_) => 0,
        };
        if arrived > 0 {
            self.submitted();
            self.model.apply(&Change::Set(Buf::A, 30, data[..arrived].to_vec()));
        }
        self.fence = Some(uploaded?);
        self.gpu.wait_idle()?;
        let data = words(n + 41, 20);
        let direct = self.directly(&data);
        if direct.is_err() {
            // Undefined now: written again, there is no doubt.
            let write = || self.bufs[Buf::U as usize].write(80, &data);
            if again(&mut self.errors, "write", write).is_none() {
                return direct;
            }
            self.model.apply(&Change::Set(Buf::U, 20, data));
        }
        direct
    }

    fn directly(&mut self, data: &[u32]) -> Done {
        let mut draft = self.begin()?;
        let is_direct = draft.frame.upload_direct(&self.bufs[Buf::U as usize], 80, data)?;
        assert!(is_direct, "everything is done with it");
        draft.changes.push(Change::Set(Buf::U, 20, data.to_vec()));
        draft.copy((Buf::U, 10..50), (Buf::B, 5), self);
        self.submit(draft)
    }

    /// Staging buffers: made with data, written, mapped, and dropped with their transfers in flight.
    pub fn staging(&mut self, n: u32) -> Done {
        let mut staging = self.gpu.staging_buffer_with_data(&words(n + 20, 32))?;
        staging.write(8, &[n])?;
        staging.map()?[0..4].copy_from_slice(&(n + 1).to_ne_bytes());
        let mut data = words(n + 20, 32);
        (data[0], data[2]) = (n + 1, n);
        let to = &self.bufs[Buf::A as usize];
        let ticket = self.gpu.transfer_builder(&staging, to).offset(4).submit()?;
        self.pending.push((ticket, Change::Set(Buf::A, 1, data)));
        self.let_go(staging);
        self.gpu.flush()?;
        self.submitted();
        let temporary = self.gpu.create_device_buffer(256, MkBufferUsage::STORAGE)?;
        let mut draft = self.begin()?;
        draft.frame.upload(&temporary, 0, &words(n, 64))?;
        draft.frame.copy(&temporary, self.slice(Buf::B, 0..64));
        draft.changes.push(Change::Set(Buf::B, 0, words(n, 64)));
        self.let_go(temporary);
        self.submit(draft)
    }

    fn let_go(&mut self, buffer: impl Send + 'static) {
        if B::KEEPS {
            self.kept.push(Box::new(buffer));
        }
    }

    /// Buffers that are large enough for memory of their own.
    pub fn large(&mut self, n: u32) -> Done {
        let desc =
            |name, memory| MkBufferDesc { name, size: B::LARGE, usage: MkBufferUsage::STORAGE, memory };
        let mut host = self.gpu.create_buffer(&desc("large host", MkMemoryType::HostVisible))?;
        let device = self.gpu.create_buffer(&desc("large device", MkMemoryType::DeviceLocal))?;
        host.write(B::LARGE - 256, &words(n + 30, 64))?;
        let mut draft = self.begin()?;
        draft.frame.copy(host.slice(B::LARGE - 256..), device.slice(..256));
        draft.frame.copy(device.slice(..256), self.slice(Buf::B, 600..664));
        draft.changes.push(Change::Set(Buf::B, 600, words(n + 30, 64)));
        self.let_go((host, device));
        self.submit(draft)
    }

    /// Pooled buffers, handed out again.
    pub fn pool(&mut self, n: u32) -> Done {
        for round in 0..3 {
            let pooled = self.pool.get()?;
            let mut draft = self.begin()?;
            draft.frame.fill(&*pooled, n + round);
            draft.frame.copy(&*pooled, self.slice(Buf::A, 200..264));
            draft.changes.push(Change::Set(Buf::A, 200, vec![n + round; 64]));
            self.submit(draft)?;
        }
        Ok(())
    }

    /// Fences, and the tickets of all readbacks so far.
    pub fn tickets(&mut self) -> Done {
        let fence = self.gpu.fence();
        fence.is_complete()?;
        while !fence.wait_timeout(Duration::from_millis(100))? {}
        while let Some(Expected { ticket, words }) = self.expected.last() {
            ticket.wait()?;
            let mut got = vec![0; words.len()];
            ticket.read_into(&mut got)?;
            same(&got, words, "read back");
            self.expected.pop();
        }
        Ok(())
    }
}
