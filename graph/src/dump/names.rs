//! Names for what has none, and names that occur once.

use super::model::{NodeKindDump, ResourceDump, UseDump};
use super::write::bytes;
use std::collections::{HashMap, HashSet};

/// Makes names differ: the second `a` becomes `a (2)`, or the next number that is free.
pub(super) fn unique(names: Vec<String>) -> Vec<String> {
    // A name as declared keeps its spelling wherever it stands; only repetitions change.
    let declared: HashSet<String> = names.iter().cloned().collect();
    let mut given: HashSet<String> = HashSet::new();
    let mut next: HashMap<String, u32> = HashMap::new();
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        if given.insert(name.clone()) {
            out.push(name);
            continue;
        }
        let count = next.entry(name.clone()).or_insert(1);
        loop {
            *count = count.saturating_add(1);
            let candidate = format!("{name} ({count})");
            if !declared.contains(&candidate) && given.insert(candidate.clone()) {
                out.push(candidate);
                break;
            }
        }
    }
    out
}

/// Names a node that was declared without a name after what it does.
pub(super) fn of_transfer(kind: NodeKindDump, uses: &[UseDump], resources: &[ResourceDump]) -> String {
    let place = |i: usize| match uses.get(i) {
        Some(u) => {
            let name = resources.get(u.resource as usize).map_or("<unknown>", |r| r.name.as_str());
            format!("{name}{}", bytes(&u.range))
        }
        None => "<nothing>".to_owned(),
    };
    match kind {
        NodeKindDump::Pass => "<unnamed pass>".to_owned(),
        NodeKindDump::Upload { .. } => format!("upload -> {}", place(0)),
        NodeKindDump::Copy => format!("copy {} -> {}", place(0), place(1)),
        NodeKindDump::Fill { value } => format!("fill {} with {value:#010x}", place(0)),
        NodeKindDump::Readback => format!("readback {} -> {}", place(0), place(1)),
    }
}

/// A frame's name with the word that says what it is, unless it says so itself.
pub(super) fn headline(name: &str) -> String {
    if name.starts_with("frame") { name.to_owned() } else { format!("frame {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_numbered_and_never_collide() {
        let given = ["a", "a", "a (2)", "b", "a"].map(str::to_owned).to_vec();
        assert_eq!(unique(given), ["a", "a (3)", "a (2)", "b", "a (4)"]);
    }
}
