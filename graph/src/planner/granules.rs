//! Which granules of a buffer uploads write, a bit each: of thousands of uploads to places of one kind it is known that they
//! are apart without sorting them.
//!
//! A granule is as large as the alignment that all starts and ends share: that of a structure in an array, mostly.

/// Most words of bits an upload: beyond it clearing and walking them costs as much as sorting.
const WORDS: usize = 8;
const BITS: u64 = u64::BITS as u64;
/// Words that are cleared at once: more would be by string instruction, which counts a byte at a time where instructions are
/// counted.
const PIECE: usize = 128;

/// The bits.
#[derive(Debug, Default)]
pub(crate) struct Granules {
    /// One more than there are bits for.
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

/// Marks granules.
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
    pub(crate) fn mark(&mut self, start: u64, size: u64) -> bool {
        let at = start.wrapping_sub(self.first) >> self.shift;
        let index = (at / BITS) as usize;
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
        let last = self.byte(self.words.len() as u64 * BITS);
        self.first <= start && end <= last && self.words_of(start, end).all(|(word, mask)| word & mask == mask)
    }

    /// The words that hold the granules of a range, each with which of its bits are theirs.
    fn words_of(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let granule = |byte: u64| byte.saturating_sub(self.first) >> self.shift;
        // Of the last byte, not of the one behind it.
        let (begin, end) = match end.checked_sub(1) {
            Some(last) if start < end && self.first <= last => (granule(start), granule(last) + 1),
            _ => (0, 0),
        };
        let (first, last) = ((begin / BITS) as usize, end.div_ceil(BITS).min(self.words.len() as u64) as usize);
        let words = self.words.get(first..last).unwrap_or(&[]);
        (first as u64 * BITS..).step_by(BITS as usize).zip(words).map(move |(at, &word)| {
            let skipped = begin.saturating_sub(at);
            let beyond = (at + BITS).saturating_sub(end);
            (word, (u64::MAX << skipped) & (u64::MAX >> beyond))
        })
    }

    /// The bytes that are written, as ascending half-open ranges that do not touch.
    pub(crate) fn runs(&self) -> Runs<'_> {
        Runs { of: self, rest: &self.words, word: 0, at: 0 }
    }

    /// The same, of which those are one that have at most `widest` bytes between them.
    pub(crate) fn drawn_together(&self, widest: u64) -> impl Iterator<Item = (u64, u64)> {
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
}

#[inline(never)]
fn zero(words: &mut [u64]) {
    words.fill(0);
}

/// Marks so many granules from a bit of a word on. Whether none of them was marked.
#[inline(never)]
fn mark_several(words: &mut [u64], (index, bit): (usize, u64), granules: u64) -> bool {
    let Some([low, high]) = words.get_mut(index..).and_then(|words| words.first_chunk_mut()) else { return false };
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

/// See [`Granules::runs`].
#[derive(Clone)]
pub(crate) struct Runs<'a> {
    of: &'a Granules,
    /// The words that were not looked at.
    rest: &'a [u64],
    /// What is left of the one before these.
    word: u64,
    /// Granules up to the rest.
    at: u64,
}

impl Runs<'_> {
    fn turn(&mut self) -> Option<()> {
        let (&word, rest) = self.rest.split_first()?;
        (self.word, self.rest, self.at) = (word, rest, self.at + BITS);
        Some(())
    }
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        while self.word == 0 {
            self.turn()?;
        }
        let start = self.at - BITS + u64::from(self.word.trailing_zeros());
        loop {
            // Ones below the first bit of the run, and in it.
            let filled = self.word | self.word.wrapping_sub(1);
            let ones = u64::from(filled.trailing_ones());
            if ones < BITS {
                self.word &= u64::MAX << ones;
                return Some((self.of.byte(start), self.of.byte(self.at - BITS + ones)));
            }
            self.word = 0;
            let end = self.at;
            if self.turn().is_none() || self.word & 1 == 0 {
                return Some((self.of.byte(start), self.of.byte(end)));
            }
        }
    }
}
