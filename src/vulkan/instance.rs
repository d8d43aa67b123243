//! The Vulkan instance: made here with its layer and messenger, or borrowed.

use super::debug::c_str;
use super::layers::{SyncChain, SyncSettings, VALIDATION, has, loses_single_barriers};
use super::{MkValidationLog, VulkanConfig};
use crate::MkError;
use ash::{Entry, ext, khr, vk};
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

/// An instance, destroyed on drop unless it is borrowed.
pub(super) struct Instance {
    pub(super) raw: ash::Instance,
    /// Whether `VK_EXT_debug_utils` is enabled.
    pub(super) debug_utils: bool,
    pub(super) log: MkValidationLog,
    /// Whether its layer loses barriers, unless a call has several.
    pub(super) loses_single_barriers: bool,
    owned: Option<Messenger>,
}

type Messenger = Option<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)>;

/// Held while the loader looks for drivers or lets them go. NVIDIA's (580) crashes when it is loaded on one thread
/// while it is unloaded on another.
static LOADING: Mutex<()> = Mutex::new(());

/// The loader, opened at most once. It stays for the life of the process: software drivers leave threads and
/// thread-local data behind that do not survive being unloaded.
fn entry() -> Result<Entry, MkError> {
    static ENTRY: Mutex<Option<Entry>> = Mutex::new(None);
    let mut entry = ENTRY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = &*entry {
        return Ok(entry.clone());
    }
    // SAFETY: the system's Vulkan loader has no requirements on when it is opened, and it is never closed again.
    let loaded = unsafe { Entry::load() }.map_err(|e| MkError::DriverMissing {
        reason: "the Vulkan loader cannot be opened".into(),
        source: Some(Box::new(e)),
    })?;
    Ok(entry.insert(loaded).clone())
}

impl Instance {
    pub(super) fn new(config: &VulkanConfig) -> Result<Self, MkError> {
        let entry = entry()?;
        let loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the entry is loaded; enumerating has no further requirements.
        let version = unsafe { entry.try_enumerate_instance_version() }
            .map_err(no_driver("the loader does not tell its version"))?
            .unwrap_or(vk::API_VERSION_1_0);
        if version < vk::API_VERSION_1_2 {
            let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
            let reason = format!("the Vulkan loader is of version {major}.{minor}, 1.2 is needed").into();
            return Err(MkError::DriverMissing { reason, source: None });
        }
        let layer = if config.validation { Some(validation_layer(&entry)?) } else { None };
        // SAFETY: as above.
        let mut extensions = unsafe { entry.enumerate_instance_extension_properties(None) }
            .map_err(no_driver("the loader lists no instance extensions"))?;
        let sync = match &layer {
            Some(layer) => {
                // SAFETY: as above; the layer is installed.
                let own = unsafe { entry.enumerate_instance_extension_properties(Some(VALIDATION)) }
                    .map_err(no_driver("the validation layer lists no extensions"))?;
                let how = SyncSettings::choose(layer.spec_version, &own);
                extensions.extend(own);
                config.sync_validation.then_some(how)
            }
            None => None,
        };

        let debug_utils =
            (config.validation || config.debug_names) && has(&extensions, ext::debug_utils::NAME);
        let portability = has(&extensions, khr::portability_enumeration::NAME);
        let mut enabled: Vec<*const c_char> = Vec::new();
        if debug_utils {
            enabled.push(ext::debug_utils::NAME.as_ptr());
        }
        if portability {
            enabled.push(khr::portability_enumeration::NAME.as_ptr());
        }
        if let Some(how) = sync {
            enabled.push(how.extension().as_ptr());
        }
        let layers: &[*const c_char] = if config.validation { &[VALIDATION.as_ptr()] } else { &[] };

        let mut name = Vec::new();
        let app = vk::ApplicationInfo::default()
            .application_name(c_str(&mut name, &config.app_name))
            .application_version(config.app_version)
            .engine_name(c"memkit-gpu")
            .api_version(vk::API_VERSION_1_3);
        let log = MkValidationLog::default();
        let mut messenger_info = log.messenger();
        let mut sync_chain = SyncChain::new();
        let mut info = vk::InstanceCreateInfo::default()
            .application_info(&app)
            .enabled_layer_names(layers)
            .enabled_extension_names(&enabled);
        if portability {
            info = info.flags(vk::InstanceCreateFlags::ENUMERATE_PORTABILITY_KHR);
        }
        if let Some(how) = sync {
            info = sync_chain.chain(how, info);
        }
        let collect = config.validation && debug_utils;
        if collect {
            // Chained too, for what is said while the instance is made and destroyed.
            info = info.push_next(&mut messenger_info);
        }
        // SAFETY: everything `info` points to lives until the call returns; `log` outlives the instance.
        let raw = unsafe { entry.create_instance(&info, None) }.map_err(|result| match result {
            vk::Result::ERROR_LAYER_NOT_PRESENT => layer_missing(),
            result => no_driver("no instance can be made")(result),
        })?;
        drop(loading);
        // From here on dropping `instance` cleans up.
        let loses_single_barriers =
            sync.is_some() && layer.is_some_and(|l| loses_single_barriers(l.spec_version));
        let mut instance = Instance { raw, debug_utils, log, loses_single_barriers, owned: Some(None) };
        if collect {
            let fns = ext::debug_utils::Instance::new(&entry, &instance.raw);
            // SAFETY: the extension is enabled, and the log outlives the messenger.
            let messenger = unsafe { fns.create_debug_utils_messenger(&instance.log.messenger(), None) }
                .map_err(|e| super::result::failed("vkCreateDebugUtilsMessengerEXT", e))?;
            instance.owned = Some(Some((fns, messenger)));
        }
        Ok(instance)
    }

    /// An instance of somebody else's; left alone on drop.
    pub(super) fn borrowed(raw: ash::Instance, debug_utils: bool) -> Self {
        let log = MkValidationLog::default();
        Instance { raw, debug_utils, log, loses_single_barriers: false, owned: None }
    }

    pub(super) fn is_owned(&self) -> bool {
        self.owned.is_some()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(messenger) = self.owned.take() else { return };
        if let Some((fns, messenger)) = messenger {
            // SAFETY: made by this instance, destroyed once, nobody else uses it.
            unsafe { fns.destroy_debug_utils_messenger(messenger, None) };
        }
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: made by `new`; its device is destroyed before, see `Gpu`.
        unsafe { self.raw.destroy_instance(None) };
    }
}

fn validation_layer(entry: &Entry) -> Result<vk::LayerProperties, MkError> {
    // SAFETY: the entry is loaded; enumerating has no further requirements.
    let layers = unsafe { entry.enumerate_instance_layer_properties() }
        .map_err(no_driver("the loader lists no layers"))?;
    let found = layers.into_iter().find(|l| l.layer_name_as_c_str().is_ok_and(|n| n == VALIDATION));
    found.ok_or_else(layer_missing)
}

fn layer_missing() -> MkError {
    MkError::LayerMissing { layer: VALIDATION.to_string_lossy().into() }
}

fn no_driver(reason: &'static str) -> impl Fn(vk::Result) -> MkError {
    move |result| MkError::DriverMissing {
        reason: match result {
            vk::Result::ERROR_INCOMPATIBLE_DRIVER => "the Vulkan loader finds no driver".into(),
            _ => reason.into(),
        },
        source: Some(Box::new(result)),
    }
}
