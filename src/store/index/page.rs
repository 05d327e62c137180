//! A page: the entries of up to a few hundred documents of one directory, sorted by name.
//!
//! Layout (little endian): `crc32c 4 | version 1 | spare 1 | count 2 | settled, racy, failed, blocked, skipped, gone 2
//! each | entries`. The checksum covers the page's key too, so a page in a wrong place does not pass. Entry: `flags 1 |
//! shared | length | rest of the name | stamp 8 | number | definition | story`; integers are varints. The name shares
//! its first bytes with the one before; numbers and stories are differences to those before. Knows nothing of sled.

use super::Unusable;
use crate::model::action::Position;
use crate::model::document::{DocNumber, Stamp};

/// The version of the format.
const VERSION: u8 = 1;
/// Bytes before the entries.
const HEADER: usize = 20;
/// No entry takes fewer: flags, three varints, a stamp.
const SHORTEST: usize = 12;
/// The definition is the one of the entry before.
const SAME_DEFINITION: u8 = 1 << 6;
/// The number is one more than that of the entry before.
const NEXT_NUMBER: u8 = 1 << 7;

/// What the index knows of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its id.
    pub name: String,
    /// How it stands.
    pub flags: Flags,
    /// Of the source file, when its content was last read.
    pub stamp: Stamp,
    /// Its number.
    pub doc: DocNumber,
    /// The definition that its story was written under.
    pub definition: Position,
    /// Its newest story.
    pub story: Position,
}

/// How a document stands, in short: its story says more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a bit on disk")]
pub struct Flags {
    /// Every target is decided for good.
    pub settled: bool,
    /// Its stamp is too fresh to be trusted.
    pub racy: bool,
    /// It failed in some target.
    pub failed: bool,
    /// It is blocked in some target.
    pub blocked: bool,
    /// It was skipped in some target.
    pub skipped: bool,
    /// It is gone from its source.
    pub gone: bool,
}

impl Flags {
    fn all(self) -> [bool; 6] {
        [self.settled, self.racy, self.failed, self.blocked, self.skipped, self.gone]
    }

    fn code(self) -> u8 {
        self.all().iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum()
    }

    fn from_code(code: u8) -> Self {
        let [settled, racy, failed, blocked, skipped, gone] =
            [0, 1, 2, 3, 4, 5].map(|bit| code & 1 << bit != 0);
        Flags { settled, racy, failed, blocked, skipped, gone }
    }
}

/// How many entries there are, and how many have each flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// All entries, also those of documents that are gone.
    pub documents: u64,
    /// With `settled`.
    pub settled: u64,
    /// With `racy`.
    pub racy: u64,
    /// With `failed`.
    pub failed: u64,
    /// With `blocked`.
    pub blocked: u64,
    /// With `skipped`.
    pub skipped: u64,
    /// With `gone`.
    pub gone: u64,
}

impl Sums {
    /// Adds the sums of other pages.
    pub fn add(&mut self, other: Sums) {
        self.documents += other.documents;
        self.settled += other.settled;
        self.racy += other.racy;
        self.failed += other.failed;
        self.blocked += other.blocked;
        self.skipped += other.skipped;
        self.gone += other.gone;
    }

    /// Takes away the sums of pages that are no more. Before: they are in it.
    pub(super) fn take(&mut self, other: Sums) {
        self.documents -= other.documents;
        self.settled -= other.settled;
        self.racy -= other.racy;
        self.failed -= other.failed;
        self.blocked -= other.blocked;
        self.skipped -= other.skipped;
        self.gone -= other.gone;
    }
}

/// The checksum of what lies under a key.
pub(super) fn checksum(key: &[u8], body: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(key), body).to_le_bytes()
}

/// Builds a page, entry by entry in order of name.
pub(super) struct Encoder {
    bytes: Vec<u8>,
    count: u16,
    sums: [u16; 6],
    name: String,
    doc: u32,
    definition: u64,
    story: u64,
}

impl Encoder {
    /// An empty page.
    pub(super) fn new() -> Self {
        let bytes = vec![0; HEADER];
        Encoder { bytes, count: 0, sums: [0; 6], name: String::new(), doc: 0, definition: 0, story: 0 }
    }

    /// How long the page is so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no entry yet.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an entry; there are never more than a few thousand.
    pub(super) fn push(&mut self, entry: &Entry) {
        let same_definition = !self.is_empty() && entry.definition.0 == self.definition;
        let next_number = !self.is_empty() && Some(entry.doc.0) == self.doc.checked_add(1);
        let mut code = entry.flags.code();
        code |= if same_definition { SAME_DEFINITION } else { 0 };
        code |= if next_number { NEXT_NUMBER } else { 0 };
        self.bytes.push(code);
        let shared = shared_length(&self.name, &entry.name);
        let rest = &entry.name.as_bytes()[shared..];
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, rest.len() as u64);
        self.bytes.extend_from_slice(rest);
        self.bytes.extend_from_slice(&entry.stamp.0.to_le_bytes());
        if !next_number {
            put_varint(&mut self.bytes, zigzag(i64::from(entry.doc.0) - i64::from(self.doc)));
        }
        if !same_definition {
            put_varint(&mut self.bytes, entry.definition.0);
        }
        put_varint(&mut self.bytes, zigzag(entry.story.0.wrapping_sub(self.story) as i64));
        self.count += 1;
        for (sum, set) in self.sums.iter_mut().zip(entry.flags.all()) {
            *sum += u16::from(set);
        }
        self.name.truncate(shared);
        self.name.push_str(&entry.name[shared..]);
        (self.doc, self.definition, self.story) = (entry.doc.0, entry.definition.0, entry.story.0);
    }

    /// The page as it lies under `key`.
    pub(super) fn finish(mut self, key: &[u8]) -> Vec<u8> {
        self.bytes[4] = VERSION;
        self.bytes[6..8].copy_from_slice(&self.count.to_le_bytes());
        for (place, sum) in self.bytes[8..HEADER].chunks_exact_mut(2).zip(self.sums) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        let sum = checksum(key, &self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&sum);
        self.bytes
    }
}

/// A page that is read, entry by entry, without holding more than one.
pub(super) struct Page<B> {
    bytes: B,
    at: usize,
    left: u16,
    entry: Entry,
}

impl<B: AsRef<[u8]>> Page<B> {
    /// Opens the page that lies under `key`.
    pub(super) fn open(key: &[u8], bytes: B) -> Result<Self, Unusable> {
        let page = bytes.as_ref();
        let whole = page.len() >= HEADER && page[..4] == checksum(key, &page[4..]);
        if !whole {
            return Err(Unusable::new("a page does not match its checksum"));
        }
        if page[4] != VERSION {
            return Err(Unusable::new(format!("a page has format {}, not {VERSION}", page[4])));
        }
        let left = u16::from_le_bytes([page[6], page[7]]);
        let entry = Entry {
            name: String::new(),
            flags: Flags::default(),
            stamp: Stamp(0),
            doc: DocNumber(0),
            definition: Position(0),
            story: Position(0),
        };
        Ok(Page { bytes, at: HEADER, left, entry })
    }

    /// The sums in the header.
    pub(super) fn sums(&self) -> Sums {
        let page = self.bytes.as_ref();
        let sum = |index: usize| u64::from(u16::from_le_bytes([page[6 + 2 * index], page[7 + 2 * index]]));
        Sums {
            documents: sum(0),
            settled: sum(1),
            racy: sum(2),
            failed: sum(3),
            blocked: sum(4),
            skipped: sum(5),
            gone: sum(6),
        }
    }

    /// Moves to the next entry; says whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Unusable> {
        if self.left == 0 {
            return Ok(false);
        }
        let mut rest = &self.bytes.as_ref()[self.at..];
        let before = rest.len();
        read_entry(&mut rest, &mut self.entry).ok_or_else(|| Unusable::new("a page cannot be read"))?;
        self.at += before - rest.len();
        self.left -= 1;
        Ok(true)
    }

    /// The entry that [`Self::advance`] moved to.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// All that are left.
    pub(super) fn read_all(mut self, entries: &mut Vec<Entry>) -> Result<(), Unusable> {
        // A count is believed as far as there are bytes for it.
        let most = self.bytes.as_ref().len().saturating_sub(self.at) / SHORTEST;
        entries.reserve(usize::from(self.left).min(most));
        while self.advance()? {
            entries.push(self.entry.clone());
        }
        Ok(())
    }
}

/// The page with these entries, in order of name, as it lies under `key`.
pub(crate) fn encode(key: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    for entry in entries {
        encoder.push(entry);
    }
    encoder.finish(key)
}

/// All entries of the page that lies under `key`.
pub(crate) fn decode(key: &[u8], page: &[u8]) -> Result<Vec<Entry>, Unusable> {
    let mut entries = Vec::new();
    Page::open(key, page)?.read_all(&mut entries)?;
    Ok(entries)
}

/// Reads what follows the entry that is in `entry`.
fn read_entry(rest: &mut &[u8], entry: &mut Entry) -> Option<()> {
    let code = take(rest, 1)?[0];
    let shared = usize::try_from(take_varint(rest)?).ok()?;
    let length = usize::try_from(take_varint(rest)?).ok()?;
    if shared > entry.name.len() || !entry.name.is_char_boundary(shared) {
        return None;
    }
    entry.name.truncate(shared);
    entry.name.push_str(std::str::from_utf8(take(rest, length)?).ok()?);
    entry.flags = Flags::from_code(code);
    entry.stamp = Stamp(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?));
    let step = if code & NEXT_NUMBER == 0 { unzigzag(take_varint(rest)?) } else { 1 };
    entry.doc = DocNumber(u32::try_from(i64::from(entry.doc.0).checked_add(step)?).ok()?);
    if code & SAME_DEFINITION == 0 {
        entry.definition = Position(take_varint(rest)?);
    }
    entry.story = Position(entry.story.0.wrapping_add(unzigzag(take_varint(rest)?) as u64));
    Some(())
}

/// How many bytes two names share at their beginning, whole characters only.
fn shared_length(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !b.is_char_boundary(shared) || !a.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, flags: Flags, numbers: (u64, u32, u64, u64)) -> Entry {
        let (stamp, doc, definition, story) = numbers;
        Entry {
            name: name.to_owned(),
            flags,
            stamp: Stamp(stamp),
            doc: DocNumber(doc),
            definition: Position(definition),
            story: Position(story),
        }
    }

    fn three() -> Vec<Entry> {
        let settled = Flags { settled: true, ..Flags::default() };
        let failed = Flags { settled: true, failed: true, racy: true, ..Flags::default() };
        vec![
            entry("bericht-1.pdf", settled, (0x0102_0304_0506_0708, 7, 0x1000_0040, 0x1000_0200)),
            entry("bericht-2.pdf", failed, (1, 8, 0x1000_0040, 0x1000_0280)),
            entry("größe.pdf", Flags { gone: true, ..Flags::default() }, (2, 3, 0x40, 0x1000_0100)),
        ]
    }

    #[test]
    fn golden_bytes() {
        let page = encode(b"in\0a\0\0", &three());
        let hex: Vec<String> = page.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), GOLDEN);
        assert_eq!(decode(b"in\0a\0\0", &page).unwrap(), three());
    }

    const GOLDEN: &str = concat!(
        "9c082095010003000200010001000000000001",
        "0001000d626572696368742d312e70646608070605040302010ec0808080018088808002",
        "c70805322e70646601000000000000008002",
        "20000b6772c3b6c39f652e70646602000000000000000940ff05",
    );

    #[test]
    fn any_changed_byte_is_noticed() {
        let page = encode(b"k", &three());
        for at in 0..page.len() {
            for bit in 0..8 {
                let mut damaged = page.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(b"k", &damaged).is_err(), "byte {at}, bit {bit}");
            }
            assert!(decode(b"k", &page[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(b"other", &page).is_err(), "a page in a wrong place");
    }

    #[test]
    fn the_header_has_the_sums() {
        let page = encode(b"k", &three());
        let sums = Page::open(b"k", page).unwrap().sums();
        let expected = Sums { documents: 3, settled: 2, racy: 1, failed: 1, blocked: 0, skipped: 0, gone: 1 };
        assert_eq!(sums, expected);
    }

    #[test]
    fn an_entry_is_small() {
        let entries: Vec<Entry> = (0..150)
            .map(|n| {
                let flags = Flags { settled: true, ..Flags::default() };
                entry(
                    &format!("scan-{n:06}.pdf"),
                    flags,
                    (u64::from(n) << 50, n, 0x1000_0040, u64::from(n) * 90 + (1 << 30)),
                )
            })
            .collect();
        assert!(encode(b"k", &entries).len() < 150 * 34);
    }

    proptest! {
        #[test]
        fn pages_go_there_and_back(
            names in proptest::collection::btree_set("[a-cß/é]{0,12}", 0..40),
            numbers in proptest::collection::vec(any::<(u64, u32, u64, u64)>(), 40),
            codes in proptest::collection::vec(0u8..64, 40),
        ) {
            let entries: Vec<Entry> = names.iter().zip(numbers).zip(codes)
                .map(|((name, numbers), code)| entry(name, Flags::from_code(code), numbers)).collect();
            prop_assert_eq!(decode(b"k", &encode(b"k", &entries)).unwrap(), entries);
        }

        #[test]
        fn garbage_with_a_good_checksum_is_refused_or_read_but_never_panics(body in proptest::collection::vec(any::<u8>(), 16..80)) {
            let mut page = vec![0; 4];
            page.extend(body);
            page[4] = VERSION;
            let sum = checksum(b"k", &page[4..]);
            page[..4].copy_from_slice(&sum);
            drop(decode(b"k", &page));
        }
    }
}
