//! The promise, tested: *what was announced as done is there, right, and not done again; what is there is right.*
//!
//! Sessions of the store run on a disk in memory that writes down every operation (`history`); the power is cut, or the
//! process killed, at any of them (`crashes`), calls fail (`failures`), bytes change (`damage`). What is left is opened
//! and compared with what was written, as an oracle outside remembers it (`oracle`). `docs/design/crashes.md`.

mod crashes;
mod damage;
mod failures;
mod history;
mod oracle;
mod owed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::store::disk::Disk;
use crate::store::disk::crash::Random;
use crate::store::index::Engine;
use crate::store::log::Limits;
use crate::store::opening::Setup;

/// Where the store lies on the simulated machine.
fn dir() -> &'static Path {
    Path::new("/home/project/.pipe")
}

/// A store on a simulated disk: groups and segments are small, so that little work makes many of them.
/// Where it is `calm`, groups end only where the history says so, and the same seed gives the same operations.
fn setup(disk: Arc<dyn Disk>, boot: u64, segment: u64, calm: bool) -> Setup {
    let limits = Limits {
        frames: if calm { u32::MAX } else { 6 },
        bytes: if calm { usize::MAX } else { 2048 },
        delay: Duration::from_secs(3600),
        buffer: 16 << 10,
        segment,
    };
    let boot = format!("boot {boot}");
    Setup { disk, engine: Engine::Plain, index: None, boot, limits, largest_payload: 600, background: false }
}

/// A number that the environment gives for a long run, or the default.
#[expect(clippy::disallowed_methods, reason = "settings of tests are no settings of `pipe`")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.replace('_', "").parse().ok()).unwrap_or(default)
}

/// The seed of this run: another for every long run that names one.
fn seed() -> Random {
    Random(number("PIPE_TEST_SEED", 1))
}
