//! `pipe modules`: which modules the Pipelinefile uses, which were found, which are missing, and what counts for each.

mod counts;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::code::{self, Function, Functions, Spec, Takes, Tree};
use crate::error::{Error, Result};
use crate::model::pipeline::{Module, Pipeline, Program};
use crate::pipelinefile::{Installed, installed, module_folders, params_used, script_says};
use crate::project::Project;
use crate::remote::{Client, Trouble};
use crate::text;

/// Show the modules: used by the Pipelinefile, found in modules/, missing
///
/// For each: the files whose content decides when its work is done again (with the beginning of their digests), what it
/// takes, and its parameters. Reads code, runs none. With a name: all that counts for this one, also what its workers were
/// seen to load.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Show all that counts for this module, with its digests
    #[arg(value_name = "MODULE")]
    name: Option<String>,
    /// List what a module server offers instead; its token is what `PIPE_TOKEN` holds
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// One module.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// `used`, `found` or `missing`.
    state: &'static str,
    /// `python`, `worker`, `filter`, `shell`, `url` or `image`.
    kind: &'static str,
    /// The targets that use it.
    targets: Vec<String>,
    /// `doc` or `docs`, where the code says.
    #[serde(skip_serializing_if = "Option::is_none")]
    takes: Option<&'static str>,
    params: Vec<Param>,
    /// How many documents it takes in one call, if more than one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number_or_text")]
    batch: Option<String>,
    /// One process works on several documents side by side.
    #[serde(rename = "async", skip_serializing_if = "std::ops::Not::not")]
    is_async: bool,
    /// What it accepts and returns, as its author says.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    returns: Option<String>,
    /// The stated version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The command, or where the function stands.
    runs: String,
    /// Where an installed one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// The project's own file.
    #[serde(skip)]
    script: Option<std::path::PathBuf>,
    /// What counts.
    files: Vec<File>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What its author says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    doc: Option<String>,
}

#[derive(Debug, Serialize)]
struct Param {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    annotation: Option<String>,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    digest: String,
}

/// A number as such; an expression of the code as it is written.
#[expect(clippy::ref_option, reason = "the shape that serde calls")]
fn number_or_text<S: serde::Serializer>(
    written: &Option<String>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    let number = written.as_ref().and_then(|written| written.replace('_', "").parse::<u64>().ok());
    match number {
        Some(number) => to.serialize_u64(number),
        None => written.serialize(to),
    }
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        if let Some(url) = &self.from {
            return list_served(url, out);
        }
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        if let Some(name) = &self.name {
            return counts::show(&project, name, out);
        }
        let rows = rows(project.pipeline())?;
        if out.is_json() {
            rows.iter().try_for_each(|row| out.json_line("module", row))?;
            return Ok(Exit::FINE);
        }
        for (state, title) in [
            ("used", "Used by the Pipelinefile"),
            ("found", "Found, used by no target"),
            ("missing", "Missing"),
        ] {
            let of_state: Vec<&Row> = rows.iter().filter(|row| row.state == state).collect();
            if of_state.is_empty() {
                continue;
            }
            out.line(title)?;
            let width = of_state.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
            for row in of_state {
                show(row, width, out)?;
            }
        }
        if rows.is_empty() {
            out.line("no modules: the Pipelinefile has no target, and there is none in modules/")?;
        }
        Ok(Exit::FINE)
    }
}

/// Lists the modules of a server.
fn list_served(url: &str, out: &mut Output) -> Result<Exit> {
    let client = Client::new(url, crate::env::token(crate::env::TOKEN));
    let served = client.and_then(|client| client.modules()).map_err(|trouble| {
        let error = Error::unfinished(format!("{url}: {}", trouble.text()));
        match trouble {
            Trouble::Refused(text) if text.contains("token") => {
                error.hint(format!("the token is what the variable {} holds", crate::env::TOKEN))
            }
            _ => error.hint("it is the address of a server: https://HOST:7070, without a path"),
        }
    })?;
    if out.is_json() {
        served.iter().try_for_each(|module| out.json_line("module", module))?;
        return Ok(Exit::FINE);
    }
    out.line(format!("Offered by {url}"))?;
    let width = served.iter().map(|module| module.name.chars().count()).max().unwrap_or_default();
    for module in &served {
        let param = |(name, param): (&String, &serde_json::Value)| match param.get("default") {
            Some(default) => format!("{name} = {default}"),
            None => name.clone(),
        };
        let takes = module.takes.iter().map(|takes| format!("takes {takes}"));
        let mut parts: Vec<String> = takes.chain(module.params.iter().map(param)).collect();
        parts.extend(module.version.iter().map(|version| format!("version {version}")));
        if parts.is_empty() {
            parts.push(module.problem.clone().unwrap_or_else(|| module.kind.clone()));
        }
        let said = text::printable(&parts.join(", "));
        out.line(format!("  {:width$}  {said}", text::printable(&module.name)).trim_end())?;
        if let Some(doc) = module.doc.lines().next().filter(|doc| !doc.is_empty()) {
            out.line(format!("  {:width$}  {}", "", text::printable(doc)))?;
        }
    }
    Ok(Exit::FINE)
}

fn rows(pipeline: &Pipeline) -> Result<Vec<Row>> {
    let mut cache: HashMap<String, Vec<u8>> = HashMap::new();
    let mut tree = Tree::new(&pipeline.root, &mut cache);
    let mut rows = Vec::new();
    for module in &pipeline.modules {
        rows.push(used(pipeline, module, &mut tree)?);
    }
    let known: BTreeSet<String> =
        pipeline.modules.iter().filter_map(|module| function_id(&module.program)).collect();
    for found in code::modules_found(&pipeline.root)?.modules {
        let program =
            Program::Python { file: found.file.clone().into(), function: found.function.name.clone() };
        if function_id(&program).is_some_and(|id| known.contains(&id)) {
            continue;
        }
        let mut row = Row::new(found.name, "found", &program);
        row.count(&mut tree, &Spec::Python(found.file.into()));
        row.describe(&found.function);
        row.read_script(pipeline);
        rows.push(row);
    }
    let mut others: BTreeMap<String, _> = installed(&pipeline.root).into_iter().collect();
    // What lies in the project goes before what is installed.
    others.extend(module_folders(&pipeline.root));
    for (name, found) in others {
        let known = rows.iter_mut().find(|row| row.name == name);
        match (found, known) {
            (Ok(found), Some(row)) if row.is_run_by(&found.program) => row.say(&found),
            (Ok(found), None) => {
                let mut row = Row::new(name, "found", &found.program);
                row.say(&found);
                if !found.code.is_empty() {
                    row.count(&mut tree, &Spec::Globs(found.code));
                }
                rows.push(row);
            }
            (Err(problem), None) => {
                let mut row = Row::of(name, "missing", "worker", String::new());
                row.missing(problem);
                rows.push(row);
            }
            _ => {}
        }
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn used(pipeline: &Pipeline, module: &Module, tree: &mut Tree<'_>) -> Result<Row> {
    let mut row = Row::new(module.name.clone(), "used", &module.program);
    let targets = pipeline.targets_of_module(&module.name);
    row.targets = targets.into_iter().map(|ix| pipeline.target(ix).name.clone()).collect();
    row.version.clone_from(&module.version);
    row.count(tree, &Spec::of(module));
    row.read_script(pipeline);
    if let Program::Python { file, function } = &module.program
        && row.script.is_some()
    {
        let shown = file.display();
        match code::functions_of_file(&pipeline.root, file)? {
            None => row.missing(format!("no file {shown}")),
            Some(functions) => match functions.find(function) {
                None => row.missing(format!("no function `{function}` in {shown}")),
                Some(_) => row.read_function(&functions, function),
            },
        }
    }
    Ok(row)
}

/// A Python module however it is named: `words` and `words:words` are one.
fn function_id(program: &Program) -> Option<String> {
    match program {
        Program::Python { file, function } => Some(format!("{}:{function}", file.display())),
        _ => None,
    }
}

impl Param {
    fn of(param: &code::Param) -> Param {
        Param {
            name: param.name.clone(),
            default: param.default.clone(),
            annotation: param.annotation.clone(),
        }
    }
}

impl Row {
    fn new(name: String, state: &'static str, program: &Program) -> Row {
        let (kind, runs) = match program {
            Program::Python { file, function } => {
                let script = file.extension().is_some_and(|ext| ext == "py").then(|| file.clone());
                return Row {
                    script,
                    ..Row::of(name, state, "python", format!("`{function}` in {}", file.display()))
                };
            }
            Program::Worker(words) => ("worker", words.join(" ")),
            Program::Filter(words) => ("filter", words.join(" ")),
            Program::Shell(script) => ("shell", script.clone()),
            Program::Url(service) => ("url", service.url.clone()),
            Program::Image(container) => {
                let inside = match container.program.inside() {
                    Program::Worker(words) | Program::Filter(words) => words.join(" "),
                    Program::Shell(script) => script.clone(),
                    _ => String::new(),
                };
                ("image", format!("{} {inside}", container.image).trim_end().to_owned())
            }
        };
        Row::of(name, state, kind, runs)
    }

    fn of(name: String, state: &'static str, kind: &'static str, runs: String) -> Row {
        Row {
            place: None,
            script: None,
            name,
            state,
            kind,
            targets: Vec::new(),
            takes: None,
            params: Vec::new(),
            batch: None,
            is_async: false,
            accepts: None,
            returns: None,
            version: None,
            runs,
            files: Vec::new(),
            problem: None,
            doc: None,
        }
    }

    /// What the metadata block of its file says.
    fn read_script(&mut self, pipeline: &Pipeline) {
        let file = self.script.as_ref().map(|file| pipeline.root.join(file));
        if let Some(text) = file.and_then(|file| crate::fs::read_text(&file).ok()) {
            (self.accepts, self.returns) = script_says(&text);
        }
    }

    /// What its author says of it, in a file beside it or in the code of its function.
    fn say(&mut self, found: &Installed) {
        let says = &found.says;
        self.place = Some(found.place.to_string_lossy().into_owned());
        self.version = self.version.take().or_else(|| says.version.clone());
        self.accepts.clone_from(&says.accepts);
        self.returns.clone_from(&says.returns);
        self.doc = self.doc.take().or_else(|| says.doc.clone());
        self.batch = self.batch.take().or_else(|| says.batch.map(|batch| batch.to_string()));
        self.is_async = says.is_async;
        let mut params: BTreeMap<String, Option<String>> =
            params_used(&found.program).into_iter().map(|name| (name, None)).collect();
        params.extend(says.params.iter().map(|(name, default)| (name.clone(), Some(default.to_string()))));
        let param = |(name, default)| Param { name, default, annotation: None };
        self.params = params.into_iter().map(param).collect();
        if let (Program::Python { file, function }, Some(packages)) = (&found.program, &found.packages)
            && let Some(source) = code::installed_source(packages, &file.to_string_lossy(), function)
        {
            self.read_function(&source.functions, function);
            if let Ok(text) = crate::fs::read_text(&source.file) {
                (self.accepts, self.returns) = script_says(&text);
            }
        }
    }

    /// Whether this is what the Pipelinefile runs under its name.
    fn is_run_by(&self, program: &Program) -> bool {
        Row::new(String::new(), "used", program).runs == self.runs
    }

    /// The code files, as far as they can be read.
    fn count(&mut self, tree: &mut Tree<'_>, spec: &Spec) {
        match tree.code_files(spec) {
            Ok(found) => {
                let file =
                    |(path, digest): (String, crate::hash::Digest)| File { path, digest: digest.hex() };
                self.files = found.files.into_iter().map(file).collect();
            }
            Err(error) => self.missing(error.to_string()),
        }
    }

    fn missing(&mut self, problem: String) {
        self.state = "missing";
        self.problem = Some(problem);
    }

    /// What the code of a function says.
    fn read_function(&mut self, functions: &Functions, name: &str) {
        let Some(function) = functions.find(name) else { return };
        self.describe(function);
        let of_setup = functions.setup_of(function).into_iter();
        let of_setup = of_setup.flat_map(|setup| setup.positional.iter().chain(&setup.params));
        self.params.extend(of_setup.map(Param::of));
    }

    fn describe(&mut self, function: &Function) {
        self.takes = function.takes().map(|takes| match takes {
            Takes::Doc => "doc",
            Takes::Docs => "docs",
        });
        self.params = function.params.iter().map(Param::of).collect();
        self.version = self.version.take().or_else(|| function.version.clone());
        self.doc.clone_from(&function.docstring);
        self.batch.clone_from(&function.batch);
        self.is_async = function.is_async;
    }

    /// `takes doc, min_len = 20, version 2`
    fn signature(&self) -> String {
        let mut parts: Vec<String> = self.takes.iter().map(|takes| format!("takes {takes}")).collect();
        parts.extend(self.accepts.iter().map(|accepts| format!("accepts {accepts}")));
        parts.extend(self.returns.iter().map(|returns| format!("returns {returns}")));
        parts.extend(self.params.iter().map(|param| match &param.default {
            Some(default) => format!("{} = {default}", param.name),
            None => param.name.clone(),
        }));
        parts.extend(self.batch.iter().map(|batch| format!("batch {batch}")));
        parts.extend(self.is_async.then(|| "async".to_owned()));
        parts.extend(self.version.iter().map(|version| format!("version {version}")));
        parts.join(", ")
    }
}

fn show(row: &Row, width: usize, out: &mut Output) -> Result<()> {
    let runs = text::printable(row.runs.lines().next().unwrap_or_default());
    let head = match &row.problem {
        Some(problem) => problem.clone(),
        None if row.kind == "python" && row.script.is_some() => row.signature(),
        None => [format!("{}: {}", row.kind, text::shorten(&runs, 70)), row.signature()].join("  "),
    };
    out.line(format!("  {:width$}  {}", row.name, head.trim_end()).trim_end())?;
    let below = |what: &str| format!("  {:width$}  {what}", "");
    if !row.targets.is_empty() && row.targets != [row.name.as_str()] {
        out.line(below(&format!("for {}", row.targets.join(", "))))?;
    }
    let longest = row.files.iter().map(|file| file.path.chars().count()).max().unwrap_or_default();
    for file in &row.files {
        let short = file.digest.get(..8).unwrap_or_default();
        out.line(below(&format!("{:longest$}  {short}", file.path)))?;
    }
    Ok(())
}
