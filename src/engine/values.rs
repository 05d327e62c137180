//! The values of a stream, and what is found by them. Knows no store and no stream.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::by::By;
use crate::hash::Digest;
use crate::model::action::{Output, Position, State};
use crate::model::document::{DocId, Stamp};
use crate::model::pipeline::{Node, SourceIx, TargetIx};

/// A side input by value, as it is in this build.
#[derive(Clone, Debug)]
pub struct ByValue {
    /// The number in the target's `with`.
    pub number: usize,
    /// Over the whole other stream.
    pub root: Digest,
    /// Read when the first document looks for its match.
    pub table: Option<Arc<Table>>,
    /// Of what came of groups: what says the groups, read likewise.
    pub groups: Option<Arc<[Grouping]>>,
}

/// What says the groups of a target; or how things stand for want of it.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The target.
    pub target: TargetIx,
    /// What says them.
    pub by: Result<By, (State, String)>,
}

/// What a document hands to those that were split from it: how it stands in a stream.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The stream.
    pub node: Node,
    /// Nothing where it never came there.
    pub found: Option<Match>,
}

/// The values of a stream.
#[derive(Debug, Default)]
pub struct Table {
    ids: String,
    /// Sorted by hash; of one hash in order of ids.
    pub slots: Vec<Slot>,
    /// Documents whose value is not known, because they failed.
    pub failed: u64,
    /// The first of them.
    pub first_failed: Option<DocId>,
    /// Documents whose value is not known, because they are not decided.
    pub unfinished: u64,
    /// Documents that have no value, whatever else becomes of them.
    pub without: u64,
}

/// A document that has a value.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Of its value.
    pub hash: u64,
    /// The number of its family.
    pub family: u32,
    length: u32,
    id: u64,
}

/// A document that has the value that was looked for.
#[derive(Clone, Debug)]
pub struct Match {
    /// Its id.
    pub id: DocId,
    /// How it stands in its stream.
    pub state: State,
    /// Of its bytes.
    pub digest: Digest,
    /// Its extension.
    pub ext: String,
    /// Where its bytes are; nothing where it has no result.
    pub content: Option<MatchContent>,
    /// What is said of whoever needs it, where it failed.
    pub failed: String,
}

/// The bytes of a match.
#[derive(Clone, Debug)]
pub enum MatchContent {
    /// In the store, by the record at this place.
    Stored(Output, Position),
    /// A source file: where it is, and the stamp that it had.
    File {
        /// Absolute.
        path: PathBuf,
        /// Its source.
        source: SourceIx,
        /// When it was read.
        stamp: Stamp,
    },
    /// A row.
    Row(Arc<[u8]>),
}

/// What was found for one side input of a document.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number in the target's `with`.
    pub number: usize,
    /// In order of ids.
    pub matches: Vec<Match>,
    /// Whether nothing is left that might match too.
    pub is_certain: bool,
}

/// A value as it is compared: by type and value, so that 1 is 1.0, and not "1". Nothing for what is no scalar.
pub fn canonical(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(format!("s{text}")),
        Value::Bool(flag) => Some(format!("b{flag}")),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                Some(format!("n{}", float as i64))
            }
            _ => Some(format!("n{number}")),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What stands for a value in a table.
pub fn hash_of(canonical: &str) -> u64 {
    Digest::of(canonical.as_bytes()).prefix()
}

impl Table {
    /// Takes in a document, in byte order of ids.
    pub fn add(&mut self, value: &str, family: usize, id: &str) {
        let slot = Slot {
            hash: hash_of(value),
            family: family as u32,
            length: id.len() as u32,
            id: self.ids.len() as u64,
        };
        self.ids.push_str(id);
        self.slots.push(slot);
    }

    /// All documents are in.
    pub fn finish(&mut self) {
        self.slots.sort_by_key(|slot| slot.hash);
    }

    /// The documents that may have a value.
    pub fn of_hash(&self, hash: u64) -> &[Slot] {
        let from = self.slots.partition_point(|slot| slot.hash < hash);
        let count = self.slots[from..].partition_point(|slot| slot.hash == hash);
        &self.slots[from..from + count]
    }

    /// Whether any document has this value.
    pub fn has(&self, hash: u64) -> bool {
        !self.of_hash(hash).is_empty()
    }

    /// The id of one of its documents.
    pub fn id(&self, slot: &Slot) -> DocId {
        let from = slot.id as usize;
        DocId::parse(&self.ids[from..from + slot.length as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_equal_by_type_and_value() {
        let same = |a: Value, b: Value| canonical(&a) == canonical(&b);
        assert!(same(json!(1), json!(1.0)));
        assert!(!same(json!(1), json!("1")));
        assert!(!same(json!(true), json!("true")));
        assert!(!same(json!(1.5), json!(1)));
        assert!(same(json!(u64::MAX), json!(u64::MAX)));
        assert!(!same(json!(u64::MAX), json!(u64::MAX - 1)));
        assert_eq!([json!(null), json!([1]), json!({})].iter().filter_map(canonical).count(), 0);
    }
}
