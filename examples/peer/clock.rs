//! What a workload costs the processor, where the system says; and the function that valgrind counts.

/// Runs `f`. Valgrind counts what happens inside, by this name: `--toggle-collect=bench_region`.
pub(crate) fn region(f: &mut dyn FnMut()) {
    let mut f = f;
    bench_region(&mut f);
}

// SAFETY: no other function of the program or of what it links has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn bench_region(f: &mut &mut dyn FnMut()) {
    f();
    // Without something behind the call it would be a jump, and valgrind would not see the end.
    std::hint::black_box(());
}

/// Processor time in nanoseconds of the calling thread: the library and its calls into the driver.
pub(crate) fn of_thread() -> Option<u64> {
    system::cpu(system::Clock::Thread)
}

/// Processor time in nanoseconds of all threads, those of a software device included.
pub(crate) fn of_process() -> Option<u64> {
    system::cpu(system::Clock::Process)
}

/// The most memory that was resident at a time, in bytes.
pub(crate) fn most_memory() -> Option<u64> {
    system::most_memory()
}

#[cfg(unix)]
mod system {
    pub(super) enum Clock {
        Thread,
        Process,
    }

    pub(super) fn cpu(clock: Clock) -> Option<u64> {
        let id = match clock {
            Clock::Thread => libc::CLOCK_THREAD_CPUTIME_ID,
            Clock::Process => libc::CLOCK_PROCESS_CPUTIME_ID,
        };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is one `timespec`, to be written.
        let result = unsafe { libc::clock_gettime(id, &mut time) };
        (result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    pub(super) fn most_memory() -> Option<u64> {
        // In KiB on Linux, in bytes on Apple's systems.
        const UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` is one `rusage`, to be written.
        let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        // SAFETY: plain integers, zeroed above and written by the call.
        let usage = unsafe { usage.assume_init() };
        (result == 0).then_some(usage.ru_maxrss as u64 * UNIT)
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) enum Clock {
        Thread,
        Process,
    }

    pub(super) fn cpu(_: Clock) -> Option<u64> {
        None
    }

    pub(super) fn most_memory() -> Option<u64> {
        None
    }
}
