//! What is not there: driver, layer, device. The loader reads its environment once, so these run in processes of their own.

use super::*;
/// This test program with a changed environment.
fn with(env: &[(&str, &str)]) -> Process {
    let mut process = Process::new(own_program());
    process.envs(env.iter().copied());
    process
}

fn error(config: VulkanConfig) -> MkError {
    VulkanBackend::new(config).expect_err("it must fail")
}

#[test]
fn a_missing_driver_is_named() {
    let env = [("VK_DRIVER_FILES", "/nonexistent.json"), ("VK_ICD_FILENAMES", "/nonexistent.json")];
    alone("missing::a_missing_driver_is_named", with(&env), || {
        let error = error(VulkanConfig::default());
        assert!(matches!(error, MkError::DriverMissing { .. }), "{error:?}");
        assert_eq!(error.to_string().lines().count(), 1);
        assert!(std::error::Error::source(&error).is_some());
    });
}

#[test]
fn a_missing_layer_is_named() {
    let env = [("VK_LAYER_PATH", "/nonexistent")];
    alone("missing::a_missing_layer_is_named", with(&env), || {
        let missing = error(config());
        assert!(
            matches!(&missing, MkError::LayerMissing { layer } if &**layer == "VK_LAYER_KHRONOS_validation"),
            "{missing:?}"
        );
        // Without validation the same machine works, and collects nothing.
        let backend = VulkanBackend::new(VulkanConfig::default()).unwrap();
        assert!(backend.validation_messages().is_empty());
    });
}

#[test]
fn a_missing_device_is_named_with_those_that_exist() {
    let error = error(VulkanConfig { device_index: Some(77), ..config() });
    match &error {
        MkError::NoDevice { reason } => assert!(reason.starts_with("no device 77: 0 is "), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_is_chosen_by_its_position() {
    let backend = VulkanBackend::new(VulkanConfig { device_index: Some(0), ..config() }).unwrap();
    let log = backend.validation_log();
    drop(backend);
    assert_silent(&log);
}

#[test]
fn a_missing_extension_is_said() {
    let device_extensions = vec![c"VK_MEMKIT_nonsense".to_owned()];
    let error = error(VulkanConfig { device_extensions, ..Default::default() });
    assert!(matches!(error, MkError::NoDevice { .. }), "{error:?}");
}

#[test]
fn names_work_without_validation() {
    let backend = VulkanBackend::new(VulkanConfig { debug_names: true, ..Default::default() }).unwrap();
    wait(&backend, Plan::default().run(&backend, &[], &[], false));
    assert!(backend.validation_messages().is_empty());
}
