//! `[module.x]`, and from a module's name to the program behind it.
//!
//! A table holds for the name as written (`search:index`), else for the file's part of it (`search` holds for all
//! `search:…`). A name without a table, or whose table names no program, is a function in `modules/NAME.py`.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command;
use super::container;
use super::disk;
use super::folders::module_folder;
use super::installed::{Installed, installed};
use super::keys;
use super::mistake::{Mistake, Span};
use super::proxies::Proxy;
use super::says::Says;
use super::section::{At, Log, Section};
use super::settings;
use super::source::quoted;
use super::value;
pub(super) use super::value::split;
use crate::model::pipeline::{Found, Module, ModuleIx, Program, Service, Settings};
use crate::model::selection::Glob;
use crate::text;

/// What a table says, whoever uses it.
#[derive(Clone)]
pub(super) struct ModuleTable {
    pub(super) span: Span,
    pub(super) about: About,
    pub(super) settings: Settings,
    pub(super) params: BTreeMap<String, At<Value>>,
    pub(super) inputs_as_files: bool,
}

/// The program and what counts of it.
#[derive(Clone, Default)]
pub(super) struct About {
    pub(super) program: Option<Program>,
    /// A program is named, readable or not.
    pub(super) stated: bool,
    pub(super) version: Option<String>,
    pub(super) code: Option<Vec<String>>,
    pub(super) probe: Option<String>,
    pub(super) requirements: Option<String>,
}

/// All modules: the tables, and what targets made of them.
pub(super) struct Modules<'a> {
    log: &'a Log,
    /// With whether a target calls it.
    proxies: Vec<(&'a Proxy, Cell<bool>)>,
    tables: BTreeMap<String, (ModuleTable, Cell<bool>)>,
    files: Vec<String>,
    root: &'a Path,
    installed: OnceCell<Vec<(String, Result<Installed, String>)>>,
    made: RefCell<Vec<Module>>,
    by_name: RefCell<BTreeMap<String, ModuleIx>>,
}

impl<'a> Modules<'a> {
    pub(super) fn new(root: &'a Path, proxies: &'a [Proxy], log: &'a Log) -> Modules<'a> {
        let files = disk::python_modules(root);
        let proxies = proxies.iter().map(|proxy| (proxy, Cell::new(false))).collect();
        Modules {
            log,
            proxies,
            tables: BTreeMap::new(),
            files,
            root,
            installed: OnceCell::new(),
            made: RefCell::default(),
            by_name: RefCell::default(),
        }
    }

    /// Takes in `[module.NAME]`.
    pub(super) fn add_table(&mut self, source: &str, name: &At<&str>, section: &Section<'_>) {
        section.allow(&[keys::MODULE, keys::SETTINGS]);
        let (file, function) = split(name.value);
        if !value::is_name(file) || !function.is_none_or(value::is_identifier) {
            self.log.add(
                Mistake::at(name.span.clone(), format!("`{}` is no name for a module", name.value))
                    .help("letters, digits, `_` and `-`; a function in a file as [module.\"FILE:FUNCTION\"]"),
            );
        }
        if section.has("url") && section.has("env") {
            let mistake =
                Mistake::at(section.key_span("env"), "variables are not sent to a server".to_owned());
            self.log.add(mistake.help("state `env` in the Pipelinefile of the server"));
        }
        let table = ModuleTable {
            span: name.span.clone(),
            about: about(source, section, self.log),
            settings: settings::read(section, self.log),
            params: section.json_table("params"),
            inputs_as_files: section.word("inputs", &["files"]).is_some(),
        };
        self.tables.insert(name.value.to_owned(), (table, Cell::new(false)));
    }

    /// The table that holds for a module.
    pub(super) fn table(&self, name: &str) -> Option<&ModuleTable> {
        let (file, _) = split(name);
        let (table, used) = self.tables.get(name).or_else(|| self.tables.get(file))?;
        used.set(true);
        Some(table)
    }

    /// Whether a module has a table by its whole name.
    pub(super) fn has_table(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }

    pub(super) fn get(&self, ix: ModuleIx) -> Module {
        self.made.borrow()[ix.0].clone()
    }

    pub(super) fn into_made(self) -> Vec<Module> {
        self.made.into_inner()
    }

    /// The module that a target calls by name.
    pub(super) fn resolve(&self, name: &At<String>) -> Option<ModuleIx> {
        let mut about = self.table(&name.value).map(|table| table.about.clone()).unwrap_or_default();
        // What counts of the code here says nothing of the code there.
        let elsewhere = self.proxies.iter().find(|(proxy, _)| proxy.module == name.value);
        if let Some((proxy, used)) = elsewhere {
            used.set(true);
            about = About {
                program: Some(Program::Url(proxy.service.clone())),
                stated: true,
                ..About::default()
            };
        }
        if let Some(list) = &about.requirements
            && !self.root.join(list).is_file()
        {
            let message = format!("there is no file `{list}`, which module `{}` needs", name.value);
            self.log.add(Mistake::at(name.span.clone(), message).label("its `requirements`").on_disk());
        }
        let found = match if about.stated { None } else { self.found(&name.value) } {
            Some(Err(problem)) => {
                self.log.add(Mistake::at(name.span.clone(), problem).on_disk());
                return None;
            }
            found => found.and_then(Result::ok),
        };
        if let Some(found) = &found {
            // Of what is installed no code is the project's: its version joins the key.
            about.code = about.code.or_else(|| Some(found.code.clone()));
            about.version = about.version.or_else(|| found.says.version.clone());
        } else if !about.stated {
            self.check_python(name)?;
        }
        if let Some(known) = self.by_name.borrow().get(&name.value) {
            return Some(*known);
        }
        let (file, function) = split(&name.value);
        let mut says = Says::default();
        let mut installed = Found::default();
        let program = if let Some(found) = found {
            installed = Found { packages: found.packages, is_async: found.says.is_async };
            says = found.says;
            found.program
        } else if !about.stated {
            let path = PathBuf::from(format!("modules/{file}.py"));
            Program::Python { file: path, function: function.unwrap_or(file).to_owned() }
        } else if function.is_some() && elsewhere.is_none() && !self.tables.contains_key(&name.value) {
            let mistake =
                Mistake::at(name.span.clone(), format!("module `{file}` is a program: it has no functions"));
            self.log.add(mistake.fix("name it alone", name.span.clone(), quoted(file)));
            return None;
        } else {
            about.program.clone()?
        };
        let table = self.table(&name.value);
        let stated = table.map(|table| table.settings.clone()).unwrap_or_default();
        let settings = stated.over(&Settings { batch: says.batch, ..Settings::default() });
        let mut params = says.params;
        let of_table = table.map(|table| &table.params).into_iter().flatten();
        params.extend(of_table.map(|(name, param)| (name.clone(), param.value.clone())));
        let made = made(name.value.clone(), program, about);
        let ix = self.push(Module { params, settings, installed, ..made });
        self.by_name.borrow_mut().insert(name.value.clone(), ix);
        Some(ix)
    }

    /// What there is under this name, in a folder of the project or installed, where the project has no file of it; or
    /// why it cannot be used.
    fn found(&self, name: &str) -> Option<Result<Installed, String>> {
        let (file, _) = split(name);
        if self.files.iter().any(|known| known == file) {
            return None;
        }
        if let Some(found) = module_folder(self.root, name) {
            return Some(found);
        }
        let all = self.installed.get_or_init(|| installed(self.root));
        all.iter().find(|(known, _)| known == name).map(|(_, found)| found.clone())
    }

    /// A module without a name of its own: its target's `cmd` or `shell`.
    pub(super) fn anonymous(&self, target: &str, about: About) -> Option<ModuleIx> {
        let program = about.program.clone()?;
        // The settings are the target's: none lie below them.
        Some(self.push(made(target.to_owned(), program, about)))
    }

    fn push(&self, module: Module) -> ModuleIx {
        let mut made = self.made.borrow_mut();
        made.push(module);
        ModuleIx(made.len() - 1)
    }

    fn check_python(&self, name: &At<String>) -> Option<()> {
        let (file, function) = split(&name.value);
        let function = function.unwrap_or(file);
        if !value::is_name(file) || !value::is_identifier(function) {
            self.log.add(
                Mistake::at(name.span.clone(), format!("`{}` names no function", name.value))
                    .help("`words` is the function `words` in modules/words.py")
                    .help("`search:index` is the function `index` in modules/search.py"),
            );
            return None;
        }
        if !self.files.iter().any(|known| known == file) {
            self.log.add(self.missing(name, file, function));
        }
        Some(())
    }

    fn missing(&self, name: &At<String>, file: &str, function: &str) -> Mistake {
        let mistake = Mistake::at(name.span.clone(), format!("there is no module `{}`", name.value))
            .label(format!("no file modules/{file}.py"));
        let commands =
            self.tables.iter().filter(|(_, (table, _))| table.about.stated).map(|(name, _)| name.as_str());
        let known = self.files.iter().map(String::as_str).chain(commands);
        match text::nearest(file, known) {
            Some(near) => {
                let meant = name.value.replacen(file, near, 1);
                mistake.fix("a module with a similar name exists", name.span.clone(), quoted(&meant))
            }
            None => mistake.help(format!(
                "write the function `{function}` in modules/{file}.py, or say in [module.{file}] how it is run"
            )),
        }
        .on_disk()
    }

    /// A `--proxy` for a module that no target calls is a mistake: nothing would come of it.
    pub(super) fn check_proxies(&self) {
        let offered = || self.proxies.iter().filter(|(proxy, _)| !proxy.is_named);
        let is_called = |name: &str| self.by_name.borrow().contains_key(name);
        if offered().next().is_some() && !offered().any(|(proxy, _)| is_called(&proxy.module)) {
            let names: Vec<&str> = offered().map(|(proxy, _)| proxy.module.as_str()).collect();
            let message = "`--proxy`: no target calls a module that the server offers".to_owned();
            self.log.add(Mistake::nowhere(message).help(format!("it offers {}", names.join(", "))));
        }
        for (proxy, _) in self.proxies.iter().filter(|(proxy, used)| proxy.is_named && !used.get()) {
            let called: Vec<String> = self.by_name.borrow().keys().cloned().collect();
            let mistake =
                Mistake::nowhere(format!("`--proxy {0}=…`: no target calls a module `{0}`", proxy.module));
            let near = text::nearest(&proxy.module, called.iter().map(String::as_str));
            self.log.add(match near {
                Some(near) => mistake.help(format!("a module with a similar name is called: `{near}`")),
                None => mistake,
            });
        }
    }

    /// Warnings of tables that no target uses.
    pub(super) fn note_unused(&self) {
        for (name, (table, _)) in self.tables.iter().filter(|(_, (_, used))| !used.get()) {
            self.log.add(
                Mistake::at(table.span.clone(), format!("no target uses module `{name}`"))
                    .label("its settings hold for nothing")
                    .warning(),
            );
        }
    }

    /// The names that `[module.x]` tables have.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.files.iter().any(|file| file == name)
    }
}

fn made(name: String, program: Program, about: About) -> Module {
    let About { version, code, probe, requirements, .. } = about;
    let (params, settings, installed) = (BTreeMap::new(), Settings::default(), Found::default());
    Module { name, program, version, code, probe, requirements, params, settings, installed }
}

/// Reads the keys that say what program it is; of a module, or of a target with a command of its own.
pub(super) fn about(source: &str, section: &Section<'_>, log: &Log) -> About {
    let ways: Vec<&str> =
        ["cmd", "shell", "url", "image"].into_iter().filter(|key| section.has(key)).collect();
    // A container's command may stand beside its image.
    let fine = ways.len() < 2 || matches!(ways[..], ["cmd" | "shell", "image"]);
    if !fine {
        log.add(
            Mistake::at(section.key_span(ways[1]), format!("{} is run in two ways", section.name))
                .label(format!("`{}`", ways[1]))
                .also(section.key_span(ways[0]), format!("and `{}`", ways[0]))
                .help("leave one of them out"),
        );
    }
    let container = container::read(source, section, log);
    let program = if section.has("image") {
        container
    } else if let Some(cmd) = section.text("cmd") {
        command::cmd(source, &cmd, log)
    } else {
        let shell = section.text("shell").and_then(|script| command::shell(source, &script, log));
        shell.or_else(|| url(section, log))
    };
    About {
        program: program.filter(|_| fine),
        stated: !ways.is_empty(),
        version: section.text("version").map(|version| version.value),
        code: section.has("code").then(|| code(section, log)),
        probe: section.text("probe").map(|probe| probe.value),
        requirements: requirements(section, &ways, log),
    }
}

/// `requirements`: of a function, whose interpreter is ours to choose.
fn requirements(section: &Section<'_>, ways: &[&str], log: &Log) -> Option<String> {
    let list = section.text("requirements")?;
    if let Some(way) = ways.first() {
        let message = format!("`requirements` is for Python functions, and this runs by `{way}`");
        log.add(Mistake::at(list.span, message).help("for a command: cmd = \"uv run …\""));
        return None;
    }
    Some(list.value)
}

fn url(section: &Section<'_>, log: &Log) -> Option<Program> {
    let Some(url) = section.text("url") else {
        for key in ["token", "ttl"].into_iter().filter(|key| section.has(key)) {
            let mistake =
                Mistake::at(section.key_span(key), format!("`{key}` belongs to a module with `url`"));
            log.add(mistake);
        }
        return None;
    };
    if url.value.starts_with("http://") || url.value.starts_with("https://") {
        let token = section.text("token").map(|token| token.value);
        let ttl = section.read("ttl", value::duration).map(|read| read.value);
        return Some(Program::Url(Service { url: url.value, token, ttl }));
    }
    log.add(Mistake::at(url.span, "`url` must begin with https:// or http://".to_owned()));
    None
}

fn code(section: &Section<'_>, log: &Log) -> Vec<String> {
    let globs = section.texts("code").unwrap_or_default();
    for glob in &globs {
        if let Err(problem) = Glob::new(&glob.value) {
            log.add(Mistake::at(glob.span.clone(), format!("the glob `{}` is wrong: {problem}", glob.value)));
        }
    }
    globs.into_iter().map(|glob| glob.value).collect()
}
