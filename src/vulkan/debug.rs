//! Names and labels for debuggers and for the validation layer's messages.

use ash::{ext, vk};
use std::ffi::CStr;

/// Sets names and labels, or does nothing where `VK_EXT_debug_utils` is not enabled.
pub(super) struct Debug {
    fns: Option<ext::debug_utils::Device>,
}

impl Debug {
    pub(super) fn new(enabled: bool, instance: &ash::Instance, device: &ash::Device) -> Self {
        Debug { fns: enabled.then(|| ext::debug_utils::Device::new(instance, device)) }
    }

    /// Names an object. It must live, and nobody else may use it during the call.
    pub(super) fn name<T: vk::Handle>(&self, object: T, name: &str) {
        let Some(fns) = &self.fns else { return };
        let mut scratch = Vec::new();
        let info = vk::DebugUtilsObjectNameInfoEXT::default()
            .object_handle(object)
            .object_name(c_str(&mut scratch, name));
        // SAFETY: the object was just made by the caller on this device and is not used by others yet.
        // A name that could not be set is no loss.
        let _ = unsafe { fns.set_debug_utils_object_name(&info) };
    }

    /// Opens a label in a command buffer that is being recorded.
    pub(super) fn begin(&self, commands: vk::CommandBuffer, scratch: &mut Vec<u8>, name: &str) {
        let Some(fns) = &self.fns else { return };
        let label = vk::DebugUtilsLabelEXT::default().label_name(c_str(scratch, name));
        // SAFETY: the caller records `commands`; the label's name outlives the call.
        unsafe { fns.cmd_begin_debug_utils_label(commands, &label) };
    }

    /// Closes the label opened last.
    pub(super) fn end(&self, commands: vk::CommandBuffer) {
        let Some(fns) = &self.fns else { return };
        // SAFETY: the caller records `commands`, and closes what it opened.
        unsafe { fns.cmd_end_debug_utils_label(commands) };
    }
}

/// `text` as a C string in reused memory. Inner zeros, which a C string cannot hold, are left out.
pub(super) fn c_str<'a>(scratch: &'a mut Vec<u8>, text: &str) -> &'a CStr {
    scratch.clear();
    scratch.extend(text.bytes().filter(|&b| b != 0));
    scratch.push(0);
    CStr::from_bytes_with_nul(scratch).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::c_str;

    #[test]
    fn inner_zeros_are_left_out_of_names() {
        let mut scratch = Vec::new();
        assert_eq!(c_str(&mut scratch, "a\0b"), c"ab");
        assert_eq!(c_str(&mut scratch, ""), c"");
    }
}
