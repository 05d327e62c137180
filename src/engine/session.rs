//! A build from its beginning to its summary: outline, scan, plan, strata, publishing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::engine::build::{Build, Finished};
use crate::engine::listing::{self, Manner};
use crate::engine::loads::PresentCode;
use crate::engine::mirror::{self, Repairs, note_unpublished, repairs};
use crate::engine::outline::{Outline, stream_families};
use crate::engine::publish::Job;
use crate::engine::reduce::reduce;
use crate::engine::requests::Inputs;
use crate::engine::services::{self, Reach};
use crate::engine::sources::{planned, remember_rules, sample, scan_limited};
use crate::engine::standing::{Again, Standing};
use crate::engine::strays::{self, Strays, strays};
use crate::engine::supply::Supply;
use crate::engine::{
    Interrupts, Options, Parts, failures, grouping, hold, modules, past, replaced, stale, unshown,
};
use crate::error::{Error, Result};
use crate::model::action::{Ended, Position};
use crate::model::allowance::Allowance;
use crate::model::document::{DocId, DocNumber};
use crate::model::event::{Event, Planned, Sink, Stopped, Summary, Unlisted};
use crate::model::failure::FailureKind;
use crate::model::pipeline::{Node, Pipeline, TargetIx, WithFrom};
use crate::model::selection::Field;
use crate::plan::family::{Families, Family, FamilyIx, Origin, by_target};
use crate::remote::CHANGED;
use crate::scan::{Kind, Scan};
use crate::store::{Entry, Store};

/// Brings a pipeline up to date.
///
/// # Errors
///
/// What keeps the build from its end: the guard of a source, an unreadable Pipelinefile's part, the store. Failures of
/// documents are in the summary.
pub fn build(
    parts: &Parts<'_>,
    options: &Options,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
) -> Result<Summary> {
    build_again(parts, options, sink, interrupts, &mut Standing::default())
}

/// The same as one of several builds of this process: it looks only at what changed, if that is known and enough.
///
/// # Errors
///
/// As [`build`].
pub fn build_again(
    parts: &Parts<'_>,
    options: &Options,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
    standing: &mut Standing,
) -> Result<Summary> {
    let mut changes = 0;
    let summary = loop {
        let summary = once(parts, options.clone(), sink, interrupts, standing)?;
        // A module whose code changed on its server: keys are derived again, with what the server says now.
        match &summary.stopped {
            Some(Stopped::Module { target, failure }) if failure.error == CHANGED && changes < CHANGES => {
                changes += 1;
                let message = format!("{target}: {}; its documents are looked at again", failure.message);
                sink.event(&Event::Notice { message, hint: None });
            }
            _ => break summary,
        }
    };
    if !options.dry_run || summary.stopped.is_some() {
        sink.event(&Event::Finished(summary.clone()));
    }
    Ok(summary)
}

/// How often a module may change on its server during one build.
const CHANGES: u32 = 3;

/// A build that a signal ended before anything was decided.
fn stopped(began: Instant, interrupts: &Interrupts) -> Summary {
    let signal = interrupts.seen().map_or(0, |(signal, _)| signal);
    let milliseconds = began.elapsed().as_millis() as u64;
    Summary { milliseconds, stopped: Some(Stopped::Signal { signal }), ..Summary::default() }
}

/// One pass: what [`build_again`] does unless a server changes meanwhile.
fn once(
    parts: &Parts<'_>,
    mut options: Options,
    sink: &mut dyn Sink,
    interrupts: &Interrupts,
    standing: &mut Standing,
) -> Result<Summary> {
    let began = Instant::now();
    let families = Families::new(parts.pipeline, &options.wanted);
    options.reads_all = options.reads_all || asks_content(parts.pipeline, &options);
    let called = services::modules_of(parts.pipeline, options.wanted.iter().copied());
    let used = called.iter().copied();
    let mut say = |message| sink.event(&Event::Notice { message, hint: None });
    let stop = || interrupts.seen().is_some();
    let _in_use = match parts.prepare(used, options.dry_run, &mut say, &stop) {
        Err(_) if stop() => return Ok(stopped(began, interrupts)),
        prepared => prepared?,
    };
    let facts =
        modules::facts(parts.pipeline, parts.store, &parts.interpreter, Reach::Servers(Some(&called)))?;
    for notice in facts.iter().filter_map(|facts| facts.service.as_ref()?.notice.clone()) {
        sink.event(&Event::Notice { message: notice, hint: None });
    }
    let mut outline = Outline::new(parts, facts)?;
    predict(parts, &families, &options, &mut outline)?;
    if !options.update.is_empty() {
        hold::unsettle(parts, &families, options.update.iter().copied())?;
    }
    let limits = standing.take_limits(parts, &outline, &options);
    let limits = limits.as_ref();
    let scans = match scan_limited(parts, &families, &options, &outline, sink, interrupts, limits) {
        Err(_) if interrupts.seen().is_some() => return Ok(stopped(began, interrupts)),
        scans => scans?,
    };
    named_any(parts, &options, &scans)?;
    options.not_named = not_named(&options, &scans);
    if let Some(size) = options.sample_size {
        options.sample = Some(Arc::new(sample(parts, &scans, size)?));
    }
    let stale = stale_sets(parts, &families, &options, &outline, &scans)?;
    let Repairs { jobs: unpublished, unchecked, publishing } = repairs(parts, &families, &options, limits)?;
    let Strays { found: strays, splits } = strays(parts, &families, &options)?;
    let documents: u64 = scans.iter().map(|scan| scan.counts.present()).sum();
    let gone: u64 = scans.iter().map(|scan| scan.counts.gone).sum();
    let differ: u64 = scans.iter().map(|scan| scan.found.len() as u64).sum();
    let nothing = differ == 0
        && stale.is_empty()
        && unpublished.is_empty()
        && strays.is_empty()
        && (options.is_partial() || !unshown::any_free(parts, &families)?);
    let mut summary =
        Summary { documents, up_to_date: documents.saturating_sub(differ - gone), ..Summary::default() };
    let plan =
        if nothing { Vec::new() } else { planned(parts, &families, &options, &outline, &scans, &stale)? };
    if !nothing || options.dry_run {
        sink.event(&Event::Plan { targets: plan.clone(), up_to_date: summary.up_to_date });
    }
    if options.dry_run {
        return Ok(summary);
    }
    let (mut again, mut touched) = (Again::default(), BTreeSet::new());
    let mut begun = None;
    if !nothing {
        let appended = parts.store.appended();
        let run = parts.store.begin_run(options.command.clone(), parts.pipelinefile)?;
        begun = Some(run);
        sink.event(&Event::RunStarted { run });
        work(
            parts,
            &families,
            &options,
            &mut outline,
            sink,
            interrupts,
            &scans,
            &plan,
            unpublished,
            &strays,
            &mut summary,
            standing,
            limits.is_some(),
            &mut again,
            &mut touched,
        )?;
        summary.run = (parts.store.appended() > appended).then_some(run);
        if summary.targets.iter().any(|counts| counts.built > 0) {
            for (module, file) in modules::changed_since(parts.pipeline, parts.store, outline.facts()) {
                let message = format!(
                    "`{file}` is code of `{module}` and changed during the build: the next does its work again"
                );
                let hint =
                    "a module that writes there should write to doc.tmp; `code` says which files count";
                sink.event(&Event::Notice { message, hint: Some(hint.to_owned()) });
            }
        }
    }
    if unchecked && summary.stopped.is_none() {
        parts.store.publishing_checked()?;
    }
    if let Some(publishing) = publishing
        && summary.stopped.is_none()
    {
        mirror::remember(parts.store, &publishing)?;
    }
    if let Some(splits) = splits
        && summary.stopped.is_none()
    {
        strays::remember(parts.store, &splits)?;
    }
    if summary.stopped.is_none() && !options.is_partial() {
        remember_rules(parts, &families)?;
    }
    if summary.stopped.is_none() && !options.is_partial() {
        standing.remember(parts, &outline, &options, &scans, again);
    }
    let failed = failures::standing(parts.store, parts.pipeline)?;
    (summary.causes, summary.failed_documents, summary.blocked) =
        (failed.causes, failed.documents, failed.blocked);
    let blocked = summary.blocked;
    if blocked > 0 && summary.causes.is_empty() {
        summary.blocked_by = failures::first_blocked(parts.store, parts.pipeline)?;
    }
    summary.sets = failures::incomplete(parts.store, parts.pipeline)?;
    if summary.stopped.is_none() {
        list(parts, &options, &touched, &mut summary, sink)?;
    }
    if summary.stopped.is_some() || !summary.causes.is_empty() || blocked > 0 {
        summary.stale = stale::stale(parts.pipeline, parts.store)?;
    }
    summary.milliseconds = began.elapsed().as_millis() as u64;
    summary.allowed = options.allow_failures.filter(|limit| allows(*limit, &summary));
    if let Some(run) = begun
        && (summary.run.is_some() || summary.stopped.is_some())
    {
        // Where the store cannot be written that is said already.
        let listings = listing::owned_listings(parts.store)?;
        let ended = Ended { listings, ..summary.ended(crate::time::now()) };
        let written = parts.store.end_run(ended);
        summary.run = written.is_ok().then_some(run).or(summary.run);
    }
    Ok(summary)
}

/// Writes the listings of what was published, where anything in them may be new.
fn list(
    parts: &Parts<'_>,
    options: &Options,
    touched: &BTreeSet<String>,
    summary: &mut Summary,
    sink: &mut dyn Sink,
) -> Result<()> {
    let is_new = |target: &str| touched.contains(target);
    let listed = listing::refresh(parts.pipeline, parts.store, &options.wanted, &is_new, Manner::Mend)?;
    let edited = |path: &str| format!("`{path}` was edited since it was published; it is kept as it is");
    for listing::Listed { target, path, found, written, problem } in listed {
        summary.published += u64::from(written);
        match found {
            _ if problem.is_some() => summary.unlisted.push(Unlisted { target, path, problem }),
            listing::Found::Foreign => summary.unlisted.push(Unlisted { target, path, problem }),
            listing::Found::Edited => {
                let hint = Some("pipe publish --overwrite    writes it anew".to_owned());
                sink.event(&Event::Notice { message: edited(&path), hint });
            }
            _ => {}
        }
    }
    if mirror::covers_all(parts.pipeline, options) {
        let (removed, kept) = listing::withdraw(parts.pipeline, parts.store)?;
        summary.withdrawn += removed.len() as u64;
        for path in kept {
            let message = format!("`{path}` lists nothing any more, but was edited; it is kept");
            sink.event(&Event::Notice { message, hint: None });
        }
    }
    Ok(())
}

/// Whether `--allow-failures` covers what failed. A set that could not be made is more than a failed document.
fn allows(limit: Allowance, summary: &Summary) -> bool {
    let failed = summary.failed_documents;
    failed > 0 && limit.allows(failed, summary.documents) && !summary.sets.iter().any(|set| set.blocked)
}

/// An error if `--docs` names no document at all.
fn named_any(parts: &Parts<'_>, options: &Options, scans: &[Scan]) -> Result<()> {
    let Some(glob) = &options.docs else { return Ok(()) };
    let is_named = |source: &str, dir: &str, name: &str| {
        crate::engine::sets::is_named(glob, &crate::engine::sets::id_of(source, dir, name))
    };
    for scan in scans {
        let is_new = scan.found.iter().any(|found| is_named(&scan.source, &found.dir, &found.name));
        let mut is_known = false;
        parts.store.scan(&scan.source, &mut |dir, entry| {
            is_known = !entry.flags.gone && is_named(&scan.source, dir, &entry.name);
            !is_known
        })?;
        if is_new || is_known {
            return Ok(());
        }
    }
    Err(Error::no_match(format!("`--docs {}` names no document", glob.pattern()))
        .hint("ids begin with the source's name: pipe ls SOURCE"))
}

/// How many documents of each source differ, but are not to be brought up to date.
fn not_named(options: &Options, scans: &[Scan]) -> HashMap<String, u64> {
    let Some(glob) = &options.docs else { return HashMap::new() };
    let count = |scan: &Scan| {
        let differs = |found: &crate::scan::Found| {
            let id = crate::engine::sets::id_of(&scan.source, &found.dir, &found.name);
            !matches!(found.kind, Kind::Untrusted(_)) && !crate::engine::sets::is_named(glob, &id)
        };
        (scan.source.clone(), scan.found.iter().filter(differs).count() as u64)
    };
    scans.iter().map(count).collect()
}

/// Whether a target asks for what only the bytes of a source tell.
fn asks_content(pipeline: &Pipeline, options: &Options) -> bool {
    let asks = |field: &Field| matches!(field, Field::Mime | Field::Size);
    options
        .wanted
        .iter()
        .map(|ix| pipeline.target(*ix))
        .any(|target| target.sees.iter().any(asks) || target.tested().any(asks))
}

/// Plans every target with the sets as they are now: what must be so if nothing has changed.
fn predict(parts: &Parts<'_>, families: &Families, options: &Options, outline: &mut Outline) -> Result<()> {
    let mut present = PresentCode::new(&parts.sites);
    let mut inputs = Inputs::new(parts.store)?;
    for ix in &options.wanted {
        outline.plan(parts, families, *ix, &mut present, &mut inputs)?;
    }
    Ok(())
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
        let (Origin::Set(target) | Origin::Group(target)) = family.origin else { continue };
        let members = stream_families(families, parts.pipeline, target);
        let roots: Vec<FamilyIx> = members.iter().flat_map(|(member, _)| families.roots(*member)).collect();
        let touched = |root: &FamilyIx| {
            let root = families.family(*root);
            scans.iter().any(|scan| scan.source == root.name && !scan.found.is_empty())
        };
        let shared = parts.pipeline.target(target).with.iter().any(|with| match with.from {
            WithFrom::Shared(of) => stale.iter().any(|ix| families.family(*ix).step_of(of).is_some()),
            _ => false,
        });
        let of_sets = roots.iter().any(|root| stale.contains(root));
        let changed = roots.iter().any(touched) || of_sets || shared;
        let needs = changed
            || options.sample_size.is_some()
            || !is_set_current(parts, families, outline, family, target)?;
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
    let head = family.head().unwrap_or_default();
    let Some(entry) = parts.store.entry(&head, "", "")? else { return Ok(false) };
    let last = family.last_stratum();
    if !entry.flags.settled || !outline.covers_family(parts, entry.definition, family, last) {
        return Ok(false);
    }
    let of = parts.pipeline.target(target);
    let streams = &of.streams;
    let mut names: Vec<&str> = streams.iter().map(|stream| parts.pipeline.node_name(*stream)).collect();
    names.extend(by_target(parts.pipeline, target).map(|of| parts.pipeline.target(of).name.as_str()));
    // What members inherit may change where their own result does not.
    let of_meta = of.by.as_deref().is_some_and(|by| by.starts_with("meta."));
    let is_meta = |field: &Field| matches!(field, Field::Meta(_));
    if of_meta || of.sees.iter().any(is_meta) || of.tested().any(is_meta) {
        let targets = streams.iter().filter_map(|stream| match stream {
            Node::Target(ix) => Some(*ix),
            Node::Source(_) => None,
        });
        let before = Families::closure(parts.pipeline, targets);
        names.extend(before.into_iter().map(|ix| parts.pipeline.target(ix).name.as_str()));
        let rows = stream_families(families, parts.pipeline, target);
        let rows = rows.iter().map(|(member, _)| families.family(*member)).filter(|member| member.given);
        names.extend(rows.map(|member| member.name.as_str()));
    }
    // A document that goes changes its source, whatever target it was a member of.
    let members = stream_families(families, parts.pipeline, target);
    let of_source = members.iter().filter(|_| streams.iter().any(|stream| matches!(stream, Node::Source(_))));
    names.extend(of_source.map(|(member, _)| families.family(*member).name.as_str()));
    // A document that cannot be split is missing, whatever its children were before.
    let mut split: Vec<FamilyIx> = members.iter().map(|(member, _)| *member).collect();
    while let Some(ix) = split.pop() {
        if let Origin::Children(of) = families.family(ix).origin {
            names.push(&parts.pipeline.target(of).name);
            split.extend(families.parents(ix));
        }
    }
    Ok(names.iter().all(|name| parts.store.last_change(name) <= entry.story))
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
    plan: &[Planned],
    unpublished: Vec<Job>,
    strays: &[(FamilyIx, String, Entry)],
    summary: &mut Summary,
    standing: &mut Standing,
    is_limited: bool,
    again: &mut Again,
    touched: &mut BTreeSet<String>,
) -> Result<()> {
    let mut build = Build::new(parts, families, options, outline, sink, interrupts, standing)?;
    build.closed = is_limited.then(BTreeSet::new);
    build.expect_in_all(summary.documents.saturating_sub(summary.up_to_date));
    for planned in plan {
        if let (Some(actions), Some(ix)) = (planned.actions, parts.pipeline.find_target(&planned.target)) {
            build.expect(ix, actions);
        }
    }
    // First, so that what this build makes stands above it.
    unpublished.into_iter().for_each(|job| build.publish(job));
    let only = options.sample_filter();
    // Children of what is split no more: sets and groups then look at their members again.
    let mut result = strays.iter().try_for_each(|(ix, dir, entry)| build.retire_child(*ix, dir, entry));
    let mut replaced_in = None;
    let mut stratum = 0;
    while result.is_ok() && stratum < families.stratum_count() && !build.stopped_for_good() {
        let only = only.as_deref();
        result =
            one_stratum(parts, families, options, &mut build, scans, only, stratum, replaced_in.as_ref());
        if result.is_err() {
            break;
        }
        let replaced = build.take_replaced();
        if replaced.is_empty() {
            stratum += 1;
            continue;
        }
        // A result that was replaced stands in other stories too: these come first, before any set is made of them.
        match replaced::unsettle(parts.store, &replaced) {
            Ok(numbers) => replaced_in = Some(Arc::new(numbers)),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        stratum = 0;
    }
    if result.is_ok() {
        result = build.settle().and_then(|()| build.reopen()).and_then(|()| build.redefine());
    }
    build.end_workers();
    // Those of builds before: what this one made or withdrew may have freed their paths.
    let mut again_asked = Vec::new();
    if result.is_ok() && !options.is_partial() && !build.stopped_for_good() {
        match unshown::unshown(parts, families) {
            Ok(unshown) => again_asked = unshown,
            Err(error) => result = Err(error),
        }
        again_asked.iter().for_each(|unshown| build.publish(unshown.job.clone()));
    }
    let Finished { counts, through, stopped, published, taken, again: left, ran } = build.finish();
    // Otherwise a damaged result may not have been made again, which would have opened all that name it.
    if result.is_ok() && matches!(stopped, None | Some(Stopped::Breaker { .. })) {
        parts.store.all_unsettled();
    }
    *again = left;
    summary.targets = counts;
    let to_do = summary.documents.saturating_sub(summary.up_to_date);
    summary.unfinished = if stopped.is_some() { to_do.saturating_sub(through) } else { 0 };
    summary.stopped = stopped;
    summary.taken = taken;
    summary.published = published.written;
    summary.withdrawn = published.withdrawn;
    touched.clone_from(&published.targets);
    if result.is_ok() {
        result = past::remember(parts.store, parts.pipeline, &ran);
    }
    for message in &published.notices {
        sink.event(&Event::Notice { message: message.clone(), hint: None });
    }
    let noted = result
        .and_then(|()| note_unpublished(parts.store, families, &published))
        .and_then(|()| unshown::clear(parts.store, families, &again_asked, &published));
    if let Err(error) = noted {
        // What is shown is not known any more. The store may be what failed: then it ends uncleanly, which says the same.
        drop(parts.store.publishing_unchecked());
        return Err(error);
    }
    let passing = published.failures.iter().filter(|(.., failure)| failure.kind != FailureKind::PathTaken);
    let unpublished = passing.map(|(doc, ..)| doc);
    for doc in unpublished.chain(published.damaged.iter().map(|(doc, _)| doc)) {
        // A child is found by the document that it was split from.
        let rel = doc.rel().split('#').next().unwrap_or_default();
        again.note(doc.source(), rel, true);
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
fn one_stratum(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    build: &mut Build<'_>,
    scans: &[Scan],
    only: Option<&(dyn Fn(&DocId) -> bool + Sync)>,
    stratum: usize,
    again: Option<&Arc<HashSet<DocNumber>>>,
) -> Result<()> {
    build.settle()?;
    parts.store.write_pages()?;
    build.plan_stratum(stratum)?;
    for family in &families.list {
        if let Origin::Set(target) = family.origin
            && parts.pipeline.target(target).reduce
            && family.steps.first().is_some_and(|step| step.stratum == stratum)
            && !is_set_current(parts, families, build.outline(), family, target)?
        {
            let reduced = reduce(parts, families, options, build, stratum, target)?;
            build.settle()?;
            build.reduced.insert(target, reduced);
        }
    }
    let covers: Arc<CoverCache> = Arc::new(CoverCache::default());
    let group_covers: Arc<CoverCache> = Arc::new(CoverCache::default());
    let (done, looked) = std::sync::mpsc::channel();
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
                Origin::Group(target) if family.has_stratum(stratum) => {
                    let covers_now = |place| build.outline().covers_family(parts, place, family, stratum);
                    for place in parts.store.definition_places() {
                        group_covers.set(place, covers_now(place));
                    }
                    let is_first = family.steps[0].stratum == stratum;
                    if !is_first {
                        let is_behind = build.looked_at(ix)
                            || again.is_some()
                            || build.replanned(stratum)
                            || !set_covers(parts, build.outline(), family, stratum)?;
                        if is_behind {
                            let covers = Arc::clone(&group_covers);
                            let wanted =
                                move |entry: &Entry| !entry.flags.settled || !covers.get(entry.definition);
                            supply.add_pages(scope, parts.store, ix, &family.name, wanted)?;
                        }
                        continue;
                    }
                    let is_current = options.sample_size.is_none()
                        && is_set_current(parts, families, build.outline(), family, target)?;
                    if is_current {
                        continue;
                    }
                    if grouping::is_behind(parts, families, build.outline(), options, target)? {
                        build.keeps_last(target);
                        continue;
                    }
                    if let Some(plan) = build.plan_of(target) {
                        let covers = Arc::clone(&group_covers);
                        let covers = move |place| covers.get(place);
                        grouping::look(
                            scope,
                            &mut supply,
                            parts,
                            families,
                            options,
                            &plan,
                            ix,
                            covers,
                            done.clone(),
                        )?;
                    }
                }
                Origin::Source(_) if stratum == 0 => {
                    if let Some(again) = again {
                        let again = Arc::clone(again);
                        let wanted = move |entry: &Entry| again.contains(&entry.doc);
                        supply.add_pages(scope, parts.store, ix, &family.name, wanted)?;
                    } else if let Some(scan) = scans.iter().find(|scan| scan.source == family.name) {
                        supply.add_scan(ix, scan);
                    }
                }
                Origin::Source(_) if family.has_stratum(stratum) => {
                    let places = parts.store.definition_places();
                    for place in places {
                        covers.set(place, build.outline().covers_family(parts, place, family, stratum));
                    }
                    let touched =
                        scans.iter().any(|scan| scan.source == family.name && !scan.found.is_empty());
                    let is_all_known = again.is_none() && !build.replanned(stratum);
                    if let Some(closed) = build.closed.as_ref().filter(|_| is_all_known) {
                        let entries = closed_entries(parts.store, family, ix, closed)?;
                        let is_wanted = |(_, entry): &(Arc<str>, Entry)| {
                            !entry.flags.gone && (!entry.flags.settled || !covers.get(entry.definition))
                        };
                        supply.add_entries(ix, &family.name, entries.into_iter().filter(is_wanted).collect());
                    } else if touched || again.is_some() || build.replanned(stratum) {
                        let covers = Arc::clone(&covers);
                        let wanted =
                            move |entry: &Entry| !entry.flags.settled || !covers.get(entry.definition);
                        supply.add_pages(scope, parts.store, ix, &family.name, wanted)?;
                    }
                }
                _ => {}
            }
        }
        build.stratum(stratum, &mut supply)
    })?;
    drop(done);
    let mut passes = Vec::new();
    for (ix, pass) in looked {
        passes.push((ix, pass?));
    }
    build.settle()?;
    build.write_heads(stratum, passes)?;
    if !build.stopped_for_good() {
        build.all_came(stratum);
    }
    build.end_workers();
    build.settle()?;
    build.say_matched(stratum)
}

/// Documents of a family that were closed in this build, as they stand now.
fn closed_entries(
    store: &Store,
    family: &Family,
    ix: FamilyIx,
    closed: &BTreeSet<(FamilyIx, Arc<str>, String)>,
) -> Result<Vec<(Arc<str>, Entry)>> {
    let of_family = closed.iter().filter(|(of, ..)| *of == ix);
    let entry = |(_, dir, name): &(FamilyIx, Arc<str>, String)| {
        let found = store.entry(&family.name, dir, name);
        found.map(|entry| entry.map(|entry| (Arc::clone(dir), entry))).transpose()
    };
    of_family.filter_map(entry).collect()
}

fn set_covers(parts: &Parts<'_>, outline: &Outline, family: &Family, stratum: usize) -> Result<bool> {
    let head = family.head().unwrap_or_default();
    let Some(entry) = parts.store.entry(&head, "", "")? else { return Ok(false) };
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
