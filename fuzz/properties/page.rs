//! The decoder of index pages, docs/design/index.md. The first byte of the input says whether the rest is closed with
//! a checksum that is right.

use pipelinefile::probe;

const KEY: &[u8] = b"in\0a\0\0";

pub(crate) fn check(data: &[u8]) {
    let Some((mode, page)) = data.split_first() else { return };
    let mut page = page.to_vec();
    if mode & 1 == 1 {
        seal(&mut page);
    }
    let Ok(entries) = super::bounded(data, 4 << 10, 400, || probe::page_entries(KEY, &page)) else { return };
    assert_eq!(probe::page_entries(KEY, &probe::page_of(KEY, &entries)), Ok(entries));
}

/// `crc32c 4 | version 1 | …`; the checksum covers the key too.
pub(crate) fn seal(page: &mut [u8]) {
    if page.len() > 4 {
        page[4] = 1;
        let sum = crc32c::crc32c_append(crc32c::crc32c(KEY), &page[4..]);
        page[..4].copy_from_slice(&sum.to_le_bytes());
    }
}
