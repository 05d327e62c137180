//! `pipe repro`: a target on one document in a folder that runs without `pipe`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::trial;
use crate::error::{Error, Result};
use crate::module::{Host, repro};
use crate::project::Project;
use crate::query::log::{Only, Step, Timeline};
use crate::query::printed::LogPart;
use crate::query::{Answer, Question};

/// Write a folder that runs a target on one document without pipe
///
/// With its inputs, params, code, command, environment, and what the module said last: to be looked at, attached to a
/// report, or run elsewhere by the script `run.sh` in it. Values of `secrets` are not in it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The document; of an `all` target its name
    #[arg(value_name = "DOC")]
    doc: String,

    /// The target
    #[arg(value_name = "TARGET")]
    target: String,

    /// The folder, or a file that ends in .tar.zst
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    #[command(flatten)]
    define: Define,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let trial = trial::Args::of(&self.target, &self.doc, self.define.clone());
        let ix = trial.chosen(&project)?;
        let host = Arc::new(Host::of_this_program());
        let mut scratch = None;
        let prepared = trial.prepared(&project, ix, &host, &mut scratch, global.jobs(), out)?.trial;
        let target = project.pipeline().target(ix).name.clone();
        let name = format!("repro-{target}-{}", safe(prepared.doc.as_str()));
        let place = global.beside(self.output.as_deref().unwrap_or(Path::new(&name)));
        let is_archive = place.to_string_lossy().ends_with(".tar.zst");
        if place.exists() {
            let message = format!("`{}` is there already", place.display());
            return Err(Error::usage(message).hint("-o NAME      writes it elsewhere"));
        }
        let parent = match &scratch {
            Some(scratch) if is_archive => scratch.path().to_owned(),
            _ => place.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let folder = if is_archive { parent.join(&name) } else { place.clone() };
        crate::fs::create_dir(&folder)?;
        let folder = folder.canonicalize().map_err(|e| Error::io("find", &folder, &e))?;
        let what = format!("{target} on {}", prepared.doc);
        repro::write(&prepared.launch, &prepared.request, &folder, &what)?;
        for file in &prepared.code {
            repro::copy(&project.root.join(file), &folder.join("code").join(file))?;
        }
        let params = serde_json::to_string_pretty(&prepared.launch.params).unwrap_or_default() + "\n";
        crate::fs::write_scratch(&folder.join("params.json"), params.as_bytes())?;
        crate::fs::write_scratch(&folder.join("Pipelinefile"), project.loaded.text().as_bytes())?;
        let environment = environment(&prepared.launch, &prepared.packages);
        crate::fs::write_scratch(&folder.join("environment.txt"), environment.as_bytes())?;
        drop(prepared);
        self.write_last(&project, &target, &folder, out)?;
        if is_archive {
            pack(&parent, &name, &place)?;
        }
        drop(scratch);
        if out.is_json() {
            out.json_line("repro", &serde_json::json!({ "path": place, "target": target }))?;
        } else if is_archive {
            out.line(format!("{}: unpack it and run {name}/{}", place.display(), repro::SCRIPT))?;
        } else {
            out.line(format!("{}: run {}", place.display(), place.join(repro::SCRIPT).display()))?;
        }
        Ok(Exit::FINE)
    }

    /// What happened last: the step as data, and the module's own lines.
    fn write_last(&self, project: &Project, target: &str, folder: &Path, out: &mut Output) -> Result<()> {
        let only = Only { target: Some(target.to_owned()), ..Only::default() };
        let question = Question::Log { doc: self.doc.clone(), only };
        let (answer, _) = ask::ask_one(project, &question, out)?;
        let Some(Answer::Log(timeline)) = answer else { return Ok(()) };
        let Timeline { runs, .. } = *timeline;
        let Some(step) = runs.iter().rev().flat_map(|run| &run.steps).find(|step| step.target == target)
        else {
            return Ok(());
        };
        // Where the log lies is of this machine; what is in it stands beside this.
        let data = Step { log: None, ..step.clone() };
        let text = serde_json::to_string_pretty(&data).unwrap_or_default() + "\n";
        crate::fs::write_scratch(&folder.join("last.json"), text.as_bytes())?;
        let printed = step.log.as_ref().map(LogPart::read).transpose()?.unwrap_or_default();
        crate::fs::write_scratch(&folder.join("last.log"), &printed.bytes())
    }
}

/// An id as the name of a file.
fn safe(id: &str) -> String {
    id.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

/// What the machine was.
fn environment(launch: &crate::module::Launch, packages: &[String]) -> String {
    let mut lines = vec![
        format!("pipe {}", env!("CARGO_PKG_VERSION")),
        format!("machine {}, {} {}", crate::sys::host_name(), std::env::consts::OS, std::env::consts::ARCH),
    ];
    if let Some(python) = &launch.python {
        lines.push(format!("python {}", python.executable.display()));
    }
    lines.extend(packages.iter().cloned());
    lines.extend(launch.env.iter().map(|(name, value)| format!("{name}={value}")));
    lines.join("\n") + "\n"
}

/// Packs a folder by the programs that every machine has for it.
fn pack(parent: &Path, name: &str, place: &Path) -> Result<()> {
    let failed = |why: String| {
        Error::unfinished(format!("cannot pack `{}`: {why}", place.display()))
            .hint("tar and zstd are needed for it; without .tar.zst a folder is written")
    };
    let packed =
        Command::new("tar").arg("--zstd").arg("-cf").arg(place).arg("-C").arg(parent).arg(name).output();
    match packed {
        Ok(packed) if packed.status.success() => Ok(()),
        Ok(packed) => {
            drop(crate::fs::remove_file(place));
            let said = String::from_utf8_lossy(&packed.stderr).into_owned();
            Err(failed(said.lines().next().unwrap_or("tar failed").to_owned()))
        }
        Err(error) => Err(failed(crate::error::io_text(&error))),
    }
}
