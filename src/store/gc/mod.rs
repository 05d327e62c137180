//! Collection: what no document needs and no recent history names is given back to the disk. For `pipe gc`.
//!
//! First a plan, which changes nothing and says exactly what goes; then the plan is carried out. Killed anywhere, the
//! store is valid: first what the index remembers, then segments, the oldest first, each old or new as a whole, blobs
//! last. The owner does it, never beside a build; whoever reads keeps what is open. Which families there are is asked;
//! knows nothing else of pipelines. `docs/design/collection.md`.

mod live;
mod marks;
mod other_files;
mod rewrite;
pub mod span;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Mark as Redo, Position, Recipe, Run};
use crate::store::disk::Disk;
use crate::store::facade::Store;
use crate::store::frame::Kind;
use crate::store::recover::Reading;
use crate::store::tables::{FULL_MEMTABLE, Finder};
use crate::time::Millis;

use live::{Live, Segment, Wanted, prefix};
use marks::Bits;
use other_files::{Chosen, OtherFiles};
use rewrite::Exceptions;

/// A segment is written anew when less than one part in so many of it is kept.
const HALF: u64 = 2;

/// What is asked for.
pub struct Asked<'a> {
    /// Whether a family is a source or a set of the Pipelinefile.
    pub is_present: &'a dyn Fn(&str) -> bool,
    /// The fingerprint of a recipe: what marks name.
    pub fingerprint: &'a dyn Fn(&Recipe) -> Digest,
    /// The digest of the Pipelinefile.
    pub pipelinefile: Digest,
    /// History older than this goes; absent: the last runs and days are kept.
    pub older_than: Option<Duration>,
    /// The store shall be no larger.
    pub max_size: Option<u64>,
    /// The present time.
    pub now: Millis,
    /// Told now and then: what is being done, how much of it is, and how much there is.
    pub tell: &'a mut dyn FnMut(&str, u64, u64),
}

/// Why nothing goes unless it is said twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// No document of the Pipelinefile has anything in the store.
    NoDocument,
    /// More than half of all records and blobs would go.
    OverHalf,
}

/// A number of files, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Together.
    pub bytes: u64,
}

impl Files {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a collection does, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Documents that keep what they have.
    pub documents: u64,
    /// Records that are kept.
    pub kept: u64,
    /// Earlier states of documents that are kept.
    pub history: u64,
    /// What was so since this run is kept; absent: no history is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Records that go.
    pub collected: u64,
    /// Records that nothing needs but that lie among others that stay.
    pub among_others: u64,
    /// Segments that are written anew with what is kept of them.
    pub segments: Files,
    /// The bytes that this frees.
    pub log_bytes: u64,
    /// Large results that go.
    pub blobs: Files,
    /// Logs of workers that go.
    pub logs: Files,
    /// What was quarantined long ago, and what earlier versions of the index left.
    pub leftovers: Files,
    /// Documents gone from their sources that are forgotten.
    pub forgotten: u64,
    /// Documents of sources and sets that the Pipelinefile does not have any more.
    pub dropped: BTreeMap<String, u64>,
    /// Marks of `pipe redo` that ask for nothing any more.
    pub marks: u64,
    /// The bytes of the log and of all blobs.
    pub stored: u64,
    /// The bytes of the store, without its reserve.
    pub before: u64,
    /// The same afterwards.
    pub after: u64,
    /// So many bytes are needed beyond the size that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<u64>,
    /// Why it has to be said twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// The oldest run of the history that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// Its number.
    pub run: u32,
    /// When it began.
    pub start: Millis,
}

/// What will be done, and nothing is yet.
pub struct Plan {
    /// In numbers.
    pub report: Report,
    /// The end of the log that it was made for.
    end: Position,
    segments: BTreeMap<u32, Segment>,
    /// Those that are written anew.
    chosen: BTreeSet<u32>,
    exceptions: Exceptions,
    /// Records that stay in the log though their blobs go.
    bad: Vec<Position>,
    blobs: Vec<Digest>,
    other: Chosen,
    /// What is remembered by its place, and goes.
    unremembered: HashSet<Position>,
    /// Numbers of documents that are forgotten.
    forgotten: Bits,
    /// So many of the keys in tables lead nowhere that they are made anew.
    new_tables: bool,
}

/// Decides what goes.
///
/// # Errors
///
/// If the log is damaged in a way that nobody knows of yet: what cannot be read might name what would go.
pub fn plan(store: &Store, asked: &mut Asked<'_>) -> Result<Plan> {
    store.flush()?;
    store.write_pages()?;
    let runs = store.runs()?;
    let end = store.appended();
    let segments = store.log.segments();
    let reading = Reading::new(segments, end)?;
    let other = OtherFiles::find(store.dir(), &**segments.disk())?;
    let mut cutoff = span::cutoff(&runs, asked.now, asked.older_than);
    let mut is_tight = false;
    loop {
        let live = look(store, &reading, asked, &runs, cutoff)?;
        refuse_damage(store, &live)?;
        let draft = Draft { store, reading: &reading, runs: &runs, cutoff, is_tight, other: &other };
        // By which run enough would go: whole segments and blobs count only once they were looked at.
        let estimate = |cutoff: u32| -> u64 {
            let log: u64 =
                live.segments.values().map(|segment| segment.kept_bytes(cutoff).min(segment.size)).sum();
            let blobs: u64 = live.blob_bytes.range(cutoff.saturating_add(1)..).map(|(_, bytes)| bytes).sum();
            log + blobs
        };
        let candidates: BTreeSet<u32> = live
            .segments
            .values()
            .flat_map(|segment| segment.bytes.keys().copied())
            .filter(|run| *run > cutoff && *run != marks::ALWAYS)
            .collect();
        let estimates: Vec<(u32, u64)> = candidates.into_iter().map(|run| (run, estimate(run))).collect();
        let present = estimate(cutoff);
        let plan = draft.plan(live, end, asked)?;
        let Some(limit) = asked.max_size.filter(|limit| plan.report.after > *limit) else { return Ok(plan) };
        let missing = plan.report.after - limit;
        let enough = estimates.iter().find(|(_, bytes)| present.saturating_sub(*bytes) >= missing);
        match enough.or(estimates.last()) {
            // First what costs only time.
            _ if !is_tight => is_tight = true,
            Some((run, _)) => cutoff = *run,
            None => {
                let report = Report { over: Some(missing), ..plan.report };
                return Ok(Plan { report, ..plan });
            }
        }
    }
}

fn look(
    store: &Store,
    reading: &Reading<'_>,
    asked: &mut Asked<'_>,
    runs: &[Run],
    cutoff: u32,
) -> Result<Live> {
    let mut sets_from = Position(u64::MAX);
    let mut definitions = HashSet::new();
    for family in store.families().into_iter().filter(|family| (asked.is_present)(family)) {
        if let Some(entry) = store.entry(&family, "", "")? {
            sets_from = sets_from.min(entry.story);
        }
        store.scan(&family, &mut |_, entry| {
            if !entry.flags.gone {
                definitions.insert(entry.definition);
            }
            true
        })?;
    }
    let wanted = Wanted {
        is_present: asked.is_present,
        removed: span::unchanged_since(runs, asked.pipelinefile),
        newest: runs.last().map_or(0, |run| run.number),
        cutoff,
        sets_from,
        definitions,
    };
    live::find(store, reading, &wanted, &mut |done, total| (asked.tell)("the log", done, total))
}

fn refuse_damage(store: &Store, live: &Live) -> Result<()> {
    let there = store.log.segments().numbers()?;
    let last = there.last().copied().unwrap_or(0);
    let is_missing = |number: &u32| !there.contains(number) && !store.is_bad(Position::new(*number, 0));
    let missing = (1..last).filter(is_missing).count();
    let unknown = live.damage.iter().filter(|damage| !store.is_bad(damage.from)).count() + missing;
    if unknown == 0 {
        return Ok(());
    }
    let places = crate::text::count(unknown as u64, "place");
    Err(Error::unfinished(format!("the log is damaged in {places}: what was there might name what would go"))
        .hint("pipe doctor     finds out what is affected; then: pipe build")
        .hint("pipe gc         once that is mended"))
}

/// What a plan is made of, beside what the pass found.
struct Draft<'a> {
    store: &'a Store,
    reading: &'a Reading<'a>,
    runs: &'a [Run],
    cutoff: u32,
    /// Every byte counts: segments are written anew also for little.
    is_tight: bool,
    other: &'a OtherFiles,
}

impl Draft<'_> {
    fn plan(&self, mut live: Live, end: Position, asked: &mut Asked<'_>) -> Result<Plan> {
        let mut chosen: BTreeSet<u32> =
            live.segments.iter().filter(|(_, segment)| self.is_worth_it(segment)).map(|(n, _)| *n).collect();
        let mut exceptions = Exceptions::default();
        let forgotten = loop {
            let forgotten = self.forget(&live, &chosen, &mut exceptions);
            // What has to stay all the same may be all that would have gone of a segment.
            let mut stay: HashMap<u32, u64> = HashMap::new();
            exceptions.kept.iter().for_each(|at| *stay.entry(at.segment()).or_default() += 1);
            let before = chosen.len();
            chosen.retain(|number| live.segments[number].dead > stay.get(number).copied().unwrap_or(0));
            if chosen.len() == before {
                break forgotten;
            }
        };
        for document in &forgotten {
            live.forgotten.set(*document as usize);
        }
        let mut report = self.records(&live, &chosen);
        let bad = self.blobs_missed(&live, &chosen);
        report.forgotten = forgotten.len() as u64;
        self.redos(&live, &chosen, asked.fingerprint, &mut exceptions)?;
        report.marks = exceptions.gone.len() as u64;
        // What was set aside needs to be known as long as its record is there.
        for set_aside in &live.bads {
            if chosen.contains(&set_aside.of.segment()) && !set_aside.is_kept {
                exceptions.gone.insert(set_aside.at);
            }
        }
        let (blobs, bytes) = self.blobs(&live)?;
        report.blobs = Files { count: blobs.len() as u64, bytes };
        let total: u64 = live.segments.values().map(|segment| segment.size).sum();
        for (done, number) in chosen.iter().enumerate() {
            (asked.tell)("segments", done as u64, chosen.len() as u64);
            let segment = &live.segments[number];
            let size = rewrite::measure(self.reading, *number, segment, &exceptions)?;
            report.segments.add(size);
            report.log_bytes += segment.size.saturating_sub(size);
        }
        let kept_logs: HashSet<(u32, u32)> =
            live.logs.iter().filter(|(_, run)| **run > self.cutoff).map(|(log, _)| *log).collect();
        let other = self.other.chosen(asked.now, asked.older_than.unwrap_or(span::AGE), &|run, worker| {
            run > self.cutoff || kept_logs.contains(&(run, worker))
        });
        report.logs = other.logs();
        report.leftovers = other.leftovers();
        report.stored = total + self.other.blobs;
        report.before = self.other.total;
        let freed = report.log_bytes + report.blobs.bytes + report.logs.bytes + report.leftovers.bytes;
        report.after = report.before.saturating_sub(freed);
        report.dropped.clone_from(&live.dropped);
        if live.documents == 0 && live.stories > 0 {
            report.doubt = Some(Doubt::NoDocument);
        } else if (report.log_bytes + report.blobs.bytes) * 2 > report.stored {
            report.doubt = Some(Doubt::OverHalf);
        }
        let unremembered =
            chosen.iter().flat_map(|number| live.segments[number].unremembered.iter().copied());
        let set_aside = live.bads.iter().filter(|bad| exceptions.gone.contains(&bad.at)).map(|bad| bad.of);
        let unremembered: HashSet<Position> =
            unremembered.chain(exceptions.gone.iter().copied()).chain(set_aside).collect();
        let records: u64 = live.segments.values().map(|segment| segment.records.0).sum();
        Ok(Plan {
            new_tables: report.collected * HALF > records,
            report,
            end,
            segments: live.segments,
            chosen,
            exceptions,
            bad,
            blobs,
            other,
            unremembered,
            forgotten: live.forgotten,
        })
    }

    fn is_worth_it(&self, segment: &Segment) -> bool {
        let kept = segment.kept_bytes(self.cutoff) + crate::store::segment::FIRST_GROUP as u64;
        // A damaged one stays as it is; if nothing of it is kept, nothing of it can be missed.
        if (segment.is_odd && segment.frames > 0) || segment.dead == 0 {
            return false;
        }
        let map = crate::store::extents::FOOTER_BYTES as u64 + crate::store::extents::EXTENT_BYTES as u64;
        match self.is_tight {
            true => kept + map * (1 + segment.frames / 4) < segment.size,
            false => kept * HALF < segment.size && kept + map < segment.size,
        }
    }

    fn records(&self, live: &Live, chosen: &BTreeSet<u32>) -> Report {
        let mut report = Report { documents: live.documents, history: live.history, ..Report::default() };
        for (number, segment) in &live.segments {
            let (all, kept) = segment.records;
            report.kept += kept;
            *if chosen.contains(number) { &mut report.collected } else { &mut report.among_others } +=
                all - kept;
        }
        let first = self.runs.iter().find(|run| run.number > self.cutoff);
        report.since = first.map(|run| Since { run: run.number, start: run.start });
        report
    }

    /// Records that stay in files that stay, but whose blobs go: they must not be taken for damaged.
    fn blobs_missed(&self, live: &Live, chosen: &BTreeSet<u32>) -> Vec<Position> {
        let staying = live.segments.iter().filter(|(number, _)| !chosen.contains(number));
        let dead = staying.flat_map(|(_, segment)| &segment.blobs);
        dead.filter(|(at, blob)| live.blobs.binary_search(blob).is_err() && !self.store.is_bad(*at))
            .map(|(at, _)| *at)
            .collect()
    }

    /// Documents that are gone for long. One with an older story in a file that stays keeps the story that says so:
    /// who reads the log anew would take it for present.
    fn forget(&self, live: &Live, chosen: &BTreeSet<u32>, exceptions: &mut Exceptions) -> Vec<u32> {
        let staying = live.segments.iter().filter(|(number, _)| !chosen.contains(number));
        let told: HashSet<u32> = staying.flat_map(|(_, segment)| &segment.gone).copied().collect();
        let mut forgotten = Vec::new();
        for (document, story, names) in &live.gone {
            if told.contains(document) {
                exceptions.kept.extend([*story, *names]);
            } else {
                forgotten.push(*document);
            }
        }
        forgotten
    }

    /// Marks that ask for nothing any more: no record from before them is left, and no newer number hangs on them.
    fn redos(
        &self,
        live: &Live,
        chosen: &BTreeSet<u32>,
        fingerprint: &dyn Fn(&Recipe) -> Digest,
        exceptions: &mut Exceptions,
    ) -> Result<()> {
        let mut oldest: HashMap<Digest, u64> = HashMap::new();
        for (number, segment) in &live.segments {
            for (recipe, (all, kept)) in &segment.known_marks {
                let left = if chosen.contains(number) { *kept } else { Some(*all) };
                if let (Some(mark), Some(recipe)) = (left, self.store.recipe(*recipe)?) {
                    let known = oldest.entry(fingerprint(&recipe)).or_insert(mark);
                    *known = mark.min(*known);
                }
            }
        }
        let newest = live.redos.iter().map(|(_, mark)| mark.number).max();
        let covers = |mark: &Redo, of: &crate::model::action::MarkedTarget| {
            mark.docs.is_none() && mark.targets.contains(of)
        };
        for (at, mark) in &live.redos {
            let asks = mark.targets.iter().any(|target| {
                // On a whole target it is part of what decides the target, until a newer one is.
                let is_decisive = mark.docs.is_none()
                    && !live
                        .redos
                        .iter()
                        .any(|(_, other)| other.number > mark.number && covers(other, target));
                is_decisive || oldest.get(&target.fingerprint).is_some_and(|known| *known < mark.number)
            });
            if !asks && Some(mark.number) != newest && chosen.contains(&at.segment()) {
                exceptions.gone.insert(*at);
            }
        }
        Ok(())
    }

    /// Blobs that no kept record names.
    fn blobs(&self, live: &Live) -> Result<(Vec<Digest>, u64)> {
        let mut blobs = Vec::new();
        let mut bytes = 0;
        for digest in self.store.blobs.all()? {
            if live.blobs.binary_search(&prefix(&digest)).is_ok() {
                continue;
            }
            let path = self.store.blobs.path(&digest);
            bytes += self.store.blobs.size(&digest).map_err(|e| Error::io("read", &path, &e))?;
            blobs.push(digest);
        }
        Ok((blobs, bytes))
    }
}

impl Plan {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty() && self.blobs.is_empty() && self.other.is_empty() && !self.forgets()
    }

    /// Whether the index forgets documents.
    fn forgets(&self) -> bool {
        self.report.forgotten > 0 || !self.report.dropped.is_empty()
    }

    /// Does it. The store may be asked meanwhile, and by nobody else written.
    ///
    /// # Errors
    ///
    /// If something cannot be written: what was done until then is done, and the store is valid.
    pub fn carry_out(self, store: &Store, tell: &mut dyn FnMut(&str, u64, u64)) -> Result<Report> {
        let disk = Arc::clone(store.log.segments().disk());
        self.carry_out_on(store, &disk, tell)
    }

    /// The same with the files of another disk, for tests that make one fail.
    fn carry_out_on(
        mut self,
        store: &Store,
        disk: &Arc<dyn Disk>,
        tell: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<Report> {
        if store.appended() != self.end {
            return Err(Error::unfinished("the store was written to meanwhile").hint("pipe gc"));
        }
        if self.is_empty() {
            return Ok(self.report);
        }
        self.forget(store)?;
        self.other.remove(disk)?;
        // The last segment is never both appended to and written anew.
        if self.chosen.contains(&self.end.segment()) {
            store.log.seal()?;
        }
        self.bad.iter().try_for_each(|at| store.mark_bad(*at))?;
        store.flush()?;
        let segments = store.log.segments();
        let reading = Reading::new(segments, self.end)?;
        let total = self.chosen.len() as u64;
        for (done, number) in self.chosen.iter().enumerate() {
            tell("segments", done as u64, total);
            let Some(segment) = self.segments.remove(number) else { continue };
            rewrite::rewrite(disk, store.dir(), segments, &reading, *number, &segment, &self.exceptions)?;
        }
        if self.new_tables {
            tell("tables", 0, 0);
            store.make_tables_anew()?;
        }
        tell("blobs", 0, self.blobs.len() as u64);
        for digest in &self.blobs {
            store.blobs.remove_on(&**disk, digest)?;
        }
        Ok(self.report)
    }

    /// The index forgets first: it must not name what is gone.
    fn forget(&self, store: &Store) -> Result<()> {
        let mut emptied = Vec::new();
        for family in store.families() {
            let mut by_folder: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut is_empty = true;
            if self.forgets() {
                store.scan(&family, &mut |dir, entry| {
                    if self.forgotten.get(entry.doc.0 as usize) {
                        by_folder.entry(dir.to_owned()).or_default().push(entry.name.clone());
                    } else {
                        is_empty = false;
                    }
                    true
                })?;
                if is_empty {
                    emptied.push(family.clone());
                }
            }
            for (dir, names) in by_folder {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                store.index.remove(&family, &dir, &names)?;
            }
        }
        store.forget_places(&self.unremembered, &emptied);
        store.checkpoint()
    }
}

impl Store {
    /// What lies at these places is about to go.
    fn forget_places(&self, gone: &HashSet<Position>, families: &[String]) {
        self.recipes.forget(gone);
        self.loads.forget(gone);
        self.definitions.forget(gone);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).retain(|(at, _)| !gone.contains(at));
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).retain(|at| !gone.contains(at));
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).retain(|at| !gone.contains(at));
        self.families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|family| !families.contains(family));
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Makes all tables of keys again from the log.
    fn make_tables_anew(&self) -> Result<()> {
        let mut finder = Finder::fresh(&self.dir.join("tables"), self.format.salt)?;
        let mut failed = Ok(());
        self.log.replay(Position(0), &mut |_, frame| {
            if failed.is_err() || frame.kind != Kind::Act {
                return;
            }
            if let Some(key) = frame.body.first_chunk() {
                finder.insert(u64::from_le_bytes(*key), frame.position);
            }
            if finder.len_uncovered() >= FULL_MEMTABLE {
                failed = finder.write_table(Position(frame.position.0 + 1));
            }
        })?;
        failed?;
        *self.finder.lock().unwrap_or_else(PoisonError::into_inner) = finder;
        Ok(())
    }
}
