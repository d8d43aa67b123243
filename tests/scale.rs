//! What a frame of passes takes in memory, counted; and frames of 100,000 passes: in linear memory, and without recursion.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/heap.rs"]
mod heap;

use heap::Counting;
use memkit_gpu::graph::{
    Access, BufferDesc, BufferUsage, FrameGraph, GraphState, PlanOptions, Planner, ResourceId, Schedule,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes a pass.
#[derive(Debug)]
struct Bytes {
    /// What was declared, and all that the planner keeps but the schedule.
    frame: usize,
    schedule: usize,
    calls: usize,
}

/// Pass `i` overwrites buffer `i` and reads buffers `i - 1`, `i - 7` and `i - 31`.
fn declare(frame: &mut FrameGraph, buffers: &[ResourceId]) {
    for (i, &own) in buffers.iter().enumerate() {
        let mut pass = frame.pass("pass");
        for read in [1, 7, 31].into_iter().filter_map(|distance| i.checked_sub(distance)) {
            pass = pass.read(buffers[read], Access::COMPUTE_STORAGE_READ);
        }
        pass.overwrite(own, Access::COMPUTE_STORAGE_WRITE).finish();
    }
}

/// What a vector holds on to.
fn held<T>(v: &Vec<T>) -> usize {
    v.capacity() * size_of::<T>()
}

/// Spare room included.
fn bytes_of(s: &Schedule) -> usize {
    let commands: usize = s.queues.iter().map(|q| held(&q.commands)).sum();
    let lists = held(&s.resources) + held(&s.queues) + commands + held(&s.barriers) + held(&s.entries);
    let uploads = held(&s.transfers) + held(&s.regions) + held(&s.scatters) + held(&s.trimmed);
    lists + uploads + held(&s.order) + held(&s.culled) + held(&s.host_reads) + held(&s.causes)
}

/// Plans two frames, the second with hazards against the first.
fn measure(passes: usize) -> Bytes {
    let mut state = GraphState::new();
    let desc = BufferDesc::new("buffer", 4096, BufferUsage::STORAGE);
    let buffers: Vec<_> = (0..passes).map(|_| state.add_buffer(desc.clone())).collect();
    // The access table grows once.
    Planner::new().plan_with(&FrameGraph::new(), &mut state, PlanOptions::default(), &[]).unwrap();
    let before = heap::live();
    let (mut frame, mut planner) = (FrameGraph::new(), Planner::new());
    for _ in 0..2 {
        frame.reset();
        declare(&mut frame, &buffers);
        planner.plan_with(&frame, &mut state, PlanOptions::default(), &[]).unwrap();
        planner.commit(&mut state);
    }
    let (all, schedule) = ((heap::live() - before) as usize, bytes_of(planner.schedule()));
    Bytes { frame: (all - schedule) / passes, schedule: schedule / passes, calls: planner.schedule().depth() }
}

#[test]
fn a_pass_takes_few_bytes() {
    let bytes = measure(1000);
    println!("{bytes:?}");
    assert_eq!(bytes.calls, 1000, "one chain, after the frame before");
    assert!(bytes.schedule <= 200, "{bytes:?}");
    assert!(bytes.frame <= 600, "{bytes:?}");
}

#[test]
fn a_hundred_thousand_passes_are_planned_in_linear_memory_without_recursion() {
    // A call a pass would need several times this stack.
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let planned = small.spawn(|| (measure(1 << 10), measure(100_000))).unwrap();
    let (few, many) = planned.join().unwrap();
    println!("{few:?} {many:?}");
    assert_eq!(many.calls, 100_000);
    // Room grows by doubling.
    assert!(many.frame <= 2 * few.frame && many.schedule <= 2 * few.schedule, "{few:?} {many:?}");
}
