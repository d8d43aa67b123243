//! Turns the validation layer's synchronization checks on: the way to say so depends on the layer's age.

use ash::vk;
use std::ffi::{CStr, c_char, c_void};

/// The Khronos validation layer.
pub(super) const VALIDATION: &CStr = c"VK_LAYER_KHRONOS_validation";

const ENABLED: [vk::ValidationFeatureEnableEXT; 1] =
    [vk::ValidationFeatureEnableEXT::SYNCHRONIZATION_VALIDATION];
static TRUE: vk::Bool32 = vk::TRUE;
const ACROSS_SUBMITS: &CStr = c"VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT";

/// How a layer is told to check synchronization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncSettings {
    /// `VK_EXT_layer_settings`, which replaces the others.
    Settings,
    /// `VK_EXT_validation_features`; whether across submissions too is the layer's default.
    Features,
    /// The same, and the private structure in which an old layer took what now are settings.
    FeaturesAndPrivate,
}

impl SyncSettings {
    /// For a layer of `version` with these instance extensions.
    ///
    /// The older extension comes first: loaders refuse extensions younger than themselves, even those of a layer.
    pub(super) fn choose(version: u32, extensions: &[vk::ExtensionProperties]) -> Self {
        // The structure is private and changed over time: this is the version it was tried with (Debian 12).
        if version == vk::make_api_version(0, 1, 3, 239) {
            SyncSettings::FeaturesAndPrivate
        } else if has(extensions, ash::ext::layer_settings::NAME)
            && !has(extensions, ash::ext::validation_features::NAME)
        {
            SyncSettings::Settings
        } else {
            SyncSettings::Features
        }
    }

    /// The instance extension this needs.
    pub(super) fn extension(self) -> &'static CStr {
        match self {
            SyncSettings::Settings => ash::ext::layer_settings::NAME,
            SyncSettings::Features | SyncSettings::FeaturesAndPrivate => ash::ext::validation_features::NAME,
        }
    }
}

/// Whether a layer of `version` loses barriers, unless a call has several: true above 1.4.309.
///
/// Some of 2026 (1.4.363 is known to) remember a call of one global barrier by its masks, and apply what they remember
/// when memory is accessed next. A barrier that served an earlier write of that memory is then not applied once more to a
/// read since, though another barrier between leads from that read to it: the layer objects to a chain of execution
/// dependencies that holds (Vulkan specification 7.1), and is silent if the first of the two equal barriers is left out.
/// Calls of several barriers are applied at once.
pub(super) fn loses_single_barriers(version: u32) -> bool {
    version > vk::make_api_version(0, 1, 4, 309)
}

/// Whether an extension is in a list.
pub(super) fn has(extensions: &[vk::ExtensionProperties], name: &CStr) -> bool {
    extensions.iter().any(|e| e.extension_name_as_c_str().is_ok_and(|n| n == name))
}

/// The structures to chain to `VkInstanceCreateInfo`; they point into each other, so they are made in place.
pub(super) struct SyncChain<'a> {
    settings: [vk::LayerSettingEXT<'static>; 2],
    features: vk::ValidationFeaturesEXT<'static>,
    private_value: PrivateValue,
    standard: vk::LayerSettingsCreateInfoEXT<'a>,
    private: PrivateSettings,
}

impl<'a> SyncChain<'a> {
    pub(super) fn new() -> Self {
        let on = |name: &'static CStr| {
            let mut setting = vk::LayerSettingEXT::default()
                .layer_name(VALIDATION)
                .setting_name(name)
                .ty(vk::LayerSettingTypeEXT::BOOL32);
            // Not by `values`, which takes bytes: the layer wants one aligned VkBool32.
            setting.value_count = 1;
            setting.p_values = (&raw const TRUE).cast();
            setting
        };
        SyncChain {
            settings: [on(c"validate_sync"), on(c"syncval_submit_time_validation")],
            features: vk::ValidationFeaturesEXT::default().enabled_validation_features(&ENABLED),
            private_value: PrivateValue::enables(ACROSS_SUBMITS),
            standard: vk::LayerSettingsCreateInfoEXT::default(),
            private: PrivateSettings::empty(),
        }
    }

    pub(super) fn chain(
        &'a mut self,
        how: SyncSettings,
        info: vk::InstanceCreateInfo<'a>,
    ) -> vk::InstanceCreateInfo<'a> {
        match how {
            SyncSettings::Settings => {
                self.standard = self.standard.settings(&self.settings);
                info.push_next(&mut self.standard)
            }
            SyncSettings::Features => info.push_next(&mut self.features),
            SyncSettings::FeaturesAndPrivate => {
                self.private.count = 1;
                self.private.values = &raw const self.private_value;
                info.push_next(&mut self.features).push_next(&mut self.private)
            }
        }
    }
}

/// One setting of an old layer (`layers/vk_layer_settings_ext.h` of its sources): here always a list of strings.
#[repr(C)]
struct PrivateValue {
    name: [c_char; vk::MAX_EXTENSION_NAME_SIZE],
    kind: u32,
    strings: *const c_char,
    length: u32,
}

impl PrivateValue {
    /// `VK_LAYER_SETTING_VALUE_TYPE_STRING_ARRAY_EXT`.
    const STRING_ARRAY: u32 = 8;

    fn enables(what: &'static CStr) -> Self {
        let mut name = [0; vk::MAX_EXTENSION_NAME_SIZE];
        for (to, from) in name.iter_mut().zip(c"enables".to_bytes()) {
            *to = *from as c_char;
        }
        let length = what.to_bytes().len() as u32;
        PrivateValue { name, kind: Self::STRING_ARRAY, strings: what.as_ptr(), length }
    }
}

/// The list of settings of an old layer.
#[repr(C)]
struct PrivateSettings {
    s_type: vk::StructureType,
    p_next: *const c_void,
    count: u32,
    values: *const PrivateValue,
}

impl PrivateSettings {
    fn empty() -> Self {
        PrivateSettings {
            // `VK_STRUCTURE_TYPE_INSTANCE_LAYER_SETTINGS_EXT` of this layer, a value Vulkan will not give out: drivers and
            // other layers skip it.
            s_type: vk::StructureType::from_raw(0x7fff_fffe),
            p_next: std::ptr::null(),
            count: 0,
            values: std::ptr::null(),
        }
    }
}

// SAFETY: it begins like every Vulkan structure, and drivers ignore structures they do not know.
unsafe impl vk::ExtendsInstanceCreateInfo for PrivateSettings {}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&CStr]) -> Vec<vk::ExtensionProperties> {
        names.iter().map(|n| vk::ExtensionProperties::default().extension_name(n).unwrap()).collect()
    }

    #[test]
    fn a_layer_is_told_in_the_way_of_its_age() {
        let version = |patch| vk::make_api_version(0, 1, 3, patch);
        let (old, new) = (ash::ext::validation_features::NAME, ash::ext::layer_settings::NAME);
        assert_eq!(SyncSettings::choose(version(239), &list(&[old])), SyncSettings::FeaturesAndPrivate);
        assert_eq!(SyncSettings::choose(version(204), &list(&[old])), SyncSettings::Features);
        assert_eq!(SyncSettings::choose(version(296), &list(&[old, new])), SyncSettings::Features);
        assert_eq!(SyncSettings::choose(version(400), &list(&[new])), SyncSettings::Settings);
    }

    #[test]
    fn layers_that_are_known_to_keep_barriers_get_them_as_they_are() {
        let loses = |minor, patch| loses_single_barriers(vk::make_api_version(0, 1, minor, patch));
        assert!(!loses(3, 239) && !loses(4, 309) && loses(4, 363));
    }
}
