//! Where a result is published: a path with fields in braces, `out/{target}/{id.rel}.{ext}`.
//!
//! A published path never leaves the folder that the template names: `.` and `..` as names are escaped, empty parts
//! vanish, and slashes count only where the template or an id has them. Bytes that are awkward in file names become
//! `%XX`, the `#` in front of a child's name becomes `~`; different ids keep different paths.

use std::fmt::{self, Write as _};

use super::field::{Field, IdPart};
use crate::hash::Digest;
use crate::model::document::escape_name;

/// A path with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Target,
    Ext,
    Field(Field),
}

/// The longest name that file systems take.
const NAME_MAX: usize = 255;

impl Template {
    /// What `publish = true` stands for.
    pub const DEFAULT: &str = "out/{target}/{id}.{ext}";

    /// Reads a template; the error says what is wrong. `{{` and `}}` stand for braces.
    pub fn parse(source: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err("a `}` without its `{`; a brace itself is written twice".to_owned());
            } else {
                let Some((name, after)) = rest.split_once('}') else {
                    return Err("a `{` without its `}`; a brace itself is written twice".to_owned());
                };
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(part(name)?);
                rest = after;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        let template = Template { source: source.to_owned(), parts };
        template.check().map(|()| template)
    }

    fn check(&self) -> Result<(), String> {
        let problem = match self.parts.as_slice() {
            [] => "it is empty",
            [Part::Text(text), ..] if text.starts_with('/') => "it must be relative to the project's folder",
            [.., Part::Text(text)] if text.ends_with('/') => {
                "it names a folder: say which file, as in `out/{target}/{id}.{ext}`"
            }
            _ if self.source.split('/').any(|part| part == "..") => "it must not leave the project's folder",
            _ if self.source.split('/').next() == Some(".pipe") => "`.pipe` is the store's own folder",
            _ if self.source.chars().any(char::is_control) => "it holds a control character",
            _ => return Ok(()),
        };
        Err(problem.to_owned())
    }

    /// The fields of documents that are asked for, in order; `{target}` and `{ext}` are none.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| if let Part::Field(field) = part { Some(field) } else { None })
    }

    /// The folders that stand fast for a target: `out/words` of `out/{target}/{id}.{ext}`; empty at the top.
    pub fn folder(&self, target: &str) -> String {
        let mut fixed = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => fixed.push_str(text),
                Part::Target => fixed.push_str(target),
                Part::Ext | Part::Field(_) => break,
            }
        }
        let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
    }

    /// The template with `{target}` filled in: two targets with one text would write the same files.
    pub fn for_target(&self, target: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            Part::Target => target.to_owned(),
            Part::Ext => "{ext}".to_owned(),
            Part::Field(field) => format!("{{{field}}}"),
        };
        self.parts.iter().map(part).collect()
    }

    /// The path of one result, relative to the project's folder.
    ///
    /// `lookup` gives the fields of the document: those of its id as they are in the id, those of `meta` as text.
    /// The error is a field that it has not.
    pub fn expand(
        &self,
        lookup: &dyn Fn(&Field) -> Option<String>,
        target: &str,
        ext: &str,
    ) -> Result<String, Field> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Target => path.push_str(&safe_component(target)),
                Part::Ext if ext.is_empty() && path.ends_with('.') => {
                    path.pop();
                }
                Part::Ext => path.push_str(&safe_component(ext)),
                Part::Field(field) => {
                    let value = lookup(field).ok_or_else(|| field.clone())?;
                    path.push_str(&safe(field, &value));
                }
            }
        }
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").map(whole_name).collect();
        if parts.is_empty() || path.ends_with('/') {
            let last = self.fields().last().cloned();
            return Err(last.unwrap_or(Field::Id(IdPart::Whole)));
        }
        Ok(parts.join("/"))
    }
}

/// The template as written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn part(name: &str) -> Result<Part, String> {
    match (name, Field::parse(name)) {
        ("target", _) => Ok(Part::Target),
        ("ext", _) => Ok(Part::Ext),
        (_, Some(field @ (Field::Id(_) | Field::Meta(_)))) => Ok(Part::Field(field)),
        _ => {
            let names =
                ["target", "ext"].into_iter().chain(Field::NAMES.into_iter().filter(|n| n.starts_with("id")));
            let hint = match crate::text::nearest(name, names) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => {
                    "there are {id}, {id.rel} and its other parts, {meta.…}, {target} and {ext}".to_owned()
                }
            };
            Err(format!("there is no field `{{{name}}}`: {hint}"))
        }
    }
}

/// A field's value as part of a path: only what an id spells as folders stays a slash.
fn safe(field: &Field, value: &str) -> String {
    match field {
        Field::Id(IdPart::Whole | IdPart::Rel | IdPart::Base | IdPart::Dir) => {
            value.split('/').map(safe_name).collect::<Vec<_>>().join("/")
        }
        Field::Id(_) => safe_name(value),
        // Values that were not escaped as ids are.
        _ => safe_component(value),
    }
}

/// Any text as one name on disk: of a group's value, of `meta`.
pub fn safe_component(text: &str) -> String {
    safe_name(&escape_name(std::ffi::OsStr::new(text)))
}

/// Escapes what an id leaves as it is; injective, as ids never hold `%7E` and its like.
fn safe_name(text: &str) -> String {
    match text {
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        _ => {}
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' => out.push('~'),
            '~' | '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{:02X}", c as u32);
            }
            c if c.is_control() => out.push_str(&escape_name(std::ffi::OsStr::new(&c.to_string()))),
            c => out.push(c),
        }
    }
    out
}

/// A name that file systems take: `..` put together from pieces cannot climb, and a long one is cut, with a digest.
fn whole_name(name: &str) -> String {
    if name == ".." {
        return "%2E%2E".to_owned();
    }
    if name.len() <= NAME_MAX {
        return name.to_owned();
    }
    let ext = name.rfind('.').map(|dot| &name[dot..]).filter(|ext| ext.len() <= 16).unwrap_or_default();
    let mark = format!("~{}", &Digest::of(name.as_bytes()).hex()[..16]);
    let mut kept = NAME_MAX - mark.len() - ext.len();
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{mark}{ext}", &name[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::DocId;
    use proptest::prelude::*;

    fn expand(template: &str, id: &str, ext: &str) -> Result<String, Field> {
        let id = DocId::parse(id);
        Template::parse(template).unwrap().expand(&|field| field.of_id(&id), "words", ext)
    }

    #[test]
    fn fields_are_filled_in() {
        let path = |template: &str| expand(template, "inbox/2024/a.html", "txt").unwrap();
        assert_eq!(path(Template::DEFAULT), "out/words/inbox/2024/a.html.txt");
        assert_eq!(path("out/{id.base}.{ext}"), "out/2024/a.txt");
        assert_eq!(path("out/{id.dir}-{id.stem}"), "out/2024-a");
        assert_eq!(path("out/{{x}}/{id.source}"), "out/{x}/inbox");
        assert_eq!(expand("out/{id.dir}/{id.stem}", "inbox/a.html", "").unwrap(), "out/a");
        assert_eq!(expand("out/{id}.{ext}", "inbox/a", "").unwrap(), "out/inbox/a");
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(expand("out/{id.child}", "inbox/a", "txt"), Err(Field::Id(IdPart::Child)));
        assert_eq!(expand("out/{meta.x}", "inbox/a", "txt"), Err(Field::Meta("x".into())));
        assert_eq!(expand("out/{id}/{id.child}", "inbox/a#", "txt"), Err(Field::Id(IdPart::Child)));
    }

    #[test]
    fn awkward_names_become_safe_and_stay_different() {
        let path = |id: &str| expand("out/{id}", id, "").unwrap();
        assert_eq!(path("inbox/a.pdf#page-3"), "out/inbox/a.pdf~page-3");
        assert_eq!(path("inbox/a~b%23c:d"), "out/inbox/a%7Eb%23c%3Ad");
        assert_eq!(path("inbox/../../etc/passwd"), "out/inbox/%2E%2E/%2E%2E/etc/passwd");
        let long = path(&format!("inbox/{}.txt", "ä".repeat(200)));
        assert!(long.len() < 270 && long.split('.').next_back() == Some("txt"));
        assert_eq!(safe_component("a/b%c\n"), "a%2Fb%25c%0A");
    }

    #[test]
    fn what_is_no_template_is_refused_in_words() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(wrong(""), "it is empty");
        assert!(wrong("/tmp/{id}").contains("relative"));
        assert!(wrong("out/../../{id}").contains("leave"));
        assert!(wrong("out/").contains("folder"));
        assert!(wrong(".pipe/{id}").contains("store"));
        assert!(wrong("out/{id").contains("without its `}`"));
        assert!(wrong("out/id}").contains("without its `{`"));
        assert!(wrong("out/{id.steem}").contains("did you mean `{id.stem}`?"));
        assert!(wrong("out/{size}").contains("no field `{size}`"));
    }

    #[test]
    fn the_fixed_folder_of_a_template() {
        let folder = |text: &str| Template::parse(text).unwrap().folder("words");
        assert_eq!(folder("out/{target}/{id}.{ext}"), "out/words");
        assert_eq!(folder("out/{id}.json"), "out");
        assert_eq!(folder("./out//index.json"), "out");
        assert_eq!(folder("{id}.json"), "");
        assert_eq!(folder("out/{{a}}b/{id}.json"), "out/{a}b");
        assert_eq!(Template::parse("out/{target}-{id}").unwrap().for_target("a"), "out/a-{id}");
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_folder(
            template in proptest::sample::select(vec!["out/{id}", "out/{meta.a}{meta.a}", "out/{meta.a}/x", "out/.{meta.a}"]),
            value in "[./\\\\#~%a\u{0}]{0,12}",
        ) {
            let template = Template::parse(template).unwrap();
            if let Ok(path) = template.expand(&|_| Some(value.clone()), "t", "txt") {
                prop_assert!(path.starts_with("out"));
                prop_assert!(path.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
                prop_assert!(!path.contains('\0'));
            }
        }

        #[test]
        fn different_ids_have_different_paths(a in "s/[#~a:]{1,4}", b in "s/[#~a:]{1,4}") {
            let path = |id: &str| expand("out/{id}", id, "").unwrap();
            prop_assert_eq!(a == b, path(&a) == path(&b));
        }

        #[test]
        fn any_text_is_a_template_or_refused(text in "[a-z{}./]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
