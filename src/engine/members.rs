//! The members of one group: where they are noted, or which children they are.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::document::{Document, StepResult};
use crate::error::{Error, Result};
use crate::model::children::{self, Child};
use crate::plan::family::{Family, FamilyIx};
use crate::store::Store;

/// One group.
pub enum Group {
    /// Noted in a file, from here to there.
    Noted(PathBuf, u64, u64),
    /// These: family, folder, name.
    Listed(Vec<(FamilyIx, String, String)>),
    /// Children in a folder of the index, by family, in the order of their splits.
    Children(String, Vec<(FamilyIx, Vec<String>)>),
}

/// A member of a group, as it is sorted and read again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) group: String,
    pub(super) id: String,
    pub(super) family: usize,
    pub(super) dir: String,
    pub(super) name: String,
    /// Of a member with a result: its digest and what is seen of it.
    pub(super) member: Option<(String, String)>,
    /// It is not decided.
    pub(super) unfinished: bool,
}

/// Reads the members of one group again: (family, folder, name).
pub fn members_of(
    path: &Path,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(FamilyIx, &str, &str) -> Result<()>,
) -> Result<()> {
    let failed = |e: &std::io::Error| Error::io("read", path, e);
    let mut file = File::open(path).map_err(|e| failed(&e))?;
    file.seek(SeekFrom::Start(from)).map_err(|e| failed(&e))?;
    let mut lines = BufReader::new(file);
    let (mut at, mut line) = (from, String::new());
    while at < to {
        line.clear();
        at += lines.read_line(&mut line).map_err(|e| failed(&e))? as u64;
        let noted = read(path, &line)?;
        visit(FamilyIx(noted.family), &noted.dir, &noted.name)?;
    }
    Ok(())
}

pub(super) fn read(path: &Path, line: &str) -> Result<Noted> {
    serde_json::from_str(line).map_err(|error| {
        Error::unfinished(format!("`{}` is not as it was written", path.display())).caused_by(error)
    })
}

/// Is given a member's family, folder, name, and the id by which it is known in its group.
pub(super) type VisitMember<'v> = dyn FnMut(FamilyIx, &str, &str, Option<&str>) -> Result<()> + 'v;

/// Visits the members of a group.
pub(super) fn visit_group(group: &Group, visit: &mut VisitMember<'_>) -> Result<()> {
    match group {
        Group::Noted(path, from, to) => {
            members_of(path, *from, *to, &mut |family, dir, name| visit(family, dir, name, None))
        }
        Group::Listed(listed) => {
            for (family, dir, name) in listed {
                visit(*family, dir, name, None)?;
            }
            Ok(())
        }
        Group::Children(dir, children) => {
            for (family, names) in children {
                for name in names {
                    visit(*family, dir, name, Some(name))?;
                }
            }
            Ok(())
        }
    }
}

/// The children that a group by parent is made of, in the order in which the splits gave them.
pub(super) fn children_of(store: &Store, document: &Document, family: &Family, step: usize) -> Result<Group> {
    let mut children = Vec::new();
    for split in family.splits.iter().filter(|split| split.groups.contains(&step)) {
        let Some(result) = &document.results[split.step] else { continue };
        let list = list_of(store, result)?.unwrap_or_default();
        children.push((split.family, list.into_iter().map(|child| child.name).collect()));
    }
    Ok(Group::Children(format!("{}#", document.id), children))
}

/// The list that a split came to; nothing if there is none, or it is damaged.
pub(super) fn list_of(store: &Store, result: &StepResult) -> Result<Option<Vec<Child>>> {
    let Some(output) = result.output() else { return Ok(None) };
    let bytes = match &result.bytes {
        Some(bytes) => Some(Arc::clone(bytes)),
        None => store.output_bytes(output)?,
    };
    Ok(bytes.and_then(|bytes| children::read(&bytes)))
}
