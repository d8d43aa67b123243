//! An execution dependency by way of another stage (Vulkan specification 7.1, execution dependency chains), put together
//! by hand: what validation layers make of it.

use crate::device::{Device, Outcome};
use crate::random::case::{Buffer, Case, Frame, Kind, Node, On, Use};
use crate::random::rig::{self, Sequence};
use crate::words::Acts;
use memkit_gpu::MkGpuBackend;
use memkit_gpu::graph::{Access, AccessFlags, BarrierCall, BarrierEntry, Command, Mode, Schedule, Stages};

/// What runs between the two barriers, in the stage that the chain leads by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    /// A shader that writes the buffer by its binding.
    Dispatch,
    /// A shader that writes it by its address, which layers do not see.
    Scatter,
}

const SIZE: u64 = 256;

fn node(kind: Kind, access: Access, mode: Mode) -> Node {
    let uses = vec![Use { on: On::Buffer(0), range: 0..SIZE, access, mode }];
    Node { kind, uses, side_effects: true, salt: 1 }
}

/// A buffer is written by a compute shader, read as attributes, and some of it written by a fragment shader.
fn case(device: &Device, between: Between) -> Case {
    let write = Access::COMPUTE_STORAGE_WRITE;
    let mut nodes = vec![
        node(Kind::Pass, write, Mode::Overwrite),
        node(Kind::Pass, Access::VERTEX_ATTRIBUTE_READ, Mode::Read),
        node(Kind::Pass, Access::FRAGMENT_STORAGE_WRITE, Mode::Write),
    ];
    match between {
        Between::Nothing => {}
        Between::Dispatch => nodes.insert(2, node(Kind::Pass, write, Mode::Overwrite)),
        Between::Scatter => nodes.insert(2, node(Kind::Upload, write, Mode::Overwrite)),
    }
    Case {
        buffers: vec![Buffer { size: SIZE, host: false }],
        pool: Vec::new(),
        frames: vec![Frame { nodes, ..Frame::default() }],
        max_ranges: None,
        stages: device.backend.capabilities().stages,
        meaning: &Acts,
        scatter: between == Between::Scatter,
    }
}

const READ: (Stages, AccessFlags) = (Stages::VERTEX_ATTRIBUTE_INPUT, AccessFlags::VERTEX_ATTRIBUTE_READ);
const WRITE: (Stages, AccessFlags) = (Stages::COMPUTE_SHADER, AccessFlags::SHADER_STORAGE_WRITE);
const SHADERS: (Stages, AccessFlags) = (
    Stages::COMPUTE_SHADER.union(Stages::FRAGMENT_SHADER),
    AccessFlags::SHADER_STORAGE_READ.union(AccessFlags::SHADER_STORAGE_WRITE),
);

fn entry(src: (Stages, AccessFlags), dst: (Stages, AccessFlags)) -> BarrierEntry {
    BarrierEntry { src_stages: src.0, src_access: src.1, dst_stages: dst.0, dst_access: dst.1 }
}

/// The planned commands with these barriers instead of their own, each before the command with its number.
fn with(sequence: &Sequence, barriers: &[(usize, BarrierEntry)]) -> Schedule {
    let mut schedule = sequence.frames[0].schedule.clone();
    let mut commands = std::mem::take(&mut schedule.queues[0].commands);
    commands.retain(|c| !matches!(c, Command::Barrier(_)));
    schedule.entries = barriers.iter().map(|b| b.1).collect();
    let calls = (0..barriers.len() as u32).map(|i| BarrierCall { level: i + 1, entries: i..i + 1 });
    schedule.barriers = calls.collect();
    for (i, command) in commands.into_iter().enumerate() {
        let before = (0..).zip(barriers).filter(|(_, (at, _))| *at == i);
        let list = &mut schedule.queues[0].commands;
        list.extend(before.map(|(call, _)| Command::Barrier(call)));
        list.push(command);
    }
    schedule
}

/// Runs the case with the two barriers of the chain, the first if `whole`, and an entry more before them.
fn run(device: &mut Device, between: Between, whole: bool, more: Option<BarrierEntry>) -> Outcome {
    let (sequence, errors) = rig::plan(&rig::with_results(case(device, between)), rig::How::default());
    assert!(errors.is_empty(), "{errors:?}");
    let first = entry((READ.0, AccessFlags::empty()), WRITE);
    let last = if between == Between::Nothing { 2 } else { 3 };
    let mut barriers = vec![(1, entry(WRITE, READ))];
    barriers.extend(more.map(|more| (2, more)));
    barriers.extend(whole.then_some((2, first)));
    barriers.push((last, entry(WRITE, SHADERS)));
    let schedule = with(&sequence, &barriers);
    let hazards = sequence.run(Some((0, &schedule)), false).hazards;
    assert_eq!(hazards.is_empty(), whole, "{between:?}, the simulator: {hazards:?}");
    device.run(&sequence, Some((0, &schedule)))
}

/// What a barrier more in front of the chain, which can only order more, makes of the layer's verdict.
fn verdicts(device: &mut Device, between: Between) -> [usize; 3] {
    let more = [None, Some(entry(WRITE, (Stages::FRAGMENT_SHADER, SHADERS.1))), Some(entry(WRITE, SHADERS))];
    more.map(|more| run(device, between, true, more).messages.len())
}

/// Layers of 2026 object to the chain if the second of its barriers was there before, too, whatever runs between: with
/// nothing between there is none of this library's code, but draws and barriers alone. On a device of its own the library
/// makes the barriers so that they do not.
#[test]
fn a_chain_by_way_of_another_stage_holds() {
    let mut own = Device::new();
    let mut lent = own.lend();
    for between in [Between::Nothing, Between::Dispatch, Between::Scatter] {
        assert_eq!(verdicts(&mut own, between), [0; 3], "{between:?}: the layer objects");
        let [plain, other, same] = verdicts(&mut lent, between);
        assert_eq!([plain, other], [0; 2], "{between:?}: the layer objects");
        println!("{between:?}: this layer objects to {same} accesses if the barrier was there before");
        let broken = run(&mut own, between, false, None);
        let seen = broken.messages.iter().any(|m| m.id == "SYNC-HAZARD-WRITE-AFTER-READ");
        assert!(seen || between == Between::Dispatch, "{between:?}, broken: {:?}", broken.messages);
    }
}
