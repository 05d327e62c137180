//! `path = "project:../ocr#text"`: the results of another project's target, as the documents of a source.
//!
//! Of the other Pipelinefile only the names of its targets are read here: it may have mistakes of its own, and may name
//! this project in turn.

use std::path::Path;

use toml::de::DeTable;

use super::disk;
use super::mistake::Mistake;
use super::section::{At, Log, Section};
use crate::model::pipeline::{OtherProject, SourcePath};
use crate::text;

/// What a path into another project begins with.
pub(super) const SCHEME: &str = "project:";

const FORM: &str = "it is written path = \"project:FOLDER#TARGET\"";

/// Reads the path of a source that is a target of another project; what is wrong is noted.
pub(super) fn read(
    root: &Path,
    path: &At<String>,
    section: &Section<'_>,
    log: &Log,
) -> Option<(SourcePath, OtherProject)> {
    for key in ["rows", "include", "exclude"].into_iter().filter(|key| section.has(key)) {
        let message = format!("`{key}` has no meaning for the results of another project");
        log.add(
            Mistake::at(section.key_span(key), message)
                .help("to choose some, give a target a `where`, as in { id = \"texts/inbox/**\" }"),
        );
    }
    let wrong = |message: String| Mistake::at(path.span.clone(), message);
    let text = path.value.strip_prefix(SCHEME)?;
    let Some((folder, target)) = text.rsplit_once('#').filter(|(_, target)| !target.is_empty()) else {
        log.add(wrong(format!("`{}` names no target", path.value)).help(FORM));
        return None;
    };
    if folder.is_empty() {
        log.add(wrong(format!("`{}` names no folder", path.value)).help(FORM));
        return None;
    }
    let there = disk::absolute(root, folder);
    if there == disk::absolute(root, ".") {
        log.add(
            wrong(format!("`{folder}` is this project"))
                .help(format!("its own results are a stream: each = \"{target}\"")),
        );
        return None;
    }
    note_missing(root, folder, &there, target, &wrong, log);
    // An absolute PIPE_DIR is the store of one project: this one.
    let own = crate::env::store_dir().filter(|dir| dir.is_relative());
    let store = there.join(own.unwrap_or_else(|| crate::env::STORE.into()));
    let place = SourcePath { written: path.value.clone(), path: store.join("segments") };
    let project = OtherProject { written: folder.to_owned(), root: there, store, target: target.to_owned() };
    Some((place, project))
}

/// Notes what can be said of the other project without opening its store.
fn note_missing(
    root: &Path,
    folder: &str,
    there: &Path,
    target: &str,
    wrong: &dyn Fn(String) -> Mistake,
    log: &Log,
) {
    if !there.is_dir() {
        let mistake = wrong(format!("there is no project `{folder}`")).label("not found").on_disk();
        log.add(match disk::similar(root, folder) {
            Some(near) => mistake.help(format!("a similar name lies there: {near}")),
            None => mistake.help("paths are relative to the folder of the Pipelinefile"),
        });
        return;
    }
    let file = there.join(super::FILE_NAME);
    let Ok(text) = crate::fs::read_text(&file) else {
        let mistake = wrong(format!("there is no Pipelinefile in `{folder}`")).label("no project").on_disk();
        log.add(mistake.help(format!("pipe -C {folder} init    writes one")));
        return;
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    let targets = table.get_ref().get("target").and_then(|targets| targets.get_ref().as_table());
    let names: Vec<&str> =
        targets.map(|all| all.keys().map(|name| name.get_ref().as_ref()).collect()).unwrap_or_default();
    if !errors.is_empty() || names.contains(&target) {
        return;
    }
    let mistake = wrong(format!("there is no target `{target}` in `{folder}`")).label("no target").on_disk();
    log.add(match text::nearest(target, names) {
        Some(near) => mistake.help(format!("did you mean `{near}`?")),
        None => mistake.help(format!("pipe -C {folder} graph    shows its targets")),
    });
}
