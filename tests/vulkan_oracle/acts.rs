//! What a pass does on the device: for each stage and kind of access that it declared, a command that accesses all of the
//! bytes so. What the bytes are then follows from these acts alone, and is computed here as well.
//!
//! What an act reads, it reports: into a part of a buffer that is its own and that the graph knows nothing of, so that each
//! byte read is checked, whoever reads it. What a shader writes depends on all that it reads.

use crate::random::case::{Node, Use};
use crate::random::reference::Memory;
use crate::words;
use memkit_gpu::graph::{AccessFlags, Mode, Stages};

/// Where a shader runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Compute,
    Vertex,
    Fragment,
}

/// How a shader accesses a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Read,
    Uniform,
    Write,
    Modify,
}

/// A use that a shader accesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub(crate) kind: Kind,
    /// Position among the uses of the pass.
    pub(crate) at: usize,
    pub(crate) mode: Mode,
}

/// One command of a pass. Numbers are positions among its uses.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A dispatch or a draw.
    Shader(Stage, Vec<Touch>),
    /// A dispatch whose size the use begins with.
    Dispatch(usize),
    /// A draw with vertices of 16 bytes.
    Attributes(usize),
    /// A draw with indices.
    Indices(usize),
    /// A copy to the report.
    CopyOut(usize),
    /// A copy from constants.
    CopyIn(usize, Mode),
    /// `vkCmdUpdateBuffer`.
    Update(usize),
}

/// Words of a report that says which indices there were.
pub(crate) const INDICES: usize = 8;

impl Act {
    /// What it is, for figures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Act::Shader(Stage::Compute, _) => "compute shader",
            Act::Shader(Stage::Vertex, _) => "vertex shader",
            Act::Shader(Stage::Fragment, _) => "fragment shader",
            Act::Dispatch(_) => "indirect dispatch",
            Act::Attributes(_) => "vertex attributes",
            Act::Indices(_) => "indices",
            Act::CopyOut(_) => "copy from",
            Act::CopyIn(..) => "copy to",
            Act::Update(_) => "update",
        }
    }

    /// The words it reports, given the bytes of its use.
    pub(crate) fn report_len(&self, uses: &[Use]) -> usize {
        let len = |at: &usize| (uses[*at].range.end - uses[*at].range.start) as usize / 4;
        match self {
            Act::Shader(..) | Act::Dispatch(_) => 1,
            Act::Attributes(at) => len(at) / 4,
            Act::Indices(_) => INDICES,
            Act::CopyOut(at) => len(at),
            Act::CopyIn(..) | Act::Update(_) => 0,
        }
    }
}

const SHADERS: [(Stage, Stages); 3] = [
    (Stage::Compute, Stages::COMPUTE_SHADER),
    (Stage::Vertex, Stages::VERTEX_SHADER),
    (Stage::Fragment, Stages::FRAGMENT_SHADER),
];

/// What a use can do, taken apart.
#[derive(Default)]
struct Choices {
    shaders: Vec<(Stage, Touch)>,
    others: Vec<Act>,
}

fn does(u: &Use, stage: Stages, access: AccessFlags) -> bool {
    u.access.stages.expanded().contains(stage) && u.access.access.expanded().contains(access)
}

/// Every way to read that the use declares. Where a stage may read it as uniform or as storage buffer, it takes turns.
fn reads(u: &Use, at: usize, salt: u32) -> Choices {
    let mut all = Choices::default();
    for ((stage, flag), turn) in SHADERS.into_iter().zip(salt..) {
        let storage = does(u, flag, AccessFlags::SHADER_STORAGE_READ);
        let uniform = does(u, flag, AccessFlags::UNIFORM_READ);
        if storage || uniform {
            let kind = if uniform && (!storage || turn % 2 == 0) { Kind::Uniform } else { Kind::Read };
            all.shaders.push((stage, Touch { kind, at, mode: Mode::Read }));
        }
    }
    let others = [
        (Stages::DRAW_INDIRECT, AccessFlags::INDIRECT_COMMAND_READ, Act::Dispatch(at)),
        (Stages::VERTEX_ATTRIBUTE_INPUT, AccessFlags::VERTEX_ATTRIBUTE_READ, Act::Attributes(at)),
        (Stages::INDEX_INPUT, AccessFlags::INDEX_READ, Act::Indices(at)),
        (Stages::COPY, AccessFlags::TRANSFER_READ, Act::CopyOut(at)),
    ];
    all.others.extend(others.into_iter().filter(|o| does(u, o.0, o.1)).map(|o| o.2));
    all
}

/// Every way to write that the use declares: one is to be taken.
fn writes(u: &Use, at: usize, mode: Mode) -> Choices {
    let mut all = Choices::default();
    for (stage, flag) in SHADERS {
        if does(u, flag, AccessFlags::SHADER_STORAGE_WRITE) {
            all.shaders.push((stage, Touch { kind: Kind::Write, at, mode }));
        }
    }
    if does(u, Stages::COPY, AccessFlags::TRANSFER_WRITE) {
        all.others.push(Act::CopyIn(at, mode));
    }
    if does(u, Stages::CLEAR, AccessFlags::TRANSFER_WRITE) && mode == Mode::Overwrite {
        all.others.push(Act::Update(at));
    }
    all
}

/// Shaders that can change the bytes in place, once: a vertex shader may run more often.
fn changes(u: &Use, at: usize) -> Choices {
    let both = AccessFlags::SHADER_STORAGE_READ | AccessFlags::SHADER_STORAGE_WRITE;
    let able = SHADERS.into_iter().filter(|(stage, flag)| *stage != Stage::Vertex && does(u, *flag, both));
    let touch = Touch { kind: Kind::Modify, at, mode: Mode::Modify };
    Choices { shaders: able.map(|(stage, _)| (stage, touch)).collect(), others: Vec::new() }
}

impl Choices {
    fn len(&self) -> usize {
        self.shaders.len() + self.others.len()
    }

    /// All but one are dropped.
    fn one(mut self, salt: u32) -> Self {
        let n = self.len();
        if n > 0 {
            let chosen = words::begin(salt) as usize % n;
            let others = self.others.into_iter().skip(chosen.saturating_sub(self.shaders.len()));
            self.others = if chosen < self.shaders.len() { Vec::new() } else { others.take(1).collect() };
            self.shaders = self.shaders.into_iter().skip(chosen).take(1).collect();
        }
        self
    }
}

/// What is done with one use. It may be less than was declared: only one stage writes, and what is read in one stage and
/// written in another is either read or written, for nothing orders the two within a pass.
fn choose(u: &Use, at: usize, salt: u32) -> Choices {
    let salt = salt.wrapping_add(at as u32);
    match u.mode {
        Mode::Read => reads(u, at, salt),
        Mode::Write | Mode::Overwrite => writes(u, at, u.mode).one(salt),
        Mode::Modify => {
            let changes = changes(u, at);
            match (changes.len(), salt % 2) {
                (0, 0) => reads(u, at, salt),
                (0, _) => writes(u, at, Mode::Write).one(salt),
                _ => changes.one(salt),
            }
        }
    }
}

/// Whether a pass can do anything with a use as it is declared.
pub(crate) fn is_done(u: &Use) -> bool {
    [0, 1].iter().all(|&salt| choose(u, 0, salt).len() > 0)
}

/// The acts of a pass.
pub(crate) fn acts(node: &Node) -> Vec<Act> {
    let mut shaders: [Vec<Touch>; 3] = Default::default();
    let mut others = Vec::new();
    for (at, u) in node.uses.iter().enumerate() {
        let chosen = choose(u, at, node.salt);
        for (stage, touch) in chosen.shaders {
            shaders[stage as usize].push(touch);
        }
        others.extend(chosen.others);
    }
    let mut list = Vec::new();
    for ((stage, _), mut touches) in SHADERS.into_iter().zip(shaders).filter(|(_, t)| !t.is_empty()) {
        // Few combinations of kinds, and so few pipelines.
        touches.sort_by_key(|t| t.kind);
        list.push(Act::Shader(stage, touches));
    }
    list.extend(others);
    list
}

/// Where the hash of an act begins.
pub(crate) fn hash_of(node: &Node, act: usize) -> u32 {
    words::begin(node.salt.wrapping_mul(16).wrapping_add(act as u32))
}

/// Does the acts of a pass one by one. `report` is given what each reports.
pub(crate) fn run(node: &Node, memory: &mut dyn Memory, report: &mut dyn FnMut(usize, Vec<u32>)) {
    for (i, act) in acts(node).iter().enumerate() {
        let hash = hash_of(node, i);
        let mut read = |at: usize| words::words(&memory.read(at));
        match act {
            Act::Shader(_, touches) => {
                let read = touches.iter().filter(|t| t.kind != Kind::Write).flat_map(|t| read(t.at));
                let hash = read.fold(hash, words::mix);
                report(i, vec![hash]);
                for (t, k) in touches.iter().zip(0..).filter(|(t, _)| t.mode != Mode::Read) {
                    put(memory, t.at, t.mode, words::mix(hash, k));
                }
            }
            Act::Dispatch(at) => report(i, vec![read(*at).into_iter().take(3).fold(hash, words::mix)]),
            Act::Attributes(at) => {
                let cells = read(*at);
                report(i, cells.chunks(4).map(|c| c.iter().copied().fold(hash, words::mix)).collect());
            }
            Act::Indices(at) => {
                let mut seen = vec![0; INDICES];
                read(*at).into_iter().for_each(|w| *seen.get_mut(w as usize).unwrap_or(&mut 0) = 1);
                report(i, seen);
            }
            Act::CopyOut(at) => report(i, read(*at)),
            Act::CopyIn(at, mode) => put(memory, *at, *mode, hash),
            Act::Update(at) => put(memory, *at, Mode::Overwrite, hash),
        }
    }
}

fn put(memory: &mut dyn Memory, at: usize, mode: Mode, hash: u32) {
    memory.write(at, &mut |bytes| words::with_words(bytes, |w| words::put(hash, mode, w)));
}
