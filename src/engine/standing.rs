//! What one process remembers between its builds, so that the next looks only at what changed.
//!
//! Nothing here is on disk, and all of it may be forgotten: then the next build looks at everything. It is forgotten
//! whenever a build does not come to its end, and counts only while every target is defined as it was.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::engine::crew::Crew;
use crate::engine::outline::Outline;
use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::hash::Digest;
use crate::scan::Scan;

/// So many documents are remembered that the next build must look at; of more it looks at everything.
const AGAIN: usize = 10_000;

/// What is known to have changed since the build before: nothing else did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files, and folders with all below them; absolute, without links.
    pub paths: BTreeSet<PathBuf>,
    /// Published files are among them.
    pub published: bool,
}

/// See the module's text.
#[derive(Default)]
pub struct Standing {
    /// Workers stay between builds.
    pub(super) keeps: bool,
    pub(super) crew: Crew,
    /// Requests are numbered once a process: an answer that comes late belongs to no other.
    pub(super) requests: u64,
    last: Option<Last>,
}

/// The build before, if it came to its end.
struct Last {
    definitions: Vec<Defined>,
    /// Documents by source that are not done for good.
    again: Again,
    /// Sources with symbolic links.
    links: HashSet<String>,
}

/// A target as the build before left it: name, definition, where it is published, whether it was wanted.
type Defined = (String, Option<Digest>, Option<String>, bool);

/// Documents that the next build must look at, by source: a passing fault, a stamp that proves nothing.
#[derive(Debug, Default)]
pub(super) struct Again {
    by_source: HashMap<String, BTreeSet<String>>,
    count: usize,
}

impl Again {
    /// How a document stands now: the next build must look at it, or need not.
    pub(super) fn note(&mut self, source: &str, rel: &str, looks: bool) {
        if !looks {
            let removed = self.by_source.get_mut(source).is_some_and(|rels| rels.remove(rel));
            self.count -= usize::from(removed);
        } else if self.count <= AGAIN {
            let rels = self.by_source.entry(source.to_owned()).or_default();
            self.count += usize::from(rels.insert(rel.to_owned()));
        }
    }
}

/// What a limited build looks at.
pub(super) struct Limits {
    changes: Changes,
    last: Last,
}

impl Limits {
    /// The paths of a source that may have changed; nothing if all of it is to be looked at.
    pub(super) fn of(
        &self,
        source: &str,
        roots: &crate::scan::Roots,
        known: u64,
    ) -> Option<crate::scan::Changes> {
        if self.last.links.contains(source) {
            return None;
        }
        let mut paths = roots.changed(&self.changes.paths)?;
        paths.extend(self.last.again.by_source.get(source).into_iter().flatten().cloned());
        Some(crate::scan::Changes { known, paths })
    }

    /// Whether published files may have changed.
    pub(super) fn published(&self) -> bool {
        self.changes.published
    }
}

impl Standing {
    /// For several builds: workers stay between them.
    pub fn new() -> Self {
        Standing { keeps: true, ..Standing::default() }
    }

    /// The next build looks at everything.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// What the next build may leave out, for this build to use: nothing is remembered until it ends well.
    pub(super) fn take_limits(
        &mut self,
        parts: &Parts<'_>,
        outline: &Outline,
        options: &Options,
    ) -> Option<Limits> {
        let last = self.last.take()?;
        let changes = options.changes.clone()?;
        let is_whole = !options.is_partial() && last.again.count <= AGAIN;
        (is_whole && last.definitions == defined(parts, outline, options)).then_some(Limits { changes, last })
    }

    /// A build came to its end.
    pub(super) fn remember(
        &mut self,
        parts: &Parts<'_>,
        outline: &Outline,
        options: &Options,
        scans: &[Scan],
        again: Again,
    ) {
        // Those that had links before were looked at as a whole.
        let links = scans.iter().filter(|scan| scan.links).map(|scan| scan.source.clone()).collect();
        self.last = Some(Last { definitions: defined(parts, outline, options), again, links });
    }

    /// When an idle worker is to be ended ([`Standing::rest`]).
    pub fn next_rest(&self) -> Option<Instant> {
        self.crew.next_end()
    }

    /// Ends workers that were idle for long.
    pub fn rest(&mut self, now: Instant) {
        self.crew.end_idle(now);
    }

    /// Ends all workers, and waits for it.
    pub fn end(&mut self) {
        self.crew.end();
    }

    /// Removes what earlier builds left in the store's scratch folder, but what idle workers may still read.
    pub fn tidy(&self, parts: &Parts<'_>) -> Result<()> {
        let used: HashSet<&std::path::Path> = self.crew.uses().collect();
        let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let inputs = files(parts.store.tmp().join("in")).map(|entry| entry.path());
        let manifests = files(parts.store.tmp()).map(|entry| entry.path());
        let is_manifest = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest-"))
        };
        for path in inputs.chain(manifests.filter(is_manifest)) {
            if used.contains(path.as_path()) {
                continue;
            }
            // A folder that a module was handed is one here.
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => crate::fs::remove_dir(&path)?,
                _ => crate::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }
}

fn defined(parts: &Parts<'_>, outline: &Outline, options: &Options) -> Vec<Defined> {
    let targets = parts.pipeline.targets.iter().enumerate();
    let of = |(ix, target): (usize, &crate::model::pipeline::Target)| {
        let ix = crate::model::pipeline::TargetIx(ix);
        let publish = target.publish.as_ref().map(|publish| publish.path.to_string());
        (target.name.clone(), outline.definition(ix), publish, options.wanted.contains(&ix))
    };
    targets.map(of).collect()
}
