//! Which Vulkan memory types serve a [`MkMemoryType`], best first.

use crate::MkMemoryType;
use ash::vk;
use smallvec::SmallVec;

type Flags = vk::MemoryPropertyFlags;

/// A device-local heap up to this size that the host can map is the window of a bus without resizable BAR: scarce,
/// and left to those who ask for unified memory.
const SMALL_WINDOW: u64 = 256 << 20;

/// Types that need a feature, or that are no memory for buffers.
fn special() -> Flags {
    Flags::LAZILY_ALLOCATED
        | Flags::PROTECTED
        | Flags::DEVICE_COHERENT_AMD
        | Flags::DEVICE_UNCACHED_AMD
        | Flags::RDMA_CAPABLE_NV
}

/// Positions of the memory types among `bits` that can serve `kind`, best first. The driver's order, which puts the
/// faster ones first, decides among equals.
pub(super) fn candidates(
    memory: &vk::PhysicalDeviceMemoryProperties,
    bits: u32,
    kind: MkMemoryType,
) -> SmallVec<[u32; 8]> {
    let (types, heaps) = (memory.memory_types_as_slice(), memory.memory_heaps_as_slice());
    // The cost of each: what matters most weighs most.
    let cost = |t: &vk::MemoryType| -> Option<u32> {
        let has = |flag| t.property_flags.contains(flag);
        let lacks = |flag| u32::from(!has(flag));
        if t.property_flags.intersects(special()) {
            return None;
        }
        if kind.is_mappable() && !has(Flags::HOST_VISIBLE) {
            return None;
        }
        let small = heaps.get(t.heap_index as usize).is_none_or(|h| h.size <= SMALL_WINDOW);
        Some(match kind {
            MkMemoryType::DeviceLocal => lacks(Flags::DEVICE_LOCAL),
            MkMemoryType::HostVisible => {
                // Cached memory is slower to write for the device to see.
                let scarce = has(Flags::DEVICE_LOCAL) && small;
                8 * u32::from(scarce)
                    + 4 * lacks(Flags::HOST_COHERENT)
                    + 2 * lacks(Flags::DEVICE_LOCAL)
                    + u32::from(has(Flags::HOST_CACHED))
            }
            MkMemoryType::HostLocal => {
                4 * lacks(Flags::HOST_COHERENT)
                    + 2 * u32::from(has(Flags::DEVICE_LOCAL))
                    + u32::from(has(Flags::HOST_CACHED))
            }
            MkMemoryType::HostCached => 2 * lacks(Flags::HOST_CACHED) + lacks(Flags::HOST_COHERENT),
            MkMemoryType::Unified => 2 * lacks(Flags::DEVICE_LOCAL) + lacks(Flags::HOST_COHERENT),
        })
    };
    let mut found: SmallVec<[(u32, u32); 8]> = (0u32..)
        .zip(types)
        .filter(|(i, _)| bits & 1u32.checked_shl(*i).unwrap_or(0) != 0)
        .filter_map(|(i, t)| Some((cost(t)?, i)))
        .collect();
    found.sort_unstable();
    if kind == MkMemoryType::DeviceLocal && found.first().is_some_and(|&(cost, _)| cost == 0) {
        // Where there is device memory, its exhaustion is an error, not a silent move to slow memory.
        found.retain(|(cost, _)| *cost == 0);
    }
    found.into_iter().map(|(_, i)| i).collect()
}

/// Whether some memory is device-local and mapped at once.
pub(super) fn has_unified(memory: &vk::PhysicalDeviceMemoryProperties) -> bool {
    let both = Flags::DEVICE_LOCAL | Flags::HOST_VISIBLE;
    memory
        .memory_types_as_slice()
        .iter()
        .any(|t| t.property_flags.contains(both) && !t.property_flags.intersects(special()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Flags = Flags::DEVICE_LOCAL;
    const HOST: Flags = Flags::HOST_VISIBLE;
    const COHERENT: Flags = Flags::HOST_COHERENT;
    const CACHED: Flags = Flags::HOST_CACHED;

    fn memory(heaps: &[u64], types: &[(Flags, u32)]) -> vk::PhysicalDeviceMemoryProperties {
        let mut m = vk::PhysicalDeviceMemoryProperties::default();
        for (i, &size) in heaps.iter().enumerate() {
            m.memory_heaps[i].size = size;
        }
        for (i, &(property_flags, heap_index)) in types.iter().enumerate() {
            m.memory_types[i] = vk::MemoryType { property_flags, heap_index };
        }
        (m.memory_heap_count, m.memory_type_count) = (heaps.len() as u32, types.len() as u32);
        m
    }

    fn best(m: &vk::PhysicalDeviceMemoryProperties, kind: MkMemoryType) -> Vec<u32> {
        candidates(m, u32::MAX, kind).to_vec()
    }

    #[test]
    fn a_small_window_is_left_to_unified_memory() {
        let types =
            [(LOCAL, 0), (HOST | COHERENT, 1), (HOST | COHERENT | CACHED, 1), (LOCAL | HOST | COHERENT, 2)];
        let small = memory(&[8 << 30, 16 << 30, 256 << 20], &types);
        assert_eq!(best(&small, MkMemoryType::DeviceLocal), [0, 3]);
        assert_eq!(best(&small, MkMemoryType::HostVisible), [1, 2, 3]);
        assert_eq!(best(&small, MkMemoryType::HostCached), [2, 1, 3]);
        assert_eq!(best(&small, MkMemoryType::Unified)[0], 3);
        let large = memory(&[8 << 30, 16 << 30, 8 << 30], &types);
        assert_eq!(best(&large, MkMemoryType::HostVisible), [3, 1, 2]);
        assert_eq!(best(&large, MkMemoryType::HostLocal), [1, 2, 3]);
    }

    #[test]
    fn cached_memory_without_coherence_is_used_for_readbacks() {
        let m = memory(&[1 << 30], &[(LOCAL, 0), (LOCAL | HOST | COHERENT, 0), (LOCAL | HOST | CACHED, 0)]);
        assert_eq!(best(&m, MkMemoryType::HostCached)[0], 2);
        assert_eq!(best(&m, MkMemoryType::HostVisible)[0], 1);
    }

    #[test]
    fn types_that_need_a_feature_are_never_used() {
        let m = memory(
            &[1 << 30],
            &[
                (LOCAL | Flags::LAZILY_ALLOCATED, 0),
                (LOCAL | HOST | COHERENT | Flags::DEVICE_COHERENT_AMD, 0),
            ],
        );
        assert!(best(&m, MkMemoryType::DeviceLocal).is_empty());
        assert!(best(&m, MkMemoryType::Unified).is_empty());
        assert!(!has_unified(&m));
    }

    #[test]
    fn only_types_the_buffer_allows_count() {
        let m = memory(&[1 << 30], &[(LOCAL, 0), (LOCAL | HOST | COHERENT, 0)]);
        assert_eq!(candidates(&m, 0b10, MkMemoryType::DeviceLocal).to_vec(), [1]);
        assert!(candidates(&m, 0b01, MkMemoryType::HostVisible).is_empty());
    }
}
