//! A folder as a result: the list of its files with their digests, and the bytes of the small ones.
//!
//! Names, lengths, digests and whether a file can be run, in byte order of the names; nothing that differs from run to
//! run, so equal folders have equal bytes. Large files are blobs of their own. `docs/design/store.md` has the format.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::model::document::unescape_name;

/// The extension of a folder: no file's can be that.
pub const EXT: &str = "/";

/// Files up to this size lie in the folder's own bytes.
pub const SMALL: u64 = 16 * 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the folder, each name escaped as in an id.
    pub path: String,
    /// In bytes.
    pub length: u64,
    /// Of its bytes.
    pub digest: Digest,
    /// It is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
}

impl File {
    /// Whether its bytes are a blob of their own.
    pub fn is_blob(&self) -> bool {
        self.length > SMALL
    }

    /// Its path on disk.
    pub fn on_disk(&self) -> PathBuf {
        unescape_name(&self.path).into()
    }

    /// Its path where it is shown: as on disk, but for what no text can hold.
    pub fn shown(&self) -> String {
        match unescape_name(&self.path).into_string() {
            Ok(name) if !name.chars().any(char::is_control) => name,
            _ => self.path.clone(),
        }
    }
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// In byte order of their paths.
    pub files: Vec<File>,
    /// For each file: where its bytes are in those of the folder; nothing for a blob.
    small: Vec<Option<Range<usize>>>,
}

#[derive(Serialize, Deserialize)]
struct First {
    pipe_folder: u32,
    files: u64,
}

impl Folder {
    /// All bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// In words.
    pub fn words(&self) -> String {
        let files = crate::text::count(self.files.len() as u64, "file");
        format!("{files}, {}", crate::text::size(self.bytes()))
    }

    /// Each file, with its bytes if they are in those of the folder.
    pub fn each<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a File, Option<&'a [u8]>)> {
        let small = self.small.iter().map(|range| range.clone().and_then(|range| bytes.get(range)));
        self.files.iter().zip(small)
    }
}

/// The bytes of a folder of these files; the small ones with theirs. Before: in byte order of their paths.
pub fn write(files: &[(File, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut line = |value: &[u8]| {
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    };
    let first = First { pipe_folder: 1, files: files.len() as u64 };
    line(&serde_json::to_vec(&first).unwrap_or_default());
    for (file, _) in files {
        line(&serde_json::to_vec(file).unwrap_or_default());
    }
    for (_, small) in files.iter().filter(|(file, _)| !file.is_blob()) {
        bytes.extend_from_slice(small);
    }
    bytes
}

/// Reads a folder; nothing if it is none that this version knows.
pub fn read(bytes: &[u8]) -> Option<Folder> {
    let mut at = 0;
    let mut line = || {
        let length = bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + length];
        at += length + 1;
        Some(line)
    };
    let first: First = serde_json::from_slice(line()?).ok()?;
    if first.pipe_folder != 1 {
        return None;
    }
    let mut files = Vec::new();
    for _ in 0..first.files {
        let file: File = serde_json::from_slice(line()?).ok()?;
        if !is_inside(&file.path) {
            return None;
        }
        files.push(file);
    }
    let mut small = Vec::with_capacity(files.len());
    for file in &files {
        if file.is_blob() {
            small.push(None);
            continue;
        }
        let end = at.checked_add(usize::try_from(file.length).ok()?)?;
        if end > bytes.len() {
            return None;
        }
        small.push(Some(at..end));
        at = end;
    }
    Some(Folder { files, small })
}

/// What tools and file managers leave in folders, and no module reads.
const LEFT_BY_TOOLS: &[&str] = &[
    ".DS_Store",
    ".cache",
    ".git",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pipe",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    "__pycache__",
];

/// Whether a name below a folder that a user names with `file:` counts. What is hidden does as well: a module sees it. Not
/// what tools leave there, nor the marks of editors (`.#name`, `.name.swp`) and of file systems (`.nfs…`).
pub fn counts_in_shared(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let is_mark = bytes.starts_with(b".#")
        || bytes.starts_with(b".nfs")
        || bytes.starts_with(b".") && bytes.ends_with(b".swp");
    !is_mark && !LEFT_BY_TOOLS.iter().any(|left| name == *left)
}

/// Whether a path leads nowhere but into its folder.
pub fn is_inside(path: &str) -> bool {
    let name = unescape_name(path);
    let parts = name.as_encoded_bytes().split(|byte| *byte == b'/');
    parts.into_iter().all(|part| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> (File, Vec<u8>) {
        let (length, digest) = (bytes.len() as u64, Digest::of(bytes));
        let small = if length > SMALL { Vec::new() } else { bytes.to_vec() };
        (File { path: path.to_owned(), length, digest, exec: path == "run" }, small)
    }

    #[test]
    fn a_folder_reads_back_and_its_bytes_stay() {
        let large = vec![7; SMALL as usize + 1];
        let files = [file("a.txt", b"a"), file("b/large", &large), file("c", b""), file("run", b"#!\n")];
        let bytes = write(&files);
        let digest = |at: usize| files[at].0.digest.hex();
        let golden = format!(
            "{{\"pipe_folder\":1,\"files\":4}}\n\
             {{\"path\":\"a.txt\",\"length\":1,\"digest\":\"{}\"}}\n\
             {{\"path\":\"b/large\",\"length\":16385,\"digest\":\"{}\"}}\n\
             {{\"path\":\"c\",\"length\":0,\"digest\":\"{}\"}}\n\
             {{\"path\":\"run\",\"length\":3,\"digest\":\"{}\",\"exec\":true}}\na#!\n",
            digest(0),
            digest(1),
            digest(2),
            digest(3)
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), golden);
        let folder = read(&bytes).unwrap();
        assert_eq!(folder.words(), "4 files, 16.0 KiB");
        let small: Vec<Option<&[u8]>> = folder.each(&bytes).map(|(_, small)| small).collect();
        assert_eq!(small, [Some(&b"a"[..]), None, Some(b""), Some(b"#!\n")]);
        assert_eq!(read(&write(&[])).unwrap().files, []);
    }

    #[test]
    fn what_is_no_folder_or_leads_out_of_it_is_none() {
        for wrong in
            [&b""[..], b"{}\n", b"{\"pipe_folder\":2,\"files\":0}\n", b"{\"pipe_folder\":1,\"files\":9}\n"]
        {
            assert_eq!(read(wrong), None);
        }
        let mut cut = write(&[file("a", b"abc")]);
        cut.pop();
        assert_eq!(read(&cut), None);
        for path in ["../a", "/a", "a//b", "", "a/..", "a%00", "%2E%2E/a"] {
            assert_eq!(read(&write(&[file(path, b"")])), None, "{path}");
        }
    }

    #[test]
    fn names_are_shown_as_they_are_if_a_text_can_hold_them() {
        let shown = |path: &str| file(path, b"").0.shown();
        assert_eq!(shown("100%25 %23.txt"), "100% #.txt");
        assert_eq!(shown("a%FFb/c%0A"), "a%FFb/c%0A");
    }
}
