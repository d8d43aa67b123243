//! Accesses taken apart into single (stage, access) pairs, and sets of such pairs.

use memkit_graph::{Access, AccessFlags, Stages};
use smallvec::SmallVec;

/// One stage bit and one access bit.
pub(in super::super) type Pair = (Stages, AccessFlags);

/// The pairs of a use: each read, or each write, in every stage where it can occur (Vulkan specification 7.1.3,
/// table "Supported access types").
pub(in super::super) fn pairs(access: Access, of: AccessFlags) -> SmallVec<[Pair; 4]> {
    let wanted = access.access.expanded().intersection(of.expanded());
    access
        .stages
        .expanded()
        .iter()
        .flat_map(|stage| stage.supported_accesses().intersection(wanted).iter().map(move |a| (stage, a)))
        .collect()
}

/// Adds one pair to an access.
pub(super) fn add(to: &mut Access, (stage, access): Pair) {
    *to |= Access::new(stage, access);
}

/// A set of pairs, as a union of rectangles "these stages × these accesses".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PairSet(SmallVec<[(Stages, AccessFlags); 2]>);

impl PairSet {
    pub(super) fn contains(&self, (stage, access): Pair) -> bool {
        self.0.iter().any(|(s, a)| s.contains(stage) && a.contains(access))
    }

    /// Adds every combination of the (expanded) stages and accesses.
    pub(super) fn add(&mut self, stages: Stages, access: AccessFlags) {
        if stages.is_empty() || access.is_empty() {
            return;
        }
        for (s, a) in &mut self.0 {
            if s.contains(stages) && a.contains(access) {
                return;
            }
            // Equal on one side: the union is a rectangle again.
            if *s == stages {
                *a |= access;
                return;
            }
            if *a == access {
                *s |= stages;
                return;
            }
        }
        self.0.push((stages, access));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_every_access_in_every_stage_that_can_do_it() {
        let access = Access::COMPUTE_STORAGE_READ | Access::VERTEX_ATTRIBUTE_READ;
        let found = pairs(access, AccessFlags::READS);
        assert_eq!(
            found.as_slice(),
            [
                (Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_READ),
                (Stages::VERTEX_ATTRIBUTE_INPUT, AccessFlags::VERTEX_ATTRIBUTE_READ)
            ]
        );
        assert!(pairs(access, AccessFlags::WRITES).is_empty());
    }

    #[test]
    fn a_pair_set_holds_combinations_and_no_others() {
        let mut set = PairSet::default();
        set.add(Stages::COMPUTE_SHADER, AccessFlags::UNIFORM_READ);
        set.add(Stages::FRAGMENT_SHADER, AccessFlags::SHADER_STORAGE_READ);
        assert!(set.contains((Stages::COMPUTE_SHADER, AccessFlags::UNIFORM_READ)));
        assert!(!set.contains((Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_READ)));
        set.add(Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_READ);
        assert!(set.contains((Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_READ)));
        assert!(!set.contains((Stages::FRAGMENT_SHADER, AccessFlags::UNIFORM_READ)));
    }
}
