//! Globs of sources that match nothing: probably misspelt, so a warning with the nearest file.
//!
//! Walks through the sources, but no further than until every glob has matched something.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::pipeline::{Source, SourceIx};
use crate::model::selection::{Glob, GlobSet};
use crate::pipelinefile::{Loaded, Mistake};
use crate::scan::{self, Nothing, Request, Roots};
use crate::text;

/// So many files are remembered to find one that may have been meant.
const REMEMBERED: usize = 10_000;

/// The warnings of all sources.
pub(super) fn unmatched(loaded: &Loaded) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for (ix, source) in loaded.pipeline.sources.iter().enumerate() {
        // What is not there has a mistake of its own.
        if source.include.is_empty() || source.paths.iter().any(|path| !path.path.exists()) {
            continue;
        }
        let Some((globs, files)) = walk(source) else { continue };
        for pattern in globs {
            warnings.push(loaded.glob_warning(SourceIx(ix), &pattern, nearest(&pattern, &files)));
        }
    }
    warnings
}

/// The globs that match nothing, and files that are there; nothing if they could not be looked at.
fn walk(source: &Source) -> Option<(Vec<String>, Vec<String>)> {
    let all = GlobSet::new(&source.include, &source.exclude).ok()?;
    let globs: Vec<(Glob, AtomicBool)> = source
        .include
        .iter()
        .map(|pattern| Some((Glob::new(pattern).ok()?, AtomicBool::new(false))))
        .collect::<Option<_>>()?;
    let files = Mutex::new(Vec::new());
    let cancel = AtomicBool::new(false);
    let look = |rel: &str| {
        let mut left = false;
        for (glob, matched) in &globs {
            let now = matched.load(Ordering::Relaxed) || glob.matches(rel);
            matched.store(now, Ordering::Relaxed);
            left |= !now;
        }
        if left {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            if files.len() < REMEMBERED {
                files.push(rel.to_owned());
            }
        } else {
            cancel.store(true, Ordering::Relaxed);
        }
        all.matches(rel)
    };
    let scan = scan::scan(&Request {
        source: &source.name,
        roots: &Roots::open(source),
        salt: 0,
        before: &Nothing,
        is_current: &|_| false,
        accept: &look,
        prune: &|dir| all.prunes(dir),
        same_rules: false,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        changes: None,
        cancel: &cancel,
        seen: &AtomicU64::new(0),
    });
    if scan.is_err() && !cancel.load(Ordering::Relaxed) {
        return None;
    }
    let left = globs.iter().filter(|(_, matched)| !matched.load(Ordering::Relaxed));
    let left = left.map(|(glob, _)| glob.pattern().to_owned()).collect();
    let mut files = files.into_inner().unwrap_or_else(PoisonError::into_inner);
    files.sort();
    Some((left, files))
}

/// A file that the glob may have meant: of a similar name, or with a similar ending.
fn nearest<'f>(pattern: &str, files: &'f [String]) -> Option<&'f str> {
    let named = || files.iter().map(String::as_str);
    let ending = |path: &'f str| Path::new(path).extension().and_then(|ending| ending.to_str());
    let (_, wanted) = pattern.rsplit_once('.').unwrap_or_default();
    // Endings are short: one letter too many, too few, changed or moved.
    let near = named().filter_map(ending).find(|ending| text::nearest(wanted, [*ending]).is_some());
    text::nearest(pattern, named()).or_else(|| named().find(|path| near.is_some() && ending(path) == near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_similar_ending_is_what_was_meant() {
        let files = ["a/one.pdf".to_owned(), "b/two.txt".to_owned(), "readme".to_owned()];
        assert_eq!(nearest("**/*.tx", &files), Some("b/two.txt"));
        assert_eq!(nearest("**/*.pfd", &files), Some("a/one.pdf"));
        assert_eq!(nearest("a/oen.pdf", &files), Some("a/one.pdf"));
        assert_eq!(nearest("**/*.html", &files), None);
    }
}
