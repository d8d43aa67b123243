//! Which queue family owns which bytes (Vulkan specification 7.7.4, "Queue Family Ownership Transfer").
//!
//! Bytes are anybody's, as in a buffer that families share, until a transfer names them: from then on they have an owner,
//! as in an exclusive buffer. A release takes them from the family that runs it; they are nobody's until an acquire
//! with the same families and the same bytes gives them to the other. Only ownership is judged here: what the
//! halves' own dependencies order is left to the semaphore between the queues, which covers everything.

use super::Model;
use crate::dummy::hazard::{MkHazard, MkHazardKind, MkHazardParty, MkHazardWork, Reports};
use crate::dummy::memory::Block;
use crate::dummy::record::Transfer;
use memkit_graph::Access;
use std::ops::Range;
use std::sync::Arc;

/// Who owns some bytes.
#[derive(Clone)]
pub(super) struct Owned {
    range: Range<u64>,
    by: Owner,
}

#[derive(Clone)]
enum Owner {
    /// A family, since an acquire.
    Family(u32, MkHazardParty),
    /// Nobody, since a release of these bytes.
    Released { from: u32, to: u32, range: Range<u64>, party: MkHazardParty },
}

impl Owned {
    fn meets(&self, range: &Range<u64>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }

    /// What keeps a family from using or releasing the bytes, and what made it so.
    fn refuses(&self, family: u32) -> Option<(MkHazardKind, MkHazardParty)> {
        match &self.by {
            Owner::Family(owner, _) if *owner == family => None,
            Owner::Released { to, party, .. } if *to == family => {
                Some((MkHazardKind::NotAcquired, party.clone()))
            }
            Owner::Family(_, party) | Owner::Released { party, .. } => {
                Some((MkHazardKind::NotOwned, party.clone()))
            }
        }
    }
}

/// Judges a use of bytes by a queue of a family.
pub(super) fn judge(
    owned: &[Owned],
    family: u32,
    block: &Block,
    range: &Range<u64>,
    party: &dyn Fn() -> MkHazardParty,
    reports: &Reports,
) {
    for owned in owned.iter().filter(|o| o.meets(range)) {
        if let Some((kind, first)) = owned.refuses(family) {
            let part = owned.range.start.max(range.start)..owned.range.end.min(range.end);
            report(kind, block, part, Some(first), party(), reports);
        }
    }
}

fn report(
    kind: MkHazardKind,
    block: &Block,
    range: Range<u64>,
    first: Option<MkHazardParty>,
    second: MkHazardParty,
    reports: &Reports,
) {
    let buffer = block.name.clone();
    reports.push(MkHazard { kind, buffer, range, first, second, mend: None, detail: None });
}

impl Model {
    /// The running queue does its half of a transfer. One from a family to itself is none.
    pub(in crate::dummy) fn transfer(
        &mut self,
        block: &Arc<Block>,
        transfer: &Transfer,
        submission: u64,
        reports: &Reports,
    ) {
        let (family, &Transfer { from, to, .. }) = (self.family, transfer);
        let range = transfer.range.start..transfer.range.end.min(block.size);
        let Some((track, _)) = self.track(block) else { return };
        if from == to || range.is_empty() {
            return;
        }
        let releases = family == from;
        let work =
            if releases { MkHazardWork::Release { from, to } } else { MkHazardWork::Acquire { from, to } };
        let party = MkHazardParty { work, access: Access::NONE, submission };
        if releases {
            judge(&track.owned, family, block, &range, &|| party.clone(), reports);
        } else if family != to {
            // Neither end: it has no business with the bytes.
            report(MkHazardKind::NotOwned, block, range, None, party, reports);
            return;
        } else {
            acquire(&track.owned, block, (&range, from, to), &party, reports);
        }
        let by = if releases {
            Owner::Released { from, to, range: range.clone(), party }
        } else {
            Owner::Family(to, party)
        };
        replace(&mut track.owned, Owned { range, by });
    }
}

/// Judges an acquire: all of its bytes were released together, by the same families.
fn acquire(
    owned: &[Owned],
    block: &Block,
    (range, from, to): (&Range<u64>, u32, u32),
    party: &MkHazardParty,
    reports: &Reports,
) {
    let mut known = owned.iter().filter(|o| o.meets(range));
    let Some(first) = known.next() else {
        report(MkHazardKind::NotReleased, block, range.clone(), None, party.clone(), reports);
        return;
    };
    let (kind, other) = match &first.by {
        Owner::Family(_, earlier) => (MkHazardKind::NotReleased, earlier),
        // Pieces of it are gone if another half took them since.
        Owner::Released { from: f, to: t, range: r, .. }
            if (*f, *t, r) == (from, to, range) && first.range == *range =>
        {
            return;
        }
        Owner::Released { party: release, .. } => (MkHazardKind::OwnershipMismatch, release),
    };
    report(kind, block, range.clone(), Some(other.clone()), party.clone(), reports);
}

/// The bytes of `new` are as it says.
fn replace(owned: &mut Vec<Owned>, new: Owned) {
    let mut kept = Vec::new();
    for old in owned.drain(..) {
        let sides = if old.meets(&new.range) {
            [old.range.start..new.range.start, new.range.end..old.range.end]
        } else {
            [old.range.clone(), 0..0]
        };
        kept.extend(
            sides.into_iter().filter(|r| !r.is_empty()).map(|range| Owned { range, by: old.by.clone() }),
        );
    }
    kept.push(new);
    *owned = kept;
}
