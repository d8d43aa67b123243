//! The thread that plays the queue: runs submissions after `submit` has returned, in order or as an adversary would.

use super::adversary::Adversary;
use super::memory::DeviceToken;
use super::queue::{Job, Shared};
use super::run::Runner;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The thread's work: runs what comes until told to stop.
pub(super) fn serve(shared: Arc<Shared>, token: DeviceToken) {
    let served = catch_unwind(AssertUnwindSafe(|| match shared.config.adversary {
        None => in_order(&shared, token),
        Some(seed) => adversely(&shared, token, seed),
    }));
    if served.is_err() {
        shared.lose();
    }
}

fn in_order(shared: &Arc<Shared>, token: DeviceToken) {
    let mut runner = Runner::new(shared.clone(), token);
    while let Some(job) = shared.next() {
        if let Job::Run(mut recorded) = job {
            shared.delay();
            if !shared.is_lost() {
                runner.run(&mut recorded);
            }
            shared.finished(recorded);
        }
    }
}

fn adversely(shared: &Arc<Shared>, token: DeviceToken, seed: u64) {
    let mut adversary = Adversary::new(shared.clone(), token, seed);
    let mut done = |recorded| {
        shared.delay();
        shared.finished(recorded);
    };
    while let Some(job) = shared.next() {
        match job {
            // A lost device begins nothing new.
            Job::Run(recorded) if shared.is_lost() => done(recorded),
            Job::Run(recorded) => adversary.admit(recorded),
            Job::Reach(_) if shared.is_lost() => {}
            Job::Reach(value) => adversary.reach(value, &mut done),
        }
    }
    if !shared.is_lost() {
        adversary.finish(&mut done);
    }
}
