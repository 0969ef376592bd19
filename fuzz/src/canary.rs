//! Files beside the target's folder that nothing has any business with.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicI32, Ordering};

/// A path that leads there from the target's folder, and from two or four folders further down.
pub const OUTSIDE: [&str; 3] =
    ["../outside/secret", "../../../outside/secret", "../../../../../outside/secret"];

static WATCH: AtomicI32 = AtomicI32::new(-1);

/// Makes them, and watches.
pub(crate) fn watch() {
    let folder = crate::folder().join("../outside");
    fs::create_dir_all(&folder).expect("a folder beside the target's");
    fs::write(folder.join("secret"), "{}").expect("a file beside the target's folder");
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).expect("a path");
    let what =
        libc::IN_OPEN | libc::IN_ACCESS | libc::IN_MODIFY | libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVE;
    // SAFETY: the path ends with a zero.
    unsafe {
        let watch = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
        if watch >= 0 && libc::inotify_add_watch(watch, path.as_ptr(), what) >= 0 {
            WATCH.store(watch, Ordering::Relaxed);
        }
    }
}

/// What was looked at since the last call.
pub(crate) fn touched() -> Option<&'static str> {
    let mut events = [0u8; 4096];
    // SAFETY: the buffer is as long as is said.
    let read = unsafe { libc::read(WATCH.load(Ordering::Relaxed), events.as_mut_ptr().cast(), events.len()) };
    (read > 0).then_some(OUTSIDE[0])
}
