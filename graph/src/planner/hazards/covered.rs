//! What the barriers of earlier frames cover already, looked up once for each pair of accesses and frame.

use crate::coverage::Coverage;
use crate::pairs::{PairId, PairTable};

/// Beyond this number of accesses a table of their pairs would be large: each look-up is computed then.
const MAX_PAIRS: usize = 64;
const UNKNOWN: u64 = u64::MAX;

/// Up to which level (exclusive) what one access did is covered towards another.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    width: usize,
    /// By first and second access: memory dependencies, and execution dependencies.
    memory: Vec<u64>,
    exec: Vec<u64>,
}

impl Covered {
    /// Forgets the last frame.
    pub(super) fn begin(&mut self, pairs: &PairTable) {
        self.width = if pairs.len() <= MAX_PAIRS { pairs.len() } else { 0 };
        for table in [&mut self.memory, &mut self.exec] {
            table.clear();
            table.resize(self.width * self.width, UNKNOWN);
        }
    }

    /// The level below which writes of `src` are visible to every access of `dst`.
    #[inline]
    pub(super) fn memory(&mut self, cover: &Coverage, pairs: &PairTable, src: PairId, dst: PairId) -> u64 {
        let at = self.at(src, dst);
        match self.memory.get(at) {
            Some(&known) if known != UNKNOWN => known,
            _ => keep(&mut self.memory, at, || cover.memory_level(pairs, src, dst)),
        }
    }

    /// The level below which reads of `src` happen before the writes of `dst`.
    #[inline]
    pub(super) fn exec(&mut self, cover: &Coverage, pairs: &PairTable, src: PairId, dst: PairId) -> u64 {
        let at = self.at(src, dst);
        match self.exec.get(at) {
            Some(&known) if known != UNKNOWN => known,
            _ => keep(&mut self.exec, at, || cover.exec_level(pairs, src, dst)),
        }
    }

    /// Accesses that were interned since the frame began are not in the tables.
    #[inline]
    fn at(&self, src: PairId, dst: PairId) -> usize {
        let (src, dst) = (usize::from(src), usize::from(dst));
        if dst < self.width { src * self.width + dst } else { usize::MAX }
    }
}

#[cold]
fn keep(table: &mut [u64], at: usize, level: impl FnOnce() -> u64) -> u64 {
    let level = level().min(UNKNOWN - 1);
    if let Some(cell) = table.get_mut(at) {
        *cell = level;
    }
    level
}
