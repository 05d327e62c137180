//! Scanning the sources of a build, and the plan line: what differs and what that may mean for each target.
//!
//! Nothing is opened but folders; knows entries of the index and what scans found, no records.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::engine::outline::Outline;
use crate::engine::past::Past;
use crate::engine::sets::id_of;
use crate::engine::standing::Limits;
use crate::engine::{Interrupts, Options, Parts};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::Position;
use crate::model::document::DocId;
use crate::model::event::{Event, Planned, Scanned, Sink};
use crate::model::pipeline::{Pipeline, SourceIx, TargetIx, With, WithFrom};
use crate::model::selection::GlobSet;
use crate::plan::family::{Families, FamilyIx, Input, Origin};
use crate::scan::{self, Glance, Known, Roots, Scan};
use crate::store::{Entry, Store};

/// Remembers by which rules sources were scanned, now that what they retired is on disk.
pub(super) fn remember_rules(parts: &Parts<'_>, families: &Families) -> Result<()> {
    for family in families.list.iter().filter(|family| family.is_needed()) {
        if let Origin::Source(ix) = family.origin {
            Rules::of(parts, ix)?.remember(parts.store)?;
            if let Some(kept) = parts.roots[ix.0].giver().and_then(scan::Giver::state_to_keep) {
                let value = [&kept.state.0[..], kept.note.as_bytes()].concat();
                parts.store.keep(GIVEN, family.name.as_bytes(), &value)?;
            }
        }
    }
    Ok(())
}

/// What the index knows of a source, for the scan.
struct FromIndex<'a>(&'a Store);

impl scan::Before for FromIndex<'_> {
    fn directory(&self, source: &str, dir: &str) -> Result<Vec<Known>> {
        let entries = self.0.directory(source, dir)?;
        Ok(entries.into_iter().filter(|entry| !entry.flags.gone).map(known_of).collect())
    }

    fn each(&self, source: &str, dir: &str, visit: &mut dyn FnMut(Glance<'_>) -> bool) -> Result<()> {
        self.0.each_in(source, dir, &mut |entry| {
            let Entry { name, stamp, .. } = entry;
            let (trusted, tag) = (is_trusted(entry), entry.definition.0);
            entry.flags.gone || visit(Glance { name, stamp: *stamp, trusted, tag })
        })
    }

    fn directories(&self, source: &str) -> Result<Vec<String>> {
        self.0.directories(source)
    }

    fn documents(&self, source: &str) -> Result<u64> {
        present(self.0, source)
    }

    fn document(&self, source: &str, dir: &str, name: &str) -> Result<Option<Known>> {
        Ok(self.0.entry(source, dir, name)?.filter(|entry| !entry.flags.gone).map(known_of))
    }

    fn directories_below(&self, source: &str, dir: &str) -> Result<Vec<String>> {
        self.0.directories_below(source, dir)
    }
}

/// How many documents a source has, as far as builds know.
pub(super) fn present(store: &Store, source: &str) -> Result<u64> {
    let sums = store.sums(source)?;
    Ok(sums.documents - sums.gone)
}

/// Scans every source that a wanted target needs. Stops if one looks as if a disk were missing.
pub fn scan_sources(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
) -> Result<Vec<Scan>> {
    scan_limited(parts, families, options, outline, sink, interrupts, None)
}

/// The same, where it is enough only of what changed.
pub(super) fn scan_limited(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
    limits: Option<&Limits>,
) -> Result<Vec<Scan>> {
    let mut scans = Vec::new();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    for family in families.list.iter().filter(|family| family.is_needed()) {
        let Origin::Source(ix) = family.origin else { continue };
        let began = Instant::now();
        let last = family.last_stratum();
        let rules = Rules::of(parts, ix)?;
        let is_current = |tag: u64| outline.covers_family(parts, Position(tag), family, last);
        let roots = &parts.roots[ix.0];
        let changes = match limits {
            Some(limits) => limits.of(&family.name, roots, present(parts.store, &family.name)?),
            None => None,
        };
        let mut found = match roots.giver() {
            Some(giver) => given_of(parts.store, &family.name, giver, &is_current)?,
            None => scan::scan(&scan::Request {
                source: &family.name,
                roots,
                salt: parts.store.salt(),
                before: &FromIndex(parts.store),
                is_current: &is_current,
                accept: &|rel| rules.accepts(rel),
                prune: &|rel| rules.prunes(rel),
                same_rules: rules.are_those_of_before,
                changes: changes.as_ref(),
                threads,
                cancel: &interrupts.cancel,
                seen: &AtomicU64::new(0),
            })?,
        };
        // A row that a target takes fails there, with its lines.
        if family.steps.iter().any(|step| step.inputs.contains(&Input::Origin))
            && parts.pipeline.source(ix).rows.is_some()
        {
            found.note.clear();
        }
        if let Some(stop) = found.guard()
            && !options.gone
        {
            return Err(Error::from(stop));
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
            sink.event(&Event::Notice {
                message,
                hint: nearest.map(|near| format!("did you mean `{near}`?")),
            });
        }
        scans.push(found);
    }
    Ok(scans)
}

/// Where the index keeps the state that whoever gives the documents of a source had when all of them were dealt with, and
/// what was left out.
const GIVEN: &str = "rows";

/// Compares the documents of a source that are no files with those that the index knows.
fn given_of(
    store: &Store,
    source: &str,
    giver: &dyn scan::Giver,
    is_current: &dyn Fn(u64) -> bool,
) -> Result<Scan> {
    let known = |visit: &mut dyn FnMut(&str, Known)| {
        store.scan(source, &mut |dir, entry| {
            if !entry.flags.gone {
                visit(dir, known_of(entry.clone()));
            }
            true
        })
    };
    let kept = store.kept(GIVEN, source.as_bytes())?;
    let before = kept.as_deref().and_then(|kept| {
        let (state, note) = kept.split_first_chunk()?;
        Some(scan::Kept { state: Digest(*state), note: String::from_utf8_lossy(note).into_owned() })
    });
    scan::scan_given(&scan::GivenRequest { source, giver, known: &known, before, is_current })
}

fn is_trusted(entry: &Entry) -> bool {
    entry.flags.settled && !entry.flags.racy
}

fn known_of(entry: Entry) -> Known {
    Known {
        trusted: is_trusted(&entry),
        name: entry.name,
        stamp: entry.stamp,
        number: entry.doc,
        extra: entry.story.0,
        tag: entry.definition.0,
    }
}

fn problems(found: &Scan) -> Vec<String> {
    let text = |problem: &scan::Problem| format!("{}/{}: {}", found.source, problem.rel, problem.text);
    let mut problems: Vec<String> = found.unreadable.iter().map(text).collect();
    if !found.note.is_empty() {
        problems.push(found.note.clone());
    }
    if found.ignored.count > 0 {
        let example =
            found.ignored.examples.first().map(|problem| format!("{}: {}", problem.rel, problem.text));
        let what = crate::text::count(found.ignored.count, "entry").replace("entrys", "entries");
        problems.push(format!("{}: {what} left out, e.g. {}", found.source, example.unwrap_or_default()));
    }
    problems
}

/// Which files of a source are documents.
pub(super) struct Rules {
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
    pub(super) fn of(parts: &Parts<'_>, ix: SourceIx) -> Result<Self> {
        Self::new((parts.pipeline, parts.store), &parts.roots[ix.0], ix)
    }

    pub(super) fn new((pipeline, store): (&Pipeline, &Store), roots: &Roots, ix: SourceIx) -> Result<Self> {
        let source = pipeline.source(ix);
        let globs = GlobSet::new(&source.include, &source.exclude).map_err(|(glob, problem)| {
            Error::usage(format!("source `{}`: `{glob}` is no glob: {problem}", source.name))
                .hint("pipe check")
        })?;
        let root = &pipeline.root;
        let published = pipeline.targets.iter().filter_map(|target| {
            let folder = target.publish.as_ref()?.path.folder(&target.name);
            (!folder.is_empty()).then(|| root.join(folder))
        });
        let own = published.chain([store.dir().to_owned()]);
        let own_folders: Vec<String> =
            own.filter_map(|path| roots.rel_of(&path)).filter(|rel| !rel.is_empty()).collect();
        let fixed = pipeline.targets.iter().filter_map(|target| {
            let publish = target.publish.as_ref()?;
            let path = publish.path.expand(&|_| None, &target.name, "").ok()?;
            Some(root.join(path))
        });
        let listings = pipeline
            .targets
            .iter()
            .filter_map(|target| Some(root.join(target.publish.as_ref()?.index.as_ref()?)));
        let own_files = fixed
            .chain(listings)
            .chain([pipeline.file.clone()])
            .filter_map(|path| roots.rel_of(&path))
            .collect();
        let mut hasher = crate::hash::FieldHasher::new("pipe scan rules");
        for list in [&source.include, &source.exclude, &own_folders] {
            hasher.number(list.len() as u64);
            list.iter().for_each(|glob| {
                hasher.text(glob);
            });
        }
        let digest = hasher.finish();
        let key = source.name.clone();
        let are_those_of_before = store.kept("rules", key.as_bytes())?.as_deref() == Some(&digest.0);
        Ok(Rules {
            key,
            globs,
            include: source.include.clone(),
            own_files,
            own_folders,
            digest,
            are_those_of_before,
        })
    }

    pub(super) fn accepts(&self, rel: &str) -> bool {
        self.globs.matches(rel) && !self.own_files.contains(rel)
    }

    pub(super) fn prunes(&self, rel: &str) -> bool {
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

/// What may have to be done, target by target. Counts behind a set are not known yet.
pub(super) fn planned(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    outline: &Outline,
    scans: &[Scan],
    stale: &[FamilyIx],
) -> Result<Vec<Planned>> {
    let mut actions: BTreeMap<TargetIx, Option<u64>> = BTreeMap::new();
    for (ix, family) in families.list.iter().enumerate() {
        if family.head().is_some() {
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
                // How many children there will be is not known before.
                for (target, _) in step.splits.then_some(&family.below).into_iter().flatten() {
                    actions.insert(*target, None);
                }
            }
        }
    }
    // Who looks for a value may find another document, or none: how many do is known when they have looked.
    for target in by_value_of_changed(parts, families, scans) {
        for behind in &options.wanted {
            if Families::closure(parts.pipeline, [*behind]).contains(&target) {
                actions.entry(*behind).or_insert(None);
            }
        }
    }
    let planned = |(ix, actions): (TargetIx, Option<u64>)| {
        let target = parts.pipeline.target(ix);
        let mut planned = Planned { target: target.name.clone(), actions, ..Planned::default() };
        Past::of(parts.store, &target.name)?.estimate(&mut planned, &target.settings, options.jobs);
        Ok(planned)
    };
    actions.into_iter().map(planned).collect()
}

/// The targets with a side input by value from a stream in whose sources anything is new, changed or gone.
fn by_value_of_changed(parts: &Parts<'_>, families: &Families, scans: &[Scan]) -> Vec<TargetIx> {
    let is_changed = |root: &FamilyIx| {
        let name = &families.family(*root).name;
        let of = scans.iter().find(|scan| scan.source == *name).map(|scan| scan.counts);
        of.is_some_and(|counts| counts.new + counts.changed + counts.gone > 0)
    };
    let looks = |with: &With| match &with.from {
        WithFrom::Value(node) => {
            let of_stream = families.of_stream(*node);
            of_stream.iter().flat_map(|(family, _)| families.roots(*family)).any(|root| is_changed(&root))
        }
        _ => false,
    };
    let targets = (0..parts.pipeline.targets.len()).map(TargetIx);
    targets.filter(|ix| parts.pipeline.target(*ix).with.iter().any(looks)).collect()
}

/// The documents of a sample: of each source those whose path's hash is smallest, the same ones each time.
pub(super) fn sample(parts: &Parts<'_>, scans: &[Scan], size: u64) -> Result<HashSet<String>> {
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
