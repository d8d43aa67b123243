//! What the validation layer says, collected.

use ash::vk;
use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// How serious a [`MkValidationMessage`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MkValidationSeverity {
    /// Probably not what was meant.
    Warning,
    /// Against the Vulkan specification.
    Error,
}

/// One message of the validation layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MkValidationMessage {
    /// Its id, such as `VUID-vkCmdCopyBuffer-srcOffset-00113` or `SYNC-HAZARD-READ-AFTER-WRITE`.
    pub id: String,
    /// The text.
    pub text: String,
    /// How serious it is.
    pub severity: MkValidationSeverity,
}

impl std::fmt::Display for MkValidationMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}: {}", self.severity, self.id, self.text)
    }
}

/// The messages of one backend's validation layer. It outlives the backend, so that what the layer says while
/// instance and device are destroyed (leaks, above all) can be read too. Clones share their messages.
#[derive(Clone, Debug, Default)]
pub struct MkValidationLog {
    messages: Arc<Mutex<Vec<MkValidationMessage>>>,
}

/// A loop that repeats one mistake each frame must not fill the memory.
const LIMIT: usize = 10_000;

impl MkValidationLog {
    /// All messages so far, oldest first; after 10,000 no more are kept.
    #[must_use]
    pub fn messages(&self) -> Vec<MkValidationMessage> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All messages so far, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<MkValidationMessage> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How to make a messenger that writes here. The log must outlive the messenger, and the instance whose creation
    /// is given this.
    pub(super) fn messenger(&self) -> vk::DebugUtilsMessengerCreateInfoEXT<'static> {
        type Severity = vk::DebugUtilsMessageSeverityFlagsEXT;
        type Type = vk::DebugUtilsMessageTypeFlagsEXT;
        vk::DebugUtilsMessengerCreateInfoEXT::default()
            .message_severity(Severity::WARNING | Severity::ERROR)
            // Not GENERAL: there the loader complains about drivers that nobody uses.
            .message_type(Type::VALIDATION | Type::PERFORMANCE)
            .pfn_user_callback(Some(callback))
            .user_data(Arc::as_ptr(&self.messages).cast::<c_void>().cast_mut())
    }
}

/// # Safety
/// `data` is null or valid, with strings that are null or end with a zero; `user` is the pointer given in
/// [`MkValidationLog::messenger`], alive.
unsafe extern "system" fn callback(
    severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    user: *mut c_void,
) -> vk::Bool32 {
    let collect = || {
        // SAFETY: the layer gives a valid structure.
        let Some(data) = (unsafe { data.as_ref() }) else { return };
        // SAFETY: `user` points to what the log's `Arc` holds, which outlives messenger and instance.
        let Some(messages) = (unsafe { user.cast::<Mutex<Vec<MkValidationMessage>>>().as_ref() }) else {
            return;
        };
        // SAFETY: both strings belong to the layer for the time of this call.
        let (id, text) = unsafe { (text(data.p_message_id_name), text(data.p_message)) };
        let severity = if severity.contains(vk::DebugUtilsMessageSeverityFlagsEXT::ERROR) {
            MkValidationSeverity::Error
        } else {
            MkValidationSeverity::Warning
        };
        let mut messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() < LIMIT {
            messages.push(MkValidationMessage { id: id.into_owned(), text: text.into_owned(), severity });
        }
    };
    // Nothing here should panic, but a panic must not cross into the driver.
    let _ = catch_unwind(AssertUnwindSafe(collect));
    vk::FALSE
}

/// # Safety
/// `p` is null, or a string that ends with a zero and lives for `'a`.
unsafe fn text<'a>(p: *const std::ffi::c_char) -> Cow<'a, str> {
    if p.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: checked for null; the rest is the caller's promise.
    unsafe { CStr::from_ptr(p) }.to_string_lossy()
}
