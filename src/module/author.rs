//! For authors of modules in Rust: a function over documents, as a worker.
//!
//! ```no_run
//! use pipelinefile::module::author::{Answer, Worker};
//!
//! Worker::new("upper").run(|doc| Ok(Answer::text(doc.text()?.to_uppercase())));
//! ```
//!
//! Speaks the worker protocol on standard input and output, so nothing else may print to the latter. What goes to
//! standard error is the document's log. Knows nothing of the engine. `docs/guide/other-languages.md` shows it.

use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::module::base64;

/// A module that is about to run.
pub struct Worker {
    description: Map<String, Value>,
}

/// One document.
pub struct Doc<'a> {
    request: &'a Map<String, Value>,
    params: &'a Map<String, Value>,
    shared: &'a Map<String, Value>,
    notes: &'a RefCell<Vec<Value>>,
}

/// What came of a document.
pub struct Answer(Kind);

enum Kind {
    Output(Map<String, Value>),
    Skip(String),
}

/// Why a document failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    /// The type of the error.
    pub kind: String,
    /// In words.
    pub message: String,
    /// It passes: `pipe` tries again.
    pub retry: bool,
    /// Then, after so many seconds.
    pub after: Option<f64>,
}

impl Fault {
    /// The document cannot be worked on.
    pub fn new(message: impl Into<String>) -> Fault {
        Fault { kind: "Error".to_owned(), message: message.into(), ..Fault::default() }
    }

    /// A passing fault, such as of the network.
    pub fn passing(message: impl Into<String>) -> Fault {
        Fault { kind: "Retry".to_owned(), retry: true, ..Fault::new(message) }
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Fault {
        let name = std::any::type_name::<E>();
        let kind = name.rsplit("::").next().unwrap_or(name).to_owned();
        Fault { kind, ..Fault::new(error.to_string()) }
    }
}

impl Answer {
    fn output(form: &str, value: Value) -> Answer {
        Answer(Kind::Output(Map::from_iter([(form.to_owned(), value)])))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Answer {
        Answer::output("text", Value::from(text.into()))
    }

    /// A JSON value.
    pub fn json(value: Value) -> Answer {
        Answer::output("json", value)
    }

    /// Bytes.
    pub fn bytes(bytes: &[u8]) -> Answer {
        let mut encoded = Vec::new();
        base64::encode(bytes, &mut encoded);
        Answer::output("base64", Value::from(String::from_utf8_lossy(&encoded).into_owned()))
    }

    /// A file or a folder; absolute, best below [`Doc::tmp`].
    pub fn path(path: &Path) -> Answer {
        Answer::output("path", Value::from(path.to_string_lossy()))
    }

    /// The input, unchanged.
    pub fn same() -> Answer {
        Answer::output("same", Value::from(true))
    }

    /// The document is left out, for this reason.
    pub fn skip(reason: impl Into<String>) -> Answer {
        Answer(Kind::Skip(reason.into()))
    }

    /// With this extension.
    #[must_use]
    pub fn ext(self, ext: &str) -> Answer {
        self.with("ext", Value::from(ext))
    }

    /// With meta: a JSON object.
    #[must_use]
    pub fn meta(self, meta: Value) -> Answer {
        self.with("meta", meta)
    }

    fn with(self, name: &str, value: Value) -> Answer {
        match self.0 {
            Kind::Output(mut fields) => {
                fields.insert(name.to_owned(), value);
                Answer(Kind::Output(fields))
            }
            kind @ Kind::Skip(_) => Answer(kind),
        }
    }
}

impl<'a> Doc<'a> {
    fn field(&self, name: &str) -> Option<&'a str> {
        self.request.get(name).and_then(Value::as_str)
    }

    /// The content, byte for byte.
    pub fn bytes(&self) -> Result<Vec<u8>, Fault> {
        content(self.request)
    }

    /// The content as UTF-8 text.
    pub fn text(&self) -> Result<String, Fault> {
        String::from_utf8(self.bytes()?).map_err(Fault::from)
    }

    /// The extension, lower case, without a dot; empty where there is none or it is not seen.
    pub fn ext(&self) -> &'a str {
        self.field("ext").unwrap_or_default()
    }

    /// The stable name, if the target sees it.
    pub fn id(&self) -> Option<&'a str> {
        self.field("doc_id")
    }

    /// A value of its meta, if the target sees it and it is there.
    pub fn meta(&self, name: &str) -> Option<&'a Value> {
        self.request.get("meta")?.get(name)
    }

    /// A param.
    pub fn param<T: DeserializeOwned>(&self, name: &str) -> Result<T, Fault> {
        let value = self.params.get(name).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| Fault::new(format!("param `{name}`: {error}")))
    }

    /// The bytes of a side input; nothing where there is none.
    pub fn with(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let own = self.request.get("with").and_then(|with| with.get(name));
        match own.or_else(|| self.shared.get(name)).and_then(Value::as_object) {
            Some(input) => content(input).map(Some),
            None => Ok(None),
        }
    }

    /// A folder for scratch files and large results.
    pub fn tmp(&self) -> Result<PathBuf, Fault> {
        let folder = self.field("tmp").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn note(&self, kind: &str, value: &Value) {
        let id = self.request.get("id").cloned().unwrap_or_default();
        self.notes.borrow_mut().push(json!({ "id": id, kind: value }));
    }

    /// A warning that stays with the document.
    pub fn warn(&self, message: &str) {
        self.note("warn", &json!({ "message": message }));
    }

    /// A number that is summed up over documents.
    pub fn count(&self, name: &str, number: f64) {
        self.note("count", &json!({ name: number }));
    }

    /// A part of a document that is split; `answer` is an output.
    pub fn child(&self, name: &str, answer: Answer) {
        if let Kind::Output(mut fields) = answer.0 {
            fields.insert("name".to_owned(), Value::from(name));
            self.note("child", &Value::Object(fields));
        }
    }

    /// The answer after children: how many there were.
    pub fn children(&self) -> Answer {
        let count = self.notes.borrow().iter().filter(|note| note.get("child").is_some()).count();
        Answer::output("children", Value::from(count))
    }
}

/// The bytes of a document in any form.
fn content(request: &Map<String, Value>) -> Result<Vec<u8>, Fault> {
    let field = |name: &str| request.get(name).and_then(Value::as_str);
    match (field("text"), field("base64"), field("path")) {
        (Some(text), ..) => Ok(text.as_bytes().to_vec()),
        (_, Some(encoded), _) => base64::decode(encoded).map_err(Fault::new),
        (_, _, Some(path)) => crate::fs::read(Path::new(path)).map_err(|error| Fault::new(error.to_string())),
        _ => Err(Fault::new("the document came without content")),
    }
}

impl Worker {
    /// A module that takes one document at a time.
    pub fn new(name: &str) -> Worker {
        let description = json!({ "name": name, "params": {}, "takes": "doc" });
        let Value::Object(description) = description else { return Worker { description: Map::new() } };
        Worker { description }
    }

    /// States a param: its type in words, and its value where none is given.
    #[must_use]
    pub fn param(mut self, name: &str, kind: &str, default: Option<Value>) -> Worker {
        let mut param = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        param.extend(default.map(|default| ("default".to_owned(), default)));
        if let Some(Value::Object(params)) = self.description.get_mut("params") {
            params.insert(name.to_owned(), Value::Object(param));
        }
        self
    }

    /// States a version, which joins the key.
    #[must_use]
    pub fn version(mut self, version: &str) -> Worker {
        self.description.insert("version".to_owned(), Value::from(version));
        self
    }

    /// Answers documents until there are no more.
    pub fn run(self, function: impl Fn(&Doc<'_>) -> Result<Answer, Fault>) {
        let (stdin, stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
        // Where `pipe` is gone nobody is left to be told.
        drop(self.serve(stdin, stdout, &function));
    }

    fn serve(
        &self,
        mut requests: impl BufRead,
        mut answers: impl Write,
        function: &dyn Fn(&Doc<'_>) -> Result<Answer, Fault>,
    ) -> std::io::Result<()> {
        let empty = Map::new();
        let mut params = Map::new();
        let mut shared = Map::new();
        let mut line = Vec::new();
        while requests.read_until(b'\n', &mut line)? > 0 {
            // What is no JSON object is of nobody that we know.
            let asked: Map<String, Value> = serde_json::from_slice(&line).unwrap_or_default();
            line.clear();
            if asked.contains_key("describe") {
                writeln!(answers, "{}", json!({ "describe": self.description }))?;
            } else if let Some(setup) = asked.get("setup") {
                let object =
                    |name: &str| setup.get(name).and_then(Value::as_object).unwrap_or(&empty).clone();
                (params, shared) = (self.defaults(), object("with"));
                params.extend(object("params"));
                writeln!(answers, "{}", json!({ "ready": 1 }))?;
            } else if let Some(id) = asked.get("id") {
                let notes = RefCell::default();
                let doc = Doc { request: &asked, params: &params, shared: &shared, notes: &notes };
                let answer = match function(&doc) {
                    Ok(Answer(Kind::Output(output))) => json!({ "id": id, "output": output }),
                    Ok(Answer(Kind::Skip(reason))) => json!({ "id": id, "skip": reason }),
                    Err(fault) => json!({ "id": id, "error": {
                        "type": fault.kind, "message": fault.message, "retry": fault.retry, "after": fault.after,
                    } }),
                };
                for frame in notes.into_inner().iter().chain([&answer]) {
                    writeln!(answers, "{frame}")?;
                }
            }
            answers.flush()?;
        }
        Ok(())
    }

    /// The params that have a value where none is given.
    fn defaults(&self) -> Map<String, Value> {
        let params = self.description.get("params").and_then(Value::as_object).into_iter().flatten();
        params.filter_map(|(name, param)| Some((name.clone(), param.get("default")?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(requests: &[Value], function: &dyn Fn(&Doc<'_>) -> Result<Answer, Fault>) -> Vec<Value> {
        let requests: Vec<String> = requests.iter().map(ToString::to_string).collect();
        let requests = requests.join("\n");
        let mut answers = Vec::new();
        let worker = Worker::new("w").param("n", "int", Some(3.into()));
        worker.serve(requests.as_bytes(), &mut answers, function).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn it_describes_itself_and_answers_documents() {
        let function = |doc: &Doc<'_>| {
            let n: u32 = doc.param("n")?;
            doc.warn("look");
            Ok(Answer::text(format!("{}{n}{}", doc.text()?, doc.ext())).meta(json!({ "n": n })))
        };
        let requests = [
            json!({ "protocol": 1, "describe": true }),
            json!({ "setup": { "params": {} } }),
            json!({ "unknown": 1 }),
            json!({ "id": 7, "base64": "YQ==", "ext": "txt" }),
            json!({ "id": 8, "path": "/no/such/file" }),
        ];
        let said = said(&requests, &function);
        assert_eq!(said[0]["describe"]["params"]["n"]["default"], 3);
        assert_eq!(said[1], json!({ "ready": 1 }));
        assert_eq!(said[2], json!({ "id": 7, "warn": { "message": "look" } }));
        assert_eq!(said[3], json!({ "id": 7, "output": { "text": "a3txt", "meta": { "n": 3 } } }));
        assert_eq!(said[5]["error"]["message"], "cannot read `/no/such/file`: no such file or directory");
    }

    #[test]
    fn children_come_before_their_number_and_passing_faults_are_told() {
        let split = |doc: &Doc<'_>| {
            for (number, part) in doc.text()?.split(' ').enumerate() {
                doc.child(&format!("part-{number}"), Answer::text(part));
            }
            Ok(doc.children())
        };
        let said_of_split = said(&[json!({ "id": 1, "text": "a b", "split": true })], &split);
        assert_eq!(said_of_split[1], json!({ "id": 1, "child": { "name": "part-1", "text": "b" } }));
        assert_eq!(said_of_split[2], json!({ "id": 1, "output": { "children": 2 } }));
        let fails = |_: &Doc<'_>| Err(Fault { after: Some(30.0), ..Fault::passing("later") });
        let error = &said(&[json!({ "id": 1, "text": "" })], &fails)[0]["error"];
        assert_eq!(
            (&error["retry"], &error["after"], &error["type"]),
            (&true.into(), &30.0.into(), &"Retry".into())
        );
    }
}
