//! A stack that runs over is told like any other end: libFuzzer's handler needs another stack to run on. And
//! processor time.

/// Of the handler, which prints and writes the input.
const SIZE: usize = 256 << 10;

/// Gives the handlers of this thread a stack of their own. libFuzzer keeps the flag where it finds it set.
pub(crate) fn guard() {
    let stack =
        libc::stack_t { ss_sp: vec![0u8; SIZE].leak().as_mut_ptr().cast(), ss_flags: 0, ss_size: SIZE };
    // SAFETY: the stack lives as long as the process; the action is the usual one.
    unsafe {
        libc::sigaltstack(&stack, std::ptr::null_mut());
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_DFL;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Processor time of this process, in seconds.
pub(crate) fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is this function's own.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Says how much that was when the process ends by itself.
pub(crate) fn say_at_the_end() {
    extern "C" fn say() {
        eprintln!("processor seconds: {:.1}", processor_seconds());
    }
    // SAFETY: the function may be called at any time.
    unsafe { libc::atexit(say) };
}
