//! `pipe publish`: compares the published files with the results that they show, and puts them right.

use std::collections::BTreeSet;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::select;
use crate::engine::Parts;
use crate::engine::listing::Manner;
use crate::engine::repair::{Fault, Repaired, Wrong, repair};
use crate::error::{Error, Result};
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::project::Project;
use crate::text;

/// Compare the published files with their results; show again what is missing
///
/// Reads every published file. What is missing or old is shown again, what shows nothing any more is removed. A file
/// that was edited is kept and named. Runs no module. Exit 1 if a file is not the present result in the end.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Only these targets, or those that use these modules
    #[arg(value_name = "TARGET")]
    names: Vec<String>,

    /// Only compare and report; exit 1 if anything differs
    #[arg(long, conflicts_with = "overwrite")]
    check: bool,

    /// Write edited files anew; what was edited in them is lost
    #[arg(long)]
    overwrite: bool,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        let wanted = self.wanted(project.pipeline())?;
        let manner = match (self.check, self.overwrite) {
            (true, _) => Manner::Look,
            (_, true) => Manner::Overwrite,
            _ => Manner::Mend,
        };
        let store = owner::open(&project, out)?;
        let mut edited = 0;
        let parts = Parts::without_modules(project.pipeline(), project.loaded.digest, &store);
        let repaired = repair(&parts, &wanted, manner, crate::env::command_line(), &mut |wrong| {
            edited += u64::from(wrong.fault == Fault::Edited && !wrong.mended);
            if out.is_json() { out.json_line("file", wrong) } else { out.line(line(wrong, manner)) }
        });
        let closed = store.close();
        let repaired = repaired?;
        closed?;
        if out.is_json() {
            out.json_line("publish", &repaired)?;
        } else {
            out.line(format!(
                "  {:<9} {}",
                if self.check { "Compared" } else { "Published" },
                sums(&repaired)
            ))?;
        }
        if edited > 0 && !self.overwrite {
            out.hint("pipe publish --overwrite    writes edited files anew; what was edited in them is lost");
        }
        let to_mend = self.check && repaired.wrong > edited;
        if to_mend {
            out.hint(
                "pipe publish                shows again what is missing, and removes what shows nothing",
            );
        }
        Ok(if repaired.wrong == 0 { Exit::FINE } else { Exit::FAILED })
    }

    fn wanted(&self, pipeline: &Pipeline) -> Result<BTreeSet<TargetIx>> {
        if self.names.is_empty() {
            return Ok((0..pipeline.targets.len()).map(TargetIx).collect());
        }
        let wanted = select(pipeline, &self.names)?;
        for ix in &wanted {
            let target = pipeline.target(*ix);
            if target.publish.is_none() {
                return Err(Error::usage(format!("target `{}` publishes nothing", target.name))
                    .hint("`publish = true` in its table shows its results as files")
                    .hint(format!("pipe export {} -o DIR     writes them once", target.name)));
            }
        }
        Ok(wanted)
    }
}

fn line(wrong: &Wrong, manner: Manner) -> String {
    let head = match wrong.fault {
        Fault::Missing => "Missing",
        Fault::Old => "Old",
        Fault::Edited => "Edited",
        Fault::NotOurs => "Not ours",
        Fault::Taken => "Taken",
        Fault::Stale => "Stale",
        Fault::Gone => "Gone",
        Fault::Damaged => "Damaged",
    };
    let doc = wrong.doc.as_deref().unwrap_or(&wrong.target);
    let path = wrong.path.as_deref().unwrap_or(doc);
    let then = match (wrong.fault, wrong.mended) {
        (Fault::Gone, true) => "removed".to_owned(),
        (Fault::Edited, true) => "written anew".to_owned(),
        (_, true) => "shown again".to_owned(),
        (Fault::Taken, _) => {
            let word = text::shell_word(doc);
            format!("{doc} has no path of its own, so it is not shown: pipe why {word}")
        }
        (Fault::NotOurs, _) => "another file lies there: move it away, or publish elsewhere".to_owned(),
        (Fault::Stale, _) => {
            let word = text::shell_word(doc);
            format!("{doc} has no newer result in {}: pipe why {word}", wrong.target)
        }
        (Fault::Damaged, _) => "its result is damaged in the store: pipe build makes it again".to_owned(),
        (Fault::Edited, _) if manner != Manner::Look => "kept as it is".to_owned(),
        (Fault::Edited, _) => "differs from its result".to_owned(),
        (Fault::Gone, _) if manner != Manner::Look => {
            "could not be removed; it shows nothing any more".to_owned()
        }
        (Fault::Gone, _) => "shows nothing any more".to_owned(),
        (Fault::Missing | Fault::Old, _) => format!("result of {} for {doc}", wrong.target),
    };
    text::printable(&format!("  {head:<9} {path}  {then}"))
}

fn sums(repaired: &Repaired) -> String {
    let parts = [(repaired.right, "right"), (repaired.mended, "put right"), (repaired.wrong, "wrong")];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{} {word}", text::thousands(n)))
        .collect();
    let compared = text::count(repaired.compared, "file");
    if parts.is_empty() {
        "nothing is published".to_owned()
    } else {
        format!("{compared}: {}", parts.join(", "))
    }
}
