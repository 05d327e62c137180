//! Folders as they go over the wire: their files by name, contents inside. Knows nothing of who sends them.
//!
//! `{"a/b.txt":{"text":"…"},"run":{"base64":"…","exec":true}}`; names are escaped as in ids, so that any name can be sent.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::io_text;
use crate::model::document::escape_name;
use crate::model::folder::{self, Folder};
use crate::module::base64;

/// The files of a folder on disk; no more than `room` bytes are read. Of one that its user may write to, what tools
/// leave is left out: it does not count there.
pub(super) fn read(path: &Path, room: &mut u64) -> Result<Value, String> {
    let lost = |error: &std::io::Error| format!("cannot read `{}`: {}", path.display(), io_text(error));
    let mode = std::fs::metadata(path).map_err(|error| lost(&error))?.permissions().mode();
    let is_kept = mode & 0o222 == 0;
    let counts = |name: &std::ffi::OsStr| is_kept || folder::counts_in_shared(name);
    let files = crate::fs::files_seen_below(path, &counts).map_err(|error| error.to_string())?;
    let mut sent = Map::new();
    for file in files.iter().filter(|file| file.leads_nowhere.is_none()) {
        let bytes = read_file(&file.path, room)?;
        let mode = std::fs::metadata(&file.path).map_err(|error| lost(&error))?.permissions().mode();
        sent.insert(escape_name(file.rel.as_os_str()).into_owned(), one(bytes, mode & 0o100 != 0));
    }
    Ok(Value::Object(sent))
}

/// The bytes of a file; no more than `room`.
pub(super) fn read_file(path: &Path, room: &mut u64) -> Result<Vec<u8>, String> {
    let failed = |error: &std::io::Error| format!("cannot read `{}`: {}", path.display(), io_text(error));
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    // One more than there is room for tells that it is too much.
    file.take(*room + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    *room = room
        .checked_sub(bytes.len() as u64)
        .ok_or_else(|| "it is larger than what a module server takes".to_owned())?;
    Ok(bytes)
}

/// A folder as a module made it; `large` reads the files that are not in its own bytes.
pub fn sent(
    folder: &Folder,
    bytes: &[u8],
    large: &mut dyn FnMut(&folder::File) -> Result<Vec<u8>, String>,
) -> Result<Value, String> {
    let mut sent = Map::new();
    for (file, small) in folder.each(bytes) {
        let content = small.map_or_else(|| large(file), |small| Ok(small.to_vec()))?;
        sent.insert(file.path.clone(), one(content, file.exec));
    }
    Ok(Value::Object(sent))
}

fn one(bytes: Vec<u8>, exec: bool) -> Value {
    let mut value = content(bytes);
    if exec {
        value["exec"] = true.into();
    }
    value
}

/// Bytes as text, or else as base64.
pub fn content(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(error) => {
            let mut text = Vec::new();
            base64::encode(error.as_bytes(), &mut text);
            json!({ "base64": String::from_utf8_lossy(&text) })
        }
    }
}

/// Writes a folder that was sent to a place where nothing is yet. A name that leads out of it is refused.
pub fn write(sent: &Value, place: &Path) -> Result<(), String> {
    let files = sent.as_object().ok_or("a folder is an object: its files by their names")?;
    crate::fs::create_dir(place).map_err(|error| error.to_string())?;
    for (name, file) in files {
        if !folder::is_inside(name) {
            return Err(format!("`{}` is no name of a file in a folder", crate::text::printable(name)));
        }
        let bytes = match (file.get("text"), file.get("base64")) {
            (Some(Value::String(text)), None) => text.as_bytes().to_vec(),
            (None, Some(Value::String(text))) => base64::decode(text)?,
            _ => return Err("a file of a folder carries one of text or base64".to_owned()),
        };
        let path = place.join(crate::model::document::unescape_name(name));
        let above = path.parent().unwrap_or(place);
        crate::fs::create_dir(above).map_err(|error| error.to_string())?;
        crate::fs::write_new(&path, &bytes).map_err(|error| error.to_string())?;
        if file.get("exec").and_then(Value::as_bool) == Some(true) {
            crate::fs::set_mode(&path, 0o755).map_err(|error| io_text(&error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_there_and_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        crate::fs::create_dir(&from.join("sub")).unwrap();
        crate::fs::write_scratch(&from.join("sub/100% #.bin"), b"\xff").unwrap();
        crate::fs::write_scratch(&from.join("run"), b"#!").unwrap();
        crate::fs::write_scratch(&from.join(".DS_Store"), b"x").unwrap();
        crate::fs::write_scratch(&from.join(".words"), b"y").unwrap();
        crate::fs::set_mode(&from.join("run"), 0o755).unwrap();
        let sent = read(&from, &mut 100).unwrap();
        let expected = json!({
            ".words": {"text": "y"},
            "run": {"text": "#!", "exec": true},
            "sub/100%25 %23.bin": {"base64": "/w=="},
        });
        assert_eq!(sent, expected);
        write(&sent, &to).unwrap();
        assert_eq!(crate::fs::read(&to.join("sub/100% #.bin")).unwrap(), b"\xff");
        assert_eq!(std::fs::metadata(to.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(read(&from, &mut 2).unwrap_err().contains("larger"));
        // Of a result everything counts.
        crate::fs::set_mode(&from, 0o555).unwrap();
        assert!(read(&from, &mut 100).unwrap().get(".DS_Store").is_some());
        crate::fs::set_mode(&from, 0o755).unwrap();
    }

    #[test]
    fn what_leads_out_of_it_or_is_twice_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (n, (name, file)) in [
            ("../a", json!({"text": ""})),
            ("/a", json!({"text": ""})),
            ("%2E%2E/a", json!({"text": ""})),
            ("a", json!({})),
            ("a", json!({"text": "", "base64": ""})),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(write(&json!({ name: file }), &dir.path().join(n.to_string())).is_err(), "{name}");
        }
        let both = json!({ "a": {"text": ""}, "a/b": {"text": ""} });
        assert!(write(&both, &dir.path().join("both")).is_err());
        assert!(write(&json!([]), &dir.path().join("list")).is_err());
    }
}
