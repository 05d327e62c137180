//! Results as they are handed over: hashed, small ones in memory, large ones in a file to be taken over.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::hash::{Digest, StreamHasher};
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::model::pipeline::SplitLimits;
use crate::module::base64;
use crate::module::children::files_below;
use crate::module::enclosure::{self, Found};
use crate::module::protocol::OutputFrame;
use crate::module::report::{Done, LargeFile, Output, OutputBody};

/// A file up to this size is read into memory: it will lie in the log, not in a file of its own.
const IN_MEMORY: u64 = 256 * 1024;

/// Where the results of a slot go.
pub(super) struct Place<'a> {
    /// The document's scratch folder: a file in it is ours to move, any other is copied. Asked for when there is a file:
    /// most results are none.
    pub(super) ours: &'a dyn Fn() -> PathBuf,
    /// Of a container: the folder that it may write to. Its results lie there, and no link in it is followed.
    pub(super) within: Option<&'a Path>,
    /// Where a file that must not vanish with its document's scratch folder goes. Unique.
    pub(super) keep: &'a dyn Fn() -> PathBuf,
    /// The extension that results get, whatever the module says.
    pub(super) ext: Option<&'a str>,
}

impl Place<'_> {
    /// What a worker's answer carries; `behind`: what follows its line, if something may.
    pub(super) fn of_frame(&self, frame: OutputFrame<'_>, behind: Option<&[u8]>) -> Done {
        let meta = match &frame.meta {
            Some(meta) if !meta.is_empty() => {
                serde_json::to_string(meta).expect("a JSON object can be written")
            }
            _ => String::new(),
        };
        let stated = frame.ext;
        let done = |body: OutputBody, ext: &str| {
            if matches!(body, OutputBody::Folder { .. }) {
                return match self.ext.or(stated.as_deref().filter(|ext| !ext.is_empty())) {
                    Some(ext) => Done::Failed(extended(ext)),
                    None => Done::Output(Output { body, ext: folder::EXT.to_owned(), meta: meta.clone() }),
                };
            }
            let ext = self.ext.or(stated.as_deref()).unwrap_or(ext);
            let ext = ext.trim_start_matches('.').to_lowercase();
            if !is_extension(&ext) {
                return bad_reply(format!("`{ext}` is no extension"));
            }
            Done::Output(Output { body, ext, meta: meta.clone() })
        };
        let forms = [
            frame.text.is_some(),
            frame.json.is_some(),
            frame.base64.is_some(),
            frame.length.is_some(),
            frame.path.is_some(),
            frame.same,
            frame.children.is_some(),
        ];
        if forms.iter().filter(|form| **form).count() != 1 {
            return bad_reply("an output carries one of text, json, base64, path or same");
        }
        if let Some(text) = frame.text {
            done(in_memory(text.into_bytes()), "txt")
        } else if let Some(json) = frame.json {
            done(in_memory(json.get().as_bytes().to_vec()), "json")
        } else if let Some(text) = frame.base64 {
            match base64::decode(&text) {
                Ok(bytes) => done(in_memory(bytes), "bin"),
                Err(problem) => bad_reply(problem),
            }
        } else if frame.length.is_some() {
            match behind {
                Some(bytes) => done(in_memory(bytes.to_vec()), "bin"),
                None => bad_reply("`length` is for answers of workers that were offered it"),
            }
        } else if let Some(path) = frame.path {
            let ext =
                path.extension().map_or_else(|| "bin".to_owned(), |ext| ext.to_string_lossy().into_owned());
            match self.take_file(&path) {
                Ok(body) => done(body, &ext),
                Err(failure) => Done::Failed(failure),
            }
        } else if frame.same {
            done(OutputBody::Same, "")
        } else {
            let children = OutputBody::Children(frame.children.unwrap_or_default());
            Done::Output(Output { body: children, ext: String::new(), meta })
        }
    }

    /// A folder that a program made: the list of its files, the small ones in it.
    fn take_folder(&self, folder: &Path) -> Result<OutputBody, Failure> {
        let lost = |path: &Path, error: &io::Error| {
            let message = format!("cannot keep `{}`: {}", path.display(), crate::error::io_text(error));
            Failure::new(FailureKind::Lost, "lost", message)
        };
        let (mut files, mut large) = (Vec::new(), Vec::new());
        let (ours, keep) = ((self.ours)(), (self.keep)());
        let none = SplitLimits { count: u64::MAX, size: u64::MAX, total: u64::MAX };
        for (name, path) in files_below(folder, &none)? {
            // A container may still be at work: a folder that was listed may be a link by now.
            let held = self.within.map(|_| enclosure::find(folder, &path)).transpose();
            let held = held.map_err(|e| not_taken(&path, &e))?;
            let path = held.as_ref().map_or(path.as_path(), Found::path).to_owned();
            let mut file = File::open(&path).map_err(|e| lost(&path, &e))?;
            let meta = file.metadata().map_err(|e| lost(&path, &e))?;
            let exec = meta.permissions().mode() & 0o100 != 0;
            let mut bytes = Vec::new();
            (&file).take(folder::SMALL + 1).read_to_end(&mut bytes).map_err(|e| lost(&path, &e))?;
            if bytes.len() as u64 <= folder::SMALL {
                let (length, digest) = (bytes.len() as u64, Digest::of(&bytes));
                files.push((folder::File { path: name, length, digest, exec }, bytes));
                continue;
            }
            let keep = keep.with_extension(format!("{}.file", large.len()));
            let (digest, length) = if path.starts_with(&ours) && std::fs::rename(&path, &keep).is_ok() {
                let kept = File::open(&keep).map_err(|e| lost(&keep, &e))?;
                copy_hashed(kept, &mut io::sink()).map_err(|e| lost(&keep, &e))?
            } else {
                let mut copy = File::create(&keep).map_err(|e| lost(&keep, &e))?;
                file.seek(io::SeekFrom::Start(0)).map_err(|e| lost(&path, &e))?;
                copy_hashed(file, &mut copy).map_err(|e| lost(&path, &e))?
            };
            files.push((folder::File { path: name, length, digest, exec }, Vec::new()));
            large.push(LargeFile { path: keep, digest });
        }
        let bytes = folder::write(&files);
        Ok(OutputBody::Folder { digest: Digest::of(&bytes), bytes, large })
    }

    /// A file or folder that a program made. Before: nobody writes to it any more.
    pub(super) fn take_file(&self, path: &Path) -> Result<OutputBody, Failure> {
        let missing = |error: &io::Error| not_taken(path, error);
        let held = self.within.map(|folder| enclosure::find(folder, path)).transpose();
        let held = held.map_err(|e| missing(&e))?;
        // By the descriptor: it is what was looked at, and never moved.
        let path = held.as_ref().map_or(path, Found::path);
        let meta = std::fs::symlink_metadata(path).map_err(|e| missing(&e))?;
        let kind = std::fs::metadata(path).map_err(|e| missing(&e))?;
        if kind.is_dir() {
            return self.take_folder(path);
        }
        let lost = |error: &io::Error| {
            let message = format!("cannot keep `{}`: {}", path.display(), crate::error::io_text(error));
            Failure::new(FailureKind::Lost, "lost", message)
        };
        // Before it is opened: a named pipe would keep us waiting.
        if !kind.is_file() {
            return Err(missing(&io::Error::other("it is no ordinary file")));
        }
        let file = File::open(path).map_err(|e| missing(&e))?;
        if kind.len() <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(kind.len() as usize);
            // One more than fits: a file that grows while it is read is large after all.
            (&file).take(IN_MEMORY + 1).read_to_end(&mut bytes).map_err(|e| missing(&e))?;
            if bytes.len() as u64 <= IN_MEMORY {
                return Ok(in_memory(bytes));
            }
        }
        // Only a plain file of the scratch folder is ours to move; whatever else is named stays where it is.
        let keep = (self.keep)();
        if meta.is_file() && path.starts_with((self.ours)()) && std::fs::rename(path, &keep).is_ok() {
            let kept = File::open(&keep).map_err(|e| lost(&e))?;
            let (digest, length) = copy_hashed(kept, &mut io::sink()).map_err(|e| lost(&e))?;
            return Ok(OutputBody::File { path: keep, digest, length });
        }
        let mut copy = File::create(&keep).map_err(|e| lost(&e))?;
        let file = File::open(path).map_err(|e| missing(&e))?;
        let (digest, length) = copy_hashed(file, &mut copy).map_err(|e| lost(&e))?;
        Ok(OutputBody::File { path: keep, digest, length })
    }
}

/// A file that a program made, or says that it made, and that cannot be taken.
pub(super) fn not_taken(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot take the result `{}`: {}", path.display(), crate::error::io_text(error));
    // Of a disk that cannot be read, or for want of descriptors, nothing follows for the document.
    if crate::error::is_passing(error) {
        return Failure::new(FailureKind::Lost, "lost", message);
    }
    Failure::new(FailureKind::OutputMissing, "output missing", message)
}

/// An extension was asked for, and a folder came.
pub(super) fn extended(ext: &str) -> Failure {
    let message = format!("`ext = \"{ext}\"` is for files, and the result is a folder");
    Failure::new(FailureKind::ModuleError, "no file", message)
}

fn in_memory(bytes: Vec<u8>) -> OutputBody {
    let digest = Digest::of(&bytes);
    OutputBody::Bytes { bytes, digest }
}

fn copy_hashed(mut from: File, to: &mut impl Write) -> io::Result<(Digest, u64)> {
    let mut hasher = StreamHasher::default();
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), length)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Safe as the end of a file's name; may be empty.
fn is_extension(ext: &str) -> bool {
    ext.len() <= 32 && ext.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'))
}

/// An answer that is none.
pub(super) fn bad_reply(message: impl Into<String>) -> Done {
    Done::Failed(Failure::new(FailureKind::BadReply, "bad reply", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed<T>(tmp: &Path, take: impl FnOnce(Place<'_>) -> T) -> T {
        take(Place { ours: &|| tmp.to_owned(), within: None, keep: &|| tmp.join("kept"), ext: None })
    }

    fn frame(json: &str) -> OutputFrame<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_form_has_its_extension() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("x.PDF")).unwrap();
        let path = format!("{{\"path\":{:?}}}", dir.path().join("x.PDF"));
        let forms = [
            ("{\"text\":\"a\"}", "txt"),
            ("{\"json\":[1]}", "json"),
            ("{\"base64\":\"AA==\"}", "bin"),
            ("{\"same\":true}", ""),
            ("{\"text\":\"a\",\"ext\":\".Html\"}", "html"),
            (path.as_str(), "pdf"),
        ];
        for (json, ext) in forms {
            match placed(dir.path(), |place| place.of_frame(frame(json), None)) {
                Done::Output(output) => assert_eq!(output.ext, ext, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_carries_nothing_or_too_much_is_a_bad_reply() {
        let dir = tempfile::tempdir().unwrap();
        let forms =
            ["{}", "{\"text\":\"a\",\"json\":1}", "{\"base64\":\"*\"}", "{\"text\":\"a\",\"ext\":\"../x\"}"];
        for json in forms {
            match placed(dir.path(), |place| place.of_frame(frame(json), None)) {
                Done::Failed(failure) => assert_eq!(failure.kind, FailureKind::BadReply, "{json}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_large_file_of_ours_is_moved_and_one_of_the_users_copied() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bytes = vec![7; 300_000];
        for (dir, stays) in [(&ours, false), (&theirs, true)] {
            let path = dir.path().join("result.bin");
            crate::fs::write_scratch(&path, &bytes).unwrap();
            let body = placed(ours.path(), |place| place.take_file(&path)).unwrap();
            let kept = ours.path().join("kept");
            assert_eq!(
                body,
                OutputBody::File { path: kept.clone(), digest: Digest::of(&bytes), length: 300_000 }
            );
            assert_eq!(path.exists(), stays);
            assert_eq!(crate::fs::read(&kept).unwrap(), bytes);
        }
    }

    #[test]
    fn a_folder_is_taken_file_by_file_and_links_in_it_are_refused() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let large = vec![7; 20_000];
        let mut digests = Vec::new();
        for dir in [&ours, &theirs] {
            let made = dir.path().join("made");
            crate::fs::create_dir(&made.join("sub")).unwrap();
            crate::fs::write_scratch(&made.join("sub/large.bin"), &large).unwrap();
            crate::fs::write_scratch(&made.join("small"), b"x").unwrap();
            crate::fs::set_mode(&made.join("small"), 0o755).unwrap();
            let taken = placed(ours.path(), |place| place.take_file(&made)).unwrap();
            let OutputBody::Folder { bytes, digest, large: kept } = taken else { panic!("{taken:?}") };
            digests.push(digest);
            let folder = folder::read(&bytes).unwrap();
            let names: Vec<_> = folder.files.iter().map(|file| (file.path.as_str(), file.exec)).collect();
            assert_eq!(names, [("small", true), ("sub/large.bin", false)]);
            assert_eq!(crate::fs::read(&kept[0].path).unwrap(), large);
            assert_eq!(made.join("sub/large.bin").exists(), dir.path() == theirs.path());
        }
        assert_eq!(digests[0], digests[1]);
        std::os::unix::fs::symlink("/etc/passwd", theirs.path().join("made/link")).unwrap();
        let refused = placed(ours.path(), |place| place.take_file(&theirs.path().join("made"))).unwrap_err();
        assert!(refused.message.contains("`link`"), "{}", refused.message);
        let path = format!("{{\"path\":{:?},\"ext\":\"html\"}}", ours.path());
        match placed(ours.path(), |place| place.of_frame(frame(&path), None)) {
            Done::Failed(failure) => assert!(failure.message.contains("is for files"), "{}", failure.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_file_and_a_device_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |path: &Path| placed(dir.path(), |place| place.take_file(path)).unwrap_err().kind;
        assert_eq!(kind(&dir.path().join("none")), FailureKind::OutputMissing);
        assert_eq!(kind(Path::new("/dev/null")), FailureKind::OutputMissing);
    }
}
