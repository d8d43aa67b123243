//! How a command comes apart: into what it loads, what it does, and what it stores, each in one stage.
//!
//! A device runs the stages of a command one by one, and a barrier holds up stages, not commands: the fragment shader of
//! a draw may wait while its vertex shader reads bytes that something else writes meanwhile. So each declared use is
//! loaded once in each stage that reads it and stored once in each stage that writes it; between, the pass's kernels run
//! on private copies, as part of one of its stages. Loads come before the run and stores after it; no barrier can ask
//! for anything else, for both ends of a dependency are in submission order.

use super::seed::Seed;
use crate::dummy::model::pairs;
use crate::dummy::record::{Declared, PassRecord, Recorded, Step};
use crate::dummy::scatter;
use memkit_graph::{Access, AccessFlags, Stages};
use smallvec::SmallVec;

/// A part of a command that happens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Loads the bytes of a use, by position among those of the pass; of a copy, its source; of a scatter, the source of
    /// a region.
    Load(u32),
    /// Runs the kernels; of a fill, makes the bytes.
    Run,
    /// Stores the bytes of a use; of a scatter, a region.
    Store(u32),
}

/// The acts of a command, each with its stage.
pub(super) type Acts = SmallVec<[(Stages, Act); 6]>;

/// Takes a command apart. A barrier has no acts.
pub(super) fn split(recorded: &Recorded, step: usize, seed: Seed) -> Acts {
    let mut acts = Acts::new();
    match recorded.steps.get(step) {
        Some(Step::Pass(at)) => {
            let Some(pass) = recorded.passes.get(*at) else { return acts };
            for (u, i) in uses(recorded, pass).iter().zip(0..) {
                acts.extend(load_stages(u.access).iter().map(|s| (s, Act::Load(i))));
                acts.extend(stages_of(u.access, AccessFlags::WRITES).iter().map(|s| (s, Act::Store(i))));
            }
            acts.push((run_stage(recorded, step, uses(recorded, pass), seed), Act::Run));
        }
        Some(Step::Copy { .. }) => {
            acts.extend([Act::Load(0), Act::Run, Act::Store(0)].map(|act| (Stages::COPY, act)));
        }
        Some(Step::Scatter { regions }) => {
            // Each region by itself: invocations run in no order.
            acts.push((Stages::COMPUTE_SHADER, Act::Run));
            for (at, ..) in scatter::regions(recorded, regions.clone()) {
                acts.extend([Act::Load(at), Act::Store(at)].map(|act| (Stages::COMPUTE_SHADER, act)));
            }
        }
        Some(Step::Fill { .. }) => {
            // In which stage a fill writes depends on whom one asks: it waits for both, and both wait for it.
            acts.push((Stages::CLEAR, Act::Run));
            acts.extend(Access::FILL_WRITE.stages.iter().map(|s| (s, Act::Store(0))));
        }
        Some(Step::Barrier { .. }) | None => {}
    }
    acts
}

/// What a pass declared.
pub(super) fn uses<'r>(recorded: &'r Recorded, pass: &PassRecord) -> &'r [Declared] {
    recorded.uses.get(pass.uses.clone()).unwrap_or(&[])
}

/// Whether a use reads, in any stage.
pub(super) fn reads(access: Access) -> bool {
    !stages_of(access, AccessFlags::READS).is_empty()
}

fn stages_of(access: Access, of: AccessFlags) -> Stages {
    pairs(access, of).iter().map(|p| p.0).collect()
}

/// Where the bytes of a use are loaded. One that only writes may leave some as they are: they are loaded where it writes.
fn load_stages(access: Access) -> Stages {
    let reads = stages_of(access, AccessFlags::READS);
    if reads.is_empty() { stages_of(access, AccessFlags::WRITES) } else { reads }
}

/// The stage that the kernels are part of: one of those the pass declared, by the seed.
fn run_stage(recorded: &Recorded, step: usize, uses: &[Declared], seed: Seed) -> Stages {
    let mut stages: Stages = uses.iter().map(|u| u.access.stages.expanded()).collect();
    if stages.is_empty() {
        // It declares no bytes: only explicit orders tell where it runs.
        stages = Stages::ALL_COMMANDS.expanded();
        for order in &recorded.orders {
            let sides = [(order.first, &order.first_accesses), (order.then, &order.then_accesses)];
            for (_, accesses) in sides.into_iter().filter(|(at, _)| *at == step) {
                let accesses = recorded.order_accesses.get(accesses.clone()).unwrap_or(&[]);
                let side: Stages = accesses.iter().map(|a| a.stages.expanded()).collect();
                stages = Some(stages & side).filter(|s| !s.is_empty()).unwrap_or(stages);
            }
        }
    }
    let n = stages.iter().count().max(1) as u64;
    let chosen = usize::try_from(seed.draw(&[recorded.value, step as u64, 1]) % n).unwrap_or(0);
    stages.iter().nth(chosen).unwrap_or(stages)
}
