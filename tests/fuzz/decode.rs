//! Any bytes as a scene: mostly sensible frames, so that the fuzzer gets behind the planner's checks, and now and then
//! something no caller should say.

use super::Scene;
use memkit_gpu::graph::{
    Access, AccessFlags, BufferDesc, BufferUsage, FrameGraph, GraphState, HostSlice, Mode, PassId, Queue,
    Resource, ResourceId, ResourceSlice, Stages,
};

/// Bytes to decide by; zeros once they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.next()) % n.max(1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.next() % n == n - 1
    }

    fn wide(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.next()))
    }

    /// A number that somebody got wrong.
    fn odd(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX - u64::from(self.next()),
            3 => u64::from(u32::MAX) + u64::from(self.next()),
            4 => 1 << (self.next() % 64),
            _ => self.wide(),
        }
    }
}

/// What the decoder knows of a resource.
#[derive(Clone, Copy)]
struct Known {
    resource: Resource,
    size: u64,
}

pub fn scene(data: &[u8]) -> Scene {
    let mut bytes = Bytes(data);
    let bytes = &mut bytes;
    let knobs = bytes.next();
    let odd = knobs & 1 == 1;
    let count = 1 + bytes.below(6);
    let buffers: Vec<BufferDesc> = (0..count).map(|i| buffer(bytes, i, odd)).collect();
    // Ids follow from the order in which buffers are added.
    let mut state = GraphState::new();
    let ids: Vec<ResourceId> = buffers.iter().map(|b| state.add_buffer(b.clone())).collect();
    let known: Vec<Known> =
        ids.iter().zip(&buffers).map(|(id, b)| Known { resource: (*id).into(), size: b.size }).collect();
    let max_ranges = if knobs & 2 == 2 { 1 + bytes.below(4) } else { GraphState::DEFAULT_MAX_RANGES };
    let frames = 1 + bytes.below(4);
    let frames = (0..frames).map(|_| frame(bytes, &known, odd)).collect();
    Scene { buffers, pooled: knobs & 4 == 4, max_ranges, frames }
}

fn buffer(bytes: &mut Bytes<'_>, i: usize, odd: bool) -> BufferDesc {
    let size = if odd && bytes.one_in(8) { bytes.odd() } else { 4 * (1 + bytes.below(64) as u64) };
    let kind = bytes.next();
    let usage = if kind & 0x30 == 0x30 {
        BufferUsage::from_bits_retain(u32::from(bytes.next()) << 1)
    } else {
        BufferUsage::all()
    };
    BufferDesc {
        initialized: kind & 1 == 1,
        host_visible: kind & 6 == 6,
        scatter: kind & 8 == 8,
        ..BufferDesc::new(format!("b{i}"), size, usage)
    }
}

fn frame(bytes: &mut Bytes<'_>, buffers: &[Known], odd: bool) -> FrameGraph {
    let mut graph = FrameGraph::new();
    let mut known = buffers.to_vec();
    for i in 0..bytes.below(4) {
        let size = if odd && bytes.one_in(8) { bytes.odd() } else { 4 * (1 + bytes.below(16) as u64) };
        known.push(Known { resource: graph.transient(&format!("t{i}"), size).into(), size });
    }
    let (nodes, prologue) = (1 + bytes.below(32), bytes.next());
    for i in 0..nodes {
        // Without bytes left everything would be the same node.
        if bytes.0.is_empty() {
            break;
        }
        if usize::from(prologue) == i + 200 {
            graph.prologue();
        }
        let id = node(bytes, &mut graph, &known, odd);
        if bytes.one_in(16) {
            let other = graph.pass_id(bytes.below(graph.len())).unwrap();
            order(bytes, &mut graph, other, id);
        }
    }
    graph
}

fn order(bytes: &mut Bytes<'_>, graph: &mut FrameGraph, first: PassId, then: PassId) {
    let extra = bytes.next();
    let access =
        |yes: bool, b: &mut Bytes<'_>| if yes { access(b, Mode::Modify, false) } else { Access::NONE };
    let (first_access, then_access) = (access(extra & 1 == 1, bytes), access(extra & 2 == 2, bytes));
    // Rarely against the order of declaration.
    if extra > 250 {
        graph.order_with(then, then_access, first, first_access);
    } else {
        graph.order_with(first, first_access, then, then_access);
    }
}

fn node(bytes: &mut Bytes<'_>, graph: &mut FrameGraph, known: &[Known], odd: bool) -> PassId {
    match bytes.below(12) {
        0 | 1 => {
            let offset = if odd && bytes.one_in(16) { bytes.odd() } else { bytes.below(64) as u64 };
            let buffer = if odd && bytes.one_in(32) { bytes.odd() as u32 } else { bytes.below(2) as u32 };
            let to = slice(bytes, known, odd);
            graph.upload(HostSlice { buffer, offset }, to)
        }
        2 => {
            let to = slice(bytes, known, odd);
            graph
                .fill(ResourceSlice { start: to.start & !3, end: aligned(to.end), ..to }, bytes.wide() as u32)
        }
        kind @ (3 | 4) => {
            let to = slice(bytes, known, odd);
            let from = Known { ..bytes.pick(known) };
            let start = bytes.below(from.size.clamp(1, 256) as usize) as u64;
            let size = to.end.wrapping_sub(to.start);
            let whole = to.end == ResourceSlice::WHOLE && start == 0;
            let end = if whole { ResourceSlice::WHOLE } else { start.wrapping_add(size) };
            let from = ResourceSlice::new(from.resource, start..end);
            if kind == 3 { graph.copy(from, to) } else { graph.readback(from, to) }
        }
        _ => pass(bytes, graph, known, odd),
    }
}

fn aligned(end: u64) -> u64 {
    if end == ResourceSlice::WHOLE { end } else { end.saturating_add(3) & !3 }
}

fn pass(bytes: &mut Bytes<'_>, graph: &mut FrameGraph, known: &[Known], odd: bool) -> PassId {
    let name = format!("p{}", graph.len());
    let knobs = bytes.next();
    let mut pass = graph.pass(&name);
    if knobs & 3 == 3 {
        pass = pass.side_effects();
    }
    match knobs >> 4 {
        13 => pass = pass.on(Queue::Graphics),
        14 => pass = pass.on(Queue::Compute),
        15 => pass = pass.on(Queue::Transfer),
        _ => {}
    }
    for _ in 0..1 + (knobs >> 2) % 4 {
        let mode = bytes.pick(&[Mode::Read, Mode::Read, Mode::Write, Mode::Overwrite, Mode::Modify]);
        let slice = slice(bytes, known, odd);
        pass = pass.access(slice, access(bytes, mode, odd), mode);
    }
    pass.finish()
}

fn slice(bytes: &mut Bytes<'_>, known: &[Known], odd: bool) -> ResourceSlice {
    let Known { resource, size } = bytes.pick(known);
    let (a, b) = (bytes.next(), bytes.next());
    if odd && a == 255 {
        return ResourceSlice::new(resource, bytes.odd()..bytes.odd());
    }
    if a.is_multiple_of(3) {
        return ResourceSlice::new(resource, 0..ResourceSlice::WHOLE);
    }
    let start = u64::from(a) % size.max(1);
    let end = start.saturating_add(1 + u64::from(b) % (size - start).max(1));
    ResourceSlice::new(resource, start..end)
}

fn access(bytes: &mut Bytes<'_>, mode: Mode, odd: bool) -> Access {
    let join = |stages: Stages, access: AccessFlags| Access::new(stages, access);
    if odd && bytes.one_in(16) {
        return join(Stages::from_bits_retain(bytes.odd()), AccessFlags::from_bits_retain(bytes.odd()));
    }
    use {Access as A, AccessFlags as F, Stages as S};
    let reads = [
        A::COMPUTE_STORAGE_READ,
        A::VERTEX_ATTRIBUTE_READ,
        A::COMPUTE_UNIFORM_READ,
        A::INDIRECT_READ,
        A::INDEX_READ,
        A::FRAGMENT_STORAGE_READ,
        A::COPY_READ,
        A::COMPUTE_STORAGE_READ | A::VERTEX_ATTRIBUTE_READ,
        join(S::ALL_GRAPHICS, F::SHADER_READ),
        join(S::ALL_COMMANDS, F::MEMORY_READ),
    ];
    let writes = [
        A::COMPUTE_STORAGE_WRITE,
        A::FRAGMENT_STORAGE_WRITE,
        A::COPY_WRITE,
        A::FILL_WRITE,
        A::COMPUTE_STORAGE_WRITE | A::FRAGMENT_STORAGE_WRITE,
        join(S::COMPUTE_SHADER, F::SHADER_WRITE),
        join(S::ALL_COMMANDS, F::MEMORY_WRITE),
    ];
    match mode {
        Mode::Read => bytes.pick(&reads),
        Mode::Write | Mode::Overwrite => bytes.pick(&writes),
        Mode::Modify => bytes.pick(&reads) | bytes.pick(&writes),
    }
}
