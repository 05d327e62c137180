//! One table of the file, read key by key: wrong types and unknown keys are noted with their places, not thrown.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;
use super::mistake::{Mistake, Span};
use super::value;
use crate::text;

/// Where mistakes are collected.
#[derive(Default)]
pub(super) struct Log(RefCell<Vec<Mistake>>);

impl Log {
    pub(super) fn add(&self, mistake: Mistake) {
        self.0.borrow_mut().push(mistake);
    }

    pub(super) fn into_list(self) -> Vec<Mistake> {
        self.0.into_inner()
    }

    pub(super) fn any(&self, test: impl Fn(&Mistake) -> bool) -> bool {
        self.0.borrow().iter().any(test)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A table with the keys that it may have.
pub(super) struct Section<'a> {
    /// As it is called in messages: `[target.words]`, `publish`.
    pub(super) name: String,
    /// Where its name stands.
    pub(super) span: Span,
    table: &'a DeTable<'a>,
    log: &'a Log,
}

/// A key and its value, in the order of the file.
pub(super) struct Entry<'a> {
    pub(super) key: At<&'a str>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// The entries of a table in the order of the file.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
        let text: &'a std::borrow::Cow<'a, str> = key.get_ref();
        Entry { key: At { value: text.as_ref(), span: key.span() }, value }
    };
    let mut entries: Vec<Entry<'a>> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| (entry.key.span.start, entry.key.span.end));
    entries
}

impl<'a> Section<'a> {
    pub(super) fn new(name: String, span: Span, table: &'a DeTable<'a>, log: &'a Log) -> Section<'a> {
        Section { name, span, table, log }
    }

    /// Notes every key that is not one of `known`.
    pub(super) fn allow(&self, known: &[&[&'static str]]) {
        let known: Vec<&str> = known.concat();
        for entry in entries(self.table) {
            if !known.contains(&entry.key.value) {
                self.log.add(unknown_key(&entry.key, &self.name, &known));
            }
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        entries(self.table)
    }

    /// Where the key itself stands, for mistakes about its being there.
    pub(super) fn key_span(&self, key: &str) -> Span {
        self.table.get_key_value(key).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// Where the value stands.
    pub(super) fn value_span(&self, key: &str) -> Span {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Reads a value; the reader's error is what is wanted instead.
    pub(super) fn read<T>(
        &self,
        key: &str,
        reader: impl Fn(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.table.get(key)?;
        match reader(value.get_ref()) {
            Ok(read) => Some(At { value: read, span: value.span() }),
            Err(wanted) => {
                self.wrong(key, value, &wanted);
                None
            }
        }
    }

    /// Notes a value that is not what it must be.
    pub(super) fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        self.log.add(wrong_value(key, value, wanted));
    }

    pub(super) fn text(&self, key: &str) -> Option<At<String>> {
        let read = self.read(key, |value| {
            value.as_str().map(str::to_owned).ok_or_else(|| "a text in quotes".to_owned())
        })?;
        if read.value.trim().is_empty() {
            self.log.add(Mistake::at(read.span, format!("`{key}` of {} is empty", self.name)));
            return None;
        }
        Some(read)
    }

    pub(super) fn flag(&self, key: &str) -> Option<At<bool>> {
        self.read(key, |value| value.as_bool().ok_or_else(|| "true or false".to_owned()))
    }

    /// A whole number of at least `least`.
    pub(super) fn count<T: TryFrom<i64>>(&self, key: &str, least: i64) -> Option<T> {
        let wanted = || format!("a whole number of at least {least}");
        let read = self.read(key, |value| {
            let number = value::integer(value).filter(|number| *number >= least);
            number.and_then(|number| T::try_from(number).ok()).ok_or_else(wanted)
        });
        read.map(|read| read.value)
    }

    /// One of a few words.
    pub(super) fn word(&self, key: &str, words: &[&str]) -> Option<At<String>> {
        let text = self.text(key)?;
        if words.contains(&text.value.as_str()) {
            return Some(text);
        }
        let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let mistake = Mistake::at(text.span.clone(), format!("`{key}` is {list}, not \"{}\"", text.value));
        self.log.add(match text::nearest(&text.value, words.iter().copied()) {
            Some(near) => mistake.fix("a similar word is known", text.span, format!("\"{near}\"")),
            None => mistake,
        });
        None
    }

    /// A text or a list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<At<String>>> {
        let value = self.table.get(key)?;
        let wanted = "a text in quotes or a list of them";
        let one = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().filter(|text| !text.trim().is_empty());
            if text.is_none() {
                self.wrong(key, item, wanted);
            }
            text.map(|text| At { value: text.to_owned(), span: item.span() })
        };
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                self.log.add(Mistake::at(value.span(), format!("`{key}` of {} is empty", self.name)));
                None
            }
            DeValue::Array(items) => Some(items.iter().filter_map(one).collect()),
            _ => one(value).map(|text| vec![text]),
        }
    }

    /// A table below this one.
    pub(super) fn section(&self, key: &str, wanted: &str) -> Option<Section<'a>> {
        let value = self.table.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, wanted);
            return None;
        };
        let name = format!("`{key}` of {}", self.name);
        Some(Section::new(name, self.key_span(key), table, self.log))
    }

    /// A table below this one, where there is one; notes nothing.
    pub(super) fn section_if_table(&self, key: &str) -> Option<Section<'a>> {
        let table = self.table.get(key)?.get_ref().as_table()?;
        Some(Section::new(format!("`{key}` of {}", self.name), self.key_span(key), table, self.log))
    }

    /// A table of any JSON values.
    pub(super) fn json_table(&self, key: &str) -> BTreeMap<String, At<Value>> {
        let section = self.section(key, "a table, as in { min_len = 20 }");
        let entries = section.map(|section| section.entries()).unwrap_or_default();
        let mut table = BTreeMap::new();
        for entry in entries {
            match value::json(entry.value.get_ref()) {
                Ok(value) => {
                    table.insert(entry.key.value.to_owned(), At { value, span: entry.key.span });
                }
                Err(problem) => self.log.add(Mistake::at(entry.value.span(), problem)),
            }
        }
        table
    }
}

/// A value that is not what it must be.
pub(super) fn wrong_value(key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> Mistake {
    let mut mistake = Mistake::at(value.span(), format!("`{key}` must be {wanted}"));
    let kind = value::kind(value.get_ref());
    // The kind is right where examples show it: then its content is what is wrong.
    let kind_fits = wanted.contains(kind) || (value.get_ref().is_str() && wanted.contains('"'));
    if !kind_fits {
        mistake = mistake.label(format!("this is {kind}"));
    }
    let unquoted = value.get_ref().as_str().filter(|text| {
        let flag = wanted.contains("true or false") && matches!(*text, "true" | "false");
        flag || (wanted.contains("number") && text.parse::<f64>().is_ok())
    });
    match unquoted {
        Some(text) => mistake.fix("leave out the quotes", value.span(), text),
        None => mistake,
    }
}

fn unknown_key(key: &At<&str>, table: &str, known: &[&str]) -> Mistake {
    let mistake =
        Mistake::at(key.span.clone(), format!("{table} has no key `{}`", key.value)).label("unknown key");
    let other = keys::OTHER_NAMES.iter().find(|(name, meant)| *name == key.value && known.contains(meant));
    if let Some(near) = text::nearest(key.value, known.iter().copied()) {
        return mistake.fix("a key with a similar name exists", key.span.clone(), near);
    }
    if let Some((_, meant)) = other {
        return mistake.help(format!("it is called `{meant}` here"));
    }
    let homes: Vec<String> = keys::known_keys()
        .filter(|(_, name)| *name == key.value)
        .map(|(home, _)| match home {
            "source" | "target" | "module" => format!("`[{home}.NAME]`"),
            "log" | "notify" => format!("`[{home}]`"),
            _ => format!("`{home} = {{ … }}`"),
        })
        .collect();
    match homes.as_slice() {
        [] => mistake.help(format!("known keys: {}", known.join(", "))),
        homes => mistake.help(format!("`{}` belongs to {}", key.value, homes.join(" or "))),
    }
}
