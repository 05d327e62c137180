//! `-D target.name=value`: parameters from the command line, on top of the file's.

use serde_json::Value;

use super::mistake::Mistake;
use super::names::Names;
use super::section::{At, Log};
use super::target::Draft;
use super::value;
use crate::error::{Error, Result};

/// One `-D`.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The target.
    pub target: String,
    /// The parameter.
    pub name: String,
    /// JSON where it reads as such (`5`, `true`, `[1, 2]`, `"5"`), else the text itself.
    pub value: Value,
    /// As it was written.
    pub written: String,
}

impl Override {
    /// Reads `target.name=value`.
    pub fn parse(text: &str) -> Result<Override> {
        let parts =
            text.split_once('=').and_then(|(path, value)| Some((path.trim().split_once('.')?, value)));
        let Some(((target, name), value)) =
            parts.filter(|((target, name), _)| !target.is_empty() && !name.is_empty())
        else {
            return Err(Error::usage(format!("`-D {text}` is no parameter"))
                .hint("write -D TARGET.NAME=VALUE, as in -D words.min_len=5"));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Override { target: target.to_owned(), name: name.to_owned(), value, written: text.to_owned() })
    }
}

/// Puts the values into their targets; whether a module declares the parameter is seen where its code is read.
pub(super) fn apply(overrides: &[Override], drafts: &mut [Draft], names: &Names, log: &Log) {
    for given in overrides {
        let Some(ix) = names.overridden(&given.target, &given.written, log) else { continue };
        let draft = &mut drafts[ix.0];
        if !value::is_identifier(&given.name) {
            log.add(Mistake::nowhere(format!(
                "`-D {}`: `{}` is no name for a parameter",
                given.written, given.name
            )));
            continue;
        }
        if draft.with.iter().any(|with| with.name.value == given.name) {
            log.add(Mistake::nowhere(format!(
                "`-D {}`: `{}` is a side input of `{}`, not a parameter",
                given.written, given.name, given.target
            )));
            continue;
        }
        let span = draft.params.get(&given.name).map_or(draft.span.clone(), |param| param.span.clone());
        draft.params.insert(given.name.clone(), At { value: given.value.clone(), span });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_json_where_it_reads_as_such() {
        let value = |text: &str| Override::parse(text).unwrap().value;
        assert_eq!(value("words.n=5"), json!(5));
        assert_eq!(value("words.ok=true"), json!(true));
        assert_eq!(value("words.lang=en"), json!("en"));
        assert_eq!(value("words.lang=\"5\""), json!("5"));
        assert_eq!(value("words.where=a=b"), json!("a=b"));
        assert_eq!(value("words.empty="), json!(""));
        for wrong in ["", "words", "words.n", "n=5", ".n=5", "words.=5"] {
            assert_eq!(Override::parse(wrong).unwrap_err().kind.exit_code(), 2, "{wrong}");
        }
    }
}
