//! The columns of a table: their names in the order in which they come, and what all their values are.

use std::collections::HashMap;

use crate::export::row::Row;

/// What all values of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    #[default]
    Empty,
    /// Truth values.
    Truth,
    /// Whole numbers of 64 bits.
    Whole,
    /// Numbers.
    Number,
    /// Texts; values of other kinds among them, and lists and objects, are texts as JSON.
    Text,
}

impl Kind {
    /// Of a value as JSON.
    pub(super) fn of(value: &str) -> Kind {
        match value.as_bytes().first() {
            None | Some(b'n') => Kind::Empty,
            Some(b't' | b'f') => Kind::Truth,
            Some(b'"' | b'{' | b'[') => Kind::Text,
            Some(_) if value.parse::<i64>().is_ok() => Kind::Whole,
            // One that is too large for that would lose digits as a number.
            Some(_) if value.contains(['.', 'e', 'E']) => Kind::Number,
            Some(_) => Kind::Text,
        }
    }

    /// What holds both.
    fn and(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Empty, other) | (other, Kind::Empty) => other,
            (Kind::Whole, Kind::Number) | (Kind::Number, Kind::Whole) => Kind::Number,
            (one, other) if one == other => one,
            _ => Kind::Text,
        }
    }
}

/// The columns of all rows so far.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<String>,
    kinds: Vec<Kind>,
    places: HashMap<String, usize>,
}

impl Columns {
    /// Takes note of a row.
    pub(super) fn add(&mut self, row: &Row) {
        for (name, value) in &row.0 {
            let place = *self.places.entry(name.clone()).or_insert_with(|| {
                self.names.push(name.clone());
                self.kinds.push(Kind::Empty);
                self.names.len() - 1
            });
            self.kinds[place] = self.kinds[place].and(Kind::of(value));
        }
    }

    /// Names and kinds; `state` is the last.
    pub(super) fn in_order(&self) -> Vec<(&str, Kind)> {
        let pairs = || self.names.iter().map(String::as_str).zip(self.kinds.iter().copied());
        let others = pairs().filter(|(name, _)| *name != "state");
        others.chain(pairs().filter(|(name, _)| *name == "state")).collect()
    }
}

/// A value as plain text: a text as it is, anything else as JSON; nothing where there is none.
pub(super) fn plain(value: &str) -> Option<String> {
    match Kind::of(value) {
        Kind::Empty => None,
        Kind::Text if value.starts_with('"') => {
            Some(serde_json::from_str(value).unwrap_or_else(|_| value.to_owned()))
        }
        _ => Some(value.to_owned()),
    }
}
