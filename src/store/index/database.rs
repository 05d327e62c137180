//! What the index asks of a sorted map on disk. Knows nothing of what it stores.

pub(super) mod plain;
mod sled;

pub use self::sled::panics_are_caught;
pub(super) use self::sled::{Bytes, Sled};
use super::Unusable;

/// What is kept apart: each has a tree of its own, so that reading one never touches the others.
#[derive(Clone, Copy)]
pub(super) enum Space {
    /// Pages of documents.
    Pages,
    /// Small caches of others.
    Kept,
    /// What the index says of itself.
    Own,
}

/// Shows a key and its value; whether it has seen enough.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&Bytes, Bytes) -> Result<bool, Unusable>;

/// A sorted map on disk. The first trouble ends its use.
pub(super) trait Database: Send + Sync {
    /// What lies under a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Unusable>;
    /// The greatest key that is not above `key`.
    fn at_or_before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable>;
    /// The greatest key below `key`.
    fn before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable>;
    /// The least key that is not below `key`.
    fn at_or_after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable>;
    /// The least key above `key`.
    fn after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable>;
    /// Shows everything whose key begins with `prefix`, in order, until `visit` says stop.
    fn each(&self, space: Space, prefix: &[u8], visit: Visit<'_>) -> Result<(), Unusable>;
    /// Writes one value.
    fn insert(&self, space: Space, key: &[u8], value: Vec<u8>) -> Result<(), Unusable>;
    /// Removes one value.
    fn remove(&self, space: Space, key: &[u8]) -> Result<(), Unusable>;
    /// Removes and writes several values, all or none; dearer than one by one, and readers wait meanwhile.
    fn replace(
        &self,
        space: Space,
        removed: &[Bytes],
        written: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Unusable>;
    /// Hands everything to the kernel: it survives a kill, not a power cut.
    fn flush(&self) -> Result<(), Unusable>;
    /// Writes out everything, and syncs all files.
    fn sync(&self) -> Result<(), Unusable>;
    /// Bytes of all its files.
    fn size(&self) -> u64;
}
