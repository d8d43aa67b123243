//! Sorting many things by a number, without comparing them with each other.
//!
//! A thousand uploads to random places take a comparison sort about ten comparisons each, most of them mispredicted.
//! Here each of the bits in which keys differ at all is looked at once: two passes for the places of 256 bytes in
//! 64 MiB.

/// Fewer than this are compared.
const FEW: usize = 64;
/// So many are worth the counters of long digits.
const MANY: usize = 4096;
/// Buckets of one pass, whose counters are on the stack, and those of many things. Two passes of the latter are enough for
/// the places of 64 bytes in 256 MiB.
const BUCKETS: usize = 1 << 9;
const MANY_BUCKETS: usize = 1 << 11;

/// Something to be sorted, by its position elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) key: u64,
    pub(crate) index: u32,
}

/// Sorts by key; what has equal keys stays in the order it is in. `spare` is memory to work in.
pub(crate) fn sort(items: &mut Vec<Keyed>, spare: &mut Vec<Keyed>) {
    let Some(&first) = items.first() else { return };
    // Bits in which not all keys are alike.
    let (mut differ, mut ascending, mut last) = (0, true, first.key);
    for item in items.iter() {
        differ |= item.key ^ first.key;
        ascending &= last <= item.key;
        last = item.key;
    }
    if ascending {
        return;
    }
    if items.len() < FEW {
        // Stable, and allocates nothing for so few.
        insertion(items);
        return;
    }
    let low = differ.trailing_zeros();
    by_digits(items, spare, low, u64::BITS - differ.leading_zeros() - low);
}

/// Sorts numbers whose lower halves ascend, and of whose upper halves the lowest `bits`, at most 32, are in use. `spare` is
/// memory to work in.
pub(crate) fn sort_packed(items: &mut Vec<u64>, spare: &mut Vec<u64>, bits: u32) {
    match items.len() {
        ..FEW => items.sort_unstable(),
        _ => by_digits(items, spare, u32::BITS, bits),
    }
}

/// What is sorted, by a number.
trait Item: Copy {
    fn key(self) -> u64;
}

impl Item for Keyed {
    fn key(self) -> u64 {
        self.key
    }
}

impl Item for u64 {
    fn key(self) -> u64 {
        self
    }
}

/// Sorts by `width` bits of the keys from bit `low` on.
fn by_digits<T: Item>(items: &mut Vec<T>, spare: &mut Vec<T>, low: u32, width: u32) {
    let Some(&first) = items.first() else { return };
    // What is in it does not matter.
    spare.truncate(items.len());
    spare.resize(items.len(), first);
    match items.len() {
        ..MANY => in_passes::<T, BUCKETS>(items, spare, low, width),
        _ => in_passes::<T, MANY_BUCKETS>(items, spare, low, width),
    }
}

fn in_passes<T: Item, const BUCKETS: usize>(items: &mut Vec<T>, spare: &mut Vec<T>, low: u32, width: u32) {
    let passes = width.div_ceil(BUCKETS.ilog2()).max(1);
    let digit = width.div_ceil(passes);
    for pass in 0..passes {
        distribute::<T, BUCKETS>(items, spare, low + pass * digit, digit);
        std::mem::swap(items, spare);
    }
}

/// Moves items to `to`, by the `digit` bits of their keys from `shift` on.
fn distribute<T: Item, const BUCKETS: usize>(from: &[T], to: &mut [T], shift: u32, digit: u32) {
    let buckets = 1usize << digit;
    // Within the counters, whatever the digit.
    let bucket = |item: T| (item.key() >> shift) as usize & (buckets - 1) & (BUCKETS - 1);
    let mut begin = [0u32; BUCKETS];
    for &item in from {
        begin[bucket(item)] += 1;
    }
    let mut sum = 0;
    for count in &mut begin[..buckets.min(BUCKETS)] {
        sum += std::mem::replace(count, sum);
    }
    let to = &mut to[..from.len()];
    for &item in from {
        let at = &mut begin[bucket(item)];
        to[*at as usize] = item;
        *at += 1;
    }
}

fn insertion(items: &mut [Keyed]) {
    for i in 1..items.len() {
        let item = items[i];
        let mut at = i;
        while at > 0 && items[at - 1].key > item.key {
            items[at] = items[at - 1];
            at -= 1;
        }
        items[at] = item;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: impl Iterator<Item = u64>) -> Vec<(u64, u32)> {
        let mut items: Vec<Keyed> = keys.zip(0..).map(|(key, index)| Keyed { key, index }).collect();
        sort(&mut items, &mut Vec::new());
        items.iter().map(|i| (i.key, i.index)).collect()
    }

    /// Numbers without a pattern, in the bits of `mask`.
    fn scattered(n: usize, mask: u64) -> Vec<u64> {
        let mut x = 88_172_645_463_325_252u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x & mask
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn it_sorts_as_a_stable_sort_does() {
        for n in [0, 1, 2, 63, 64, 65, 1000, 5000] {
            for mask in [0, 1, 0xff00, 0x3ff_ff00, 0x8000_0000_0000_0001, u64::MAX] {
                let keys = scattered(n, mask);
                let mut wanted: Vec<(u64, u32)> = keys.iter().copied().zip(0..).collect();
                wanted.sort_by_key(|w| w.0);
                assert_eq!(sorted(keys.into_iter()), wanted, "{n} keys, mask {mask:x}");
            }
        }
    }

    #[test]
    fn packed_numbers_are_sorted_by_their_upper_halves() {
        for n in [0, 1, 2, 63, 1000, 5000] {
            for mask in [0, 1, 0xff00, 0x3_ffff, 0x8000_0001, 0xffff_ffff] {
                let keys = scattered(n, mask);
                let mut packed: Vec<u64> = keys.iter().zip(0u64..).map(|(key, i)| key << 32 | i).collect();
                let mut wanted = packed.clone();
                // The lower halves ascend, so that this is stable.
                wanted.sort_unstable();
                let bits = u64::BITS - mask.leading_zeros();
                sort_packed(&mut packed, &mut Vec::new(), bits);
                assert_eq!(packed, wanted, "{n} keys, mask {mask:x}");
            }
        }
    }

    #[test]
    fn what_is_sorted_or_the_other_way_round_comes_out_sorted() {
        let keys = || (0..300u64).map(|k| k * 256);
        let wanted: Vec<u64> = keys().collect();
        let found = |s: Vec<(u64, u32)>| s.into_iter().map(|i| i.0).collect::<Vec<_>>();
        assert_eq!(found(sorted(keys())), wanted);
        assert_eq!(found(sorted(keys().rev())), wanted);
    }
}
