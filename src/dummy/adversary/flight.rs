//! One submission in flight: its commands, each on private copies of the bytes it declared.

use super::ranges::{Ranges, common, destinations, hull, without};
use super::seed::Seed;
use super::split::{Act, reads, uses};
use crate::dummy::hazard::{MkHazardParty, MkHazardWork, Reports};
use crate::dummy::judge::{Effects, can_fill};
use crate::dummy::kernel::MkKernelMemory;
use crate::dummy::memory::{Block, DeviceToken, FRESH, Lender, STALE};
use crate::dummy::record::{PassRecord, Recorded, Scattered, Step, fits, span};
use crate::dummy::run::{failed, run_kernels};
use memkit_graph::Access;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// A submission in flight.
pub(super) struct Flight {
    pub(super) recorded: Box<Recorded>,
    /// What is there of its commands, by step.
    pub(super) works: Vec<Work>,
    /// Acts not done yet.
    pub(super) left: usize,
    /// Bytes the host reads afterwards and cannot see.
    pub(super) host: Vec<(u32, Range<u64>)>,
    /// Bytes of transient buffers that began their new life.
    fresh: Vec<(u32, Ranges)>,
    /// The buffers, with private copies in place of some while kernels run.
    view: Vec<Arc<Block>>,
}

/// A command in flight.
#[derive(Default)]
pub(super) struct Work {
    pub(super) effects: Effects,
    /// Acts not done yet.
    pub(super) left: usize,
    /// Private copies, by buffer.
    shadows: SmallVec<[(u32, Arc<Block>); 2]>,
    /// Uses that were stored in some stage.
    stored: SmallVec<[u32; 2]>,
    /// The host's heap had no room for a copy.
    starved: bool,
}

/// What an act works with.
pub(super) struct Hands<'a> {
    pub(super) token: &'a mut DeviceToken,
    pub(super) reports: &'a Reports,
    pub(super) seed: Seed,
}

impl Work {
    pub(super) fn new(effects: Effects) -> Self {
        Work { effects, ..Work::default() }
    }
}

impl Flight {
    pub(super) fn new(recorded: Box<Recorded>) -> Self {
        let view = recorded.buffers.clone();
        Flight { recorded, works: Vec::new(), left: 0, host: Vec::new(), fresh: Vec::new(), view }
    }

    /// Does one act of a command.
    pub(super) fn act(&mut self, step: usize, act: Act, hands: &mut Hands<'_>) {
        match (self.recorded.steps.get(step), act) {
            (Some(Step::Pass(pass)), _) => {
                let pass = *pass;
                self.pass(step, pass, act, hands);
            }
            (Some(Step::Copy { from, to, regions }), Act::Load(_)) => {
                let (from, to, regions) = (*from, *to, regions.clone());
                self.load_copy(step, (from, to), regions, hands);
            }
            (Some(Step::Copy { from, to, regions }), Act::Store(_)) => {
                let ((from, to), regions) = ((*from, *to), regions.clone());
                let ranges = destinations(&self.recorded, from, to, regions);
                self.store(step, 0, to, &ranges, hands);
            }
            (Some(Step::Scatter { regions }), Act::Load(at) | Act::Store(at)) => {
                let (at, place) = (at, regions.start + at as usize);
                self.scatter(step, at, place, act, hands);
            }
            (Some(Step::Fill { to, offset, size, value }), Act::Run | Act::Store(_)) => {
                let (to, range, value) = (*to, *offset..offset.saturating_add(*size), *value);
                self.fill(step, to, range, value, act, hands);
            }
            _ => {}
        }
        self.left = self.left.saturating_sub(1);
        if let Some(work) = self.works.get_mut(step) {
            work.left = work.left.saturating_sub(1);
            if work.left == 0 {
                work.shadows.clear();
            }
        }
    }

    /// The submission is done: what the host cannot see is something else.
    pub(super) fn land(&mut self, hands: &mut Hands<'_>) {
        for ((buffer, range), i) in self.host.iter().zip(0..) {
            let Some(block) = self.recorded.buffers.get(*buffer as usize) else { continue };
            match block.before().filter(|_| hands.serves_old(self.recorded.value, u64::MAX, i)) {
                Some(before) => hands.token.carry(before, block, range),
                None => hands.token.set(block, range, STALE),
            }
        }
    }

    fn pass(&mut self, step: usize, pass: usize, act: Act, hands: &mut Hands<'_>) {
        let Some(record) = self.recorded.passes.get(pass) else { return };
        let of = uses(&self.recorded, record);
        let touched = |at: u32| {
            let u = of.get(at as usize)?;
            Some((u.buffer, u.range.start..u.range.end, reads(u.access)))
        };
        match act {
            Act::Load(at) => {
                let Some((buffer, range, reading)) = touched(at) else { return };
                // Bytes that another use of the pass reads are that one's to load.
                let others = of.iter().filter(|o| !reading && o.buffer == buffer && reads(o.access));
                let ranges = without(range, others.map(|o| &o.range));
                self.load(step, buffer, &ranges, hands);
            }
            Act::Run => self.run(step, pass, hands),
            Act::Store(at) => {
                let Some((buffer, range, _)) = touched(at) else { return };
                self.store(step, at, buffer, &[range], hands);
            }
        }
    }

    /// Copies bytes of a buffer for a pass; what it may not see comes as poison or as it was before.
    fn load(&mut self, step: usize, buffer: u32, ranges: &[Range<u64>], hands: &mut Hands<'_>) {
        let Some(block) = self.recorded.buffers.get(buffer as usize).cloned() else { return };
        let Some(shadow) = self.shadow(step, buffer) else { return };
        for range in ranges {
            self.freshen(buffer, range, hands.token);
            hands.token.carry(&block, &shadow, range);
        }
        let Some(work) = self.works.get(step) else { return };
        for ((_, stale), i) in work.effects.stale.iter().zip(0..).filter(|((b, _), _)| *b == buffer) {
            for part in ranges.iter().map(|r| common(r, stale)).filter(|r| !r.is_empty()) {
                match block.before().filter(|_| hands.serves_old(self.recorded.value, step as u64, i)) {
                    Some(before) => hands.token.carry(before, &shadow, &part),
                    None => hands.token.set(&shadow, &part, STALE),
                }
            }
        }
    }

    /// Copies the source of a copy to where it will be in the destination.
    fn load_copy(
        &mut self,
        step: usize,
        (at_from, to): (u32, u32),
        regions: Range<usize>,
        hands: &mut Hands<'_>,
    ) {
        let Some(shadow) = self.shadow(step, to) else { return };
        let Some(from) = self.recorded.buffers.get(at_from as usize).cloned() else { return };
        for at in regions.clone() {
            let Some(r) = self.recorded.regions.get(at).filter(|r| fits(r, &from, &shadow)).copied() else {
                continue;
            };
            self.freshen(at_from, &span(r.src, &r), hands.token);
            hands.token.copy(&from, r.src, &shadow, r.dst, r.size);
        }
        let (Some(work), Some(regions)) = (self.works.get(step), self.recorded.regions.get(regions)) else {
            return;
        };
        for ((region, stale), i) in work.effects.stale.iter().zip(0..) {
            let Some(r) = regions.get(*region as usize) else { continue };
            let stale = Stale { bytes: stale.clone(), arrive: stale.start - r.src + r.dst };
            hands.serve_stale(&from, &shadow, &stale, (self.recorded.value, step as u64, i));
        }
    }

    /// Loads or stores the region `at` of a scatter, at this place among all of the submission.
    fn scatter(&mut self, step: usize, at: u32, place: usize, act: Act, hands: &mut Hands<'_>) {
        let Some(Scattered { from: at_from, to, region: r }) = self.recorded.scatters.get(place).copied()
        else {
            return;
        };
        if let Act::Store(_) = act {
            self.store(step, at, to, &[span(r.dst, &r)], hands);
            return;
        }
        let Some(shadow) = self.shadow(step, to) else { return };
        let Some(from) = self.recorded.buffers.get(at_from as usize).cloned() else { return };
        self.freshen(at_from, &span(r.src, &r), hands.token);
        hands.token.copy(&from, r.src, &shadow, r.dst, r.size);
        let Some(work) = self.works.get(step) else { return };
        for ((_, stale), i) in work.effects.stale.iter().zip(0..).filter(|((region, _), _)| *region == at) {
            let stale = Stale { bytes: stale.clone(), arrive: stale.start - r.src + r.dst };
            hands.serve_stale(&from, &shadow, &stale, (self.recorded.value, step as u64, i));
        }
    }

    fn fill(&mut self, step: usize, to: u32, range: Range<u64>, value: u32, act: Act, hands: &mut Hands<'_>) {
        if !self.recorded.buffers.get(to as usize).is_some_and(|to| can_fill(to, &range)) {
            return;
        }
        match act {
            Act::Run => {
                if let Some(shadow) = self.shadow(step, to) {
                    hands.token.fill(&shadow, &range, value);
                }
            }
            _ => self.store(step, 0, to, &[range], hands),
        }
    }

    fn run(&mut self, step: usize, pass: usize, hands: &mut Hands<'_>) {
        let count = self.recorded.passes.get(pass).map_or(0, |p| uses(&self.recorded, p).len());
        for at in 0..count {
            let used = self.recorded.passes.get(pass).and_then(|p| uses(&self.recorded, p).get(at));
            let Some(buffer) = used.map(|u| u.buffer) else { continue };
            if let Some(shadow) = self.shadow(step, buffer)
                && let Some(place) = self.view.get_mut(buffer as usize)
            {
                *place = shadow;
            }
        }
        let Recorded { passes, names, uses, resources, kernels, value, .. } = &mut *self.recorded;
        let Some(PassRecord { name, uses: declared, kernels: range }) = passes.get(pass) else { return };
        let name = names.get(name.clone()).unwrap_or("");
        let work = MkHazardWork::Pass(name.into());
        let party = MkHazardParty { work, access: Access::NONE, submission: *value };
        if self.works.get(step).is_some_and(|w| w.starved) {
            failed(hands.reports, &party, "no memory for a private copy of what it uses".to_owned());
        } else {
            let memory = MkKernelMemory {
                lender: Lender::new(hands.token, &self.view),
                resources,
                pass: name,
                uses: uses.get(declared.clone()).unwrap_or(&[]),
                // It is in the copies already.
                stale: &[],
                party: &party,
                reports: hands.reports,
            };
            run_kernels(kernels, range.clone(), memory);
        }
        for (buffer, _) in self.works.get(step).iter().flat_map(|w| &w.shadows) {
            let at = *buffer as usize;
            if let (Some(place), Some(block)) = (self.view.get_mut(at), self.recorded.buffers.get(at)) {
                place.clone_from(block);
            }
        }
    }

    /// Stores bytes from the private copy. What was there is kept as what a reader that may not see them gets.
    fn store(&mut self, step: usize, at: u32, buffer: u32, ranges: &[Range<u64>], hands: &mut Hands<'_>) {
        let Some(block) = self.recorded.buffers.get(buffer as usize).cloned() else { return };
        let Some(shadow) = self.shadow(step, buffer) else { return };
        let first = self.works.get_mut(step).is_some_and(|w| {
            let first = !w.stored.contains(&at);
            w.stored.push(at);
            first
        });
        for range in ranges {
            self.freshen(buffer, range, hands.token);
            if let Some(before) = block.before().filter(|_| first) {
                hands.token.carry(&block, before, range);
            }
            hands.token.carry(&shadow, &block, range);
        }
        let Some(work) = self.works.get(step) else { return };
        for ((_, torn), i) in work.effects.torn.iter().zip(0..).filter(|((b, _), _)| *b == buffer) {
            for part in ranges.iter().map(|r| common(r, torn)).filter(|r| !r.is_empty()) {
                // The earlier write comes out on top, or neither does.
                match block.before().filter(|_| hands.serves_old(self.recorded.value, step as u64, i)) {
                    Some(before) => hands.token.carry(before, &block, &part),
                    None => hands.token.set(&block, &part, STALE),
                }
            }
        }
    }

    /// The private copy of what a command uses of a buffer; made when it is first asked for.
    fn shadow(&mut self, step: usize, buffer: u32) -> Option<Arc<Block>> {
        let work = self.works.get_mut(step)?;
        if let Some((_, shadow)) = work.shadows.iter().find(|(b, _)| *b == buffer) {
            return Some(shadow.clone());
        }
        let hull = hull(&self.recorded, step, buffer);
        match self.recorded.buffers.get(buffer as usize)?.shadow(&hull) {
            Some(shadow) => {
                let shadow = Arc::new(shadow);
                work.shadows.push((buffer, shadow.clone()));
                Some(shadow)
            }
            None => {
                work.starved = true;
                None
            }
        }
    }

    /// Before a transient's bytes are touched for the first time in this submission, they become undefined. Not sooner:
    /// work before that may still use the memory.
    fn freshen(&mut self, buffer: u32, range: &Range<u64>, token: &mut DeviceToken) {
        if !self.recorded.transients.contains(&buffer) {
            return;
        }
        let Some(block) = self.recorded.buffers.get(buffer as usize) else { return };
        let at = match self.fresh.iter().position(|f| f.0 == buffer) {
            Some(at) => at,
            None => {
                self.fresh.push((buffer, Ranges::new()));
                self.fresh.len() - 1
            }
        };
        let Some((_, touched)) = self.fresh.get_mut(at) else { return };
        let new = without(range.clone(), touched.iter());
        new.iter().for_each(|r| token.set(block, r, FRESH));
        touched.extend(new);
    }
}

/// Bytes of a source that may not be seen, and where they arrive.
struct Stale {
    bytes: Range<u64>,
    arrive: u64,
}

impl Hands<'_> {
    /// Replaces stale bytes where they arrived: by what was there before, or by poison.
    fn serve_stale(&mut self, from: &Block, to: &Block, stale: &Stale, (value, step, i): (u64, u64, u64)) {
        let size = stale.bytes.end - stale.bytes.start;
        match from.before().filter(|_| self.serves_old(value, step, i)) {
            Some(before) => self.token.copy(before, stale.bytes.start, to, stale.arrive, size),
            None => self.token.set(to, &(stale.arrive..stale.arrive + size), STALE),
        }
    }

    /// Whether to serve what was there before, or poison.
    fn serves_old(&self, submission: u64, step: u64, i: u64) -> bool {
        self.seed.draw(&[submission, step, 2, i]).is_multiple_of(2)
    }
}
