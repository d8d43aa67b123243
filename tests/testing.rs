//! The helper for users' tests: it passes what is right, and fails what is wrong with a message that helps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
use common::{R, W, add, set};
use memkit_gpu::testing::MkTestGpu;
use memkit_gpu::{DummyBackendConfig, MkBufferUsage, MkError, MkGpuConfig};
use std::panic::{AssertUnwindSafe, catch_unwind};

const STORAGE: MkBufferUsage = MkBufferUsage::STORAGE;

/// The message of a test that must fail.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it must fail");
    *panic.downcast::<String>().unwrap()
}

#[test]
fn frames_in_flight_and_transfers_that_are_right_pass() {
    MkTestGpu::run(|gpu| {
        let values = gpu.create_device_buffer(12, STORAGE)?;
        let staging = gpu.staging_buffer_with_data(&[1u32, 2, 3])?;
        gpu.transfer(&staging, &values)?;
        for n in 1..5 {
            gpu.frame(|frame| Ok(add(frame, "add", values.id(), n)))?;
        }
        gpu.assert_bytes(&values, &[11u32, 12, 13]);
        gpu.assert_bytes(values.slice(4..8), &[12u32]);
        Ok(())
    });
}

#[test]
fn a_pass_that_touches_more_than_it_declared_fails_the_test() {
    let text = failure(|| {
        MkTestGpu::run(|gpu| {
            let (one, other) = (gpu.create_device_buffer(4, STORAGE)?, gpu.create_device_buffer(4, STORAGE)?);
            let lie = other.id();
            gpu.frame(|frame| {
                Ok(frame.pass("liar").overwrite(&one, W).record(move |cx| {
                    cx.dispatch(move |mem| {
                        mem.write::<u32>(lie)?.fill(1);
                        Ok(())
                    });
                    Ok(())
                }))
            })?;
            Ok(())
        });
    });
    assert!(text.contains("undeclared access") && text.contains("pass `liar`"), "{text}");
    assert!(text.contains("submission 1:\n") && text.contains("frame 1"), "its dump is there: {text}");
}

#[test]
fn wrong_bytes_fail_the_test() {
    let text = failure(|| {
        MkTestGpu::run(|gpu| {
            let values = gpu.create_device_buffer(12, STORAGE)?;
            gpu.frame(|frame| Ok(set(frame, "make sevens", values.id(), 7)))?;
            gpu.assert_bytes(&values, &[7u32, 8, 7]);
            Ok(())
        });
    });
    assert!(
        text.contains("1 of 3 values") && text.contains("value 1 (byte 4 of it): 7, expected 8"),
        "{text}"
    );
    assert!(text.contains("last written in submission 1:") && text.contains("make sevens"), "{text}");
}

#[test]
fn a_barrier_that_is_missing_fails_the_test() {
    let text = failure(|| {
        let device = DummyBackendConfig { skip_barrier: Some(0), ..Default::default() };
        let gpu = MkTestGpu::with_config(device, MkGpuConfig::default());
        let values = gpu.create_device_buffer(12, STORAGE).unwrap();
        gpu.frame(|frame| {
            set(frame, "writer", values.id(), 7);
            Ok(frame.pass("reader").read(&values, R).side_effects().record(|_| Ok(())))
        })
        .unwrap();
        gpu.assert_bytes(&values, &[7u32, 7, 7]);
    });
    for part in [
        "read after write",
        "pass `writer`",
        "pass `reader`",
        "bytes 0..12",
        "mend:    barrier",
        "submission 1:\n",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn an_error_of_the_test_or_its_frame_fails_it() {
    let text = failure(|| MkTestGpu::run(|_| Err(MkError::NotReady)));
    assert!(text.contains("not there yet"), "{text}");
    let text = failure(|| {
        MkTestGpu::run(|gpu| {
            let values = gpu.create_device_buffer(12, STORAGE)?;
            gpu.assert_bytes(&values, &[0u32]);
            Ok(())
        });
    });
    assert!(text.contains("which nobody wrote"), "{text}");
}
