//! Sources whose documents are rows: of .csv, .tsv and .jsonl files.
//!
//! A file is read as a stream; what is held are the names, places and hashes of its rows. The stamp of a row is the
//! hash of its content, so an edited row is one changed document, wherever in the file it stands by then. As long as
//! the files themselves have the stamps that they had, nothing is read.

mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::hash::{Digest, FieldHasher};
use crate::model::document::{Stamp, escape_name};
use crate::model::pipeline::Source;
use crate::scan::files::{status_followed, status_of};
use crate::scan::given::{Given, GivenBody, GivenDocument, Giver, Kept, Listed};
use crate::text::thousands;

use table::{Spot, Table};

/// The version of how rows become documents: a part of what is remembered of a file.
const VERSION: u64 = 1;
/// The longest name of a row, escaped.
const LONGEST: usize = 1024;

/// The rows of a source, read when the first of them is asked for.
#[derive(Debug)]
pub struct Rows {
    column: String,
    /// What leads the names, and the file.
    files: Vec<(String, PathBuf)>,
    /// As written, those that are not there.
    missing: Vec<String>,
    index: Mutex<Option<Arc<Index>>>,
}

/// Where every row is.
#[derive(Debug)]
pub(super) struct Index {
    tables: Vec<Table>,
    names: String,
    /// In byte order of names.
    slots: Vec<Slot>,
    /// By slot: what is wrong with it.
    problems: HashMap<usize, String>,
    /// What is wrong with some of them, in words.
    note: String,
    /// Of the files, if they were left alone for long enough before they were read to be trusted.
    stamp: Option<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    name: u64,
    name_length: u32,
    table: u32,
    spot: Spot,
    stamp: Stamp,
}

impl Slot {
    fn name_in<'a>(&self, names: &'a str) -> &'a str {
        let from = self.name as usize;
        &names[from..from + self.name_length as usize]
    }
}

impl Rows {
    /// The rows of a source; nothing if its documents are files. `lead_of` says what leads the names of a file's rows,
    /// where there are several files. Opens no file.
    pub fn of(source: &Source, lead_of: &dyn Fn(&Path) -> Option<String>) -> Option<Rows> {
        let column = source.rows.clone()?;
        let single = source.paths.len() == 1;
        let file = |path: &crate::model::pipeline::SourcePath| {
            let lead = if single { String::new() } else { lead_of(&path.path).unwrap_or_default() };
            (lead, path.path.clone())
        };
        let missing = source.paths.iter().filter(|path| !path.path.is_file());
        Some(Rows {
            column,
            files: source.paths.iter().map(file).collect(),
            missing: missing.map(|path| path.written.clone()).collect(),
            index: Mutex::new(None),
        })
    }

    pub(super) fn index(&self) -> Result<Arc<Index>> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = index.as_ref() {
            return Ok(Arc::clone(index));
        }
        let read = Arc::new(self.read_all()?);
        *index = Some(Arc::clone(&read));
        Ok(read)
    }

    fn read_all(&self) -> Result<Index> {
        let mut index = Index {
            tables: Vec::new(),
            names: String::new(),
            slots: Vec::new(),
            problems: HashMap::new(),
            note: String::new(),
            stamp: self.files_stamp(),
        };
        // By name and line: what cannot be read as a row, until places are known.
        let mut broken: HashMap<(u32, u64), String> = HashMap::new();
        for (lead, path) in self.files.iter().filter(|(_, path)| path.is_file()) {
            let table = Table::open(path, &self.column)?;
            let began = crate::time::now_ns();
            let number = index.tables.len() as u32;
            table.each(&mut |spot, found| {
                let (name, problem) = self.named(lead, &found, &|| table.line(spot));
                let stamp = match (&found.row, &problem) {
                    (Ok(row), None) => Self::stamp_of(&row.bytes),
                    _ => Self::stamp_of(problem.as_deref().unwrap_or_default().as_bytes()),
                };
                if let Some(problem) = problem {
                    broken.insert((number, spot.offset), problem);
                }
                let at = index.names.len() as u64;
                index.names.push_str(&name);
                index.slots.push(Slot {
                    name: at,
                    name_length: name.len() as u32,
                    table: number,
                    spot,
                    stamp,
                });
                Ok(())
            })?;
            let file = table.file();
            let is_old = status_of(file)
                .is_ok_and(|status| status.last_change() + crate::sys::racy_window(file) <= began);
            index.stamp = index.stamp.filter(|_| is_old);
            index.tables.push(table);
        }
        index.stamp = index.stamp.filter(|stamp| self.files_stamp() == Some(*stamp));
        self.sort(&mut index, &broken);
        index.note = note(&index.problems);
        Ok(index)
    }

    /// Sorts the rows, and makes one of those that have one name: nobody can say which is meant.
    fn sort(&self, index: &mut Index, broken: &HashMap<(u32, u64), String>) {
        let names = std::mem::take(&mut index.names);
        let name = |slot: &Slot| slot.name_in(&names);
        let place = |slot: &Slot| (slot.table, slot.spot.offset);
        index.slots.sort_unstable_by(|a, b| name(a).cmp(name(b)).then_with(|| place(a).cmp(&place(b))));
        let mut sorted: Vec<Slot> = Vec::with_capacity(index.slots.len());
        for slot in std::mem::take(&mut index.slots) {
            let at = sorted.len();
            match sorted.last_mut() {
                Some(first) if name(first) == name(&slot) => {
                    let line = |slot: &Slot| {
                        self.line(slot.table, index.tables[slot.table as usize].line(slot.spot))
                    };
                    let problem = match index.problems.get(&(at - 1)) {
                        Some(before) => format!("{before} and {}", line(&slot)),
                        None => format!("the same `{}` in {} and {}", self.column, line(first), line(&slot)),
                    };
                    first.stamp =
                        Self::stamp_of(format!("{problem} {} {}", first.stamp.0, slot.stamp.0).as_bytes());
                    index.problems.insert(at - 1, problem);
                }
                _ => {
                    if let Some(problem) = broken.get(&place(&slot)) {
                        index.problems.insert(at, problem.clone());
                    }
                    sorted.push(slot);
                }
            }
        }
        index.slots = sorted;
        index.names = names;
    }

    /// The name of a row, and what is wrong with it. One that has no name is called by its line.
    fn named(&self, lead: &str, found: &table::Found, line: &dyn Fn() -> u64) -> (String, Option<String>) {
        let lead = |name: &str| if lead.is_empty() { name.to_owned() } else { format!("{lead}/{name}") };
        let at = || format!("line {}", thousands(line()));
        // A `%` in a name is always followed by two digits: no row has this name.
        let nameless = |what: String| (lead(&format!("%line-{}", line())), Some(format!("{}: {what}", at())));
        let name = match &found.name {
            Some(name) if name.is_empty() => return nameless(format!("`{}` is empty", self.column)),
            Some(name) => row_name(name),
            None => {
                let what = found.row.as_ref().err().cloned();
                return nameless(what.unwrap_or_else(|| format!("`{}` is not UTF-8 text", self.column)));
            }
        };
        if name.len() > LONGEST {
            return nameless(format!("`{}` is longer than {} bytes", self.column, thousands(LONGEST as u64)));
        }
        (lead(&name), found.row.as_ref().err().map(|what| format!("{}: {what}", at())))
    }

    fn line(&self, table: u32, line: u64) -> String {
        let line = format!("line {}", thousands(line));
        match self.files.iter().filter(|(_, path)| path.is_file()).nth(table as usize) {
            Some((lead, _)) if !lead.is_empty() => format!("{line} of {lead}"),
            _ => line,
        }
    }

    fn stamp_of(content: &[u8]) -> Stamp {
        Stamp(FieldHasher::new("pipe row").bytes(content).finish().prefix())
    }

    /// One digest for all files as they are now, and how they are read; nothing if one is not there.
    fn files_stamp(&self) -> Option<Digest> {
        let mut hasher = FieldHasher::new("pipe rows of files");
        hasher.number(VERSION).text(&self.column).number(self.files.len() as u64);
        for (lead, path) in &self.files {
            let status = status_followed(path).ok()?;
            hasher.text(lead).number(status.stamp(0).0);
        }
        Some(hasher.finish())
    }
}

impl Giver for Rows {
    fn state(&self) -> Option<Digest> {
        self.files_stamp()
    }

    fn list(&self) -> Result<Arc<dyn Listed>> {
        let index: Arc<dyn Listed> = self.index()?;
        Ok(index)
    }

    fn forget(&self) {
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read(&self, rel: &str) -> Result<Given> {
        let index = self.index()?;
        let Some(at) = index.find(rel) else { return Ok(Given::Absent) };
        let slot = &index.slots[at];
        if let Some(problem) = index.problems.get(&at) {
            return Ok(Given::Broken { problem: problem.clone(), stamp: slot.stamp });
        }
        let Some(row) = index.tables[slot.table as usize].read(slot.spot).and_then(|found| found.row.ok())
        else {
            return Ok(Given::Changing);
        };
        if Self::stamp_of(&row.bytes) != slot.stamp {
            return Ok(Given::Changing);
        }
        Ok(Given::Document(Box::new(GivenDocument {
            digest: Digest::of(&row.bytes),
            stamp: slot.stamp,
            body: GivenBody::Bytes(row.bytes.into()),
            ext: "json".to_owned(),
            meta: row.meta,
        })))
    }

    fn stamp(&self, rel: &str) -> Option<Stamp> {
        let index = self.index().ok()?;
        index.find(rel).map(|at| index.slots[at].stamp)
    }

    /// A column that is not there.
    fn check(&self) -> Result<()> {
        self.files
            .iter()
            .filter(|(_, path)| path.is_file())
            .try_for_each(|(_, path)| Table::open(path, &self.column).map(drop))
    }

    fn missing(&self) -> &[String] {
        &self.missing
    }

    fn state_to_keep(&self) -> Option<Kept> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = index.as_ref()?;
        Some(Kept { state: index.stamp?, note: index.note.clone() })
    }
}

impl Listed for Index {
    fn count(&self) -> usize {
        self.slots.len()
    }

    fn name_at(&self, at: usize) -> &str {
        self.name(at)
    }

    fn stamp_at(&self, at: usize) -> Stamp {
        self.slots[at].stamp
    }

    fn note(&self) -> &str {
        &self.note
    }
}

impl Index {
    fn name(&self, at: usize) -> &str {
        self.slots[at].name_in(&self.names)
    }

    fn find(&self, rel: &str) -> Option<usize> {
        let at = self.slots.partition_point(|slot| slot.name_in(&self.names) < rel);
        (at < self.slots.len() && self.name(at) == rel).then_some(at)
    }
}

/// So many rows are named.
const NAMED: usize = 3;

/// `2 rows are no documents: the same `id` in line 3 and line 4, line 9: 3 fields instead of 2`
fn note(problems: &HashMap<usize, String>) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let sorted: std::collections::BTreeMap<_, _> = problems.iter().collect();
    let named: Vec<&str> = sorted.values().take(NAMED).map(|problem| problem.as_str()).collect();
    let more = if sorted.len() > NAMED { ", …" } else { "" };
    let what = if sorted.len() == 1 { "1 row is no document" } else { "rows are no documents" };
    let count =
        if sorted.len() == 1 { String::new() } else { format!("{} ", thousands(sorted.len() as u64)) };
    format!("{count}{what}: {}{more}", named.join(", "))
}

/// A value as the rest of an id: `/` leads to folders, as in a path. What would be an empty part, `.` or `..` is escaped.
pub fn row_name(value: &str) -> String {
    let mut name = String::with_capacity(value.len());
    for (number, part) in value.split('/').enumerate() {
        if number > 0 {
            let is_empty = part.is_empty() || name.is_empty() || name.ends_with("%2F");
            name.push_str(if is_empty { "%2F" } else { "/" });
        }
        match part {
            "." => name.push_str("%2E"),
            ".." => name.push_str("%2E%2E"),
            part => name.push_str(&escape_name(part.as_ref())),
        }
    }
    name
}

/// Whether a path is one of the files that rows are read from.
pub fn is_table(path: &Path) -> bool {
    let ext = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default().to_lowercase();
    matches!(ext.as_str(), "csv" | "tsv" | "jsonl")
}

#[cfg(test)]
mod tests;
