//! From what slots report to the lines of a reply.

use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::model::action::LogRange;
use crate::model::failure::Failure;
use crate::module::{Answer, Done, LargeFile, Output, OutputBody};
use crate::remote::{content, sent_folder};
use crate::serve::limits::LOG;

/// A line: the document's name, and one thing that is said of it.
pub(super) fn line(name: u64, what: &str, value: &Value) -> Vec<u8> {
    let mut line = json!({ "id": name });
    line[what] = value.clone();
    finished(&line)
}

fn finished(line: &Value) -> Vec<u8> {
    let mut text = line.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// How a document ended, with what it printed and the code that did it.
pub(super) fn answer(name: u64, answer: Answer, fingerprint: &str, log: &Path, most: u64) -> Vec<u8> {
    let mut line = json!({ "id": name, "fingerprint": fingerprint });
    match answer.done {
        Done::Output(made) => match output(made, most) {
            Ok(value) => line["output"] = value,
            Err(problem) => {
                line["error"] = json!({ "type": "cannot send", "message": problem, "kind": "module-error" });
            }
        },
        Done::Skip(reason) => line["skip"] = reason.into(),
        Done::Failed(failure) => {
            line["error"] = failed(&failure);
            if let Some(pause) = answer.pause {
                line["error"]["after"] = pause.as_secs_f64().into();
            }
        }
    }
    if let Some(printed) = answer.log.and_then(|range| printed(log, range)) {
        line["log"] = printed.into();
    }
    finished(&line)
}

/// A document that failed.
pub(super) fn failure(name: u64, failure: &Failure, fingerprint: &str, log: Option<String>) -> Vec<u8> {
    let mut line = json!({ "id": name, "fingerprint": fingerprint, "error": failed(failure) });
    if let Some(log) = log {
        line["log"] = log.into();
    }
    finished(&line)
}

/// The module cannot start; nothing of the reply comes after this.
pub(super) fn fatal(failure: &Failure) -> Vec<u8> {
    finished(&json!({ "fatal": failed(failure) }))
}

/// The code is another by now.
pub(super) fn changed(name: u64, fingerprint: &str) -> Vec<u8> {
    finished(&json!({ "id": name, "changed": true, "fingerprint": fingerprint }))
}

fn failed(failure: &Failure) -> Value {
    json!({
        "type": failure.error,
        "message": failure.message,
        "where": failure.place,
        "traceback": failure.traceback.as_deref().unwrap_or_default(),
        "retry": failure.retry,
        "kind": failure.kind,
    })
}

/// A part of a document that is split.
pub(super) fn child(name: u64, child: &str, made: Output, most: u64) -> Vec<u8> {
    match output(made, most) {
        Ok(mut value) => {
            // Names come escaped from the slot, and would be once more at the other end.
            let plain = crate::model::document::unescape_name(child);
            value["name"] = String::from_utf8_lossy(plain.as_encoded_bytes()).into_owned().into();
            line(name, "child", &value)
        }
        Err(problem) => line(name, "error", &json!({ "type": "cannot send", "message": problem })),
    }
}

fn output(made: Output, most: u64) -> Result<Value, String> {
    let mut value = match made.body {
        OutputBody::Bytes { bytes, .. } => content(bytes),
        OutputBody::File { path, length, .. } => {
            if length > most {
                drop(crate::fs::remove_file(&path));
                return Err(too_large(length));
            }
            let bytes = crate::fs::read(&path).map_err(|error| error.to_string())?;
            drop(crate::fs::remove_file(&path));
            content(bytes)
        }
        OutputBody::Folder { bytes, large, .. } => {
            let sent = folder(&bytes, &large, most);
            large.iter().for_each(|file| drop(crate::fs::remove_file(&file.path)));
            json!({ "folder": sent? })
        }
        OutputBody::Same => json!({ "same": true }),
        OutputBody::Children(count) => json!({ "children": count }),
    };
    if !made.ext.is_empty() || value.get("same").is_none() && value.get("children").is_none() {
        value["ext"] = made.ext.into();
    }
    if !made.meta.is_empty() {
        value["meta"] = serde_json::from_str(&made.meta).unwrap_or(Value::Null);
    }
    Ok(value)
}

fn too_large(length: u64) -> String {
    format!("its result has {}, more than this server sends", crate::text::size(length))
}

/// A folder with all that is in it.
fn folder(bytes: &[u8], large: &[LargeFile], most: u64) -> Result<Value, String> {
    let folder = crate::model::folder::read(bytes).ok_or("its folder cannot be read")?;
    if folder.bytes() > most {
        return Err(too_large(folder.bytes()));
    }
    let mut read = |file: &crate::model::folder::File| {
        let found = large.iter().find(|one| one.digest == file.digest);
        let found = found.ok_or_else(|| format!("`{}` of its folder is gone", file.shown()))?;
        crate::fs::read(&found.path).map_err(|error| error.to_string())
    };
    sent_folder(&folder, bytes, &mut read)
}

/// What stands in a part of a log: its end, if it is long.
pub(super) fn printed(log: &Path, range: LogRange) -> Option<String> {
    let length = range.length.min(LOG);
    let mut bytes = vec![0; length as usize];
    let file = std::fs::File::open(log).ok()?;
    file.read_exact_at(&mut bytes, range.from + (range.length - length)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
