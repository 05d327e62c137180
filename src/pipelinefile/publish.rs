//! `publish`, as a target states it. What the whole file proves wrong about it is seen in `publish_check`.

use toml::de::DeValue;

use super::context::Context;
use super::keys;
use super::mistake::{Mistake, Span};
use super::section::{At, Section};
use crate::model::pipeline::Publish;
use crate::model::selection::Template;

impl Context<'_> {
    /// Reads `publish`; what is wrong is noted.
    pub(super) fn publish(&self, section: &Section<'_>, target: &str) -> Option<Publish> {
        let value = section.get("publish")?;
        let plain = |path| Publish { path, remove_stale: false, index: None, content: false };
        match value.get_ref() {
            DeValue::Boolean(false) => None,
            DeValue::Boolean(true) => self.template(Template::DEFAULT, value.span()).map(plain),
            DeValue::String(text) => self.template(text, value.span()).map(plain),
            DeValue::Table(_) => {
                let table = section.section("publish", "a table")?;
                table.allow(&[keys::PUBLISH]);
                let stale = table.word("stale", &["keep", "remove"]);
                let index = table.text("index");
                let listing = index.as_ref().and_then(|index| self.listing(index, target));
                let content = table.flag("content").is_some_and(|content| content.value);
                if content && index.is_none() {
                    let message = "`content` goes with `index`: it puts the text into the listing";
                    self.log.add(Mistake::at(table.key_span("content"), message));
                }
                let path = match table.get("path").map(|path| (path.get_ref(), path.span())) {
                    None => self.template(Template::DEFAULT, value.span()),
                    Some((DeValue::Boolean(true), span)) => self.template(Template::DEFAULT, span),
                    Some((DeValue::String(text), span)) => self.template(text, span),
                    Some(_) => {
                        table.wrong("path", table.get("path")?, "a template, as in \"out/{id}.{ext}\"");
                        None
                    }
                }?;
                let remove_stale = stale.is_some_and(|stale| stale.value == "remove");
                Some(Publish { path, remove_stale, index: listing, content })
            }
            _ => {
                section.wrong("publish", value, "true, a template such as \"out/{id}.{ext}\", or a table");
                None
            }
        }
    }

    fn template(&self, text: &str, span: Span) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(problem) => {
                self.log.add(Mistake::at(span, format!("the template `{text}` is wrong: {problem}")));
                None
            }
        }
    }

    /// The path of a listing, relative to the project.
    fn listing(&self, index: &At<String>, target: &str) -> Option<String> {
        let path = match Template::parse(&index.value) {
            Ok(template) if template.fields().next().is_some() => {
                Err("it is one file, without fields".to_owned())
            }
            Ok(template) => {
                template.expand(&|_| None, target, "jsonl").map_err(|_| "it names no file".to_owned())
            }
            Err(problem) => Err(problem),
        };
        path.map_err(|problem| {
            self.log.add(Mistake::at(index.span.clone(), format!("`index` is wrong: {problem}")));
        })
        .ok()
    }
}
