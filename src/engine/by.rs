//! What says the group of a document, and how a value becomes a part of an id. Knows no store and no stream.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::hash::Digest;
use crate::model::document::escape_name;
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::model::selection::Field;

/// What says the group of a document.
#[derive(Clone, Debug)]
pub enum By {
    /// A field of it.
    Field(Field),
    /// The result of another target: id → value.
    Map(HashMap<u128, Arc<str>>),
}

impl By {
    /// By a field, if the target says so.
    pub fn field(pipeline: &Pipeline, ix: TargetIx) -> Option<By> {
        Field::parse(pipeline.target(ix).by.as_deref()?).map(By::Field)
    }

    /// By what another target's result says; an error in words if it is no such map.
    pub fn map(bytes: &[u8]) -> std::result::Result<By, String> {
        let map: HashMap<String, Value> =
            serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON object, id → value: {e}"))?;
        let mut values: HashSet<Arc<str>> = HashSet::new();
        let mut known = HashMap::with_capacity(map.len());
        for (id, value) in map {
            let Some(part) = value_part(&value) else { continue };
            let part = match values.get(part.as_str()) {
                Some(known) => Arc::clone(known),
                None => {
                    let part: Arc<str> = Arc::from(part);
                    values.insert(Arc::clone(&part));
                    part
                }
            };
            known.insert(short(&id), part);
        }
        Ok(By::Map(known))
    }

    /// Whether every document's group is known before anything is done with it.
    pub fn is_of_id(&self) -> bool {
        matches!(self, By::Field(Field::Id(_) | Field::Source))
    }

    /// Whether documents must be read with all that they inherit.
    pub fn is_of_meta(&self) -> bool {
        matches!(self, By::Field(Field::Meta(_)))
    }

    /// The group of a document as a part of an id; `field` looks up a field of it.
    pub fn part(&self, id: &str, field: &dyn Fn(&Field) -> Option<Value>) -> Option<String> {
        match self {
            By::Map(map) => map.get(&short(id)).map(ToString::to_string),
            By::Field(of) => field(of).as_ref().and_then(value_part),
        }
    }
}

fn short(id: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(id.as_bytes()).0[..16]);
    u128::from_le_bytes(bytes)
}

/// A value as a part of an id: text as it is, anything that could be mistaken for another value as JSON. Only scalars
/// make groups.
pub fn value_part(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let is_other = serde_json::from_str::<Value>(text).is_ok();
            let is_odd = text.is_empty() || text.starts_with(['"', '/']) || text.ends_with('/');
            let plain = if is_other || is_odd { value.to_string() } else { text.clone() };
            Some(escape_name(std::ffi::OsStr::new(&plain)).into_owned())
        }
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_different_kinds_never_share_a_group() {
        let part = |value: Value| value_part(&value).unwrap();
        assert_eq!(part(json!("re: lunch")), "re: lunch");
        assert_eq!((part(json!(1)), part(json!("1"))), ("1".into(), "\"1\"".into()));
        assert_eq!((part(json!(true)), part(json!("true"))), ("true".into(), "\"true\"".into()));
        assert_eq!(part(json!("")), "\"\"");
        assert_eq!(part(json!("a#b")), "a%23b");
        for none in [json!(null), json!([1]), json!({})] {
            assert_eq!(value_part(&none), None);
        }
    }
}
