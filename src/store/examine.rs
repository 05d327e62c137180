//! The whole store read once: every frame, every output against its digest, tables and pages. For `pipe doctor`.
//!
//! Finds what is damaged and whose results that were, sets those aside for good, and makes the index again from the
//! log. The log itself is never changed: a stretch of it that cannot be read stays, and is known from then on.
//! Knows nothing of pipelines: which results anybody still wants is asked. `docs/guide/when-the-disk-fails.md`.

mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Outcome, Output, Place, Position, Story};
use crate::model::folder;
use crate::store::blobs::Blobs;
use crate::store::facade::Store;
use crate::store::format::Format;
use crate::store::frame::{Frame, FrameRef};
use crate::store::index::{Entry, Home, Index};
use crate::store::lock::{Lock, holder};
use crate::store::opening::{Derived, Setup};
use crate::store::recover::{Damage, replay};
use crate::store::segment::Segments;
use crate::store::tables;

pub use sample::{Share, sample};

/// So many frames between two words about progress.
const TELL_EVERY: u64 = 1024;

/// What something damaged is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stretch of the log: nobody knows what it held.
    Log,
    /// The bytes of a result that lie in the log.
    Result,
    /// The bytes of a result in a file of their own.
    Blob,
    /// A table of keys; made again.
    Table,
    /// The index; made again.
    Index,
    /// A source file whose bytes changed though its stamp did not.
    Source,
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
    /// Where, relative to the store.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

/// A result that has to be made again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Affected {
    /// Whose.
    pub doc: String,
    /// In which target.
    pub target: String,
}

/// What an examination found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Examination {
    /// Frames of the log that are whole.
    pub frames: u64,
    /// Results whose bytes were hashed.
    pub results: u64,
    /// And how many bytes that were.
    pub bytes: u64,
    /// Results that were not among those to be hashed.
    pub unread: u64,
    /// Source files that were hashed.
    pub sources: u64,
    /// Tables of keys.
    pub tables: u64,
    /// Pages of the index.
    pub pages: u64,
    /// What is damaged and was not known.
    pub faults: Vec<Fault>,
    /// Stretches of the log that were found damaged before.
    pub known: u64,
    /// The results that the next build makes again.
    pub affected: Vec<Affected>,
    /// Documents of sources that the new index has.
    pub documents: u64,
    /// And results of sets.
    pub sets: u64,
}

impl Examination {
    /// Whether nothing has to be said.
    pub fn is_fine(&self) -> bool {
        self.faults.is_empty() && self.affected.is_empty()
    }
}

/// What came of trying to examine a store.
pub enum Examining {
    /// It was examined, and is open.
    Done(Arc<Store>, Examination),
    /// Another process has it; its process id, if it wrote one.
    Held(Option<String>),
}

/// How an examination is asked for.
pub struct Asked<'a> {
    /// Whether anybody still wants the results of (family, target).
    pub is_wanted: &'a dyn Fn(&str, &str) -> bool,
    /// Told now and then: what is being read, how many bytes of it were, and how many there are.
    pub tell: &'a mut dyn FnMut(&str, u64, u64),
    /// The command line, kept with what is set aside.
    pub command: Vec<String>,
}

/// Examines the store in `dir`, sets damaged results aside and makes the index again.
pub fn examine(dir: &Path, asked: &mut Asked<'_>) -> Result<Examining> {
    let setup = Setup::real();
    if Format::read(&*setup.disk, dir)?.is_none() {
        return Err(no_store(dir));
    }
    let Some(lock) = Lock::try_take(dir)? else { return Ok(Examining::Held(holder(dir))) };
    let (store, found) = examine_locked(&setup, dir, Some(lock), asked)?;
    Ok(Examining::Done(store, found))
}

fn no_store(dir: &Path) -> Error {
    Error::no_match(format!("there is no store in `{}` yet", dir.display())).hint("pipe build")
}

/// Examines the store whose lock is taken.
pub(super) fn examine_locked(
    setup: &Setup,
    dir: &Path,
    lock: Option<Lock>,
    asked: &mut Asked<'_>,
) -> Result<(Arc<Store>, Examination)> {
    let disk = Arc::clone(&setup.disk);
    let format = Format::read(&*disk, dir)?.ok_or_else(|| no_store(dir))?;
    let mut found = Examination::default();
    let segments = Segments::new(Arc::clone(&disk), dir, format);
    let blobs = Blobs::new(Arc::clone(&disk), dir);
    let log = read_log(&segments, &blobs, asked, &mut found)?;
    check_other_blobs(&blobs, &log, &mut found)?;
    (asked.tell)("tables and index", 0, 0);
    let (count, damaged) = tables::examine(&disk, &dir.join("tables"), format.salt)?;
    found.tables = count;
    found.faults.extend(damaged.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let problem = "it does not match its checksums; it is made again".to_owned();
        Fault { kind: Kind::Table, place: format!("tables/{name}"), problem }
    }));
    let kept = read_index(&setup.home(dir, &format), log.end, &mut found);
    let (store, _) = Store::open_locked(setup, dir, lock, Derived::Anew)?;
    store.index.keep_again(kept)?;
    set_aside(&store, &log, asked, &mut found)?;
    Ok((store, found))
}

/// What reading the log brought to light.
struct Log {
    /// Where it ends.
    end: Position,
    /// Stretches that cannot be read.
    damage: Vec<Damage>,
    /// Records whose outputs are gone or wrong.
    hurt: BTreeSet<Position>,
    /// What was set aside before.
    bad: HashSet<Position>,
    /// Every blob that a record names, and whether it is right.
    blobs: HashMap<Digest, bool>,
}

fn read_log(
    segments: &Segments,
    blobs: &Blobs,
    asked: &mut Asked<'_>,
    found: &mut Examination,
) -> Result<Log> {
    let mut log = Log::new();
    let sizes = sizes(segments)?;
    let total = sizes.values().sum();
    let mut failed = None;
    let mut unreadable = Vec::new();
    let replayed = replay(segments, Position(0), None, &mut |_, frame| {
        if found.frames.is_multiple_of(TELL_EVERY) {
            let before: u64 =
                sizes.iter().filter(|(n, _)| **n < frame.position.segment()).map(|(_, size)| size).sum();
            (asked.tell)("the log", before + u64::from(frame.position.offset()), total);
        }
        found.frames += 1;
        let read = log.frame(&frame, segments, blobs, found, &mut unreadable);
        failed = failed.take().or(read.err());
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    log.end = replayed.start.end;
    log.damage = replayed.damage;
    log.damage.extend(unreadable);
    let last = sizes.keys().max().copied().unwrap_or(0);
    let missing = (1..last).filter(|number| !sizes.contains_key(number));
    log.damage.extend(missing.map(|number| Damage {
        from: Position::new(number, 0),
        to: Position::new(number + 1, 0),
        what: "the whole file is gone",
    }));
    Ok(log)
}

fn sizes(segments: &Segments) -> Result<HashMap<u32, u64>> {
    let size = |number: u32| -> Result<Option<(u32, u64)>> {
        let Some(file) = segments.file(number)? else { return Ok(None) };
        let size = file.size().map_err(|e| Error::io("read", &segments.path(number), &e))?;
        Ok(Some((number, size)))
    };
    segments.numbers()?.into_iter().filter_map(|number| size(number).transpose()).collect()
}

impl Log {
    /// Nothing was read yet.
    fn new() -> Self {
        Log {
            end: Position(0),
            damage: Vec::new(),
            hurt: BTreeSet::new(),
            bad: HashSet::new(),
            blobs: HashMap::new(),
        }
    }

    /// Whether a record lies where the log could not be walked through: it may still be read by its place, but nobody
    /// has looked at its bytes.
    fn is_in_damage(&self, at: Position) -> bool {
        self.damage.iter().any(|damage| damage.from <= at && at < damage.to)
    }

    fn frame(
        &mut self,
        frame: &FrameRef<'_>,
        segments: &Segments,
        blobs: &Blobs,
        found: &mut Examination,
        unreadable: &mut Vec<Damage>,
    ) -> Result<()> {
        let act = match frame.decode() {
            Some(Frame::Act(act)) => act,
            Some(Frame::Bad(bad)) => {
                self.bad.insert(bad.act);
                return Ok(());
            }
            Some(_) => return Ok(()),
            None => {
                let (from, to) = (frame.position, Position(frame.position.0 + 1));
                unreadable.push(Damage { from, to, what: "a frame that says nothing" });
                return Ok(());
            }
        };
        let Outcome::Output(output) = &act.outcome else { return Ok(()) };
        if !self.is_right(output, segments, blobs, found)? {
            self.hurt.insert(frame.position);
        }
        Ok(())
    }

    /// Hashes the bytes of an output, of a blob once.
    fn is_right(
        &mut self,
        output: &Output,
        segments: &Segments,
        blobs: &Blobs,
        found: &mut Examination,
    ) -> Result<bool> {
        let is_right = match output.place {
            Place::Input => return Ok(true),
            Place::Payload(place) => match segments.payload(place, output.length, &output.digest)? {
                Some(bytes) => self.files(output, &bytes, blobs)?,
                None => false,
            },
            Place::Blob if output.ext == folder::EXT => {
                blobs.check_length(&output.digest, output.length)?;
                let bytes = blobs.read(&output.digest)?;
                self.blobs.insert(output.digest, bytes.is_some());
                match bytes {
                    Some(bytes) => self.files(output, &bytes, blobs)?,
                    None => false,
                }
            }
            Place::Blob => match self.blobs.get(&output.digest) {
                Some(known) => return Ok(*known),
                None => {
                    blobs.check_length(&output.digest, output.length)?;
                    let is_right = blobs.holds(&output.digest)?;
                    self.blobs.insert(output.digest, is_right);
                    is_right
                }
            },
        };
        found.results += 1;
        found.bytes += output.length;
        Ok(is_right)
    }

    /// Whether the large files of a folder are right; what is no folder has none.
    fn files(&mut self, output: &Output, bytes: &[u8], blobs: &Blobs) -> Result<bool> {
        if output.ext != folder::EXT {
            return Ok(true);
        }
        let Some(folder) = folder::read(bytes) else { return Ok(false) };
        let mut all = true;
        for file in folder.files.iter().filter(|file| file.is_blob()) {
            let is_right = match self.blobs.get(&file.digest) {
                Some(known) => *known,
                None => {
                    blobs.check_length(&file.digest, file.length)?;
                    blobs.holds(&file.digest)?
                }
            };
            self.blobs.insert(file.digest, is_right);
            all &= is_right;
        }
        Ok(all)
    }
}

/// Blobs that no record names, left by a kill: a damaged one would only be in the way.
fn check_other_blobs(blobs: &Blobs, log: &Log, found: &mut Examination) -> Result<()> {
    for digest in blobs.all()?.into_iter().filter(|digest| !log.blobs.contains_key(digest)) {
        if !blobs.holds(&digest)? {
            let problem = "it does not match its name; no result needs it".to_owned();
            found.faults.push(Fault { kind: Kind::Blob, place: blob_place(&digest), problem });
        }
    }
    Ok(())
}

fn blob_place(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{hex}", &hex[..2])
}

/// Reads the index through; what it keeps for others goes into the next one.
fn read_index(home: &Home, end: Position, found: &mut Examination) -> Vec<(Vec<u8>, Vec<u8>)> {
    if home.disk.list(&home.dir).is_ok_and(|names| names.is_empty()) {
        return Vec::new();
    }
    let opened = Index::open(home);
    let (problem, kept) = match opened {
        Err(unusable) => (Some(unusable.reason), Vec::new()),
        Ok(opened) => {
            let read = opened.index.verify().map(|pages| found.pages = pages);
            if let Some(applied) = opened.applied.as_ref().filter(|applied| applied.position > end) {
                let bytes = crate::text::size(applied.position.0 - end.0);
                let place = format!("segments/{:06}.seg, byte {}", end.segment(), end.offset());
                let problem =
                    format!("the log ends here, and the index has seen {bytes} more: its end is gone");
                found.faults.push(Fault { kind: Kind::Log, place, problem });
            }
            let says_nothing = opened.applied.is_none() && found.frames > 0;
            let problem = read.err().map(|unusable| unusable.reason);
            (
                problem.or_else(|| says_nothing.then(|| "it says nothing of the log".to_owned())),
                opened.index.salvage(),
            )
        }
    };
    found.faults.extend(problem.map(|problem| {
        let problem = format!("{problem}; it is made again");
        Fault { kind: Kind::Index, place: "index".to_owned(), problem }
    }));
    kept
}

/// Sets aside for good what was found, and says of the documents concerned that they are to be looked at.
fn set_aside(store: &Store, log: &Log, asked: &mut Asked<'_>, found: &mut Examination) -> Result<()> {
    let hurt = documents_hurt(store, log, asked, found)?;
    let new = |at: &&Position| !log.bad.contains(*at);
    for at in log.hurt.iter().filter(new) {
        let fault = fault_of(store, *at)?;
        if !found.faults.contains(&fault) {
            found.faults.push(fault);
        }
    }
    for damage in &log.damage {
        if log.bad.contains(&damage.from) {
            found.known += 1;
            continue;
        }
        let place = format!("segments/{:06}.seg, byte {}", damage.from.segment(), damage.from.offset());
        let problem = match damage.to.0.checked_sub(damage.from.0) {
            Some(bytes) if bytes > 1 && damage.to.segment() == damage.from.segment() => {
                format!("{} ({})", damage.what, crate::text::size(bytes))
            }
            _ => damage.what.to_owned(),
        };
        found.faults.push(Fault { kind: Kind::Log, place, problem });
    }
    found.faults.sort_by(|a, b| (a.kind, &a.place).cmp(&(b.kind, &b.place)));
    let positions: BTreeSet<Position> = log
        .hurt
        .iter()
        .chain(&hurt.records)
        .copied()
        .chain(log.damage.iter().map(|damage| damage.from))
        .collect();
    let positions: Vec<Position> = positions.into_iter().filter(|at| !store.is_bad(*at)).collect();
    if positions.is_empty() && hurt.documents.is_empty() {
        return Ok(());
    }
    store.begin_run(std::mem::take(&mut asked.command), Digest::default())?;
    positions.into_iter().try_for_each(|at| store.mark_bad(at))?;
    for (family, dir, entry, story) in hurt.documents {
        store.unsettle(&family, &dir, &entry, story)?;
    }
    store.all_unsettled();
    store.flush()
}

fn fault_of(store: &Store, at: Position) -> Result<Fault> {
    let record = store.act(at)?;
    let output = record.as_deref().and_then(|act| match &act.outcome {
        Outcome::Output(output) => Some(output),
        _ => None,
    });
    Ok(match output {
        Some(Output { place: Place::Blob, digest, .. }) => Fault {
            kind: Kind::Blob,
            place: blob_place(digest),
            problem: "it is gone, or does not match its name".to_owned(),
        },
        _ => Fault {
            kind: Kind::Result,
            place: format!("segments/{:06}.seg, record at {}", at.segment(), at.offset()),
            problem: "its result does not match its digest".to_owned(),
        },
    })
}

/// Documents whose newest story names what cannot be used.
#[derive(Default)]
struct Hurt {
    records: BTreeSet<Position>,
    /// Those that count as settled still.
    documents: Vec<(String, String, Entry, Story)>,
}

fn documents_hurt(store: &Store, log: &Log, asked: &mut Asked<'_>, found: &mut Examination) -> Result<Hurt> {
    let mut hurt = Hurt::default();
    for family in store.families() {
        (asked.tell)("documents", 0, 0);
        let mut failed = None;
        store.scan(&family, &mut |dir, entry| {
            if !entry.flags.gone {
                *if entry.name.is_empty() { &mut found.sets } else { &mut found.documents } += 1;
                let looked = look(store, log, asked, (&family, dir, entry), &mut hurt, &mut found.affected);
                failed = looked.err();
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(hurt)
}

/// Looks at all that the newest story of a document names.
fn look(
    store: &Store,
    log: &Log,
    asked: &Asked<'_>,
    (family, dir, entry): (&str, &str, &Entry),
    hurt: &mut Hurt,
    affected: &mut Vec<Affected>,
) -> Result<()> {
    // Without either the next build decides the document anew by itself.
    let Some(story) = store.story(entry.story)? else { return Ok(()) };
    let Some(definition) = store.definition(story.definition)? else { return Ok(()) };
    let mut is_hurt = false;
    for (target, of) in definition.targets.iter().zip(&story.entries) {
        let Some(at) = of.act else { continue };
        if !(log.hurt.contains(&at) || log.is_in_damage(at) || store.is_bad(at) || is_lost(store, at)?) {
            continue;
        }
        hurt.records.insert(at);
        if (asked.is_wanted)(family, &target.name) {
            is_hurt = true;
            let doc = match (dir, entry.name.as_str()) {
                ("", "") => family.to_owned(),
                ("", name) => format!("{family}/{name}"),
                (dir, name) => format!("{family}/{dir}/{name}"),
            };
            affected.push(Affected { doc, target: target.name.clone() });
        }
    }
    if is_hurt && entry.flags.settled {
        hurt.documents.push((family.to_owned(), dir.to_owned(), entry.clone(), (*story).clone()));
    }
    Ok(())
}

/// Whether a record, or what it needs to prove itself, cannot be read.
fn is_lost(store: &Store, at: Position) -> Result<bool> {
    Ok(match store.act(at)? {
        Some(act) => store.recipe(act.recipe)?.is_none(),
        None => true,
    })
}
