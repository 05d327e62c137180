//! The tree of a `reduce` as it is recorded: which merges there are, which of them are as they were, and which a
//! document is in. Runs nothing, and knows no build.

use std::collections::BTreeSet;

use crate::engine::decide::ext_facts;
use crate::engine::sets::{Coverage, Member, Streams, before, id_of};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{Outcome, Place, Position};
use crate::model::document::{DocId, MERGES};
use crate::model::pipeline::TargetIx;
use crate::plan::key::SetRoot;
use crate::plan::tree::{ends_run, name_of};
use crate::store::{Entry, Store};

/// A merge of the tree over the present members.
pub struct Merge {
    /// Its id: `total/0-…`.
    pub id: DocId,
    /// What is recorded of it.
    pub entry: Option<Entry>,
    /// Over its inputs, as far as they are known.
    pub root: Digest,
    /// How many it has.
    pub inputs: u64,
    /// A document that is asked about is in it.
    pub touched: bool,
    /// How it stands.
    pub standing: MergeStanding,
}

/// How a merge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStanding {
    /// Done, with these inputs and by the present definition.
    Done,
    /// It failed with these inputs.
    Failed,
    /// It has other inputs, or another definition.
    Stale,
    /// An input of it is not known yet.
    Behind,
}

/// Which documents of a tree are asked about.
pub struct AskedOf<'a> {
    /// Members, and documents that members were split from.
    pub is_touched: &'a dyn Fn(&DocId) -> bool,
    /// Documents that are not recorded yet, and would be members if all goes well.
    pub new: &'a BTreeSet<String>,
}

/// An input of a merge.
struct Part {
    last: String,
    /// Digest and extension of its result.
    known: Option<(Digest, String)>,
    is_source: bool,
    touched: bool,
}

/// Visits the merges of a tree, level by level. `covers` says whether a definition is the present one; without it nothing
/// is said of how merges stand.
pub fn visit_merges(
    streams: &Streams<'_>,
    target: TargetIx,
    asked: &AskedOf<'_>,
    covers: Option<&dyn Fn(Position) -> bool>,
    visit: &mut dyn FnMut(&Merge) -> Result<()>,
) -> Result<Coverage> {
    let of = streams.pipeline.target(target);
    let mut cutter = Cutter {
        store: streams.store,
        family: format!("{}{MERGES}", of.name),
        covers,
        number: 0,
        run: Vec::new(),
        level: Vec::new(),
    };
    let mut new = asked.new.iter().peekable();
    let unknown = |id: &String| Part { last: id.clone(), known: None, is_source: true, touched: true };
    let coverage = streams.members(target, &[], &mut |member: &Member<'_>| {
        while let Some(id) = new.next_if(|id| id.as_str() < member.id.as_str()) {
            cutter.push(unknown(id), visit)?;
        }
        let part = Part {
            last: member.id.to_string(),
            known: Some((member.digest, member.ext.clone())),
            is_source: member.path.is_some() || member.row.is_some(),
            touched: (asked.is_touched)(member.id),
        };
        cutter.push(part, visit)
    })?;
    for id in new {
        cutter.push(unknown(id), visit)?;
    }
    cutter.end(false, visit)?;
    while cutter.level.len() > 1 {
        cutter.number += 1;
        for part in std::mem::take(&mut cutter.level) {
            cutter.push(part, visit)?;
        }
        cutter.end(false, visit)?;
    }
    Ok(coverage)
}

/// Cuts parts into runs.
struct Cutter<'a> {
    store: &'a Store,
    family: String,
    covers: Option<&'a dyn Fn(Position) -> bool>,
    number: usize,
    run: Vec<Part>,
    level: Vec<Part>,
}

impl Cutter<'_> {
    fn push(&mut self, part: Part, visit: &mut dyn FnMut(&Merge) -> Result<()>) -> Result<()> {
        let ends = ends_run(self.number, &part.last);
        self.run.push(part);
        if ends { self.end(true, visit) } else { Ok(()) }
    }

    fn end(&mut self, ended: bool, visit: &mut dyn FnMut(&Merge) -> Result<()>) -> Result<()> {
        let mut run = std::mem::take(&mut self.run);
        let Some(last) = run.last().map(|part| part.last.clone()) else { return Ok(()) };
        if run.len() == 1 && !run[0].is_source {
            self.level.append(&mut run);
            return Ok(());
        }
        let mut root = SetRoot::default();
        for (digest, ext) in run.iter().filter_map(|part| part.known.as_ref()) {
            root.add(None, digest, &ext_facts(ext));
        }
        let name = name_of(self.number, &last, ended);
        let entry = self.store.entry(&self.family, "", &name)?;
        let merge = Merge {
            id: id_of(&self.family, "", &name),
            entry,
            root: root.finish(),
            inputs: run.len() as u64,
            touched: run.iter().any(|part| part.touched),
            standing: MergeStanding::Behind,
        };
        let is_known = run.iter().all(|part| part.known.is_some());
        let (standing, known) = match self.covers {
            Some(covers) if is_known => {
                match standing(self.store, merge.entry.as_ref(), &merge.root, covers)? {
                    Some(Standing::Made(output)) => (MergeStanding::Done, Some(output)),
                    Some(Standing::Failed) => (MergeStanding::Failed, None),
                    None => (MergeStanding::Stale, None),
                }
            }
            _ => (MergeStanding::Behind, None),
        };
        let merge = Merge { standing, ..merge };
        visit(&merge)?;
        self.level.push(Part { last, known, is_source: false, touched: merge.touched });
        Ok(())
    }
}

/// What came of a merge that is as it was.
pub(super) enum Standing {
    /// Digest and extension.
    Made((Digest, String)),
    /// It failed, or gave nothing.
    Failed,
}

/// How a merge of these inputs stands; nothing if it is to be done.
pub(super) fn standing(
    store: &Store,
    entry: Option<&Entry>,
    root: &Digest,
    covers: &dyn Fn(Position) -> bool,
) -> Result<Option<Standing>> {
    let Some(entry) = entry.filter(|entry| entry.flags.settled && !entry.flags.gone) else {
        return Ok(None);
    };
    if !covers(entry.definition) {
        return Ok(None);
    }
    let Some(told) = before(store, entry.story)? else { return Ok(None) };
    if told.story.content != Some(*root) {
        return Ok(None);
    }
    let act = told.story.entries.first().and_then(|entry| entry.act);
    let Some(act) = act.map(|at| store.act(at)).transpose()?.flatten() else { return Ok(None) };
    Ok(match &act.outcome {
        Outcome::Output(output)
            if output.place != Place::Blob || store.has_blob(&output.digest, output.length) =>
        {
            Some(Standing::Made((output.digest, output.ext.clone())))
        }
        Outcome::Output(_) => None,
        _ => Some(Standing::Failed),
    })
}
