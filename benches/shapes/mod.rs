//! The shapes planning is measured with: what a frame of many passes looks like to the planner.

// Each bench uses its part of this.
#![allow(dead_code)]

pub(crate) mod uploads;

use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, PlanOptions, Planner, ResourceId, Schedule,
};

/// Which buffers a pass reads. Pass `i` always overwrites buffer `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Pass `i` reads buffers `i - 1`, `i - 7` and `i - 31`: one long chain.
    G1,
    /// Pass `i` reads buffer `i - 100`: a hundred independent chains, interleaved.
    G2,
}

impl Shape {
    fn distances(self) -> &'static [usize] {
        match self {
            Shape::G1 => &[1, 7, 31],
            Shape::G2 => &[100],
        }
    }
}

/// A graph that is declared and planned again and again, as an engine does every frame.
pub(crate) struct Bench {
    shape: Shape,
    buffers: Vec<ResourceId>,
    state: GraphState,
    frame: FrameGraph,
    planner: Planner,
    /// Frames so far, if none is to be like another.
    changes: Option<u64>,
}

impl Bench {
    pub(crate) fn new(shape: Shape, passes: usize) -> Self {
        Self::with(shape, passes, Planner::new())
    }

    /// With a planner that keeps plans: from the fourth frame on each is used again.
    pub(crate) fn cached(shape: Shape, passes: usize) -> Self {
        Self::with(shape, passes, Planner::with_cache(1))
    }

    /// With a planner that keeps plans of so many structures, and frames that differ in the range that the last pass writes.
    pub(crate) fn changing(shape: Shape, passes: usize, kept: usize) -> Self {
        Bench { changes: Some(0), ..Self::with(shape, passes, Planner::with_cache(kept)) }
    }

    fn with(shape: Shape, passes: usize, planner: Planner) -> Self {
        let mut state = GraphState::new();
        let buffer = |i| BufferDesc::new(format!("buffer {i}"), 4096, BufferUsage::STORAGE);
        let buffers = (0..passes).map(|i| state.add_buffer(buffer(i))).collect();
        Bench { shape, buffers, state, frame: FrameGraph::new(), planner, changes: None }
    }

    /// Declares, plans and commits one frame.
    pub(crate) fn frame(&mut self, options: PlanOptions) -> &Schedule {
        self.frame.reset();
        for i in 0..self.buffers.len() {
            let mut pass = self.frame.pass("pass");
            for &distance in self.shape.distances() {
                if let Some(read) = i.checked_sub(distance) {
                    pass = pass.read(self.buffers[read], Access::COMPUTE_STORAGE_READ);
                }
            }
            pass.overwrite(self.buffers[i], Access::COMPUTE_STORAGE_WRITE).finish();
        }
        if let (Some(count), Some(&last)) = (&mut self.changes, self.buffers.last()) {
            *count += 1;
            let range = last.slice(0..*count * 4 % 4096 + 4);
            self.frame.pass("another").overwrite(range, Access::COMPUTE_STORAGE_WRITE).finish();
        }
        if let Err(error) = self.planner.plan_with(&self.frame, &mut self.state, options, &[]) {
            unreachable!("the shapes are right: {error}");
        }
        self.planner.commit(&mut self.state);
        self.planner.schedule()
    }
}
