//! Phase 7: one barrier call before each level, with the fewest entries.
//!
//! A hazard asks for something only if the calls so far do not cover it. What it asks for is judged per atom (one
//! stage with one access); what several hazards of one call ask for is merged, so that no entry and no bit of an
//! entry is there twice.

mod ask;
mod causes;
mod earlier;
mod entries;
mod flags;
mod needs;
mod prune;
mod repeat;
mod widen;

use super::Positions;
use super::hazards::{Hazards, Relation, Source};
use super::order::{self, Levels};
use crate::coverage::{Coverage, EntryScopes};
use crate::pairs::{AtomIndex, PairId, PairTable};
use crate::schedule::{BarrierCall, Schedule};
use causes::PendingCause;
use earlier::{Earlier, Served};
use needs::Needs;
use repeat::Repeat;

/// The outcome beside what goes into the schedule, and the memory the phase needs.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// The entries in numbers, parallel to [`Schedule::entries`].
    pub(crate) scopes: Vec<EntryScopes>,
    needs: Needs,
    /// Relations already asked for in the current call.
    asked: Vec<Relation>,
    /// What the current call is asked for, if that is one relation to the level right above: not among the needs yet.
    alone: Option<Whole>,
    repeat: Repeat,
    /// Hazards of the current call against earlier frames.
    earlier: Vec<Earlier>,
    served: Served,
    chains: widen::Chains,
    /// Writes that an entry of an earlier call was widened for in the current one.
    widened: Vec<(AtomIndex, u32)>,
    pending_causes: Vec<PendingCause>,
    scratch: Coverage,
}

/// All that one access wrote towards all of another.
pub(super) type Whole = (PairId, PairId);

/// What the phase looks at.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) pairs: &'a PairTable,
    pub(crate) positions: Positions,
    pub(crate) hazards: &'a Hazards,
    pub(crate) levels: &'a Levels,
    /// The level the frame begins at.
    pub(crate) base: u64,
    pub(crate) causes: bool,
}

impl Frame<'_> {
    /// When the source of a hazard ran.
    #[inline]
    fn level_of(&self, src: Source) -> u64 {
        match src {
            Source::Node(position) => self.base + u64::from(self.levels.level[position as usize]),
            Source::Earlier(level) => level,
        }
    }
}

/// Places the calls. `cover` is moved on by each.
pub(crate) fn run(frame: Frame<'_>, cover: &mut Coverage, out: &mut Calls, schedule: &mut Schedule) {
    out.scopes.clear();
    out.chains.clear();
    out.repeat.clear();
    out.served = Served::default();
    let levels = frame.levels;
    for level in 1..=levels.last().max(levels.host.unwrap_or(0)) {
        out.begin_call();
        let host = levels.host == Some(level);
        if frame.causes {
            out.pend_causes(frame, level, host, cover);
        }
        out.ask_level(frame, level, cover, schedule);
        if host {
            for hazard in &frame.hazards.host {
                out.ask(frame, level, cover, *hazard);
            }
        }
        out.end_call(frame, level, cover, schedule);
    }
    if frame.causes {
        schedule.causes.sort_by_key(|c| c.entry);
    }
}

impl Calls {
    #[inline]
    fn begin_call(&mut self) {
        self.needs.clear();
        self.asked.clear();
        self.alone = None;
        self.earlier.clear();
        self.widened.clear();
    }

    /// Takes in the hazards of one level: those within the frame first, because what they ask for may serve those
    /// against earlier frames too.
    fn ask_level(&mut self, frame: Frame<'_>, level: u32, cover: &mut Coverage, schedule: &mut Schedule) {
        let Frame { pairs, hazards, levels, .. } = frame;
        for &position in levels.nodes(level) {
            for hazard in order::of(hazards, position) {
                match hazard.src() {
                    Source::Node(_) => self.ask(frame, level, cover, *hazard),
                    Source::Earlier(level) => self.note_earlier(pairs, cover, level, *hazard),
                }
            }
        }
        for hazard in levels.owed(level) {
            if let Source::Earlier(level) = hazard.src() {
                self.note_earlier(pairs, cover, level, *hazard);
            }
        }
        if !self.earlier.is_empty() {
            self.enter_alone(pairs);
            self.ask_earlier((frame, level), cover, schedule);
        }
    }

    /// Turns what was asked for into entries.
    fn end_call(&mut self, frame: Frame<'_>, level: u32, cover: &mut Coverage, schedule: &mut Schedule) {
        let boundary = frame.base + u64::from(level);
        let first = schedule.entries.len();
        let alone = self.alone;
        if !self.make_again(boundary, cover, schedule) {
            self.enter_alone(frame.pairs);
            let (scopes, entries) = (&mut self.scopes, &mut schedule.entries);
            entries::make(&mut self.needs, &mut entries::Out { pairs: frame.pairs, scopes, entries, first });
            let made = &self.scopes[first..];
            cover.apply(made, boundary, &mut self.scratch);
            let entries = &schedule.entries[first..];
            self.repeat.note(alone, made, entries, schedule.barriers.len(), cover);
            self.chains.note(&self.needs, &self.scopes, schedule, first, boundary);
        }
        let entries = first as u32..schedule.entries.len() as u32;
        if frame.causes {
            self.name_causes(frame, entries.clone(), schedule);
        }
        schedule.barriers.push(BarrierCall { level, entries });
    }
}
