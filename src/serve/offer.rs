//! The modules of a project, and what code each of them has at this moment.
//!
//! A module's fingerprint here has the parts that it would have in a build of this project: so what a server makes answers
//! for what would be made at home, and the other way round. Two things are added where there are any: files that a worker
//! loaded and that its source does not name, and the packages that it loaded. Both are remembered from one server to the
//! next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::code::{self, Spec, Tree};
use crate::engine::environments;
use crate::engine::provision::{InUse, Provision};
use crate::engine::target::program_parts;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::Package;
use crate::model::failure::Failure;
use crate::model::pipeline::{Module, Pipeline, Program};
use crate::module::{self, Host, Launch, Python, SETUP_TIMEOUT, python};
use crate::remote::{Description, PROTOCOL, fingerprint};
use crate::serve::request::Setup;

/// Everything that is offered, and what it takes to run it.
pub(super) struct Offer {
    pub(super) modules: BTreeMap<String, Arc<Offered>>,
    pub(super) host: Arc<Host>,
    /// Environments, which stay as they are.
    _in_use: Vec<InUse>,
}

/// A module that is offered.
pub(super) struct Offered {
    pub(super) module: Module,
    root: PathBuf,
    python: Option<Python>,
    interpreter: String,
    /// Secrets of other modules.
    withheld: Vec<String>,
    /// Where logs and scratch files lie.
    folder: PathBuf,
    /// What was learned is kept here.
    memory: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cache: HashMap<String, Vec<u8>>,
    learned: Learned,
    /// What its worker says of itself, with the fingerprint of the code that it was then.
    described: Option<(String, module::Description)>,
    probed: Option<String>,
}

/// What workers loaded beside what the source names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    files: BTreeSet<String>,
    packages: BTreeSet<Package>,
}

/// The code of a module at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Code {
    pub(super) program: Vec<(String, String)>,
    pub(super) files: Vec<(String, Digest)>,
    pub(super) fingerprint: String,
}

impl Offer {
    /// All modules that the pipeline names, and those that lie in `modules/` and that it does not name.
    pub(super) fn new(pipeline: &Pipeline, folder: &Path) -> Result<Offer> {
        let mut all: BTreeMap<String, Module> = BTreeMap::new();
        for module in &pipeline.modules {
            if !matches!(module.program, Program::Url(_)) {
                all.entry(module.name.clone()).or_insert_with(|| module.clone());
            }
        }
        for found in code::modules_found(&pipeline.root)?.modules {
            let program = Program::Python { file: found.file.into(), function: found.function.name };
            let is_known = all.values().any(|module| module.program == program);
            if !is_known && let Program::Python { file, function } = program {
                let name = found.name;
                all.entry(name.clone()).or_insert_with(|| Module::found(name, file, function));
            }
        }
        if all.is_empty() {
            return Err(Error::usage("there is nothing to offer: the project has no module")
                .hint("a module `words` is the function `words` in `modules/words.py`"));
        }
        let has_python = all.values().any(|module| matches!(module.program, Program::Python { .. }));
        let (python, interpreter) = if has_python {
            let found = python::find(&pipeline.root)?;
            let sdk = python::unpack_sdk(&folder.join("python"))?;
            (Some(found.with(sdk)), found.version)
        } else {
            (None, String::new())
        };
        let (host, mut in_use) = (Arc::new(Host::of_this_program()), Vec::new());
        let offered = |(name, module): (String, Module)| {
            let file = FileName::of(&name);
            let memory = folder.join(format!("learned-{file}.json"));
            let kept = crate::fs::read_optional(&memory).ok().flatten();
            let learned = kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
            let state = Mutex::new(State { learned, ..State::default() });
            let root = pipeline.root.clone();
            let python = match &python {
                Some(base) => {
                    let say = &mut |notice| tracing::info!("{notice}");
                    let (root, host, stop) = (root.as_path(), &*host, &|| false);
                    in_use
                        .extend(Provision { root, base, host, say, stop, dry_run: false }.prepare(&module)?);
                    Some(environments::python_of(root, &module, base)?)
                }
                None => None,
            };
            let (interpreter, folder) = (interpreter.clone(), folder.to_owned());
            let withheld = crate::engine::modules::withheld(pipeline, &module.settings.secrets);
            Ok((
                name,
                Arc::new(Offered { module, root, python, interpreter, withheld, folder, memory, state }),
            ))
        };
        let modules = all.into_iter().map(offered).collect::<Result<_>>()?;
        Ok(Offer { modules, host, _in_use: in_use })
    }
}

/// A module's name as a part of a file's.
struct FileName;

impl FileName {
    fn of(name: &str) -> String {
        crate::model::selection::safe_component(name).clone()
    }
}

impl Offered {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The code as it is now. Looks at the stamps of its files.
    pub(super) fn code(&self) -> Result<Code> {
        let mut state = self.state();
        let State { cache, learned, probed, .. } = &mut *state;
        let mut tree = Tree::new(&self.root, cache);
        let mut files: BTreeMap<String, Digest> =
            tree.code_files(&Spec::of(&self.module))?.files.into_iter().collect();
        for file in &learned.files {
            if !files.contains_key(file)
                && let Some(digest) = tree.digest(file)?
            {
                files.insert(file.clone(), digest);
            }
        }
        let mut program = program_parts(&self.module, &self.interpreter, probed.clone());
        let packages: Vec<String> = learned
            .packages
            .iter()
            .filter(|package| package.path.is_empty() || Path::new(&package.path).exists())
            .map(|package| format!("{}=={}", package.name, package.version))
            .collect();
        if !packages.is_empty() {
            program.push(("packages".to_owned(), packages.join(" ")));
        }
        let env = self.module.settings.env.iter();
        program.extend(env.map(|(name, value)| (format!("env.{name}"), value.clone())));
        if !self.module.params.is_empty() {
            let params = serde_json::to_string(&self.module.params).unwrap_or_default();
            program.push(("params".to_owned(), params));
        }
        program.sort();
        let files: Vec<(String, Digest)> = files.into_iter().collect();
        let fingerprint = fingerprint(&program, &files).hex();
        Ok(Code { program, files, fingerprint })
    }

    /// What workers say that they have loaded counts from now on; whether that was news.
    pub(super) fn learn(&self, files: &[String], packages: &[Package]) -> bool {
        let mut state = self.state();
        let before = state.learned.clone();
        // What is found from the source is found again next time: only what comes to that is learned.
        let State { cache, .. } = &mut *state;
        let found =
            Tree::new(&self.root, cache).code_files(&Spec::of(&self.module)).unwrap_or_default().files;
        let is_own = |file: &&String| !code::is_foreign(file) && !found.iter().any(|(name, _)| name == *file);
        let own = files.iter().filter(is_own);
        state.learned.files.extend(own.cloned());
        state.learned.packages.extend(packages.iter().cloned());
        let is_new = state.learned != before;
        if is_new && let Ok(text) = serde_json::to_vec(&state.learned) {
            // If it cannot be kept, the next server learns it again.
            drop(crate::fs::replace(&self.memory, &self.memory.with_extension("new"), &text));
        }
        is_new
    }

    /// What the module is. May start a process, once for each state of its code.
    pub(super) fn describe(&self, host: &Host, max_bytes: u64) -> std::result::Result<Description, Failure> {
        let lost = |error: &Error| {
            Failure::new(crate::model::failure::FailureKind::Lost, "cannot read its code", error.to_string())
        };
        self.probe().map_err(|error| lost(&error))?;
        let before = self.code().map_err(|error| lost(&error))?;
        let described = self.ask(host, &before)?;
        let code = self.code().map_err(|error| lost(&error))?;
        let kind = code.program.iter().find(|(name, _)| name == "kind").map(|(_, kind)| kind.clone());
        let version = self.module.version.clone();
        let mut description = Description {
            protocol: PROTOCOL,
            name: self.module.name.clone(),
            kind: kind.unwrap_or_default(),
            version,
            program: code.program,
            files: code.files,
            fingerprint: Some(code.fingerprint),
            max_bytes: Some(max_bytes),
            ..Description::default()
        };
        if let Some(said) = described {
            description.version = description.version.or(said.version);
            description.takes = said.takes_set.map(|set| if set { "docs" } else { "doc" }.to_owned());
            let param = |(name, param): (String, module::Param)| {
                let mut value = serde_json::json!({ "type": param.kind });
                if let Some(default) = param.default {
                    value["default"] = default;
                }
                (name, value)
            };
            description.params = said.params.into_iter().map(param).collect();
            description.with = said.with;
            description.doc = said.doc;
        }
        Ok(description)
    }

    /// What a worker says of itself; nothing of a filter.
    fn ask(&self, host: &Host, code: &Code) -> std::result::Result<Option<module::Description>, Failure> {
        if self.module.program.is_filter() {
            return Ok(None);
        }
        if let Some((known, description)) = &self.state().described
            && *known == code.fingerprint
        {
            return Ok(Some(description.clone()));
        }
        let launch = self.launch(&Setup::empty(), "describe");
        let description = module::describe(host, &launch, SETUP_TIMEOUT)?;
        self.learn(&description.files, &description.packages);
        let known = self.code().map_or_else(|_| code.fingerprint.clone(), |code| code.fingerprint);
        self.state().described = Some((known, description.clone()));
        Ok(Some(description))
    }

    /// Asks the command that the module declares, once for each server.
    fn probe(&self) -> Result<()> {
        let Some(command) = &self.module.probe else { return Ok(()) };
        if self.state().probed.is_some() {
            return Ok(());
        }
        let output = crate::engine::modules::run_probe(&self.root, &self.module.name, command)?;
        self.state().probed = Some(output);
        Ok(())
    }

    /// Where what is sent to it lies as long as it is needed.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// How a worker of it is started.
    pub(super) fn launch(&self, setup: &Setup, worker: &str) -> Launch {
        let settings = &self.module.settings;
        let mut params = self.module.params.clone();
        params.extend(setup.params.clone());
        let of_module = settings.timeout.unwrap_or(super::limits::TIMEOUT);
        let timeout = setup.timeout.map_or(of_module, |asked: Duration| asked.min(of_module));
        Launch {
            program: self.module.program.clone(),
            root: self.root.clone(),
            python: self.python.clone(),
            env: settings.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            params,
            with: setup.with.clone(),
            with_each: setup.with_each.clone(),
            sees: setup.sees.clone().unwrap_or_else(|| vec!["ext".to_owned()]),
            log: self.folder.join("logs").join(format!("{}-{worker}", FileName::of(&self.module.name))),
            tmp: self.scratch(),
            timeout: Some(timeout),
            memory: settings.memory,
            setup_timeout: SETUP_TIMEOUT,
            ext: setup.ext.clone(),
            split: setup.split,
            secrets: settings.secrets.clone(),
            withheld: self.withheld.clone(),
            batch: settings.batch,
            at_once: None,
            readable: vec![self.root.clone(), self.folder.clone()],
            code: self
                .code()
                .map(|code| code.files)
                .unwrap_or_default()
                .into_iter()
                .map(|(file, _)| file)
                .collect(),
            fingerprint: None,
        }
    }

    /// How many of its workers may run at once, if it states that.
    pub(super) fn workers(&self) -> Option<usize> {
        self.module.settings.workers
    }
}
