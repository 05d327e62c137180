//! `pipe gc`: gives back to the disk what no document needs and no recent history names.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::engine::environments::{self, Unused};
use crate::engine::modules;
use crate::engine::provision;
use crate::error::{Error, Result};
use crate::model::pipeline::{Module, Pipeline, TargetIx};
use crate::model::selection::{parse_age, parse_size};
use crate::plan::family::Families;
use crate::plan::key::fingerprint;
use crate::project::Project;
use crate::store::Store;
use crate::store::gc::{Asked, Doubt, Report, plan};
use crate::text::{self, count, duration, size};
use crate::time;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Collect what no document needs any more: old results, their files, old logs
///
/// Kept is what the documents of the Pipelinefile have now, and how they stood in the last 10 runs and the last 30 days:
/// reverting an edit of that time runs nothing. Results that were collected are made again if they are ever needed.
/// Published and source files are not touched. Other commands may ask meanwhile; it can be killed at any time.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Show what would go; collect nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Keep only history younger than this (30d, 12h; 0d: none), whatever runs there were
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,

    /// Collect older history until the store is no larger than this (10GB, 500MiB)
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,

    /// Collect even if over half of the store would go, or nothing of it belongs to this Pipelinefile
    #[arg(long)]
    force: bool,
}

fn age(text: &str) -> std::result::Result<Duration, String> {
    parse_age(text).ok_or_else(|| "an age has a number and a unit: 30d, 2w, 12h, 45m, 90s".to_owned())
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    parse_size(text).ok_or_else(|| "a size is a number and perhaps a unit: 10GB, 500MiB".to_owned())
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Line<'a> {
    dry_run: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        if !project.store_dir.join("FORMAT").exists() {
            let place = project.store_dir.display();
            return Err(Error::no_match(format!("there is no store in `{place}` yet")).hint("pipe build"));
        }
        let began = Instant::now();
        let store = owner::open(&project, out)?;
        // Who asks while it works is answered; that nobody can is no reason not to work.
        let server = owner::serve_collecting(&project, &store);
        if let Err(error) = &server {
            out.warning(format!("other commands cannot ask meanwhile: {error}"));
        }
        let done = self.collect(&project, &store, out);
        drop(server);
        let closed = store.close();
        let report = done?;
        closed?;
        if out.is_json() {
            out.json_line("gc", &Line { dry_run: self.dry_run, report: &report })?;
        } else {
            self.show(&report, began.elapsed(), out)?;
        }
        Ok(if report.over.is_some() { Exit::UNFINISHED } else { Exit::FINE })
    }

    fn collect(&self, project: &Project, store: &Store, out: &mut Output) -> Result<Report> {
        let mut last = Instant::now();
        let mut tell = |what: &str, done: u64, total: u64| {
            if last.elapsed() >= TELL_EVERY {
                last = Instant::now();
                let share = (done * 100).checked_div(total).map(|share| format!(" {share}%"));
                out.say(format!("  looking   at {what}{}", share.unwrap_or_default()));
            }
        };
        let families = families(project.pipeline());
        let mut asked = Asked {
            is_present: &|family| families.contains(family),
            fingerprint: &fingerprint,
            pipelinefile: project.loaded.digest,
            older_than: self.older_than,
            max_size: self.max_size,
            now: time::now(),
            tell: &mut tell,
        };
        let plan = plan(store, &mut asked)?;
        let unused = unused_environments(project, store)?;
        if self.dry_run {
            let mut report = plan.report;
            count_environments(&unused, &mut report);
            let shown = if out.is_json() { &[][..] } else { unused.as_slice() };
            for one in shown {
                let shown = one.folder.strip_prefix(&project.root).unwrap_or(&one.folder);
                let list = text::shorten(&text::printable(&one.list), 60);
                headed(out, "Unused", format!("{}  {list}", shown.display()).trim_end())?;
            }
            return Ok(report);
        }
        if let Some(doubt) = plan.report.doubt.filter(|_| !self.force) {
            return Err(self.refuse(doubt, &plan.report));
        }
        let mut report = plan.carry_out(store, &mut tell)?;
        unused.iter().try_for_each(provision::remove)?;
        count_environments(&unused, &mut report);
        Ok(report)
    }

    fn refuse(&self, doubt: Doubt, report: &Report) -> Error {
        let error = match doubt {
            Doubt::NoDocument => Error::unfinished(
                "no document of this Pipelinefile has anything in the store: all of it would go",
            ),
            Doubt::OverHalf => Error::unfinished(format!(
                "over half of all records and results would go: {} of {}",
                size(report.log_bytes + report.blobs.bytes),
                size(report.stored)
            )),
        };
        error
            .hint(format!("{} --dry-run     shows what", self.command()))
            .hint(format!("{} --force       if that is meant", self.command()))
    }

    /// This command, to be pasted.
    fn command(&self) -> String {
        let mut words = vec!["pipe gc".to_owned()];
        if let Some(age) = self.older_than {
            let seconds = age.as_secs();
            let units = [(24 * 3600, 'd'), (3600, 'h'), (60, 'm')];
            let unit = units.into_iter().find(|(unit, _)| seconds % unit == 0);
            let (unit, letter) = unit.unwrap_or((1, 's'));
            words.push(format!("--older-than {}{letter}", seconds / unit));
        }
        if let Some(size) = self.max_size {
            words.push(format!("--max-size {size}"));
        }
        words.join(" ")
    }

    fn show(&self, report: &Report, time: Duration, out: &mut Output) -> Result<()> {
        let kept = [
            count(report.documents, "document"),
            count(report.kept, "result"),
            match report.since {
                Some(since) => format!(
                    "{} since run {} ({})",
                    count(report.history, "earlier state"),
                    since.run,
                    since.start.date_time()
                ),
                None => "no history".to_owned(),
            },
        ];
        headed(out, "Kept", &kept.join(", "))?;
        for (family, documents) in &report.dropped {
            let verb = if self.dry_run { "would be dropped" } else { "dropped" };
            let text =
                format!("{family} is not in the Pipelinefile: {} {verb}", count(*documents, "document"));
            headed(out, "Gone", &text)?;
        }
        let went = went(report);
        let is_nothing = went.is_empty();
        if !is_nothing {
            headed(out, if self.dry_run { "Would go" } else { "Collected" }, &went.join(", "))?;
        }
        if report.among_others > 0 {
            let many = count(report.among_others, "result");
            headed(out, "Later", &format!("{many} that nothing needs, among others that are kept"))?;
        }
        let freed = report.before.saturating_sub(report.after);
        let summary = match (is_nothing, self.dry_run) {
            (true, _) => format!("nothing to collect; the store has {}", size(report.before)),
            (_, true) => format!("{} of {} would be freed", size(freed), size(report.before)),
            (_, false) => {
                format!("{} freed in {}; the store has {}", size(freed), duration(time), size(report.after))
            }
        };
        headed(out, "Summary", &summary)?;
        if let Some(over) = report.over {
            let is_at = if self.dry_run { "would be" } else { "is" };
            out.warning(format!(
                "what the documents need now {is_at} {} more than {}",
                size(over),
                size(self.max_size.unwrap_or_default())
            ));
            out.hint("take targets or sources out of the Pipelinefile, build, then: pipe gc --older-than 0d");
        }
        if let Some(Doubt::NoDocument | Doubt::OverHalf) = report.doubt.filter(|_| self.dry_run) {
            out.hint(format!("{} --force     it asks for that, since so much would go", self.command()));
        }
        Ok(())
    }
}

/// Environments that were made for lists which no module of the project states any more. Where no interpreter can be found,
/// nothing is known of them, and all stay.
fn unused_environments(project: &Project, store: &Store) -> Result<Vec<Unused>> {
    // Those of builds, and those of `pipe serve`.
    let folders = [project.store_dir.join("python"), project.store_dir.join("serve/python")];
    let names = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    if !names.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("env-")) {
        return Ok(Vec::new());
    }
    let Ok(base) = modules::interpreter(&project.root, store) else { return Ok(Vec::new()) };
    let mut all = project.pipeline().modules.clone();
    // `pipe test` and `pipe serve` run those that no target uses.
    let found = crate::code::modules_found(&project.root)?.modules.into_iter();
    all.extend(found.map(|found| Module::found(found.name, found.file.into(), found.function.name)));
    let unused = |folder: &PathBuf| environments::unused(&project.root, &all, &base.with(folder.join("sdk")));
    Ok(folders.iter().map(unused).collect::<Result<Vec<_>>>()?.concat())
}

fn count_environments(unused: &[Unused], report: &mut Report) {
    for one in unused {
        report.environments.add(one.bytes);
        report.before += one.bytes;
    }
}

/// The names under which the store keeps documents of this pipeline: of sources, sets, children, groups and merges.
fn families(pipeline: &Pipeline) -> HashSet<String> {
    let all = (0..pipeline.targets.len()).map(TargetIx).collect();
    let families = Families::new(pipeline, &all).list;
    families.into_iter().flat_map(|family| [family.head(), Some(family.name)]).flatten().collect()
}

fn went(report: &Report) -> Vec<String> {
    let with_size = |n: u64, noun: &str, bytes: u64| format!("{} ({})", count(n, noun), size(bytes));
    let mut went = Vec::new();
    if report.collected > 0 || report.segments.count > 0 {
        went.push(with_size(report.collected, "result", report.log_bytes));
    }
    for (files, noun) in [
        (report.blobs, "large file"),
        (report.logs, "log"),
        (report.pipelinefiles, "old Pipelinefile"),
        (report.environments, "Python environment"),
        (report.leftovers, "leftover"),
    ] {
        if files.count > 0 {
            went.push(with_size(files.count, noun, files.bytes));
        }
    }
    for (n, noun) in [(report.forgotten, "document"), (report.marks, "mark")] {
        if n > 0 {
            let what = if noun == "document" { " gone long ago" } else { " of pipe redo" };
            went.push(count(n, noun) + what);
        }
    }
    went
}

fn headed(out: &mut Output, head: &str, text: &str) -> Result<()> {
    out.line(format!("  {head:<9} {text}"))
}
