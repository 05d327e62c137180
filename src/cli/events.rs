//! Where a build's events go beside the terminal: a file, log systems, people.

use std::io::Write;
use std::path::Path;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::engine::modules::stated_version;
use crate::env;
use crate::error::{Error, Result};
use crate::model::event::{Event, Sink, Summary};
use crate::model::pipeline::Pipeline;
use crate::model::telling::LogPlace;
use crate::project::Project;
use crate::report;
use crate::sink::notify::{self, Ended};
use crate::sink::{About, Outlets};

/// The event stream into a file, and `inner` beside it. The file is begun anew, or `goes_on` from the build before.
pub(super) fn to_file(global: &Global, goes_on: bool, inner: Box<dyn Sink>) -> Result<Box<dyn Sink>> {
    let Some(file) = &global.events else { return Ok(inner) };
    let path = &global.beside(file);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        crate::fs::create_dir(folder)?;
    }
    let mut how = std::fs::File::options();
    how.create(true).write(true).truncate(!goes_on).append(goes_on);
    let file = how.open(path).map_err(|e| Error::io("write", path, &e))?;
    Ok(report::with_events(Box::new(file), inner))
}

/// A build's listeners, here and elsewhere.
pub(super) struct Telling<'a> {
    outlets: Outlets,
    about: About,
    pipeline: &'a Pipeline,
}

impl<'a> Telling<'a> {
    /// Reads where things go; reaches nobody yet.
    pub(super) fn begin(project: &'a Project, inner: Box<dyn Sink>) -> Result<Self> {
        let pipeline = project.pipeline();
        let mut about = About::new(pipeline);
        let places = places(pipeline)?;
        if !places.is_empty() {
            for (name, version) in about.modules.values_mut() {
                let module = pipeline.modules.iter().find(|module| module.name == *name);
                *version = module.and_then(|module| stated_version(pipeline, module));
            }
        }
        let outlets = Outlets::new(inner, &about, &places);
        Ok(Telling { outlets, about, pipeline })
    }

    /// Waits a moment for what is on its way, tells people, and says what did not arrive. Without a summary the build
    /// ended with an error; people hear of it if it is given.
    pub(super) fn end(self, summary: Option<&Summary>, error: Option<&Error>, out: &mut Output) {
        let problems = self.outlets.end();
        problems.iter().for_each(|problem| out.warning(problem));
        match (summary, error) {
            (Some(summary), _) => {
                notify(&self.about, self.pipeline, &Ended::Summary(summary), out);
                tell_ci(summary, &self.pipeline.root, out);
            }
            (None, Some(error)) => refused(&self.about, self.pipeline, error, out),
            (None, None) => {}
        }
    }
}

/// Tells people and the CI job of a build that did not begin.
pub(super) fn did_not_begin(project: &Project, error: &Error, out: &mut Output) {
    refused(&About::new(project.pipeline()), project.pipeline(), error, out);
}

fn refused(about: &About, pipeline: &Pipeline, error: &Error, out: &mut Output) {
    let ended = Ended::Error { exit: error.kind.exit_code(), text: error.message.clone() };
    notify(about, pipeline, &ended, out);
    if env::is_github() && !out.is_json() {
        // A closed stdout is no error, and nobody is there to be told of another one.
        drop(out.line(report::ci::error_annotation(error)));
    }
    add_page(&report::ci::error_page(error), out);
}

fn notify(about: &About, pipeline: &Pipeline, ended: &Ended<'_>, out: &mut Output) {
    if let Some(notified) = &pipeline.notify {
        let problem = notify::notify(notified, about, &pipeline.root, ended);
        problem.iter().for_each(|problem| out.warning(problem));
    }
}

/// Adds to the page of a step of a GitHub workflow.
fn add_page(page: &str, out: &mut Output) {
    let Some(file) = env::github_summary() else { return };
    let opened = std::fs::File::options().create(true).append(true).open(&file);
    if let Err(error) = opened.and_then(|mut open| open.write_all(page.as_bytes())) {
        out.warning(Error::io("write", &file, &error).to_string());
    }
}

/// What a CI job shows of a build that had something to do, or in which failures stand.
fn tell_ci(summary: &Summary, root: &Path, out: &mut Output) {
    if summary.run.is_none() && summary.causes.is_empty() && summary.stopped.is_none() {
        return;
    }
    if env::is_github() && !out.is_json() {
        let root = root.canonicalize().ok();
        let repository = env::github_workspace().and_then(|folder| folder.canonicalize().ok());
        let within = root.zip(repository).and_then(|(root, repository)| {
            root.strip_prefix(repository).ok().map(|within| within.to_string_lossy().into_owned())
        });
        // A closed stdout is no error, and nobody is there to be told of another one.
        report::ci::annotations(summary, &within.unwrap_or_default())
            .iter()
            .for_each(|line| drop(out.line(line)));
    }
    add_page(&report::ci::page(summary), out);
}

impl Sink for Telling<'_> {
    fn event(&mut self, event: &Event) {
        self.outlets.event(event);
    }
}

/// The places of the environment, else those of the Pipelinefile.
fn places(pipeline: &Pipeline) -> Result<Vec<LogPlace>> {
    let Some(stated) = env::log_to() else { return Ok(pipeline.log_to.clone()) };
    let texts = stated.split(',').map(str::trim).filter(|text| !text.is_empty());
    let read = |text: &str| {
        LogPlace::parse(text, &pipeline.root)
            .map_err(|wanted| Error::usage(format!("PIPE_LOG_TO: `{text}` must be {wanted}")))
    };
    texts.map(read).collect()
}
