//! The frames of a worker, held against the protocol: descriptions and answers. Starts nothing.

use serde_json::{Map, Value};

/// The forms of an output.
const FORMS: [&str; 6] = ["text", "json", "base64", "path", "same", "children"];

/// What a description says that matters here.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    pub(super) takes_docs: bool,
    pub(super) window: Option<usize>,
    /// It takes contents that follow their lines.
    pub(super) lengths: bool,
    pub(super) is_concurrent: bool,
    /// Params that must be given.
    pub(super) required: Vec<String>,
}

/// Reads a description, or says what is wrong with it.
pub(super) fn described(frame: &Value) -> Result<Described, String> {
    let Some(fields) = frame.get("describe").and_then(Value::as_object) else {
        return Err(format!("no `describe` but {}", shown(frame)));
    };
    match fields.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        other => return Err(format!("`name` is {}", or_absent(other))),
    }
    if let Some(other) = fields.get("version").filter(|version| !version.is_string() && !version.is_null()) {
        return Err(format!("`version` is {}, not a string", shown(other)));
    }
    let params = match fields.get("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params.clone(),
        Some(other) => return Err(format!("`params` is {}, not an object", shown(other))),
    };
    if let Some((name, other)) = params.iter().find(|(_, param)| !param.is_object()) {
        return Err(format!("param `{name}` is {}, not an object with `type` and `default`", shown(other)));
    }
    let takes_docs = match fields.get("takes") {
        None | Some(Value::Null) => false,
        Some(Value::String(takes)) if takes == "doc" => false,
        Some(Value::String(takes)) if takes == "docs" => true,
        Some(other) => return Err(format!("`takes` is {}, not \"doc\" or \"docs\"", shown(other))),
    };
    let count = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count) if count > 0 => Ok(Some(count as usize)),
            _ => Err(format!("`{name}` is {}, not a number from 1 on", shown(value))),
        },
    };
    if let Some(files) = fields.get("files").filter(|files| !is_texts(files)) {
        return Err(format!("`files` is {}, not a list of paths", shown(files)));
    }
    let required = params.iter().filter(|(_, param)| param.get("default").is_none());
    Ok(Described {
        takes_docs,
        window: count("window")?,
        lengths: fields.get("lengths").and_then(Value::as_bool).unwrap_or(false),
        is_concurrent: count("concurrent")?.is_some_and(|count| count > 1),
        required: required.map(|(name, _)| name.clone()).collect(),
    })
}

fn is_texts(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

/// What is wrong with an answer, if anything is. `children` came before it, `log` is the length of the log now.
pub(super) fn wrong(answer: &Value, children: usize, log: u64) -> Option<String> {
    let kinds: Vec<&str> =
        ["output", "skip", "error"].into_iter().filter(|kind| answer.get(kind).is_some()).collect();
    let [kind] = kinds.as_slice() else {
        return Some(format!("an answer is one of output, skip or error: {}", shown(answer)));
    };
    if let Some(range) = answer.get("log") {
        let ends: Vec<u64> = range.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        match ends.as_slice() {
            [from, to] if from <= to && *to <= log => {}
            _ => {
                return Some(format!(
                    "`log` is {}, not two offsets in its standard error, which has {log} bytes",
                    shown(range)
                ));
            }
        }
    }
    let value = answer.get(kind)?;
    match *kind {
        "skip" => (!value.is_string()).then(|| format!("`skip` is {}, not the reason", shown(value))),
        "error" => wrong_error(value),
        _ => wrong_output(value, children),
    }
}

fn wrong_error(error: &Value) -> Option<String> {
    if !error.get("message").is_some_and(Value::is_string) {
        return Some(format!("`error` has no `message`: {}", shown(error)));
    }
    let retry = error.get("retry").is_some_and(|retry| !retry.is_boolean());
    retry.then(|| format!("`retry` is neither true nor false: {}", shown(error)))
}

fn wrong_output(output: &Value, children: usize) -> Option<String> {
    let Some(fields) = output.as_object() else {
        return Some(format!("`output` is {}, not an object", shown(output)));
    };
    let forms: Vec<&str> = FORMS.into_iter().filter(|form| fields.contains_key(*form)).collect();
    let [form] = forms.as_slice() else {
        return Some(format!("an output carries one of {}: {}", FORMS.join(", "), shown(output)));
    };
    let value = fields.get(*form)?;
    let is_right = match *form {
        "text" => value.is_string(),
        "base64" => value.as_str().is_some_and(|text| crate::module::base64::decode(text).is_ok()),
        "path" => {
            value.as_str().is_some_and(|path| path.starts_with('/') && std::path::Path::new(path).exists())
        }
        "same" => value.as_bool() == Some(true),
        "children" => {
            if value.as_u64() != Some(children as u64) {
                return Some(format!("`children` is {}, and {children} came before it", shown(value)));
            }
            true
        }
        _ => true,
    };
    if !is_right {
        return Some(format!("`{form}` is {}", shown(value)));
    }
    if let Some(ext) = fields.get("ext").filter(|ext| !ext.is_null()) {
        let plain = |ext: &str| !ext.starts_with('.') && !ext.contains('/') && ext.to_lowercase() == ext;
        if !ext.as_str().is_some_and(plain) {
            return Some(format!("`ext` is {}, not lower case without a dot", shown(ext)));
        }
    }
    let meta = fields.get("meta").filter(|meta| !meta.is_object() && !meta.is_null());
    meta.map(|meta| format!("`meta` is {}, not an object", shown(meta)))
}

/// A frame for people.
pub(super) fn shown(value: &Value) -> String {
    crate::text::shorten(&value.to_string(), 160)
}

fn or_absent(value: Option<&Value>) -> String {
    value.map_or_else(|| "not there".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn right_answers_are_right() {
        for answer in [
            json!({"id": 1, "output": {"text": "x", "ext": "txt", "meta": {"a": 1}}, "log": [0, 5]}),
            json!({"id": 1, "output": {"json": null}}),
            json!({"id": 1, "output": {"children": 2}}),
            json!({"id": 1, "skip": "empty"}),
            json!({"id": 1, "error": {"message": "no", "retry": false}, "later": 1}),
        ] {
            assert_eq!(wrong(&answer, 2, 5), None, "{answer}");
        }
    }

    #[test]
    fn wrong_answers_are_named() {
        for (answer, what) in [
            (json!({"id": 1}), "one of output, skip or error"),
            (json!({"id": 1, "skip": "a", "error": {"message": ""}}), "one of output, skip or error"),
            (json!({"id": 1, "skip": true}), "not the reason"),
            (json!({"id": 1, "error": {"type": "X"}}), "no `message`"),
            (json!({"id": 1, "output": "x"}), "not an object"),
            (json!({"id": 1, "output": {"text": "x", "json": 1}}), "carries one of"),
            (json!({"id": 1, "output": {"text": 1}}), "`text` is 1"),
            (json!({"id": 1, "output": {"base64": "?"}}), "`base64` is"),
            (json!({"id": 1, "output": {"path": "rel"}}), "`path` is"),
            (json!({"id": 1, "output": {"text": "", "ext": ".TXT"}}), "lower case"),
            (json!({"id": 1, "output": {"text": "", "meta": []}}), "not an object"),
            (json!({"id": 1, "output": {"children": 3}}), "2 came before"),
            (json!({"id": 1, "skip": "", "log": [3, 9]}), "which has 5 bytes"),
        ] {
            let said = wrong(&answer, 2, 5).unwrap();
            assert!(said.contains(what), "{answer}: {said}");
        }
    }

    #[test]
    fn descriptions_are_read() {
        let described = |fields: Value| super::described(&json!({ "describe": fields }));
        let fine =
            described(json!({"name": "a", "params": {"n": {"type": "int"}}, "takes": "docs", "window": 8}))
                .unwrap();
        assert!(fine.takes_docs && fine.window == Some(8) && fine.required == ["n"]);
        for (fields, what) in [
            (json!({}), "`name` is not there"),
            (json!({"name": "a", "params": []}), "not an object"),
            (json!({"name": "a", "takes": "files"}), "`takes` is"),
            (json!({"name": "a", "window": 0}), "`window` is 0"),
            (json!({"name": "a", "files": "x"}), "`files` is"),
        ] {
            assert!(described(fields).unwrap_err().contains(what), "{what}");
        }
    }
}
