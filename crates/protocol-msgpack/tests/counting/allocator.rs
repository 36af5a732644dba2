//! An allocator that counts, for each thread; tests of other crates include this file as well.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Allocations.
    pub(crate) static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Bytes in use.
    pub(crate) static BYTES: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator as it comes; counting touches a cell
// of this thread that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size().cast_signed());
        // SAFETY: as above; `pointer` is from `alloc`, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
