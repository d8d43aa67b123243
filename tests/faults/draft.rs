//! A frame that is being declared, and what it will change.

use crate::model::{Buf, Change};
use crate::scene::{Body, Done, Scene};
use memkit_gpu::{MkFrame, MkReadback, MkSlice};
use std::ops::Range;

/// A frame, and what it will have changed once it is submitted.
pub struct Draft<B: Body> {
    pub frame: MkFrame<'static, B>,
    pub changes: Vec<Change>,
    /// With the number of changes before each.
    pub readbacks: Vec<(MkReadback<u32>, usize, Buf, Range<usize>)>,
}

impl<B: Body> Draft<B> {
    pub fn upload(&mut self, buf: Buf, all: MkSlice<'static>, at: usize, data: Vec<u32>) -> Done {
        self.frame.upload(all, at * 4, &data)?;
        self.changes.push(Change::Set(buf, at, data));
        Ok(())
    }

    pub fn upload_with(&mut self, buf: Buf, all: MkSlice<'static>, at: usize, data: &[u32]) -> Done {
        let range = at * 4..(at + data.len()) * 4;
        self.frame.upload_with(all, range, |bytes| {
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(data) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
        })?;
        self.changes.push(Change::Set(buf, at, data.to_vec()));
        Ok(())
    }

    /// Fills `slice`, which is the words from `at` on, with zeros.
    pub fn set(&mut self, buf: Buf, slice: MkSlice<'static>, at: usize, n: usize) {
        self.frame.fill(slice, 0);
        self.changes.push(Change::Set(buf, at, vec![0; n]));
    }

    pub fn copy(&mut self, from: (Buf, Range<usize>), to: (Buf, usize), scene: &Scene<B>) {
        let end = to.1 + from.1.len();
        self.frame.copy(scene.slice(from.0, from.1.clone()), scene.slice(to.0, to.1..end));
        self.changes.push(Change::Copy { from, to });
    }

    pub fn readback(&mut self, buf: Buf, all: MkSlice<'static>, range: Range<usize>) -> Done {
        let ticket = self.frame.readback::<u32>(all, range.clone())?;
        self.readbacks.push((ticket, self.changes.len(), buf, range));
        Ok(())
    }
}
