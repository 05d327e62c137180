//! What an author says of a module in a file beside it: `module.toml`, `pipe-module-NAME.toml`. Knows nothing of programs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::value;

/// What such a file says, whatever else is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Says {
    /// Joins the key.
    pub version: Option<String>,
    /// What it accepts.
    pub accepts: Option<String>,
    /// What it returns.
    pub returns: Option<String>,
    /// What it does.
    pub doc: Option<String>,
    /// Values of params where none are given.
    pub params: BTreeMap<String, Value>,
    /// So many documents in one call.
    pub batch: Option<usize>,
    /// One process works on several documents side by side.
    pub is_async: bool,
}

/// The keys that are read here.
pub(super) const KEYS: &[&str] = &["version", "accepts", "returns", "doc", "params", "batch", "async"];

/// Reads the keys of a file, of which it may have `more`.
pub(super) fn read(text: &str, more: &[&str]) -> Result<(Says, toml::Table), String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let known = || more.iter().chain(KEYS).copied();
    if let Some(key) = table.keys().find(|key| !known().any(|known| known == *key)) {
        return Err(match crate::text::nearest(key, known()) {
            Some(near) => format!("`{key}` is not known: did you mean `{near}`?"),
            None => format!("`{key}` is not known; there are {}", known().collect::<Vec<_>>().join(", ")),
        });
    }
    let says = Says {
        version: text_of(&table, "version")?,
        accepts: words_of(&table, "accepts")?,
        returns: words_of(&table, "returns")?,
        doc: text_of(&table, "doc")?,
        params: params(&table)?,
        batch: match table.get("batch") {
            None => None,
            Some(toml::Value::Integer(n @ 1..)) => usize::try_from(*n).ok(),
            Some(_) => return Err("`batch` must be a number from 1 on".to_owned()),
        },
        is_async: match table.get("async") {
            None => false,
            Some(toml::Value::Boolean(is_async)) => *is_async,
            Some(_) => return Err("`async` must be true or false".to_owned()),
        },
    };
    Ok((says, table))
}

/// The text of a key.
pub(super) fn text_of(table: &toml::Table, key: &str) -> Result<Option<String>, String> {
    match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` must be a text")),
    }
}

/// A text, or a list of texts, as it is shown.
fn words_of(table: &toml::Table, key: &str) -> Result<Option<String>, String> {
    match table.get(key) {
        Some(toml::Value::Array(list)) if list.iter().all(toml::Value::is_str) => {
            Ok(serde_json::to_string(list).ok())
        }
        Some(toml::Value::Array(_)) => Err(format!("`{key}` must be a text, or a list of texts")),
        _ => text_of(table, key),
    }
}

fn params(table: &toml::Table) -> Result<BTreeMap<String, Value>, String> {
    let params = match table.get("params") {
        None => return Ok(BTreeMap::new()),
        Some(toml::Value::Table(params)) => params,
        Some(_) => return Err("`params` must be a table: each with its default".to_owned()),
    };
    let one = |(name, default): (&String, &toml::Value)| {
        if !value::is_identifier(name) {
            return Err(format!("`{name}` is no name for a parameter"));
        }
        match serde_json::to_value(default) {
            Ok(default) if !holds_date(&default) => Ok((name.clone(), default)),
            _ => Err(format!("the default of `{name}` is no value of JSON")),
        }
    };
    params.iter().map(one).collect()
}

/// A date of TOML is written as a table of one key, which nobody meant.
fn holds_date(value: &Value) -> bool {
    value.get("$__toml_private_datetime").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_the_rest_is_refused() {
        let text = "version = \"2\"\naccepts = [\"*.txt\", \"*.md\"]\nbatch = 32\nasync = true\nparams = { size = 3, on = true }\n";
        let (says, _) = read(text, &[]).unwrap();
        assert_eq!(says.accepts.as_deref(), Some("[\"*.txt\",\"*.md\"]"));
        assert_eq!((says.batch, says.is_async, says.params.len()), (Some(32), true, 2));
        for (text, told) in [
            ("batc = 3", "did you mean `batch`?"),
            ("batch = 0", "a number from 1 on"),
            ("async = 1", "true or false"),
            ("version = 1", "`version` must be a text"),
            ("params = 3", "each with its default"),
            ("params = { \"a b\" = 3 }", "no name for a parameter"),
            ("params = { day = 2020-01-01 }", "no value of JSON"),
        ] {
            assert!(read(text, &[]).unwrap_err().contains(told), "{text}");
        }
    }
}
