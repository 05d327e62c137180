//! Fields and tests as the file writes them: `where`, `sees`, `on`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Span};
use super::section::{At, Log, entries, wrong_value};
use super::source::quoted;
use super::value;
use crate::model::selection::{Condition, Field, Test};
use crate::text;

/// Which fields may stand somewhere.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    fits: fn(&Field) -> bool,
    words: &'static str,
}

/// Every field: `where`, `sees`.
pub(super) const ALL_FIELDS: Allowed =
    Allowed { fits: |_| true, words: "fields: id and its parts, ext, mime, size, source, meta.NAME" };
/// What two documents can have in common: `on`.
pub(super) const IDS_AND_META: Allowed = Allowed {
    fits: |field| matches!(field, Field::Id(_) | Field::Meta(_)),
    words: "fields here: id.rel, id.stem and other parts of the id, meta.NAME",
};

/// Reads a field's name, or notes a mistake.
pub(super) fn field(written: &At<String>, allowed: Allowed, log: &Log) -> Option<Field> {
    let found = Field::parse(&written.value).filter(|field| (allowed.fits)(field));
    if found.is_none() {
        log.add(unknown(&written.value, written.span.clone(), allowed, |near| Some(quoted(near))));
    }
    found
}

/// `write` is how the meant name is written at the span, if it can be.
fn unknown(name: &str, span: Span, allowed: Allowed, write: impl Fn(&str) -> Option<String>) -> Mistake {
    let mistake = Mistake::at(span.clone(), format!("there is no field `{name}`"));
    let fits = |name: &&str| Field::parse(name).is_some_and(|field| (allowed.fits)(&field));
    let near = text::nearest(name, Field::NAMES.into_iter().filter(fits));
    match near.and_then(write) {
        Some(meant) => mistake.fix("a field with a similar name exists", span, meant),
        None if Field::parse(&format!("meta.{name}")).is_some() && !name.contains(['.', ' ']) => {
            mistake.help(allowed.words).help(format!("a value in `meta` is called `meta.{name}`"))
        }
        None => mistake.help(allowed.words),
    }
}

/// Reads `where`; `meta.lang = "en"` and `meta = { lang = "en" }` are the same.
pub(super) fn test(value: &Spanned<DeValue<'_>>, log: &Log) -> Option<Test> {
    let Some(table) = value.get_ref().as_table() else {
        log.add(wrong_value("where", value, "a table, as in { meta.lang = \"en\" }"));
        return None;
    };
    if table.is_empty() {
        log.add(Mistake::at(value.span(), "this `where` tests nothing"));
        return None;
    }
    let mut conditions: Vec<(Field, Condition)> = Vec::new();
    collect("", table, &mut conditions, log);
    Some(Test::new(conditions))
}

fn collect(path: &str, table: &DeTable<'_>, conditions: &mut Vec<(Field, Condition)>, log: &Log) {
    for entry in entries(table) {
        let name =
            if path.is_empty() { entry.key.value.to_owned() } else { format!("{path}.{}", entry.key.value) };
        if let DeValue::Table(below) = entry.value.get_ref() {
            collect(&name, below, conditions, log);
            continue;
        }
        let Some(field) = Field::parse(&name) else {
            // Only the last step of the name stands at the span.
            let in_quotes = entry.key.span.len() > entry.key.value.len();
            let step = |near: &str| match path {
                "" if in_quotes => Some(quoted(near)),
                "" => Some(near.to_owned()),
                path => near.strip_prefix(path)?.strip_prefix('.').map(str::to_owned),
            };
            log.add(unknown(&name, entry.key.span, ALL_FIELDS, step));
            continue;
        };
        if conditions.iter().any(|(other, _)| *other == field) {
            log.add(
                Mistake::at(entry.key.span, format!("`{field}` is tested twice"))
                    .help("write a list: any of"),
            );
            continue;
        }
        let condition = value::json(entry.value.get_ref()).and_then(|json| Condition::parse(&field, &json));
        match condition {
            Ok(condition) => conditions.push((field, condition)),
            Err(problem) => log.add(Mistake::at(entry.value.span(), problem)),
        }
    }
}
