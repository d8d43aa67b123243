//! Takes out of a call's entries what the others give already, bit by bit, until nothing more can go.
//!
//! Calls with a choice (a chain from one of several stages) may get an entry that a later choice makes superfluous.

use super::entries::Out;
use super::flags::scopes_of;
use super::needs::Needs;
use crate::access::{AccessFlags, Stages};
use crate::coverage::EntryScopes;
use crate::schedule::BarrierEntry;

pub(super) fn run(needs: &Needs, out: &mut Out<'_>) {
    let mut at = out.entries.len();
    while at > out.first {
        at -= 1;
        if !drop_whole(needs, out, at) {
            drop_bits(needs, out, at);
        }
    }
}

fn drop_whole(needs: &Needs, out: &mut Out<'_>, at: usize) -> bool {
    let nothing = EntryScopes::default();
    let scopes = std::mem::replace(&mut out.scopes[at], nothing);
    let superfluous = needs.met(&out.scopes[out.first..]);
    if superfluous {
        out.scopes.remove(at);
        out.entries.remove(at);
    } else {
        out.scopes[at] = scopes;
    }
    superfluous
}

fn drop_bits(needs: &Needs, out: &mut Out<'_>, at: usize) {
    let whole = out.entries[at];
    for smaller in smaller(whole) {
        let now = out.entries[at];
        let candidate = BarrierEntry {
            src_stages: now.src_stages & smaller.src_stages,
            src_access: now.src_access & smaller.src_access,
            dst_stages: now.dst_stages & smaller.dst_stages,
            dst_access: now.dst_access & smaller.dst_access,
        };
        let scopes = std::mem::replace(&mut out.scopes[at], scopes_of(out.pairs, &candidate));
        if needs.met(&out.scopes[out.first..]) {
            out.entries[at] = candidate;
        } else {
            out.scopes[at] = scopes;
        }
    }
}

/// An entry without each of its bits; accesses that no stage is left for go with their stage.
fn smaller(e: BarrierEntry) -> impl Iterator<Item = BarrierEntry> {
    let src = e.src_stages.iter().map(move |s| {
        let src_stages = e.src_stages.difference(s);
        BarrierEntry { src_stages, src_access: possible(e.src_access, src_stages), ..e }
    });
    let dst = e.dst_stages.iter().map(move |s| {
        let dst_stages = e.dst_stages.difference(s);
        BarrierEntry { dst_stages, dst_access: possible(e.dst_access, dst_stages), ..e }
    });
    let src_access =
        e.src_access.iter().map(move |a| BarrierEntry { src_access: e.src_access.difference(a), ..e });
    let dst_access =
        e.dst_access.iter().map(move |a| BarrierEntry { dst_access: e.dst_access.difference(a), ..e });
    src.chain(dst).chain(src_access).chain(dst_access)
}

/// The accesses of which some part can happen in the stages.
fn possible(access: AccessFlags, stages: Stages) -> AccessFlags {
    let supported = stages.supported_accesses();
    access.iter().filter(|a| a.expanded().intersects(supported)).collect()
}
