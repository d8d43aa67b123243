//! Dumps of a small frame against golden files in `golden/`; `UPDATE_GOLDEN=1` writes them anew.
//!
//! The schedule is written by hand, so that these tests say what a dump shows and nothing about the planner.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_graph::dump::{CommandDump, NodeKindDump, ResourceKind};
use memkit_graph::*;
use std::path::Path;

const COPY_W: (Stages, AccessFlags) = (Stages::COPY, AccessFlags::TRANSFER_WRITE);
const COMPUTE_W: (Stages, AccessFlags) = (Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_WRITE);

/// Four uploads (two merge, one is trimmed), culling, a draw, a readback, two passes nobody needs.
fn frame() -> (FrameGraph, Schedule, GraphState) {
    let mut state = GraphState::new();
    let buffer = |name, size, usage| BufferDesc::new(name, size, usage);
    let vertices = state.add_buffer(buffer(
        "vertices",
        4096,
        BufferUsage::VERTEX | BufferUsage::STORAGE | BufferUsage::TRANSFER_DST,
    ));
    let camera = state.add_buffer(buffer("camera", 64, BufferUsage::UNIFORM | BufferUsage::TRANSFER_DST));
    let read = state
        .add_buffer(BufferDesc { host_visible: true, ..buffer("read back", 64, BufferUsage::TRANSFER_DST) });

    let mut g = FrameGraph::new();
    let from = |offset| HostSlice { buffer: 0, offset };
    let args = g.transient("args", 20);
    let debug = g.transient("debug", 256);
    let blurred = g.transient("debug", 256);
    g.upload(from(1024), vertices.slice(0..1024));
    g.upload(from(2048), vertices.slice(1024..3072));
    g.upload(from(4096), vertices.slice(2048..4096));
    g.upload(from(8192), camera);
    let cull = g
        .pass("cull")
        .on(Queue::Compute)
        .read(vertices, Access::COMPUTE_STORAGE_READ)
        .read(camera, Access::COMPUTE_UNIFORM_READ)
        .overwrite(args, Access::COMPUTE_STORAGE_WRITE)
        .finish();
    g.pass("show \"debug\"")
        .read(vertices, Access::COMPUTE_STORAGE_READ)
        .overwrite(debug, Access::COMPUTE_STORAGE_WRITE)
        .finish();
    g.pass("blur")
        .read(debug, Access::COMPUTE_STORAGE_READ)
        .overwrite(blurred, Access::COMPUTE_STORAGE_WRITE)
        .finish();
    let draw = g
        .pass("draw")
        .on(Queue::Graphics)
        .side_effects()
        .read(args, Access::INDIRECT_READ)
        .read(vertices, Access::VERTEX_ATTRIBUTE_READ)
        .finish();
    g.readback(args.slice(0..20), read.slice(0..20));
    g.order(cull, draw);

    let none = AccessFlags::empty();
    let entry = |(src_stages, src_access), (dst_stages, dst_access)| BarrierEntry {
        src_stages,
        src_access,
        dst_stages,
        dst_access,
    };
    let entries = vec![
        entry((Stages::VERTEX_ATTRIBUTE_INPUT, none), (Stages::COPY, none)),
        entry(COPY_W, (Stages::COMPUTE_SHADER, AccessFlags::UNIFORM_READ | AccessFlags::SHADER_STORAGE_READ)),
        entry(COMPUTE_W, (Stages::DRAW_INDIRECT, AccessFlags::INDIRECT_COMMAND_READ)),
        entry(COMPUTE_W, (Stages::COPY, AccessFlags::TRANSFER_READ)),
        entry((Stages::COPY, none), (Stages::VERTEX_ATTRIBUTE_INPUT, AccessFlags::VERTEX_ATTRIBUTE_READ)),
        entry(COPY_W, (Stages::HOST, AccessFlags::HOST_READ)),
    ];
    let call = |level, entries| BarrierCall { level, entries };
    let cause = |entry, resource, range, producer, producer_access, consumer, consumer_access| Cause {
        entry,
        kind: HazardKind::ReadAfterWrite,
        resource: Some(resource),
        range,
        producer,
        producer_access,
        consumer,
        consumer_access,
        coarsened: false,
    };
    let (node, storage) = (Party::Node, Access::COMPUTE_STORAGE_READ);
    let war = |range, consumer| Cause {
        kind: HazardKind::WriteAfterRead,
        coarsened: true,
        ..cause(
            0,
            0,
            range,
            Party::EarlierFrame,
            Access::VERTEX_ATTRIBUTE_READ,
            node(consumer),
            Access::COPY_WRITE,
        )
    };
    let draws = |range, upload| {
        cause(4, 0, range, node(upload), Access::COPY_WRITE, node(7), Access::VERTEX_ATTRIBUTE_READ)
    };
    let causes = vec![
        war(0..1024, 0),
        war(1024..2048, 1),
        war(2048..4096, 2),
        cause(1, 0, 0..1024, node(0), Access::COPY_WRITE, node(4), storage),
        cause(1, 0, 1024..2048, node(1), Access::COPY_WRITE, node(4), storage),
        cause(1, 0, 2048..4096, node(2), Access::COPY_WRITE, node(4), storage),
        cause(1, 1, 0..64, node(3), Access::COPY_WRITE, node(4), Access::COMPUTE_UNIFORM_READ),
        cause(2, 2, 0..20, node(4), Access::COMPUTE_STORAGE_WRITE, node(7), Access::INDIRECT_READ),
        cause(3, 2, 0..20, node(4), Access::COMPUTE_STORAGE_WRITE, node(8), Access::COPY_READ),
        draws(0..1024, 0),
        draws(1024..2048, 1),
        draws(2048..4096, 2),
        cause(5, 3, 0..20, node(8), Access::COPY_WRITE, Party::Host, Access::HOST_READ),
    ];
    let region = |src, dst, size, node, merged| CopyRegion { src, dst, size, node, merged };
    let (local, host) = (BufferRef::Local, BufferRef::Host);
    let copy = |from, to, regions| Command::Copy { from, to, regions };
    let placed = |node, level| Placed { node, level };
    let schedule = Schedule {
        resources: vec![
            vertices.into(),
            camera.into(),
            args.into(),
            read.into(),
            debug.into(),
            blurred.into(),
        ],
        queues: vec![CommandList {
            commands: vec![
                copy(host(0), local(1), 0..1),
                Command::Barrier(0),
                copy(host(0), local(0), 1..3),
                Command::Barrier(1),
                Command::Pass(4),
                Command::Barrier(2),
                Command::Pass(7),
                copy(local(2), local(3), 3..4),
                Command::Barrier(3),
            ],
        }],
        barriers: vec![call(1, 0..1), call(2, 1..2), call(3, 2..5), call(4, 5..6)],
        entries,
        transfers: vec![],
        scatters: vec![],
        uploads: UploadChoice::default(),
        origin: memkit_graph::PlanOrigin::default(),
        regions: vec![
            region(8192, 0, 64, 3, 1),
            region(1024, 0, 2048, 0, 2),
            region(4096, 2048, 2048, 2, 1),
            region(0, 0, 20, 8, 1),
        ],
        order: vec![
            placed(3, 0),
            placed(0, 1),
            placed(1, 1),
            placed(2, 1),
            placed(4, 2),
            placed(7, 3),
            placed(8, 3),
        ],
        culled: vec![
            Culled { node: 5, reason: CullReason::OnlyCulledReaders { reader: 6 } },
            Culled { node: 6, reason: CullReason::Unread { resource: 5 } },
        ],
        trimmed: vec![Trimmed { node: 1, range: 2048..3072 }],
        host_reads: vec![HostRead { resource: 3, offset: 0, size: 20 }],
        causes,
    };
    (g, schedule, state)
}

fn dump() -> FrameDump {
    let (g, schedule, state) = frame();
    FrameDump::new("main", &g, &schedule, &state)
}

fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wanted == text,
        "{} differs; if the new text is right, run the test with UPDATE_GOLDEN=1. It is:\n{text}",
        path.display()
    );
}

#[test]
fn the_text_is_the_golden_one() {
    golden("frame.txt", &dump().to_text());
}

#[test]
fn the_dot_is_the_golden_one() {
    golden("frame.dot", &dump().to_dot());
}

#[test]
fn the_mermaid_is_the_golden_one() {
    golden("frame.mmd", &dump().to_mermaid());
}

#[test]
fn a_frame_that_was_not_planned_shows_what_was_declared_and_the_problem() {
    let (mut g, _, state) = frame();
    let mut other = GraphState::new();
    let stale =
        (0..9).map(|_| other.add_buffer(BufferDesc::new("x", 4, BufferUsage::empty()))).last().unwrap();
    g.pass("stale").read(stale, Access::COMPUTE_STORAGE_READ).finish();
    g.pass("cull").side_effects().finish();
    g.prologue();
    g.fill(stale.slice(0..8), 7);
    let mut another = FrameGraph::new();
    let foreign = another.pass("foreign").finish();
    g.order(foreign, foreign);
    let dump = FrameDump::partial("main", &g, &state, "pass `stale` uses a resource\nthat no longer exists");
    let index = stale.index();
    assert_eq!(dump.resources.last().map(|r| r.name.clone()), Some(format!("<removed #{index}>")));
    assert_eq!(dump.find("cull (2)"), Some(10));
    assert!(dump.nodes[11].prologue && !dump.nodes[10].prologue);
    let text = dump.to_text().replace(&format!("<removed #{index}>"), "<removed #N>");
    golden("partial.txt", &text);
    let dot = dump.to_dot();
    assert!(dot.contains("not planned\\npass `stale`") && dot.contains("n9 [label=\"stale\"]"), "{dot}");
    let mermaid = dump.to_mermaid();
    assert!(mermaid.contains("not planned<br/>") && mermaid.contains("n9[\"stale\"]"), "{mermaid}");
}

#[test]
fn a_schedule_without_causes_says_so_once_and_draws_no_edge() {
    let (g, mut schedule, state) = frame();
    schedule.causes.clear();
    let dump = FrameDump::new("main", &g, &schedule, &state);
    assert!(!dump.causes_collected);
    assert_eq!(dump.to_text().matches("causes were not collected").count(), 1);
    assert!(dump.to_text().contains("COPY:TRANSFER_WRITE -> HOST:HOST_READ"));
    assert_eq!(dump.to_dot().matches("causes were not collected").count(), 1);
    assert_eq!(dump.to_mermaid().matches("-->").count(), 0);
    assert!(
        dump.explain(0, 4).is_some_and(|chain| chain[0].cause.is_none()),
        "hazards are known all the same"
    );
    assert!(dump.explain_text(0, 4).ends_with("read after write vertices[0..1024)\n"));
}

#[test]
fn the_same_frame_declared_twice_gives_the_same_text() {
    let (a, b) = (dump(), dump());
    assert_eq!(a, b, "frame serials differ, dumps do not");
    assert_eq!(a.to_text(), b.to_text());
    assert_eq!(a.to_string(), a.to_text());
}

#[test]
fn merged_and_trimmed_uploads_are_found_again() {
    let dump = dump();
    let CommandDump::Copy { regions, .. } = &dump.queues[0].levels[1].commands[0] else { panic!("a copy") };
    assert_eq!(regions[0].nodes, [0, 1], "two uploads are one region");
    assert_eq!(regions[1].nodes, [2]);
    assert_eq!(dump.trimmed[0].by, [2]);
    assert_eq!(dump.totals.regions, 4);
    assert_eq!(dump.nodes[8].kind, NodeKindDump::Readback);
    assert_eq!(dump.host_reads[0].nodes, [8]);
}

#[test]
fn transients_of_one_name_are_told_apart_and_their_usage_follows_from_their_accesses() {
    let dump = dump();
    let names: Vec<&str> = dump.resources.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["vertices", "camera", "args", "read back", "debug", "debug (2)"]);
    assert_eq!(dump.resources[2].kind, ResourceKind::Transient);
    assert_eq!(
        dump.resources[2].usage,
        BufferUsage::STORAGE | BufferUsage::INDIRECT | BufferUsage::TRANSFER_SRC
    );
}

#[test]
fn explain_names_the_chain_of_hazards() {
    let dump = dump();
    let chain = dump.explain(3, 8).unwrap();
    let steps: Vec<(u32, u32)> = chain.iter().map(|s| (s.from, s.to)).collect();
    assert_eq!(steps, [(3, 4), (4, 8)]);
    assert_eq!(chain[0].cause.map(|c| c.kind), Some(HazardKind::ReadAfterWrite));
    assert_eq!(
        dump.explain_text(3, 8),
        "`upload -> camera[0..64)` comes before `readback args[0..20) -> read back[0..20)`:\n  \
         `upload -> camera[0..64)` then `cull`: read after write camera[0..64)\n  \
         `cull` then `readback args[0..20) -> read back[0..20)`: read after write args[0..20)\n"
    );
    assert_eq!(dump.explain(8, 3), None, "not the other way");
    assert_eq!(dump.explain(7, 8), None, "two readers");
    assert_eq!(dump.explain(1, 2), None, "uploads of one batch, later bytes win");
    assert_eq!(dump.explain(4, 5), None, "one of them is culled");
    assert_eq!(dump.explain(4, 4), None, "nothing comes before itself");
    assert_eq!(dump.explain(4, 99), None);
    assert_eq!(
        dump.explain_text(7, 8),
        "no chain of hazards puts `draw` before `readback args[0..20) -> read back[0..20)`\n"
    );
}

#[test]
fn explain_finds_hazards_that_another_barrier_covers() {
    let (g, mut schedule, state) = frame();
    schedule.causes.retain(|c| c.consumer != Party::Node(7));
    let dump = FrameDump::new("main", &g, &schedule, &state);
    let chain = dump.explain(4, 7).unwrap();
    assert_eq!((chain.len(), chain[0].kind, chain[0].cause), (1, HazardKind::ReadAfterWrite, None));
    assert!(dump.explain_text(4, 7).ends_with("args[0..20), covered by a barrier for another hazard\n"));
}

#[test]
fn explain_knows_every_kind_of_hazard_in_the_order_that_is_meant() {
    let mut state = GraphState::new();
    let buffer = state.add_buffer(BufferDesc::new("b", 64, BufferUsage::STORAGE));
    let mut g = FrameGraph::new();
    let (r, w) = (Access::COMPUTE_STORAGE_READ, Access::COMPUTE_STORAGE_WRITE);
    g.pass("read").read(buffer.slice(0..32), r).finish(); // 0
    g.pass("write").write(buffer.slice(16..48), w).finish(); // 1
    let modify = g.pass("modify").modify(buffer.slice(40..64), Access::COMPUTE_STORAGE_READ_WRITE).finish(); // 2
    let other = g.pass("other").read(buffer.slice(0..8), r).finish(); // 3
    g.order(modify, other);
    g.prologue();
    g.fill(buffer, 0); // 4, before all others
    let dump = FrameDump::partial("kinds", &g, &state, "no plan");
    let links = |a, b| -> Vec<(HazardKind, std::ops::Range<u64>)> {
        dump.explain(a, b).unwrap_or_default().into_iter().map(|s| (s.kind, s.range)).collect()
    };
    assert_eq!(links(4, 0), [(HazardKind::ReadAfterWrite, 0..32)]);
    assert_eq!(links(0, 1), [(HazardKind::WriteAfterRead, 16..32)]);
    assert_eq!(links(4, 1), [(HazardKind::WriteAfterWrite, 16..48)], "touching ranges are one");
    assert_eq!(links(1, 2), [(HazardKind::ReadAfterWrite, 40..48)]);
    assert_eq!(links(2, 3), [(HazardKind::Order, 0..0)]);
    assert_eq!(
        links(0, 2),
        [(HazardKind::WriteAfterRead, 16..32), (HazardKind::ReadAfterWrite, 40..48)],
        "a chain"
    );
    assert_eq!(links(0, 3).len(), 3);
    assert_eq!(links(0, 4), []);
}

#[test]
fn a_thousand_uploads_read_like_one() {
    let mut state = GraphState::new();
    let instances = state.add_buffer(BufferDesc::new("instances", 64_000, BufferUsage::STORAGE));
    let mut g = FrameGraph::new();
    for i in 0..1000_u64 {
        let slot = i * 7 % 1000;
        g.upload(
            HostSlice { buffer: 2, offset: 1 << 20 | (i * 64) },
            instances.slice(slot * 64..slot * 64 + 64),
        );
    }
    g.pass("cull").side_effects().read(instances, Access::COMPUTE_STORAGE_READ).finish();
    let mut regions: Vec<CopyRegion> = (0..1000_u64)
        .map(|i| CopyRegion {
            src: 1 << 20 | (i * 64),
            dst: i * 7 % 1000 * 64,
            size: 64,
            node: i as u32,
            merged: 1,
        })
        .collect();
    regions.sort_by_key(|r| r.dst);
    let access = (Access::COPY_WRITE, Access::COMPUTE_STORAGE_READ);
    let schedule = Schedule {
        resources: vec![instances.into()],
        queues: vec![CommandList {
            commands: vec![
                Command::Copy { from: BufferRef::Host(2), to: BufferRef::Local(0), regions: 0..1000 },
                Command::Barrier(0),
                Command::Pass(1000),
            ],
        }],
        barriers: vec![BarrierCall { level: 1, entries: 0..1 }],
        entries: vec![BarrierEntry {
            src_stages: access.0.stages,
            src_access: access.0.access,
            dst_stages: access.1.stages,
            dst_access: access.1.access,
        }],
        causes: (0..1000_u32)
            .map(|i| Cause {
                entry: 0,
                kind: HazardKind::ReadAfterWrite,
                resource: Some(0),
                range: u64::from(i) * 7 % 1000 * 64..u64::from(i) * 7 % 1000 * 64 + 64,
                producer: Party::Node(i),
                producer_access: access.0,
                consumer: Party::Node(1000),
                consumer_access: access.1,
                coarsened: false,
            })
            .collect(),
        order: (0..=1000_u32).map(|node| Placed { node, level: node / 1000 }).collect(),
        regions,
        ..Schedule::default()
    };
    let dump = FrameDump::new("many", &g, &schedule, &state);
    golden("many.txt", &dump.to_text());
    assert_eq!(dump.to_dot().matches(" -> b").count(), 2, "one hazard, one line that keeps levels apart");
    assert_eq!(dump.to_mermaid().matches("-->").count(), 1);
}

#[test]
fn a_scatter_of_more_regions_than_there_are_does_no_harm() {
    let schedule = Schedule {
        scatters: vec![ScatterPart { from: BufferRef::Host(0), to: BufferRef::Local(0), regions: 0..9 }],
        ..Schedule::default()
    };
    let dump = FrameDump::new("odd", &FrameGraph::new(), &schedule, &GraphState::new());
    assert_eq!((dump.totals.regions, dump.totals.copied_bytes, dump.totals.scattered_bytes), (0, 0, 0));
}

#[test]
fn positions_that_lead_nowhere_are_shown_and_do_no_harm() {
    let mut dump = dump();
    dump.nodes.truncate(2);
    dump.resources.truncate(1);
    for text in [dump.to_text(), dump.to_dot(), dump.to_mermaid()] {
        assert!(text.contains("unknown node"), "{text}");
    }
    assert!(dump.to_text().contains("<unknown resource 2>"));
    let (g, mut schedule, state) = frame();
    schedule.entries.clear();
    schedule.regions.clear();
    schedule.resources.clear();
    schedule.order.push(Placed { node: 77, level: 3 });
    schedule.queues[0].commands.push(Command::Barrier(99));
    schedule.queues[0].commands.push(Command::Fill {
        to: BufferRef::Local(9),
        offset: 8,
        size: u64::MAX,
        value: 1,
    });
    schedule.queues.push(schedule.queues[0].clone());
    let dump = FrameDump::new("broken", &g, &schedule, &state);
    assert!(dump.to_text().contains("queue 1") && dump.to_dot().contains("queue 1, level 3"));
}

#[test]
fn names_cannot_break_out_of_their_line_or_quotes() {
    let mut g = FrameGraph::new();
    g.pass("a\nb\"]-->|x|\\").side_effects().finish();
    let dump = FrameDump::partial("f\n\"g\"", &g, &GraphState::new(), "it is \"bad\"");
    assert!(dump.to_text().starts_with("frame f\\u{a}\"g\"\nnot planned: it is \"bad\"\n"));
    assert!(dump.to_dot().contains("n0 [label=\"a\\\\u{a}b\\\"]-->|x|\\\\\"];"), "{}", dump.to_dot());
    assert!(
        dump.to_mermaid().contains("n0[\"a#92;u#123;a#125;b#34;#93;--#62;#124;x#124;#92;\"]"),
        "{}",
        dump.to_mermaid()
    );
}

#[cfg(feature = "json")]
mod json {
    use super::*;

    #[test]
    fn the_json_is_the_golden_one_and_loads_back() {
        let dump = dump();
        let text = dump.to_json().unwrap();
        golden("frame.json", &text);
        let loaded = FrameDump::from_json(&text).unwrap();
        assert_eq!(loaded, dump);
        assert_eq!(loaded.to_text(), dump.to_text());
    }

    #[test]
    fn a_newer_dump_is_called_newer_whatever_is_in_it() {
        let text = r#"{"version": 9, "what": [1], "format": "memkit-gpu frame dump"}"#;
        let newer = GraphError::NewerDump { found: 9, supported: memkit_graph::dump::FORMAT_VERSION };
        assert_eq!(FrameDump::from_json(text), Err(newer));
        let text = r#"{"version": 99999999999, "format": "memkit-gpu frame dump"}"#;
        assert!(matches!(FrameDump::from_json(text), Err(GraphError::NewerDump { found: u32::MAX, .. })));
    }

    fn reason(text: &str) -> String {
        match FrameDump::from_json(text) {
            Err(GraphError::CorruptDump { reason }) => reason,
            other => panic!("expected a corrupt dump, got {other:?}"),
        }
    }

    #[test]
    fn what_is_no_dump_is_refused_with_a_reason() {
        let good = dump().to_json().unwrap();
        assert!(reason("").contains("EOF"));
        assert!(reason("[1]").contains("expected a string") || reason("[1]").contains("invalid"));
        assert!(reason(r#"{"version": 1}"#).contains("missing field `format`"));
        assert!(reason(r#"{"format": "other", "version": 1}"#).contains("format is \"other\""));
        assert!(
            reason(r#"{"format": "memkit-gpu frame dump", "version": 1}"#).contains("missing field `frame`")
        );
        assert!(reason(&good.replacen("\"version\": 1", "\"version\": 0", 1)).contains("version 0"));
        assert!(reason(&good.replacen("\"version\": 1", "\"version\": -1", 1)).contains("invalid value"));
        assert!(reason(&good.replacen("\"totals\"", "\"total\"", 1)).contains("unknown field `total`"));
        assert!(reason(&good.replacen("\"COPY\"", "\"COPYING\"", 1)).contains("flag"));
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        assert!(
            !reason(&good.replacen("\"frame\": ", &format!("\"frame\": {open}{close}, \"x\": "), 1))
                .is_empty()
        );
        assert!(reason(&good.replacen("\"node\": 4", "\"node\": 44", 1)).contains("names node 44 of 9"));
        assert!(reason(&format!("{good}x")).contains("trailing"));
    }

    #[test]
    fn no_truncation_loads_and_none_panics() {
        let good = dump().to_json().unwrap();
        let compact = compact(&good);
        assert!(FrameDump::from_json(&compact).is_ok());
        for end in 0..compact.len() {
            if let Some(part) = compact.get(..end) {
                assert!(FrameDump::from_json(part).is_err(), "{end} bytes of {}", compact.len());
            }
        }
    }

    #[test]
    fn flipped_bytes_never_panic_here_or_in_any_output() {
        let good = compact(&dump().to_json().unwrap()).into_bytes();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let (mut loaded, mut refused) = (0, 0);
        for round in 0..4000 {
            let mut bytes = good.clone();
            for _ in 0..=round % 3 {
                let at = random(bytes.len());
                bytes[at] = match random(3) {
                    0 => bytes[at] ^ 1 << random(8),
                    1 => b'0' + random(10) as u8,
                    _ => b"{}[]\",:-e9"[random(10)],
                };
            }
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            match FrameDump::from_json(text) {
                Ok(dump) => {
                    loaded += 1;
                    let _ = (dump.to_text(), dump.to_dot(), dump.to_mermaid(), dump.explain_text(3, 8));
                    assert_eq!(FrameDump::from_json(&dump.to_json().unwrap()), Ok(dump));
                }
                Err(GraphError::CorruptDump { .. } | GraphError::NewerDump { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(loaded > 50 && refused > 500, "both happen: {loaded} loaded, {refused} refused");
    }

    /// The same without indentation: blanks between tokens only, none of which is in a string here.
    fn compact(text: &str) -> String {
        text.lines().map(str::trim_start).collect()
    }
}
