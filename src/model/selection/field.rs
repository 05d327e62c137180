//! What may be asked of a document. Knows the names only: who holds the document looks the value up.

use std::fmt;

use crate::model::document::{DocId, Meta};

/// Something that may be asked of a document: `id.stem`, `ext`, `meta.lang`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `id` or a part of it.
    Id(IdPart),
    /// The extension, lower case, without its dot.
    Ext,
    /// The kind of content, told from the content.
    Mime,
    /// The number of bytes.
    Size,
    /// The name of the source: the same as `id.source`.
    Source,
    /// A value in `meta`, by the path to it.
    Meta(String),
}

/// `id` or a part of it; of `inbox/2024/scan.v2.pdf#page-3`, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdPart {
    /// `id`: all of it.
    Whole,
    /// `id.source`: `inbox`.
    Source,
    /// `id.rel`: without the source.
    Rel,
    /// `id.base`: `rel` without its extension.
    Base,
    /// `id.dir`: the folder of `rel`.
    Dir,
    /// `id.stem`: the file's name without its extension.
    Stem,
    /// `id.ext`: the extension in the id.
    Ext,
    /// `id.child`: the name that a split gave, `page-3`.
    Child,
    /// `id.value`: the value of a group.
    Value,
}

const PARTS: [(&str, IdPart); 9] = [
    ("id", IdPart::Whole),
    ("id.source", IdPart::Source),
    ("id.rel", IdPart::Rel),
    ("id.base", IdPart::Base),
    ("id.dir", IdPart::Dir),
    ("id.stem", IdPart::Stem),
    ("id.ext", IdPart::Ext),
    ("id.child", IdPart::Child),
    ("id.value", IdPart::Value),
];

impl Field {
    /// The names of all fields but those of `meta`, for suggestions.
    pub const NAMES: [&str; 13] = [
        "id",
        "id.source",
        "id.rel",
        "id.base",
        "id.dir",
        "id.stem",
        "id.ext",
        "id.child",
        "id.value",
        "ext",
        "mime",
        "size",
        "source",
    ];

    /// Reads a field's name; nothing if there is no such field.
    pub fn parse(text: &str) -> Option<Field> {
        if let Some(path) = text.strip_prefix("meta.") {
            let whole = !path.is_empty() && path.split('.').all(|step| !step.is_empty());
            return whole.then(|| Field::Meta(path.to_owned()));
        }
        match text {
            "ext" => Some(Field::Ext),
            "mime" => Some(Field::Mime),
            "size" => Some(Field::Size),
            "source" => Some(Field::Source),
            _ => PARTS.iter().find(|(name, _)| *name == text).map(|(_, part)| Field::Id(*part)),
        }
    }

    /// The value of an `id` field or of `source`; nothing for other fields, and where the id has no such part.
    ///
    /// `id.value` is only known of groups, whose value is their `rel`; it is nothing for ids with a child's name.
    pub fn of_id(&self, id: &DocId) -> Option<String> {
        let Field::Id(part) = self else {
            return (*self == Field::Source).then(|| id.source().to_owned());
        };
        let text = match part {
            IdPart::Whole => id.as_str(),
            IdPart::Source => id.source(),
            IdPart::Rel => id.rel(),
            IdPart::Base => id.base(),
            IdPart::Dir => id.dir(),
            IdPart::Stem => id.stem(),
            IdPart::Ext => return Some(id.ext()),
            IdPart::Child => id.child_name()?,
            IdPart::Value => Some(id.rel()).filter(|value| !value.is_empty() && !value.contains('#'))?,
        };
        Some(text.to_owned())
    }

    /// The value of a `meta` field: by the path, or else a key that holds the dots itself (`"dc.title"`).
    /// Null counts as absent.
    pub fn of_meta<'a>(&self, meta: &'a Meta) -> Option<&'a serde_json::Value> {
        let Field::Meta(path) = self else { return None };
        let mut steps = path.split('.');
        let first = meta.get(steps.next()?);
        let nested = steps.fold(first, |value, step| value?.get(step));
        nested.or_else(|| meta.get(path)).filter(|value| !value.is_null())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Ext => f.write_str("ext"),
            Field::Mime => f.write_str("mime"),
            Field::Size => f.write_str("size"),
            Field::Source => f.write_str("source"),
            Field::Meta(path) => write!(f, "meta.{path}"),
            Field::Id(part) => {
                let name = PARTS.iter().find(|(_, known)| known == part).map_or("id", |(name, _)| name);
                f.write_str(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_reads_back_from_its_name() {
        for name in Field::NAMES.into_iter().chain(["meta.lang", "meta.dc.title"]) {
            assert_eq!(Field::parse(name).unwrap().to_string(), name);
        }
        for wrong in ["", "meta", "meta.", "meta.a..b", "id.", "id.stems", "Ext", "path"] {
            assert_eq!(Field::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_parts_of_an_id_are_looked_up_by_name() {
        let id = DocId::parse("inbox/2024/scan.v2.pdf#page-3");
        let of = |name: &str| Field::parse(name).unwrap().of_id(&id);
        assert_eq!(of("source").as_deref(), Some("inbox"));
        assert_eq!(of("id.dir").as_deref(), Some("2024"));
        assert_eq!(of("id.child").as_deref(), Some("page-3"));
        assert_eq!(of("id.value"), None);
        assert_eq!(of("size"), None);
        let group = DocId::parse("thread/42");
        assert_eq!(Field::Id(IdPart::Value).of_id(&group).as_deref(), Some("42"));
        assert_eq!(Field::Id(IdPart::Child).of_id(&group), None);
    }

    #[test]
    fn meta_is_found_by_path_or_by_a_key_with_dots() {
        let meta = serde_json::json!({"a": {"b": 1}, "dc.title": "x", "none": null});
        let meta = meta.as_object().unwrap();
        let of = |name: &str| Field::parse(name).unwrap().of_meta(meta).cloned();
        assert_eq!(of("meta.a.b"), Some(1.into()));
        assert_eq!(of("meta.dc.title"), Some("x".into()));
        assert_eq!(of("meta.none"), None);
        assert_eq!(of("meta.a.c"), None);
    }
}
