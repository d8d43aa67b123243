//! The SPIR-V in the tree belongs to the WGSL or GLSL beside it; and the passes as kernels give what the reference gives.
#![allow(clippy::unwrap_used, clippy::panic)]

mod spirv;

use std::path::{Path, PathBuf};

#[path = "../examples/frame_loop/inputs.rs"]
mod inputs;
#[path = "../examples/frame_loop/kernels.rs"]
mod kernels;
#[path = "../examples/frame_loop/reference.rs"]
mod reference;

/// Example, and the name of one of its shaders.
const SHADERS: [(&str, &str); 6] = [
    ("frame_loop", "cull"),
    ("frame_loop", "transform"),
    ("frame_loop", "particles"),
    ("peer", "first"),
    ("peer", "next"),
    ("peer", "sum"),
];

fn shader((example, name): (&str, &str), extension: &str) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    examples.join(example).join("shaders").join(name).with_extension(extension)
}

/// A compute shader, as bytes.
fn compile(name: (&str, &str)) -> Vec<u8> {
    let source = std::fs::read_to_string(shader(name, "wgsl")).unwrap();
    let words = spirv::compile(&source, naga::ShaderStage::Compute);
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn the_spirv_in_the_tree_belongs_to_the_present_source() {
    for name in SHADERS {
        let (wanted, path) = (compile(name), shader(name, "spv"));
        if std::env::var_os("UPDATE_SHADERS").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{} is not what the source beside it compiles to; run `UPDATE_SHADERS=1 cargo test --test shaders` to regenerate it",
            path.display()
        );
    }
}

/// The shader of the library's own: of buffer addresses and bytes, which WGSL has not.
#[cfg(feature = "vulkan")]
mod scatter {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn in_tree(extension: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vulkan/shaders/scatter");
        path.with_extension(extension)
    }

    /// Runs a tool that `tests/install-vulkan` installs.
    #[track_caller]
    fn tool(name: &str, arguments: &[&str], files: &[&Path]) {
        let output = Command::new(name).args(arguments).args(files).output();
        let output = output.unwrap_or_else(|e| panic!("{name} ({e}): tests/install-vulkan installs it"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a module does, without names, numbers of its own choice, and who wrote it: versions of the compiler differ
    /// in these.
    fn essence(module: &Path, to: &Path) -> Vec<u8> {
        tool("spirv-opt", &["--strip-debug", "-O", "--compact-ids", "-o"], &[to, module]);
        let mut bytes = std::fs::read(to).unwrap();
        // The third word says who wrote it.
        bytes[8..12].fill(0);
        bytes
    }

    #[test]
    fn the_spirv_in_the_tree_belongs_to_the_present_source_and_is_valid() {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (source, module, compiled) = (in_tree("comp"), in_tree("spv"), scratch.join("scatter.spv"));
        tool(
            "glslangValidator",
            &["-V", "--quiet", "--target-env", "vulkan1.2", "-o"],
            &[&compiled, &source],
        );
        if std::env::var_os("UPDATE_SHADERS").is_some() {
            std::fs::copy(&compiled, &module).unwrap();
        }
        tool("spirv-val", &["--target-env", "vulkan1.2"], &[&module]);
        let wanted = essence(&compiled, &scratch.join("compiled.spv"));
        assert!(
            wanted == essence(&module, &scratch.join("in-tree.spv")),
            "{} is not what the source beside it compiles to; run `UPDATE_SHADERS=1 cargo test --features vulkan \
             --test shaders` to regenerate it",
            module.display()
        );
    }
}

/// The positions of the mesh in the tree.
fn rock() -> Vec<[i32; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/assets/rock.obj");
    let text = std::fs::read_to_string(path).unwrap();
    let positions = text.lines().filter_map(|l| l.strip_prefix("v "));
    positions
        .map(|l| {
            let mut axes = l.split_whitespace().map(|x| inputs::quantise(x.parse().unwrap()));
            [axes.next().unwrap(), axes.next().unwrap(), axes.next().unwrap()]
        })
        .collect()
}

#[test]
fn kernels_and_reference_agree_on_every_frame() {
    let rock = rock();
    assert_eq!(rock.len(), 162);
    let mut counts = Vec::new();
    for frame in (0..40).chain([255, 256, 1000, 65_535, u32::MAX]) {
        let instances = inputs::instances(frame);
        let (wanted_args, wanted_visible) = reference::cull(&inputs::camera(frame), 960, &instances);

        let mut visible = vec![7; inputs::INSTANCES];
        let mut args = [7; inputs::ARGS];
        let words = instances.as_flattened();
        kernels::cull(&inputs::camera_block(frame, 960), words, &mut visible, &mut args);
        assert_eq!(args, wanted_args, "frame {frame}");
        let (seen, rest) = visible.split_at(args[4] as usize);
        assert_eq!(seen.iter().copied().collect::<std::collections::BTreeSet<u32>>(), wanted_visible);
        assert_eq!(seen.len(), wanted_visible.len(), "none twice");
        assert!(rest.iter().all(|&i| i == u32::MAX));

        let mut checksum = [0; 4];
        kernels::transform(args[0], rock.as_flattened(), words, &visible, &mut checksum);
        let wanted = reference::checksum(&rock, &instances, &wanted_visible);
        assert_eq!(checksum, wanted, "frame {frame}");
        assert_eq!(checksum[2] as usize, rock.len() * wanted_visible.len());

        visible[..wanted_visible.len()].reverse();
        let mut backwards = [0; 4];
        kernels::transform(args[0], rock.as_flattened(), words, &visible, &mut backwards);
        assert_eq!(backwards, checksum, "the order of the visible list does not count");
        counts.push(wanted_visible.len());
    }
    assert!(counts.iter().all(|n| (50..500).contains(n)), "a few hundred are visible: {counts:?}");
    let changes = counts.windows(2).filter(|w| w[0] != w[1]).count();
    assert!(changes > counts.len() / 2, "the number varies: {counts:?}");
}

#[test]
fn particles_step_alike_and_some_are_born_again() {
    let mut wanted = inputs::particles();
    let mut words: Vec<u32> = wanted.as_flattened().to_vec();
    assert_eq!(wanted.len(), inputs::PARTICLES);
    let mut born = 0;
    for step in 0..200 {
        reference::particles_step(&mut wanted);
        kernels::particles(&mut words);
        assert_eq!(words, wanted.as_flattened(), "step {step}");
        born += wanted.iter().filter(|p| p[3] == 0).count();
    }
    assert!(born > inputs::PARTICLES, "{born}");
}

#[test]
fn one_changed_word_of_the_mesh_changes_the_checksum() {
    let mut rock = rock();
    let instances = inputs::instances(3);
    let (_, visible) = reference::cull(&inputs::camera(3), 960, &instances);
    let before = reference::checksum(&rock, &instances, &visible);
    rock[100][1] ^= 1 << 8;
    let after = reference::checksum(&rock, &instances, &visible);
    assert!(before[0] != after[0] && before[1] != after[1] && before[3] != after[3]);
}

#[test]
fn quantising_is_defined_for_every_number() {
    let q = inputs::quantise;
    assert_eq!([q(0.0), q(1.0), q(-0.5)], [0, 65_536, -32_768]);
    assert_eq!([q(f32::NAN), q(f32::INFINITY), q(-1e30)], [0, 1 << 30, -(1 << 30)]);
}
