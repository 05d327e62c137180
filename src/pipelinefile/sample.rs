//! What stands beside a golden sample of a module: `CASE.toml` with params, meta and id. Knows nothing of its files.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The notes of one sample.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleNotes {
    /// Params of the module, on top of those in `[module.x]`.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// The document's meta: what it holds is seen.
    #[serde(default)]
    pub meta: BTreeMap<String, serde_json::Value>,
    /// The document's id; seen if it is stated.
    #[serde(default)]
    pub id: Option<String>,
}

/// Reads the notes of a sample; what is wrong with them, with line and column.
pub fn sample_notes(text: &str) -> Result<SampleNotes, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

/// The notes as a file.
///
/// # Errors
///
/// What TOML cannot hold: `null`.
pub fn write_sample_notes(notes: &SampleNotes) -> Result<String, String> {
    let mut text = String::new();
    let tables = [("params", &notes.params), ("meta", &notes.meta)];
    if let Some(id) = &notes.id {
        text.extend(["id = ", &value(&serde_json::Value::from(id.as_str()))?, "\n"]);
    }
    for (name, table) in tables.into_iter().filter(|(_, table)| !table.is_empty()) {
        let entries = table.iter().map(|(name, given)| Ok(format!("{} = {}", key(name), value(given)?)));
        let entries: Vec<String> = entries.collect::<Result<_, String>>()?;
        text.extend([name, " = { ", &entries.join(", "), " }\n"]);
    }
    Ok(text)
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// A JSON value in TOML. JSON's texts are TOML's, but for the one control character that JSON leaves as it is.
fn value(given: &serde_json::Value) -> Result<String, String> {
    use serde_json::Value;
    Ok(match given {
        Value::Null => return Err("`null` has no form in TOML".to_owned()),
        Value::Bool(_) | Value::Number(_) => given.to_string(),
        Value::String(_) => given.to_string().replace('\u{7f}', "\\u007F"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, given)| Ok(format!("{} = {}", key(name), value(given)?)));
            let fields: Vec<String> = fields.collect::<Result<_, String>>()?;
            format!("{{ {} }}", fields.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let mut notes = SampleNotes { id: Some("inbox/ä \"b\".txt".to_owned()), ..SampleNotes::default() };
        notes.params.insert("min_len".to_owned(), json!(6));
        notes.params.insert("odd name".to_owned(), json!(["a\n", 1.5, true, { "x": "\u{7f}" }]));
        notes.meta.insert("lang".to_owned(), json!("nl"));
        let text = write_sample_notes(&notes).unwrap();
        assert_eq!(sample_notes(&text).unwrap(), notes, "{text}");
        assert_eq!(write_sample_notes(&SampleNotes::default()).unwrap(), "");
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let said = sample_notes("param = { a = 1 }").unwrap_err();
        assert!(said.contains("line 1") && said.contains("unknown field `param`"), "{said}");
    }
}
