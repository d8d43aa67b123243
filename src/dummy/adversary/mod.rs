//! The adversary: runs work in any order that barriers and waits allow, chosen by a seed.
//!
//! Submissions are judged when they are taken up, in the order of submission and of their commands, exactly as without an
//! adversary. Then their commands come [apart](split) and wait in a [graph](graph) made of barriers alone, together with
//! what is left of earlier submissions; nothing runs before somebody waits for it. Each command has a priority by the
//! seed, and of what waits for nothing the largest priority runs: so of any two commands that nothing orders, either may
//! run first, however far apart they were recorded, also in different submissions.
//!
//! What the model finds not visible is served as it was before the last write, or as poison, by the seed.

mod flight;
mod graph;
mod ranges;
mod seed;
mod split;
#[cfg(test)]
mod tests;

use super::judge::Judge;
use super::memory::DeviceToken;
use super::model::FULL;
use super::queue::Shared;
use super::record::{Recorded, Step};
use flight::{Flight, Hands, Work};
use graph::Graph;
use seed::Seed;
use split::{Act, split};
use std::collections::VecDeque;
use std::sync::Arc;

/// The device's side of the queue under an adversary: owned by its thread.
pub(super) struct Adversary {
    judge: Judge,
    token: DeviceToken,
    seed: Seed,
    graph: Graph<Piece>,
    /// Submissions that are not done, in order.
    flights: VecDeque<Flight>,
}

/// An act of a command in flight.
struct Piece {
    submission: u64,
    step: usize,
    act: Act,
}

impl Adversary {
    pub(super) fn new(shared: Arc<Shared>, token: DeviceToken, seed: u64) -> Self {
        Adversary {
            judge: Judge::new(shared),
            token,
            seed: Seed(seed),
            graph: Graph::new(),
            flights: VecDeque::new(),
        }
    }

    /// Takes up a submission: judges it, and lets its commands wait for what they have to.
    pub(super) fn admit(&mut self, recorded: Box<Recorded>) {
        let waits = self.judge.begin(&recorded);
        if waits {
            self.graph.barrier(&[FULL]);
        }
        let mut flight = Flight::new(recorded);
        for step in 0..flight.recorded.steps.len() {
            let runs = self.judge.step(&flight.recorded, step);
            let mut work = Work::new(std::mem::take(&mut self.judge.effects));
            match flight.recorded.steps.get(step) {
                Some(Step::Barrier { entries, .. }) if runs => {
                    self.graph.barrier(flight.recorded.entries.get(entries.clone()).unwrap_or(&[]));
                }
                Some(Step::Barrier { .. }) | None => {}
                Some(_) => {
                    work.left = self.wait(&flight.recorded, step);
                    flight.left += work.left;
                }
            }
            flight.works.push(work);
        }
        self.judge.end(&flight.recorded);
        flight.host.append(&mut self.judge.effects.torn);
        self.flights.push_back(flight);
    }

    /// Puts the acts of a command into the graph. Returns how many there are.
    fn wait(&mut self, recorded: &Recorded, step: usize) -> usize {
        let submission = recorded.value;
        let draw = |n: u64| self.seed.draw(&[submission, step as u64, 0, n]);
        // Mostly a command runs at one go; now and then others come between its acts.
        let (together, apart) = (draw(0), draw(0).is_multiple_of(4));
        let acts = split(recorded, step, self.seed);
        let priorities: Vec<u64> =
            (1..).take(acts.len()).map(|n| if apart { draw(n) } else { together }).collect();
        let nodes: Vec<_> = acts
            .iter()
            .zip(priorities)
            .map(|(&(stage, act), priority)| {
                self.graph.piece(stage, priority, Piece { submission, step, act })
            })
            .collect();
        let run = acts.iter().zip(&nodes).find(|((_, act), _)| *act == Act::Run).map(|(_, id)| *id);
        for ((_, act), &id) in acts.iter().zip(&nodes) {
            match (act, run) {
                (Act::Load(_), Some(run)) => self.graph.precede(id, run),
                (Act::Store(_), Some(run)) => self.graph.precede(run, id),
                _ => {}
            }
        }
        nodes.iter().for_each(|id| self.graph.release(*id));
        acts.len()
    }

    /// Runs until a submission is done, and all before it. Each that is done goes to `done`, in order.
    pub(super) fn reach(&mut self, value: u64, done: &mut dyn FnMut(Box<Recorded>)) {
        while self.flights.front().is_some_and(|f| f.recorded.value <= value) {
            if self.flights.front().is_some_and(|f| f.left == 0) {
                self.land(done);
                continue;
            }
            let Some((id, piece)) = self.graph.next() else {
                // Cannot be: what waits, waits for something earlier.
                debug_assert!(false, "submission {value} waits for nothing that runs");
                self.land(done);
                continue;
            };
            let first = self.flights.front().map_or(0, |f| f.recorded.value);
            let at = usize::try_from(piece.submission.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let Some(flight) = self.flights.get_mut(at) {
                let reports = &self.judge.shared.reports;
                let mut hands = Hands { token: &mut self.token, reports, seed: self.seed };
                flight.act(piece.step, piece.act, &mut hands);
            }
            self.graph.done(id);
        }
    }

    /// Runs all there is.
    pub(super) fn finish(&mut self, done: &mut dyn FnMut(Box<Recorded>)) {
        self.reach(u64::MAX, done);
    }

    /// The first submission in flight is done.
    fn land(&mut self, done: &mut dyn FnMut(Box<Recorded>)) {
        let Some(mut flight) = self.flights.pop_front() else { return };
        let reports = &self.judge.shared.reports;
        flight.land(&mut Hands { token: &mut self.token, reports, seed: self.seed });
        done(flight.recorded);
    }
}
