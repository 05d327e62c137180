//! Deciding what goes: which segments are written anew, which blobs and files are removed, what has to stay all the same.
//!
//! Changes nothing. The pass over the log says what is needed (`live`); here that is weighed against files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Mark as Redo, Position, Recipe, Run};
use crate::store::extents::{EXTENT_BYTES, FOOTER_BYTES};
use crate::store::facade::Store;
use crate::store::gc::live::{self, Live, Segment, Wanted, prefix};
use crate::store::gc::marks::{ALWAYS, Bits};
use crate::store::gc::other_files::{Chosen, OtherFiles};
use crate::store::gc::report::{Doubt, Files, Report, Since};
use crate::store::gc::rewrite::{self, Exceptions};
use crate::store::gc::span;
use crate::store::recover::Reading;
use crate::store::segment::FIRST_GROUP;
use crate::time::Millis;

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

/// What will be done, and nothing is yet.
pub struct Plan {
    /// In numbers.
    pub report: Report,
    /// The end of the log that it was made for.
    pub(super) end: Position,
    pub(super) segments: BTreeMap<u32, Segment>,
    /// Those that are written anew.
    pub(super) chosen: BTreeSet<u32>,
    pub(super) exceptions: Exceptions,
    /// Records that stay in the log though their blobs go.
    pub(super) bad: Vec<Position>,
    pub(super) blobs: Vec<Digest>,
    pub(super) other: Chosen,
    /// What is remembered by its place, and goes.
    pub(super) unremembered: HashSet<Position>,
    /// Numbers of documents that are forgotten.
    pub(super) forgotten: Bits,
    /// So many of the keys in tables lead nowhere that they are made anew.
    pub(super) new_tables: bool,
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
    let other = OtherFiles::find(store.dir(), &**segments.disk(), store.index.size_on_disk())?;
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
            .filter(|run| *run > cutoff && *run != ALWAYS)
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
            let forgotten = forget(&live, &chosen, &mut exceptions);
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
        let unremembered =
            chosen.iter().flat_map(|number| live.segments[number].unremembered.iter().copied());
        let set_aside = live.bads.iter().filter(|bad| exceptions.gone.contains(&bad.at)).map(|bad| bad.of);
        let unremembered: HashSet<Position> =
            unremembered.chain(exceptions.gone.iter().copied()).chain(set_aside).collect();
        let kept_logs: HashSet<(u32, u32)> =
            live.logs.iter().filter(|(_, run)| **run > self.cutoff).map(|(log, _)| *log).collect();
        let runs = self.store.run_frames()?.into_iter().filter(|(at, _)| !unremembered.contains(at));
        let has_run = runs.map(|(_, run)| run.pipelinefile).chain([asked.pipelinefile]);
        let has_run: HashSet<String> = has_run.map(|digest| digest.hex()).collect();
        let is_log_kept = |run, worker| run > self.cutoff || kept_logs.contains(&(run, worker));
        let other =
            self.other.chosen(asked.now, asked.older_than.unwrap_or(span::AGE), &is_log_kept, &has_run);
        report.logs = other.logs();
        report.leftovers = other.leftovers();
        report.pipelinefiles = other.pipelinefiles();
        report.stored = total + self.other.blobs;
        report.before = self.other.total;
        let freed = report.log_bytes
            + report.blobs.bytes
            + report.logs.bytes
            + report.leftovers.bytes
            + report.pipelinefiles.bytes;
        report.after = report.before.saturating_sub(freed);
        report.dropped.clone_from(&live.dropped);
        if live.documents == 0 && live.stories > 0 {
            report.doubt = Some(Doubt::NoDocument);
        } else if (report.log_bytes + report.blobs.bytes) * 2 > report.stored {
            report.doubt = Some(Doubt::OverHalf);
        }
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
        let kept = segment.kept_bytes(self.cutoff) + u64::from(FIRST_GROUP);
        // A damaged one stays as it is; if nothing of it is kept, nothing of it can be missed.
        if (segment.is_odd && segment.frames > 0) || segment.dead == 0 {
            return false;
        }
        let map = FOOTER_BYTES as u64 + EXTENT_BYTES as u64;
        if self.is_tight {
            return kept + map * (1 + segment.frames / 4) < segment.size;
        }
        kept * HALF < segment.size && kept + map < segment.size
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
            mark.is_whole() && mark.targets.contains(of)
        };
        for (at, mark) in &live.redos {
            let asks = mark.targets.iter().any(|target| {
                // On a whole target it is part of what decides the target, until a newer one is.
                let is_decisive = mark.is_whole()
                    && !live
                        .redos
                        .iter()
                        .any(|(_, other)| other.number > mark.number && covers(other, target));
                is_decisive || oldest.get(&target.fingerprint).is_some_and(|known| *known < mark.number)
            });
            // An accept matters for as long as any result is left that it speaks of; what withdraws is kept.
            let of_old = |accepted: &crate::model::action::Accepted| {
                accepted.from.iter().any(|old| oldest.contains_key(old))
            };
            let stays = mark.accepts.iter().any(of_old) || !mark.withdraws.is_empty();
            if !asks && !stays && Some(mark.number) != newest && chosen.contains(&at.segment()) {
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

/// Documents that are gone for long. One with an older story in a file that stays keeps the story that says so:
/// who reads the log anew would take it for present.
fn forget(live: &Live, chosen: &BTreeSet<u32>, exceptions: &mut Exceptions) -> Vec<u32> {
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
