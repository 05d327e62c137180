//! A project's modules over HTTP: described, and run for whoever has the token.
//!
//! ```text
//! listen ── connections, TLS, the graceful end
//!   └ routes ── tokens, limits, what is asked
//!       ├ offer ── the modules, and what code they have now
//!       └ crew ── the slots of one module, as in a build; `request`, `answer` translate
//! ```
//!
//! Runs modules by the same slots as a build (`crate::module`); knows nothing of targets, stores and keys. The owner of
//! axum, tokio and hyper. `docs/reference/http-protocol.md` has what goes over the wire.

mod answer;
mod crew;
mod limits;
mod listen;
mod offer;
mod reply;
mod request;
mod routes;
mod tokens;

pub use limits::Limits;
pub use listen::{Server, Settings, Tls};
pub use routes::{OPENAPI, ROUTES};
pub use tokens::Tokens;
