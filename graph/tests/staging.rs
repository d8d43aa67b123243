//! Frames of uploads alone, from one staging buffer and from several.

use memkit_graph::{
    BufferDesc, BufferRef, BufferUsage, Command, FrameGraph, GraphState, HostSlice, PlanError, PlanOptions,
    Planner,
};

/// A staging buffer, and offsets and size of the regions copied from it.
type Copies = (BufferRef, Vec<[u64; 3]>);

/// The copies of a frame of uploads, each a staging buffer, an offset there and one in the buffer, 4 bytes each.
fn copies(uploads: &[(u32, u64, u64)], causes: bool) -> Result<Vec<Copies>, PlanError> {
    let (mut state, mut planner, mut frame) = (GraphState::new(), Planner::new(), FrameGraph::new());
    let to = state.add_buffer(BufferDesc::new("to", 64, BufferUsage::TRANSFER_DST));
    for &(buffer, offset, start) in uploads {
        frame.upload(HostSlice { buffer, offset }, to.slice(start..start + 4));
    }
    let options = PlanOptions { causes, ..PlanOptions::default() };
    let schedule = planner.plan_with(&frame, &mut state, options, &[])?;
    let copies = schedule.queues[0].commands.iter().filter_map(|command| match command {
        Command::Copy { from, regions, .. } => {
            let regions = &schedule.regions[regions.start as usize..regions.end as usize];
            Some((*from, regions.iter().map(|r| [r.src, r.dst, r.size]).collect()))
        }
        _ => None,
    });
    Ok(copies.collect())
}

#[test]
fn uploads_that_continue_each_other_are_one_region_a_staging_buffer() {
    let uploads = [(0, 0, 0), (0, 4, 4), (1, 0, 8), (1, 4, 12), (0, 8, 16)];
    let from_0 = (BufferRef::Host(0), vec![[0, 0, 8], [8, 16, 4]]);
    let from_1 = (BufferRef::Host(1), vec![[0, 8, 8]]);
    for causes in [false, true] {
        assert_eq!(copies(&uploads, causes).unwrap(), [from_0.clone(), from_1.clone()], "causes: {causes}");
        let one = copies(&uploads[..2], causes).unwrap();
        assert_eq!(one, [(BufferRef::Host(0), vec![[0, 0, 8]])], "causes: {causes}");
    }
}
