//! A scan of a few paths: where it begins, and when it may stand for a scan of everything.
//!
//! Each path is looked at by its name in its folder; a folder is walked with all below it, and what was known below a
//! path is gone where the walk does not come to it. Nothing else is touched, so the cost is that of what changed.
//! Knows nothing of who says what changed. `docs/design/watching.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
use crate::scan::directory::Waiting;
use crate::scan::roots::upwards;
use crate::scan::{Changes, Request};

/// Whether looking at the changed paths gives what a scan of everything would give.
pub(super) fn suffices(request: &Request<'_>) -> bool {
    let Some(changes) = request.changes else { return false };
    let roots = request.roots;
    // What the source names itself came, went, or could not be looked at: that is for the walk to judge.
    let is_whole = roots.missing().is_empty() && roots.unreadable().is_empty();
    request.same_rules && is_whole && !changes.paths.iter().any(|path| roots.is_above(path))
}

/// The folders of the changed paths, each with the names that count.
pub(super) fn starts(request: &Request<'_>, changes: &Changes) -> Vec<Waiting> {
    let mut folders: BTreeMap<&str, (PathBuf, Vec<String>)> = BTreeMap::new();
    for path in highest(request, changes) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(folder) = request.roots.folder_of(path) {
            folders.entry(dir).or_insert_with(|| (folder, Vec::new())).1.push(name.to_owned());
        }
    }
    let waiting = |(dir, (path, names)): (&str, (PathBuf, Vec<String>))| Waiting {
        rel: dir.into(),
        path,
        linked: false,
        only: Some(names),
        limited: true,
    };
    folders.into_iter().map(waiting).collect()
}

/// The folders known before that lie at or below a changed path: those that the walk does not come to are gone.
pub(super) fn directories_below(request: &Request<'_>, changes: &Changes) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for path in highest(request, changes) {
        all.extend(request.before.directories_below(request.source, path)?);
    }
    Ok(all)
}

/// The changed paths that a walk could come to and that lie below no other: the walk of that one finds them.
fn highest<'a>(request: &'a Request<'_>, changes: &'a Changes) -> impl Iterator<Item = &'a str> {
    let is_below_another = |path: &str| upwards(path).skip(1).any(|above| changes.paths.contains(above));
    let reaches = |path: &&str| request.roots.reaches(path, &request.prune);
    changes.paths.iter().map(String::as_str).filter(move |path| !is_below_another(path)).filter(reaches)
}
