//! What the barriers recorded so far cover, per queue.
//!
//! Time on a queue is counted in levels that go on from frame to frame. A barrier call stands at the boundary before
//! a level and orders everything at earlier levels. Three tables say, for each kind of earlier work, up to which
//! level (exclusive) it is ordered against each kind of later work:
//!
//! - `exec[s][t]`: stage `s` happens before stage `t` (execution dependency, chains included);
//! - `avail[a][t]`: writes of atom `a` are available, and that availability happens before stage `t`;
//! - `vis[a][b]`: writes of atom `a` are visible to atom `b`.
//!
//! The tables are stored by the later work: an entry moves on what is known of one kind of it for all earlier work.
//!
//! The rules are those of the Vulkan specification, "Execution and Memory Dependencies" (7.1) and the access scopes
//! of `VkMemoryBarrier2`: a barrier makes available what its source access names literally, and makes visible what
//! was made available before in a chain that reaches its source stages. Entries of one call do not chain.

use crate::pairs::{AtomSet, PairId, PairTable, StageIndex, bits};
use smallvec::SmallVec;

/// The three tables.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    stages: usize,
    atoms: usize,
    /// Everything before this level is covered, kinds of access never seen included.
    floor: u64,
    exec: Vec<u64>,
    avail: Vec<u64>,
    vis: Vec<u64>,
    /// Memory for [`apply`](Self::apply), where this is its scratch.
    spare: Option<Box<Coverage>>,
}

/// One barrier entry in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntryScopes {
    pub(crate) src_stages: u64,
    pub(crate) src_writes: AtomSet,
    pub(crate) dst_stages: u64,
    pub(crate) dst_atoms: AtomSet,
}

impl Clone for Coverage {
    fn clone(&self) -> Self {
        let mut copy = Coverage::default();
        copy.clone_from(self);
        copy
    }

    /// Reuses the memory of `self`.
    fn clone_from(&mut self, other: &Self) {
        self.stages = other.stages;
        self.atoms = other.atoms;
        self.floor = other.floor;
        self.exec.clone_from(&other.exec);
        self.avail.clone_from(&other.avail);
        self.vis.clone_from(&other.vis);
    }
}

impl Coverage {
    /// Makes room for every stage and atom of the table.
    pub(crate) fn fit(&mut self, pairs: &PairTable) {
        let (stages, atoms) = (pairs.stage_count(), pairs.atom_count());
        if stages <= self.stages && atoms <= self.atoms {
            return;
        }
        let mut grown = Coverage {
            stages: stages.next_power_of_two(),
            atoms: atoms.next_power_of_two(),
            floor: self.floor,
            ..Coverage::default()
        };
        grown.exec.resize(grown.stages * grown.stages, self.floor);
        grown.avail.resize(grown.atoms * grown.stages, self.floor);
        grown.vis.resize(grown.atoms * grown.atoms, self.floor);
        copy_rows(&self.exec, self.stages, &mut grown.exec, grown.stages);
        copy_rows(&self.avail, self.atoms, &mut grown.avail, grown.atoms);
        copy_rows(&self.vis, self.atoms, &mut grown.vis, grown.atoms);
        *self = grown;
    }

    #[inline]
    pub(crate) fn visible(&self, write: u8, to: u8) -> u64 {
        self.vis[usize::from(to) * self.atoms + usize::from(write)]
    }

    #[inline]
    pub(crate) fn ordered(&self, first: StageIndex, then: StageIndex) -> u64 {
        self.exec[usize::from(then) * self.stages + usize::from(first)]
    }

    /// The stages that later barriers can chain from to reach writes of `atom` at `level` that are available.
    pub(crate) fn available_at(&self, atom: u8, level: u64) -> u64 {
        above(&self.avail, self.atoms, atom, level)
    }

    /// The stages whose later work is ordered after that of `first` at `level`.
    pub(crate) fn ordered_after(&self, first: StageIndex, level: u64) -> u64 {
        above(&self.exec, self.stages, first, level)
    }

    /// The level below which the writes of `src` are visible to every access of `dst`.
    #[inline]
    pub(crate) fn memory_level(&self, pairs: &PairTable, src: PairId, dst: PairId) -> u64 {
        if let (Some(write), Some(to)) = (pairs.facts(src).write, pairs.facts(dst).atom) {
            return self.visible(write, to);
        }
        let (src, dst) = (pairs.get(src), pairs.get(dst));
        let cells =
            src.write_list.iter().flat_map(|&w| dst.atom_list.iter().map(move |&d| self.visible(w, d)));
        cells.min().unwrap_or(u64::MAX)
    }

    /// The level below which what `src` read happens before the writes of `dst`.
    #[inline]
    pub(crate) fn exec_level(&self, pairs: &PairTable, src: PairId, dst: PairId) -> u64 {
        let (src, dst) = (pairs.get(src).read_stages, pairs.get(dst).write_stages);
        bits(src).flat_map(|s| bits(dst).map(move |t| self.ordered(s, t))).min().unwrap_or(u64::MAX)
    }

    /// Enters one call of one entry, standing before level `boundary`.
    pub(crate) fn apply_one(&mut self, entry: &EntryScopes, boundary: u64) {
        if let Some(single) = Single::of(entry) {
            self.apply_single(single, boundary);
            return;
        }
        // How far each kind of earlier work reaches by way of the source, as things were before the call.
        let mut stages = reach(&self.exec, self.stages, entry.src_stages);
        bits(entry.src_stages).for_each(|s| stages[usize::from(s)] = boundary);
        for to in bits(entry.dst_stages) {
            raise_row(&mut self.exec, to, &stages);
        }
        let mut atoms = reach(&self.avail, self.atoms, entry.src_stages);
        entry.src_writes.iter().for_each(|w| atoms[usize::from(w)] = boundary);
        for to in bits(entry.dst_stages) {
            raise_row(&mut self.avail, to, &atoms);
        }
        for to in entry.dst_atoms.iter() {
            raise_row(&mut self.vis, to, &atoms);
        }
    }

    /// Where a second call of an entry raises the tables, if nothing else moves them between the two; none if that is
    /// not so simple. The entry must make a write available.
    pub(crate) fn cells(&self, entry: &EntryScopes) -> Option<Cells> {
        let Single { from, write: Some(write), to, atom } = Single::of(entry)? else { return None };
        Some(Cells {
            exec: to * self.stages + from,
            avail: to * self.atoms + write,
            vis: atom * self.atoms + write,
        })
    }

    /// Enters another call of an entry, standing before level `boundary`.
    #[inline]
    pub(crate) fn raise(&mut self, cells: Cells, boundary: u64) {
        // No call stands later: nothing is beyond it.
        for (table, at) in
            [(&mut self.exec, cells.exec), (&mut self.avail, cells.avail), (&mut self.vis, cells.vis)]
        {
            if let Some(cell) = table.get_mut(at) {
                *cell = boundary;
            }
        }
    }

    /// As [`apply_one`](Self::apply_one), for the usual entry.
    fn apply_single(&mut self, Single { from, write, to, atom }: Single, boundary: u64) {
        if from != to {
            raise_from(&mut self.exec, self.stages, from, to);
            raise_from(&mut self.avail, self.atoms, from, to);
        }
        let own = &mut self.exec[to * self.stages + from];
        *own = (*own).max(boundary);
        let row = from * self.atoms;
        let available = &self.avail[row..row + self.atoms];
        let row = atom * self.atoms;
        for (cell, &reached) in self.vis[row..row + self.atoms].iter_mut().zip(available) {
            *cell = (*cell).max(reached);
        }
        if let Some(write) = write {
            for cell in [&mut self.vis[row + write], &mut self.avail[to * self.atoms + write]] {
                *cell = (*cell).max(boundary);
            }
        }
    }

    /// Enters that an entry also makes the writes of `atom` before level `boundary` visible, and their being available
    /// known to its stages.
    pub(crate) fn raise_visible(&mut self, atom: u8, entry: &EntryScopes, boundary: u64) {
        for to in entry.dst_atoms.iter() {
            let cell = &mut self.vis[usize::from(to) * self.atoms + usize::from(atom)];
            *cell = (*cell).max(boundary);
        }
        for to in bits(entry.dst_stages) {
            let cell = &mut self.avail[usize::from(to) * self.atoms + usize::from(atom)];
            *cell = (*cell).max(boundary);
        }
    }

    /// Enters what a later call does for writes of `atom` before level `boundary` that turned out to be available to
    /// later work of the stages `at`. Returns those stages after the call.
    pub(crate) fn spread(&mut self, atom: u8, boundary: u64, at: u64, entries: &[EntryScopes]) -> u64 {
        // Entries of one call do not chain.
        entries.iter().filter(|e| e.src_stages & at != 0).fold(at, |reached, entry| {
            self.raise_visible(atom, entry, boundary);
            reached | entry.dst_stages
        })
    }

    /// Enters one call, standing before level `boundary`. `scratch` is overwritten.
    pub(crate) fn apply(&mut self, entries: &[EntryScopes], boundary: u64, scratch: &mut Coverage) {
        if let [only] = entries {
            self.apply_one(only, boundary);
            return;
        }
        // Entries of one call do not chain: each looks at the tables as they were before the call.
        scratch.clone_from(self);
        let mut one = scratch.spare.take().unwrap_or_default();
        for entry in entries {
            one.as_mut().clone_from(scratch);
            one.apply_one(entry, boundary);
            self.raise_to(&one);
        }
        scratch.spare = Some(one);
    }

    /// Enters a full barrier before level `boundary`: everything earlier is ordered and visible.
    pub(crate) fn apply_full(&mut self, boundary: u64) {
        self.floor = boundary;
        self.exec.fill(boundary);
        self.avail.fill(boundary);
        self.vis.fill(boundary);
    }

    /// From which level on things moved, if between these tables and `now` all of them did by `shift`, and nothing before
    /// that: comparisons among moved levels, and of them with others, then come out alike. `oldest` is the first level that
    /// things are compared with.
    pub(crate) fn moved(&self, now: &Coverage, shift: u64, oldest: u64) -> Option<u64> {
        if (self.stages, self.atoms) != (now.stages, now.atoms) {
            return None;
        }
        // The last level that stayed, if there is one, and the first that moved.
        let (mut stayed, mut first) = (None, oldest);
        for (&then, &now) in self.levels().zip(now.levels()) {
            if now.wrapping_sub(then) == shift {
                first = first.min(then);
            } else if now == then {
                stayed = stayed.max(Some(then));
            } else {
                return None;
            }
        }
        match stayed {
            Some(stayed) => (stayed < first).then_some(stayed + 1),
            None => Some(0),
        }
    }

    /// Takes on the tables of another.
    pub(crate) fn clone_tables(&mut self, other: &Coverage) {
        let floor = self.floor;
        self.clone_from(other);
        self.floor = floor;
    }

    /// Moves all levels from `moving` on by `shift`.
    pub(crate) fn advance(&mut self, moving: u64, shift: u64) {
        for table in [&mut self.exec, &mut self.avail, &mut self.vis] {
            for cell in table {
                *cell += if *cell >= moving { shift } else { 0 };
            }
        }
    }

    fn levels(&self) -> impl Iterator<Item = &u64> {
        self.exec.iter().chain(&self.avail).chain(&self.vis)
    }

    fn raise_to(&mut self, other: &Coverage) {
        let tables =
            [(&mut self.exec, &other.exec), (&mut self.avail, &other.avail), (&mut self.vis, &other.vis)];
        for (mine, theirs) in tables {
            for (cell, &value) in mine.iter_mut().zip(theirs) {
                *cell = (*cell).max(value);
            }
        }
    }
}

/// See [`Coverage::cells`]: a place in each table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    exec: usize,
    avail: usize,
    vis: usize,
}

/// An entry from one stage to another, for at most one kind of write and for one kind of access.
struct Single {
    from: usize,
    write: Option<usize>,
    to: usize,
    atom: usize,
}

impl Single {
    #[inline]
    fn of(entry: &EntryScopes) -> Option<Self> {
        let one = |set: u64| (set != 0 && set & (set - 1) == 0).then(|| set.trailing_zeros() as usize);
        let write = entry.src_writes.single();
        if write.is_none() && !entry.src_writes.is_empty() {
            return None;
        }
        Some(Single {
            from: one(entry.src_stages)?,
            write: write.map(usize::from),
            to: one(entry.dst_stages)?,
            atom: entry.dst_atoms.single()?.into(),
        })
    }
}

/// The rows that are beyond a level in a column.
#[inline]
fn above(table: &[u64], width: usize, column: u8, level: u64) -> u64 {
    let cells = table.iter().skip(usize::from(column)).step_by(width.max(1));
    cells.enumerate().fold(0, |set, (i, &cell)| set | u64::from(cell > level) << i)
}

/// How far each column reaches by way of these rows.
fn reach(table: &[u64], width: usize, rows: u64) -> SmallVec<[u64; 64]> {
    let mut reached: SmallVec<[u64; 64]> = SmallVec::from_elem(0, width);
    for m in bits(rows) {
        let row = usize::from(m) * width;
        for (cell, &value) in reached.iter_mut().zip(&table[row..row + width]) {
            *cell = (*cell).max(value);
        }
    }
    reached
}

fn raise_row(table: &mut [u64], row: u8, values: &[u64]) {
    let row = usize::from(row) * values.len();
    for (cell, &value) in table[row..row + values.len()].iter_mut().zip(values) {
        *cell = (*cell).max(value);
    }
}

/// Raises a row to another one.
fn raise_from(table: &mut [u64], width: usize, from: usize, to: usize) {
    for column in 0..width {
        let value = table[from * width + column];
        let cell = &mut table[to * width + column];
        *cell = (*cell).max(value);
    }
}

fn copy_rows(from: &[u64], from_width: usize, to: &mut [u64], to_width: usize) {
    if from_width == 0 {
        return;
    }
    for (old, new) in from.chunks_exact(from_width).zip(to.chunks_exact_mut(to_width)) {
        new[..from_width].copy_from_slice(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;

    fn scopes(t: &PairTable, src: PairId, literal: bool, dst: PairId) -> EntryScopes {
        EntryScopes {
            src_stages: t.get(src).stages,
            src_writes: if literal { t.get(src).writes } else { AtomSet::default() },
            dst_stages: t.get(dst).stages,
            dst_atoms: t.get(dst).atoms,
        }
    }

    #[test]
    fn a_second_reader_chains_from_the_first() {
        let mut t = PairTable::default();
        let copy = t.intern(Access::COPY_WRITE);
        let compute = t.intern(Access::COMPUTE_STORAGE_READ);
        let vertex = t.intern(Access::VERTEX_ATTRIBUTE_READ);
        let mut c = Coverage::default();
        c.fit(&t);
        c.apply_one(&scopes(&t, copy, true, compute), 1);
        assert!(c.memory_level(&t, copy, compute) > 0);
        assert!(c.memory_level(&t, copy, compute) <= 1, "a write after the call");
        assert!(c.memory_level(&t, copy, vertex) == 0, "another stage sees nothing yet");
        c.apply_one(&scopes(&t, compute, false, vertex), 2);
        assert!(c.memory_level(&t, copy, vertex) > 0, "available already, the chain makes it visible");
        assert!(c.memory_level(&t, copy, vertex) <= 1, "level 1 was never made available");
    }

    #[test]
    fn entries_of_one_call_do_not_chain() {
        let mut t = PairTable::default();
        let copy = t.intern(Access::COPY_WRITE);
        let compute = t.intern(Access::COMPUTE_STORAGE_READ);
        let vertex = t.intern(Access::VERTEX_ATTRIBUTE_READ);
        let mut c = Coverage::default();
        c.fit(&t);
        let entries = [scopes(&t, copy, true, compute), scopes(&t, compute, false, vertex)];
        c.apply(&entries, 1, &mut Coverage::default());
        assert!(c.memory_level(&t, copy, compute) > 0);
        assert!(c.memory_level(&t, copy, vertex) == 0);
    }
}
