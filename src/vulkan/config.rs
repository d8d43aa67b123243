//! What a Vulkan device is asked for.

use ash::vk;
use std::ffi::CString;

/// How [`VulkanBackend::new`](super::VulkanBackend::new) makes its instance and device.
///
/// ```
/// use memkit_gpu::VulkanConfig;
/// let config = VulkanConfig { app_name: "viewer".into(), validation: true, ..Default::default() };
/// assert!(config.sync_validation);
/// ```
#[derive(Clone, Debug)]
pub struct VulkanConfig {
    /// Name of the application, told to the driver.
    pub app_name: String,
    /// Version of the application, told to the driver; [`vk::make_api_version`] packs one.
    pub app_version: u32,
    /// Runs under the Khronos validation layer; if it is not installed, `new` fails with
    /// [`MkError::LayerMissing`](crate::MkError::LayerMissing). What it says is in
    /// [`VulkanBackend::validation_messages`](super::VulkanBackend::validation_messages).
    pub validation: bool,
    /// With `validation`: checks synchronization too, across submissions as well.
    ///
    /// Layers of the last years look across submissions by themselves, and 1.3.239 (Debian 12) is told to by the library.
    /// Others as old need `VK_LAYER_ENABLES=VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT` in the
    /// environment. Layers from 1.4 on look at what shaders access only with
    /// `VK_LAYER_SYNCVAL_SHADER_ACCESSES_HEURISTIC=1` there. Some of 2026 object to execution dependencies that lead from
    /// a read to a write by way of another stage; they do not where a barrier call has several entries, so under layers
    /// above 1.4.309 a call of one gets a second, which orders nothing.
    pub sync_validation: bool,
    /// Names objects and labels passes for debuggers such as RenderDoc, where the loader has
    /// `VK_EXT_debug_utils`. Always on with `validation`.
    pub debug_names: bool,
    /// Which device, by its position in the driver's list. `None`: the first discrete GPU, else the first
    /// integrated one, else a virtual one, else a software device, among those that can do what is needed.
    pub device_index: Option<usize>,
    /// Further device extensions to enable, for the application's own pipelines.
    pub device_extensions: Vec<CString>,
    /// Features of Vulkan 1.0 to enable, for the application's own pipelines. Whoever needs features beyond those
    /// makes the device and lends it with [`VulkanBackend::from_raw`](super::VulkanBackend::from_raw): the stages of mesh and
    /// ray tracing shaders, too, are for lent devices only.
    pub device_features: vk::PhysicalDeviceFeatures,
}

impl Default for VulkanConfig {
    fn default() -> Self {
        VulkanConfig {
            app_name: String::new(),
            app_version: 0,
            validation: false,
            sync_validation: true,
            debug_names: false,
            device_index: None,
            device_extensions: Vec::new(),
            device_features: vk::PhysicalDeviceFeatures::default(),
        }
    }
}
