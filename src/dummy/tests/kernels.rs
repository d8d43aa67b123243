//! Kernels reach what their pass declared, and fail alone.

use super::*;
use Access as A;
use std::sync::{Arc, Mutex};

const RW: Access = A::COMPUTE_STORAGE_READ_WRITE;
const R: Access = A::COMPUTE_STORAGE_READ;
const W: Access = A::COMPUTE_STORAGE_WRITE;

/// Runs a kernel of a pass `p` with the given uses and returns what it said.
fn run(
    rig: &Rig,
    uses: &[(usize, Range<u64>, Access, Mode)],
    kernel: impl FnOnce(&MkKernelMemory<'_>) -> Result<(), MkError> + Send + 'static,
) -> Result<(), MkError> {
    let result = Arc::new(Mutex::new(Ok(())));
    let out = result.clone();
    rig.run(rig.frame().kernel("p", uses, move |mem| {
        *out.lock().unwrap() = kernel(mem);
        Ok(())
    }));
    std::mem::replace(&mut result.lock().unwrap(), Ok(()))
}

#[test]
fn kernels_compute() {
    let mut rig = Rig::new();
    let (a, sum) = (rig.host("a", 16), rig.buffer("sum", 8));
    rig.poke(a, 0, bytemuck::cast_slice(&[1u32, 2, 3, 4]));
    let (from, to) = (rig.whole(a), rig.slice(sum, 4..8));
    run(&rig, &[(a, 0..16, R, Mode::Read), (sum, 0..8, W, Mode::Write)], move |mem| {
        assert_eq!(mem.pass_name(), "p");
        let values = mem.read::<u32>(from)?;
        mem.write::<u32>(to)?[0] = values.iter().sum();
        Ok(())
    })
    .unwrap();
    rig.clean();
    assert_eq!(rig.peek(sum)[4..], 10u32.to_ne_bytes());
}

#[test]
fn two_kernels_of_a_pass_run_in_order() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 4);
    let at = rig.whole(a);
    let mut f = rig.frame().kernel("p", &[(a, 0..4, W, Mode::Write)], move |mem| {
        mem.write::<u32>(at)?[0] = 20;
        Ok(())
    });
    f.kernels[0].push(Box::new(move |mem| {
        mem.write::<u32>(at)?[0] += 1;
        Ok(())
    }));
    rig.run(f);
    assert_eq!(rig.peek(a), 21u32.to_ne_bytes());
}

#[test]
fn what_is_not_declared_is_refused_and_reported() {
    let mut rig = Rig::new();
    let (a, b) = (rig.host("a", 64), rig.host("b", 64));
    let uses = [(a, 0..16, R, Mode::Read), (a, 32..48, W, Mode::Write)];
    type Try = fn(&MkKernelMemory<'_>, MkSlice<'static>) -> Result<(), MkError>;
    let read: Try = |mem, s| mem.read::<u8>(s).map(|_| ());
    let write: Try = |mem, s| mem.write::<u8>(s).map(|_| ());
    let cases = [
        (read, rig.slice(a, 8..24), "`a` (bytes 8..24, read)"),
        (read, rig.slice(a, 32..48), "`a` (bytes 32..48, read)"),
        (write, rig.slice(a, 0..16), "`a` (bytes 0..16, write)"),
        (write, rig.slice(a, 30..40), "`a` (bytes 30..40, write)"),
        (read, rig.slice(b, 0..4), "`b` (bytes 0..4, read)"),
        (read, rig.whole(b), "`b` (the whole buffer, read)"),
    ];
    for (attempt, slice, text) in cases {
        let error = run(&rig, &uses, move |mem| attempt(mem, slice)).unwrap_err();
        assert!(matches!(error, MkError::NotDeclared { .. }));
        let told = error.to_string();
        assert!(told.contains("pass `p`"), "{told}");
        assert!(told.contains(text), "{told}");
        let mut hazards = rig.backend.take_hazards();
        hazards.retain(|h| h.kind == MkHazardKind::UndeclaredAccess);
        let [h] = hazards.as_slice() else { panic!("{hazards:?}") };
        assert!(h.to_string().contains("pass `p`"), "{h}");
    }
    // A returned error is not reported twice.
    let mut rig = Rig::new();
    let (a, b) = (rig.host("a", 64), rig.host("b", 64));
    let uses = [(a, 0..16, R, Mode::Read)];
    let slice = rig.whole(b);
    rig.run(rig.frame().kernel("p", &uses, move |mem| mem.read::<u8>(slice).map(|_| ())));
    rig.only(MkHazardKind::UndeclaredAccess);
}

#[test]
fn adjacent_declarations_count_together() {
    let mut rig = Rig::new();
    let a = rig.host("a", 64);
    let (part, hull) = (rig.slice(a, 8..24), rig.whole(a));
    let uses = [(a, 16..32, R, Mode::Read), (a, 0..16, R, Mode::Read), (a, 48..64, W, Mode::Write)];
    run(&rig, &uses, move |mem| {
        assert_eq!(mem.read::<u8>(part)?.len(), 16);
        assert_eq!(mem.read::<u8>(hull)?.len(), 32);
        assert_eq!(mem.write::<u8>(hull)?.len(), 16);
        Ok(())
    })
    .unwrap();
    rig.clean();
}

#[test]
fn borrows_conflict_where_they_overlap_and_one_writes() {
    let mut rig = Rig::new();
    let a = rig.host("a", 64);
    let (low, high, all) = (rig.slice(a, 0..32), rig.slice(a, 32..64), rig.whole(a));
    run(&rig, &[(a, 0..64, RW, Mode::Modify)], move |mem| {
        let w = mem.write::<u8>(low)?;
        let r = mem.read::<u8>(high)?;
        let r2 = mem.read::<u8>(high)?;
        for conflict in
            [mem.read::<u8>(all).err(), mem.write::<u8>(high).map(|_| ()).err(), mem.write::<u8>(low).err()]
        {
            let told = conflict.unwrap().to_string();
            assert!(told.contains("`p`") && told.contains("`a`"), "{told}");
        }
        drop((w, r, r2));
        mem.write::<u8>(all)?;
        // A leaked borrow stays one.
        std::mem::forget(mem.read::<u8>(low)?);
        assert!(matches!(mem.write::<u8>(all), Err(MkError::BorrowConflict { .. })));
        Ok(())
    })
    .unwrap();
}

#[test]
fn types_must_fit_the_bytes() {
    let mut rig = Rig::new();
    let a = rig.host("a", 64);
    let (odd, short, none) = (rig.slice(a, 2..10), rig.slice(a, 0..6), rig.slice(a, 8..8));
    run(&rig, &[(a, 0..64, RW, Mode::Modify)], move |mem| {
        assert!(matches!(mem.read::<u32>(odd), Err(MkError::Misaligned { offset: 2, alignment: 4, .. })));
        assert!(matches!(mem.write::<u32>(short), Err(MkError::Misaligned { offset: 6, alignment: 4, .. })));
        assert!(mem.read::<()>(odd).is_err());
        assert!(mem.read::<u32>(none)?.is_empty());
        Ok(())
    })
    .unwrap();
    rig.clean();
}

#[test]
fn a_failing_kernel_fails_alone() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let f = rig.frame().kernel("bad", &[], |_| Err(MkError::other("no luck")));
    let f = f.kernel("worse", &[], |_| panic!("on purpose"));
    rig.run(f.fill(a, 0..16, 0));
    let h = rig.backend.take_hazards();
    let text: Vec<_> = h.iter().map(ToString::to_string).collect();
    assert!(h.iter().all(|h| h.kind == MkHazardKind::KernelFailed) && h.len() == 2);
    assert!(text[0].contains("pass `bad` in submission 1") && text[0].contains("no luck"), "{}", text[0]);
    assert!(text[1].contains("pass `worse`") && text[1].contains("on purpose"), "{}", text[1]);
    assert_eq!(rig.peek(a), [0; 16]);
    rig.run(rig.frame().fill(a, 0..0, 0));
}

#[test]
fn a_context_resolves_declared_parts() {
    let mut rig = Rig::new();
    let (a, b) = (rig.buffer("a", 64), rig.buffer("b", 64));
    let (part, whole, other) = (rig.slice(a, 8..16), rig.whole(a), rig.whole(b));
    let f = rig.frame().write("p", a, 0..32, W);
    let input = MkRecordInput {
        name: "test",
        graph: &f.graph,
        schedule: &f.schedule,
        buffers: &rig.buffers,
        host_buffers: &[],
    };
    let mut seen = 0;
    // SAFETY: the buffers live.
    let recording = unsafe {
        rig.backend.record(input, &mut |_, cx| {
            assert_eq!(cx.pass_name(), "p");
            let r = cx.resolve(part)?;
            assert_eq!((r.buffer, r.offset, r.size), (rig.buffers[a], 8, 8));
            assert_eq!(cx.resolve(whole)?.size, 32);
            assert!(matches!(cx.resolve(other), Err(MkError::NotDeclared { .. })));
            seen += 1;
            Ok(())
        })
    };
    rig.backend.discard(recording.unwrap());
    assert_eq!(seen, 1);
}
