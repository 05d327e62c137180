//! Results as ordinary files: a mirror of the present results (`semantics.md` 13, 27 and 28).
//!
//! Runs on a thread of its own, behind the commits. An ownership list in the index says which files are ours; a file
//! that is not, or that somebody edited, is never touched. Files are written whole and renamed into place; bytes are
//! cloned by the file system or copied, never linked into the store. Knows results and paths, nothing of scheduling.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::engine::modules::hash_file;
use crate::error::{Error, Result, io_text};
use crate::hash::Digest;
use crate::model::action::{Output, Place};
use crate::model::document::DocId;
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::store::Store;

const OWNED: &str = "published";
const FOLDERS: &str = "published-folders";

/// The error of a result in whose place something lies that is not ours.
pub const NOT_OURS: &str = "not ours";

/// One file that is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Of the bytes that we wrote.
    pub digest: Digest,
    /// Whose result it is.
    pub doc: DocId,
    /// In which target.
    pub target: String,
}

/// What the publisher is asked to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Show a result.
    Show {
        /// Relative to the project's folder.
        path: String,
        /// Whose.
        owner: Owned,
        /// Where its bytes are.
        bytes: Bytes,
    },
    /// Remove a file that shows nothing any more.
    Withdraw {
        /// Relative to the project's folder.
        path: String,
        /// Whose it was.
        doc: DocId,
        /// In which target.
        target: String,
    },
    /// Remove whatever shows a document's result in a target, but one file: where it was shown is not known any more.
    WithdrawAll {
        /// Whose it was.
        doc: DocId,
        /// In which target.
        target: String,
        /// Where the result is shown from now on.
        but: Option<String>,
    },
}

/// Where the bytes of a result are.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// In the store.
    Stored(Output),
    /// The document's own file.
    Source(PathBuf),
    /// A row.
    Row(std::sync::Arc<[u8]>),
}

/// What came of all jobs.
#[derive(Debug, Default)]
pub struct Published {
    /// Files written.
    pub written: u64,
    /// Files that show nothing any more and could not be removed: path, document, target.
    pub not_withdrawn: Vec<(String, DocId, String)>,
    /// Files removed.
    pub withdrawn: u64,
    /// Results that could not be shown: (document, target, why).
    pub failures: Vec<(DocId, String, Failure)>,
    /// What should be read, as sentences.
    pub notices: Vec<String>,
    /// Results whose bytes were damaged in the store.
    pub damaged: Vec<(DocId, String)>,
    /// Targets of which anything was to be shown or withdrawn.
    pub targets: BTreeSet<String>,
}

/// The thread that publishes.
pub struct Publisher {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    published: Arc<Mutex<Published>>,
}

impl Publisher {
    /// Starts it.
    pub fn start(store: Arc<Store>, root: &Path) -> Result<Self> {
        let (jobs, inbox) = channel();
        let published = Arc::new(Mutex::new(Published::default()));
        let mut work = Work {
            store,
            root: root.to_owned(),
            published: Arc::clone(&published),
            folders: BTreeSet::new(),
            contested: Vec::new(),
            disputed: HashSet::new(),
            disputed_below: HashSet::new(),
            shown: HashSet::new(),
            everything_of: HashMap::new(),
            serial: 0,
        };
        let started = std::thread::Builder::new().name("publish".into()).spawn(move || work.run(&inbox));
        let thread = started.map_err(|e| {
            Error::unfinished("cannot start the thread that publishes").caused_by(io_text(&e))
        })?;
        Ok(Publisher { jobs, thread, published })
    }

    /// Asks for something. Jobs are done in order.
    pub fn ask(&self, job: Job) {
        // The thread ends only after this sender is dropped.
        drop(self.jobs.send(job));
    }

    /// Waits until all is done.
    pub fn finish(self) -> Published {
        drop(self.jobs);
        let ended = self.thread.join();
        let mut published =
            std::mem::take(&mut *self.published.lock().unwrap_or_else(PoisonError::into_inner));
        if ended.is_err() {
            published.notices.push("publishing ended early; `pipe build` shows the rest".to_owned());
        }
        published
    }
}

/// When a path that another result owns is decided about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contest {
    /// That one may still go.
    Later,
    /// It stays.
    Now,
}

struct Work {
    store: Arc<Store>,
    root: PathBuf,
    published: Arc<Mutex<Published>>,
    folders: BTreeSet<PathBuf>,
    /// Results on paths that other results own: decided when all that goes is gone.
    contested: Vec<(String, Owned, Bytes)>,
    /// Paths that two results claim.
    disputed: HashSet<String>,
    /// The folders in which such a path lies: no result can be a file there.
    disputed_below: HashSet<String>,
    /// Hashes of the paths that were written, to take one back that is disputed later.
    shown: HashSet<u64>,
    /// Of these every file goes but one; found in one pass over the ownership list.
    everything_of: HashMap<(DocId, String), Option<String>>,
    serial: u64,
}

impl Work {
    fn run(&mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            self.note(&job);
            match job {
                Job::Show { path, owner, bytes } => self.try_show(&path, &owner, &bytes, Contest::Later),
                Job::Withdraw { path, doc, target } => {
                    self.try_withdraw(&path, &doc, &target);
                    let owner = Owned { digest: Digest::default(), doc, target };
                    self.try_withdraw_below(&path, &owner, &HashSet::new());
                }
                Job::WithdrawAll { doc, target, but } => {
                    self.everything_of.insert((doc, target), but);
                }
            }
        }
        if let Err(error) = self.withdraw_everything() {
            self.notice(format!("cannot withdraw what shows nothing any more: {error}"));
        }
        for (path, owner, bytes) in std::mem::take(&mut self.contested) {
            self.try_show(&path, &owner, &bytes, Contest::Now);
        }
        for folder in std::mem::take(&mut self.folders) {
            if let Err(error) = remember_folder(&self.store, &self.root, &folder) {
                self.notice(error.to_string());
            }
        }
    }

    fn note(&self, job: &Job) {
        let target = match job {
            Job::Show { owner, .. } => &owner.target,
            Job::Withdraw { target, .. } | Job::WithdrawAll { target, .. } => target,
        };
        self.with(|published| {
            if !published.targets.contains(target) {
                published.targets.insert(target.clone());
            }
        });
    }

    fn try_show(&mut self, path: &str, owner: &Owned, bytes: &Bytes, contest: Contest) {
        if let Err(error) = self.show_result(path, owner, bytes, contest) {
            let message = format!("cannot publish `{path}`: {error}");
            self.fail(owner, Failure::new(FailureKind::Lost, "", message));
        }
    }

    /// Shows a file or a folder, on a path where nothing else is shown, nor below it.
    fn show_result(&mut self, path: &str, owner: &Owned, bytes: &Bytes, contest: Contest) -> Result<()> {
        let output = match bytes {
            Bytes::Stored(output) if output.ext == folder::EXT => Some(output),
            _ => None,
        };
        if let Some((above, other)) = self.rival_above(path, owner)? {
            if contest == Contest::Later {
                self.contested.push((path.to_owned(), owner.clone(), bytes.clone()));
                return Ok(());
            }
            self.both_fail(path, owner, &above, &other);
            self.disputed.insert(above.clone());
            self.try_withdraw(&above, &other.doc, &other.target);
            return Ok(());
        }
        if output.is_none() && !self.root.join(path).is_dir() {
            return self.show(path, owner, bytes, contest);
        }
        let (mut is_contested, mut met) = (false, None);
        while let Some((its, other)) = self.rival(path, owner)? {
            // It could not be withdrawn, which is said: it stays, and those behind it, until a build has something to do.
            if met.as_ref() == Some(&its) {
                break;
            }
            met = Some(its.clone());
            if contest == Contest::Later {
                self.contested.push((path.to_owned(), owner.clone(), bytes.clone()));
                return Ok(());
            }
            is_contested = true;
            // Of two folders no file is to blame.
            let its = if output.is_some() { path } else { &its };
            self.both_fail(path, owner, its, &other);
            self.try_withdraw(path, &other.doc, &other.target);
            self.try_withdraw_below(path, &other, &HashSet::new());
        }
        if is_contested {
            return Ok(());
        }
        if self.is_disputed(path, owner) {
            return Ok(());
        }
        if let Some(output) = output {
            return self.show_folder(path, owner, output);
        }
        // A folder may have been shown there.
        self.try_withdraw_below(path, owner, &HashSet::new());
        self.show(path, owner, bytes, contest)
    }

    /// Another result that is shown as a file where a path needs a folder.
    fn rival_above(&self, path: &str, owner: &Owned) -> Result<Option<(String, Owned)>> {
        let is_folder = |path: &str| path.is_empty() || self.root.join(path).is_dir();
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/')
            && !is_folder(folder)
        {
            let is_other = |other: &Owned| (&other.doc, &other.target) != (&owner.doc, &owner.target);
            if let Some(other) = owned(&self.store, folder)?.filter(is_other) {
                return Ok(Some((folder.to_owned(), other)));
            }
            above = folder;
        }
        Ok(None)
    }

    /// Another result that is shown on a path or below it.
    fn rival(&self, path: &str, owner: &Owned) -> Result<Option<(String, Owned)>> {
        let is_other = |other: &Owned| (&other.doc, &other.target) != (&owner.doc, &owner.target);
        let mut found = owned(&self.store, path)?.filter(is_other).map(|other| (path.to_owned(), other));
        if found.is_none() {
            self.store.kept_scan(OWNED, format!("{path}/").as_bytes(), &mut |key, value| {
                let other = serde_json::from_slice::<Owned>(value).ok().filter(is_other);
                found = other.map(|other| (String::from_utf8_lossy(key).into_owned(), other));
                found.is_none()
            })?;
        }
        Ok(found)
    }

    /// Shows a folder: each of its files is one of ours. Those that it has no more go.
    fn show_folder(&mut self, path: &str, owner: &Owned, output: &Output) -> Result<()> {
        let Some((folder, bytes)) = self.store.folder(output)? else {
            self.with(|published| published.damaged.push((owner.doc.clone(), owner.target.clone())));
            return Ok(());
        };
        // A file may have been shown there.
        self.try_withdraw(path, &owner.doc, &owner.target);
        let names: Vec<String> = folder.files.iter().map(|file| format!("{path}/{}", file.shown())).collect();
        self.try_withdraw_below(path, owner, &names.iter().map(String::as_str).collect());
        let told = self.with(|published| published.failures.len());
        for ((file, small), name) in folder.each(&bytes).zip(&names) {
            let owner = Owned { digest: file.digest, ..owner.clone() };
            let bytes = match small {
                Some(small) => Bytes::Row(small.into()),
                None => {
                    let (digest, length, ext) = (file.digest, file.length, String::new());
                    let place = Place::Blob;
                    Bytes::Stored(Output { digest, length, ext, place, meta: String::new() })
                }
            };
            self.show(name, &owner, &bytes, Contest::Later)?;
            let full = self.root.join(name);
            if owned(&self.store, name)?.as_ref() == Some(&owner)
                && let Ok(found) = std::fs::symlink_metadata(&full)
            {
                let mode = found.mode() & 0o7777;
                let wanted = if file.exec { mode | 0o111 } else { mode & !0o111 };
                if found.is_file() && mode != wanted {
                    crate::fs::set_mode(&full, wanted).map_err(|e| Error::io("publish", &full, &e))?;
                }
            }
        }
        // The first that is in the way is what the document failed by; then the next build finds the next.
        self.with(|published| published.failures.truncate(told + 1));
        Ok(())
    }

    /// Withdraws what shows a document's result below a path, but for some files.
    fn try_withdraw_below(&mut self, path: &str, owner: &Owned, but: &HashSet<&str>) {
        let mut gone = Vec::new();
        let scanned = self.store.kept_scan(OWNED, format!("{path}/").as_bytes(), &mut |key, value| {
            let name = String::from_utf8_lossy(key).into_owned();
            if let Ok(owned) = serde_json::from_slice::<Owned>(value)
                && (&owned.doc, &owned.target) == (&owner.doc, &owner.target)
                && !but.contains(name.as_str())
            {
                gone.push(name);
            }
            true
        });
        if let Err(error) = scanned {
            self.notice(format!("cannot withdraw what is below `{path}`: {error}"));
        }
        for name in gone {
            self.try_withdraw(&name, &owner.doc, &owner.target);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Published) -> T) -> T {
        change(&mut self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn notice(&self, text: String) {
        self.with(|published| published.notices.push(text));
    }

    fn show(&mut self, path: &str, owner: &Owned, bytes: &Bytes, contest: Contest) -> Result<()> {
        let full = self.root.join(path);
        if let Some(parent) = full.parent() {
            self.folders.insert(parent.to_owned());
        }
        let owned = owned(&self.store, path)?;
        if let Some(other) =
            owned.as_ref().filter(|other| other.doc != owner.doc || other.target != owner.target)
        {
            if contest == Contest::Later {
                self.contested.push((path.to_owned(), owner.clone(), bytes.clone()));
                return Ok(());
            }
            return self.conflict(path, &full, owner, other);
        }
        if self.is_disputed(path, owner) {
            return Ok(());
        }
        let lies = std::fs::symlink_metadata(&full).is_ok();
        if lies {
            let present = hash_file(&full).ok();
            if present == Some(owner.digest) {
                return own(&self.store, path, owner);
            }
            match &owned {
                Some(owned) if present == Some(owned.digest) => {}
                Some(_) => {
                    self.notice(format!("`{path}` was edited since it was published; it is kept as it is"));
                    return Ok(());
                }
                None => {
                    let message =
                        format!("`{path}` is not a file of ours; move it away, or publish elsewhere");
                    let failure = Failure::new(FailureKind::PathTaken, NOT_OURS, message);
                    self.fail(owner, Failure { in_the_way: Some(path.into()), ..failure });
                    return Ok(());
                }
            }
        }
        // Ours before it is there: a kill in between leaves an owned name without a file, which is mended.
        own(&self.store, path, owner)?;
        if self.write(&full, owner, bytes)? {
            self.shown.insert(short(path));
            self.with(|published| published.written += 1);
        } else {
            self.with(|published| published.damaged.push((owner.doc.clone(), owner.target.clone())));
        }
        Ok(())
    }

    fn fail(&self, owner: &Owned, failure: Failure) {
        self.with(|published| published.failures.push((owner.doc.clone(), owner.target.clone(), failure)));
    }

    /// Whether two results claimed the path already; then this one fails as well.
    fn is_disputed(&self, path: &str, owner: &Owned) -> bool {
        let mut above = Some(path);
        let mut is_disputed = self.disputed_below.contains(path);
        while let Some(path) = above.filter(|_| !is_disputed) {
            is_disputed = self.disputed.contains(path);
            above = path.rsplit_once('/').map(|(folder, _)| folder);
        }
        if is_disputed {
            let message = format!("`{path}` is also that of other results; none is published");
            self.fail(owner, Failure::new(FailureKind::PathTaken, "", message));
        }
        is_disputed
    }

    /// Two results on one path: neither is shown.
    fn conflict(&mut self, path: &str, full: &Path, owner: &Owned, other: &Owned) -> Result<()> {
        self.both_fail(path, owner, path, other);
        if hash_file(full).ok() == Some(other.digest) {
            crate::fs::remove_file(full)?;
            let is_new = self.shown.remove(&short(path));
            self.with(|published| if is_new { published.written -= 1 } else { published.withdrawn += 1 });
        }
        self.store.drop_kept(OWNED, path.as_bytes())
    }

    fn both_fail(&mut self, path: &str, owner: &Owned, its: &str, other: &Owned) {
        let message = |(mine, owner): (&str, &Owned), (theirs, other): (&str, &Owned)| {
            let of = format!("{} ({})", other.doc, other.target);
            let text = if mine == theirs {
                format!("`{mine}` is also that of {of}; neither is published")
            } else {
                format!("`{mine}` cannot be there beside `{theirs}` of {of}; neither is published")
            };
            (owner.clone(), Failure::new(FailureKind::PathTaken, "", text))
        };
        let (mine, theirs) = ((path, owner), (its, other));
        for (of, failure) in [message(mine, theirs), message(theirs, mine)] {
            let known = |published: &Published| {
                published.failures.iter().any(|(doc, target, _)| *doc == of.doc && *target == of.target)
            };
            if !self.with(|published| known(published)) {
                self.fail(&of, failure);
            }
        }
        self.disputed.insert(path.to_owned());
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            self.disputed_below.insert(folder.to_owned());
            above = folder;
        }
    }

    /// Writes it whole, then renames it into place. False if the bytes in the store are damaged.
    fn write(&mut self, full: &Path, owner: &Owned, bytes: &Bytes) -> Result<bool> {
        let parent = full.parent().unwrap_or(&self.root);
        crate::fs::create_dir(parent)?;
        self.serial += 1;
        // In the store's scratch folder, which is emptied after a kill.
        let temporary = self.store.tmp().join(format!("publish-{}", self.serial));
        let written = self.write_to(&temporary, bytes, owner);
        if !matches!(written, Ok(true)) {
            crate::fs::remove_file(&temporary)?;
            return written;
        }
        move_into_place(&temporary, full)?;
        Ok(true)
    }

    fn write_to(&self, temporary: &Path, bytes: &Bytes, owner: &Owned) -> Result<bool> {
        let copy = |from: &Path| -> Result<bool> {
            // The standard library's copy clones the file where the file system can.
            std::fs::copy(from, temporary).map_err(|e| Error::io("copy", from, &e))?;
            Ok(hash_file(temporary)? == owner.digest)
        };
        match bytes {
            Bytes::Source(path) => copy(path),
            Bytes::Row(bytes) => {
                crate::fs::write_scratch(temporary, bytes)?;
                Ok(Digest::of(bytes) == owner.digest)
            }
            // Another length is enough to know, and a copy of what it claims to be could fill the disk.
            Bytes::Stored(output)
                if output.place == Place::Blob && !self.store.has_blob(&output.digest, output.length) =>
            {
                Ok(false)
            }
            Bytes::Stored(output) if output.place == Place::Blob => {
                copy(&self.store.blob_path(&output.digest))
            }
            Bytes::Stored(output) => match self.store.output_bytes(output)? {
                Some(bytes) => crate::fs::write_scratch(temporary, &bytes).map(|()| true),
                None => Ok(false),
            },
        }
    }

    fn try_withdraw(&mut self, path: &str, doc: &DocId, target: &str) {
        if let Err(error) = self.withdraw(path, doc, target) {
            self.notice(format!("cannot withdraw `{path}`: {error}"));
            let kept = (path.to_owned(), doc.clone(), target.to_owned());
            self.with(|published| published.not_withdrawn.push(kept));
        }
    }

    fn withdraw_everything(&mut self) -> Result<()> {
        let of = std::mem::take(&mut self.everything_of);
        if of.is_empty() {
            return Ok(());
        }
        for (path, owned) in all_owned(&self.store)? {
            let owner = (owned.doc, owned.target);
            let is_it = |but: &String| path == *but || is_below(&path, but);
            if of.get(&owner).is_some_and(|but| !but.as_ref().is_some_and(is_it)) {
                self.try_withdraw(&path, &owner.0, &owner.1);
            }
        }
        Ok(())
    }

    fn withdraw(&mut self, path: &str, doc: &DocId, target: &str) -> Result<()> {
        let Some(owned) = owned(&self.store, path)? else { return Ok(()) };
        if owned.doc != *doc || owned.target != target {
            return Ok(());
        }
        let full = self.root.join(path);
        if let Some(parent) = full.parent() {
            self.folders.insert(parent.to_owned());
        }
        crate::fs::remove_file(&beside(&full))?;
        match hash_file(&full) {
            Ok(present) if present == owned.digest => {
                crate::fs::remove_file(&full)?;
                // One that was shown in this build and is disputed was never published.
                let is_new = self.shown.remove(&short(path));
                self.with(|published| if is_new { published.written -= 1 } else { published.withdrawn += 1 });
                remove_empty_folders(&self.root, full.parent());
            }
            Ok(_) => self.notice(format!("`{path}` shows nothing any more, but was edited; it is kept")),
            Err(_) => {}
        }
        self.store.drop_kept(OWNED, path.as_bytes())
    }
}

/// Whether a path lies in a folder.
pub fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Renames a file that is whole into its place, and makes the folders for it. The file goes whatever happens.
pub(super) fn move_into_place(temporary: &Path, full: &Path) -> Result<()> {
    if let Some(parent) = full.parent() {
        crate::fs::create_dir(parent)?;
    }
    match std::fs::rename(temporary, full) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            let beside = beside(full);
            // Of a kill: never written through, it might be a link by now.
            crate::fs::remove_file(&beside)?;
            let moved = std::fs::copy(temporary, &beside).and_then(|_| std::fs::rename(&beside, full));
            crate::fs::remove_file(temporary)?;
            if let Err(e) = moved {
                crate::fs::remove_file(&beside)?;
                return Err(Error::io("publish", full, &e));
            }
            Ok(())
        }
        done => done.map_err(|e| Error::io("publish", full, &e)),
    }
}

/// Where a file is copied that comes from another file system, before it has its name. A function of that name: what a
/// kill leaves there is replaced when the file is shown after all, and goes with it when it is not.
pub(super) fn beside(full: &Path) -> PathBuf {
    let name = full.file_name().unwrap_or_default();
    let digest = Digest::of(std::os::unix::ffi::OsStrExt::as_bytes(name)).hex();
    full.with_file_name(format!(".pipe-publish-{}", &digest[..16]))
}

/// Folders that publishing emptied go too, up to the project's own.
pub(super) fn remove_empty_folders(root: &Path, folder: Option<&Path>) {
    let mut folder = folder;
    while let Some(path) = folder
        && path != root
        && path.starts_with(root)
        && std::fs::remove_dir(path).is_ok()
    {
        folder = path.parent();
    }
}

/// Says that a published path is ours.
pub fn own(store: &Store, path: &str, owner: &Owned) -> Result<()> {
    store.keep(OWNED, path.as_bytes(), &serde_json::to_vec(owner).unwrap_or_default())
}

/// Who owns a published path.
pub fn owned(store: &Store, path: &str) -> Result<Option<Owned>> {
    let kept = store.kept(OWNED, path.as_bytes())?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// Every file that is ours.
pub fn all_owned(store: &Store) -> Result<Vec<(String, Owned)>> {
    let mut all = Vec::new();
    visit_owned(store, &mut |path, owned| all.push((path.to_owned(), owned)))?;
    Ok(all)
}

/// Shows every file that is ours.
pub fn visit_owned(store: &Store, visit: &mut dyn FnMut(&str, Owned)) -> Result<()> {
    store.kept_scan(OWNED, b"", &mut |key, value| {
        if let Ok(owned) = serde_json::from_slice(value) {
            visit(&String::from_utf8_lossy(key), owned);
        }
        true
    })
}

fn folder_stamp(path: &Path) -> Option<[i64; 5]> {
    let metadata = std::fs::metadata(path).ok()?;
    let inode = metadata.ino() as i64;
    Some([metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec(), inode])
}

fn remember_folder(store: &Store, root: &Path, folder: &Path) -> Result<()> {
    let rel = folder.strip_prefix(root).unwrap_or(folder);
    let key = rel.as_os_str().as_encoded_bytes();
    match folder_stamp(folder) {
        Some(stamp) => store.keep(FOLDERS, key, &serde_json::to_vec(&stamp).unwrap_or_default()),
        None => store.drop_kept(FOLDERS, key),
    }
}

/// A path in eight bytes.
fn short(path: &str) -> u64 {
    crate::hash::Digest::of(path.as_bytes()).prefix()
}

/// Published files that are missing, found with one stat for each folder written into. `None`: the ownership list is
/// not there (the index was built again), so everything published must be shown again.
pub fn missing(store: &Store, root: &Path) -> Result<Vec<(String, Owned)>> {
    let mut changed = Vec::new();
    store.kept_scan(FOLDERS, b"", &mut |key, value| {
        let rel = String::from_utf8_lossy(key).into_owned();
        let stamp: Option<[i64; 5]> = serde_json::from_slice(value).ok();
        if folder_stamp(&root.join(&rel)) != stamp {
            changed.push(rel);
        }
        true
    })?;
    let mut missing = Vec::new();
    for folder in changed {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let before = missing.len();
        store.kept_scan(OWNED, prefix.as_bytes(), &mut |key, value| {
            let path = String::from_utf8_lossy(key).into_owned();
            let direct = path.get(prefix.len()..).is_some_and(|rest| !rest.contains('/'));
            if direct
                && std::fs::symlink_metadata(root.join(&path)).is_err()
                && let Ok(owned) = serde_json::from_slice(value)
            {
                missing.push((path, owned));
            }
            true
        })?;
        if missing.len() == before {
            remember_folder(store, root, &root.join(&folder))?;
        }
    }
    Ok(missing)
}
