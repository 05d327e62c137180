//! One document with everything that its module needs, in a folder where a script runs it without `pipe`.
//!
//! Paths in the script and in the request are relative to `code/`, where the module stands, so the folder can be moved
//! and sent. Knows nothing of what was stored before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::failure::Failure;
use crate::model::pipeline::{Container, Program};
use crate::module::command::Command;
use crate::module::filter::Filter;
use crate::module::launch::{Body, Input, Launch, Request, Side};
use crate::module::protocol;

/// The script that runs it.
pub const SCRIPT: &str = "run.sh";

/// Writes inputs, request and script. `code/` in the folder is the caller's to fill. `what` stands in the script.
pub fn write(launch: &Launch, request: &Request, folder: &Path, what: &str) -> Result<()> {
    for name in ["code", "inputs", "out", "tmp"] {
        crate::fs::create_dir(&folder.join(name))?;
    }
    let mut writer = Writer { folder, taken: 0 };
    let mut launch = Launch { tmp: folder.join("tmp"), ..launch.clone() };
    launch.with = writer.sides(&launch.with)?;
    let request = Request {
        input: writer.input(&request.input, "in")?,
        with: writer.sides(&request.with)?,
        ..request.clone()
    };
    let refused = |failure: Failure| Error::unfinished(failure.summary());
    let (command, redirected, end) = match launch.program.inside() {
        Program::Python { file, function } => {
            if let Some(python) = &mut launch.python {
                copy(&python.sdk, &folder.join("python"))?;
                python.sdk = folder.join("python");
            }
            let call = "import pipelinefile; pipelinefile.try_one()";
            let mut command = Command::of_python(&launch, call, file, function).map_err(refused)?;
            let (question, answer) = (folder.join("request.json"), folder.join("out/answer.json"));
            let mut bytes = Vec::new();
            protocol::write_alone(&mut bytes, &launch, &folder.join("tmp"), &request);
            crate::fs::write_scratch(&question, writer.moved(&String::from_utf8_lossy(&bytes)).as_bytes())?;
            command.words.extend([question.into_os_string(), answer.into_os_string(), "--tell".into()]);
            (command, String::new(), End { result: "out/answer.json", lines: Vec::new() })
        }
        Program::Filter(_) | Program::Shell(_) => {
            let filter = Filter::new(Arc::new(launch.clone()), &folder.join("inputs")).map_err(refused)?;
            let (out, _) = filter.output(&request.input, &folder.join("out"));
            let (command, input) = filter.prepare(&request, &folder.join("inputs"), &out).map_err(refused)?;
            let mut redirected = String::new();
            if !filter.takes_file {
                redirected.extend([format!(" < {}", quoted(&input.to_string_lossy()))]);
            }
            if !filter.makes_file {
                redirected.extend([format!(" > {}", quoted(&out.to_string_lossy()))]);
            }
            (command, redirected, End { result: "out/", lines: Vec::new() })
        }
        Program::Url(service) => {
            let message = format!("the module runs on a server, {}: its code is not here", service.url);
            return Err(Error::usage(message)
                .hint("pipe repro      in the project of the server")
                .hint("pipe try        asks the server"));
        }
        Program::Worker(_) | Program::Image(..) => {
            let command = Command::of_worker(&launch, &folder.join("tmp")).map_err(refused)?;
            let mut bytes = protocol::DESCRIBE.to_vec();
            protocol::write_setup(&mut bytes, &launch, None, false);
            protocol::write_request(
                &mut bytes,
                &launch,
                &folder.join("tmp"),
                &request,
                protocol::Form::default(),
            );
            let text = writer.moved(&String::from_utf8_lossy(&bytes));
            crate::fs::write_scratch(&folder.join("request.jsonl"), text.as_bytes())?;
            let redirected = " < ../request.jsonl > ../out/answer.jsonl".to_owned();
            (command, redirected, End { result: "out/answer.jsonl", lines: worker_says() })
        }
    };
    let script = script(&launch, &command, &redirected, &end, what, &writer);
    let path = folder.join(SCRIPT);
    crate::fs::write_scratch(&path, script.as_bytes())?;
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, runs).map_err(|e| Error::io("make executable", &path, &e))
}

/// What the script does when the module has ended.
struct End {
    /// Where its result is.
    result: &'static str,
    /// Lines that say what came of it, and set `code`.
    lines: Vec<String>,
}

/// A worker ends well whatever it says of a document: its answer tells.
fn worker_says() -> Vec<String> {
    // The key of a failure comes before any object within the line.
    let test = r#"grep -q '^{[^{]*"\(error\|fatal\)" *:' ../out/answer.jsonl"#;
    vec![
        format!("if {test}; then"),
        "    [ $code -ne 0 ] || code=1".to_owned(),
        "    cat ../out/answer.jsonl >&2".to_owned(),
        "fi".to_owned(),
    ]
}

/// Takes the interpreter that it ran with where there is one, else what the machine has.
const INTERPRETER: [&str; 3] = [
    "# PYTHON=… takes another interpreter; what else it had loaded is in environment.txt.",
    "python=${PYTHON:-$(sed -n 's/^python //p' ../environment.txt)}",
    "command -v \"$python\" >/dev/null || python=python3",
];

fn script(
    launch: &Launch,
    command: &Command,
    redirected: &str,
    end: &End,
    what: &str,
    writer: &Writer<'_>,
) -> String {
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        format!("# {what}, as pipe ran it. Needs no pipe: what it needs lies beside this."),
        "cd \"$(dirname \"$0\")/code\" || exit 1".to_owned(),
        "mkdir -p ../out ../tmp".to_owned(),
    ];
    // Their values are nowhere in the folder.
    let secret = |name: &String| format!(": \"${{{name}:?is a secret of this module: set it first}}\"");
    lines.extend(launch.secrets.iter().map(secret));
    let mut words: Vec<String> = command.words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    if let Some(container) = launch.program.container() {
        lines.extend(engine());
        // What stands before the image is how this machine runs it.
        let image = quoted(&container.image);
        let at = words.iter().position(|word| *word == image).unwrap_or_default();
        words.drain(..at);
        words.splice(0..0, enclosed(launch, container));
    } else {
        for variable in &command.environment {
            let text = variable.to_string_lossy();
            lines.push(match text.split_once('=') {
                Some((name, value)) => format!("export {name}={}", quoted(value)),
                None => format!("unset {text}"),
            });
        }
    }
    if matches!(launch.program.inside(), Program::Python { .. }) {
        lines.extend(INTERPRETER.map(str::to_owned));
        words[0] = "\"$python\"".to_owned();
    }
    lines.push(format!("{}{redirected}", words.join(" ")));
    lines.push("code=$?".to_owned());
    lines.extend(end.lines.iter().cloned());
    lines.push(format!("echo \"exit $code; what it made is in {}\" >&2", end.result));
    lines.push("exit $code".to_owned());
    // Of the project, what it needs lies in `code/`, where it stands.
    let root = launch.root.to_string_lossy();
    let text = writer.moved(&lines.join("\n")).replace(&format!("{root}/"), "./");
    text.replace(&*root, ".") + "\n"
}

/// What runs containers here.
fn engine() -> [String; 3] {
    [
        "engine=${PIPE_CONTAINER_ENGINE:-podman}; command -v \"$engine\" >/dev/null || engine=docker"
            .to_owned(),
        // What docker runs as root would leave files of root.
        "case $engine in *docker*) user=--user=$(id -u):$(id -g) ;; *) user=--userns=host ;; esac".to_owned(),
        "here=$(cd .. && pwd)".to_owned(),
    ]
}

/// The words before an image: this folder is all that the container sees, and it stands in `code/` there, too.
fn enclosed(launch: &Launch, container: &Container) -> Vec<String> {
    let mut words: Vec<String> =
        ["\"$engine\"", "run", "--rm", "--interactive", "\"$user\""].map(str::to_owned).to_vec();
    if !container.network {
        words.push("--network=none".to_owned());
    }
    words.push("--security-opt=label=disable".to_owned());
    words.extend(["--volume=\"$here\":/repro".to_owned(), "--workdir=/repro/code".to_owned()]);
    words.extend(launch.env.iter().map(|(name, value)| quoted(&format!("--env={name}={value}"))));
    words.extend(launch.secrets.iter().map(|name| format!("--env={name}")));
    words.push("--env=PIPE_TMP=../tmp".to_owned());
    words
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain =
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Copies a file, or a folder with all in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in crate::fs::files_below(&from.canonicalize().unwrap_or_else(|_| from.to_owned()))? {
        let root = from.canonicalize().unwrap_or_else(|_| from.to_owned());
        let rest = file.strip_prefix(&root).unwrap_or(Path::new(""));
        let place = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        if let Some(folder) = place.parent() {
            crate::fs::create_dir(folder)?;
        }
        std::fs::copy(&file, &place).map_err(|e| Error::io("copy", &file, &e))?;
    }
    Ok(())
}

struct Writer<'a> {
    folder: &'a Path,
    /// Files that were given a number for a name.
    taken: usize,
}

impl Writer<'_> {
    /// A text with the folder's own path made relative to `code/`.
    fn moved(&self, text: &str) -> String {
        text.replace(&*self.folder.to_string_lossy(), "..")
    }

    /// An input whose files lie in the folder.
    fn input(&mut self, input: &Input, name: &str) -> Result<Input> {
        let ext = input.ext.as_ref().filter(|ext| !ext.is_empty()).map(|ext| format!(".{ext}"));
        let name = format!("{name}{}", ext.unwrap_or_default());
        let body = match &input.body {
            Body::Bytes(bytes) => {
                // The module gets it by its request; this is for people.
                crate::fs::write_scratch(&self.folder.join("inputs").join(name), bytes)?;
                Body::Bytes(Arc::clone(bytes))
            }
            Body::Path(path) => Body::Path(self.taken_in(path, &name)?),
            Body::Manifest { path, members } => {
                let place = self.folder.join("inputs/manifest.jsonl");
                let text = crate::fs::read_text(path)?;
                let mut lines = String::new();
                for line in text.lines() {
                    let mut member: serde_json::Value = serde_json::from_str(line)
                        .map_err(|e| Error::unfinished("a manifest cannot be read").caused_by(e))?;
                    if let Some(path) =
                        member.get("path").and_then(serde_json::Value::as_str).map(PathBuf::from)
                    {
                        self.taken += 1;
                        let ext = path.extension().map(|ext| format!(".{}", ext.to_string_lossy()));
                        let name = format!("members/{}{}", self.taken, ext.unwrap_or_default());
                        member["path"] = self.taken_in(&path, &name)?.to_string_lossy().into_owned().into();
                    }
                    lines.push_str(&self.moved(&member.to_string()));
                    lines.push('\n');
                }
                crate::fs::write_scratch(&place, lines.as_bytes())?;
                Body::Manifest { path: place, members: *members }
            }
        };
        Ok(Input { body, ..input.clone() })
    }

    fn taken_in(&self, path: &Path, name: &str) -> Result<PathBuf> {
        let place = self.folder.join("inputs").join(name);
        copy(path, &place)?;
        Ok(place)
    }

    fn sides(&mut self, with: &[(String, Side)]) -> Result<Vec<(String, Side)>> {
        let mut sides = Vec::new();
        for (name, side) in with {
            let side = match side {
                Side::Absent => Side::Absent,
                Side::One(input) => Side::One(self.input(input, &format!("with-{name}"))?),
                Side::Many(inputs) => {
                    let each = inputs.iter().enumerate();
                    let read = each.map(|(i, input)| self.input(input, &format!("with-{name}-{i}")));
                    Side::Many(read.collect::<Result<_>>()?)
                }
            };
            sides.push((name.clone(), side));
        }
        Ok(sides)
    }
}
