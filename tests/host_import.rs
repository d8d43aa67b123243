//! Memory of the caller's, imported: on the simulated device, and (with the feature) on Vulkan under validation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
use common::{W, err};
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyCalls, DummyFault, DummyFaultError, DummyFaultWhen, MkBufferUsage,
    MkDeviceBuffer, MkError, MkGpu, MkGpuBackend, MkHostBuffer, MkSlice,
};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// Page-aligned memory.
struct Pages {
    at: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, PAGE).unwrap();
        // SAFETY: not of size zero.
        Pages { at: NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap(), layout }
    }

    /// To be called while the device does not use it.
    fn words(&mut self) -> &mut [u32] {
        // SAFETY: allocated and initialised, aligned for any type; nobody else uses it, the callers see to that.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr().cast(), self.layout.size() / 4) }
    }

    fn import<B: MkGpuBackend>(&self, gpu: &MkGpu<B>) -> Result<MkHostBuffer, MkError> {
        // SAFETY: the tests drop the pages after the device is done with the handle's memory, and touch the bytes only
        // when nothing that uses them is submitted.
        unsafe { gpu.import_host_memory("pages", self.at, self.layout.size()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
    }
}

fn storage<B: MkGpuBackend>(gpu: &MkGpu<B>, size: usize) -> MkDeviceBuffer {
    gpu.create_device_buffer(size, MkBufferUsage::STORAGE).unwrap()
}

fn contents<'a, B: MkGpuBackend>(gpu: &MkGpu<B>, slice: impl Into<MkSlice<'a>>, len: usize) -> Vec<u32> {
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<u32>(slice, 0..len).unwrap();
    frame.submit().unwrap().wait().unwrap();
    back.try_read(<[u32]>::to_vec).unwrap()
}

/// Bytes go out by a transfer and by a frame, change, and come back, more than once.
fn goes_there_and_back<B: MkGpuBackend>(gpu: &MkGpu<B>) {
    assert_eq!(gpu.capabilities().host_import.map(|a| PAGE as u64 % a), Some(0), "pages can be imported");
    let (mut up, mut down) = (Pages::new(2 * PAGE), Pages::new(PAGE));
    let n = 2 * PAGE / 4;
    let (from, to) = (up.import(gpu).unwrap(), down.import(gpu).unwrap());
    assert_eq!((from.size(), from.name()), (2 * PAGE, "pages"));
    let device = storage(gpu, 2 * PAGE);
    for round in 0..3u32 {
        let data: Vec<u32> = (0..n as u32).map(|i| i * 7 + round).collect();
        up.words().copy_from_slice(&data);
        if round == 1 {
            gpu.transfer(&from, &device).unwrap().wait().unwrap();
        } else {
            let mut frame = gpu.begin_frame().unwrap();
            frame.copy(&from, &device);
            frame.submit().unwrap().wait().unwrap();
        }
        assert_eq!(contents(gpu, &device, n), data);
        // Back to the other memory, the second half of it filled by the device.
        let mut frame = gpu.begin_frame().unwrap();
        frame.copy(device.slice(64..64 + PAGE / 2), to.slice(..PAGE / 2));
        frame.fill(to.slice(PAGE / 2..), round);
        frame.submit().unwrap().wait().unwrap();
        assert_eq!(down.words()[..PAGE / 8], data[16..16 + PAGE / 8]);
        assert_eq!(down.words()[PAGE / 8..], [round; PAGE / 8]);
    }
    drop((from, to));
    gpu.wait_idle().unwrap();
}

#[test]
fn bytes_go_there_and_back_on_the_simulated_device() {
    for adversary in [None, Some(1), Some(2)] {
        let config = DummyBackendConfig { adversary, ..Default::default() };
        let gpu = MkGpu::new(DummyBackend::with_config(config));
        goes_there_and_back(&gpu);
        assert_eq!(gpu.backend().hazards(), []);
    }
}

#[test]
fn the_simulated_device_reads_the_memory_when_it_runs_and_frees_nothing_of_it() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut pages = Pages::new(PAGE);
    let (from, device) = (pages.import(&gpu).unwrap(), storage(&gpu, PAGE));
    assert_eq!(gpu.backend().total_allocated(), PAGE as u64, "the device's own buffer alone");
    gpu.backend().pause();
    let ticket = gpu.transfer(&from, &device).unwrap();
    // Pending: the device has not seen it.
    pages.words()[0] = 77;
    gpu.backend().resume();
    ticket.wait().unwrap();
    assert_eq!(contents(&gpu, &device, 2), [77, 0]);
    drop(from);
    gpu.wait_idle().unwrap();
    assert_eq!(pages.words()[0], 77);
}

#[test]
fn a_missing_dependency_on_imported_memory_is_noticed_as_on_any_other() {
    let config = DummyBackendConfig { skip_barrier: Some(0), ..Default::default() };
    let gpu = MkGpu::new(DummyBackend::with_config(config));
    let pages = Pages::new(PAGE);
    let (memory, device) = (pages.import(&gpu).unwrap(), storage(&gpu, PAGE));
    let mut frame = gpu.begin_frame().unwrap();
    let id = device.id();
    frame.pass("make").overwrite(&device, W).record(move |cx| {
        cx.dispatch(move |mem| mem.write::<u32>(id).map(|mut w| w.fill(1)));
        Ok(())
    });
    frame.copy(&device, &memory);
    frame.submit().unwrap();
    drop(memory);
    gpu.wait_idle().unwrap();
    assert!(!gpu.backend().hazards().is_empty());
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_reason() {
    let gpu = MkGpu::new(DummyBackend::new());
    let pages = Pages::new(2 * PAGE);
    let import = |offset: usize, size| {
        // SAFETY: nothing is ever submitted that uses it, and the `MkGpu` goes first.
        err(unsafe { gpu.import_host_memory("odd", pages.at.add(offset), size) })
    };
    let reason = |error: MkError| match error {
        MkError::HostImport { resource, reason } if &*resource == "odd" => reason.into_string(),
        other => panic!("{other}"),
    };
    assert!(reason(import(64, PAGE)).contains("its address"));
    assert!(reason(import(0, PAGE + 1)).contains("its size"));
    assert!(matches!(import(0, 0), MkError::ZeroSize { .. }));
    assert!(matches!(import(0, usize::MAX), MkError::BufferTooLarge { .. }));
    let config = DummyBackendConfig { host_import_alignment: 0, ..Default::default() };
    let without = MkGpu::new(DummyBackend::with_config(config));
    assert_eq!(without.capabilities().host_import, None);
    assert!(matches!(pages.import(&without), Err(MkError::HostImport { .. })));
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let gpu = MkGpu::new(DummyBackend::new());
    let pages = Pages::new(PAGE);
    gpu.backend().inject(DummyFault {
        calls: DummyCalls::CREATE_BUFFER,
        when: DummyFaultWhen::Nth(0),
        error: DummyFaultError::OutOfDeviceMemory,
    });
    assert!(matches!(pages.import(&gpu), Err(MkError::OutOfMemory { .. })));
    assert_eq!(gpu.backend().buffer_count(), 0);
    drop(pages.import(&gpu).unwrap());
    gpu.wait_idle().unwrap();
    assert_eq!(gpu.backend().buffer_count(), 0);
}

#[test]
fn every_drop_order_is_clean() {
    for order in 0..3 {
        let gpu = MkGpu::new(DummyBackend::new());
        let stats = gpu.backend().stats();
        let pages = Pages::new(PAGE);
        let (memory, device) = (pages.import(&gpu).unwrap(), storage(&gpu, PAGE));
        gpu.transfer(&memory, &device).unwrap();
        gpu.flush().unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        frame.copy(&device, &memory);
        match order {
            0 => drop((gpu, frame, memory)),
            1 => drop((memory, frame, gpu)),
            _ => drop((frame, gpu, memory)),
        }
        drop(pages);
        assert_eq!((stats.buffer_count(), stats.hazards().len()), (0, 0));
    }
}

#[cfg(feature = "vulkan")]
#[test]
fn bytes_go_there_and_back_on_vulkan_and_the_layer_stays_silent() {
    use memkit_gpu::{VulkanBackend, VulkanConfig};
    let config = VulkanConfig { validation: true, ..Default::default() };
    let backend =
        VulkanBackend::new(config).expect("this test needs a Vulkan device and the validation layer");
    let log = backend.validation_log();
    let gpu = MkGpu::new(backend);
    let pages = Pages::new(PAGE);
    if gpu.capabilities().host_import.is_none() {
        assert!(matches!(pages.import(&gpu), Err(MkError::HostImport { .. })));
        println!("skipped: this device has no VK_EXT_external_memory_host");
        return;
    }
    goes_there_and_back(&gpu);
    // And one that is destroyed with the device.
    let kept = pages.import(&gpu).unwrap();
    drop(gpu);
    drop(kept);
    let said: Vec<String> = log.messages().iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "the validation layer says:\n{}", said.join("\n"));
}
