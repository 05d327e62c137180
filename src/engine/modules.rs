//! What is known of modules and shared files before anything runs: fingerprints, the interpreter, digests of `file:`.
//!
//! A build with nothing to do only looks at stamps here: digests, imports and the interpreter's answer are kept in the
//! index. Starts the interpreter to ask its version, and a declared `probe`; runs no module.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::code::{Cache, Spec, Tree};
use crate::engine::services::{Reach, Services, service_of};
use crate::engine::target::{ModuleFacts, identity, program_parts};
use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher, StreamHasher};
use crate::model::folder;
use crate::model::pipeline::{Branch, BranchAction, Module, ModuleIx, Pipeline, Program};
use crate::module::Python;
use crate::module::python::{self, Interpreter};
use crate::store::Store;

/// The interpreter for the pipeline's Python modules with its major.minor; nothing if it has none.
pub fn python(pipeline: &Pipeline, store: &Store) -> Result<Option<(Python, String)>> {
    let needed = pipeline.modules.iter().any(|module| matches!(module.program, Program::Python { .. }));
    if !needed {
        return Ok(None);
    }
    let interpreter = interpreter(&pipeline.root, store)?;
    let sdk = python::unpack_sdk(&store.dir().join("python"))?;
    Ok(Some((interpreter.with(sdk), interpreter.version)))
}

/// The interpreter for a project's Python modules. It is asked who it is once.
pub fn interpreter(root: &Path, store: &Store) -> Result<Interpreter> {
    let key = python::selection_key(root);
    let kept = store.kept("python", key.as_bytes())?;
    if let Some(interpreter) = kept.and_then(|kept| serde_json::from_slice(&kept).ok()) {
        return Ok(interpreter);
    }
    let found = python::find(root)?;
    store.keep("python", key.as_bytes(), &serde_json::to_vec(&found).unwrap_or_default())?;
    Ok(found)
}

/// The import path of the interpreter at hand, and whether it is what was kept; it is asked if nothing was, or `now`.
pub fn import_path(root: &Path, store: &Store, python: &Python, now: bool) -> (Vec<PathBuf>, bool) {
    let key = python::selection_key(root);
    let kept = if now { None } else { store.kept("import path", key.as_bytes()).ok().flatten() };
    if let Some(folders) = kept.and_then(|kept| serde_json::from_slice(&kept).ok()) {
        return (folders, true);
    }
    let folders = python.import_path(root);
    // What cannot be kept is asked again.
    drop(store.keep("import path", key.as_bytes(), &serde_json::to_vec(&folders).unwrap_or_default()));
    (folders, false)
}

/// The parts of a program that its identity is made of.
pub fn program(
    root: &Path,
    store: &Store,
    module: &Module,
    interpreter: &str,
) -> Result<Vec<(String, String)>> {
    Ok(program_parts(module, interpreter, probe(root, store, module)?))
}

/// The facts of every module, by its number.
pub fn facts(
    pipeline: &Pipeline,
    store: &Store,
    interpreter: &str,
    ask: Reach<'_>,
) -> Result<Vec<ModuleFacts>> {
    let mut services = Services::new(store, ask);
    let mut cache = store.code_cache();
    let mut tree = Tree::new(&pipeline.root, &mut cache);
    let mut all = Vec::with_capacity(pipeline.modules.len());
    for module in &pipeline.modules {
        if let Some(service) = service_of(module) {
            all.push(services.facts(ModuleIx(all.len()), module, service)?);
            continue;
        }
        let files = tree
            .code_files(&Spec::of(module))
            .map_err(|error| error.context(format!("cannot read the code of module `{}`", module.name)))?;
        let program = program(&pipeline.root, store, module, interpreter)?;
        let declares = if is_routed(pipeline, all.len()) { declares(pipeline, module)? } else { None };
        let (identity, files) = (identity(&program), files.files);
        all.push(ModuleFacts { identity, program, files, declares, service: None });
    }
    Ok(all)
}

/// Of modules whose code is all that globs match, or all in their folder: the first file that is not as these facts say any
/// more. Who writes there while it works changes its own key.
pub fn changed_since(pipeline: &Pipeline, store: &Store, facts: &[ModuleFacts]) -> Vec<(String, String)> {
    let mut cache = store.code_cache();
    let mut tree = Tree::new(&pipeline.root, &mut cache);
    let mut changed = Vec::new();
    for (module, facts) in pipeline.modules.iter().zip(facts) {
        let spec = Spec::of(module);
        if !matches!(spec, Spec::Globs(_)) {
            continue;
        }
        // What cannot be read now is for the next build to tell.
        let Ok(now) = tree.code_files(&spec) else { continue };
        let is_new = |file: &&(String, Digest)| !facts.files.contains(file);
        let is_gone = |file: &&(String, Digest)| !now.files.contains(file);
        let file = now.files.iter().find(is_new).or_else(|| facts.files.iter().find(is_gone));
        changed.extend(file.map(|(file, _)| (module.name.clone(), file.clone())));
    }
    changed
}

/// Whether a route chooses a module among others.
fn is_routed(pipeline: &Pipeline, number: usize) -> bool {
    let calls = |branch: &Branch| branch.action == BranchAction::Module(ModuleIx(number));
    pipeline.targets.iter().filter_map(|target| target.route()).flatten().any(calls)
}

/// The names of params that a module takes; nothing where only the module itself could say.
fn declares(pipeline: &Pipeline, module: &Module) -> Result<Option<Vec<String>>> {
    let names = |params: &[crate::code::Param]| params.iter().map(|param| param.name.clone()).collect();
    match module.program.inside() {
        Program::Python { function, .. } => {
            let source = crate::code::source_of(&pipeline.root, module)?;
            let Some(functions) = source.map(|source| source.functions) else { return Ok(None) };
            let Some(function) = functions.find(function) else { return Ok(None) };
            let setup = functions.setup_of(function);
            let is_open = function.any_params
                || (function.setup.is_some() && setup.is_none())
                || setup.is_some_and(|setup| setup.any_params);
            let mut declared: Vec<String> = names(&function.params);
            let of_setup = setup.into_iter().flat_map(|setup| setup.positional.iter().chain(&setup.params));
            declared.extend(of_setup.map(|param| param.name.clone()));
            Ok((!is_open).then_some(declared))
        }
        Program::Filter(_) | Program::Shell(_) => Ok(Some(crate::pipelinefile::params_used(&module.program))),
        Program::Worker(_) | Program::Url(_) | Program::Image(..) => Ok(None),
    }
}

/// How a module's workers take documents, as far as its code says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// So many in one call.
    pub batch: Option<usize>,
    /// One process does many side by side.
    pub waits: bool,
}

/// The manner of a module. What it cannot say by its code its workers say when they are ready.
pub fn manner(pipeline: &Pipeline, module: &Module) -> Manner {
    let Program::Python { function, .. } = &module.program else {
        return Manner { batch: None, waits: module.installed.is_async };
    };
    // A file that cannot be read is told where the module starts.
    let source = crate::code::source_of(&pipeline.root, module).ok().flatten();
    let functions = source.map(|source| source.functions);
    let Some(function) = functions.as_ref().and_then(|functions| functions.find(function)) else {
        return Manner::default();
    };
    let batch = function.batch.as_ref().and_then(|written| written.replace('_', "").parse().ok());
    Manner { batch, waits: function.is_async && function.batch.is_none() }
}

/// The version that a module states: in its table, else in the code of its function.
pub fn stated_version(pipeline: &Pipeline, module: &Module) -> Option<String> {
    let Program::Python { function, .. } = &module.program else { return module.version.clone() };
    module.version.clone().or_else(|| {
        let source = crate::code::source_of(&pipeline.root, module).ok().flatten()?;
        source.functions.find(function)?.version.clone()
    })
}

/// Secrets that other modules state: whoever does not state them is not given them.
pub fn withheld(pipeline: &Pipeline, own: &[String]) -> Vec<String> {
    let of_modules = pipeline.modules.iter().map(|module| &module.settings.secrets);
    let of_targets = pipeline.targets.iter().map(|target| &target.settings.secrets);
    let all: std::collections::BTreeSet<&String> = of_modules.chain(of_targets).flatten().collect();
    all.into_iter().filter(|name| !own.contains(name)).cloned().collect()
}

/// The output of a module's probe, asked again when the program's stamp changes.
fn probe(root: &Path, store: &Store, module: &Module) -> Result<Option<String>> {
    let Some(command) = &module.probe else { return Ok(None) };
    let program = command.split_whitespace().next().unwrap_or_default();
    let stamp = find_program(program, root).and_then(|path| Some((path.clone(), file_stamp(&path)?)));
    let key = FieldHasher::new("pipe probe").text(command).text(&format!("{stamp:?}")).finish();
    if let Some(kept) = store.kept("probe", &key.0)? {
        return Ok(Some(String::from_utf8_lossy(&kept).into_owned()));
    }
    let text = run_probe(root, &module.name, command)?;
    store.keep("probe", &key.0, text.as_bytes())?;
    Ok(Some(text))
}

/// What a module's `probe` prints, asked now.
pub fn run_probe(root: &Path, module: &str, command: &str) -> Result<String> {
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(root)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| Error::io("run the probe", Path::new(command), &e))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::unfinished(format!("the probe of module `{module}` failed: `{command}`"))
            .caused_by(text)
            .hint(command));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(super) fn find_program(name: &str, root: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(root.join(name));
    }
    std::env::split_paths(&crate::env::path()).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What the file system says of a file that is shared by all documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileStamp {
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
}

fn file_stamp(path: &Path) -> Option<FileStamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(FileStamp {
        size: metadata.size(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    })
}

/// The digest of a `file:` input: of its bytes, of a folder over its files by name, wherever links lead to them. What
/// tools leave there does not count.
pub fn file_digest(store: &Store, path: &Path) -> Result<Digest> {
    if !path.is_dir() {
        return one_file(store, path);
    }
    let mut hasher = FieldHasher::new("pipe folder");
    for file in crate::fs::files_seen_below(path, &folder::counts_in_shared)? {
        hasher.text(&crate::model::document::escape_name(file.rel.as_os_str()));
        match &file.leads_nowhere {
            None => hasher.digest(&one_file(store, &file.path)?),
            Some(text) => hasher.text("leads nowhere").text(&text.to_string_lossy()),
        };
    }
    Ok(hasher.finish())
}

/// A file changed a moment ago may change again without another stamp: such a digest is not kept.
fn one_file(store: &Store, path: &Path) -> Result<Digest> {
    let key = path.as_os_str().as_encoded_bytes();
    let stamp = file_stamp(path);
    if let (Some(stamp), Some(kept)) = (stamp, store.kept("files", key)?)
        && let Ok((old, digest)) = serde_json::from_slice::<(FileStamp, Digest)>(&kept)
        && old == stamp
    {
        return Ok(digest);
    }
    let began = crate::time::now_ns();
    let file = open(path)?;
    let digest = hash(&file, path)?;
    if let Some(stamp) = stamp
        && file_stamp(path) == Some(stamp)
        && stamp.mtime_ns.max(stamp.ctime_ns) + crate::sys::racy_window(&file) <= began
        && let Ok(entry) = serde_json::to_vec(&(stamp, digest))
    {
        store.keep("files", key, &entry)?;
    }
    Ok(digest)
}

/// The digest of a file's bytes, read in pieces.
pub fn hash_file(path: &Path) -> Result<Digest> {
    hash(&open(path)?, path)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io("read", path, &e))
}

fn hash(mut file: &File, path: &Path) -> Result<Digest> {
    let mut hasher = StreamHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", path, &e)),
        }
    }
}

/// The digests of what a worker says it has loaded, taken now.
pub fn loaded_files(root: &Path, files: &[String], cache: &mut dyn Cache) -> Vec<(String, Digest)> {
    let mut tree = Tree::new(root, cache);
    let own = files.iter().filter(|file| !crate::code::is_foreign(file));
    let mut loaded: Vec<(String, Digest)> =
        own.filter_map(|file| Some((file.clone(), tree.digest(file).ok().flatten()?))).collect();
    loaded.sort();
    loaded.dedup();
    loaded
}
