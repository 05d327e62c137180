//! What a scan found, packed: a first scan of a million files holds little more than their names.
//!
//! Directories are kept apart and woven together in byte order of ids only when they are read. Names contain no
//! control characters (they are escaped), so a line feed ends one.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::scan::Known;

/// A document that is not simply up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its directory relative to the source, escaped; empty at the top.
    pub dir: Arc<str>,
    /// Its file name, escaped.
    pub name: Box<str>,
    /// What is to be done about it.
    pub kind: Kind,
}

impl Found {
    /// Its path relative to the source, escaped: `id.rel`.
    pub fn rel(&self) -> String {
        join(&self.dir, &self.name)
    }
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never seen, or gone before.
    New,
    /// Its stamp differs.
    Changed(Known),
    /// Its stamp holds, but that proves nothing, or something other than the file asks for a look.
    Untrusted(Known),
    /// It is no longer there.
    Gone(Known),
}

/// Everything that differs, in byte order of ids.
#[derive(Debug, Default)]
pub struct Differences {
    /// Sorted by [`directory_order`], each directory once.
    directories: Vec<Block>,
    length: usize,
}

/// What differs in one directory or in a stretch of its names, in order of names.
#[derive(Debug)]
pub(super) struct Block {
    dir: Arc<str>,
    stretch: usize,
    kinds: Vec<Tag>,
    /// The names of the new ones, each ended by a line feed.
    new: String,
    known: Vec<Known>,
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    New,
    Changed,
    Untrusted,
    Gone,
}

impl Block {
    /// Of stretches, those with a greater number have the greater names.
    pub(super) fn of(dir: Arc<str>, stretch: usize) -> Self {
        Block { dir, stretch, kinds: Vec::new(), new: String::new(), known: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds the next document. Before: its name is greater than all others here.
    pub(super) fn push_new(&mut self, name: &str) {
        self.kinds.push(Tag::New);
        self.new.push_str(name);
        self.new.push('\n');
    }

    pub(super) fn push_changed(&mut self, known: Known) {
        self.push(Tag::Changed, known);
    }

    pub(super) fn push_untrusted(&mut self, known: Known) {
        self.push(Tag::Untrusted, known);
    }

    pub(super) fn push_gone(&mut self, known: Known) {
        self.push(Tag::Gone, known);
    }

    fn push(&mut self, tag: Tag, known: Known) {
        self.kinds.push(tag);
        self.known.push(known);
    }

    fn append(&mut self, next: Block) {
        self.kinds.extend(next.kinds);
        self.new.push_str(&next.new);
        self.known.extend(next.known);
    }
}

impl Differences {
    /// Before: no two blocks are of the same stretch.
    pub(super) fn new(mut blocks: Vec<Block>) -> Self {
        blocks.sort_unstable_by(|a, b| directory_order(&a.dir, &b.dir).then(a.stretch.cmp(&b.stretch)));
        let length = blocks.iter().map(|block| block.kinds.len()).sum();
        let mut directories: Vec<Block> = Vec::with_capacity(blocks.len());
        for block in blocks {
            match directories.last_mut() {
                Some(last) if last.dir == block.dir => last.append(block),
                _ => directories.push(block),
            }
        }
        Differences { directories, length }
    }

    /// How many documents differ.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The documents in byte order of their ids.
    pub fn iter(&self) -> Iter<'_> {
        Iter { waiting: self.directories.iter(), open: Vec::new(), left: self.length }
    }
}

impl<'a> IntoIterator for &'a Differences {
    type Item = Found;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes down the tree and up again: a directory's documents are interrupted by those of directories inside it.
pub struct Iter<'a> {
    waiting: std::slice::Iter<'a, Block>,
    /// Each lies below the one before it.
    open: Vec<Cursor<'a>>,
    left: usize,
}

struct Cursor<'a> {
    block: &'a Block,
    kinds: usize,
    new: usize,
    known: usize,
}

impl<'a> Cursor<'a> {
    fn of(block: &'a Block) -> Self {
        Cursor { block, kinds: 0, new: 0, known: 0 }
    }

    fn name(&self) -> Option<&'a str> {
        match self.block.kinds.get(self.kinds)? {
            Tag::New => self.block.new[self.new..].split('\n').next(),
            _ => self.block.known.get(self.known).map(|known| known.name.as_str()),
        }
    }

    fn take(&mut self) -> Option<Found> {
        let name = self.name()?;
        let known = || self.block.known[self.known].clone();
        let tag = self.block.kinds[self.kinds];
        let kind = match tag {
            Tag::New => Kind::New,
            Tag::Changed => Kind::Changed(known()),
            Tag::Untrusted => Kind::Untrusted(known()),
            Tag::Gone => Kind::Gone(known()),
        };
        self.kinds += 1;
        match tag {
            Tag::New => self.new += name.len() + 1,
            _ => self.known += 1,
        }
        Some(Found { dir: Arc::clone(&self.block.dir), name: name.into(), kind })
    }
}

impl Iterator for Iter<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let next = self.waiting.as_slice().first();
            let Some(top) = self.open.last_mut() else {
                self.open.push(Cursor::of(self.waiting.next()?));
                continue;
            };
            let below = next.and_then(|next| below(&next.dir, &top.block.dir));
            match (top.name(), below) {
                (Some(name), Some(dir)) if compare_as_directory(dir, name) == Ordering::Greater => {}
                (_, Some(_)) => {
                    self.open.extend(self.waiting.next().map(Cursor::of));
                    continue;
                }
                (Some(_), None) => {}
                (None, None) => {
                    self.open.pop();
                    continue;
                }
            }
            self.left = self.left.saturating_sub(1);
            return top.take();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// The order in which directories are walked: that of their ids, each ended by `/`, the top first.
pub(super) fn directory_order(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let shared = a.len().min(b.len());
            a[..shared].cmp(&b[..shared]).then_with(|| {
                let ended = |path: &[u8]| *path.get(shared).unwrap_or(&b'/');
                ended(a).cmp(&ended(b)).then(a.len().cmp(&b.len()))
            })
        }
    }
}

/// The part of `path` below `dir`, if it lies there.
pub(super) fn below<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    if dir.is_empty() {
        return (!path.is_empty()).then_some(path);
    }
    path.strip_prefix(dir)?.strip_prefix('/')
}

/// `dir/name`, or the name alone at the top.
pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Compares `dir/` with a name of a file: are the documents in `dir` before or behind it?
fn compare_as_directory(dir: &str, name: &str) -> Ordering {
    dir.bytes().chain(std::iter::once(b'/')).cmp(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn differences(paths: &[String]) -> Differences {
        let mut blocks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in paths {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            blocks.entry(dir).or_default().push(name);
        }
        let pack = |(dir, mut names): (&str, Vec<&str>)| {
            names.sort_unstable();
            let mut block = Block::of(dir.into(), 0);
            for name in names {
                block.push_new(name);
            }
            block
        };
        Differences::new(blocks.into_iter().map(pack).collect())
    }

    #[test]
    fn a_directory_counts_as_its_name_with_a_slash() {
        let paths = ["a-b", "a/x", "a/x/y", "a/x-", "a0", "b/-/c", "b/+"].map(str::to_owned);
        let read: Vec<String> = differences(&paths).iter().map(|found| found.rel()).collect();
        assert_eq!(read, ["a-b", "a/x", "a/x-", "a/x/y", "a0", "b/+", "b/-/c"]);
        assert_eq!(directory_order("", "-"), Ordering::Less);
        assert_eq!(directory_order("a", "a-b"), Ordering::Greater);
        assert_eq!(directory_order("a", "a/b"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn documents_come_in_byte_order_of_ids(
            paths in proptest::collection::btree_set("[a+/0]{1,3}(/[a+0]{1,3}){0,4}", 0..60)
        ) {
            let clean = |path: &String| !path.starts_with('/') && !path.contains("//") && !path.ends_with('/');
            let paths: Vec<String> = paths.into_iter().filter(clean).collect();
            let found = differences(&paths);
            prop_assert_eq!(found.len(), paths.len());
            let read: Vec<String> = found.iter().map(|found| found.rel()).collect();
            prop_assert_eq!(read, paths);
        }
    }
}
