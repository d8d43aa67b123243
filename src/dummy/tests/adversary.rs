//! With an adversary, what no barrier orders runs in any order: a missing barrier gives wrong bytes, a right one none.

use super::*;
use Access as A;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const CW: Access = A::COMPUTE_STORAGE_WRITE;
const CR: Access = A::COMPUTE_STORAGE_READ;
const CRW: Access = A::COMPUTE_STORAGE_READ_WRITE;
const SEEDS: u64 = 64;
/// What fresh memory holds, and poison.
const FRESH: u8 = 0xCD;
const POISON: u8 = 0xDB;

/// A rig whose queue is an adversary. Without `check` it knows nothing of visibility: the order alone is adverse.
fn rig(seed: u64, check: bool) -> Rig {
    Rig::with(DummyBackendConfig { adversary: Some(seed), check, ..Default::default() })
}

/// The first byte of a buffer after a run, for every seed: each kind of outcome once.
fn outcomes(check: bool, run: impl Fn(&mut Rig) -> usize) -> BTreeSet<u8> {
    let one = |seed| {
        let mut rig = rig(seed, check);
        let at = run(&mut rig);
        rig.peek(at)[0]
    };
    (0..SEEDS).map(one).collect()
}

fn barrier_if(f: Frame, there: bool, from: Access, to: Access) -> Frame {
    if there { f.barrier(from, to) } else { f }
}

#[test]
fn a_read_without_a_barrier_may_come_before_the_write() {
    let run = |barrier| {
        move |rig: &mut Rig| {
            let (a, out) = (rig.buffer("a", 16), rig.buffer("out", 16));
            let f = rig.frame().fill(a, 0..16, 0x0101_0101);
            let f = barrier_if(f, barrier, A::FILL_WRITE, A::COPY_READ);
            rig.run(f.copy(a, out, &[(0, 0, 16)]));
            out
        }
    };
    assert_eq!(outcomes(false, run(true)), [1].into());
    assert_eq!(outcomes(true, run(true)), [1].into());
    assert_eq!(outcomes(false, run(false)), [1, FRESH].into());
    assert_eq!(outcomes(true, run(false)), [FRESH, POISON].into(), "never visible");
}

#[test]
fn a_write_without_a_barrier_may_come_before_the_write_before_it() {
    let run = |barrier| {
        move |rig: &mut Rig| {
            let a = rig.buffer("a", 16);
            let f = rig.frame().fill(a, 0..16, 0x0101_0101);
            let f = barrier_if(f, barrier, A::FILL_WRITE, A::FILL_WRITE);
            rig.run(f.fill(a, 0..16, 0x0202_0202));
            a
        }
    };
    assert_eq!(outcomes(false, run(true)), [2].into());
    assert_eq!(outcomes(true, run(true)), [2].into());
    assert_eq!(outcomes(false, run(false)), [1, 2].into());
    let checked = outcomes(true, run(false));
    assert!(checked.is_superset(&[1, POISON].into()), "{checked:?}");
}

#[test]
fn a_write_without_a_barrier_may_come_before_the_read_before_it() {
    let run = |barrier| {
        move |rig: &mut Rig| {
            let (a, out) = (rig.buffer("a", 16), rig.buffer("out", 16));
            let f = rig.frame().fill(a, 0..16, 0x0101_0101);
            let f = f.barriers(&[(A::FILL_WRITE, A::COPY_READ), (A::FILL_WRITE, CW)]);
            let f = f.copy(a, out, &[(0, 0, 16)]);
            let f = barrier_if(f, barrier, execution(A::COPY_READ), execution(CW));
            let all = rig.whole(a);
            rig.run(f.kernel("w", &[(a, 0..16, CW, Mode::Overwrite)], move |mem| {
                mem.write::<u8>(all)?.fill(2);
                Ok(())
            }));
            out
        }
    };
    for check in [true, false] {
        assert_eq!(outcomes(check, run(true)), [1].into());
        assert_eq!(outcomes(check, run(false)), [1, 2].into(), "{check}");
    }
}

#[test]
fn order_without_visibility_gives_old_bytes_or_poison() {
    let run = |rig: &mut Rig| {
        let (a, out) = (rig.buffer("a", 16), rig.buffer("out", 16));
        let f = rig.frame().fill(a, 0..16, 0x0101_0101).barrier(A::FILL_WRITE, A::FILL_WRITE);
        let f = f.fill(a, 0..16, 0x0202_0202).barrier(execution(A::FILL_WRITE), CR);
        let (from, to) = (rig.whole(a), rig.whole(out));
        let uses = [(a, 0..16, CR, Mode::Read), (out, 0..16, CW, Mode::Overwrite)];
        rig.run(f.kernel("copy", &uses, move |mem| {
            mem.write::<u8>(to)?.copy_from_slice(&mem.read::<u8>(from)?);
            Ok(())
        }));
        out
    };
    assert_eq!(outcomes(true, run), [1, POISON].into());
    assert_eq!(outcomes(false, run), [2].into(), "the order is kept");
}

#[test]
fn the_host_without_visibility_gets_old_bytes_or_poison() {
    let run = |rig: &mut Rig| {
        let (a, host) = (rig.buffer("a", 16), rig.host("host", 16));
        rig.poke(host, 0, &[7; 16]);
        let f = rig.frame().fill(a, 0..16, 0x0101_0101).barrier(A::FILL_WRITE, A::COPY_READ);
        rig.run(f.copy(a, host, &[(0, 0, 16)]).host_read(host, 0..16));
        rig.only(MkHazardKind::HostReadWithoutDependency);
        host
    };
    assert_eq!(outcomes(true, run), [7, POISON].into());
}

#[test]
fn barriers_hold_up_stages_not_commands() {
    let both = A::VERTEX_STORAGE_READ | A::FRAGMENT_STORAGE_READ;
    let run = |source: Access| {
        move |rig: &mut Rig| {
            let (a, b, out) = (rig.buffer("a", 16), rig.buffer("b", 16), rig.buffer("out", 16));
            let f = rig.frame().fill(a, 0..16, 0x0101_0101).fill(b, 0..16, 0x0101_0101);
            let f = f.barriers(&[(A::FILL_WRITE, both), (A::FILL_WRITE, A::FILL_WRITE)]);
            let (from, to) = (rig.whole(b), rig.whole(out));
            let uses = [
                (a, 0..16, A::VERTEX_STORAGE_READ, Mode::Read),
                (b, 0..16, A::FRAGMENT_STORAGE_READ, Mode::Read),
                (out, 0..16, A::FRAGMENT_STORAGE_WRITE, Mode::Overwrite),
            ];
            let f = f.kernel("draw", &uses, move |mem| {
                mem.write::<u8>(to)?.copy_from_slice(&mem.read::<u8>(from)?);
                Ok(())
            });
            let f = f.barrier(execution(source), execution(A::FILL_WRITE));
            rig.run(f.fill(b, 0..16, 0x0202_0202));
            out
        }
    };
    assert_eq!(outcomes(true, run(both)), [1].into());
    // `b` is read in the fragment shader, which nothing waits for.
    assert_eq!(outcomes(true, run(A::VERTEX_STORAGE_READ)), [1, 2].into());
}

#[test]
fn updates_in_place_may_be_lost() {
    let run = |barrier| {
        move |rig: &mut Rig| {
            let a = rig.buffer("a", 16);
            let all = rig.whole(a);
            let mut f = rig.frame().fill(a, 0..16, 0).barrier(A::FILL_WRITE, CRW);
            for i in 0..2 {
                f = barrier_if(f, barrier && i > 0, CW, CRW);
                f = f.kernel("add", &[(a, 0..16, CRW, Mode::Modify)], move |mem| {
                    mem.write::<u8>(all)?.iter_mut().for_each(|v| *v += 1);
                    Ok(())
                });
            }
            rig.run(f);
            a
        }
    };
    assert_eq!(outcomes(false, run(true)), [2].into());
    // The sum is the same in either order; but both may load before either stores.
    assert_eq!(outcomes(false, run(false)), [1, 2].into());
}

#[test]
fn bytes_a_write_leaves_alone_stay() {
    let run = |rig: &mut Rig| {
        let a = rig.buffer("a", 16);
        let f = rig.frame().fill(a, 0..16, 0x0505_0505).barrier(A::FILL_WRITE, CW | A::VERTEX_STORAGE_WRITE);
        let part = rig.slice(a, 4..8);
        let uses = [(a, 0..16, CW | A::VERTEX_STORAGE_WRITE, Mode::Write)];
        rig.run(f.kernel("w", &uses, move |mem| {
            mem.write::<u8>(part)?.fill(6);
            Ok(())
        }));
        assert_eq!(rig.peek(a), [[5; 4], [6; 4], [5; 4], [5; 4]].concat());
        rig.clean();
        a
    };
    assert_eq!(outcomes(true, run), [5].into());
}

#[test]
fn a_later_submission_may_come_first_unless_a_barrier_or_the_host_prevents_it() {
    #[derive(Clone, Copy, PartialEq)]
    enum Between {
        Nothing,
        Barrier,
        CatchUp,
        Wait,
    }
    let run = |between| {
        move |rig: &mut Rig| {
            let (a, out) = (rig.buffer("a", 16), rig.buffer("out", 16));
            let first = rig.submit(rig.frame().fill(a, 0..16, 0x0101_0101));
            if between == Between::Wait {
                assert!(rig.backend.wait(first, Duration::from_secs(20)).unwrap());
            }
            let f = barrier_if(rig.frame(), between == Between::Barrier, A::FILL_WRITE, A::COPY_READ);
            let recording = rig.record(&mut f.copy(a, out, &[(0, 0, 16)])).unwrap();
            // SAFETY: the rig's buffers outlive its work; this is the only thread.
            let value = unsafe { rig.backend.submit(recording, between == Between::CatchUp).unwrap() };
            assert!(rig.backend.wait(value, Duration::from_secs(20)).unwrap());
            out
        }
    };
    assert_eq!(outcomes(false, run(Between::Nothing)), [1, FRESH].into());
    for between in [Between::Barrier, Between::CatchUp, Between::Wait] {
        assert_eq!(outcomes(false, run(between)), [1].into());
    }
}

/// What ran, in order.
type Log = Arc<Mutex<Vec<(u64, u64)>>>;

/// Submits `frames` frames of `passes` passes each, which write each their own bytes and are in no order.
fn independent(rig: &mut Rig, frames: u64, passes: u64, pause: bool) -> Log {
    let log = Log::default();
    let a = rig.buffer("a", 4 * passes * frames);
    for frame in 0..frames {
        let mut f = rig.frame();
        for pass in 0..passes {
            let (log, at) = (log.clone(), 4 * (frame * passes + pass));
            f = f.kernel("p", &[(a, at..at + 4, CW, Mode::Overwrite)], move |_| {
                log.lock().unwrap().push((frame, pass));
                Ok(())
            });
        }
        rig.submit(f);
        if pause {
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    log
}

fn order(seed: u64, pause: bool) -> Vec<(u64, u64)> {
    let mut rig = rig(seed, true);
    let log = independent(&mut rig, 3, 10, pause);
    for value in 1..=3 {
        assert!(rig.backend.wait(value, Duration::from_secs(20)).unwrap());
        let done = log.lock().unwrap();
        assert!((0..10).all(|pass| done.contains(&(value - 1, pass))), "a value comes after its work");
    }
    rig.clean();
    let log = log.lock().unwrap();
    log.clone()
}

#[test]
fn the_same_seed_gives_the_same_order_and_another_seed_another() {
    let orders: BTreeSet<_> = (0..20).map(|seed| order(seed, false)).collect();
    assert_eq!(orders.len(), 20, "no two alike");
    for seed in 0..4 {
        assert_eq!(order(seed, false), order(seed, true), "time does not matter");
    }
    let across = |o: &Vec<(u64, u64)>| o.windows(2).any(|w| w[0].0 > w[1].0);
    assert!(orders.iter().all(across), "submissions mix");
}

#[test]
fn values_are_reached_in_order_and_not_before_they_are_asked_for() {
    let mut rig = rig(1, true);
    let log = independent(&mut rig, 4, 5, false);
    assert_eq!(rig.backend.completed().unwrap(), 0);
    assert!(log.lock().unwrap().is_empty());
    assert!(rig.backend.wait(2, Duration::from_secs(20)).unwrap());
    assert_eq!(rig.backend.completed().unwrap(), 2, "the other two are held back");
    drop(rig);
    assert_eq!(log.lock().unwrap().len(), 20, "dropping runs the rest");
}

#[test]
fn polling_ends_and_work_is_held_back_for_so_long_only() {
    let mut rig = rig(1, true);
    independent(&mut rig, 3, 5, false);
    let polls = (1..100).find(|_| rig.backend.completed().unwrap() == 3);
    assert_eq!(polls, Some(24), "eight for each");
    independent(&mut rig, 20, 5, false);
    // All but the last eight were due when they were pushed out.
    assert_eq!(rig.backend.completed().unwrap(), 15);
    rig.backend.pause();
    assert!(!rig.backend.wait(16, Duration::from_millis(5)).unwrap());
    assert_eq!(rig.backend.completed().unwrap(), 15, "held, and the poll does not wait for it");
    rig.backend.resume();
    assert!(rig.backend.wait(23, Duration::MAX).unwrap());
}

#[test]
fn an_explicit_order_with_its_barrier_orders_kernels_too() {
    let orders = |barrier: bool| -> BTreeSet<Vec<u64>> {
        let one = |seed| {
            let mut rig = rig(seed, true);
            let a = rig.buffer("a", 16);
            let log = Arc::new(Mutex::new(Vec::new()));
            let mut f = rig.frame();
            let all = super::super::order::ANYTHING;
            // One that declares nothing, one that reads in two stages, one that declares nothing.
            let reads = [(a, 0..0, A::VERTEX_STORAGE_READ | A::FRAGMENT_STORAGE_READ, Mode::Read)];
            for (i, uses) in [&[][..], &reads, &[]].into_iter().enumerate() {
                f = barrier_if(f, barrier && i > 0, all, all);
                let log = log.clone();
                f = f.kernel("p", uses, move |_| {
                    log.lock().unwrap().push(i as u64);
                    Ok(())
                });
            }
            for i in 0..2 {
                let (first, then) = (f.graph.pass_id(i).unwrap(), f.graph.pass_id(i + 1).unwrap());
                f.graph.order(first, then);
            }
            rig.run(f);
            assert_eq!(rig.backend.hazards().is_empty(), barrier);
            let log = log.lock().unwrap();
            log.clone()
        };
        (0..SEEDS).map(one).collect()
    };
    assert_eq!(orders(true), [vec![0, 1, 2]].into());
    assert_eq!(orders(false).len(), 6, "any order");
}

#[test]
fn reports_are_those_of_a_device_without_an_adversary() {
    let reports = |adversary| {
        let mut rig = Rig::with(DummyBackendConfig { adversary, ..Default::default() });
        let (a, b, host) = (rig.buffer("a", 64), rig.buffer("b", 64), rig.host("host", 64));
        let f = rig.frame().fill(a, 0..64, 1).copy(a, b, &[(0, 0, 32), (8, 16, 8)]).fill(a, 2..6, 0);
        let f = f.fill(b, 0..128, 0).copy(b, host, &[(0, 0, 64)]).host_read(host, 0..64);
        rig.submit(f.read("r", b, 0..64, CR).write("w", b, 0..128, CW));
        let slice = rig.whole(host);
        rig.run(rig.frame().kernel("undeclared", &[(a, 0..64, CR, Mode::Read)], move |mem| {
            mem.read::<u8>(slice).map(|_| ())
        }));
        rig.backend.take_hazards()
    };
    let plain = reports(None);
    assert!(plain.len() > 8, "{plain:?}");
    assert_eq!(plain.iter().filter(|h| h.kind == MkHazardKind::UndeclaredAccess).count(), 1);
    for seed in 0..8 {
        assert_eq!(reports(Some(seed)), plain, "seed {seed}");
    }
}

#[test]
fn a_failing_kernel_fails_alone_and_nothing_is_left() {
    let mut rig = rig(3, true);
    let a = rig.buffer("a", 16);
    let held = Arc::new(());
    let captured = held.clone();
    let f = rig.frame().kernel("bad", &[(a, 0..16, CW, Mode::Write)], move |_| {
        let _held = captured;
        panic!("on purpose")
    });
    rig.run(f.barrier(CW, A::FILL_WRITE).fill(a, 0..16, 0));
    let h = rig.only(MkHazardKind::KernelFailed);
    assert!(h.to_string().contains("pass `bad`") && h.to_string().contains("on purpose"), "{h}");
    assert_eq!((rig.peek(a), Arc::strong_count(&held)), (vec![0; 16], 1));
}
