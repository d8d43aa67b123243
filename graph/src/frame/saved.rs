//! A frame as data for a file: written and loaded back.
//!
//! The form names everything where it is used, so that it can be read and written by hand. Loading declares the frame
//! anew, by the same calls a caller has: what comes out is a frame that could have been declared, whatever the file
//! says. Whether it makes sense is for the [`Planner`](crate::Planner) to find.

use super::{FrameGraph, Mode, Node, NodeKind, Order, PassId, Use};
use crate::access::{Access, Queue};
use crate::resource::{HostSlice, Resource, ResourceId, ResourceSlice, TransientId};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    transients: Vec<SavedTransient>,
    nodes: Vec<SavedNode>,
    orders: Vec<SavedOrder>,
    /// The node that [`FrameGraph::prologue`] was called before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prologue: Option<u32>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTransient {
    name: String,
    size: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SavedNode {
    Pass {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<Queue>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        side_effects: bool,
        uses: Vec<SavedUse>,
    },
    Upload {
        from: HostSlice,
        to: SavedSlice,
    },
    Copy {
        from: SavedSlice,
        to: SavedSlice,
    },
    Fill {
        to: SavedSlice,
        value: u32,
    },
    Readback {
        from: SavedSlice,
        to: SavedSlice,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedUse {
    mode: Mode,
    slice: SavedSlice,
    access: Access,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSlice {
    resource: SavedResource,
    #[serde(default)]
    start: u64,
    /// None for the end of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedResource {
    Persistent(ResourceId),
    /// Position among the frame's transients.
    Transient(u32),
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOrder {
    /// Positions among the nodes.
    first: u32,
    then: u32,
    #[serde(default, skip_serializing_if = "is_none")]
    first_access: Access,
    #[serde(default, skip_serializing_if = "is_none")]
    then_access: Access,
}

fn is_none(access: &Access) -> bool {
    *access == Access::NONE
}

/// Fails for a frame that names a transient or a pass of another frame: they mean nothing in a file.
impl Serialize for FrameGraph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let transients =
            self.transients().map(|(name, t)| SavedTransient { name: name.into(), size: t.size });
        let nodes = (0..self.len()).filter_map(|i| self.node(i)).map(|node| save_node(self, &node));
        let orders = self.orders.iter().map(|order| save_order(self, order));
        let saved = Saved {
            transients: transients.collect(),
            nodes: nodes.collect::<Result<_, _>>().map_err(S::Error::custom)?,
            orders: orders.collect::<Result<_, _>>().map_err(S::Error::custom)?,
            prologue: self.prologue,
        };
        saved.serialize(serializer)
    }
}

/// Gives a frame of its own: ids of the frame that was saved are not ids of it.
impl<'de> Deserialize<'de> for FrameGraph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        load(&Saved::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn save_node(graph: &FrameGraph, node: &Node) -> Result<SavedNode, &'static str> {
    let slices = graph.uses(node).map(|u| save_slice(graph, &u.slice)).collect::<Result<Vec<_>, _>>()?;
    let mut slices = slices.into_iter();
    let mut next = || slices.next().ok_or("a transfer without its buffers");
    Ok(match node.kind {
        NodeKind::Pass => SavedNode::Pass {
            name: graph.name(node).to_owned(),
            queue: node.queue,
            side_effects: node.side_effects,
            uses: graph.uses(node).map(|u| save_use(graph, &u)).collect::<Result<_, _>>()?,
        },
        NodeKind::Upload { from } => SavedNode::Upload { from, to: next()? },
        NodeKind::Copy => SavedNode::Copy { from: next()?, to: next()? },
        NodeKind::Fill { value } => SavedNode::Fill { to: next()?, value },
        NodeKind::Readback => SavedNode::Readback { from: next()?, to: next()? },
    })
}

fn save_use(graph: &FrameGraph, u: &Use) -> Result<SavedUse, &'static str> {
    Ok(SavedUse { mode: u.mode, slice: save_slice(graph, &u.slice)?, access: u.access })
}

fn save_slice(graph: &FrameGraph, slice: &ResourceSlice) -> Result<SavedSlice, &'static str> {
    let resource = match slice.resource {
        Resource::Persistent(id) => SavedResource::Persistent(id),
        Resource::Transient(id) if graph.transient_size(id).is_some() => SavedResource::Transient(id.index),
        Resource::Transient(_) => return Err("the frame names a transient of another frame"),
    };
    Ok(SavedSlice {
        resource,
        start: slice.start,
        end: Some(slice.end).filter(|e| *e != ResourceSlice::WHOLE),
    })
}

fn save_order(graph: &FrameGraph, order: &Order) -> Result<SavedOrder, &'static str> {
    let own = |id: PassId| {
        let known = id.frame == graph.serial && id.index() < graph.len();
        known.then_some(id.index).ok_or("an order names a pass of another frame")
    };
    Ok(SavedOrder {
        first: own(order.first)?,
        then: own(order.then)?,
        first_access: order.first_access,
        then_access: order.then_access,
    })
}

fn load(saved: &Saved) -> Result<FrameGraph, String> {
    let mut graph = FrameGraph::new();
    let transients: Vec<TransientId> =
        saved.transients.iter().map(|t| graph.transient(&t.name, t.size)).collect();
    for node in &saved.nodes {
        if saved.prologue.is_some_and(|first| first as usize == graph.len()) {
            graph.prologue();
        }
        load_node(&mut graph, node, &transients)?;
    }
    match saved.prologue.map(|first| first as usize) {
        Some(first) if first > graph.len() => {
            return Err(format!("the prologue begins at node {first} of {}", graph.len()));
        }
        Some(first) if first == graph.len() => graph.prologue(),
        _ => {}
    }
    let pass = |index: u32| {
        let unknown = || format!("an order names node {index} of {}", saved.nodes.len());
        graph.pass_id(index as usize).ok_or_else(unknown)
    };
    let orders: Result<Vec<Order>, String> = saved
        .orders
        .iter()
        .map(|o| {
            let (first, then) = (pass(o.first)?, pass(o.then)?);
            Ok(Order { first, then, first_access: o.first_access, then_access: o.then_access })
        })
        .collect();
    graph.orders = orders?;
    Ok(graph)
}

fn load_node(graph: &mut FrameGraph, node: &SavedNode, transients: &[TransientId]) -> Result<(), String> {
    let slice = |s: &SavedSlice| load_slice(s, transients);
    match node {
        SavedNode::Pass { name, queue, side_effects, uses } => {
            let mut pass = graph.pass(name);
            if let Some(queue) = queue {
                pass = pass.on(*queue);
            }
            if *side_effects {
                pass = pass.side_effects();
            }
            for u in uses {
                pass = pass.access(slice(&u.slice)?, u.access, u.mode);
            }
            pass.finish()
        }
        SavedNode::Upload { from, to } => graph.upload(*from, slice(to)?),
        SavedNode::Copy { from, to } => graph.copy(slice(from)?, slice(to)?),
        SavedNode::Fill { to, value } => graph.fill(slice(to)?, *value),
        SavedNode::Readback { from, to } => graph.readback(slice(from)?, slice(to)?),
    };
    Ok(())
}

fn load_slice(saved: &SavedSlice, transients: &[TransientId]) -> Result<ResourceSlice, String> {
    let resource = match saved.resource {
        SavedResource::Persistent(id) => Resource::Persistent(id),
        SavedResource::Transient(index) => {
            let known = transients.get(index as usize).copied();
            let unknown = || format!("a use names transient {index} of {}", transients.len());
            Resource::Transient(known.ok_or_else(unknown)?)
        }
    };
    Ok(ResourceSlice::new(resource, saved.start..saved.end.unwrap_or(ResourceSlice::WHOLE)))
}
