//! Templates of published paths: the first line of the input is the template, the next ones are an id, an extension
//! and a value of `meta`.

use std::path::{Component, Path};

use pipelinefile::model::document::DocId;
use pipelinefile::model::selection::Template;

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (source, id, ext, meta) = (line(), line(), line(), line());
    let Ok(template) = super::bounded(data, 8 << 10, 100, || Template::parse(source)) else { return };
    assert_eq!(template.to_string(), source);
    assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
    let folder = template.folder("words");
    let id = DocId::parse(id);
    let lookup = |field: &_| {
        pipelinefile::model::selection::Field::of_id(field, &id).or_else(|| Some(meta.to_owned()))
    };
    let Ok(path) = super::bounded(data, 8 << 10, 200, || template.expand(&lookup, "words", ext)) else {
        return;
    };
    let names = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    assert!(names && !path.is_empty(), "`{path}` is not a plain path");
    assert!(!path.chars().any(|c| c == '\0'), "`{path}` is no path for a system call");
    assert!(path.split('/').all(|name| name.len() <= 255), "`{path}` has a name that is too long");
    assert!(folder.is_empty() || path.starts_with(&folder), "`{path}` is outside of `{folder}`");
}
