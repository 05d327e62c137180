//! What the engine says while it works: one typed stream, many listeners.
