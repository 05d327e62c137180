//! `[source.x]`.

use std::path::Path;

use super::disk;
use super::keys;
use super::mistake::{Mistake, Span};
use super::project;
use super::section::{At, Log, Section};
use crate::model::pipeline::{OtherProject, Source, SourcePath};
use crate::model::selection::{Glob, GlobSet};

/// A source with the place of its name.
pub(super) struct DraftSource {
    pub(super) source: Source,
    pub(super) span: Span,
    /// The globs, where they can be read.
    pub(super) globs: Option<GlobSet>,
}

impl DraftSource {
    fn of_project(name: &At<&str>, project: Option<(SourcePath, OtherProject)>) -> Self {
        let (path, project) = project.unzip();
        let source = Source {
            name: name.value.to_owned(),
            paths: path.into_iter().collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            rows: None,
            project,
        };
        DraftSource { source, span: name.span.clone(), globs: GlobSet::new(&[], &[]).ok() }
    }
}

/// Reads a source; what is wrong is noted, and what is right is kept.
pub(super) fn read(root: &Path, name: &At<&str>, section: &Section<'_>, log: &Log) -> DraftSource {
    section.allow(&[keys::SOURCE]);
    if !section.has("path") {
        log.add(
            Mistake::at(name.span.clone(), format!("source `{}` has no `path`", name.value))
                .help("say where its documents lie: path = \"FOLDER\""),
        );
    }
    let rows = section.text("rows");
    let written = section.texts("path").unwrap_or_default();
    if let [path] = written.as_slice()
        && path.value.starts_with(project::SCHEME)
    {
        let project = project::read(root, path, section, log);
        return DraftSource::of_project(name, project);
    }
    for key in ["include", "exclude"].into_iter().filter(|key| rows.is_some() && section.has(key)) {
        log.add(
            Mistake::at(section.key_span(key), format!("`{key}` chooses files; the documents here are rows"))
                .help("to choose rows, give a target a `where`, as in { meta.country = \"DE\" }"),
        );
    }
    let paths: Vec<SourcePath> =
        written.iter().filter_map(|path| read_path(root, path, rows.is_some(), log)).collect();
    let include = read_globs("include", section, log);
    let exclude = read_globs("exclude", section, log);
    let globs = GlobSet::new(&include, &exclude).ok();
    let rows = rows.map(|rows| rows.value);
    let source = Source { name: name.value.to_owned(), paths, include, exclude, rows, project: None };
    DraftSource { source, span: name.span.clone(), globs }
}

fn read_path(root: &Path, written: &At<String>, rows: bool, log: &Log) -> Option<SourcePath> {
    let text = &written.value;
    if text.starts_with(project::SCHEME) {
        log.add(
            Mistake::at(written.span.clone(), "the results of another project are a source of their own")
                .help("give them a [source] table, and name both sources: each = [\"a\", \"b\"]"),
        );
        return None;
    }
    if text.contains("://") {
        log.add(
            Mistake::at(written.span.clone(), format!("`{text}`: remote sources are not supported yet"))
                .help("mount it, or sync it to a folder and name that"),
        );
        return None;
    }
    let path = disk::absolute(root, text);
    if !path.exists() {
        let mistake = Mistake::at(written.span.clone(), format!("there is no folder or file `{text}`"))
            .label("not found")
            .on_disk();
        log.add(match disk::similar(root, text) {
            Some(near) => mistake.fix("a similar name lies there", written.span.clone(), quoted(&near)),
            None if text.starts_with("~/") => mistake.help("`~` is not expanded: write the whole path"),
            None => mistake.help("paths are relative to the folder of the Pipelinefile"),
        });
    } else if rows && !is_table_file(&path) {
        log.add(
            Mistake::at(written.span.clone(), format!("`{text}` has no rows"))
                .help("`rows` reads a .csv, .tsv or .jsonl file"),
        );
    }
    Some(SourcePath { written: text.clone(), path })
}

fn is_table_file(path: &Path) -> bool {
    let ext = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default().to_lowercase();
    matches!(ext.as_str(), "csv" | "tsv" | "jsonl") && !path.is_dir()
}

fn read_globs(key: &str, section: &Section<'_>, log: &Log) -> Vec<String> {
    let globs = section.texts(key).unwrap_or_default();
    let fine = globs.into_iter().filter_map(|glob| match Glob::new(&glob.value) {
        Ok(_) if glob.value.starts_with('/') || glob.value.starts_with("./") => {
            log.add(
                Mistake::at(glob.span, format!("the glob `{}` matches nothing", glob.value))
                    .help("globs are relative to the source's folder, with no `/` or `./` in front"),
            );
            None
        }
        Ok(_) => Some(glob.value),
        Err(problem) => {
            log.add(Mistake::at(glob.span, format!("the glob `{}` is wrong: {problem}", glob.value)));
            None
        }
    });
    fine.collect()
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
