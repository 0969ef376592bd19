//! Counters of what was reached, shared with the process that renders templates: what a template reaches there counts
//! as if it were reached here.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

/// Says to that process where the counters are.
const VARIABLE: &str = "TITER_FUZZ_COUNTERS";

unsafe extern "C" {
    // By the linker: where the compiler's counters begin and end.
    static mut __start___sancov_cntrs: u8;
    static mut __stop___sancov_cntrs: u8;
}

/// Lays a shared file under all whole pages of the counters.
pub(crate) fn share() {
    let path = match std::env::var_os(VARIABLE) {
        Some(path) if titer_lab::templates::is_renderer() => path.into(),
        _ => crate::folder().join("../counters"),
    };
    let start = (&raw mut __start___sancov_cntrs).addr();
    let end = (&raw mut __stop___sancov_cntrs).addr();
    // SAFETY: it has no conditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size of pages");
    let (first, last) = (start.next_multiple_of(page), end / page * page);
    if last <= first {
        return;
    }
    let Ok(file) = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path) else {
        return;
    };
    file.set_len((last - first) as u64).expect("room for the counters");
    let (read, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: these pages hold counters and nothing else; the compiler's code adds to them by their addresses. The
    // variable is set before anything else runs.
    unsafe {
        let place = std::ptr::without_provenance_mut(first);
        assert_eq!(
            libc::mmap(place, last - first, read, shared, file.as_raw_fd(), 0),
            place,
            "counters are shared"
        );
        std::env::set_var(VARIABLE, path);
    }
}
