//! Access pairs, interned.
//!
//! Hazards are judged per *atom*: one stage with one kind of access. A frame names few distinct [`Access`]es, so
//! each gets a small number, and with it the list of its atoms; atoms and stages get small numbers too, in the order
//! in which they first appear, so that what is tracked about them fits small tables.

use crate::access::{Access, AccessFlags, BufferUsage, Stages};
use crate::frame::Mode;
use crate::planner::resolve::mode_problem;
use smallvec::SmallVec;

/// Number of an interned [`Access`].
pub(crate) type PairId = u16;
/// The number of what there is no number left for: it stands for every access, so that more is ordered than need be, and
/// never less. A frame that declares one is refused.
pub(crate) const BEYOND: PairId = 4096;
/// Number of a stage.
pub(crate) type StageIndex = u8;
/// Number of an atom.
pub(crate) type AtomIndex = u8;

/// What [`BEYOND`] stands for.
const EVERYTHING: Access = Access::new(
    Stages::ALL_COMMANDS.union(Stages::HOST),
    AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE),
);

/// A set of atoms. 128 are more than the valid combinations of the stages and accesses this library knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AtomSet(u128);

impl AtomSet {
    /// The set of one atom.
    #[inline]
    pub(crate) fn of(atom: AtomIndex) -> Self {
        AtomSet(1 << atom)
    }

    #[inline]
    pub(crate) fn insert(&mut self, atom: AtomIndex) {
        self.0 |= 1 << atom;
    }

    #[inline]
    pub(crate) fn contains(&self, atom: AtomIndex) -> bool {
        self.0 >> atom & 1 != 0
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.0.count_ones()
    }

    /// The only atom, if there is just one.
    #[inline]
    pub(crate) fn single(self) -> Option<AtomIndex> {
        // Not by counting bits: not every processor does that in one instruction.
        (self.0 != 0 && self.0 & (self.0 - 1) == 0).then(|| self.0.trailing_zeros() as AtomIndex)
    }

    #[inline]
    pub(crate) fn union(self, other: Self) -> Self {
        AtomSet(self.0 | other.0)
    }

    #[inline]
    pub(crate) fn minus(self, other: Self) -> Self {
        AtomSet(self.0 & !other.0)
    }

    #[inline]
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = AtomIndex> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let atom = (left != 0).then(|| left.trailing_zeros() as AtomIndex)?;
            left &= left - 1;
            Some(atom)
        })
    }
}

/// The positions of the bits set in a word.
#[inline]
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let bit = word.trailing_zeros() as u8;
        word &= word - 1;
        Some(bit)
    })
}

/// What is known about an interned access.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The access in canonical form.
    pub(crate) access: Access,
    /// Its stages, as a set of stage numbers.
    pub(crate) stages: u64,
    /// Its atoms.
    pub(crate) atoms: AtomSet,
    pub(crate) atom_list: SmallVec<[AtomIndex; 2]>,
    /// Those of its atoms that write.
    pub(crate) writes: AtomSet,
    pub(crate) write_list: SmallVec<[AtomIndex; 2]>,
    /// Stages of atoms that read, and of those that write.
    pub(crate) read_stages: u64,
    pub(crate) write_stages: u64,
    /// Whether a stage reads that does not write: whoever overwrites must wait for it too.
    pub(crate) reads_elsewhere: bool,
    /// Flags a buffer needs, one of each set.
    pub(crate) usages: SmallVec<[BufferUsage; 2]>,
    /// Whether each access can happen in one of the stages.
    pub(crate) possible: bool,
    /// Stages it names that the device does not run.
    pub(crate) missing: Stages,
}

/// The little that is asked for of every use of an access, in few bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The flag a buffer needs, if that is all it needs, or [`Facts::PLAIN`] if it needs none; empty if more has to be
    /// looked at.
    needs: u32,
    /// The modes it can be declared in, a bit each; none if it is impossible.
    modes: u8,
    /// As in [`Pair`].
    pub(crate) reads_elsewhere: bool,
    /// Its only atom that writes, and its only atom, if there is just one.
    pub(crate) write: Option<AtomIndex>,
    pub(crate) atom: Option<AtomIndex>,
}

impl Facts {
    /// No flag of a buffer.
    const PLAIN: u32 = 1 << 31;

    fn of(pair: &Pair) -> Self {
        let mut modes = 0;
        if pair.possible && pair.missing.is_empty() && !pair.atom_list.is_empty() {
            let all = [Mode::Read, Mode::Write, Mode::Overwrite, Mode::Modify];
            let allowed = all.into_iter().filter(|&m| mode_problem(m, pair.access).is_none());
            modes = allowed.fold(0, |set, m| set | 1 << m as u8);
        }
        let needs = match pair.usages.as_slice() {
            [] => Self::PLAIN,
            [needed] => needed.bits() & !Self::PLAIN,
            _ => 0,
        };
        Facts {
            needs,
            modes,
            reads_elsewhere: pair.reads_elsewhere,
            write: pair.writes.single(),
            atom: pair.atoms.single(),
        }
    }

    /// What a buffer needs for it to be declared in this mode, to be judged by [`met`](Self::met).
    #[inline]
    pub(crate) fn needs_for(&self, mode: Mode) -> u32 {
        if self.modes >> mode as u8 & 1 != 0 { self.needs } else { 0 }
    }

    /// Whether a buffer with these flags has what is needed. `false` says only that it has to be looked at closely.
    #[inline]
    pub(crate) fn met(needs: u32, usage: BufferUsage) -> bool {
        (usage.bits() | Self::PLAIN) & needs != 0
    }

    /// Both at once.
    #[inline]
    pub(crate) fn plainly_allowed(&self, mode: Mode, usage: BufferUsage) -> bool {
        Self::met(self.needs_for(mode), usage)
    }
}

/// One stage with one kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    pub(crate) stage: StageIndex,
    pub(crate) access: AccessFlags,
}

/// Number of places in [`PairTable::cache`].
const CACHE: usize = 64;

/// Every access seen so far. Only grows, up to [`BEYOND`].
#[derive(Clone, Debug)]
pub(crate) struct PairTable {
    pairs: Vec<Pair>,
    /// Per pair, the little that is asked for of every use.
    facts: Vec<Facts>,
    /// Direct-mapped: the pair last found under a hash of its bits.
    cache: Vec<(Access, PairId)>,
    stages: Vec<Stages>,
    atoms: Vec<Atom>,
    /// Stages that the device runs: umbrella stages stand for these only.
    supported: Stages,
}

impl Default for PairTable {
    fn default() -> Self {
        PairTable::new(Stages::all())
    }
}

impl PairTable {
    /// For a device that runs these stages; bits that are none are left out.
    pub(crate) fn new(supported: Stages) -> Self {
        let supported = supported.intersection(Stages::all());
        let cache = vec![(Access::NONE, 0); CACHE];
        let mut table = PairTable { cache, supported, ..PairTable::vacant() };
        table.add(Access::NONE);
        table
    }

    /// Stands in while the real one is lent out: no pairs, nothing allocated.
    pub(crate) fn vacant() -> Self {
        PairTable {
            pairs: Vec::new(),
            facts: Vec::new(),
            cache: Vec::new(),
            stages: Vec::new(),
            atoms: Vec::new(),
            supported: Stages::all(),
        }
    }

    /// Those of these stages that the device does not run.
    pub(crate) fn missing(&self, stages: Stages) -> Stages {
        stages.difference(self.supported)
    }

    #[inline]
    pub(crate) fn intern(&mut self, access: Access) -> PairId {
        let mixed =
            (access.stages.bits() ^ access.access.bits().rotate_left(23)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = (mixed >> 58) as usize % CACHE;
        match self.cache.get(slot) {
            Some(&(cached, id)) if cached == access => id,
            _ => self.intern_slowly(access, slot),
        }
    }

    #[cold]
    fn intern_slowly(&mut self, access: Access, slot: usize) -> PairId {
        let canonical = access.canonical();
        let known = self.pairs.iter().take(usize::from(BEYOND));
        let found = known.zip(0..).find(|(p, _)| p.access == canonical).map(|(_, id)| id);
        let id = found.unwrap_or_else(|| self.add_or_give_up(canonical));
        if let Some(cached) = self.cache.get_mut(slot).filter(|_| canonical == access) {
            *cached = (access, id);
        }
        id
    }

    fn add_or_give_up(&mut self, access: Access) -> PairId {
        match PairId::try_from(self.pairs.len()) {
            Ok(id) if id < BEYOND => {
                self.add(access);
                id
            }
            _ => {
                if self.pairs.len() == usize::from(BEYOND) {
                    self.add(EVERYTHING);
                }
                BEYOND
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: PairId) -> &Pair {
        // Ids are only made by `intern`; entry 0 always exists.
        &self.pairs[usize::from(id)]
    }

    /// The little that is asked for of every use.
    #[inline]
    pub(crate) fn facts(&self, id: PairId) -> &Facts {
        &self.facts[usize::from(id)]
    }

    /// What an access reads in stages where it does not write.
    pub(crate) fn elsewhere(&mut self, id: PairId) -> PairId {
        let pair = self.get(id);
        let (stages, access) = (pair.read_stages & !pair.write_stages, pair.access.access.expanded());
        self.intern(Access::new(self.stage_flags(stages), access & AccessFlags::READS))
    }

    /// Number of accesses.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    pub(crate) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    pub(crate) fn atom_count(&self) -> usize {
        self.atoms.len()
    }

    pub(crate) fn atom(&self, index: AtomIndex) -> Atom {
        self.atoms[usize::from(index)]
    }

    /// The atoms that flags stand for, among those ever seen.
    pub(crate) fn atoms_of(&self, stages: u64, access: AccessFlags) -> AtomSet {
        let mut set = AtomSet::default();
        for (i, atom) in self.atoms.iter().enumerate() {
            if stages >> atom.stage & 1 != 0 && access.contains(atom.access) {
                set.insert(i as AtomIndex);
            }
        }
        set
    }

    /// Flags of a set of stage numbers.
    pub(crate) fn stage_flags(&self, stages: u64) -> Stages {
        bits(stages).fold(Stages::empty(), |all, s| all | self.stages[usize::from(s)])
    }

    /// The numbers of the stages that flags stand for, among those ever seen.
    pub(crate) fn stages_of(&self, flags: Stages) -> u64 {
        let flags = flags.expanded();
        let seen = self.stages.iter().enumerate().filter(|(_, s)| flags.contains(**s));
        seen.fold(0, |set, (i, _)| set | 1 << i)
    }

    /// Whether a set of stage numbers is the host alone.
    pub(crate) fn is_host(&self, stage: StageIndex) -> bool {
        self.stages[usize::from(stage)] == Stages::HOST
    }

    fn add(&mut self, access: Access) {
        let expanded = access.access.expanded();
        let stages = access.stages.expanded().intersection(self.supported);
        let mut pair = Pair {
            access,
            stages: 0,
            atoms: AtomSet::default(),
            atom_list: SmallVec::new(),
            writes: AtomSet::default(),
            write_list: SmallVec::new(),
            read_stages: 0,
            write_stages: 0,
            reads_elsewhere: false,
            usages: access.required_usages().collect(),
            possible: stages.supported_accesses().contains(
                access
                    .access
                    .difference(AccessFlags::MEMORY_READ.union(AccessFlags::MEMORY_WRITE))
                    .expanded(),
            ),
            missing: self.missing(access.stages),
        };
        for stage in stages.iter() {
            let number = self.stage(stage);
            pair.stages |= 1 << number;
            for kind in (expanded & stage.supported_accesses()).iter() {
                let atom = self.atom_index(Atom { stage: number, access: kind });
                pair.atoms.insert(atom);
                pair.atom_list.push(atom);
                if AccessFlags::WRITES.contains(kind) {
                    pair.write_stages |= 1 << number;
                    pair.writes.insert(atom);
                    pair.write_list.push(atom);
                } else {
                    pair.read_stages |= 1 << number;
                }
            }
        }
        pair.reads_elsewhere = pair.write_stages != 0 && pair.read_stages & !pair.write_stages != 0;
        self.facts.push(Facts::of(&pair));
        self.pairs.push(pair);
    }

    fn stage(&mut self, stage: Stages) -> StageIndex {
        let at = self.stages.iter().position(|&s| s == stage).unwrap_or_else(|| {
            self.stages.push(stage);
            self.stages.len() - 1
        });
        at as StageIndex
    }

    fn atom_index(&mut self, atom: Atom) -> AtomIndex {
        let at = self.atoms.iter().position(|&a| a == atom).unwrap_or_else(|| {
            self.atoms.push(atom);
            self.atoms.len() - 1
        });
        at as AtomIndex
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_accesses_share_a_number() {
        let mut t = PairTable::default();
        let a = t.intern(Access::COMPUTE_STORAGE_READ);
        let b = t.intern(Access::VERTEX_ATTRIBUTE_READ);
        assert_ne!(a, b);
        assert_eq!(a, t.intern(Access::COMPUTE_STORAGE_READ));
        assert_eq!(t.get(b).atom_list.len(), 1);
    }

    #[test]
    fn a_combined_access_has_the_atoms_that_can_happen() {
        let mut t = PairTable::default();
        let id = t.intern(Access::COMPUTE_STORAGE_READ | Access::VERTEX_ATTRIBUTE_READ);
        assert_eq!(t.get(id).atoms.len(), 2, "no attribute read in the compute shader");
    }

    #[test]
    fn umbrella_stages_stand_for_those_of_the_device() {
        let supported = Stages::all() - Stages::GEOMETRY_SHADER;
        let mut t = PairTable::new(supported);
        let all = t.intern(Access::new(Stages::ALL_GRAPHICS, AccessFlags::SHADER_READ));
        let flags = t.stage_flags(t.get(all).stages);
        assert!(flags.contains(Stages::VERTEX_SHADER) && !flags.contains(Stages::GEOMETRY_SHADER), "{flags}");
        assert!(t.get(all).missing.is_empty());
        let named = t.intern(Access::new(Stages::GEOMETRY_SHADER, AccessFlags::SHADER_READ));
        assert_eq!(t.get(named).missing, Stages::GEOMETRY_SHADER);
    }

    #[test]
    fn every_atom_this_library_knows_fits_a_set() {
        let mut t = PairTable::default();
        t.intern(EVERYTHING);
        assert!(t.atom_count() <= 128 && t.stage_count() < 64, "{} {}", t.atom_count(), t.stage_count());
    }

    #[test]
    fn accesses_beyond_the_last_number_stand_for_every_access() {
        let mut t = PairTable::default();
        let access = |i: u64| Access::new(Stages::COMPUTE_SHADER, AccessFlags::from_bits_retain(i << 36));
        let seen: Vec<_> = (1..10_000).map(|i| t.intern(access(i))).collect();
        assert_eq!((seen[0], seen[4094], seen[4095]), (1, 4095, BEYOND));
        let late = t.intern(Access::VERTEX_STORAGE_WRITE);
        assert_eq!((late, t.len()), (BEYOND, usize::from(BEYOND) + 1));
        let mut other = PairTable::default();
        let wanted = other.intern(EVERYTHING);
        assert_eq!(t.get(late).atoms.len(), other.get(wanted).atoms.len());
        assert_eq!(t.intern(access(1)), 1, "known ones keep their numbers");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever bits are named, and whatever a device is said to run: the numbers of stages and atoms fit their sets,
        /// and a stage that is none is missing, unless all are named anyway.
        #[test]
        fn any_bits_fit(device: u64, named in prop::collection::vec(any::<(u64, u64)>(), 1..300)) {
            let mut t = PairTable::new(Stages::from_bits_retain(device));
            for (stages, access) in named {
                let (stages, access) = (Stages::from_bits_retain(stages), AccessFlags::from_bits_retain(access));
                let id = t.intern(Access::new(stages, access));
                t.elsewhere(id);
                let pair = t.get(id);
                let flags = t.stage_flags(pair.stages);
                prop_assert!(Stages::all().contains(flags), "{flags}");
                prop_assert!(stages.contains(Stages::ALL_COMMANDS) || pair.missing.contains(stages - Stages::all()));
            }
            prop_assert!(t.stage_count() < 64 && t.atom_count() <= 128);
        }
    }
}
