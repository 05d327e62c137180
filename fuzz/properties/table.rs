//! The reader of sorted tables, docs/design/index.md. The first byte of the input says whether each page of the rest is
//! closed with a checksum that is right; then a table is looked at that only its entries, fences or counts make wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipelinefile::model::action::Position;
use pipelinefile::store::disk::RealDisk;
use pipelinefile::store::tables::Finder;

/// Of the store that the seeds belong to.
pub(crate) const SALT: u64 = 0x1122_3344_5566_7788;
const PAGE: usize = 4096;
const PAYLOAD: usize = PAGE - 4;
const ENTRY: usize = 12;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder can be made");
}

pub(crate) fn check(data: &[u8]) {
    let Some((mode, table)) = data.split_first() else { return };
    let mut table = table.to_vec();
    if mode & 1 == 1 {
        let at = |at: usize| -> u64 {
            table
                .get(at..at + 8)
                .map_or(0, |eight| u64::from_le_bytes(eight.try_into().expect("there are eight")))
        };
        let (from, to) = (at(24), at(32));
        for (number, page) in table.chunks_exact_mut(PAGE).enumerate() {
            let parts = [SALT, from, to, number as u64];
            let seed = parts.iter().fold(0, |seed, part| crc32c::crc32c_append(seed, &part.to_le_bytes()));
            let sum = crc32c::crc32c_append(seed, &page[..PAYLOAD]);
            page[PAYLOAD..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    FOLDER.with(|folder| look_up(folder.path(), &table));
}

fn look_up(dir: &Path, table: &[u8]) {
    let at = |at: usize| -> u64 {
        table
            .get(at..at + 8)
            .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("there are eight")))
    };
    let path: PathBuf = dir.join(format!("{:012x}-{:012x}.tab", at(24), at(32)));
    std::fs::write(&path, table).expect("the temporary folder can be written to");
    let (mut finder, covered) =
        super::bounded(table, 128 << 10, 8, || Finder::open(Arc::new(RealDisk), dir, SALT))
            .expect("a table that is wrong is no error");
    if covered > Position(0) {
        assert_eq!(covered, Position(at(32)));
        let entries: Vec<(u64, u64)> =
            table.chunks_exact(PAGE).skip(1).flat_map(entries).take(2000).collect();
        for key in entries.iter().step_by(7).map(|(key, _)| *key).chain([0, 1 << 47, (1 << 48) - 1]) {
            let mut seen = 0;
            let found = finder.candidates(key << 16, &mut |position| {
                assert!(
                    entries.contains(&(key, position.0)) || entries.len() == 2000,
                    "{position:?} of no entry"
                );
                seen += 1;
                false
            });
            assert!(seen <= table.len() / ENTRY, "an entry is shown once");
            let Err(hole) = found else { continue };
            assert_eq!(hole.to, covered);
            finder.refilled(hole);
            break;
        }
        // What is merged with it later must not trip over it either.
        finder.insert(77 << 16, covered);
        finder.write_table(Position(covered.0.saturating_add(1))).expect("tables can be written");
    }
    for entry in std::fs::read_dir(dir).expect("the folder is there") {
        std::fs::remove_file(entry.expect("it can be read").path()).expect("it can be removed");
    }
}

/// Everything on a page that could be an entry: key and position, six bytes each, big endian.
fn entries(page: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let six = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    page[..PAYLOAD].chunks_exact(ENTRY).map(move |entry| (six(&entry[..6]), six(&entry[6..])))
}
