//! The project that a command works on: its Pipelinefile found, read and checked against the code, and its store's place.
//!
//! The only place where the Pipelinefile and the modules' code meet before anything runs. Says nothing itself, opens
//! no store, and knows nothing of runs.

mod functions;
mod globs;
mod others;
mod rows;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::env;
use crate::error::{Error, Result, io_text};
use crate::model::pipeline::Pipeline;
use crate::pipelinefile::{
    self, FILE_NAME, Inspection, Loaded, Mistake, Mistakes, Override, Proxy, Severity, Style, discover,
};
use crate::remote::Client;

pub use others::Taken;

/// Where to look for the project, as the command line says.
#[derive(Clone, Debug, Default)]
pub struct Locate {
    /// `-C`: where the user stands instead.
    pub directory: Option<PathBuf>,
    /// `-f`: this file, no search.
    pub file: Option<PathBuf>,
    /// `-D`, each as written: `target.name=value`.
    pub overrides: Vec<String>,
    /// `--proxy`, each as written: `ocr=https://…`.
    pub proxies: Vec<String>,
    /// Mistakes are drawn in colour.
    pub colour: bool,
}

/// A project whose Pipelinefile was found; not read yet.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where the user stands. Absolute.
    pub here: PathBuf,
    /// The Pipelinefile. Absolute.
    pub file: PathBuf,
    overrides: Vec<Override>,
    proxies: Vec<Proxy>,
    style: Style,
}

/// A project with a pipeline.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where it was found.
    pub place: Place,
    /// The project's folder: where the Pipelinefile lies. Absolute.
    pub root: PathBuf,
    /// What the Pipelinefile says.
    pub loaded: Loaded,
    /// Where the store lies. Absolute; nothing need be there.
    pub store_dir: PathBuf,
}

/// Everything that can be said of a project without running any of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where it was found.
    pub place: Place,
    /// What the Pipelinefile says; absent if its own text is wrong.
    pub loaded: Option<Loaded>,
    /// What must be put right, in the order of the file.
    pub mistakes: Mistakes,
    /// What is probably not meant.
    pub warnings: Mistakes,
    /// What sources take of other projects.
    pub taken: Vec<Taken>,
}

/// What the command can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Everything must be there.
    All,
    /// Missing sources are left to the guard of the scan.
    Code,
    /// Only the text must be right.
    Text,
}

/// `--proxy` as written. What a server offers is asked there; a module that is named itself goes before.
fn proxies(written: &[String]) -> Result<Vec<Proxy>> {
    let mut all = Vec::new();
    for text in written.iter().filter(|text| Proxy::server(text).is_none()) {
        all.push(Proxy::parse(text)?);
    }
    for server in written.iter().filter_map(|text| Proxy::server(text)) {
        let offered = Client::new(server, env::token(env::TOKEN)).and_then(|client| client.modules());
        let offered = offered.map_err(|trouble| {
            Error::unfinished(format!("{server}: {}", trouble.text()))
                .hint(format!("pipe modules --from {server}     asks it what it offers"))
        })?;
        all.extend(offered.iter().map(|module| Proxy::on(server, &module.name)));
    }
    Ok(all)
}

impl Place {
    /// Finds the Pipelinefile: at or above where the user stands, or where `-f` says.
    pub fn find(locate: &Locate) -> Result<Place> {
        let here = here(locate.directory.as_deref())?;
        let overrides = locate.overrides.iter().map(|text| Override::parse(text)).collect::<Result<_>>()?;
        let proxies = proxies(&locate.proxies)?;
        let file = match &locate.file {
            Some(file) => named(&here, file)?,
            None => discover(&here).ok_or_else(|| {
                Error::usage(format!("there is no {FILE_NAME} in `{}` or above it", here.display()))
                    .hint("pipe init         writes one that builds at once")
                    .hint("pipe -C DIR …     works in another folder")
            })?,
        };
        let style = if locate.colour { Style::Colour } else { Style::Plain };
        Ok(Place { here, file, overrides, proxies, style })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        // The path of a file that was found has a folder above it.
        self.file.parent().unwrap_or(&self.here)
    }

    /// Where the project lies as seen from where the user stands, if it is not here: `..`.
    pub fn elsewhere(&self) -> Option<PathBuf> {
        let root = self.root();
        if root == self.here {
            return None;
        }
        let below = self.here.strip_prefix(root).ok();
        Some(below.map_or_else(|| root.to_owned(), |below| below.components().map(|_| "..").collect()))
    }

    /// The file's name as it is shown.
    pub fn name(&self) -> String {
        self.file.file_name().map_or_else(|| FILE_NAME.to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

impl Report {
    /// Reads everything: the text, what it names on disk, the functions that it calls, the globs of its sources.
    pub fn of(place: Place) -> Report {
        let mut report = Report::of_code(place);
        if let Some(loaded) = &report.loaded {
            let list = std::mem::take(&mut report.warnings.list);
            report.mistakes.list.extend(rows::wrong(loaded));
            let mut list: Vec<Mistake> = list.into_iter().chain(globs::unmatched(loaded)).collect();
            // Where the other project is not as it is named, that is told already.
            if report.mistakes.is_empty() {
                let (taken, warnings) = others::taken(loaded);
                report.taken = taken;
                list.extend(warnings);
            }
            report.warnings = Mistakes::new(list, &report.warnings.name, report.warnings.text.clone());
        }
        report
    }

    /// The same without a walk through the sources.
    fn of_code(place: Place) -> Report {
        let Inspection { loaded, mistakes, calls } =
            pipelinefile::inspect_calls(&place.file, &place.overrides, &place.proxies);
        let mut found = functions::check(place.root(), &calls);
        if let Some(loaded) = &loaded {
            found.extend(functions::check_commands(loaded));
        }
        let Mistakes { mut list, name, text } = mistakes;
        let mut warnings = loaded.as_ref().map(|loaded| loaded.warnings.clone()).unwrap_or_default();
        for mistake in found {
            if mistake.severity == Severity::Warning { &mut warnings } else { &mut list }.push(mistake);
        }
        Report {
            place,
            loaded,
            mistakes: Mistakes::new(list, &name, text.clone()),
            warnings: Mistakes::new(warnings, &name, text),
            taken: Vec::new(),
        }
    }

    /// Mistakes and warnings, drawn, the warnings last; empty if there are none.
    pub fn rendered(&self) -> String {
        let drawn = [&self.mistakes, &self.warnings].map(|some| some.render(self.place.style));
        drawn.into_iter().filter(|drawn| !drawn.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn into_project(mut self, need: Need) -> Result<Project> {
        let loaded = self.loaded.take();
        if let Some(loaded) = &loaded {
            self.mistakes.list.retain(|mistake| match (need, mistake.severity) {
                (Need::All, _) | (_, Severity::Text) => true,
                (Need::Text, _) => false,
                (Need::Code, _) => !is_at_source(loaded, mistake),
            });
        }
        match loaded {
            Some(loaded) if self.mistakes.is_empty() => Ok(Project::new(self.place, loaded)),
            _ => Err(self.mistakes.into_error(self.place.style)),
        }
    }
}

impl Project {
    /// The project, if nothing at all is wrong with its Pipelinefile.
    pub fn find(locate: &Locate) -> Result<Project> {
        Report::of_code(Place::find(locate)?).into_project(Need::All)
    }

    /// The project to build: that a source is not there is for the guard of the scan to say (exit 3); all else that is
    /// missing ends it here (exit 2).
    pub fn for_build(locate: &Locate) -> Result<Project> {
        Report::of_code(Place::find(locate)?).into_project(Need::Code)
    }

    /// The project to ask about what was done: only the Pipelinefile's own text must be right. Reads no code.
    pub fn for_reading(locate: &Locate) -> Result<Project> {
        let place = Place::find(locate)?;
        let Inspection { loaded, mistakes, .. } =
            pipelinefile::inspect_calls(&place.file, &place.overrides, &place.proxies);
        let warnings = Mistakes::default();
        Report { place, loaded, mistakes, warnings, taken: Vec::new() }.into_project(Need::Text)
    }

    /// The project whose Pipelinefile need not be understood, for what was recorded beside it. Its pipeline is empty if not.
    pub fn for_runs(locate: &Locate) -> Result<Project> {
        Project::for_reading(locate).or_else(|_| {
            let place = Place::find(locate)?;
            let loaded = Loaded::nothing(&place.file);
            Ok(Project::new(place, loaded))
        })
    }

    /// Everything that can be said of it without running any of it; an error only where there is no Pipelinefile.
    pub fn check(locate: &Locate) -> Result<Report> {
        Ok(Report::of(Place::find(locate)?))
    }

    fn new(place: Place, loaded: Loaded) -> Project {
        let root = loaded.pipeline.root.clone();
        let store_dir = root.join(env::store_dir().unwrap_or_else(|| env::STORE.into()));
        Project { place, root, loaded, store_dir }
    }

    /// What is built.
    pub fn pipeline(&self) -> &Pipeline {
        &self.loaded.pipeline
    }

    /// What is probably not meant, drawn; empty if there is nothing.
    pub fn warnings(&self) -> String {
        self.loaded.render(&self.loaded.warnings, self.place.style)
    }
}

fn here(directory: Option<&Path>) -> Result<PathBuf> {
    let asked = directory.unwrap_or(Path::new("."));
    let unusable = |why: &str| Error::usage(format!("cannot work in `{}`: {why}", asked.display()));
    match asked.canonicalize() {
        Ok(here) if here.is_dir() => Ok(here),
        Ok(_) => Err(unusable("it is no folder")),
        Err(e) => Err(unusable(&io_text(&e))),
    }
}

/// The file of `-f`. If it is a link, its project is where the link lies.
fn named(here: &Path, file: &Path) -> Result<PathBuf> {
    let unusable = |why: &str| Error::usage(format!("cannot read `{}`: {why}", file.display()));
    let path = here.join(file);
    let found = std::fs::metadata(&path).map_err(|e| unusable(&io_text(&e)))?;
    let (Some(folder), Some(name), true) = (path.parent(), path.file_name(), found.is_file()) else {
        return Err(unusable("it is no file").hint("pipe -C DIR …     works in another folder"));
    };
    let folder = folder.canonicalize().map_err(|e| unusable(&io_text(&e)))?;
    Ok(folder.join(name))
}

/// Whether a mistake is that a path of a source is not there.
fn is_at_source(loaded: &Loaded, mistake: &Mistake) -> bool {
    let Some(span) = &mistake.span else { return false };
    loaded.pipeline.sources.iter().any(|source| {
        let path = loaded.spans.value(&format!("source.{}.path", source.name));
        path.is_some_and(|path| path.start <= span.start && span.end <= path.end)
    })
}
