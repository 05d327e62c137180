//! Globs over ids and relative paths: `*` stops at `/`, `**` does not. The owner of `globset`.
//!
//! Globs see the text of ids: `#`, `%` and control characters of file names are %-escaped there.

use std::fmt;

use crate::model::document::{DocId, unescape_name};

/// One glob.
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: String,
    matcher: globset::GlobMatcher,
    /// What stands before each `#` of the pattern: what its children were split from.
    parents: Vec<globset::GlobMatcher>,
}

impl Glob {
    /// Reads a glob; the error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        let matcher = build(pattern)?.compile_matcher();
        let ends = pattern.match_indices('#').map(|(end, _)| &pattern[..end]);
        let parents = ends.filter_map(|parent| Some(build(parent).ok()?.compile_matcher())).collect();
        Ok(Glob { pattern: pattern.to_owned(), matcher, parents })
    }

    /// Whether a document is meant: by its own id, or by that of anything that it was split from.
    pub fn covers(&self, id: &str) -> bool {
        let ends = id.match_indices('#').map(|(end, _)| &id[..end]);
        self.matches(id) || ends.into_iter().any(|ancestor| self.matches(ancestor))
    }

    /// Whether a document must be looked at so that all that are meant are: it is meant, or its children may be.
    pub fn selects(&self, id: &str) -> bool {
        self.covers(id) || self.parents.iter().any(|parent| parent.is_match(id))
    }

    /// Whether an id or a relative path matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }

    /// The glob as written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

/// Whether a glob names a document, or something that it was split from, by its file name as it is. A glob with a `%` is
/// about ids, in which that begins an escape.
pub fn names_file(glob: &Glob, id: &DocId) -> bool {
    !glob.pattern().contains('%') && glob.covers(&unescape_name(id.as_str()).to_string_lossy())
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

/// What a source lets in: relative paths that match a glob of `include` and none of `exclude`.
///
/// Hidden files and folders (a name with a dot in front) are out unless a glob of `include` names one
/// (`".github/**"`). A glob of `exclude` that names a folder leaves out all below it.
#[derive(Clone, Debug)]
pub struct GlobSet {
    include: Option<globset::GlobSet>,
    exclude: globset::GlobSet,
    prune: globset::GlobSet,
    hidden: bool,
}

impl GlobSet {
    /// Reads the globs; an empty `include` lets in everything that is not hidden.
    /// The error is the glob that is wrong, and what is wrong with it.
    pub fn new(include: &[String], exclude: &[String]) -> Result<GlobSet, (String, String)> {
        let included = match include {
            [] => None,
            globs => Some(set(globs.iter().cloned())?),
        };
        let trimmed = || exclude.iter().map(|glob| glob.trim_end_matches('/'));
        let below = trimmed().map(|glob| format!("{glob}/**"));
        let pruned = trimmed().map(|glob| match glob.strip_suffix("/**") {
            Some(folder) => folder.to_owned(),
            None => glob.to_owned(),
        });
        Ok(GlobSet {
            include: included,
            exclude: set(trimmed().map(str::to_owned).chain(below))?,
            prune: set(pruned.filter(|glob| !glob.is_empty()))?,
            hidden: include.iter().any(|glob| glob.split('/').any(|part| part.starts_with('.'))),
        })
    }

    /// Whether a file is a document, by its path relative to the source.
    pub fn matches(&self, rel: &str) -> bool {
        let visible = self.hidden || !rel.split('/').any(|part| part.starts_with('.'));
        let included = self.include.as_ref().is_none_or(|globs| globs.is_match(rel));
        visible && included && !self.exclude.is_match(rel)
    }

    /// Whether a folder need not be entered: nothing below it can match.
    pub fn prunes(&self, rel_dir: &str) -> bool {
        if rel_dir.is_empty() {
            return false;
        }
        let hidden = !self.hidden && rel_dir.split('/').any(|part| part.starts_with('.'));
        hidden || self.excludes(rel_dir)
    }

    /// Whether `exclude` leaves out a folder or file and all below it.
    pub fn excludes(&self, rel: &str) -> bool {
        self.prune.is_match(rel) || self.exclude.is_match(rel)
    }
}

fn set(globs: impl Iterator<Item = String>) -> Result<globset::GlobSet, (String, String)> {
    let mut builder = globset::GlobSetBuilder::new();
    for glob in globs {
        builder.add(build(&glob).map_err(|problem| (glob.clone(), problem))?);
    }
    builder.build().map_err(|e| (String::new(), e.kind().to_string()))
}

fn build(pattern: &str) -> Result<globset::Glob, String> {
    if pattern.is_empty() {
        return Err("it is empty".to_owned());
    }
    globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|e| e.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(include: &[&str], exclude: &[&str]) -> GlobSet {
        let owned = |list: &[&str]| list.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        GlobSet::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn a_star_stops_at_a_slash_and_two_do_not() {
        let glob = |pattern: &str, text: &str| Glob::new(pattern).unwrap().matches(text);
        assert!(glob("*.txt", "a.txt") && !glob("*.txt", "d/a.txt"));
        assert!(glob("**/*.txt", "a.txt") && glob("**/*.txt", "d/e/a.txt"));
        assert!(glob("inbox/**", "inbox/d/a") && glob("{a,b}/?.md", "b/x.md"));
    }

    #[test]
    fn a_glob_means_children_by_their_own_ids_and_by_their_parents() {
        let glob = |pattern: &str| Glob::new(pattern).unwrap();
        assert!(
            glob("inbox/a.pdf").covers("inbox/a.pdf#1#2") && !glob("inbox/a.pdf#1").covers("inbox/a.pdf")
        );
        assert!(
            glob("inbox/*.pdf#1").selects("inbox/a.pdf") && glob("inbox/a.pdf#1").selects("inbox/a.pdf#1")
        );
        assert!(
            !glob("inbox/*.pdf#1").selects("inbox/a.txt") && !glob("inbox/a.pdf#1").selects("inbox/a.pdf#2")
        );
    }

    #[test]
    fn a_wrong_glob_says_what_is_wrong() {
        assert_eq!(Glob::new("").unwrap_err(), "it is empty");
        assert!(Glob::new("a[").unwrap_err().contains("unclosed character class"));
        let (glob, _) = GlobSet::new(&["ok".into(), "{a".into()], &[]).unwrap_err();
        assert_eq!(glob, "{a");
    }

    #[test]
    fn hidden_files_are_out_unless_they_are_named() {
        let all = globs(&[], &[]);
        assert!(all.matches("a/b.txt") && !all.matches(".git/config") && !all.matches("a/.b"));
        assert!(all.prunes(".git") && !all.prunes("a") && !all.prunes(""));
        let text = globs(&["**/*.txt"], &[]);
        assert!(text.matches("a/b.txt") && !text.matches(".git/x.txt") && !text.matches("a.pdf"));
        let named = globs(&[".github/**"], &[]);
        assert!(named.matches(".github/x.yml") && !named.prunes(".github") && !named.matches("x.yml"));
    }

    #[test]
    fn excluding_a_folder_excludes_what_is_below_it() {
        for exclude in ["drafts", "drafts/", "drafts/**", "**/drafts"] {
            let set = globs(&[], &[exclude]);
            assert!(!set.matches("drafts/a/b.txt"), "{exclude}");
            assert!(set.prunes("drafts") && set.matches("other/a.txt"), "{exclude}");
        }
        let files = globs(&["**/*.txt"], &["**/*.bak.txt"]);
        assert!(!files.matches("a/x.bak.txt") && files.matches("a/x.txt") && !files.prunes("a"));
        assert!(globs(&[], &["**"]).prunes("a"));
    }
}
