//! The Pipelinefile: found, read, every name resolved, and every mistake reported in one go with place and hint.
//!
//! `load` gives a [`Pipeline`] that holds no mistake which the file and the disk's names prove. What a module's
//! functions look like is not known here: whoever reads them adds mistakes through [`Loaded::mistake_at_target`].
//! Knows nothing of runs and stores. The language: `docs/reference/pipelinefile.md`.
//!
//! Inside, each file imports only those before it: `mistake keys value disk script installed`, `section spans`, `select settings source
//! command`, `container folders proxies`, `module`, `names`, `context`, `with publish`, `target`, `calls overrides graph`, `publish_check`.

mod calls;
mod command;
mod container;
mod context;
mod disk;
mod edit;
mod folders;
mod graph;
mod installed;
mod keys;
mod mistake;
mod module;
mod names;
mod overrides;
mod project;
mod proxies;
mod publish;
mod publish_check;
mod sample;
mod says;
mod script;
mod section;
mod select;
mod settings;
mod source;
mod spans;
mod specifier;
mod target;
mod telling;
mod value;
mod with;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use calls::PythonCall;
pub use command::words;
pub use edit::{NewTable, add_tables};
pub use folders::module_folders;
pub use installed::{Installed, installed};
pub use keys::known_keys;
pub use mistake::{Fix, Mistake, Mistakes, Severity, Span, Style};
pub use overrides::Override;
pub use proxies::Proxy;
pub use sample::{SampleNotes, sample_notes, write_sample_notes};
pub use says::Says;
pub use script::{script_dependencies, script_fault, script_python, script_says};
pub use spans::Spans;
pub use specifier::allows_python;
pub use value::{is_identifier, is_name};

use crate::fs;
use crate::hash::Digest;
use crate::model::pipeline::{Node, Pipeline, SourceIx, TargetIx};
use context::Context;
use module::Modules;
use names::Names;
use section::{Log, entries};
use target::Draft;

/// The name of the file.
pub const FILE_NAME: &str = "Pipelinefile";

/// A Pipelinefile that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub pipeline: Pipeline,
    /// What is probably not meant.
    pub warnings: Vec<Mistake>,
    /// The digest of the file's bytes.
    pub digest: Digest,
    /// Where everything stands.
    pub spans: Spans,
    text: Arc<str>,
    name: String,
}

impl Loaded {
    /// Of a file that cannot be understood: a pipeline of nothing, in its place.
    pub fn nothing(file: &Path) -> Loaded {
        let digest = fs::read(file).map(|bytes| Digest::of(&bytes)).unwrap_or_default();
        let root = file.parent().unwrap_or(file).to_owned();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pipeline = Pipeline {
            root,
            file: file.to_owned(),
            sources: Vec::new(),
            targets: Vec::new(),
            modules: Vec::new(),
            log_to: Vec::new(),
            notify: None,
        };
        Loaded { pipeline, warnings: Vec::new(), digest, spans: Spans::default(), text: "".into(), name }
    }
}

/// The nearest Pipelinefile at or above a folder.
pub fn discover(from: &Path) -> Option<PathBuf> {
    let from = std::path::absolute(from).ok()?;
    from.ancestors().map(|folder| folder.join(FILE_NAME)).find(|file| file.is_file())
}

/// Everything that could be read of a Pipelinefile.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What it says; there also where only files and folders that it names are not there.
    pub loaded: Option<Loaded>,
    /// All its mistakes (warnings are with what was read).
    pub mistakes: Mistakes,
    /// The Python functions that its targets call; known also where other things are wrong.
    pub calls: Vec<PythonCall>,
}

/// Reads a Pipelinefile; with any mistake there is none.
pub fn load(file: &Path, overrides: &[Override]) -> Result<Loaded, Mistakes> {
    match inspect(file, overrides) {
        (Some(loaded), mistakes) if mistakes.is_empty() => Ok(loaded),
        (_, mistakes) => Err(mistakes),
    }
}

/// Reads a Pipelinefile and all its mistakes (warnings are with what was read). There is a pipeline also where only
/// files and folders that it names are not there.
pub fn inspect(file: &Path, overrides: &[Override]) -> (Option<Loaded>, Mistakes) {
    let Inspection { loaded, mistakes, .. } = inspect_calls(file, overrides, &[]);
    (loaded, mistakes)
}

/// The same with the functions that it calls, for whoever checks them against the code.
pub fn inspect_calls(file: &Path, overrides: &[Override], proxies: &[Proxy]) -> Inspection {
    let name =
        file.file_name().map_or_else(|| FILE_NAME.to_owned(), |name| name.to_string_lossy().into_owned());
    let alone = |message: String| {
        let mistakes = Mistakes::new(vec![Mistake::nowhere(message)], &name, "".into());
        Inspection { loaded: None, mistakes, calls: Vec::new() }
    };
    let file = match std::path::absolute(file) {
        Ok(file) => file,
        Err(e) => return alone(format!("cannot find `{}`: {}", file.display(), crate::error::io_text(&e))),
    };
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(e) => return alone(e.to_string()),
    };
    let digest = Digest::of(&bytes);
    let text: Arc<str> = match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(e) => {
            let valid = e.utf8_error().valid_up_to();
            let line = String::from_utf8_lossy(&e.as_bytes()[..valid]).matches('\n').count() + 1;
            return alone(format!("{name}:{line}: this is not UTF-8 text"));
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let list = errors.iter().map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            let mistake = Mistake::at(span, error.message().to_owned());
            if error.message().contains("dotted key") {
                mistake.help("beside `id` itself, its parts are written in quotes: \"id.ext\" = \"pdf\"")
            } else {
                mistake
            }
        });
        let mistakes = Mistakes::new(list.collect(), &name, text.clone());
        return Inspection { loaded: None, mistakes, calls: Vec::new() };
    }
    let log = Log::default();
    let mut calls = Vec::new();
    let pipeline = read(&file, &text, table.get_ref(), (overrides, proxies), &mut calls, &log);
    let (mut warnings, mistakes): (Vec<_>, Vec<_>) =
        log.into_list().into_iter().partition(|mistake| mistake.severity == Severity::Warning);
    let mistakes = Mistakes::new(mistakes, &name, text.clone());
    let sound = mistakes.list.iter().all(|mistake| mistake.severity != Severity::Text);
    let loaded = pipeline.filter(|_| sound).map(|pipeline| {
        warnings.sort_by_key(|warning| warning.span.clone().map_or(usize::MAX, |span| span.start));
        Loaded { pipeline, warnings, digest, spans: Spans::of(table.get_ref()), text: text.clone(), name }
    });
    Inspection { loaded, mistakes, calls }
}

fn read(
    file: &Path,
    text: &str,
    table: &DeTable<'_>,
    (overrides, proxies): (&[Override], &[Proxy]),
    calls: &mut Vec<PythonCall>,
    log: &Log,
) -> Option<Pipeline> {
    let root = file.parent()?;
    let whole = section::Section::new("the file".to_owned(), 0..0, table, log);
    whole.allow(&[keys::FILE]);
    let tables = |kind| {
        let value = entries(table).into_iter().find(|entry| entry.key.value == kind);
        value.map(|entry| target::tables(kind, entry.value, log)).unwrap_or_default()
    };
    let (source_tables, target_tables, module_tables) =
        (tables("source"), tables("target"), tables("module"));
    let titles = |tables: &[(section::At<&str>, section::Section<'_>)]| {
        tables
            .iter()
            .map(|(name, _)| section::At { value: name.value.to_owned(), span: name.span.clone() })
            .collect()
    };
    let names = Names::new(titles(&source_tables), titles(&target_tables), log);
    let mut modules = Modules::new(root, proxies, log);
    for (name, section) in &module_tables {
        modules.add_table(text, name, section);
    }
    let sources: Vec<_> =
        source_tables.iter().map(|(name, section)| source::read(root, name, section, log)).collect();
    let own = |name: &str| whole.section(name, &format!("a table, as in [{name}]"));
    let log_to = own("log").map(|section| telling::places(root, &section, log)).unwrap_or_default();
    let notify = own("notify").map(|section| telling::notify(&section, log));
    let context = Context { root, text, names: &names, modules: &modules, log };
    let mut drafts: Vec<Draft> =
        target_tables.iter().map(|(name, section)| context.read(name, section)).collect();
    overrides::apply(overrides, &mut drafts, &names, log);
    for ((_, section), draft) in target_tables.iter().zip(&drafts) {
        draft.check_filter(&modules, log);
        calls.extend(calls::of_target(section, draft, &modules));
    }
    let order = graph::order(&drafts, &names, log)?;
    let lineage = graph::Lineage::new(&drafts, &order, &names, log);
    let mut inputs = BTreeMap::new();
    for ix in &order {
        lineage.check_streams(*ix);
        inputs.insert(*ix, lineage.side_inputs(*ix));
    }
    publish_check::check(root, &sources, &drafts, &lineage, log);
    if log.any(|mistake| mistake.severity == Severity::Text) {
        return None;
    }
    note_unused(&sources, &drafts, log);
    modules.note_unused();
    modules.check_proxies();
    if drafts.is_empty() {
        log.add(Mistake::at(0..0, "the file has no target: there is nothing to build").warning());
    }
    Some(Pipeline {
        root: root.to_owned(),
        file: file.to_owned(),
        sources: sources.into_iter().map(|draft| draft.source).collect(),
        targets: graph::reorder(drafts, &order, inputs),
        modules: modules.into_made(),
        log_to,
        notify,
    })
}

fn note_unused(sources: &[source::DraftSource], drafts: &[Draft], log: &Log) {
    for (ix, source) in sources.iter().enumerate() {
        let node = Node::Source(SourceIx(ix));
        let used = drafts.iter().any(|draft| {
            let as_side_input = |with: &with::DraftWith| matches!(with.from.value, with::WithSource::Stream(from) if from == node);
            draft.target.streams.contains(&node) || draft.with.iter().any(as_side_input)
        });
        if !used {
            let message = format!("no target uses source `{}`", source.source.name);
            log.add(Mistake::at(source.span.clone(), message).warning());
        }
    }
}

impl Loaded {
    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A mistake found later at a key of a target: `module`, `params.min_len`, `route.1.module`; at the target's name
    /// where it does not state the key.
    pub fn mistake_at_target(&self, target: &str, key: &str, message: impl Into<String>) -> Mistake {
        self.mistake_at(&format!("target.{target}"), key, message)
    }

    /// The same at a key of a module's table (that of `search` for `search:index` without its own), and where there
    /// is none at the first target that uses the module.
    pub fn mistake_at_module(&self, module: &str, key: &str, message: impl Into<String>) -> Mistake {
        let (file, _) = module::split(module);
        let table = [module, file].into_iter().map(|name| format!("module.{name}"));
        let Some(table) = table.into_iter().find(|table| self.spans.key(table).is_some()) else {
            let user = self.pipeline.targets_of_module(module).first().copied();
            let user = user.map_or("", |ix| self.pipeline.target(ix).name.as_str());
            return self.mistake_at_target(user, "module", message);
        };
        self.mistake_at(&table, key, message)
    }

    /// The same at a key of a source.
    pub fn mistake_at_source(&self, source: &str, key: &str, message: impl Into<String>) -> Mistake {
        self.mistake_at(&format!("source.{source}"), key, message)
    }

    /// At the value of a key; a parameter's or side input's name, as it is what is wrong; else at the table's name.
    fn mistake_at(&self, table: &str, key: &str, message: impl Into<String>) -> Mistake {
        let path = format!("{table}.{key}");
        let named = key.starts_with("params.") || (key.starts_with("with.") && key.matches('.').count() == 1);
        let stated = if named { self.spans.key(&path) } else { self.spans.value(&path) };
        match stated.or_else(|| self.spans.key(table)) {
            Some(span) => Mistake::at(span, message),
            None => Mistake::nowhere(message),
        }
    }

    /// The warning that a glob of `include` matches nothing; made when the source was scanned.
    pub fn glob_warning(&self, source: SourceIx, pattern: &str, nearest: Option<&str>) -> Mistake {
        let source = self.pipeline.source(source);
        let at = source.include.iter().position(|glob| glob == pattern).unwrap_or_default();
        let table = format!("source.{}", source.name);
        let message = format!("source `{}`: no file matches the glob `{pattern}`", source.name);
        let one = self.spans.value(&format!("{table}.include.{at}"));
        let mistake = match one {
            Some(span) => Mistake::at(span, message),
            None => self.mistake_at(&table, "include", message),
        };
        let mistake = match nearest {
            Some(nearest) => mistake.help(format!("there is `{nearest}`")),
            None => mistake,
        };
        mistake.warning()
    }

    /// Mistakes that were found later, ready to be drawn or to end the command.
    pub fn mistakes(&self, list: Vec<Mistake>) -> Mistakes {
        Mistakes::new(list, &self.name, self.text.clone())
    }

    /// Mistakes or warnings, drawn.
    pub fn render(&self, list: &[Mistake], style: Style) -> String {
        self.mistakes(list.to_vec()).render(style)
    }

    /// Where a target's name stands, for reports that are no mistakes.
    pub fn line_of(&self, target: TargetIx) -> Option<usize> {
        let span = self.spans.key(&format!("target.{}", self.pipeline.target(target).name))?;
        Some(self.text.get(..span.start)?.matches('\n').count() + 1)
    }
}

/// The names of params that a filter's command uses.
pub fn params_used(program: &crate::model::pipeline::Program) -> Vec<String> {
    let used = command::braces_of(program).into_iter().filter_map(|brace| match brace {
        command::Brace::Param(name) => Some(name),
        _ => None,
    });
    used.collect()
}
