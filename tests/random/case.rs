//! A sequence of frames as plain data, and how random bytes become one. Every byte string is a valid case, so that
//! shrinking the bytes shrinks the case.

use super::reference::{Bytes, Meaning};
use memkit_gpu::graph::{Access, AccessFlags, Mode, Stages};
use proptest::prelude::*;
use std::ops::Range;

/// A sequence of frames over some buffers.
#[derive(Clone, Debug)]
pub struct Case {
    pub buffers: Vec<Buffer>,
    /// Sizes of the memory behind transients.
    pub pool: Vec<u64>,
    pub frames: Vec<Frame>,
    pub max_ranges: Option<usize>,
    /// Stages that the device runs.
    pub stages: Stages,
    /// What its nodes do to bytes.
    pub meaning: &'static dyn Meaning,
    /// Uploads are scattered where they can be.
    pub scatter: bool,
}

impl Case {
    /// Whether a shader can scatter uploads to a buffer.
    pub fn is_scattered(&self, on: On) -> bool {
        self.scatter && !matches!(on, On::Buffer(i) if i % 4 == 3)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub size: u64,
    pub host: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Sizes; transient `i` lives in pool memory `i`.
    pub transients: Vec<u64>,
    /// In the order that is their meaning.
    pub nodes: Vec<Node>,
    /// How many of `nodes`, from the first, are declared after `FrameGraph::prologue`.
    pub prologue: usize,
    /// Positions in `nodes`.
    pub orders: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub uses: Vec<Use>,
    pub side_effects: bool,
    /// Makes its bytes differ from those of others.
    pub salt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pass,
    Upload,
    Copy,
    Fill,
    Readback,
}

#[derive(Clone, Debug)]
pub struct Use {
    pub on: On,
    pub range: Range<u64>,
    pub access: Access,
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Buffer(usize),
    Transient(usize),
}

impl Use {
    pub fn reads(&self) -> bool {
        matches!(self.mode, Mode::Read | Mode::Modify)
    }

    pub fn writes(&self) -> bool {
        self.mode != Mode::Read
    }

    pub fn overlaps(&self, other: &Use) -> bool {
        self.on == other.on && self.range.start < other.range.end && other.range.start < self.range.end
    }
}

/// How large cases get.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub frames: usize,
    pub passes: usize,
    pub coarsen: bool,
    /// Devices that lack stages, too.
    pub lacking: bool,
}

/// The bytes of one node.
type RawNode = [u8; 20];

/// The bytes of a case.
#[derive(Clone, Debug)]
pub struct Raw {
    knobs: [u8; 8],
    frames: Vec<Vec<RawNode>>,
}

/// Random cases. Frames are short more often than long.
pub fn raw(limits: Limits) -> impl Strategy<Value = Raw> {
    let nodes = move |n| prop::collection::vec(any::<RawNode>(), 1..=n);
    let frame = prop_oneof![
        6 => nodes(limits.passes.min(8)),
        5 => nodes(limits.passes.min(30)),
        1 => nodes(limits.passes),
    ];
    (any::<[u8; 8]>(), prop::collection::vec(frame, 2..=limits.frames))
        .prop_map(|(knobs, frames)| Raw { knobs, frames })
}

fn at<T: Clone>(list: &[T], byte: u8) -> T {
    list[usize::from(byte) % list.len()].clone()
}

fn join(stages: &[Stages], access: &[AccessFlags]) -> Access {
    Access::new(stages.iter().copied().collect(), access.iter().copied().collect())
}

/// Simple accesses come first: shrinking goes to them.
fn reads() -> Vec<Access> {
    use {Access as A, AccessFlags as F, Stages as S};
    vec![
        A::COMPUTE_STORAGE_READ,
        A::VERTEX_ATTRIBUTE_READ,
        A::COMPUTE_UNIFORM_READ,
        A::INDIRECT_READ,
        A::INDEX_READ,
        A::VERTEX_STORAGE_READ,
        A::FRAGMENT_STORAGE_READ,
        A::FRAGMENT_UNIFORM_READ,
        A::COMPUTE_SAMPLED_READ,
        A::COPY_READ,
        A::COMPUTE_STORAGE_READ | A::VERTEX_ATTRIBUTE_READ,
        A::INDIRECT_READ | A::COMPUTE_STORAGE_READ,
        join(&[S::VERTEX_SHADER, S::FRAGMENT_SHADER], &[F::UNIFORM_READ]),
        join(&[S::FRAGMENT_SHADER, S::COMPUTE_SHADER], &[F::UNIFORM_READ, F::SHADER_STORAGE_READ]),
        join(&[S::VERTEX_INPUT], &[F::INDEX_READ, F::VERTEX_ATTRIBUTE_READ]),
        join(&[S::ALL_GRAPHICS], &[F::SHADER_READ]),
        join(&[S::ALL_TRANSFER], &[F::TRANSFER_READ]),
        join(&[S::ALL_COMMANDS], &[F::MEMORY_READ]),
    ]
}

fn writes() -> Vec<Access> {
    use {Access as A, AccessFlags as F, Stages as S};
    vec![
        A::COMPUTE_STORAGE_WRITE,
        A::FRAGMENT_STORAGE_WRITE,
        A::VERTEX_STORAGE_WRITE,
        A::COPY_WRITE,
        A::FILL_WRITE,
        A::COMPUTE_STORAGE_WRITE | A::FRAGMENT_STORAGE_WRITE,
        join(&[S::VERTEX_SHADER, S::FRAGMENT_SHADER], &[F::SHADER_WRITE]),
        join(&[S::COMPUTE_SHADER], &[F::SHADER_WRITE]),
        join(&[S::ALL_TRANSFER], &[F::TRANSFER_WRITE]),
        join(&[S::ALL_COMMANDS], &[F::MEMORY_WRITE]),
    ]
}

fn modifies() -> Vec<Access> {
    use {Access as A, AccessFlags as F, Stages as S};
    vec![
        A::COMPUTE_STORAGE_READ_WRITE,
        join(&[S::FRAGMENT_SHADER, S::COMPUTE_SHADER], &[F::SHADER_STORAGE_READ, F::SHADER_STORAGE_WRITE]),
        join(&[S::COMPUTE_SHADER], &[F::SHADER_READ, F::SHADER_WRITE]),
        A::COMPUTE_STORAGE_WRITE | A::VERTEX_ATTRIBUTE_READ,
        join(&[S::ALL_COMMANDS], &[F::MEMORY_READ, F::MEMORY_WRITE]),
    ]
}

/// What is left of the bytes of a frame while it is made.
struct Making {
    case: Case,
    written: Vec<Vec<bool>>,
    whole: bool,
    few: u8,
}

/// Every stage, or all that no feature is needed for and some of the others.
fn stages(limits: Limits, byte: u8) -> Stages {
    if !limits.lacking || byte & 2 == 0 {
        return Stages::all();
    }
    let lacking = Stages::OPTIONAL.iter().zip(2..).filter(|(_, i)| byte >> i & 1 == 0);
    Stages::all() - lacking.map(|(stage, _)| stage).collect::<Stages>()
}

pub fn decode(raw: &Raw, limits: Limits) -> Case {
    let k = raw.knobs;
    let buffers = (0..2 + k[0] % 8)
        .map(|i| Buffer { size: 4 * u64::from(1 + (k[1] ^ i.wrapping_mul(37)) % 24), host: i % 5 == 4 });
    let pool = (0..k[2] % 4).map(|i| 4 * u64::from(4 + (k[1] >> i) % 16)).collect();
    let case = Case {
        buffers: buffers.collect(),
        pool,
        frames: Vec::new(),
        stages: stages(limits, k[7]),
        meaning: &Bytes,
        max_ranges: (limits.coarsen && k[3] % 8 == 7).then_some(1 + usize::from(k[4] % 4)),
        scatter: k[7] % 2 == 1,
    };
    let mut making = Making { case, written: Vec::new(), whole: k[5].is_multiple_of(4), few: k[6] };
    let mut frames: Vec<Frame> = Vec::new();
    for nodes in &raw.frames {
        let mut frame = making.frame(nodes);
        if frames.is_empty() {
            // The device's memory begins undefined.
            let fills = making.case.buffers.iter().enumerate().filter(|(_, b)| !b.host);
            let fills = fills.map(|(i, b)| Node {
                kind: Kind::Fill,
                uses: vec![Use {
                    on: On::Buffer(i),
                    range: 0..b.size,
                    access: Access::FILL_WRITE,
                    mode: Mode::Overwrite,
                }],
                side_effects: false,
                salt: 7 + i as u32,
            });
            let fills: Vec<Node> = fills.collect();
            frame.orders.iter_mut().for_each(|o| *o = (o.0 + fills.len(), o.1 + fills.len()));
            // A cycle would drop the frame, and the fills with it.
            frame.orders.retain(|o| o.0 < o.1);
            frame.prologue = 0;
            frame.nodes.splice(0..0, fills);
        }
        frames.push(frame);
    }
    making.case.frames = frames;
    making.case
}

impl Making {
    fn frame(&mut self, raw: &[RawNode]) -> Frame {
        let mut frame = Frame { transients: self.case.pool.clone(), ..Frame::default() };
        self.written = self.case.pool.iter().map(|&size| vec![false; size as usize]).collect();
        for (i, bytes) in raw.iter().enumerate() {
            let node = self.node(bytes, i as u32);
            frame.nodes.push(node);
            if bytes[1] >= 240 && i > 0 {
                let other = usize::from(bytes[2]) % i;
                // Rarely against the order of declaration.
                frame.orders.push(if bytes[1] == 255 { (i, other) } else { (other, i) });
            }
        }
        if raw[0][1] % 8 == 7 {
            frame.prologue = usize::from(raw[0][2]) % raw.len();
        }
        frame
    }

    fn node(&mut self, b: &RawNode, salt: u32) -> Node {
        let kind = match b[0] % 16 {
            0..=9 => Kind::Pass,
            10 | 11 => Kind::Upload,
            12 => Kind::Copy,
            13 => Kind::Fill,
            14 => Kind::Readback,
            _ => Kind::Pass,
        };
        let salt = salt << 8 | u32::from(b[3]);
        let mut node =
            Node { kind, uses: Vec::new(), side_effects: kind == Kind::Pass && b[1] % 4 == 1, salt };
        match kind {
            Kind::Pass => self.pass(b, &mut node),
            Kind::Upload => node.uses.push(self.write(&b[4..8], Access::COPY_WRITE, Mode::Overwrite)),
            Kind::Fill => {
                let mut u = self.write(&b[4..8], Access::FILL_WRITE, Mode::Overwrite);
                u.range = u.range.start & !3..(u.range.end + 3) & !3;
                node.uses.push(u);
            }
            Kind::Copy | Kind::Readback => self.copy(b, &mut node),
        }
        for u in node.uses.iter().filter(|u| u.writes()) {
            if let On::Transient(t) = u.on {
                self.written[t][u.range.start as usize..u.range.end as usize].fill(true);
            }
        }
        node
    }

    fn on(&self, byte: u8) -> On {
        let (n, t) = (self.case.buffers.len(), self.case.pool.len());
        let i = usize::from(byte) % (n + t);
        if i < n { On::Buffer(i) } else { On::Transient(i - n) }
    }

    fn size(&self, on: On) -> u64 {
        match on {
            On::Buffer(i) => self.case.buffers[i].size,
            On::Transient(i) => self.case.pool[i],
        }
    }

    fn range(&self, on: On, start: u8, len: u8) -> Range<u64> {
        let size = self.size(on);
        if self.whole || start.is_multiple_of(3) {
            return 0..size;
        }
        let start = u64::from(start) % size;
        start..start + 1 + u64::from(len) % (size - start)
    }

    fn write(&self, b: &[u8], access: Access, mode: Mode) -> Use {
        let on = self.on(b[0]);
        Use { on, range: self.range(on, b[2], b[3]), access, mode }
    }

    /// A read, or what can be instead of one where nothing was written yet.
    fn readable(&self, u: &Use) -> bool {
        match u.on {
            On::Buffer(_) => true,
            On::Transient(t) => {
                self.written[t][u.range.start as usize..u.range.end as usize].iter().all(|w| *w)
            }
        }
    }

    fn pass(&self, b: &RawNode, node: &mut Node) {
        for b in b[4..].chunks_exact(4).take(1 + usize::from(b[2] % 4)) {
            let on = self.on(b[0]);
            // Few kinds of access in some cases, so that the same relation comes often.
            let kind = if self.few.is_multiple_of(3) { b[1] % 16 } else { b[1] };
            let (mode, list) = match kind % 8 {
                0..=3 => (Mode::Read, reads()),
                4 => (Mode::Write, writes()),
                5 | 6 => (Mode::Overwrite, writes()),
                _ => (Mode::Modify, modifies()),
            };
            let mut u = Use { on, range: self.range(on, b[2], b[3]), access: at(&list, kind / 8), mode };
            if u.reads() && !self.readable(&u) {
                u.mode = Mode::Overwrite;
                u.access = at(&writes(), kind / 8);
            }
            let contradicts = |o: &Use| {
                o.overlaps(&u)
                    && (o.mode == Mode::Overwrite && u.reads() || u.mode == Mode::Overwrite && o.reads())
            };
            if !node.uses.iter().any(contradicts) {
                node.uses.push(u);
            }
        }
    }

    fn copy(&self, b: &RawNode, node: &mut Node) {
        let mut to = self.write(&b[4..8], Access::COPY_WRITE, Mode::Overwrite);
        if node.kind == Kind::Readback
            && let Some(host) = self.case.buffers.iter().position(|b| b.host)
        {
            to.on = On::Buffer(host);
            to.range = self.range(to.on, b[6], b[7]);
        }
        let on = self.on(b[8]);
        let size = (to.range.end - to.range.start).min(self.size(on));
        let start = if size == self.size(on) { 0 } else { u64::from(b[9]) % (self.size(on) - size) };
        to.range.end = to.range.start + size;
        let from = Use { on, range: start..start + size, access: Access::COPY_READ, mode: Mode::Read };
        if from.overlaps(&to) || !self.readable(&from) {
            node.kind = Kind::Upload;
            node.uses = vec![to];
        } else {
            node.uses = vec![from, to];
        }
    }
}
