//! The graph against the definition it is made from, walked pair by pair.

use super::graph::Graph;
use super::seed::Seed;
use memkit_graph::{AccessFlags, BarrierEntry, Stages};

/// What is added to a graph, in order.
enum Item {
    Piece(Stages),
    Call(Vec<BarrierEntry>),
}

const KINDS: [Stages; 4] =
    [Stages::COMPUTE_SHADER, Stages::COPY, Stages::VERTEX_SHADER, Stages::FRAGMENT_SHADER];

fn items(seed: Seed) -> Vec<Item> {
    let mask = |n: u64| KINDS.iter().enumerate().filter(|(i, _)| n >> i & 1 == 1).map(|(_, s)| *s).collect();
    let item = |i: u64| {
        let draw = |k: u64| seed.draw(&[i, k]);
        if !draw(0).is_multiple_of(3) {
            return Item::Piece(KINDS[(draw(1) % 4) as usize]);
        }
        let entry = |e: u64| BarrierEntry {
            src_stages: mask(draw(2 + 2 * e)),
            src_access: AccessFlags::empty(),
            dst_stages: mask(draw(3 + 2 * e)),
            dst_access: AccessFlags::empty(),
        };
        Item::Call((0..1 + draw(1) % 3).map(entry).collect())
    };
    (0..24).map(item).collect()
}

/// For each pair of pieces, whether the first has to be done before the second: by the chains that begin at it.
fn must(items: &[Item]) -> Vec<Vec<bool>> {
    let row = |from: usize| {
        let Item::Piece(stage) = items[from] else { return vec![false; items.len()] };
        let mut after = Stages::empty();
        let mut row = vec![false; items.len()];
        for (at, item) in items.iter().enumerate().skip(from + 1) {
            match item {
                Item::Piece(stage) => row[at] = after.contains(*stage),
                Item::Call(call) => {
                    let before = stage | after;
                    for e in call.iter().filter(|e| e.src_stages.intersects(before)) {
                        after |= e.dst_stages;
                    }
                }
            }
        }
        row
    };
    (0..items.len()).map(row).collect()
}

/// The order in which the pieces come out, by position.
fn run(items: &[Item], priority: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut graph = Graph::new();
    for (at, item) in items.iter().enumerate() {
        match item {
            Item::Piece(stage) => {
                let id = graph.piece(*stage, priority(at), at);
                graph.release(id);
            }
            Item::Call(call) => graph.barrier(call),
        }
    }
    let mut order = Vec::new();
    while let Some((id, at)) = graph.next() {
        order.push(at);
        graph.done(id);
    }
    order
}

#[test]
fn a_piece_waits_for_what_it_must_and_for_nothing_else() {
    let (mut ordered, mut free) = (0, 0);
    for seed in 0..60 {
        let items = items(Seed(seed));
        let pieces: Vec<_> = (0..items.len()).filter(|at| matches!(items[*at], Item::Piece(_))).collect();
        let must = must(&items);
        // Each piece in turn has to wait as long as it can.
        for &late in &pieces {
            let order = run(&items, |at| u64::from(at != late));
            assert_eq!(order.len(), pieces.len(), "seed {seed}: everything runs");
            let place = |at| order.iter().position(|a| *a == at).unwrap();
            for &other in &pieces {
                for &then in pieces.iter().filter(|then| must[other][**then]) {
                    assert!(place(other) < place(then), "seed {seed}: {other} before {then}");
                    ordered += 1;
                }
                if other != late && !must[late][other] {
                    assert!(place(other) < place(late), "seed {seed}: {other} need not wait for {late}");
                    free += 1;
                }
            }
        }
    }
    assert!(ordered > 10_000 && free > 5_000, "{ordered} ordered, {free} free");
}

#[test]
fn work_that_is_done_leaves_nothing_behind() {
    let entry = |src_stages, dst_stages| BarrierEntry {
        src_stages,
        src_access: AccessFlags::empty(),
        dst_stages,
        dst_access: AccessFlags::empty(),
    };
    let mut graph = Graph::new();
    let mut open = std::collections::VecDeque::new();
    for round in 0..2000 {
        let id = graph.piece(Stages::COPY, 0, round);
        graph.release(id);
        graph.barrier(&[entry(Stages::COPY, Stages::HOST), entry(Stages::VERTEX_SHADER, Stages::COPY)]);
        open.push_back(id);
        // Something is always left, so that the graph is never empty.
        if open.len() > 4 {
            let (id, _) = graph.next().unwrap();
            assert_eq!(open.pop_front(), Some(id));
            graph.done(id);
        }
    }
    assert!(graph.size() < 200, "{} numbers are kept", graph.size());
}
