//! Opening a device while each call of loader and driver fails in turn: an error, and nothing is left. What is made later,
//! pipelines above all, fails in the test target `faults`.

use super::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char};
use vk::Handle;

/// What the replaced functions share. A device is opened on one thread, so each thread has its own.
#[derive(Default)]
struct Tap {
    instance: vk::Instance,
    /// The call that fails, counted among those that can return `result`, and the result.
    nth: u64,
    result: vk::Result,
    counted: u64,
    hit: Option<&'static str>,
    live: BTreeSet<(&'static str, u64)>,
    /// What was destroyed without being alive.
    wrong: Vec<(&'static str, u64)>,
}

thread_local! {
    static TAP: RefCell<Tap> = RefCell::default();
}

fn with<T>(f: impl FnOnce(&mut Tap) -> T) -> T {
    TAP.with_borrow_mut(f)
}

/// Counts a call that can return what is listed; fails if it is the one to fail.
fn enter(call: &'static str, can: &[vk::Result]) -> Result<(), vk::Result> {
    with(|tap| {
        if !can.contains(&tap.result) {
            return Ok(());
        }
        tap.counted += 1;
        if tap.counted - 1 != tap.nth {
            return Ok(());
        }
        tap.hit = Some(call);
        Err(tap.result)
    })
}

fn made<T: Handle>(kind: &'static str, object: T) {
    with(|tap| tap.live.insert((kind, object.as_raw())));
}

fn unmade<T: Handle>(kind: &'static str, object: T) {
    let object = (kind, object.as_raw());
    with(|tap| {
        if !tap.live.remove(&object) {
            tap.wrong.push(object);
        }
    });
}

fn loader() -> ash::Entry {
    super::super::instance::entry().expect("these tests need a Vulkan loader")
}

/// A function of the loader, which takes those of devices to their driver.
fn real(name: &CStr) -> vk::PFN_vkVoidFunction {
    // SAFETY: the instance is none, or lives.
    unsafe { loader().get_instance_proc_addr(with(|tap| tap.instance), name.as_ptr()) }
}

/// Replaces functions: those that can fail, with what, and what they make; and those that destroy.
macro_rules! replaced {
    ($($name:ident = $vk:literal ($($arg:ident: $type:ty),*) can [$($can:ident),*] $(makes $made:literal $out:ident)?;)*
     -- $($drop:ident = $drop_vk:literal ($($drop_arg:ident: $drop_type:ty),*) destroys $kind:literal $object:ident;)*) => {
        $(unsafe extern "system" fn $name($($arg: $type),*) -> vk::Result {
            if let Err(result) = enter($vk.to_str().unwrap(), &[$(vk::Result::$can),*]) {
                return result;
            }
            // SAFETY: the function of this name has this type; the caller's promises are those of it.
            let result = unsafe {
                let f: unsafe extern "system" fn($($type),*) -> vk::Result = std::mem::transmute(real($vk));
                f($($arg),*)
            };
            $(if result == vk::Result::SUCCESS {
                // SAFETY: on success the function has written it.
                made($made, unsafe { *$out });
            })?
            result
        })*
        $(unsafe extern "system" fn $drop($($drop_arg: $drop_type),*) {
            unmade($kind, $object);
            // SAFETY: as above.
            unsafe {
                let f: unsafe extern "system" fn($($drop_type),*) = std::mem::transmute(real($drop_vk));
                f($($drop_arg),*);
            }
        })*

        /// What replaces a function.
        fn replacement(name: &CStr) -> vk::PFN_vkVoidFunction {
            // SAFETY: whoever asks for a function by its name gives it its own type again.
            unsafe {
                $(if name == $vk {
                    return std::mem::transmute($name as unsafe extern "system" fn($($type),*) -> vk::Result);
                })*
                $(if name == $drop_vk {
                    return std::mem::transmute($drop as unsafe extern "system" fn($($drop_type),*));
                })*
            }
            None
        }
    };
}

type Callbacks<'a> = *const vk::AllocationCallbacks<'a>;

replaced! {
    enumerate_version = c"vkEnumerateInstanceVersion" (version: *mut u32) can [ERROR_OUT_OF_HOST_MEMORY];
    enumerate_layers = c"vkEnumerateInstanceLayerProperties" (count: *mut u32, list: *mut vk::LayerProperties)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY];
    enumerate_extensions = c"vkEnumerateInstanceExtensionProperties"
        (layer: *const c_char, count: *mut u32, list: *mut vk::ExtensionProperties)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY, ERROR_LAYER_NOT_PRESENT];
    create_messenger = c"vkCreateDebugUtilsMessengerEXT"
        (instance: vk::Instance, info: *const vk::DebugUtilsMessengerCreateInfoEXT<'_>, callbacks: Callbacks<'_>,
         out: *mut vk::DebugUtilsMessengerEXT) can [ERROR_OUT_OF_HOST_MEMORY] makes "messenger" out;
    enumerate_devices = c"vkEnumeratePhysicalDevices"
        (instance: vk::Instance, count: *mut u32, list: *mut vk::PhysicalDevice)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY, ERROR_INITIALIZATION_FAILED];
    enumerate_device_extensions = c"vkEnumerateDeviceExtensionProperties"
        (physical: vk::PhysicalDevice, layer: *const c_char, count: *mut u32, list: *mut vk::ExtensionProperties)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY, ERROR_LAYER_NOT_PRESENT];
    create_device = c"vkCreateDevice"
        (physical: vk::PhysicalDevice, info: *const vk::DeviceCreateInfo<'_>, callbacks: Callbacks<'_>,
         out: *mut vk::Device)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY, ERROR_INITIALIZATION_FAILED,
             ERROR_EXTENSION_NOT_PRESENT, ERROR_FEATURE_NOT_PRESENT, ERROR_TOO_MANY_OBJECTS, ERROR_DEVICE_LOST]
        makes "device" out;
    create_pool = c"vkCreateCommandPool"
        (device: vk::Device, info: *const vk::CommandPoolCreateInfo<'_>, callbacks: Callbacks<'_>,
         out: *mut vk::CommandPool)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY] makes "command pool" out;
    allocate_commands = c"vkAllocateCommandBuffers"
        (device: vk::Device, info: *const vk::CommandBufferAllocateInfo<'_>, out: *mut vk::CommandBuffer)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY];
    begin_commands = c"vkBeginCommandBuffer"
        (commands: vk::CommandBuffer, info: *const vk::CommandBufferBeginInfo<'_>)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY];
    end_commands = c"vkEndCommandBuffer" (commands: vk::CommandBuffer)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY];
    create_semaphore = c"vkCreateSemaphore"
        (device: vk::Device, info: *const vk::SemaphoreCreateInfo<'_>, callbacks: Callbacks<'_>,
         out: *mut vk::Semaphore)
        can [ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY] makes "semaphore" out;
    --
    destroy_messenger = c"vkDestroyDebugUtilsMessengerEXT"
        (instance: vk::Instance, object: vk::DebugUtilsMessengerEXT, callbacks: Callbacks<'_>)
        destroys "messenger" object;
    destroy_instance = c"vkDestroyInstance" (object: vk::Instance, callbacks: Callbacks<'_>)
        destroys "instance" object;
    destroy_device = c"vkDestroyDevice" (object: vk::Device, callbacks: Callbacks<'_>) destroys "device" object;
    destroy_pool = c"vkDestroyCommandPool" (device: vk::Device, object: vk::CommandPool, callbacks: Callbacks<'_>)
        destroys "command pool" object;
    destroy_semaphore = c"vkDestroySemaphore" (device: vk::Device, object: vk::Semaphore, callbacks: Callbacks<'_>)
        destroys "semaphore" object;
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    callbacks: Callbacks<'_>,
    out: *mut vk::Instance,
) -> vk::Result {
    let can = [
        vk::Result::ERROR_OUT_OF_HOST_MEMORY,
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY,
        vk::Result::ERROR_INITIALIZATION_FAILED,
        vk::Result::ERROR_LAYER_NOT_PRESENT,
        vk::Result::ERROR_EXTENSION_NOT_PRESENT,
        vk::Result::ERROR_INCOMPATIBLE_DRIVER,
    ];
    if let Err(result) = enter("vkCreateInstance", &can) {
        return result;
    }
    // SAFETY: the caller's promises are those of the function it meant to call, which has written `out` if it succeeds.
    unsafe {
        let result = (loader().fp_v1_0().create_instance)(info, callbacks, out);
        if result == vk::Result::SUCCESS {
            with(|tap| tap.instance = *out);
            made("instance", *out);
        }
        result
    }
}

unsafe extern "system" fn get_instance_proc_addr(
    instance: vk::Instance,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: a string, the caller says; each function is given its own type again by whoever asked for it.
    unsafe {
        match CStr::from_ptr(name) {
            n if n == c"vkCreateInstance" => std::mem::transmute(create_instance as vk::PFN_vkCreateInstance),
            n if n == c"vkGetDeviceProcAddr" => {
                std::mem::transmute(get_device_proc_addr as vk::PFN_vkGetDeviceProcAddr)
            }
            n => replacement(n).or_else(|| loader().get_instance_proc_addr(instance, name)),
        }
    }
}

unsafe extern "system" fn get_device_proc_addr(
    device: vk::Device,
    name: *const c_char,
) -> vk::PFN_vkVoidFunction {
    // SAFETY: as above.
    unsafe {
        let f: vk::PFN_vkGetDeviceProcAddr = std::mem::transmute(real(c"vkGetDeviceProcAddr"));
        replacement(CStr::from_ptr(name)).or_else(|| f(device, name))
    }
}

/// Opens a device while a call fails, and drops it. Returns the call, and what came of it.
fn open(nth: u64, result: vk::Result) -> (Option<&'static str>, Result<MkValidationLog, MkError>) {
    with(|tap| *tap = Tap { nth, result, ..Tap::default() });
    // SAFETY: the functions do what those of the loader do, or nothing.
    let entry = unsafe { ash::Entry::from_static_fn(ash::StaticFn { get_instance_proc_addr }) };
    let opened = Gpu::new(&entry, &config()).and_then(VulkanBackend::over);
    let opened = opened.map(|backend| backend.validation_log());
    with(|tap| {
        assert!(tap.live.is_empty(), "{result} in call {nth}, {:?}, leaves {:?}", tap.hit, tap.live);
        assert!(
            tap.wrong.is_empty(),
            "{result} in call {nth}, {:?}: destroyed twice: {:?}",
            tap.hit,
            tap.wrong
        );
        (tap.hit, opened)
    })
}

/// Whether an error says why.
fn told(result: vk::Result, call: &str, error: &MkError) -> bool {
    match (error, result) {
        // A device that does not say what it can do is not chosen.
        (MkError::NoDevice { reason }, _) if call == "vkEnumerateDeviceExtensionProperties" => {
            reason.contains(&result.to_string())
        }
        (MkError::OutOfHostMemory { what, .. }, vk::Result::ERROR_OUT_OF_HOST_MEMORY) => what.contains(call),
        (MkError::OutOfMemory { resource, .. }, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY) => {
            resource.contains(call)
        }
        (MkError::DeviceLost, vk::Result::ERROR_DEVICE_LOST)
        | (MkError::LayerMissing { .. }, vk::Result::ERROR_LAYER_NOT_PRESENT)
        | (MkError::NoDevice { .. }, vk::Result::ERROR_EXTENSION_NOT_PRESENT)
        | (MkError::NoDevice { .. }, vk::Result::ERROR_FEATURE_NOT_PRESENT) => true,
        (MkError::Backend { call: named, .. }, _) => *named == call,
        (MkError::DriverMissing { source: Some(source), .. }, _) => source.to_string() == result.to_string(),
        _ => false,
    }
}

/// Fails each call that can return `result`; these are to be among them.
fn fail_each(result: vk::Result, all: &[&str]) {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for nth in 0.. {
        match open(nth, result) {
            (None, opened) => {
                assert_silent(&opened.unwrap_or_else(|e| panic!("without a fault: {e}")));
                break;
            }
            (Some(call), Err(error)) => {
                assert!(told(result, call, &error), "{result} in {call}: {error:?}");
                *seen.entry(call).or_default() += 1;
            }
            (Some(call), Ok(_)) => panic!("{result} in {call} failed and nobody says so"),
        }
    }
    println!("{result}: {seen:?}");
    let missing: Vec<_> = all.iter().filter(|call| !seen.contains_key(*call)).collect();
    assert!(missing.is_empty(), "opening never makes these calls: {missing:?}");
}

/// The functions that can fail for want of device memory, and those for want of the host's.
const DEVICE: [&str; 11] = [
    "vkEnumerateInstanceLayerProperties",
    "vkEnumerateInstanceExtensionProperties",
    "vkCreateInstance",
    "vkEnumeratePhysicalDevices",
    "vkEnumerateDeviceExtensionProperties",
    "vkCreateDevice",
    "vkCreateCommandPool",
    "vkAllocateCommandBuffers",
    "vkBeginCommandBuffer",
    "vkEndCommandBuffer",
    "vkCreateSemaphore",
];
const HOST: [&str; 2] = ["vkEnumerateInstanceVersion", "vkCreateDebugUtilsMessengerEXT"];

#[test]
fn each_call_of_opening_without_memory() {
    fail_each(vk::Result::ERROR_OUT_OF_DEVICE_MEMORY, &DEVICE);
    fail_each(vk::Result::ERROR_OUT_OF_HOST_MEMORY, &[&DEVICE[..], &HOST].concat());
}

#[test]
fn each_call_of_opening_that_finds_something_missing() {
    let device = "vkCreateDevice";
    fail_each(vk::Result::ERROR_INITIALIZATION_FAILED, &["vkCreateInstance", device]);
    fail_each(vk::Result::ERROR_EXTENSION_NOT_PRESENT, &["vkCreateInstance", device]);
    fail_each(vk::Result::ERROR_LAYER_NOT_PRESENT, &["vkCreateInstance"]);
    fail_each(vk::Result::ERROR_INCOMPATIBLE_DRIVER, &["vkCreateInstance"]);
    fail_each(vk::Result::ERROR_FEATURE_NOT_PRESENT, &[device]);
    fail_each(vk::Result::ERROR_TOO_MANY_OBJECTS, &[device]);
    fail_each(vk::Result::ERROR_DEVICE_LOST, &[device]);
}
