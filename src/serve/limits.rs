//! What one server takes on at a time: more is refused, with a word on when to come again.

use std::time::Duration;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request.
    pub request: u64,
    /// Documents in hand.
    pub documents: usize,
    /// Processes of one module; absent: as the module states, or as many as there are cores.
    pub workers: usize,
}

/// The most documents of one request.
pub(super) const DOCUMENTS_OF_A_REQUEST: usize = 256;
/// Bytes of all requests that are in memory, in units of a KiB.
pub(super) const MEMORY_KIB: usize = 1024 * 1024;
/// Connections at a time.
pub(super) const CONNECTIONS: usize = 512;
/// For the head of a request.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// For a TLS handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the body of a request.
pub(super) const BODY: Duration = Duration::from_secs(120);
/// A reply says at least so often that somebody is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// When to come again.
pub(super) const RETRY_AFTER: u64 = 1;
/// The hard limit of one document where nobody states one.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// So many setups of a module (params, side inputs) are kept ready at once.
pub(super) const CREWS: usize = 16;
/// Of what one document printed, so much goes back.
pub(super) const LOG: u64 = 64 * 1024;

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Limits { request: 256 << 20, documents: 256, workers: cores }
    }
}
