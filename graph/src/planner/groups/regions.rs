//! Makes regions of the uploads to one buffer.

use crate::frame::Upload;
use crate::schedule::CopyRegion;

/// What an upload writes to a buffer of `size` bytes.
#[inline]
pub(super) fn region(upload: &Upload, size: u64) -> CopyRegion {
    let (start, end) = upload.range(size);
    CopyRegion { src: upload.offset, dst: start, size: end - start, node: upload.node, merged: 1 }
}

/// The same of an upload that says where it ends, as those do that were marked.
#[inline]
pub(super) fn explicit_region(upload: &Upload) -> CopyRegion {
    let (dst, size) = (upload.start, upload.end.wrapping_sub(upload.start));
    CopyRegion { src: upload.offset, dst, size, node: upload.node, merged: 1 }
}

/// How uploads to a buffer are to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They ascend, and may overlap. Those that continue the one before are to be one region with it.
    Joined,
    /// They ascend likewise, and each is to be a region.
    Single,
    /// They are apart, in any order. What they come from has to ascend: then none but neighbours can continue each other.
    Apart,
}

/// Appends the regions of uploads to a buffer to those before place `begin`. Returns how many bytes they have; none if they
/// are not as they should be.
#[inline(always)]
pub(super) fn append<'a, T>(
    items: &'a [T],
    region: impl Fn(&'a T) -> CopyRegion + Copy,
    kind: Kind,
    (regions, begin): (&mut Vec<CopyRegion>, usize),
) -> Option<u64> {
    let (mut bytes, mut done) = (0u64, 0);
    // Where the last one ends in staging memory, and at the destination.
    let (mut read, mut reached) = (0, None);
    if regions.len() < begin + items.len() {
        regions.resize(begin + items.len(), CopyRegion { src: 0, dst: 0, size: 0, node: 0, merged: 1 });
    }
    // As far as none of them continues the one before, which is to be looked at more closely.
    for (to, item) in regions[begin..].iter_mut().zip(items) {
        let region = region(item);
        let is_plain = reached.is_none_or(|reached| match kind {
            Kind::Joined => region.dst > reached,
            Kind::Single => region.dst >= reached,
            Kind::Apart => region.dst != reached && region.src >= read,
        });
        if !is_plain {
            break;
        }
        bytes = bytes.wrapping_add(region.size);
        (read, reached) = (region.src + region.size, Some(region.dst + region.size));
        *to = region;
        done += 1;
    }
    regions.truncate(begin + done);
    match items.get(done..) {
        None | Some([]) => Some(bytes),
        Some(rest) => join(rest, region, kind, regions).map(|more| bytes.wrapping_add(more)),
    }
}

/// Appends the regions of further uploads likewise, of which the first may continue the last region there is.
#[inline(never)]
fn join<'a, T>(
    items: &'a [T],
    region: impl Fn(&'a T) -> CopyRegion,
    kind: Kind,
    regions: &mut Vec<CopyRegion>,
) -> Option<u64> {
    let mut last = regions.pop()?;
    let (mut bytes, mut fine) = (0u64, true);
    for item in items {
        let next = region(item);
        bytes = bytes.wrapping_add(next.size);
        fine &= match kind {
            Kind::Joined | Kind::Single => next.dst >= last.dst + last.size,
            Kind::Apart => next.src >= last.src + last.size,
        };
        if kind == Kind::Single || !last.take(&next) {
            regions.push(std::mem::replace(&mut last, next));
        }
    }
    regions.push(last);
    fine.then_some(bytes)
}

/// Makes one region of those, from `first` on, that continue each other and come from one staging buffer.
pub(super) fn merge(first: usize, regions: &mut Vec<CopyRegion>, hosts: &mut Vec<u32>) {
    let mut kept = first;
    for next in first + 1..regions.len() {
        let region = regions[next];
        if hosts[next] == hosts[kept] && regions[kept].take(&region) {
            continue;
        }
        kept += 1;
        (regions[kept], hosts[kept]) = (region, hosts[next]);
    }
    regions.truncate(kept + 1);
    hosts.truncate(kept + 1);
}
