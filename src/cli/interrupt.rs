//! Ctrl-C, SIGTERM, SIGHUP: counted; SIGUSR1 asks how far a build is. The first asks for an orderly end, the second ends what is in hand, the third the process.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::engine::Interrupts;
use crate::error::{Error, Result};

/// The request that nothing is waited for any more.
const AT_ONCE: usize = 3;

/// From now on a file that may not grow (`ulimit -f`) is an error of the write, and no end of the process.
pub(super) fn survive_file_limits() {
    let happened = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, happened) {
        tracing::debug!(%error, "a limit of file sizes will end the process");
    }
}

/// The requests to stop that this process gets, from now on.
pub(super) fn watch() -> Result<&'static Interrupts> {
    static INTERRUPTS: OnceLock<Interrupts> = OnceLock::new();
    if let Some(watched) = INTERRUPTS.get() {
        return Ok(watched);
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])
        .map_err(|e| Error::unfinished("cannot listen to signals").caused_by(e))?;
    let interrupts = INTERRUPTS.get_or_init(Interrupts::default);
    let listen = move || {
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                interrupts.ask();
                continue;
            }
            interrupts.add(signal);
            // A disk that does not answer can hold up whatever would end in order.
            if interrupts.seen().is_some_and(|(_, count)| count >= AT_ONCE) {
                low_level::exit(128 + signal);
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map_err(|e| Error::unfinished("cannot start the thread that listens to signals").caused_by(e))?;
    Ok(interrupts)
}
