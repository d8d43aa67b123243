//! Which physical device and queue family: what each one lacks, and which is preferred.

use super::layers::has;
use super::result::failed;
use crate::MkError;
use ash::{ext, khr, vk};

/// A device that can do what is needed.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) physical: vk::PhysicalDevice,
    pub(super) queue_family: u32,
    /// `VK_KHR_synchronization2` is to be enabled: the device is of version 1.2.
    pub(super) sync2_khr: bool,
    pub(super) portability_subset: bool,
    pub(super) buffer_device_address: bool,
    pub(super) storage_buffer_8bit_access: bool,
    pub(super) external_memory_host: bool,
    pub(super) api_version: u32,
}

/// The device at `index`, or the preferred one.
pub(super) fn select(instance: &ash::Instance, index: Option<usize>) -> Result<Candidate, MkError> {
    // SAFETY: the instance lives.
    let devices = unsafe { instance.enumerate_physical_devices() }
        .map_err(|e| failed("vkEnumeratePhysicalDevices", e))?;
    let judged: Vec<_> = devices.into_iter().map(|d| Judged::new(instance, d)).collect();
    let listed = || {
        let mut list = String::new();
        for (i, d) in judged.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let verdict = d.candidate.as_ref().err().map(|lacks| format!(" ({lacks})")).unwrap_or_default();
            list += &format!("{separator}{i} is {}{verdict}", d.name);
        }
        if list.is_empty() { "there is none".to_owned() } else { list }
    };
    let chosen = match index {
        Some(i) => judged.get(i).ok_or_else(|| no_device(format!("no device {i}: {}", listed())))?,
        None => judged
            .iter()
            .filter(|d| d.candidate.is_ok())
            // The first among equals: the driver's order is kept.
            .min_by_key(|d| rank(d.kind))
            .ok_or_else(|| no_device(listed()))?,
    };
    chosen.candidate.clone().map_err(|lacks| no_device(format!("{} {lacks}", chosen.name)))
}

fn no_device(reason: String) -> MkError {
    MkError::NoDevice { reason: reason.into() }
}

fn rank(kind: vk::PhysicalDeviceType) -> u8 {
    match kind {
        vk::PhysicalDeviceType::DISCRETE_GPU => 0,
        vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
        vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
        vk::PhysicalDeviceType::CPU => 3,
        _ => 4,
    }
}

/// The family for everything: graphics and compute, or at least compute.
pub(super) fn queue_family(families: &[vk::QueueFamilyProperties]) -> Option<u32> {
    let find = |flags| families.iter().position(|f| f.queue_count > 0 && f.queue_flags.contains(flags));
    find(vk::QueueFlags::GRAPHICS | vk::QueueFlags::COMPUTE)
        .or_else(|| find(vk::QueueFlags::COMPUTE))
        .and_then(|i| u32::try_from(i).ok())
}

struct Judged {
    name: String,
    kind: vk::PhysicalDeviceType,
    /// Or what it lacks.
    candidate: Result<Candidate, String>,
}

impl Judged {
    fn new(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Self {
        // SAFETY: the device was listed by this instance, which lives.
        let properties = unsafe { instance.get_physical_device_properties(physical) };
        let name = properties.device_name_as_c_str().unwrap_or(c"?").to_string_lossy().into_owned();
        let candidate = judge(instance, physical, properties.api_version);
        Judged { name, kind: properties.device_type, candidate }
    }
}

fn judge(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    api_version: u32,
) -> Result<Candidate, String> {
    let (major, minor) = (vk::api_version_major(api_version), vk::api_version_minor(api_version));
    if api_version < vk::API_VERSION_1_2 {
        return Err(format!("has Vulkan {major}.{minor}, 1.2 is needed"));
    }
    // SAFETY: the device was listed by this instance, which lives.
    let extensions = unsafe { instance.enumerate_device_extension_properties(physical) }
        .map_err(|e| format!("does not list its extensions ({e})"))?;
    let sync2_khr = api_version < vk::API_VERSION_1_3;
    if sync2_khr && !has(&extensions, khr::synchronization2::NAME) {
        return Err(format!("has Vulkan {major}.{minor} without VK_KHR_synchronization2"));
    }
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut sync2 = vk::PhysicalDeviceSynchronization2Features::default();
    let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut v12).push_next(&mut sync2);
    // SAFETY: as above; the chained structures belong to Vulkan 1.2, and to 1.3 or the extension, which are there.
    unsafe { instance.get_physical_device_features2(physical, &mut features) };
    if v12.timeline_semaphore == vk::FALSE {
        return Err("lacks timelineSemaphore".to_owned());
    }
    if sync2.synchronization2 == vk::FALSE {
        return Err("lacks synchronization2".to_owned());
    }
    // SAFETY: as above.
    let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
    Ok(Candidate {
        physical,
        queue_family: queue_family(&families).ok_or("has no queue that computes")?,
        sync2_khr,
        portability_subset: has(&extensions, khr::portability_subset::NAME),
        external_memory_host: has(&extensions, ext::external_memory_host::NAME),
        buffer_device_address: v12.buffer_device_address != vk::FALSE,
        storage_buffer_8bit_access: v12.storage_buffer8_bit_access != vk::FALSE,
        api_version: api_version.min(vk::API_VERSION_1_3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families(flags: &[vk::QueueFlags]) -> Vec<vk::QueueFamilyProperties> {
        flags.iter().map(|&f| vk::QueueFamilyProperties::default().queue_flags(f).queue_count(1)).collect()
    }

    #[test]
    fn a_family_that_does_everything_comes_first() {
        let (g, c, t) = (vk::QueueFlags::GRAPHICS, vk::QueueFlags::COMPUTE, vk::QueueFlags::TRANSFER);
        assert_eq!(queue_family(&families(&[t, c | t, g | c | t])), Some(2));
        assert_eq!(queue_family(&families(&[t, g | t, c])), Some(2));
        assert_eq!(queue_family(&families(&[t, g])), None);
    }

    #[test]
    fn real_gpus_come_before_software() {
        assert!(rank(vk::PhysicalDeviceType::DISCRETE_GPU) < rank(vk::PhysicalDeviceType::INTEGRATED_GPU));
        assert!(rank(vk::PhysicalDeviceType::VIRTUAL_GPU) < rank(vk::PhysicalDeviceType::CPU));
    }
}
