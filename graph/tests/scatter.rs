//! Uploads that a compute shader scatters: when they are, what the schedule says, and what dumps show.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_graph::dump::CommandDump;
use memkit_graph::*;
use std::path::Path;

/// A copy region costs as much as 100 scattered ones, a dispatch as 3 copy regions; beyond 1,000 bytes copies win.
const COSTS: UploadCosts = UploadCosts {
    copy_region: 1_000_000,
    copy_byte: 10,
    scatter: 3_000_000,
    scatter_region: 10_000,
    scatter_byte: 1_000,
};

struct Rig {
    state: GraphState,
    planner: Planner,
    frame: FrameGraph,
    staged: u64,
}

impl Rig {
    fn new() -> Self {
        Rig { state: GraphState::new(), planner: Planner::new(), frame: FrameGraph::new(), staged: 0 }
    }

    fn buffer(&mut self, name: &str, size: u64, scatter: bool) -> ResourceId {
        let usage = BufferUsage::STORAGE | BufferUsage::TRANSFER_DST | BufferUsage::TRANSFER_SRC;
        let desc = BufferDesc::new(name, size, usage);
        self.state.add_buffer(BufferDesc { initialized: true, scatter, ..desc })
    }

    /// Declares an upload of the next bytes in staging memory.
    fn upload(&mut self, to: ResourceSlice) {
        let offset = self.staged;
        self.staged += to.end - to.start;
        self.frame.upload(HostSlice { buffer: 0, offset }, to);
    }

    fn plan(&mut self, uploads: UploadRule) -> Schedule {
        let options = PlanOptions { causes: true, uploads };
        let schedule = self.planner.plan_with(&self.frame, &mut self.state, options, &[]).unwrap().clone();
        self.planner.commit(&mut self.state);
        schedule
    }

    fn dump(&mut self, uploads: UploadRule) -> FrameDump {
        let schedule = self.plan(uploads);
        FrameDump::new("scatter", &self.frame, &schedule, &self.state)
    }
}

fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == text, "{} differs; UPDATE_GOLDEN=1 writes it anew. It is:\n{text}", path.display());
}

/// Two buffers that can be scattered to and one that cannot; two uploads continue each other, two overlap; a pass reads
/// it all.
fn mixed() -> Rig {
    let mut rig = Rig::new();
    let (a, b, c) = (rig.buffer("a", 256, true), rig.buffer("b", 64, true), rig.buffer("c", 64, false));
    rig.upload(a.slice(0..16));
    rig.upload(a.slice(16..33));
    rig.upload(b.slice(1..4));
    rig.upload(a.slice(100..150));
    rig.upload(a.slice(120..200));
    rig.upload(c.slice(0..8));
    let read = Access::COMPUTE_STORAGE_READ;
    rig.frame.pass("read").side_effects().read(a, read).read(b, read).read(c, read).finish();
    rig
}

#[test]
fn one_dispatch_takes_the_uploads_of_a_level_and_what_has_no_address_is_copied() {
    let mut rig = mixed();
    let s = rig.plan(UploadRule::Scatter);
    let commands = &s.queues[0].commands;
    let [Command::Copy { .. }, Command::Scatter { parts }, Command::Barrier(0), Command::Pass(6)] =
        &commands[..]
    else {
        panic!("{commands:?}")
    };
    let of: Vec<_> = s
        .scattered_by(parts)
        .map(|s| (s.to, s.region.src, s.region.dst, s.region.size, s.region.merged))
        .collect();
    let (a, b) = (BufferRef::Local(0), BufferRef::Local(1));
    // The two that continue each other are one; of the two that overlap the later wins.
    assert_eq!(of, [(a, 0, 0, 33, 2), (a, 36, 100, 20, 1), (a, 86, 120, 80, 1), (b, 33, 1, 3, 1)]);
    assert_eq!(s.trimmed, [Trimmed { node: 3, range: 120..150 }]);
    assert_eq!((s.uploads.scattered, s.uploads.out_of_reach), (5, 1));

    let entries: Vec<String> = s.entries.iter().map(ToString::to_string).collect();
    assert_eq!(
        entries,
        [
            "COMPUTE_SHADER:SHADER_STORAGE_WRITE -> COMPUTE_SHADER:SHADER_STORAGE_READ",
            "COPY:TRANSFER_WRITE -> COMPUTE_SHADER:SHADER_STORAGE_READ"
        ]
    );
}

#[test]
fn what_follows_waits_for_the_shader_in_the_next_frame_too() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 64, true);
    rig.upload(a.slice(0..64));
    assert_eq!(rig.plan(UploadRule::Scatter).barriers.len(), 0);
    rig.frame.reset();
    rig.upload(a.slice(32..40));
    let s = rig.plan(UploadRule::Copy);
    let [Command::Barrier(0), Command::Copy { .. }] = s.queues[0].commands[..] else { panic!() };
    assert_eq!(s.entries[0].to_string(), "COMPUTE_SHADER:SHADER_STORAGE_WRITE -> COPY:TRANSFER_WRITE");
    rig.frame.reset();
    rig.upload(a.slice(0..64));
    let s = rig.plan(UploadRule::Scatter);
    assert_eq!(s.entries[0].to_string(), "COPY:TRANSFER_WRITE -> COMPUTE_SHADER:SHADER_STORAGE_WRITE");
}

/// The choice for so many uploads of so many bytes, with gaps between.
fn choice(count: u64, size: u64) -> UploadChoice {
    let mut rig = Rig::new();
    let a = rig.buffer("a", count * (size + 1), true);
    (0..count).for_each(|i| rig.upload(a.slice(i * (size + 1)..i * (size + 1) + size)));
    rig.plan(UploadRule::Cheapest(COSTS)).uploads
}

#[test]
fn many_small_uploads_are_scattered_and_few_or_large_ones_copied() {
    assert_eq!(choice(3, 16).scattered, 0, "the dispatch costs more than it saves");
    assert_eq!(choice(4, 16).scattered, 4);
    assert_eq!(choice(100, 900).scattered, 100);
    assert_eq!(choice(100, 1001).scattered, 0);
    let all = choice(100, 16);
    assert_eq!((all.regions, all.as_copies), (100, 100 * (1_000_000 + 160)));
    assert_eq!(all.as_scatter, 3_000_000 + 100 * (10_000 + 16_000));
    let none = choice(3, 16);
    assert_eq!((none.regions, none.as_copies, none.as_scatter), (3, 3_000_480, 3_078_000));
}

#[test]
fn uploads_that_continue_each_other_count_as_one_region() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 64 * 100, true);
    (0..100).for_each(|i| rig.upload(a.slice(i * 64..i * 64 + 64)));
    let s = rig.plan(UploadRule::Cheapest(COSTS));
    assert_eq!((s.uploads.scattered, s.regions.len()), (0, 1));
}

#[test]
fn small_uploads_are_scattered_beside_large_ones_that_are_copied() {
    let mut rig = Rig::new();
    let (a, big) = (rig.buffer("a", 1000, true), rig.buffer("big", 1 << 20, true));
    (0..10).for_each(|i| rig.upload(a.slice(i * 50..i * 50 + 20)));
    rig.upload(big.slice(0..1 << 20));
    let s = rig.plan(UploadRule::Cheapest(COSTS));
    assert_eq!((s.uploads.scattered, s.scatter_region_count(), s.regions.len()), (10, 10, 11));
}

#[test]
fn culled_uploads_do_not_count() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 64, true);
    (0..100).for_each(|_| rig.upload(a.slice(3..14)));
    let s = rig.plan(UploadRule::Cheapest(COSTS));
    assert_eq!((s.culled.len(), s.uploads.scattered, s.uploads.regions), (99, 0, 1));
}

#[test]
fn dumps_say_what_was_scattered_and_why() {
    golden("scatter.txt", &mixed().dump(UploadRule::Scatter).to_text());
    let dump = mixed().dump(UploadRule::Scatter);
    golden("scatter.mmd", &dump.to_mermaid());
    assert!(
        dump.to_dot().contains("one scatter by a compute shader\\n4 regions, 136 B"),
        "{}",
        dump.to_dot()
    );
    let scatter = dump.queues[0].levels[0].commands.iter().find_map(|c| match c {
        CommandDump::Scatter { regions } => Some(regions),
        _ => None,
    });
    let nodes: Vec<_> = scatter.unwrap().iter().map(|r| r.region.nodes.clone()).collect();
    assert_eq!(nodes, [vec![0, 1], vec![3], vec![4], vec![2]]);
    assert_eq!(dump.nodes[0].uses[0].stages, Stages::COMPUTE_SHADER);
    assert_eq!(dump.nodes[5].uses[0].stages, Stages::COPY);

    let line =
        |dump: &FrameDump| dump.to_text().lines().find(|l| l.starts_with("  uploads")).unwrap().to_owned();
    let many = |n: u64, rule| {
        let mut rig = Rig::new();
        let a = rig.buffer("a", 6400, true);
        (0..n).for_each(|i| rig.upload(a.slice(i * 64..i * 64 + 60)));
        rig.dump(rule)
    };
    let cheapest = UploadRule::Cheapest(COSTS);
    assert_eq!(
        line(&many(100, cheapest)),
        "  uploads   100 scattered: 10.0 us for 100 regions that as copies take 100.0 us"
    );
    assert_eq!(
        line(&many(2, cheapest)),
        "  uploads   all copied: 2.0 us for 2 regions that scattered would take 3.1 us"
    );
    assert!(
        many(2, cheapest).to_text().contains("a copy region 1000 ns and 10 ps a byte, a scatter 3000 ns")
    );
    assert!(!many(2, UploadRule::Copy).to_text().contains("uploads   "));
}

#[cfg(feature = "json")]
#[test]
fn a_scatter_survives_json() {
    let dump = mixed().dump(UploadRule::Cheapest(COSTS));
    assert_eq!(dump.uploads.scattered, 5);
    assert_eq!(FrameDump::from_json(&dump.to_json().unwrap()).unwrap(), dump);
    let wrong = dump.to_json().unwrap().replace("\"Local\": 1", "\"Local\": 9");
    assert!(
        FrameDump::from_json(&wrong).unwrap_err().to_string().contains("a scatter names resource 9 of 3")
    );
}
