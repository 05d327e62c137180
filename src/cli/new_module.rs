//! `pipe new-module`: a module that passes its own sample at once, and its place in the Pipelinefile.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::fs;
use crate::model::pipeline::Pipeline;
use crate::pipelinefile::{FILE_NAME, NewTable, add_tables, is_identifier, is_name};
use crate::project::Project;
use crate::text;

/// Write a module with a sample that it passes; --add puts it into the Pipelinefile
///
/// The module keeps the long lines of a text: put your own work in its place. `pipe test NAME` runs its sample, which
/// lies in tests/NAME. No file is overwritten.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What it is called: letters, digits and `_`
    name: String,

    /// In which language
    #[arg(long, value_name = "LANG", default_value = "python")]
    lang: Lang,

    /// Add a target of the same name to the Pipelinefile; its comments and its order stay
    #[arg(long)]
    add: bool,

    /// What the target takes: a source or a target; not needed if there is one source
    #[arg(long, value_name = "STREAM")]
    each: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    /// A function: nothing else to write
    Python,
    /// A script that runs once for each document
    Shell,
    /// A worker that stays alive, in JavaScript
    Node,
    /// A worker that stays alive; cargo makes it when it starts
    Rust,
}

impl Lang {
    /// The files of the module, each with its text in which `NAME` stands for the name.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Lang::Python => &[("modules/NAME.py", include_str!("new_module/python.py"))],
            Lang::Shell => &[("modules/NAME.sh", include_str!("new_module/shell.sh"))],
            Lang::Node => &[("modules/NAME.mjs", include_str!("new_module/node.mjs"))],
            Lang::Rust => &[
                ("modules/NAME/Cargo.toml", include_str!("new_module/rust.toml")),
                ("modules/NAME/src/main.rs", include_str!("new_module/rust.rs.txt")),
                ("modules/NAME/.gitignore", "/target\n"),
            ],
        }
    }

    /// What `[module.NAME]` says; a function in modules/ needs no table.
    fn entries(self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| format!("\"{text}\"");
        match self {
            Lang::Python => Vec::new(),
            Lang::Shell => vec![
                ("cmd", quoted("sh modules/NAME.sh {in} {out} {param.min_len}")),
                ("params", "{ min_len = 3 }".to_owned()),
            ],
            Lang::Node => vec![("cmd", quoted("node modules/NAME.mjs"))],
            Lang::Rust => vec![
                ("cmd", quoted("cargo run --quiet --release --manifest-path modules/NAME/Cargo.toml")),
                ("code", "[\"modules/NAME/Cargo.toml\", \"modules/NAME/src/**\"]".to_owned()),
            ],
        }
    }
}

/// The sample, which every language's module passes.
const SAMPLE: [(&str, &str); 2] = [
    ("tests/NAME/sample.in.txt", include_str!("new_module/sample.in.txt")),
    ("tests/NAME/sample.out.txt", include_str!("new_module/sample.out.txt")),
];

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        self.check_name()?;
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        let tables = self.tables(project.pipeline())?;
        let edited = if self.add { Some(self.edited(&project, &tables)?) } else { None };
        let files: Vec<(String, String)> = self
            .lang
            .files()
            .iter()
            .chain(&SAMPLE)
            .map(|(path, text)| (path.replace("NAME", &self.name), text.replace("NAME", &self.name)))
            .collect();
        let shadowed = format!("modules/{}.py", self.name);
        if self.lang != Lang::Python && project.root.join(&shadowed).exists() {
            return Err(taken(&shadowed));
        }
        if let Some((path, _)) =
            files.iter().find(|(path, _)| project.root.join(path).symlink_metadata().is_ok())
        {
            return Err(taken(path));
        }
        for (path, text) in &files {
            fs::write_new(&project.root.join(path), text.as_bytes())?;
        }
        if let Some(text) = &edited {
            replace(&project, text)?;
        }
        let written: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        out.say(format!("Wrote {}", written.join(", ")));
        let name = &self.name;
        if self.add {
            out.say(format!("Added target `{name}` to the {FILE_NAME}"));
            out.hint(format!("pipe test {name}      runs its sample"));
            out.hint(format!("pipe build {name}     runs it on every document"));
            return Ok(Exit::FINE);
        }
        out.say(format!(
            "This in the {FILE_NAME} runs it on every document; `--add` would have put it there:\n"
        ));
        let texts: Vec<String> = tables.iter().map(NewTable::text).collect();
        out.line(texts.join("\n").trim_end())?;
        let first = if self.lang == Lang::Python { "" } else { ", once that is there" };
        out.hint(format!("pipe test {name}     runs its sample{first}"));
        Ok(Exit::FINE)
    }

    fn check_name(&self) -> Result<()> {
        let fine = if self.lang == Lang::Python { is_identifier(&self.name) } else { true };
        if fine && is_name(&self.name) && !self.name.starts_with('-') {
            return Ok(());
        }
        let letters = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let near: String = self.name.chars().map(letters).collect();
        let near = near.trim_matches('_');
        let error = Error::usage(format!("`{}` is no name for a module", self.name));
        let is_fine = is_identifier(near) && near != self.name;
        Err(if is_fine {
            error.hint(format!("pipe new-module {near}"))
        } else {
            error.hint("a name has letters (a-z), digits and `_`, and does not begin with a digit")
        })
    }

    /// What belongs into the Pipelinefile.
    fn tables(&self, pipeline: &Pipeline) -> Result<Vec<NewTable>> {
        let name = self.name.clone();
        let mut tables = Vec::new();
        let entries = self.lang.entries();
        if !entries.is_empty() {
            let entries =
                entries.into_iter().map(|(key, value)| (key, value.replace("NAME", &name))).collect();
            tables.push(NewTable { kind: "module", name: name.clone(), entries });
        }
        let entries =
            vec![("each", format!("\"{}\"", self.stream(pipeline)?)), ("module", format!("\"{name}\""))];
        tables.push(NewTable { kind: "target", name, entries });
        Ok(tables)
    }

    /// The stream that the target takes.
    fn stream(&self, pipeline: &Pipeline) -> Result<String> {
        let sources: Vec<&str> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
        let targets = pipeline.targets.iter().map(|target| target.name.as_str());
        if let Some(each) = &self.each {
            let known: Vec<&str> = sources.iter().copied().chain(targets).collect();
            if known.contains(&each.as_str()) {
                return Ok(each.clone());
            }
            let error = Error::usage(format!("`--each {each}`: there is no such source or target"));
            return Err(match text::nearest(each, known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are: {}", known.join(", "))),
            });
        }
        match sources.as_slice() {
            [] => Err(Error::usage(format!("the {FILE_NAME} has no source: what should the module read?"))
                .hint("add [source.inbox] with path = \"inbox\"")),
            [source, ..] if !self.add => Ok((*source).to_owned()),
            [source] => Ok((*source).to_owned()),
            _ => {
                Err(Error::usage("there are several sources: say which one the target takes").hint(format!(
                    "pipe new-module {} --add --each {}     or {}",
                    self.name,
                    sources[0],
                    sources[1..].join(", ")
                )))
            }
        }
    }

    /// The Pipelinefile with the module's tables.
    fn edited(&self, project: &Project, tables: &[NewTable]) -> Result<String> {
        let pipeline = project.pipeline();
        if pipeline.find_source(&self.name).is_some() {
            return Err(Error::usage(format!("a source is called `{}` already", self.name))
                .hint("a target needs another name: both are streams"));
        }
        add_tables(project.loaded.text(), tables).map_err(|problem| {
            Error::usage(format!("cannot add it to the {FILE_NAME}: {problem}"))
                .hint("without --add the lines to add are shown")
        })
    }
}

fn taken(path: &str) -> Error {
    Error::usage(format!("`{path}` is there already, and nothing is overwritten")).hint("choose another name")
}

/// Puts the new text in the Pipelinefile's place, unless somebody else changed it meanwhile.
fn replace(project: &Project, new: &str) -> Result<()> {
    // Where it is a link, the file that is meant.
    let file: PathBuf =
        project.place.file.canonicalize().map_err(|e| Error::io("find", &project.place.file, &e))?;
    if fs::read_text(&file)? != project.loaded.text() {
        return Err(Error::unfinished(format!("the {FILE_NAME} changed meanwhile and is left as it is")));
    }
    let mode = std::fs::metadata(&file).map_err(|e| Error::io("read", &file, &e))?.permissions();
    let temporary = file.with_file_name(format!(".{FILE_NAME}.{}", std::process::id()));
    fs::replace(&file, &temporary, new.as_bytes())?;
    std::fs::set_permissions(&file, mode).map_err(|e| Error::io("set who may read", &file, &e))
}
