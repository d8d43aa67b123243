//! The main job as a user runs it: exit codes, messages, dumps.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Builds the example as this test was built, and returns where it is.
fn binary() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "frame_loop"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(feature = "vulkan") {
            build.args(["--features", "vulkan"]);
        }
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the example does not build");
        let deps = std::env::current_exe().unwrap();
        deps.parent().unwrap().parent().unwrap().join("examples/frame_loop")
    })
}

fn run(args: &[&str]) -> Output {
    Command::new(binary()).args(args).output().unwrap()
}

#[track_caller]
fn succeeds(args: &[&str], says: &str) -> String {
    let out = run(args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?} failed: {errors}");
    assert!(text.contains(says), "{args:?} printed:\n{text}");
    text
}

/// The program ends with status 1 and one clear error, no backtrace.
#[track_caller]
fn fails(args: &[&str], says: &str) {
    fails_as(Command::new(binary()).args(args), says);
}

#[track_caller]
fn fails_as(command: &mut Command, says: &str) {
    let out = command.output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{command:?}: {errors}");
    assert!(errors.starts_with("error: ") && errors.contains(says), "{command:?} said:\n{errors}");
    assert!(!errors.contains("panicked") && !errors.contains("stack backtrace"), "{errors}");
}

#[test]
fn every_frame_is_verified() {
    for in_flight in ["1", "2", "3"] {
        let table = succeeds(&["--frames", "30", "--in-flight", in_flight], "verified 30/30");
        assert!(table.contains("submits                     1"), "{table}");
        assert!(table.contains("uploads                  1001"), "{table}");
        assert!(table.contains("culled                      1"), "{table}");
    }
}

#[test]
fn every_frame_is_verified_in_any_order_the_barriers_allow() {
    for (seed, in_flight) in [("1", "1"), ("2", "2"), ("3", "3"), ("4", "4")] {
        succeeds(&["--frames", "12", "--in-flight", in_flight, "--adversary", seed], "verified 12/12");
    }
}

#[test]
fn one_wrong_byte_in_the_mesh_is_noticed() {
    fails(&["--frames", "30", "--corrupt-mesh"], "checksum, word 0 is");
}

#[test]
fn a_barrier_left_out_is_noticed() {
    // The scene's frame needs no barrier call. Every call after it is needed: try those of the first two frames.
    for k in 0..8 {
        fails(&["--frames", "3", "--skip-barrier", &k.to_string()], "hazard");
    }
}

#[test]
fn a_mesh_that_is_missing_or_broken_gives_one_clear_line() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fails(&["--mesh", "/nowhere/cube.obj"], "cannot read the mesh /nowhere/cube.obj");
    for (name, text, says) in [
        ("letters.obj", "v one two three\nf 1 2 3\n", "is no OBJ file that can be read"),
        ("range.obj", "v 0 0 0\nf 1 2 3\n", "is no OBJ file that can be read"),
        ("empty.obj", "", "holds no triangle"),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        fails(&["--mesh", path.to_str().unwrap()], says);
    }
    let path = dir.join("binary.obj");
    std::fs::write(&path, [0u8, 159, 146, 150, 255, 10]).unwrap();
    fails(&["--mesh", path.to_str().unwrap()], "binary.obj");
}

#[test]
fn dumps_are_written_in_four_forms_and_the_json_loads_back() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dumps");
    let _ = std::fs::remove_dir_all(&dir);
    succeeds(&["--frames", "2", "--dump", dir.to_str().unwrap()], "verified 2/2");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(read("frame-1.txt").contains("debug lines"));
    assert!(read("frame-1.dot").starts_with("digraph"));
    assert!(read("frame-1.mmd").contains("flowchart"));
    let dump = memkit_gpu::FrameDump::from_json(&read("frame-1.json")).unwrap();
    assert_eq!(dump.to_text(), read("frame-1.txt"));
    fails(&["--frames", "2", "--dump", "/proc/nowhere"], "cannot write dumps to /proc/nowhere");
}

#[cfg(not(feature = "vulkan"))]
#[test]
fn without_the_vulkan_feature_it_says_how_to_rebuild() {
    fails(&["--backend", "vulkan"], "rebuild with it: cargo run --release --features vulkan");
}

#[cfg(feature = "vulkan")]
mod vulkan {
    use super::*;

    #[test]
    fn every_frame_is_verified_under_validation() {
        succeeds(&["--backend", "vulkan", "--validate", "--frames", "20"], "verified 20/20");
        succeeds(&["--backend", "vulkan", "--frames", "60", "--in-flight", "3"], "verified 60/60");
    }

    #[test]
    fn one_wrong_byte_in_the_mesh_is_noticed() {
        fails(&["--backend", "vulkan", "--frames", "10", "--corrupt-mesh"], "checksum, word 0 is");
    }

    #[test]
    fn no_driver_gives_one_clear_line() {
        let mut command = Command::new(binary());
        command.args(["--backend", "vulkan"]);
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"] {
            command.env(name, "/nowhere/icd.json");
        }
        fails_as(&mut command, "no Vulkan driver");
    }
}
