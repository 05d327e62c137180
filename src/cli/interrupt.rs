//! Ctrl-C and SIGTERM: counted, so that the first asks for an orderly end and the second ends at once.

use std::sync::OnceLock;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engine::Interrupts;
use crate::error::{Error, Result};

/// The requests to stop that this process gets, from now on.
pub(super) fn watch() -> Result<&'static Interrupts> {
    static INTERRUPTS: OnceLock<Interrupts> = OnceLock::new();
    if let Some(watched) = INTERRUPTS.get() {
        return Ok(watched);
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|e| Error::unfinished("cannot listen to signals").caused_by(e))?;
    let interrupts = INTERRUPTS.get_or_init(Interrupts::default);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            interrupts.add(signal);
        }
    });
    Ok(interrupts)
}
