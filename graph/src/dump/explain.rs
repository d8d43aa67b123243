//! Why one node runs before another.

use super::hazards::{self, Link};
use super::model::{CauseDump, FrameDump};
use super::write::{bytes, line, putln};
use crate::schedule::{HazardKind, Party};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// One link of the chain that puts a node before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The node that comes first, a position in [`FrameDump::nodes`].
    pub from: u32,
    /// The node that comes later.
    pub to: u32,
    /// The hazard between them.
    pub kind: HazardKind,
    /// Position in [`FrameDump::resources`]; none for an explicit order.
    pub resource: Option<u32>,
    /// Bytes concerned, half-open; empty for an explicit order.
    pub range: Range<u64>,
    /// Where the hazard made a barrier entry. None if an entry for another hazard covers it, or if causes were not
    /// collected.
    pub cause: Option<&'a CauseDump>,
}

impl FrameDump {
    /// The shortest chain of hazards and explicit orders that puts node `a` before node `b`, or none if no chain does.
    ///
    /// Two nodes without a chain may still run one after the other; nothing asks for it then. Hazards are found from
    /// what the kept nodes declare, so that those are there too which needed no barrier of their own. In a frame that was
    /// not planned all nodes count as kept.
    ///
    /// Takes time about linear in the hazards of the frame.
    #[must_use]
    pub fn explain(&self, a: u32, b: u32) -> Option<Vec<Step<'_>>> {
        let mut causes: HashMap<(Party, Party), Vec<&CauseDump>> = HashMap::new();
        for c in self.causes() {
            causes.entry((c.producer.who, c.consumer.who)).or_default().push(c);
        }
        let mut next: HashMap<u32, Vec<Step<'_>>> = HashMap::new();
        for link in hazards::links(self) {
            let between = causes.get(&(Party::Node(link.from), Party::Node(link.to)));
            let cause = between.into_iter().flatten().copied().find(|c| is_cause_of(c, &link));
            let Link { from, to, kind, resource, range } = link;
            next.entry(from).or_default().push(Step { from, to, kind, resource, range, cause });
        }
        // Of several hazards between two nodes, one that made a barrier says most.
        next.values_mut().for_each(|steps| steps.sort_by_key(|s| s.cause.is_none()));
        let mut came: HashMap<u32, &Step<'_>> = HashMap::new();
        let mut queue = VecDeque::from([a]);
        while let Some(node) = queue.pop_front() {
            for step in next.get(&node).map_or(&[][..], Vec::as_slice) {
                if step.to != a && !came.contains_key(&step.to) {
                    came.insert(step.to, step);
                    queue.push_back(step.to);
                }
            }
            if came.contains_key(&b) {
                break;
            }
        }
        let mut chain = Vec::new();
        let mut at = b;
        while at != a {
            let step = *came.get(&at)?;
            chain.push(step.clone());
            at = step.from;
        }
        chain.reverse();
        (!chain.is_empty()).then_some(chain)
    }

    /// [`explain`](Self::explain) in words, a line a step.
    #[must_use]
    pub fn explain_text(&self, a: u32, b: u32) -> String {
        let name = |n| line(&self.node_name(n));
        let mut out = String::new();
        let Some(chain) = self.explain(a, b) else {
            putln!(out, "no chain of hazards puts `{}` before `{}`", name(a), name(b));
            return out;
        };
        putln!(out, "`{}` comes before `{}`:", name(a), name(b));
        for step in chain {
            let subject = match step.resource {
                Some(r) => format!(" {}{}", line(&self.resource_name(r)), bytes(&step.range)),
                None => String::new(),
            };
            let covered = match step.cause {
                None if self.problem.is_none() && self.causes_collected => {
                    ", covered by a barrier for another hazard"
                }
                _ => "",
            };
            putln!(out, "  `{}` then `{}`: {}{subject}{covered}", name(step.from), name(step.to), step.kind);
        }
        out
    }
}

fn is_cause_of(cause: &CauseDump, link: &Link) -> bool {
    let touches = cause.range.start < link.range.end && link.range.start < cause.range.end;
    (cause.kind, cause.resource) == (link.kind, link.resource) && (link.resource.is_none() || touches)
}
