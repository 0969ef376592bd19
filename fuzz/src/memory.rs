//! Memory at once, counted; more than the limit is a finding.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be allocated at once: 2 GiB.
pub const MOST: usize = 2 << 30;

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);

fn take(bytes: usize) {
    if NOW.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > MOST {
        let said = b"finding: more than 2 GiB of memory at once\n";
        // SAFETY: these are bytes of that length, and nothing here allocates.
        unsafe {
            libc::write(2, said.as_ptr().cast(), said.len());
            libc::abort();
        }
    }
}

// SAFETY: the system's allocator, beside which only numbers are kept.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}
