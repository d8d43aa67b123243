//! Whether a plan was made for the frame, and why, in words.

use super::model::FrameDump;
use crate::planner::{PlanChange, PlanOrigin};

impl FrameDump {
    /// One line; none if the planner keeps no plans.
    pub(super) fn origin_in_words(&self) -> Option<String> {
        match self.origin {
            PlanOrigin::Uncached => None,
            PlanOrigin::Reused => Some("used again, of an earlier frame".to_owned()),
            PlanOrigin::Anew(change) => {
                Some(format!("made for this frame: {}", self.change_in_words(change)))
            }
        }
    }

    fn change_in_words(&self, change: PlanChange) -> String {
        let node = |node: u32| format!("`{}`", self.node_name(node));
        let nth = |list: &str, index: u32| format!("{list} {}", u64::from(index) + 1);
        match change {
            PlanChange::FirstFrame => "the planner has seen no other".to_owned(),
            PlanChange::NotKept => "no plan of its structure was kept so far".to_owned(),
            PlanChange::TooLarge => "it is too large to be remembered".to_owned(),
            PlanChange::Uploads => "uploads alone are planned nearly as fast as they are compared".to_owned(),
            PlanChange::Added { node: at } => format!("nodes were added, from {} on", node(at)),
            PlanChange::Removed { node: at } if at as usize >= self.nodes.len() => {
                "nodes are missing at its end".to_owned()
            }
            PlanChange::Removed { node: at } => format!("nodes are missing, from where {} is now", node(at)),
            PlanChange::Node { node: at } => format!("{} is another node than was there before", node(at)),
            PlanChange::Use { node: at, number } => {
                let uses = self.nodes.get(at as usize).map_or(&[][..], |n| n.uses.as_slice());
                match uses.get(number as usize) {
                    Some(u) => {
                        format!(
                            "{} uses `{}` where it was otherwise",
                            node(at),
                            self.resource_name(u.resource)
                        )
                    }
                    None => format!("{} has other uses", node(at)),
                }
            }
            PlanChange::Transient { index } => {
                format!("{} differs in size, or is new or gone", nth("transient", index))
            }
            PlanChange::Backing { index } => format!("{} has other memory", nth("transient", index)),
            PlanChange::Order => "explicit orders differ".to_owned(),
            PlanChange::Options => "causes, or another rule for uploads, were asked for".to_owned(),
            PlanChange::Staging { node: at } => {
                format!("staging memory moved otherwise for {} than for others", node(at))
            }
            PlanChange::State => "it begins with another state".to_owned(),
            PlanChange::Accesses => "kinds of access became known since".to_owned(),
            PlanChange::Resource { resource } => {
                format!("earlier frames left `{}` otherwise", self.resource_name(resource))
            }
            PlanChange::Coverage => "barriers of earlier frames cover something else".to_owned(),
        }
    }
}
