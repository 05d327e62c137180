//! `pipe modules MODULE`: everything that counts for one module, found by reading and seen by its workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::engine::services::Reach;
use crate::engine::sites::{EVERYTHING, Found};
use crate::engine::{Parts, modules};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::pipeline::{ModuleIx, WithFrom};
use crate::module::Host;
use crate::project::Project;
use crate::store::Store;
use crate::text;

/// One thing that counts.
#[derive(Debug, Serialize)]
struct Line {
    module: String,
    /// `file`, `loaded`, `package`, `data`, or the name of a part: `command`, `interpreter`, `version`, `env.X`, `probe`.
    kind: String,
    name: String,
    /// Of files; absent if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Where it comes from, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

pub(super) fn show(project: &Project, name: &str, out: &mut Output) -> Result<Exit> {
    let pipeline = project.pipeline();
    let named = pipeline.modules.iter().position(|module| module.name == name);
    let Some(ix) = named.or_else(|| of_target(project, name)) else {
        let known = pipeline.modules.iter().map(|module| module.name.as_str());
        let error = Error::usage(format!("no target uses a module `{name}`"));
        return Err(match text::nearest(name, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("pipe modules     shows all modules"),
        });
    };
    let store = owner::open(project, out)?;
    let lines = lines(project, &store, ModuleIx(ix));
    let closed = store.close();
    let lines = lines?;
    closed?;
    if out.is_json() {
        lines.iter().try_for_each(|line| out.json_line("counts", line))?;
        return Ok(Exit::FINE);
    }
    let width =
        |of: fn(&Line) -> &str| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or_default();
    let (kinds, names) = (width(|line| &line.kind), width(|line| &line.name).min(40));
    for line in &lines {
        let digest = match (&line.digest, line.kind.as_str()) {
            (Some(digest), _) => digest.get(..8).unwrap_or_default(),
            (None, "file" | "loaded" | "data") => "gone",
            (None, _) => "",
        };
        let name = text::shorten(&text::printable(&line.name), 100);
        let text = format!("  {:kinds$}  {name:names$}  {digest:8}  {}", line.kind, line.note);
        out.line(text.trim_end())?;
    }
    Ok(Exit::FINE)
}

/// The only module of a target.
fn of_target(project: &Project, name: &str) -> Option<usize> {
    let pipeline = project.pipeline();
    match pipeline.modules_of(pipeline.find_target(name)?).as_slice() {
        [ix] => Some(ix.0),
        _ => None,
    }
}

fn lines(project: &Project, store: &Arc<Store>, ix: ModuleIx) -> Result<Vec<Line>> {
    let pipeline = project.pipeline();
    let module = pipeline.module(ix);
    let host = Arc::new(Host::of_this_program());
    let parts = Parts::new(pipeline, project.loaded.digest, store, host)?;
    let facts = modules::facts(pipeline, store, &parts.interpreter, Reach::Nobody)?;
    let Some(facts) = facts.into_iter().nth(ix.0) else { return Ok(Vec::new()) };
    let line = |kind: &str, name: &str, digest: Option<Digest>, note: &str| Line {
        module: module.name.clone(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        digest: digest.map(|digest| digest.hex()),
        note: note.to_owned(),
    };
    let mut lines = Vec::new();
    lines.extend(facts.program.iter().map(|(part, value)| line(part, value, None, "")));
    let env = module.settings.env.iter();
    lines.extend(env.map(|(name, value)| line(&format!("env.{name}"), value, None, "")));
    let found = if module.code.is_some() { "named by `code`" } else { "" };
    lines.extend(facts.files.iter().map(|(file, digest)| line("file", file, Some(*digest), found)));
    let known: BTreeSet<&String> = facts.files.iter().map(|(file, _)| file).collect();
    let loads = store.all_loads()?;
    let of_module = || loads.iter().filter(|loads| loads.module == facts.identity);
    let loaded: BTreeSet<&String> =
        of_module().flat_map(|loads| loads.files.iter().map(|(file, _)| file)).collect();
    let mut cache = store.code_cache();
    for file in loaded.into_iter().filter(|file| !known.contains(file)) {
        let digest = crate::code::load_set_digest(&pipeline.root, file, &mut cache);
        lines.push(line("loaded", file, digest, "a worker was seen to load it"));
    }
    let packages: BTreeSet<(&str, &str)> = of_module()
        .flat_map(|loads| &loads.packages)
        // In other versions it had others.
        .filter(|package| {
            package.path != EVERYTHING && parts.sites.find(&facts.identity, package) == Found::Same
        })
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    for (name, version) in packages {
        lines.push(line("package", &format!("{name} {version}"), None, "a worker was seen to load it"));
    }
    for target in pipeline.targets_of_module(&module.name).into_iter().map(|ix| pipeline.target(ix)) {
        for with in &target.with {
            if let WithFrom::File(written, path) = &with.from {
                let digest = modules::file_digest(store, path).ok();
                lines.push(line(
                    "data",
                    written,
                    digest,
                    &format!("`{}` of target {}", with.name, target.name),
                ));
            }
        }
    }
    Ok(lines)
}
