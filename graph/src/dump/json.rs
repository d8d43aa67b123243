//! The frame as JSON, written and loaded back.
//!
//! `{"format": "memkit-gpu frame dump", "version": 1, "frame": {…}}`. Format and version are looked at first, so that a
//! dump of a newer library is called newer, whatever else is in it. Within a version fields are fixed: one that is
//! missing or unknown is an error, because a reader that skipped it would show a frame that never was.

use super::FORMAT_VERSION;
use super::model::{BarrierDump, CommandDump, FrameDump};
use crate::error::GraphError;
use crate::schedule::{BufferRef, CullReason, Party};

/// What the file says it is.
const FORMAT: &str = "memkit-gpu frame dump";

#[derive(serde::Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    frame: &'a FrameDump,
}

/// Only what is needed to know who wrote it.
#[derive(serde::Deserialize)]
struct Head {
    format: String,
    version: u64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u64,
    frame: FrameDump,
}

impl FrameDump {
    /// The frame as JSON, indented, with a line feed at the end.
    ///
    /// # Errors
    /// [`GraphError::CorruptDump`] if serde cannot represent it, which no dump is known to cause.
    pub fn to_json(&self) -> Result<String, GraphError> {
        let written = Written { format: FORMAT, version: FORMAT_VERSION, frame: self };
        let mut text = serde_json::to_string_pretty(&written).map_err(corrupt)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`GraphError::NewerDump`] if a newer library wrote it, [`GraphError::CorruptDump`] for anything else that is
    /// wrong: no JSON, not a dump, fields that are missing or unknown, positions that lead nowhere.
    pub fn from_json(text: &str) -> Result<Self, GraphError> {
        let head: Head = serde_json::from_str(text).map_err(corrupt)?;
        if head.format != FORMAT {
            let found: String = head.format.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(GraphError::CorruptDump {
                reason: format!("its format is \"{found}\", expected \"{FORMAT}\""),
            });
        }
        if head.version > u64::from(FORMAT_VERSION) {
            let found = u32::try_from(head.version).unwrap_or(u32::MAX);
            return Err(GraphError::NewerDump { found, supported: FORMAT_VERSION });
        }
        if head.version == 0 {
            return Err(GraphError::CorruptDump { reason: "there is no format version 0".to_owned() });
        }
        let loaded: Loaded = serde_json::from_str(text).map_err(corrupt)?;
        check(&loaded.frame).map_err(|reason| GraphError::CorruptDump { reason })?;
        Ok(loaded.frame)
    }
}

fn corrupt(error: serde_json::Error) -> GraphError {
    GraphError::CorruptDump { reason: error.to_string() }
}

/// Every position leads somewhere.
fn check(dump: &FrameDump) -> Result<(), String> {
    let node = |n: u32, what: &str| {
        let known = (n as usize) < dump.nodes.len();
        known.then_some(()).ok_or_else(|| format!("{what} names node {n} of {}", dump.nodes.len()))
    };
    let resource = |r: u32, what: &str| {
        let known = (r as usize) < dump.resources.len();
        known.then_some(()).ok_or_else(|| format!("{what} names resource {r} of {}", dump.resources.len()))
    };
    let buffer = |b: BufferRef, what: &str| match b {
        BufferRef::Local(r) => resource(r, what),
        BufferRef::Host(_) => Ok(()),
    };
    let barrier = |b: &BarrierDump| {
        for cause in b.entries.iter().flat_map(|e| &e.causes) {
            cause.resource.map_or(Ok(()), |r| resource(r, "a cause"))?;
            for party in [cause.producer.who, cause.consumer.who] {
                if let Party::Node(n) = party {
                    node(n, "a cause")?;
                }
            }
        }
        Ok::<(), String>(())
    };
    for n in &dump.nodes {
        n.uses.iter().try_for_each(|u| resource(u.resource, &format!("node `{}`", n.name)))?;
    }
    dump.run_order.iter().try_for_each(|&n| node(n, "the run order"))?;
    for o in &dump.explicit_orders {
        [o.first, o.then].into_iter().flatten().try_for_each(|n| node(n, "an explicit order"))?;
    }
    for level in dump.queues.iter().flat_map(|q| &q.levels) {
        level.barrier.as_ref().map_or(Ok(()), barrier)?;
        for command in &level.commands {
            match command {
                CommandDump::Pass { node: n } => node(*n, "a command")?,
                CommandDump::Copy { from, to, regions } => {
                    buffer(*from, "a copy")?;
                    buffer(*to, "a copy")?;
                    regions.iter().flat_map(|r| &r.nodes).try_for_each(|&n| node(n, "a copy region"))?;
                }
                CommandDump::Scatter { regions } => {
                    for r in regions {
                        buffer(r.from, "a scatter")?;
                        buffer(r.to, "a scatter")?;
                        r.region.nodes.iter().try_for_each(|&n| node(n, "a scatter"))?;
                    }
                }
                CommandDump::Fill { to, nodes, .. } => {
                    buffer(*to, "a fill")?;
                    nodes.iter().try_for_each(|&n| node(n, "a fill"))?;
                }
            }
        }
    }
    for c in &dump.culled {
        node(c.node, "the list of culled nodes")?;
        match c.reason {
            CullReason::NoOutput => {}
            CullReason::Unread { resource: r } => resource(r, "a reason")?,
            CullReason::OnlyCulledReaders { reader: n } | CullReason::Overwritten { by: n } => {
                node(n, "a reason")?;
            }
        }
    }
    for t in &dump.trimmed {
        node(t.node, "a trimmed upload")?;
        t.by.iter().try_for_each(|&n| node(n, "a trimmed upload"))?;
    }
    for h in &dump.host_reads {
        resource(h.resource, "a host read")?;
        h.nodes.iter().try_for_each(|&n| node(n, "a host read"))?;
    }
    dump.host_writes.iter().try_for_each(|h| resource(h.resource, "a host write"))
}
