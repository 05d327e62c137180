//! What is kept of a code file from one build to the next, so that an unchanged file is not read again.
//!
//! An entry holds the stamp under which the file was read, the digest of what it says and the names that it imports; not
//! what these names meant, for that changes when another file appears. Entries are derived: one that cannot be read
//! is as good as none. The format is in `docs/design/fingerprint.md`. Knows nothing of where entries are kept.

use std::collections::HashMap;
use std::fs::Metadata;
use std::hash::BuildHasher;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::code::imports::Import;
use crate::hash::Digest;

/// Raised whenever the format changes, or what counts as an import or as said does.
const VERSION: u32 = 3;

/// Where entries are kept, each under the path of its file, relative to the project.
pub trait Cache {
    /// The entry of a file.
    fn get(&mut self, file: &str) -> Option<Vec<u8>>;
    /// Keeps the entry of a file in place of its last one.
    fn put(&mut self, file: &str, entry: Vec<u8>);
}

/// Keeps entries in memory; as good as no cache at all.
impl<S: BuildHasher> Cache for HashMap<String, Vec<u8>, S> {
    fn get(&mut self, file: &str) -> Option<Vec<u8>> {
        HashMap::get(self, file).cloned()
    }

    fn put(&mut self, file: &str, entry: Vec<u8>) {
        self.insert(file.to_owned(), entry);
    }
}

/// What the file system says of a file: equal stamps, equal bytes, unless it was changed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        FileStamp {
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether a file with this stamp, read at `now_ns`, surely has another one after its next change: what changed less
    /// than `window` nanoseconds before may change again under the same stamp.
    pub(super) fn is_settled(&self, window: i128, now_ns: i128) -> bool {
        i128::from(self.mtime_ns.max(self.ctime_ns)) + window <= now_ns
    }
}

/// What is known of one file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) digest: Digest,
    /// Empty for what is not Python.
    pub(super) imports: Vec<Import>,
    /// Of a script's metadata block (PEP 723), which the digest leaves out; nothing if there is none.
    pub(super) block: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    stamp: FileStamp,
    digest: Digest,
    imports: Vec<Import>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<Digest>,
}

pub(super) fn encode(stamp: FileStamp, facts: &Facts) -> Vec<u8> {
    let Facts { digest, imports, block } = facts.clone();
    let entry = Entry { version: VERSION, stamp, digest, imports, block };
    serde_json::to_vec(&entry).unwrap_or_default()
}

/// The facts of an entry that was made under this very stamp.
pub(super) fn decode(entry: &[u8], stamp: FileStamp) -> Option<Facts> {
    let entry: Entry = serde_json::from_slice(entry).ok()?;
    let holds = entry.version == VERSION && entry.stamp == stamp;
    holds.then_some(Facts { digest: entry.digest, imports: entry.imports, block: entry.block })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: FileStamp =
        FileStamp { size: 12, mtime_ns: 1_700_000_000_000_000_001, ctime_ns: -5, inode: 7 };

    fn facts() -> Facts {
        let import = Import { level: 1, module: "a.b".to_owned(), names: vec!["c".to_owned()] };
        Facts { digest: Digest([0xab; 32]), imports: vec![import], block: None }
    }

    #[test]
    fn golden_entry() {
        let golden = concat!(
            r#"{"version":3,"stamp":{"size":12,"mtime_ns":1700000000000000001,"ctime_ns":-5,"inode":7},"#,
            r#""digest":"abababababababababababababababababababababababababababababababab","#,
            r#""imports":[{"level":1,"module":"a.b","names":["c"]}]}"#
        );
        assert_eq!(String::from_utf8(encode(STAMP, &facts())).unwrap(), golden);
        assert_eq!(decode(golden.as_bytes(), STAMP), Some(facts()));
        assert_eq!(decode(golden.replace("\"version\":3", "\"version\":2").as_bytes(), STAMP), None);
    }

    #[test]
    fn another_stamp_means_unknown() {
        let entry = encode(STAMP, &facts());
        for other in [
            FileStamp { size: 13, ..STAMP },
            FileStamp { mtime_ns: 0, ..STAMP },
            FileStamp { ctime_ns: 0, ..STAMP },
            FileStamp { inode: 8, ..STAMP },
        ] {
            assert_eq!(decode(&entry, other), None);
        }
    }

    #[test]
    fn a_file_changed_a_moment_ago_is_not_settled() {
        let changed = STAMP.mtime_ns.into();
        assert!(!STAMP.is_settled(20, changed));
        assert!(!STAMP.is_settled(20, changed + 19));
        assert!(STAMP.is_settled(20, changed + 20));
        assert!(!STAMP.is_settled(20, 0), "a stamp in the future is never trusted");
    }

    proptest! {
        #[test]
        fn damaged_entries_are_no_entries(at in 0usize..200, bit in 0u8..8) {
            let mut entry = encode(STAMP, &facts());
            let at = at % entry.len();
            entry[at] ^= 1 << bit;
            // Whatever it says now, it is read without a panic.
            drop(decode(&entry, STAMP));
            prop_assert_eq!(decode(&entry[..at], STAMP), None);
        }
    }
}
