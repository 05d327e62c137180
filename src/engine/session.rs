//! A build from its beginning to its summary: outline, scan, plan, strata, publishing.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use crate::engine::build::Build;
use crate::engine::document::Document;
use crate::engine::loads::PresentCode;
use crate::engine::outline::{Outline, stream_families};
use crate::engine::publish::{Job, Published, missing};
use crate::engine::requests::Inputs;
use crate::engine::sets::{before, id_of, result_of};
use crate::engine::supply::Supply;
use crate::engine::{Interrupts, Options, Parts, closing, failures, modules};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Position, Story};
use crate::model::document::DocId;
use crate::model::event::{Event, Planned, Scanned, Sink, Summary};
use crate::model::pipeline::{Node, Pipeline, SourceIx, TargetIx, WithFrom};
use crate::model::selection::{Field, GlobSet};
use crate::plan::family::{Families, Family, FamilyIx, Origin};
use crate::scan::{self, Known, Scan};
use crate::store::{Entry, Store};

/// Brings a pipeline up to date.
///
/// # Errors
///
/// What keeps the build from its end: the guard of a source, an unreadable Pipelinefile's part, the store. Failures of
/// documents are in the summary.
pub fn build(parts: &Parts<'_>, mut options: Options, sink: &mut dyn Sink, interrupts: &Interrupts) -> Result<Summary> {
    let began = Instant::now();
    let families = Families::new(parts.pipeline, &options.wanted);
    options.reads_all = options.reads_all || asks_content(parts.pipeline, &options);
    let facts = modules::facts(parts.pipeline, parts.store, &parts.interpreter)?;
    let mut outline = Outline::new(parts, facts)?;
    predict(parts, &families, &options, &mut outline)?;
    let scans = scan_sources(parts, &families, &options, &outline, sink)?;
    if let Some(size) = options.sample_size {
        options.sample = Some(Arc::new(sample(parts, &scans, size)?));
    }
    let stale = stale_sets(parts, &families, &options, &outline, &scans)?;
    let unpublished = if options.is_partial() { Vec::new() } else { missing(parts.store, &parts.pipeline.root)? };
    let documents: u64 = scans.iter().map(|scan| scan.counts.present()).sum();
    let differ: u64 = scans.iter().map(|scan| scan.found.len() as u64).sum();
    let nothing = differ == 0 && stale.is_empty() && unpublished.is_empty();
    let mut summary = Summary { documents, up_to_date: documents.saturating_sub(differ), ..Summary::default() };
    if !nothing {
        let targets = planned(parts, &families, &options, &outline, &scans, &stale);
        sink.event(&Event::Plan { targets, up_to_date: summary.up_to_date });
    }
    if options.dry_run {
        return Ok(summary);
    }
    if !nothing {
        let appended = parts.store.appended();
        let run = parts.store.begin_run(options.command.clone(), parts.pipelinefile)?;
        sink.event(&Event::RunStarted { run });
        work(parts, &families, &options, &mut outline, sink, interrupts, &scans, unpublished, &mut summary)?;
        summary.run = (parts.store.appended() > appended).then_some(run);
    }
    let (causes, blocked) = failures::standing(parts.store, parts.pipeline)?;
    summary.causes = causes;
    summary.blocked = blocked;
    summary.milliseconds = began.elapsed().as_millis() as u64;
    sink.event(&Event::Finished(summary.clone()));
    Ok(summary)
}

/// Whether a target asks for what only the bytes of a source tell.
fn asks_content(pipeline: &Pipeline, options: &Options) -> bool {
    let asks = |field: &Field| matches!(field, Field::Mime | Field::Size);
    options.wanted.iter().map(|ix| pipeline.target(*ix)).any(|target| {
        target.sees.iter().any(asks) || target.test.as_ref().is_some_and(|test| test.fields().any(asks))
    })
}

/// Plans every target with the sets as they are now: what must be so if nothing has changed.
fn predict(parts: &Parts<'_>, families: &Families, options: &Options, outline: &mut Outline) -> Result<()> {
    let mut present = PresentCode::new(&parts.pipeline.root);
    let mut inputs = Inputs::new(parts.store)?;
    for ix in &options.wanted {
        outline.plan(parts, families, *ix, &mut present, &mut inputs)?;
    }
    Ok(())
}

/// What the index knows of a source, for the scan.
struct FromIndex<'a>(&'a Store);

impl scan::Before for FromIndex<'_> {
    fn directory(&self, source: &str, dir: &str) -> Result<Vec<Known>> {
        let entries = self.0.directory(source, dir)?;
        let known = |entry: Entry| Known {
            name: entry.name,
            stamp: entry.stamp,
            number: entry.doc,
            trusted: entry.flags.settled && !entry.flags.racy,
            extra: entry.story.0,
            tag: entry.definition.0,
        };
        Ok(entries.into_iter().filter(|entry| !entry.flags.gone).map(known).collect())
    }

    fn directories(&self, source: &str) -> Result<Vec<String>> {
        self.0.directories(source)
    }

    fn documents(&self, source: &str) -> Result<u64> {
        let sums = self.0.sums(source)?;
        Ok(sums.documents - sums.gone)
    }
}

/// Scans every source that anything is made of, and says what was found. A source that is gone, or has lost most of its
/// documents, is an error unless `options.gone`.
pub fn scan_sources(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    sink: &mut dyn Sink,
) -> Result<Vec<Scan>> {
    let mut scans = Vec::new();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    for family in families.list.iter().filter(|family| !family.steps.is_empty()) {
        let Origin::Source(ix) = family.origin else { continue };
        let began = Instant::now();
        let last = family.steps.iter().map(|step| step.stratum).max().unwrap_or(0);
        let rules = Rules::new(parts, ix)?;
        let is_current = |known: &Known| outline.covers_family(parts, Position(known.tag), family, last);
        let found = scan::scan(&scan::Request {
            source: &family.name,
            roots: &parts.roots[ix.0],
            salt: parts.store.salt(),
            before: &FromIndex(parts.store),
            is_current: &is_current,
            accept: &|rel| rules.accepts(rel),
            prune: &|rel| rules.prunes(rel),
            same_rules: rules.are_those_of_before,
            threads,
            cancel: &AtomicBool::new(false),
            seen: &AtomicU64::new(0),
        })?;
        if let Some(stop) = found.guard()
            && !options.gone
        {
            return Err(Error::from(stop));
        }
        if !options.dry_run {
            rules.remember(parts.store)?;
        }
        let counts = found.counts;
        sink.event(&Event::Scanned(Scanned {
            source: family.name.clone(),
            documents: counts.present(),
            new: counts.new,
            changed: counts.changed,
            gone: counts.gone,
            problems: problems(&found),
            milliseconds: began.elapsed().as_millis() as u64,
        }));
        for (pattern, nearest) in rules.unmatched(&found) {
            let message = format!("source `{}`: `{pattern}` matches no document", family.name);
            sink.event(&Event::Notice { message, hint: nearest.map(|near| format!("did you mean `{near}`?")) });
        }
        scans.push(found);
    }
    Ok(scans)
}

fn problems(found: &Scan) -> Vec<String> {
    let text = |problem: &scan::Problem| format!("{}/{}: {}", found.source, problem.rel, problem.text);
    let mut problems: Vec<String> = found.unreadable.iter().map(text).collect();
    if found.ignored.count > 0 {
        let example = found.ignored.examples.first().map(|problem| format!("{}: {}", problem.rel, problem.text));
        let what = crate::text::count(found.ignored.count, "entry").replace("entrys", "entries");
        problems.push(format!("{}: {what} left out, e.g. {}", found.source, example.unwrap_or_default()));
    }
    problems
}

/// Which files of a source are documents.
struct Rules {
    key: String,
    globs: GlobSet,
    include: Vec<String>,
    /// Relative to the source, escaped: the Pipelinefile, the store, and what is published.
    own_files: HashSet<String>,
    own_folders: Vec<String>,
    digest: Digest,
    are_those_of_before: bool,
}

impl Rules {
    fn new(parts: &Parts<'_>, ix: SourceIx) -> Result<Self> {
        let source = parts.pipeline.source(ix);
        let globs = GlobSet::new(&source.include, &source.exclude).map_err(|(glob, problem)| {
            Error::usage(format!("source `{}`: `{glob}` is no glob: {problem}", source.name)).hint("pipe check")
        })?;
        let roots = &parts.roots[ix.0];
        let root = &parts.pipeline.root;
        let published = parts.pipeline.targets.iter().filter_map(|target| {
            let folder = target.publish.as_ref()?.path.folder(&target.name);
            (!folder.is_empty()).then(|| root.join(folder))
        });
        let own = published.chain([parts.store.dir().to_owned()]);
        let own_folders: Vec<String> = own.filter_map(|path| roots.rel_of(&path)).filter(|rel| !rel.is_empty()).collect();
        let fixed = parts.pipeline.targets.iter().filter_map(|target| {
            let publish = target.publish.as_ref()?;
            let path = publish.path.expand(&|_| None, &target.name, "").ok()?;
            Some(root.join(path))
        });
        let own_files = fixed.chain([parts.pipeline.file.clone()]).filter_map(|path| roots.rel_of(&path)).collect();
        let mut hasher = crate::hash::FieldHasher::new("pipe scan rules");
        for list in [&source.include, &source.exclude, &own_folders] {
            hasher.number(list.len() as u64);
            list.iter().for_each(|glob| {
                hasher.text(glob);
            });
        }
        let digest = hasher.finish();
        let key = source.name.clone();
        let are_those_of_before = parts.store.kept("rules", key.as_bytes())?.as_deref() == Some(&digest.0);
        Ok(Rules { key, globs, include: source.include.clone(), own_files, own_folders, digest, are_those_of_before })
    }

    fn accepts(&self, rel: &str) -> bool {
        self.globs.matches(rel) && !self.own_files.contains(rel)
    }

    fn prunes(&self, rel: &str) -> bool {
        self.globs.prunes(rel) || self.own_folders.iter().any(|own| own == rel)
    }

    fn remember(&self, store: &Store) -> Result<()> {
        if self.are_those_of_before {
            return Ok(());
        }
        store.keep("rules", self.key.as_bytes(), &self.digest.0)
    }

    /// Globs that no document matches, if there are no documents at all; with an extension that is there.
    fn unmatched(&self, found: &Scan) -> Vec<(String, Option<String>)> {
        if found.counts.present() > 0 {
            return Vec::new();
        }
        self.include.iter().map(|pattern| (pattern.clone(), None)).collect()
    }
}

/// The sets that have to look at their members: the set is not there, or was made by another definition, or anything
/// changed in its streams since.
fn stale_sets(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    scans: &[Scan],
) -> Result<Vec<FamilyIx>> {
    let mut stale: Vec<FamilyIx> = Vec::new();
    for (ix, family) in families.list.iter().enumerate() {
        let Origin::Set(target) = family.origin else { continue };
        let members = stream_families(families, parts.pipeline, target);
        let touched = |member: &FamilyIx| {
            let member = families.family(*member);
            scans.iter().any(|scan| scan.source == member.name && !scan.found.is_empty())
        };
        let shared = parts.pipeline.target(target).with.iter().any(|with| match with.from {
            WithFrom::Shared(of) => stale.iter().any(|ix| families.family(*ix).step_of(of).is_some()),
            _ => false,
        });
        let of_sets = members.iter().any(|(member, _)| stale.contains(member));
        let changed = members.iter().any(|(member, _)| touched(member)) || of_sets || shared;
        let needs = changed || options.sample_size.is_some() || !is_set_current(parts, families, outline, family, target)?;
        if needs {
            stale.push(FamilyIx(ix));
        }
    }
    Ok(stale)
}

/// Whether the result of a set stands: made by the present definition, and nothing changed in its streams since.
pub fn is_set_current(
    parts: &Parts<'_>,
    families: &Families,
    outline: &Outline,
    family: &Family,
    target: TargetIx,
) -> Result<bool> {
    let Some(entry) = parts.store.entry(&family.name, "", "")? else { return Ok(false) };
    let last = family.steps.iter().map(|step| step.stratum).max().unwrap_or(0);
    if !entry.flags.settled || !outline.covers_family(parts, entry.definition, family, last) {
        return Ok(false);
    }
    let streams = &parts.pipeline.target(target).streams;
    let mut names: Vec<&str> = streams.iter().map(|stream| parts.pipeline.node_name(*stream)).collect();
    // A document that goes changes its source, whatever target it was a member of.
    let members = stream_families(families, parts.pipeline, target);
    let of_source = members.iter().filter(|_| streams.iter().any(|stream| matches!(stream, Node::Source(_))));
    names.extend(of_source.map(|(member, _)| families.family(*member).name.as_str()));
    Ok(names.iter().all(|name| parts.store.last_change(name) <= entry.story))
}

/// What may have to be done, target by target. Counts behind a set are not known yet.
fn planned(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    scans: &[Scan],
    stale: &[FamilyIx],
) -> Vec<Planned> {
    let mut actions: BTreeMap<TargetIx, Option<u64>> = BTreeMap::new();
    for (ix, family) in families.list.iter().enumerate() {
        if family.is_set() {
            if stale.contains(&FamilyIx(ix)) {
                family.steps.iter().for_each(|step| {
                    actions.insert(step.target, None);
                });
            }
            continue;
        }
        let Some(scan) = scans.iter().find(|scan| scan.source == family.name) else { continue };
        let mut by_definition: HashMap<Position, u64> = HashMap::new();
        let mut whole = 0;
        for found in &scan.found {
            let id = id_of(&family.name, &found.dir, &found.name);
            let is_in = options.docs.as_ref().is_none_or(|glob| crate::engine::sets::is_named(glob, &id))
                && options.sample.as_ref().is_none_or(|sample| sample.contains(id.as_str()));
            if !is_in {
                continue;
            }
            match found.kind {
                scan::Kind::New | scan::Kind::Changed(_) => whole += 1,
                scan::Kind::Untrusted(known) => *by_definition.entry(Position(known.tag)).or_default() += 1,
                scan::Kind::Gone(_) => {}
            }
        }
        for step in &family.steps {
            let mut count = whole;
            for (definition, documents) in &by_definition {
                let coverage = outline.coverage(parts, *definition);
                let holds = |target: TargetIx| {
                    let name = &parts.pipeline.target(target).name;
                    coverage.iter().any(|(other, holds)| other == name && *holds)
                };
                // What stands behind a target that is not as it was may have to be done too.
                let before = Families::closure(parts.pipeline, [step.target]);
                let in_family = |target: &&TargetIx| family.step_of(**target).is_some();
                let all_hold = before.iter().filter(in_family).all(|target| holds(*target));
                // Nothing differs by definition: the document was left unsettled.
                let unsettled = family.steps.iter().all(|step| holds(step.target));
                if !all_hold || unsettled {
                    count += documents;
                }
            }
            if count > 0 {
                let entry = actions.entry(step.target).or_insert(Some(0));
                *entry = entry.map(|known| known + count);
            }
        }
    }
    let planned = |(ix, actions): (TargetIx, Option<u64>)| Planned {
        target: parts.pipeline.target(ix).name.clone(),
        actions,
    };
    actions.into_iter().map(planned).collect()
}

/// The documents of a sample: of each source those whose path's hash is smallest, the same ones each time.
fn sample(parts: &Parts<'_>, scans: &[Scan], size: u64) -> Result<HashSet<String>> {
    let mut chosen = HashSet::new();
    for scan in scans {
        let mut smallest: BinaryHeap<(Digest, String)> = BinaryHeap::new();
        let mut offer = |id: DocId| {
            smallest.push((Digest::of(id.rel().as_bytes()), id.as_str().to_owned()));
            if smallest.len() as u64 > size {
                smallest.pop();
            }
        };
        let mut gone = HashSet::new();
        for found in &scan.found {
            let id = id_of(&scan.source, &found.dir, &found.name);
            match found.kind {
                scan::Kind::New => offer(id),
                scan::Kind::Gone(_) => drop(gone.insert(id.as_str().to_owned())),
                scan::Kind::Changed(_) | scan::Kind::Untrusted(_) => {}
            }
        }
        parts.store.scan(&scan.source, &mut |dir, entry| {
            let id = id_of(&scan.source, dir, &entry.name);
            if !entry.flags.gone && !gone.contains(id.as_str()) {
                offer(id);
            }
            true
        })?;
        chosen.extend(smallest.into_iter().map(|(_, id)| id));
    }
    Ok(chosen)
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
fn work(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &mut Outline,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
    scans: &[Scan],
    unpublished: Vec<(String, crate::engine::publish::Owned)>,
    summary: &mut Summary,
) -> Result<()> {
    let mut build = Build::new(parts, families, options, outline, sink, interrupts)?;
    let only = options.sample_filter();
    let mut result = Ok(());
    for stratum in 0..families.stratum_count() {
        if build.stopped_for_good() {
            break;
        }
        let outcome = one_stratum(parts, families, options, &mut build, scans, only.as_deref(), stratum);
        if let Err(error) = outcome {
            result = Err(error);
            break;
        }
    }
    if result.is_ok() {
        result = build.settle().and_then(|()| build.redefine());
    }
    for (path, owned) in unpublished {
        show_again(parts, families, &build, path, &owned)?;
    }
    build.end_workers();
    let (tally, stopped, published) = build.finish();
    summary.targets = tally;
    summary.stopped = stopped;
    summary.unfinished = summary.targets.iter().map(|counts| counts.todo).sum();
    summary.published = published.written;
    summary.withdrawn = published.withdrawn;
    for message in &published.notices {
        sink.event(&Event::Notice { message: message.clone(), hint: None });
    }
    result?;
    note_unpublished(parts.store, &published)
}

fn one_stratum(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    build: &mut Build<'_>,
    scans: &[Scan],
    only: Option<&(dyn Fn(&DocId) -> bool + Sync)>,
    stratum: usize,
) -> Result<()> {
    build.settle()?;
    build.plan_stratum(stratum)?;
    let covers: Arc<CoverCache> = Arc::new(CoverCache::default());
    std::thread::scope(|scope| {
        let mut supply = Supply::new(options.docs.as_ref(), only);
        for (ix, family) in families.list.iter().enumerate() {
            let ix = FamilyIx(ix);
            match family.origin {
                Origin::Set(target) if family.has_stratum(stratum) => {
                    let is_first = family.steps.first().is_some_and(|step| step.stratum == stratum);
                    let is_current = if is_first {
                        options.sample_size.is_none()
                            && is_set_current(parts, families, build.outline(), family, target)?
                    } else {
                        set_covers(parts, build.outline(), family, stratum)?
                    };
                    if !is_current {
                        supply.add_set(ix, &family.name);
                    }
                }
                Origin::Source(_) if stratum == 0 => {
                    if let Some(scan) = scans.iter().find(|scan| scan.source == family.name) {
                        supply.add_scan(ix, scan);
                    }
                }
                Origin::Source(_) if family.has_stratum(stratum) => {
                    let places = parts.store.definition_places();
                    for place in places {
                        covers.set(place, build.outline().covers_family(parts, place, family, stratum));
                    }
                    let touched = scans.iter().any(|scan| scan.source == family.name && !scan.found.is_empty());
                    if touched || build.replanned(stratum) {
                        let covers = Arc::clone(&covers);
                        let wanted =
                            move |entry: &Entry| !entry.flags.settled || !covers.get(entry.definition);
                        supply.add_pages(scope, parts.store, ix, &family.name, wanted);
                    }
                }
                _ => {}
            }
        }
        build.stratum(stratum, &mut supply)
    })?;
    build.settle()
}

fn set_covers(parts: &Parts<'_>, outline: &Outline, family: &Family, stratum: usize) -> Result<bool> {
    let Some(entry) = parts.store.entry(&family.name, "", "")? else { return Ok(false) };
    Ok(entry.flags.settled && outline.covers_family(parts, entry.definition, family, stratum))
}

/// Which definitions cover a stratum, as it was when the stratum began.
#[derive(Default)]
struct CoverCache(std::sync::Mutex<HashMap<Position, bool>>);

impl CoverCache {
    fn set(&self, definition: Position, covers: bool) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(definition, covers);
    }

    fn get(&self, definition: Position) -> bool {
        let covers = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        covers.get(&definition).copied().unwrap_or(false)
    }
}

/// Shows a published file that is missing again.
fn show_again(
    parts: &Parts<'_>,
    families: &Families,
    build: &Build<'_>,
    path: String,
    owned: &crate::engine::publish::Owned,
) -> Result<()> {
    let Some(ix) = families.find(owned.doc.source()) else { return Ok(()) };
    let family = families.family(ix);
    let (dir, name) = if family.is_set() { ("", "") } else { (owned.doc.dir(), owned.doc.name()) };
    let Some(entry) = parts.store.entry(&family.name, dir, name)?.filter(|entry| !entry.flags.gone) else {
        return Ok(());
    };
    let Some(found) = before(parts.store, entry.story)? else { return Ok(()) };
    let mut results = Vec::new();
    for step in &family.steps {
        results.push(result_of(parts.store, &found, &parts.pipeline.target(step.target).name)?);
    }
    let document = Document {
        id: owned.doc.clone(),
        number: entry.doc,
        family: ix,
        dir: Arc::from(dir),
        name: name.to_owned(),
        names: found.story.names,
        stratum: 0,
        story: Some(entry.story),
        stamp: entry.stamp,
        racy: false,
        content: None,
        digest: found.story.content,
        results,
        before: None,
        restarts: 0,
    };
    let step = parts.pipeline.find_target(&owned.target).and_then(|target| family.step_of(target));
    if let Some(step) = step
        && found.entry(&owned.target).is_some_and(|entry| entry.published)
        && let Some(bytes) = closing::bytes_of(&parts.roots, &document, family, step)
    {
        build.publish(Job::Show { path, owner: owned.clone(), bytes });
    }
    Ok(())
}

/// A result that could not be shown stands as a failure with its document, and is tried again next time.
fn note_unpublished(store: &Store, published: &Published) -> Result<()> {
    let failures = published.failures.iter().map(|(doc, target, failure)| {
        (doc, target, Some(crate::engine::decide::derived_note(failure)))
    });
    let damaged = published.damaged.iter().map(|(doc, target)| (doc, target, None));
    for (doc, target, note) in failures.chain(damaged) {
        let family = doc.source();
        let is_set = doc.rel().is_empty();
        let (dir, name) = if is_set { ("", "") } else { (doc.dir(), doc.name()) };
        let Some(entry) = store.entry(family, dir, name)? else { continue };
        let Some(found) = before(store, entry.story)? else { continue };
        let mut story: Story = (*found.story).clone();
        let ix = found.definition.targets.iter().position(|defined| defined.name == *target);
        let Some(of) = ix.and_then(|ix| story.entries.get_mut(ix)) else { continue };
        match note {
            Some(note) => {
                of.note = note;
                of.published = false;
            }
            None => {
                if let Some(at) = of.act {
                    store.mark_bad(at)?;
                }
            }
        }
        story.settled = false;
        story.previous = Some(entry.story);
        story.run = store.run();
        let at = store.add_story(&story)?;
        store.put_entry(family, dir, Store::entry_of(name, &story, at), at);
    }
    store.flush()
}
