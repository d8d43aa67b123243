//! G1 and G2: declared and planned anew each time, hazards, culling, levels and barriers included, causes not; or declared
//! and compared with the one before, whose plan is used again. The state between frames moves on, so that every graph but
//! the first owes something to the one before.

use crate::args::{Args, Mode, Work};
use crate::{Failure, clock, report};
use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, PlanError, PlanOptions, PlanOrigin, Planner,
    ResourceId,
};
use std::time::Instant;

/// The buffers that pass `i` reads. It overwrites buffer `i`.
pub(crate) fn reads(work: Work, i: usize) -> impl Iterator<Item = usize> {
    let distances: &[usize] = if work == Work::G1 { &[1, 7, 31] } else { &[100] };
    distances.iter().filter_map(move |&distance| i.checked_sub(distance))
}

/// How many graphs to measure, if the command line does not say.
pub(crate) fn iterations(args: &Args) -> usize {
    args.iters.unwrap_or((200_000 / args.passes).clamp(9, 2000))
}

pub(crate) fn run(work: Work, args: &Args) -> Result<bool, Failure> {
    let cached = args.mode == Some(Mode::Cached);
    let mut graphs = Graphs::new(work, args.passes, cached);
    let iterations = iterations(args);
    for _ in 0..args.warmup.min(iterations) {
        graphs.declare();
        graphs.plan()?;
    }
    let mut times = report::Graphs::default();
    for _ in 0..iterations {
        let (mut declared, mut planned, mut result) = (Instant::now(), Instant::now(), Ok(()));
        let begin = Instant::now();
        clock::region(&mut || {
            graphs.declare();
            declared = Instant::now();
            result = graphs.plan();
            planned = Instant::now();
        });
        result?;
        let nanoseconds = |from, to: Instant| to.duration_since(from).as_nanos() as f64;
        times.add(nanoseconds(begin, declared), nanoseconds(declared, planned), 0.0);
    }
    if cached && graphs.planner.schedule().origin != PlanOrigin::Reused {
        return Err(format!("no plan was used again: {:?}", graphs.planner.schedule().origin).into());
    }
    times.print(work, args.passes, None);
    Ok(true)
}

/// A graph that is declared and planned again and again, as an engine does every frame.
struct Graphs {
    work: Work,
    buffers: Vec<ResourceId>,
    state: GraphState,
    frame: FrameGraph,
    planner: Planner,
}

impl Graphs {
    fn new(work: Work, passes: usize, cached: bool) -> Self {
        let mut state = GraphState::new();
        let buffer = |i| BufferDesc::new(format!("buffer {i}"), 4096, BufferUsage::STORAGE);
        let buffers = (0..passes).map(|i| state.add_buffer(buffer(i))).collect();
        Graphs {
            work,
            buffers,
            state,
            frame: FrameGraph::new(),
            planner: Planner::with_cache(usize::from(cached)),
        }
    }

    fn declare(&mut self) {
        self.frame.reset();
        for (i, &written) in self.buffers.iter().enumerate() {
            let mut pass = self.frame.pass("pass");
            for read in reads(self.work, i) {
                pass = pass.read(self.buffers[read], Access::COMPUTE_STORAGE_READ);
            }
            pass.overwrite(written, Access::COMPUTE_STORAGE_WRITE).finish();
        }
    }

    fn plan(&mut self) -> Result<(), PlanError> {
        self.planner.plan_with(&self.frame, &mut self.state, PlanOptions::default(), &[])?;
        self.planner.commit(&mut self.state);
        Ok(())
    }
}
