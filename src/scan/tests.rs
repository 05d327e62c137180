//! Scans of real folders.
