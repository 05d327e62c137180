//! What stands for the members of a set in its key: the root over their leaves, with the leaves' hashes kept.
//!
//! A leaf is a function of its members alone (`plan::key`). Whether it still holds is told without reading a story: by
//! a hash over the entries of its stretch of the index (names and places of their stories, which never change). So one
//! changed document among a million costs the stories of one leaf. What is kept lies in the index: it may be gone at
//! any time, and is then made again.

use crate::engine::sets::{Coverage, Gate, Streams, id_of};
use crate::error::Result;
use crate::hash::{Digest, FieldHasher};
use crate::model::pipeline::{Target, TargetIx};
use crate::model::selection::{Field, IdPart};
use crate::plan::family::{Family, FamilyIx, Input};
use crate::plan::key::SetRoot;
use crate::store::{Entry, Store};

/// The place in the index.
const TREE: &str = "leaves";

/// What was kept under another number is of another version.
const VERSION: u64 = 1;

/// A stretch never holds more entries: a longer one is cut, and its leaf is read anew each time.
const LONGEST: usize = 16 * 1024;

impl Streams<'_> {
    /// The root over the members, how many they are, and how complete the set is.
    pub fn root(&self, ix: TargetIx, sees: &[Field]) -> Result<(Digest, u64, Coverage)> {
        let mut root = SetRoot::default();
        let mut coverage = if !sees.contains(&Field::Id(IdPart::Whole)) {
            let mut by_digest: Vec<(Digest, String)> = Vec::new();
            let coverage = self.members(ix, sees, &mut |member| {
                by_digest.push((member.digest, member.facts_text()));
                Ok(())
            })?;
            by_digest.sort_unstable();
            by_digest.iter().for_each(|(digest, facts)| root.add(None, digest, facts));
            coverage
        } else if self.only.is_some() || self.is_current.is_some() || self.group.is_some() {
            self.members(ix, sees, &mut |member| {
                root.add(Some(member.id.as_str()), &member.digest, &member.facts_text());
                Ok(())
            })?
        } else {
            self.root_of_leaves(ix, sees, &mut root)?
        };
        if self.group.is_none() {
            self.count_unsplit(self.pipeline.target(ix), &mut coverage)?;
        }
        let members = root.members();
        Ok((root.finish(), members, coverage))
    }

    /// The root of a whole stream whose ids are seen, from the leaves that are known where they hold.
    fn root_of_leaves(&self, ix: TargetIx, sees: &[Field], root: &mut SetRoot) -> Result<Coverage> {
        let target = self.pipeline.target(ix);
        let mut gate = Gate::new(self, target, sees);
        let mut learned: Vec<([u8; KEY], Vec<u8>)> = Vec::new();
        for (family_ix, places) in self.families_of(target) {
            let family = self.families.family(family_ix);
            let mut stretch = Stretch {
                salt: self.salt(target, sees, family, &places),
                of: (family_ix, family),
                places,
                entries: Vec::new(),
            };
            let mut failed = None;
            self.store.scan(&family.name, &mut |dir, entry| {
                if entry.flags.gone {
                    return true;
                }
                let ends = stretch.push(dir, entry);
                if ends || stretch.entries.len() >= LONGEST {
                    match stretch.take(self, &mut gate, root) {
                        Ok(new) => learned.extend(new),
                        Err(error) => failed = Some(error),
                    }
                }
                failed.is_none()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            learned.extend(stretch.take(self, &mut gate, root)?);
        }
        for (key, leaf) in learned {
            self.store.keep(TREE, &key, &leaf)?;
        }
        Ok(gate.coverage)
    }

    /// Everything beside the entries that decides who is a member, and what is seen of it.
    fn salt(&self, target: &Target, sees: &[Field], family: &Family, places: &[Input]) -> Digest {
        let mut salt = FieldHasher::new("pipe leaves");
        salt.number(VERSION).text(&format!("{sees:?} {:?} {places:?}", target.test)).text(&family.name);
        for step in &family.steps {
            salt.text(&self.pipeline.target(step.target).name).text(&format!("{:?}", step.inputs));
        }
        salt.finish()
    }
}

/// Salt, and which leaf.
const KEY: usize = 32;

/// Documents of a family in a row, up to where a leaf may end.
struct Stretch<'a> {
    salt: Digest,
    of: (FamilyIx, &'a Family),
    places: Vec<Input>,
    entries: Vec<(String, Entry)>,
}

impl Stretch<'_> {
    /// Adds a document; says whether a leaf may end with it.
    fn push(&mut self, dir: &str, entry: &Entry) -> bool {
        self.entries.push((dir.to_owned(), entry.clone()));
        SetRoot::ends_leaf(id_of(&self.of.1.name, dir, &entry.name).as_str())
    }

    /// Adds its members to the root, and empties it. Returns what is worth keeping.
    fn take(
        &mut self,
        streams: &Streams<'_>,
        gate: &mut Gate<'_>,
        root: &mut SetRoot,
    ) -> Result<Option<([u8; KEY], Vec<u8>)>> {
        let entries = std::mem::take(&mut self.entries);
        let Some((dir, first)) = entries.first() else { return Ok(None) };
        let whole = root.is_between_leaves();
        let mut key = [0; KEY];
        key[..16].copy_from_slice(&self.salt.0[..16]);
        key[16..].copy_from_slice(&FieldHasher::new("first").text(dir).text(&first.name).finish().0[..16]);
        let print = print(&entries);
        if whole && let Some(leaf) = Leaf::kept(streams.store, &key, &print)? {
            if leaf.coverage.done > 0 {
                root.add_leaf(&leaf.hash, leaf.coverage.done);
            }
            gate.coverage.add(&leaf.coverage);
            return Ok(None);
        }
        let before = std::mem::take(&mut gate.coverage);
        let (ix, family) = self.of;
        for (dir, entry) in &entries {
            streams.visit_entry(ix, family, dir, entry, &self.places, gate.needs, &mut |passing| {
                gate.pass(passing, &mut |member| {
                    root.add(Some(member.id.as_str()), &member.digest, &member.facts_text());
                    Ok(())
                })
            })?;
        }
        let coverage = std::mem::replace(&mut gate.coverage, before);
        gate.coverage.add(&coverage);
        let is_leaf = whole && root.is_between_leaves();
        Ok(is_leaf.then(|| (key, Leaf { hash: root.last_leaf(), coverage }.encode(&print))))
    }
}

/// A hash over what an entry's place in a set depends on: its name, and its story, which never changes.
fn print(entries: &[(String, Entry)]) -> Digest {
    let mut print = FieldHasher::new("stretch");
    for (dir, entry) in entries {
        print.text(dir).text(&entry.name).number(entry.story.0);
    }
    print.finish()
}

/// A leaf whose members were read.
struct Leaf {
    /// Of its members; of no meaning if there are none.
    hash: Digest,
    coverage: Coverage,
}

impl Leaf {
    fn kept(store: &Store, key: &[u8], print: &Digest) -> Result<Option<Self>> {
        let Some(bytes) = store.kept(TREE, key)? else { return Ok(None) };
        let Some((kept, bytes)) = bytes.split_first_chunk::<32>() else { return Ok(None) };
        let Some((hash, bytes)) = bytes.split_first_chunk::<32>() else { return Ok(None) };
        if *kept != print.0 || bytes.len() != 32 {
            return Ok(None);
        }
        let number =
            |at: usize| bytes[8 * at..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        let coverage =
            Coverage { done: number(0), missing: number(1), unfinished: number(2), collisions: number(3) };
        Ok(Some(Leaf { hash: Digest(*hash), coverage }))
    }

    /// 96 bytes: the hash over the entries, that of the leaf, four counts.
    fn encode(&self, print: &Digest) -> Vec<u8> {
        let Coverage { done, missing, unfinished, collisions } = self.coverage;
        let mut bytes = [print.0, self.hash.0].concat();
        for number in [done, missing, unfinished, collisions] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}
