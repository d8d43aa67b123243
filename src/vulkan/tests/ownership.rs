//! Halves of ownership transfers reach the device as buffer barriers. This backend has one queue, so that the other end
//! is outside of Vulkan (`VK_QUEUE_FAMILY_EXTERNAL`).

use super::*;
use memkit_graph::OwnershipTransfer;

/// Uploads into buffer 0, gives it to one family and takes it back from another, and reads it.
fn there_and_back(own: u32, to: u32, from: u32) -> Plan {
    let none = (Stages::empty(), AccessFlags::empty());
    let mut plan = Plan::default();
    plan.resource("middle", 64);
    plan.copy(BufferRef::Host(0), BufferRef::Local(0), &[(0, 0, 64)]);
    let half = |plan: &mut Plan, from, to, dependency| {
        plan.barrier(&[]);
        let (call, buffer) = (plan.schedule.barriers.len() as u32 - 1, BufferRef::Local(0));
        plan.schedule.transfers.push(OwnershipTransfer { call, buffer, range: 0..64, from, to, dependency });
    };
    half(&mut plan, own, to, entry(COPY_WRITE, none));
    half(&mut plan, from, own, entry(none, COPY_READ));
    // The halves are ordered as any two commands are.
    plan.barrier(&[entry(COPY_WRITE, COPY_READ)]);
    plan.copy(BufferRef::Local(0), BufferRef::Host(1), &[(0, 0, 64)]);
    plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    plan
}

/// Runs it and returns what arrived.
fn run(backend: &VulkanBackend, plan: &Plan) -> Vec<u8> {
    let middle = buffer(backend, 64, MkMemoryType::DeviceLocal);
    let host = [0, 1].map(|_| buffer(backend, 64, MkMemoryType::HostVisible));
    write(backend, &host[0], &[7; 64]);
    wait(backend, plan.run(backend, &[middle], &host, false));
    let bytes = read(backend, &host[1], 64);
    for buffer in [middle, host[0], host[1]] {
        // SAFETY: the work is done.
        unsafe { backend.destroy_buffer(buffer) };
    }
    bytes
}

#[test]
fn a_buffer_goes_to_another_family_and_comes_back() {
    silent(|backend| {
        let (own, external) = (backend.gpu.queue_family, vk::QUEUE_FAMILY_EXTERNAL);
        assert_eq!(run(&backend, &there_and_back(own, external, external)), [7; 64]);
    });
}

#[test]
fn the_layer_sees_the_families_of_both_halves() {
    for (to, from) in [(77, vk::QUEUE_FAMILY_EXTERNAL), (vk::QUEUE_FAMILY_EXTERNAL, 77)] {
        let backend = VulkanBackend::new(config()).unwrap();
        let log = backend.validation_log();
        let plan = there_and_back(backend.gpu.queue_family, to, from);
        let middle = buffer(&backend, 64, MkMemoryType::DeviceLocal);
        let host = [0, 1].map(|_| buffer(&backend, 64, MkMemoryType::HostVisible));
        // Not submitted: there is no such family.
        drop(plan.record(&backend, &[middle], &host, &mut |_, _| Ok(())));
        drop(backend);
        assert!(said(&log).iter().any(|m| m.text.contains("77")), "{:?}", said(&log));
    }
}
