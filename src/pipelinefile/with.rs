//! `with`: side inputs, as the file states them. Whether they can be is seen in `graph`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::context::Context;
use super::disk;
use super::keys;
use super::mistake::Mistake;
use super::section::{At, Section};
use super::select;
use super::source::quoted;
use super::value;
use crate::model::pipeline::{Missing, Node};
use crate::model::selection::{Field, IdPart};

/// A side input whose kind the graph decides.
pub(super) struct DraftWith {
    pub(super) name: At<String>,
    pub(super) from: At<WithSource>,
    /// `on` or `many` is stated, readable or not.
    pub(super) by_value: bool,
    pub(super) on: Option<(Field, Field)>,
    pub(super) missing: Option<Missing>,
    pub(super) many: bool,
}

/// What a side input names.
pub(super) enum WithSource {
    Stream(Node),
    File(String, PathBuf),
}

impl Context<'_> {
    /// Reads `with`, sorted by name; what is wrong is noted.
    pub(super) fn with(&self, section: &Section<'_>) -> Vec<DraftWith> {
        let wanted = "a table, as in { model = \"TARGET\" } or { model = \"file:PATH\" }";
        let Some(table) = section.section("with", wanted) else { return Vec::new() };
        let mut inputs = Vec::new();
        for entry in table.entries() {
            let name = At { value: entry.key.value.to_owned(), span: entry.key.span.clone() };
            if !value::is_identifier(&name.value) {
                self.log.add(
                    Mistake::at(name.span, format!("`{}` is no name for a side input", name.value))
                        .help("side inputs are keyword arguments: letters, digits and `_`"),
                );
                continue;
            }
            match entry.value.get_ref() {
                DeValue::String(text) => {
                    let written = At { value: text.to_string(), span: entry.value.span() };
                    if let Some(from) = self.with_source(&written) {
                        let from = At { value: from, span: written.span };
                        inputs.push(DraftWith {
                            name,
                            from,
                            by_value: false,
                            on: None,
                            missing: None,
                            many: false,
                        });
                    }
                }
                DeValue::Table(table) => {
                    let title = format!("side input `{}` of {}", name.value, section.name);
                    let table = Section::new(title, name.span.clone(), table, self.log);
                    inputs.extend(self.with_table(name, &table));
                }
                _ => section.wrong(entry.key.value, entry.value, "a text in quotes or a table with `from`"),
            }
        }
        inputs.sort_by(|a, b| a.name.value.cmp(&b.name.value));
        inputs
    }

    fn with_table(&self, name: At<String>, table: &Section<'_>) -> Option<DraftWith> {
        table.allow(&[keys::WITH]);
        if !table.has("from") {
            self.log.add(Mistake::at(name.span.clone(), format!("{} has no `from`", table.name)));
        }
        let missing =
            table.word("missing", &["none", "skip", "fail"]).map(|word| match word.value.as_str() {
                "none" => Missing::None,
                "skip" => Missing::Skip,
                _ => Missing::Fail,
            });
        let on = self.on(table);
        let many = table.flag("many");
        if table.has("on") && !table.has("missing") {
            self.log.add(
                Mistake::at(table.key_span("on"), "`on` without `missing`")
                    .help("say what happens to a document that matches nothing: missing = \"none\", \"skip\" or \"fail\""),
            );
        }
        if many.is_some() && !table.has("on") {
            self.log
                .add(Mistake::at(table.key_span("many"), "`many` goes with `on`: by id there is one match"));
        }
        let written = table.text("from")?;
        let from = self.with_source(&written)?;
        if let (WithSource::File(..), true) = (&from, table.has("on")) {
            self.log.add(Mistake::at(
                table.key_span("on"),
                "a file is the same for every document: leave out `on`",
            ));
        }
        let from = At { value: from, span: written.span };
        let by_value = table.has("on") || table.has("many");
        Some(DraftWith { name, from, by_value, on, missing, many: many.is_some_and(|many| many.value) })
    }

    fn with_source(&self, written: &At<String>) -> Option<WithSource> {
        let Some(file) = written.value.strip_prefix("file:") else {
            return self.names.stream(written, self.modules, self.log).map(WithSource::Stream);
        };
        let path = disk::absolute(self.root, file);
        if file.is_empty() || !path.exists() {
            let mistake = Mistake::at(written.span.clone(), format!("there is no file or folder `{file}`"))
                .label("not found")
                .on_disk();
            self.log.add(match disk::similar(self.root, file) {
                Some(near) => {
                    let meant = quoted(&format!("file:{near}"));
                    mistake.fix("a similar name lies there", written.span.clone(), meant)
                }
                None => mistake.help("paths are relative to the folder of the Pipelinefile"),
            });
        }
        Some(WithSource::File(file.to_owned(), path))
    }

    fn on(&self, table: &Section<'_>) -> Option<(Field, Field)> {
        let fields = table.texts("on")?;
        let read: Vec<Field> = fields
            .iter()
            .filter_map(|written| {
                let field = select::field(written, select::IDS_AND_META, self.log)?;
                if field == Field::Id(IdPart::Whole) {
                    self.log.add(
                        Mistake::at(written.span.clone(), "ids of different documents are never equal")
                            .help("name a part: id.rel, id.stem, … Without `on`, documents come by id"),
                    );
                }
                Some(field)
            })
            .collect();
        match (read.as_slice(), fields.len()) {
            ([one], 1) => Some((one.clone(), one.clone())),
            ([mine, theirs], 2) => Some((mine.clone(), theirs.clone())),
            (_, n) if n > 2 => {
                let message = "`on` is a field, or two: [\"mine\", \"theirs\"]";
                self.log.add(Mistake::at(table.value_span("on"), message));
                None
            }
            _ => None,
        }
    }
}
