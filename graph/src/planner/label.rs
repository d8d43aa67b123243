//! Names for errors and dumps: what a node is called, what a resource is called.

use crate::frame::{FrameGraph, Node, NodeKind};
use crate::resource::Resource;
use crate::state::GraphState;

/// The name of a pass; a transfer is named after what it does.
pub(crate) fn node(graph: &FrameGraph, state: &GraphState, node: &Node) -> String {
    let slot = |i: usize| {
        graph.uses(node).nth(i).map_or_else(String::new, |u| resource(graph, state, u.slice.resource))
    };
    match node.kind {
        NodeKind::Pass => graph.name(node).to_owned(),
        NodeKind::Upload { .. } => format!("upload to {}", slot(0)),
        NodeKind::Copy => format!("copy of {} to {}", slot(0), slot(1)),
        NodeKind::Fill { .. } => format!("fill of {}", slot(0)),
        NodeKind::Readback => format!("readback of {}", slot(0)),
    }
}

/// The name of the node at this position of the frame.
pub(crate) fn at(graph: &FrameGraph, state: &GraphState, index: u32) -> String {
    graph.node(index as usize).map_or_else(String::new, |of| node(graph, state, &of))
}

/// Like [`node`], without the names of resources.
pub(crate) fn bare(graph: &FrameGraph, node: &Node) -> String {
    match node.kind {
        NodeKind::Pass => graph.name(node).to_owned(),
        NodeKind::Upload { .. } => "upload".to_owned(),
        NodeKind::Copy => "copy".to_owned(),
        NodeKind::Fill { .. } => "fill".to_owned(),
        NodeKind::Readback => "readback".to_owned(),
    }
}

/// The name of a resource.
pub(crate) fn resource(graph: &FrameGraph, state: &GraphState, resource: Resource) -> String {
    match resource {
        Resource::Persistent(id) => {
            state.buffer(id).map_or_else(|| format!("<removed #{}>", id.index()), |d| d.name.to_string())
        }
        Resource::Transient(id) => {
            graph.transients.get(id.index as usize).map_or("", |t| graph.str(t.name)).to_owned()
        }
    }
}
