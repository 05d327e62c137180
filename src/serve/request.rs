//! From the lines of a request to what slots take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::hash::{Digest, FieldHasher};
use crate::model::folder;
use crate::model::pipeline::SplitLimits;
use crate::module::{Body, Input, Request, Side, base64};
use crate::remote::write_folder;

/// The first line: what is the same for all documents. Unknown fields are from a later version and ignored.
#[derive(Debug, Deserialize)]
struct FirstLine<'a> {
    #[serde(borrow)]
    setup: &'a RawValue,
}

#[derive(Debug, Deserialize)]
struct SetupFields {
    #[serde(default)]
    params: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    with: BTreeMap<String, Option<SideFields>>,
    #[serde(default)]
    with_each: Vec<String>,
    #[serde(default)]
    sees: Option<Vec<String>>,
    #[serde(default)]
    ext: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    split: Option<[u64; 3]>,
}

/// A document, or a side input.
#[derive(Debug, Deserialize)]
struct Fields {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    /// Its files by their names.
    #[serde(default)]
    folder: Option<serde_json::Value>,
    #[serde(default)]
    manifest: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    ext: Option<String>,
    #[serde(default)]
    digest: Option<Digest>,
    #[serde(default)]
    meta: Option<Box<RawValue>>,
    #[serde(default)]
    doc_id: Option<String>,
    #[serde(default)]
    with: BTreeMap<String, Option<SideFields>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SideFields {
    Many(Vec<Fields>),
    One(Box<Fields>),
}

/// What is the same for all documents of a request.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Of all of it: equal setups share their workers.
    pub(super) digest: Digest,
    pub(super) params: BTreeMap<String, serde_json::Value>,
    pub(super) with: Vec<(String, Side)>,
    pub(super) with_each: Vec<String>,
    pub(super) sees: Option<Vec<String>>,
    pub(super) ext: Option<String>,
    pub(super) timeout: Option<Duration>,
    pub(super) split: Option<SplitLimits>,
    /// Side inputs that are folders go with it.
    _folders: Unpacked,
}

impl Setup {
    /// Nothing is stated.
    pub(super) fn empty() -> Setup {
        Setup {
            digest: Digest::of(b""),
            params: BTreeMap::new(),
            with: Vec::new(),
            with_each: Vec::new(),
            sees: None,
            ext: None,
            timeout: None,
            split: None,
            _folders: Unpacked::default(),
        }
    }
}

/// Folders that were sent, as folders on disk; they go with whoever has a part in this.
#[derive(Clone, Debug, Default)]
pub(super) struct Unpacked(Option<Arc<Scratch>>);

#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(crate::fs::remove_dir(&self.0));
    }
}

impl Unpacked {
    /// Writes a folder; `place` is where all of a server's lie.
    fn write(&mut self, sent: &serde_json::Value, place: &Path) -> Result<PathBuf, String> {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let scratch = self.0.get_or_insert_with(|| Arc::new(Scratch(place.join(format!("sent-{number}")))));
        let folder = scratch.0.join(number.to_string());
        write_folder(sent, &folder)?;
        Ok(folder)
    }
}

/// Folders are numbered for the whole server.
static FOLDERS: AtomicU64 = AtomicU64::new(0);

/// A document as it was sent.
#[derive(Debug)]
pub(super) struct Document {
    /// As it is called by who sent it.
    pub(super) name: u64,
    input: Input,
    with: Vec<(String, Side)>,
    /// The lines of its manifest.
    members: Option<Vec<Box<RawValue>>>,
    /// It, its side inputs and its members that are folders.
    folders: Unpacked,
}

/// A whole request.
pub(super) struct Asked {
    pub(super) setup: Setup,
    pub(super) documents: Vec<Document>,
}

/// Reads a request: the setup, then a document a line. Folders go to the disk, into one of their own in `place`.
pub(super) fn read(body: &[u8], most: usize, place: &Path) -> Result<Asked, String> {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next().ok_or("the request is empty: a line with `setup`, then a document a line")?;
    let first: FirstLine<'_> =
        serde_json::from_slice(first).map_err(|error| format!("line 1 is no setup: {error}"))?;
    let setup = read_setup(first.setup.get(), place).map_err(|problem| format!("line 1: {problem}"))?;
    let mut documents = Vec::new();
    let mut names = std::collections::HashSet::new();
    for (number, line) in lines.enumerate() {
        let told = |problem: String| format!("document {}: {problem}", number + 1);
        if documents.len() == most {
            return Err(format!("more than {most} documents in one request"));
        }
        let document = read_document(line, place).map_err(told)?;
        if !names.insert(document.name) {
            return Err(told(format!("a second document with the id {}", document.name)));
        }
        documents.push(document);
    }
    Ok(Asked { setup, documents })
}

fn read_setup(text: &str, place: &Path) -> Result<Setup, String> {
    let fields: SetupFields = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let ext = fields.ext.filter(|ext| !ext.is_empty());
    if let Some(ext) = &ext {
        check_ext(ext)?;
    }
    let mut folders = Unpacked::default();
    let with = sides(fields.with, place, &mut folders)?;
    Ok(Setup {
        digest: FieldHasher::new("pipe served setup").text(text).finish(),
        params: fields.params,
        with,
        with_each: fields.with_each,
        sees: fields.sees,
        ext,
        timeout: fields.timeout_ms.map(Duration::from_millis),
        split: fields.split.map(|[count, size, total]| SplitLimits { count, size, total }),
        _folders: folders,
    })
}

fn read_document(line: &[u8], place: &Path) -> Result<Document, String> {
    let mut fields: Fields = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let name = fields
        .id
        .take()
        .as_ref()
        .and_then(serde_json::Value::as_u64)
        .ok_or("its `id` must be a whole number")?;
    let members = fields.manifest.take();
    let mut folders = Unpacked::default();
    let with = sides(std::mem::take(&mut fields.with), place, &mut folders)?;
    fields.id = fields.doc_id.take().map(serde_json::Value::String);
    if members.is_some() {
        if fields.text.is_some() || fields.base64.is_some() || fields.folder.is_some() {
            return Err(CARRIES.to_owned());
        }
        fields.text = Some(String::new());
    }
    let input = input(fields, place, &mut folders)?;
    let member = |line: Box<RawValue>| member(line, place, &mut folders);
    let members = members.map(|lines| lines.into_iter().map(member).collect::<Result<_, _>>()).transpose()?;
    Ok(Document { name, input, with, members, folders })
}

/// By these a line of a manifest says where its content is; here only this server may.
const NAMES: &[&str] = &["path", "files", "length", "data", "manifest"];

/// A line of a manifest. Of a folder it says where that is now.
fn member(line: Box<RawValue>, place: &Path, folders: &mut Unpacked) -> Result<Box<RawValue>, String> {
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line.get()).map_err(|error| error.to_string())?;
    // A module opens what a member names: a client has no say in that, whatever the server may read.
    if fields.keys().any(|key| NAMES.contains(&key.as_str())) {
        return Err("a member carries one of text, base64 or folder".to_owned());
    }
    let Some(sent) = fields.remove("folder") else { return Ok(line) };
    let folder = folders.write(&sent, place)?;
    fields.insert("path".to_owned(), folder.to_string_lossy().into());
    serde_json::value::to_raw_value(&fields).map_err(|error| error.to_string())
}

fn sides(
    with: BTreeMap<String, Option<SideFields>>,
    place: &Path,
    folders: &mut Unpacked,
) -> Result<Vec<(String, Side)>, String> {
    let mut all = Vec::with_capacity(with.len());
    for (name, side) in with {
        let side = match side {
            None => Side::Absent,
            Some(SideFields::One(fields)) => Side::One(input(*fields, place, folders)?),
            Some(SideFields::Many(many)) => {
                let many = many.into_iter().map(|one| input(one, place, folders));
                Side::Many(many.collect::<Result<Vec<_>, _>>()?)
            }
        };
        all.push((name, side));
    }
    Ok(all)
}

/// What a document has too much or too little of.
const CARRIES: &str = "it carries one of text, base64, folder or manifest";

fn input(fields: Fields, place: &Path, folders: &mut Unpacked) -> Result<Input, String> {
    let is_folder = fields.folder.is_some();
    let body = match (fields.text, fields.base64, fields.folder) {
        (Some(text), None, None) => Body::Bytes(Arc::from(text.into_bytes())),
        (None, Some(text), None) => Body::Bytes(Arc::from(base64::decode(&text)?)),
        (None, None, Some(sent)) => Body::Path(folders.write(&sent, place)?),
        _ => return Err(CARRIES.to_owned()),
    };
    if let Some(ext) = fields.ext.as_deref().filter(|ext| !(is_folder && *ext == folder::EXT)) {
        check_ext(ext)?;
    }
    if let Some(meta) = &fields.meta
        && !meta.get().starts_with('{')
    {
        return Err("its `meta` must be an object".to_owned());
    }
    Ok(Input {
        body,
        ext: fields.ext,
        digest: fields.digest,
        meta: fields.meta.map(|meta| meta.get().replace(['\n', '\r'], " ")),
        id: fields.id.and_then(|id| Some(id.as_str()?.to_owned())),
    })
}

/// An extension becomes a part of file names.
fn check_ext(ext: &str) -> Result<(), String> {
    if ext.len() <= 64
        && !ext.contains(|c: char| c == '/' || c == '\\' || c.is_control())
        && !ext.starts_with('.')
    {
        Ok(())
    } else {
        Err(format!("`{}` is no extension", crate::text::printable(ext)))
    }
}

impl Document {
    /// As a slot takes it, under a number of ours. A manifest is written to a file in `folder`.
    pub(super) fn into_request(mut self, id: u64, folder: &Path) -> Result<(Request, Unpacked), String> {
        if let Some(lines) = self.members.take() {
            let mut text = String::new();
            for line in &lines {
                text.push_str(&line.get().replace(['\n', '\r'], " "));
                text.push('\n');
            }
            let path = folder.join(format!("members-{id}.jsonl"));
            crate::fs::write_scratch(&path, text.as_bytes()).map_err(|error| error.to_string())?;
            self.input.body = Body::Manifest { path, members: lines.len() as u64 };
        }
        Ok((Request { id, input: self.input, with: self.with }, self.folders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_setup_and_documents() {
        let body = br#"{"setup":{"params":{"n":1},"with":{"m":{"text":"x","ext":"csv"},"none":null},"sees":["ext"],"later":1}}
{"id":7,"text":"hi","ext":"txt","with":{"many":[{"base64":"/w=="}]}}

{"id":8,"manifest":[{"id":"a",
"text":"1"}],"doc_id":"inbox/a"}
"#;
        let whole = String::from_utf8_lossy(body).replace("\"a\",\n", "\"a\",");
        let dir = tempfile::tempdir().unwrap();
        let asked = read(whole.as_bytes(), 9, dir.path()).unwrap();
        assert_eq!(asked.setup.params["n"], 1);
        assert_eq!(asked.setup.with.len(), 2);
        assert_eq!(asked.documents.iter().map(|one| one.name).collect::<Vec<_>>(), [7, 8]);
        let [first, second] = asked.documents.try_into().unwrap();
        assert_eq!(first.into_request(1, dir.path()).unwrap().0.input.body, Body::Bytes(Arc::from(*b"hi")));
        let (second, _) = second.into_request(2, dir.path()).unwrap();
        assert_eq!(second.input.id.as_deref(), Some("inbox/a"));
        let Body::Manifest { path, members: 1 } = second.input.body else { panic!() };
        assert_eq!(crate::fs::read_text(&path).unwrap(), "{\"id\":\"a\",\"text\":\"1\"}\n");
    }

    #[test]
    fn what_is_no_request_is_told_where() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |body: &str| read(body.as_bytes(), 2, dir.path()).err().unwrap();
        assert!(refused("").contains("empty"));
        assert!(refused("{}").contains("line 1"));
        let setup = "{\"setup\":{}}\n";
        let with = |lines: &str| refused(&format!("{setup}{lines}"));
        assert!(with("{\"id\":\"x\",\"text\":\"\"}").contains("document 1: its `id`"));
        assert!(with("{\"id\":1}").contains("one of text"));
        assert!(with("{\"id\":1,\"text\":\"\"}\n{\"id\":1,\"text\":\"\"}").contains("second document"));
        assert!(with("{\"id\":1,\"text\":\"\",\"ext\":\"../x\"}").contains("no extension"));
        assert!(with("{\"id\":1,\"text\":\"\",\"meta\":3}").contains("object"));
        assert!(with("{\"id\":1,\"text\":\"\",\"ext\":\"/\"}").contains("no extension"));
        assert!(with("{\"id\":1,\"folder\":{\"../x\":{\"text\":\"\"}}}").contains("no name of a file"));
        assert!(with("{\"id\":1,\"folder\":{},\"text\":\"\"}").contains("one of text"));
        for named in
            ["\"path\":\"/etc/passwd\"", "\"\\u0070ath\":\"/\",\"text\":\"\"", "\"text\":\"\",\"length\":9"]
        {
            let said = with(&format!("{{\"id\":1,\"manifest\":[{{\"id\":\"a\",{named}}}]}}"));
            assert!(said.contains("a member carries one of text, base64 or folder"), "{said}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing of a refused request stays");
        assert!(with(&"{\"id\":1,\"text\":\"\"}\n".repeat(3)).contains("second"));
        let three = "{\"id\":0,\"text\":\"\"}\n{\"id\":1,\"text\":\"\"}\n{\"id\":2,\"text\":\"\"}\n";
        assert!(with(three).contains("more than 2"));
    }

    #[test]
    fn folders_lie_on_the_disk_until_their_document_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = "\"folder\":{\"a/b\":{\"text\":\"x\"}}";
        let body = format!(
            "{{\"setup\":{{\"with\":{{\"m\":{{{folder},\"ext\":\"/\"}}}}}}}}\n{{\"id\":1,{folder},\"ext\":\"/\"}}\n\
             {{\"id\":2,\"manifest\":[{{\"id\":\"a\",{folder}}},{{\"id\":\"b\",\"text\":\"\\\"folder\\\"\"}}]}}\n"
        );
        let asked = read(body.as_bytes(), 9, dir.path()).unwrap();
        let here = || std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(here(), 3);
        let [first, second] = asked.documents.try_into().unwrap();
        let (first, unpacked) = first.into_request(1, dir.path()).unwrap();
        let Body::Path(path) = first.input.body else { panic!() };
        assert_eq!(crate::fs::read(&path.join("a/b")).unwrap(), b"x");
        drop(unpacked);
        assert!(!path.exists());
        let (second, _unpacked) = second.into_request(2, dir.path()).unwrap();
        let Body::Manifest { path, .. } = second.input.body else { panic!() };
        let lines = crate::fs::read_text(&path).unwrap();
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert!(Path::new(first["path"].as_str().unwrap()).join("a/b").is_file(), "{lines}");
    }
}
