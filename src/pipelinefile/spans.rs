//! Where everything stands in the file, so that later checks can point at it.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::mistake::Span;
use super::section::entries;

/// The places of all keys and values by path: `target.words.params.min_len`, `target.text.route.1.module`.
#[derive(Clone, Debug, Default)]
pub struct Spans(BTreeMap<String, (Span, Span)>);

impl Spans {
    pub(super) fn of(table: &DeTable<'_>) -> Spans {
        let mut spans = Spans::default();
        spans.add_table("", table);
        spans
    }

    /// Where a value stands.
    pub fn value(&self, path: &str) -> Option<Span> {
        self.0.get(path).map(|(_, value)| value.clone())
    }

    /// Where a key (or a table's name) stands.
    pub fn key(&self, path: &str) -> Option<Span> {
        self.0.get(path).map(|(key, _)| key.clone())
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>) {
        for entry in entries(table) {
            let path = join(path, entry.key.value);
            self.0.insert(path.clone(), (entry.key.span, entry.value.span()));
            self.add_below(&path, entry.value.get_ref());
        }
    }

    fn add_below(&mut self, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.add_table(path, table),
            DeValue::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    let path = join(path, &i.to_string());
                    self.0.insert(path.clone(), (item.span(), item.span()));
                    self.add_below(&path, item.get_ref());
                }
            }
            _ => {}
        }
    }
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}
