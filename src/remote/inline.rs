//! Requests as they go over the wire: what a worker would read from files stands in them.

use std::path::Path;

use serde_json::{Map, Value};

use crate::remote::folders;

/// Puts the contents of all files that a request, a setup or a manifest names into it. No more than `room` bytes are read.
pub(super) fn inline(request: &mut Map<String, Value>, room: &mut u64) -> Result<(), String> {
    request.remove("tmp");
    content(request, room)?;
    if let Some(Value::Object(with)) = request.get_mut("with") {
        for side in with.values_mut() {
            match side {
                Value::Object(one) => content(one, room)?,
                Value::Array(many) => {
                    for one in many.iter_mut().filter_map(Value::as_object_mut) {
                        content(one, room)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// One document.
fn content(document: &mut Map<String, Value>, room: &mut u64) -> Result<(), String> {
    if let Some(Value::String(path)) = document.remove("path") {
        let path = Path::new(&path);
        if path.is_dir() {
            document.insert("folder".to_owned(), folders::read(path, room)?);
        } else if let Value::Object(content) = folders::content(folders::read_file(path, room)?) {
            document.extend(content);
        }
    }
    if let Some(Value::String(path)) = document.remove("manifest") {
        let lines = folders::read_file(Path::new(&path), room)?;
        let mut members = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut member: Map<String, Value> = serde_json::from_slice(line)
                .map_err(|error| format!("its manifest cannot be read: {error}"))?;
            content(&mut member, room)?;
            members.push(Value::Object(member));
        }
        document.insert("manifest".to_owned(), Value::Array(members));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn files_come_in_as_text_or_base64_whatever_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            crate::fs::write_scratch(&dir.path().join(name), bytes).unwrap();
            dir.path().join(name).display().to_string()
        };
        let (text, binary) = (file("a", b"hi"), file("b", b"\xff"));
        let manifest =
            file("m", format!("{{\"id\":\"x\",\"path\":{text:?}}}\n{{\"text\":\"y\"}}\n").as_bytes());
        let mut request = object(&json!({
            "id": 1, "path": text, "ext": "txt", "tmp": "/x",
            "with": {"one": {"path": binary}, "many": [{"manifest": manifest}], "none": null}
        }));
        let mut room = 1000;
        inline(&mut request, &mut room).unwrap();
        let expected = json!({
            "id": 1, "ext": "txt", "text": "hi",
            "with": {
                "one": {"base64": "/w=="},
                "many": [{"manifest": [{"id": "x", "text": "hi"}, {"text": "y"}]}],
                "none": null,
            }
        });
        assert_eq!(Value::Object(request), expected);
    }

    #[test]
    fn what_is_too_large_is_said_and_a_folder_is_sent_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        crate::fs::write_scratch(&path, &[b'x'; 100]).unwrap();
        let mut request = object(&json!({"id": 1, "path": path}));
        assert!(inline(&mut request.clone(), &mut 99).unwrap_err().contains("larger"));
        assert!(inline(&mut request, &mut 100).is_ok());
        let mut folder = object(&json!({"id": 1, "path": dir.path()}));
        assert!(inline(&mut folder.clone(), &mut 99).unwrap_err().contains("larger"));
        inline(&mut folder, &mut 100).unwrap();
        assert_eq!(Value::Object(folder), json!({"id": 1, "folder": {"a": {"text": "x".repeat(100)}}}));
    }
}
