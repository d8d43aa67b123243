//! A bitmap of the granules of a buffer that uploads write: it shows of thousands of uploads to places of one kind that they
//! are apart, without sorting them.
//!
//! A granule is as large as the alignment that all starts and ends share: that of a structure in an array, mostly.

/// Most words of bits an upload: beyond it clearing and walking them costs as much as sorting.
const WORDS: usize = 8;
const BITS: u64 = u64::BITS as u64;
/// Words that are cleared at once. Clearing all by one string instruction takes as long, but counts a byte at a time where
/// instructions are counted.
const PIECE: usize = 128;

/// The bitmap.
#[derive(Debug, Default)]
pub(crate) struct Granules {
    /// A bit for each granule; and a word more, so that each has a next.
    words: Vec<u64>,
    /// The byte at which the first granule begins.
    first: u64,
    /// A granule has 2 to the power of this many bytes.
    shift: u32,
}

/// What is known of uploads, of which a bit is to be set for each granule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// How many there are.
    pub(crate) uploads: usize,
    /// At most the smallest start, and a multiple of the alignment.
    pub(crate) first: u64,
    /// At least the largest end.
    pub(crate) end: u64,
    /// Bits that are set in any start or end.
    pub(crate) any: u64,
}

/// Marks granules, with all that this takes at hand.
pub(crate) struct Marker<'a> {
    words: &'a mut [u64],
    first: u64,
    shift: u32,
    granule: u64,
}

impl Marker<'_> {
    /// Marks what an upload writes. Whether it is apart from all that is marked, as far as few bits can tell: they cannot if it
    /// has more granules than a word has bits.
    #[inline(always)]
    pub(crate) fn mark(&mut self, start: u64, end: u64) -> bool {
        let at = start.wrapping_sub(self.first) >> self.shift;
        let index = (at / BITS) as usize;
        let size = end.wrapping_sub(start);
        if size != self.granule {
            return mark_several(self.words, (index, at % BITS), size >> self.shift);
        }
        let Some(word) = self.words.get_mut(index) else { return false };
        let marked = *word | 1 << (at % BITS);
        let apart = marked != *word;
        *word = marked;
        apart
    }
}

impl Extent {
    /// That of uploads with these first bytes and ends.
    #[cfg(test)]
    pub(crate) fn of(uploads: &[(u64, u64)]) -> Self {
        Extent {
            uploads: uploads.len(),
            first: uploads.iter().fold(u64::MAX, |all, u| all & u.0),
            end: uploads.iter().fold(0, |any, u| any | u.1),
            any: uploads.iter().fold(0, |any, u| any | u.0 | u.1),
        }
    }

    /// A granule has 2 to the power of this many bytes.
    fn shift(&self) -> u32 {
        self.any.trailing_zeros()
    }

    /// Words of bits for all granules, if they are few.
    fn words(&self) -> Option<usize> {
        let granules = self.end.saturating_sub(self.first).checked_shr(self.shift())?;
        let words = usize::try_from(granules / BITS + 1).ok()?;
        (words <= self.uploads.saturating_mul(WORDS)).then_some(words)
    }
}

impl Granules {
    /// Begins to mark what uploads write, if few bits are enough for them.
    pub(crate) fn begin(&mut self, of: Extent) -> Option<Marker<'_>> {
        let (shift, words) = (of.shift(), of.words()?);
        (self.first, self.shift) = (of.first, shift);
        self.words.truncate(words + 1);
        self.words.chunks_mut(PIECE).for_each(zero);
        self.words.resize(words + 1, 0);
        Some(Marker { words: &mut self.words, first: of.first, shift, granule: 1 << shift })
    }

    /// Whether any byte of a range is written.
    pub(crate) fn any(&self, start: u64, end: u64) -> bool {
        self.words_of(start, end).any(|(word, mask)| word & mask != 0)
    }

    /// Whether all bytes of a range are written.
    pub(crate) fn all(&self, start: u64, end: u64) -> bool {
        let marked = self.words.len() as u64 * BITS;
        let is_within =
            self.first <= start && end.checked_sub(1).is_some_and(|last| self.granule(last) < marked);
        is_within && self.words_of(start, end).all(|(word, mask)| word & mask == mask)
    }

    /// The words that hold the granules of a range, each with which of its bits are theirs.
    fn words_of(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        // Up to that of the last byte.
        let (begin, end) = match end.checked_sub(1) {
            Some(last) if start <= last && self.first <= last => {
                (self.granule(start), self.granule(last) + 1)
            }
            _ => (0, 0),
        };
        let (first, last) =
            ((begin / BITS) as usize, end.div_ceil(BITS).min(self.words.len() as u64) as usize);
        let words = self.words.get(first..last).unwrap_or(&[]);
        (first as u64 * BITS..).step_by(BITS as usize).zip(words).map(move |(at, &word)| {
            let skipped = begin.saturating_sub(at);
            let beyond = (at + BITS).saturating_sub(end);
            (word, (u64::MAX << skipped) & (u64::MAX >> beyond))
        })
    }

    /// The bytes that are written, as ascending half-open ranges: those are one that have at most `widest` bytes between them.
    pub(crate) fn drawn_together(&self, widest: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
        let (widest, mut next) = (widest >> self.shift, self.first_from(0));
        std::iter::from_fn(move || {
            let start = next?;
            let mut end = start + 1;
            // Whatever is between is no further from its neighbours.
            while let Some(last) = self.last_in(end, end.saturating_add(widest)) {
                end = last + 1;
            }
            next = self.first_from(end);
            Some((self.byte(start), self.byte(end)))
        })
    }

    /// Whether there are more runs of written bytes than this many, which do not touch each other.
    pub(crate) fn has_more_runs_than(&self, runs: usize) -> bool {
        let (mut count, mut last) = (0, 0);
        for &word in &self.words {
            // What follows a granule that is not written.
            let mut starts = word & !(word << 1 | last >> (BITS - 1));
            last = word;
            while starts != 0 {
                count += 1;
                if count > runs {
                    return true;
                }
                starts &= starts - 1;
            }
        }
        false
    }

    /// The first granule from one on that is written.
    fn first_from(&self, granule: u64) -> Option<u64> {
        let first = (granule / BITS) as usize;
        let mut mask = u64::MAX << (granule % BITS);
        for (at, &word) in (first as u64..).zip(self.words.get(first..)?) {
            let word = word & std::mem::replace(&mut mask, u64::MAX);
            if word != 0 {
                return Some(at * BITS + u64::from(word.trailing_zeros()));
            }
        }
        None
    }

    /// The last granule from one to another that is written.
    fn last_in(&self, first: u64, last: u64) -> Option<u64> {
        let last = last.min(self.words.len() as u64 * BITS - 1);
        let words = (first / BITS) as usize..(last / BITS) as usize + 1;
        let words = words.clone().zip(self.words.get(words)?);
        let mut mask = u64::MAX >> (BITS - 1 - last % BITS);
        for (at, &word) in words.rev() {
            let word = word & std::mem::replace(&mut mask, u64::MAX);
            if word != 0 {
                let found = at as u64 * BITS + BITS - 1 - u64::from(word.leading_zeros());
                return (found >= first).then_some(found);
            }
        }
        None
    }

    fn byte(&self, granule: u64) -> u64 {
        self.first + (granule << self.shift)
    }

    /// That of a byte, or the first.
    fn granule(&self, byte: u64) -> u64 {
        byte.saturating_sub(self.first) >> self.shift
    }
}

/// Not inline, or the compiler makes one of all its calls.
#[inline(never)]
fn zero(words: &mut [u64]) {
    words.fill(0);
}

/// Marks so many granules from a bit of a word on. Whether none of them was marked. Not inline: the loop that marks single ones
/// would have too few registers.
#[inline(never)]
fn mark_several(words: &mut [u64], (index, bit): (usize, u64), granules: u64) -> bool {
    let Some([low, high]) = words.get_mut(index..).and_then(|words| words.first_chunk_mut()) else {
        return false;
    };
    if !(1..=BITS).contains(&granules) {
        return false;
    }
    let bits = u64::MAX >> (BITS - granules);
    let (in_low, in_high) = (bits << bit, bits >> 1 >> (BITS - 1 - bit));
    let apart = (*low & in_low) | (*high & in_high) == 0;
    *low |= in_low;
    *high |= in_high;
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern.
    fn random(x: &mut u64, n: u64) -> u64 {
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 33) % n
    }

    /// Places of uploads in `size` bytes from `first` on, of up to `longest` granules; most of the time they are apart.
    fn places(x: &mut u64, (first, size): (u64, u64), granule: u64, longest: u64) -> Vec<(u64, u64)> {
        let mut taken = vec![false; (size / granule) as usize];
        let most = [3, 300][random(x, 2) as usize];
        let tries = 1 + random(x, most);
        let may_overlap = random(x, 4) == 0;
        let mut places = Vec::new();
        for _ in 0..tries {
            let at = random(x, size / granule);
            let end = (at + 1 + random(x, longest)).min(size / granule);
            let bytes = at as usize..end as usize;
            if may_overlap || !taken[bytes.clone()].contains(&true) {
                taken[bytes].fill(true);
                places.push((first + at * granule, first + end * granule));
            }
        }
        places
    }

    /// Byte by byte what is written up to `end`; and whether no byte is written twice.
    fn bytes(places: &[(u64, u64)], end: u64) -> (Vec<bool>, bool) {
        let (mut written, mut apart) = (vec![false; end as usize], true);
        for &(start, end) in places {
            let bytes = &mut written[start as usize..end as usize];
            apart &= !bytes.contains(&true);
            bytes.fill(true);
        }
        (written, apart)
    }

    /// Runs of written bytes, those joined that have few between them.
    fn drawn_together(written: &[bool], widest: u64) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for at in (0..).zip(written).filter(|(_, written)| **written).map(|(at, _)| at) {
            match runs.last_mut() {
                Some(last) if at - last.1 <= widest => last.1 = at + 1,
                _ => runs.push((at, at + 1)),
            }
        }
        runs
    }

    #[test]
    fn the_bits_say_of_every_byte_what_the_uploads_do() {
        let mut x = 11;
        let (mut held, mut refused, mut overlapping) = (0, 0, 0);
        for round in 0..3000 {
            let granule = [1, 4, 16, 64][round % 4];
            let longest = [1, 3, 64, 65][round / 4 % 4];
            let (first, size) = (granule * random(&mut x, 50), granule * (70 + random(&mut x, 2000)));
            let places = places(&mut x, (first, size), granule, longest);
            // What earlier frames left does not matter.
            let left = vec![u64::MAX; random(&mut x, 40) as usize];
            let mut granules = Granules { words: left, ..Granules::default() };
            let Some(mut marker) = granules.begin(Extent::of(&places)) else {
                refused += 1;
                continue;
            };
            let said = places.iter().all(|&(start, end)| marker.mark(start, end));
            let end = first + size + granule * 200;
            let (written, apart) = bytes(&places, end);
            assert!(apart || !said, "{places:?}");
            if !said {
                let is_long = |&(start, end): &(u64, u64)| (end - start) >> granules.shift > BITS;
                assert!(!apart || places.iter().any(is_long), "{places:?}");
                overlapping += 1;
                continue;
            }
            held += 1;
            for _ in 0..50 {
                let at = random(&mut x, end);
                let to = at + (1 + random(&mut x, [3, granule + 1, end][round % 3])).min(end - at);
                let some = &written[at as usize..to as usize];
                assert_eq!(granules.any(at, to), some.contains(&true), "{at}..{to} of {places:?}");
                assert_eq!(granules.all(at, to), !some.contains(&false), "{at}..{to} of {places:?}");
            }
            assert!(granules.any(0, u64::MAX) && !granules.all(0, u64::MAX));
            let runs = drawn_together(&written, 0).len();
            assert!(
                granules.has_more_runs_than(runs - 1) && !granules.has_more_runs_than(runs),
                "{places:?}"
            );
            for widest in [0, granule - 1, granule, 5 * granule, 100 * granule, u64::MAX] {
                let found: Vec<_> = granules.drawn_together(widest).collect();
                assert_eq!(found, drawn_together(&written, widest), "{widest} of {places:?}");
            }
        }
        assert!(held > 500 && refused > 20 && overlapping > 100, "{held} {refused} {overlapping}");
    }

    #[test]
    fn the_ends_of_what_can_be_addressed_are_no_different() {
        let granule = 1 << 55;
        let places: Vec<_> = (0..511).rev().map(|i| (i * granule, (i + 1) * granule)).collect();
        let mut granules = Granules::default();
        let Some(mut marker) = granules.begin(Extent::of(&places)) else { unreachable!() };
        assert!(places.iter().all(|&(start, end)| marker.mark(start, end)));
        assert!(granules.all(0, 511 * granule) && !granules.all(0, 511 * granule + 1));
        assert!(!granules.any(511 * granule, u64::MAX));
        assert_eq!(granules.drawn_together(0).collect::<Vec<_>>(), [(0, 511 * granule)]);
    }
}
