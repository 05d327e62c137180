//! Groups: which documents belong to a value, and what stands for them.
//!
//! By value, one pass over the streams notes (group, member) and sorts them, on disk where they are many; what is read
//! then, group by group, says which groups are touched. By parent, a group is what its document was split into, in the
//! order of the split. Runs nothing and decides nothing of scheduling. See `docs/design/engine.md`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::engine::by::By;
use crate::engine::decide::Deciding;
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::members::{Noted, read};
use crate::engine::sets::{Coverage, Gate, Needs, Streams};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::State;
use crate::model::pipeline::{Pipeline, TargetIx, Verb};
use crate::model::selection::{Field, IdPart};
use crate::plan::family::FamilyIx;
use crate::plan::key::SetRoot;
use crate::store::Entry;

/// So many bytes are sorted in memory; more of them on disk.
const IN_MEMORY: usize = 16 << 20;
/// So many documents without a value are named.
const NAMED: usize = 3;

/// Whether a target's action is over members.
pub fn is_over_members(pipeline: &Pipeline, target: TargetIx) -> bool {
    pipeline.target(target).verb != Verb::Each
}

/// One group that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its value as a part of its id.
    pub value: String,
    /// Where its members are noted.
    pub from: u64,
    /// And where they end.
    pub to: u64,
    /// Over its members.
    pub root: Digest,
    /// How many.
    pub members: u64,
    /// How complete it is.
    pub coverage: Coverage,
    /// The first member that is missing.
    pub first_missing: Option<String>,
    /// Its members, where they are noted nowhere: family, folder, name.
    pub listed: Option<Vec<(FamilyIx, String, String)>>,
    /// There are no groups now: how this one, which was one, stands instead.
    pub halted: Option<(State, String)>,
}

/// A group that may have to be opened.
pub struct Touched {
    /// It.
    pub found: Found,
    /// How it stood.
    pub entry: Option<Entry>,
}

/// All groups of a target.
#[derive(Debug, Default)]
pub struct Groups {
    /// Members, group by group.
    pub path: PathBuf,
    /// Documents without a value.
    pub valueless: u64,
    /// The first of them.
    pub named: Vec<String>,
    /// Documents that failed before their value was known.
    pub unknown: u64,
    /// Documents of which nothing can be said yet: no group can be closed.
    pub unfinished: u64,
    /// Groups that are made over a part of their members.
    pub partial: u64,
}

impl Streams<'_> {
    /// Finds the groups of a target, and tells of each in the order of their ids.
    pub fn groups(
        &self,
        ix: TargetIx,
        by: &By,
        sees: &[Field],
        path: PathBuf,
        tell: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<Groups> {
        let target = self.pipeline.target(ix);
        let mut gate = Gate::new(self, target, sees);
        let mut lookup = Lookup::new(PresentCode::new(self.sites));
        let mut groups = Groups { path, ..Groups::default() };
        let mut sorter = Sorter::new(&groups.path);
        let needs = Needs { meta: gate.needs.meta || by.is_of_meta(), ..gate.needs };
        let numbers: HashMap<&str, usize> =
            self.families.list.iter().enumerate().map(|(ix, family)| (family.name.as_str(), ix)).collect();
        self.visit(target, needs, &mut |passing| {
            if matches!(passing.state, State::Skipped | State::LeftOut | State::Absent) {
                return Ok(());
            }
            let document = passing.document;
            let (pipeline, store, family) = (self.pipeline, self.store, passing.family);
            let deciding = Deciding { pipeline, family, store, lookup: &mut lookup };
            let field = |field: &Field| deciding.field(document, passing.place, field);
            let part = by.part(document.id.as_str(), &field);
            let mut member = None;
            let is_done = passing.state == State::Done;
            gate.pass(passing, &mut |seen| {
                member = Some((seen.digest.hex(), seen.facts_text()));
                Ok(())
            })?;
            if is_done && member.is_none() {
                // `where` leaves it out.
                return Ok(());
            }
            let unfinished = passing.state == State::Unfinished;
            let Some(group) = part else {
                match passing.state {
                    State::Unfinished => groups.unfinished += 1,
                    State::Done => {
                        groups.valueless += 1;
                        if groups.named.len() < NAMED {
                            groups.named.push(document.id.to_string());
                        }
                    }
                    _ => groups.unknown += 1,
                }
                return Ok(());
            };
            if unfinished && !by.is_of_id() {
                groups.unfinished += 1;
            }
            let family = numbers.get(passing.family.name.as_str()).copied().unwrap_or_default();
            let (id, dir, name) = (document.id.to_string(), document.dir.to_string(), document.name.clone());
            sorter.push(Noted { group, id, family, dir, name, member, unfinished })
        })?;
        let mut unsplit = Coverage::default();
        self.count_unsplit(target, &mut unsplit)?;
        groups.unknown += unsplit.missing;
        groups.unfinished += unsplit.unfinished;
        if groups.unfinished == 0 {
            let sees_id = sees.contains(&Field::Id(IdPart::Whole));
            sorter.finish(sees_id, tell)?;
        }
        Ok(groups)
    }
}

/// Sorts what was noted by group and id; what is too much for memory goes to files beside `path`.
struct Sorter<'a> {
    path: &'a Path,
    held: Vec<Noted>,
    bytes: usize,
    runs: Vec<PathBuf>,
}

impl<'a> Sorter<'a> {
    fn new(path: &'a Path) -> Self {
        Sorter { path, held: Vec::new(), bytes: 0, runs: Vec::new() }
    }

    fn push(&mut self, noted: Noted) -> Result<()> {
        self.bytes += 200 + noted.group.len() + 2 * noted.id.len();
        self.held.push(noted);
        if self.bytes > IN_MEMORY { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.held.sort_unstable();
        let path = self.path.with_extension(format!("{}.run", self.runs.len()));
        let mut out = Lines::create(&path)?;
        for noted in self.held.drain(..) {
            out.write(&noted)?;
        }
        out.finish()?;
        self.runs.push(path);
        self.bytes = 0;
        Ok(())
    }

    /// Writes all in order, and tells of each group.
    fn finish(mut self, sees_id: bool, tell: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        let mut out = Telling { lines: Lines::create(self.path)?, open: None, sees_id, tell };
        if self.runs.is_empty() {
            self.held.sort_unstable();
            for noted in self.held {
                out.take(&noted)?;
            }
            return out.finish();
        }
        self.spill()?;
        let mut readers = Vec::new();
        for path in &self.runs {
            let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
            readers.push(BufReader::new(file).lines());
        }
        let mut heap: BinaryHeap<Reverse<(Noted, usize)>> = BinaryHeap::new();
        let mut next = |run: usize| -> Result<Option<Noted>> {
            let path = &self.runs[run];
            let line = readers[run].next().transpose().map_err(|e| Error::io("read", path, &e))?;
            line.map(|line| read(path, &line)).transpose()
        };
        for run in 0..self.runs.len() {
            heap.extend(next(run)?.map(|noted| Reverse((noted, run))));
        }
        while let Some(Reverse((noted, run))) = heap.pop() {
            out.take(&noted)?;
            heap.extend(next(run)?.map(|noted| Reverse((noted, run))));
        }
        for path in &self.runs {
            crate::fs::remove_file(path)?;
        }
        out.finish()
    }
}

/// Members in order become groups.
struct Telling<'a> {
    lines: Lines,
    open: Option<Opened>,
    sees_id: bool,
    tell: &'a mut dyn FnMut(Found) -> Result<()>,
}

struct Opened {
    value: String,
    from: u64,
    root: SetRoot,
    coverage: Coverage,
    first_missing: Option<String>,
    by_digest: Vec<(Digest, String)>,
}

impl Telling<'_> {
    fn take(&mut self, noted: &Noted) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.value != noted.group) {
            self.end()?;
        }
        let from = self.lines.written;
        self.lines.write(noted)?;
        let open = self.open.get_or_insert_with(|| Opened {
            value: noted.group.clone(),
            from,
            root: SetRoot::default(),
            coverage: Coverage::default(),
            first_missing: None,
            by_digest: Vec::new(),
        });
        match &noted.member {
            Some((digest, facts)) => {
                open.coverage.done += 1;
                let digest = Digest::from_hex(digest).unwrap_or_default();
                if self.sees_id {
                    open.root.add(Some(&noted.id), &digest, facts);
                } else {
                    open.by_digest.push((digest, facts.clone()));
                }
            }
            None if noted.unfinished => open.coverage.unfinished += 1,
            None => {
                open.coverage.missing += 1;
                open.first_missing.get_or_insert_with(|| noted.id.clone());
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.by_digest.sort_unstable();
        open.by_digest.iter().for_each(|(digest, facts)| open.root.add(None, digest, facts));
        let members = open.root.members();
        let (root, to) = (open.root.finish(), self.lines.written);
        // Whoever hears of it may read its members.
        self.lines.flush()?;
        (self.tell)(Found {
            value: open.value,
            from: open.from,
            to,
            root,
            members,
            coverage: open.coverage,
            first_missing: open.first_missing,
            listed: None,
            halted: None,
        })
    }

    fn finish(mut self) -> Result<()> {
        self.end()?;
        self.lines.finish()
    }
}

/// A file of lines.
struct Lines {
    path: PathBuf,
    file: File,
    held: Vec<u8>,
    written: u64,
}

impl Lines {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io("create", path, &e))?;
        Ok(Lines { path: path.to_owned(), file, held: Vec::new(), written: 0 })
    }

    fn write(&mut self, noted: &Noted) -> Result<()> {
        let before = self.held.len();
        serde_json::to_writer(&mut self.held, noted).map_err(|e| Error::unfinished(e.to_string()))?;
        self.held.push(b'\n');
        self.written += (self.held.len() - before) as u64;
        if self.held.len() > 1 << 16 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.held).map_err(|e| Error::io("write", &self.path, &e))?;
        self.held.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()
    }
}

/// What a tree came to.
pub(super) struct Reduced {
    /// As the set stands.
    pub(super) result: crate::engine::document::StepResult,
    /// Over its members.
    pub(super) root: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::members::members_of;
    use proptest::prelude::*;

    fn noted(group: u8, id: u16) -> Noted {
        Noted {
            group: format!("g{group}"),
            id: format!("inbox/{id:05}"),
            family: 0,
            dir: String::new(),
            name: format!("{id:05}"),
            member: Some((Digest([id as u8; 32]).hex(), "{}".to_owned())),
            unfinished: false,
        }
    }

    proptest! {
        #[test]
        fn groups_are_the_same_whether_they_were_sorted_in_memory_or_on_disk(
            members in proptest::collection::btree_set((0u8..4, 0u16..200), 0..60),
            order in any::<u64>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let told = |spills: usize, name: &str| {
                let path = dir.path().join(name);
                let mut all: Vec<_> = members.iter().copied().collect();
                all.sort_by_key(|(group, id)| (u64::from(*id) * 31 + u64::from(*group)).wrapping_mul(order | 1));
                let mut sorter = Sorter::new(&path);
                for (at, (group, id)) in all.iter().enumerate() {
                    sorter.push(noted(*group, *id)).unwrap();
                    if spills > 0 && at % spills == 0 {
                        sorter.spill().unwrap();
                    }
                }
                let mut found = Vec::new();
                sorter.finish(true, &mut |group| {
                    let mut names = Vec::new();
                    members_of(&path, group.from, group.to, &mut |_, _, name| {
                        names.push(name.to_owned());
                        Ok(())
                    })?;
                    found.push((group.value, group.root, group.members, names));
                    Ok(())
                }).unwrap();
                found
            };
            let in_memory = told(0, "memory");
            prop_assert_eq!(&in_memory, &told(7, "disk"));
            let members_told: u64 = in_memory.iter().map(|(_, _, members, _)| members).sum();
            prop_assert_eq!(members_told as usize, members.len());
            prop_assert!(in_memory.iter().all(|(_, _, _, names)| names.is_sorted()));
        }
    }
}
