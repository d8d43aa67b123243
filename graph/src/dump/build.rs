//! From a frame and its schedule to a dump.

use super::model::{
    BarrierDump, CauseDump, CommandDump, CulledDump, EntryDump, ExplicitOrder, FrameDump, HostReadDump,
    HostWriteDump, LevelDump, NodeDump, NodeKindDump, PartyDump, QueueDump, ResourceDump, ResourceKind,
    Totals, UseDump,
};
use super::write::{at, len};
use super::{names, transfers};
use crate::access::{Access, AccessFlags, BufferUsage};
use crate::frame::{FrameGraph, Mode, NodeKind, PassId};
use crate::planner::uploads::SCATTER_WRITE;
use crate::resource::{Resource, ResourceSlice};
use crate::schedule::{Cause, Command, CopyRegion, Schedule};
use crate::state::GraphState;
use std::collections::HashMap;
use std::ops::Range;

impl FrameDump {
    /// The dump of a planned frame. `state` gives the names of persistent resources.
    ///
    /// Causes are there if the schedule has them ([`PlanOptions::causes`](crate::PlanOptions::causes)).
    #[must_use]
    pub fn new(name: &str, graph: &FrameGraph, schedule: &Schedule, state: &GraphState) -> Self {
        let mut dump = declared(name, graph, &schedule.resources, state);
        dump.causes_collected = schedule.barriers.is_empty() || !schedule.causes.is_empty();
        dump.run_order = schedule.order.iter().map(|p| p.node).collect();
        for placed in &schedule.order {
            if let Some(node) = dump.nodes.get_mut(placed.node as usize) {
                node.level = Some(placed.level);
            }
        }
        dump.uploads = schedule.uploads;
        dump.origin = schedule.origin;
        dump.trimmed = transfers::trimmed(&dump, graph, schedule);
        dump.culled = schedule
            .culled
            .iter()
            .map(|c| CulledDump { node: c.node, reason: c.reason, because: dump.because(c.reason) })
            .collect();
        dump.queues = queues(&dump, schedule);
        scattered(&mut dump);
        dump.host_reads = schedule
            .host_reads
            .iter()
            .map(|h| {
                let range = h.offset..h.offset.saturating_add(h.size);
                HostReadDump { resource: h.resource, nodes: writers(&dump, h.resource, &range), range }
            })
            .collect();
        dump.totals = planned_totals(dump.totals, schedule);
        dump
    }

    /// The dump of a frame that could not be planned: what was declared, and `problem`.
    #[must_use]
    pub fn partial(name: &str, graph: &FrameGraph, state: &GraphState, problem: &str) -> Self {
        let mut dump = declared(name, graph, &[], state);
        dump.problem = Some(problem.to_owned());
        dump
    }
}

/// What was declared.
fn declared(name: &str, graph: &FrameGraph, planned: &[Resource], state: &GraphState) -> FrameDump {
    let (resources, places) = resources(graph, planned, state);
    let mut nodes = Vec::with_capacity(graph.len());
    let mut totals = Totals::default();
    for (i, node) in (0..graph.len()).filter_map(|i| Some((i, graph.node(i)?))) {
        let uses: Vec<UseDump> = graph
            .uses(&node)
            .map(|u| {
                let resource = places.get(&u.slice.resource).copied().unwrap_or(u32::MAX);
                let size = resources.get(resource as usize).and_then(|r| r.size);
                UseDump {
                    resource,
                    range: resolve(&u.slice, size),
                    mode: u.mode,
                    stages: u.access.stages,
                    access: u.access.access,
                }
            })
            .collect();
        let (kind, counter) = match node.kind {
            NodeKind::Pass => (NodeKindDump::Pass, &mut totals.passes),
            NodeKind::Upload { from } => {
                (NodeKindDump::Upload { staging: from.buffer, offset: from.offset }, &mut totals.uploads)
            }
            NodeKind::Copy => (NodeKindDump::Copy, &mut totals.copies),
            NodeKind::Fill { value } => (NodeKindDump::Fill { value }, &mut totals.fills),
            NodeKind::Readback => (NodeKindDump::Readback, &mut totals.readbacks),
        };
        *counter += 1;
        nodes.push(NodeDump {
            name: match graph.name(&node) {
                "" => names::of_transfer(kind, &uses, &resources),
                given => given.to_owned(),
            },
            kind,
            prologue: graph.prologue.is_some_and(|first| i >= first as usize),
            queue: node.queue,
            side_effects: node.side_effects,
            level: None,
            uses,
        });
    }
    let unique = names::unique(nodes.iter().map(|n| n.name.clone()).collect());
    for (node, name) in nodes.iter_mut().zip(unique) {
        node.name = name;
    }
    let own = |id: PassId| (id.frame == graph.serial && id.index() < nodes.len()).then_some(id.index);
    let explicit_orders =
        graph.orders.iter().map(|o| ExplicitOrder { first: own(o.first), then: own(o.then) }).collect();
    let host_writes = graph.host_writes.iter().map(|w| {
        let resource = places.get(&w.resource).copied().unwrap_or(u32::MAX);
        HostWriteDump { resource, range: w.start..w.end }
    });
    let host_writes = host_writes.collect();
    FrameDump {
        name: name.to_owned(),
        totals,
        resources,
        nodes,
        explicit_orders,
        host_writes,
        ..FrameDump::default()
    }
}

/// All resources: those of the schedule at their positions, then others by first use, then unused transients.
fn resources(
    graph: &FrameGraph,
    planned: &[Resource],
    state: &GraphState,
) -> (Vec<ResourceDump>, HashMap<Resource, u32>) {
    let mut list: Vec<Resource> = planned.to_vec();
    let mut places: HashMap<Resource, u32> = HashMap::new();
    for (i, &r) in planned.iter().enumerate() {
        places.entry(r).or_insert(at(i));
    }
    let mut asked: HashMap<Resource, BufferUsage> = HashMap::new();
    let mut own_transients = vec![false; graph.transients.len()];
    let mark = |r: Resource, own: &mut Vec<bool>| {
        if let Resource::Transient(t) = r
            && t.frame == graph.serial
            && let Some(seen) = own.get_mut(t.index as usize)
        {
            *seen = true;
        }
    };
    for &r in planned {
        mark(r, &mut own_transients);
    }
    let used = graph.declared_uses().map(|u| (u.slice.resource, usage_for(u.access)));
    let written = graph.host_writes.iter().map(|w| (w.resource, BufferUsage::empty()));
    for (r, usage) in used.chain(written) {
        places.entry(r).or_insert_with(|| {
            list.push(r);
            at(list.len() - 1)
        });
        mark(r, &mut own_transients);
        *asked.entry(r).or_default() |= usage;
    }
    let mut dumps: Vec<ResourceDump> = list
        .iter()
        .map(|&r| match r {
            Resource::Persistent(id) => match state.buffer(id) {
                Some(desc) => ResourceDump {
                    name: desc.name.as_ref().to_owned(),
                    kind: ResourceKind::Persistent,
                    size: Some(desc.size),
                    usage: desc.usage,
                },
                None => ResourceDump {
                    name: format!("<removed #{}>", id.index()),
                    kind: ResourceKind::Persistent,
                    size: None,
                    usage: BufferUsage::empty(),
                },
            },
            Resource::Transient(t) => {
                let own = graph.transients.get(t.index as usize).filter(|_| t.frame == graph.serial);
                ResourceDump {
                    name: own.map_or_else(
                        || format!("<transient {} of another frame>", t.index),
                        |d| graph.str(d.name).to_owned(),
                    ),
                    kind: ResourceKind::Transient,
                    size: own.map(|d| d.size),
                    usage: asked.get(&r).copied().unwrap_or_default(),
                }
            }
        })
        .collect();
    for ((name, desc), seen) in graph.transients().zip(own_transients) {
        if !seen {
            dumps.push(ResourceDump {
                name: name.to_owned(),
                kind: ResourceKind::Transient,
                size: Some(desc.size),
                usage: BufferUsage::empty(),
            });
        }
    }
    let unique = names::unique(dumps.iter().map(|r| r.name.clone()).collect());
    for (r, name) in dumps.iter_mut().zip(unique) {
        r.name = name;
    }
    (dumps, places)
}

fn resolve(slice: &ResourceSlice, size: Option<u64>) -> Range<u64> {
    let end = match (slice.end, size) {
        (ResourceSlice::WHOLE, Some(size)) => size,
        (end, _) => end,
    };
    slice.start..end
}

/// The usage a buffer gets for an access when nobody says otherwise.
fn usage_for(access: Access) -> BufferUsage {
    let a = access.access;
    let storage = AccessFlags::SHADER_READ
        | AccessFlags::SHADER_WRITE
        | AccessFlags::SHADER_STORAGE_READ
        | AccessFlags::SHADER_STORAGE_WRITE;
    [
        (AccessFlags::INDIRECT_COMMAND_READ, BufferUsage::INDIRECT),
        (AccessFlags::INDEX_READ, BufferUsage::INDEX),
        (AccessFlags::VERTEX_ATTRIBUTE_READ, BufferUsage::VERTEX),
        (AccessFlags::UNIFORM_READ, BufferUsage::UNIFORM),
        (AccessFlags::SHADER_SAMPLED_READ, BufferUsage::UNIFORM_TEXEL),
        (storage, BufferUsage::STORAGE),
        (AccessFlags::TRANSFER_READ, BufferUsage::TRANSFER_SRC),
        (AccessFlags::TRANSFER_WRITE, BufferUsage::TRANSFER_DST),
    ]
    .into_iter()
    .filter(|(flags, _)| a.intersects(*flags))
    .fold(BufferUsage::empty(), |all, (_, usage)| all | usage)
}

fn queues(dump: &FrameDump, schedule: &Schedule) -> Vec<QueueDump> {
    let causes = causes_by_entry(schedule);
    let pieces = transfers::Pieces::new(dump);
    schedule
        .queues
        .iter()
        .map(|list| {
            let mut levels: Vec<LevelDump> = Vec::new();
            for command in &list.commands {
                match command {
                    Command::Barrier(i) => levels.push(level_after(schedule, &causes, *i)),
                    Command::Pass(node) => {
                        let level = dump.nodes.get(*node as usize).and_then(|n| n.level);
                        current(&mut levels, level).commands.push(CommandDump::Pass { node: *node });
                    }
                    Command::Copy { from, to, regions } => {
                        let into = current(&mut levels, None);
                        let regions = pieces.regions(schedule.regions_of(regions), into.level, *from, *to);
                        into.commands.push(CommandDump::Copy { from: *from, to: *to, regions });
                    }
                    Command::Scatter { parts } => {
                        let into = current(&mut levels, None);
                        let regions = pieces.scatters(schedule.scattered_by(parts), into.level);
                        into.commands.push(CommandDump::Scatter { regions });
                    }
                    Command::Fill { to, offset, size, value } => {
                        let into = current(&mut levels, None);
                        let range = *offset..offset.saturating_add(*size);
                        let nodes = transfers::fills(dump, into.level, *to, &range, *value);
                        into.commands.push(CommandDump::Fill { to: *to, range, value: *value, nodes });
                    }
                }
            }
            QueueDump { levels }
        })
        .collect()
}

/// An upload that is scattered writes by another access than it was declared with.
fn scattered(dump: &mut FrameDump) {
    let commands = dump.queues.iter().flat_map(|q| &q.levels).flat_map(|l| &l.commands);
    for command in commands {
        let CommandDump::Scatter { regions } = command else { continue };
        for node in regions.iter().flat_map(|r| &r.region.nodes) {
            if let Some(u) = dump.nodes.get_mut(*node as usize).and_then(|n| n.uses.first_mut()) {
                (u.stages, u.access) = (SCATTER_WRITE.stages, SCATTER_WRITE.access);
            }
        }
    }
}

/// The level commands go to now; a new one if there is none yet, or if a node says it is in another.
fn current(levels: &mut Vec<LevelDump>, level: Option<u32>) -> &mut LevelDump {
    let fits = match levels.last() {
        Some(last) => level.is_none_or(|l| l == last.level),
        None => false,
    };
    if !fits {
        let level = level.unwrap_or(0);
        levels.push(LevelDump { level, ..LevelDump::default() });
    }
    let last = levels.len() - 1;
    &mut levels[last]
}

fn level_after(schedule: &Schedule, causes: &HashMap<u32, Vec<&Cause>>, call: u32) -> LevelDump {
    let Some(call) = schedule.barriers.get(call as usize) else {
        return LevelDump { barrier: Some(BarrierDump::default()), ..LevelDump::default() };
    };
    let entries = (call.entries.start..call.entries.end)
        .zip(schedule.entries_of(call))
        .map(|(i, e)| EntryDump {
            src_stages: e.src_stages,
            src_access: e.src_access,
            dst_stages: e.dst_stages,
            dst_access: e.dst_access,
            causes: causes.get(&i).map_or(&[][..], Vec::as_slice).iter().map(|c| cause(c)).collect(),
        })
        .collect();
    LevelDump { level: call.level, barrier: Some(BarrierDump { entries }), commands: Vec::new() }
}

fn causes_by_entry(schedule: &Schedule) -> HashMap<u32, Vec<&Cause>> {
    let mut map: HashMap<u32, Vec<&Cause>> = HashMap::new();
    for cause in &schedule.causes {
        map.entry(cause.entry).or_default().push(cause);
    }
    map
}

fn cause(c: &Cause) -> CauseDump {
    let party = |who, a: Access| PartyDump { who, stages: a.stages, access: a.access };
    CauseDump {
        kind: c.kind,
        resource: c.resource,
        range: c.range.clone(),
        producer: party(c.producer, c.producer_access),
        consumer: party(c.consumer, c.consumer_access),
        coarsened: c.coarsened,
    }
}

/// Kept nodes that write some of these bytes.
fn writers(dump: &FrameDump, resource: u32, range: &Range<u64>) -> Vec<u32> {
    let writes = |u: &UseDump| {
        u.resource == resource
            && u.mode != Mode::Read
            && u.range.start < range.end
            && range.start < u.range.end
    };
    let kept = dump.nodes.iter().enumerate().filter(|(_, n)| n.level.is_some());
    kept.filter(|(_, n)| n.uses.iter().any(writes)).map(|(i, _)| at(i)).collect()
}

fn planned_totals(declared: Totals, schedule: &Schedule) -> Totals {
    let commands = schedule.queues.iter().flat_map(|q| &q.commands);
    let bytes = |regions: &[CopyRegion]| regions.iter().map(|r| r.size).fold(0, u64::saturating_add);
    let scattered = schedule.scatters.iter().map(|part| bytes(schedule.regions_of(&part.regions)));
    let scattered_bytes = scattered.fold(0, u64::saturating_add);
    Totals {
        culled: at(schedule.culled.len()),
        copy_commands: at(commands.clone().filter(|c| matches!(c, Command::Copy { .. })).count()),
        scatters: at(commands.filter(|c| matches!(c, Command::Scatter { .. })).count()),
        scatter_regions: at(schedule.scatter_region_count()),
        scattered_bytes,
        regions: at(schedule.copy_region_count()),
        copied_bytes: bytes(&schedule.regions).saturating_sub(scattered_bytes),
        barrier_calls: at(schedule.barriers.len()),
        barrier_entries: u32::try_from(len(&schedule.entries)).unwrap_or(u32::MAX),
        depth: at(schedule.depth()),
        ..declared
    }
}
