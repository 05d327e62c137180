//! The fault catalogue: every case of `docs/design/faults.md` has a test here that is named after it.
//!
//! The faults are real: processes are killed and stopped, calls fail in the kernel, disks are full, bytes on them change.
//! `PIPE_TEST_LONG=1` runs all sizes, kills at all calls, and some thousands at random.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "tests make and read their own files")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[path = "../e2e/harness/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "what the tests of `tests/e2e` need is more than what these need"
)]
mod harness;

/// G: two at once, locks, readers, clocks.
mod concurrency;
/// B: what the disk does to the store.
mod corruption;
/// Faults at single system calls.
mod faultbox;
/// C: what the documents are like.
mod inputs;
/// A: kills, signals, full disks, want of resources.
mod interruption;
/// The project that most of these tests build, and what must be true of it.
mod library;
/// Full disks and other limits.
mod limits;
/// Disks that are mounted.
mod places;
/// The table of `docs/design/faults.md` is complete, and what it names is there.
mod table;
/// E: what workers and filters do.
mod workers;

/// How often: as few as find a fault most of the time, or as many as find it for sure.
fn times(default: usize, long: usize) -> usize {
    if is_long() { long } else { default }
}

/// Whether all of it is wanted, however long it takes.
fn is_long() -> bool {
    std::env::var_os("PIPE_TEST_LONG").is_some_and(|value| value != "0")
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}
