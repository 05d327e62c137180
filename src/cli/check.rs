//! `pipe check`: everything that can be said of a Pipelinefile without running anything.

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::error::Result;
use crate::pipelinefile::{Mistake, Mistakes, Style};
use crate::project::{Project, Report, Taken};
use crate::text::count;

/// Read the Pipelinefile and the code it names, report every mistake, run nothing
///
/// Checks the text, that all names lead somewhere, that folders and files are there, and that each function takes what
/// its target hands over. Warnings do not change the exit code.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    define: Define,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    file: String,
    sources: usize,
    targets: usize,
    modules: usize,
    mistakes: Vec<Remark>,
    warnings: Vec<Remark>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    taken: Vec<Taken>,
}

/// A mistake or a warning as data.
#[derive(Serialize)]
struct Remark {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    help: Vec<String>,
    drawn: String,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let report = Project::check(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let exit = if report.mistakes.is_empty() { Exit::FINE } else { Exit::USAGE };
        if out.is_json() {
            out.json_line("check", &answer(&report))?;
            return Ok(exit);
        }
        let drawn = report.rendered();
        if !drawn.is_empty() {
            out.drawn(&drawn);
            out.drawn("\n");
        }
        for taken in &report.taken {
            let Taken { source, project, target, told, .. } = taken;
            out.line(format!("source `{source}` is what `{target}` made in {project}: {told}"))?;
        }
        out.line(verdict(&report))?;
        Ok(exit)
    }
}

fn verdict(report: &Report) -> String {
    let name = match report.place.elsewhere() {
        Some(folder) => folder.join(report.place.name()).display().to_string(),
        None => report.place.name(),
    };
    let mistakes = count(report.mistakes.list.len() as u64, "mistake");
    let warnings = match report.warnings.list.len() as u64 {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    match &report.loaded {
        Some(_) if report.mistakes.is_empty() => {
            let [sources, targets, modules] = sizes(report).map(|n| n as u64);
            let sizes = [count(sources, "source"), count(targets, "target"), count(modules, "module")];
            format!("{name}: {}: no mistakes{warnings}", sizes.join(", "))
        }
        _ => format!("{name}: {mistakes}{warnings}"),
    }
}

fn sizes(report: &Report) -> [usize; 3] {
    report.loaded.as_ref().map_or([0; 3], |loaded| {
        let pipeline = &loaded.pipeline;
        [pipeline.sources.len(), pipeline.targets.len(), pipeline.modules.len()]
    })
}

fn answer(report: &Report) -> Answer {
    let [sources, targets, modules] = sizes(report);
    let remarks = |mistakes: &Mistakes| mistakes.list.iter().map(|one| remark(one, mistakes)).collect();
    Answer {
        file: report.place.file.display().to_string(),
        sources,
        targets,
        modules,
        mistakes: remarks(&report.mistakes),
        warnings: remarks(&report.warnings),
        taken: report.taken.clone(),
    }
}

fn remark(mistake: &Mistake, of: &Mistakes) -> Remark {
    let before = mistake.span.as_ref().and_then(|span| of.text.get(..span.start));
    let fix = mistake.fix.as_ref().map(|fix| format!("{}: {}", fix.title, fix.text));
    Remark {
        message: mistake.message.clone(),
        line: before.map(|before| before.matches('\n').count() + 1),
        column: before.map(|before| before.rsplit('\n').next().unwrap_or_default().chars().count() + 1),
        help: mistake.help.iter().cloned().chain(fix).collect(),
        drawn: Mistakes::new(vec![mistake.clone()], &of.name, of.text.clone()).render(Style::Plain),
    }
}
