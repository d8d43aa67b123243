//! From sets of atoms to the masks of an entry, and back.

use crate::access::{AccessFlags, Stages};
use crate::coverage::EntryScopes;
use crate::pairs::{AtomSet, PairId, PairTable, bits};
use crate::schedule::BarrierEntry;
use smallvec::SmallVec;

/// What an entry covers, among the stages and accesses ever seen.
pub(super) fn scopes_of(pairs: &PairTable, entry: &BarrierEntry) -> EntryScopes {
    let src_stages = pairs.stages_of(entry.src_stages);
    let dst_stages = pairs.stages_of(entry.dst_stages);
    EntryScopes {
        src_stages,
        src_writes: pairs.atoms_of(src_stages, entry.src_access.expanded()),
        dst_stages,
        dst_atoms: pairs.atoms_of(dst_stages, entry.dst_access.expanded()),
    }
}

/// The stages and accesses of a set of atoms: one group for each distinct set of accesses, so that no stage gets an
/// access that was not asked for.
pub(super) fn flags_of(pairs: &PairTable, atoms: AtomSet) -> SmallVec<[(u64, AccessFlags); 2]> {
    let mut by_stage: SmallVec<[(u64, AccessFlags); 2]> = SmallVec::new();
    for atom in atoms.iter() {
        let atom = pairs.atom(atom);
        let stage = 1u64 << atom.stage;
        match by_stage.iter_mut().find(|g| g.0 == stage) {
            Some(group) => group.1 |= atom.access,
            None => by_stage.push((stage, atom.access)),
        }
    }
    let mut groups: SmallVec<[(u64, AccessFlags); 2]> = SmallVec::new();
    for (stage, access) in by_stage {
        // Joining is exact when the stage could do nothing more with the joined accesses, and nor could the others.
        let exact = |g: &(u64, AccessFlags)| {
            let all = g.1 | access;
            let possible = |stages: u64| pairs.stage_flags(stages).supported_accesses() & all;
            possible(stage) == access
                && bits(g.0).all(|s| possible(1 << s) == (g.1 & possible(1 << s)))
                && possible(g.0) & !g.1 == AccessFlags::empty()
        };
        match groups.iter_mut().find(|g| exact(g)) {
            Some(group) => {
                group.0 |= stage;
                group.1 |= access;
            }
            None => groups.push((stage, access)),
        }
    }
    groups
}

/// The flags as they were declared, if these are all of them; umbrella bits then stay as short as they were said.
pub(super) fn declared(
    pairs: &PairTable,
    pair: Option<PairId>,
    stages: u64,
    access: AccessFlags,
) -> (Stages, AccessFlags) {
    let exact = (pairs.stage_flags(stages), access);
    let Some(pair) = pair.map(|p| pairs.get(p)) else { return exact };
    if pair.stages == stages { (pair.access.stages, pair.access.access) } else { exact }
}
