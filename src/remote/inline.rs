//! Requests as they go over the wire: what a worker would read from files stands in them.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::model::folder;
use crate::module::base64;

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
        if document.get("ext").and_then(Value::as_str) == Some(folder::EXT) || Path::new(&path).is_dir() {
            return Err("a folder cannot be sent to a module server".to_owned());
        }
        let bytes = read(Path::new(&path), room)?;
        let (name, text) = match String::from_utf8(bytes) {
            Ok(text) => ("text", text),
            Err(error) => {
                let mut text = Vec::new();
                base64::encode(error.as_bytes(), &mut text);
                ("base64", String::from_utf8_lossy(&text).into_owned())
            }
        };
        document.insert(name.to_owned(), Value::String(text));
    }
    if let Some(Value::String(path)) = document.remove("manifest") {
        let lines = read(Path::new(&path), room)?;
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

fn read(path: &Path, room: &mut u64) -> Result<Vec<u8>, String> {
    let failed = |error: &std::io::Error| {
        format!("cannot read `{}`: {}", path.display(), crate::error::io_text(error))
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    // One more than there is room for tells that it is too much.
    file.take(*room + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    *room = room
        .checked_sub(bytes.len() as u64)
        .ok_or_else(|| "it is larger than what a module server takes".to_owned())?;
    Ok(bytes)
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
    fn what_is_too_large_or_a_folder_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        crate::fs::write_scratch(&path, &[b'x'; 100]).unwrap();
        let mut request = object(&json!({"id": 1, "path": path}));
        assert!(inline(&mut request.clone(), &mut 99).unwrap_err().contains("larger"));
        assert!(inline(&mut request, &mut 100).is_ok());
        let mut folder = object(&json!({"id": 1, "path": dir.path()}));
        assert!(inline(&mut folder, &mut 99).unwrap_err().contains("folder"));
    }
}
