//! A Pipelinefile after all its names were resolved and all its mistakes reported.
//!
//! Made by `pipelinefile::load`; whoever holds one may index with its numbers without asking. Knows no file on disk
//! but by path, and nothing of runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::allowance::Allowance;
use crate::model::selection::{Field, Template, Test};
use crate::model::telling::{LogPlace, Notify};

/// The number of a source in [`Pipeline::sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceIx(pub usize);

/// The number of a target in [`Pipeline::targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetIx(pub usize);

/// The number of a module in [`Pipeline::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleIx(pub usize);

/// Where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// The documents of a source.
    Source(SourceIx),
    /// The results of a target.
    Target(TargetIx),
}

/// The whole pipeline of a project.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The project's folder: where the Pipelinefile lies. Absolute.
    pub root: PathBuf,
    /// The Pipelinefile itself. Absolute.
    pub file: PathBuf,
    /// In the order of the file.
    pub sources: Vec<Source>,
    /// In an order in which every target comes after all that it needs (`with` included).
    pub targets: Vec<Target>,
    /// Every module that a target uses, each once.
    pub modules: Vec<Module>,
    /// Where events go.
    pub log_to: Vec<LogPlace>,
    /// Who is told at the end of a build.
    pub notify: Option<Notify>,
}

/// `[source.x]`: where documents come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The folders or files; more than one: the folder as written leads the relative path.
    pub paths: Vec<SourcePath>,
    /// Globs over the path relative to the source; empty: everything but hidden files.
    pub include: Vec<String>,
    /// Globs that leave out.
    pub exclude: Vec<String>,
    /// Each row is a document, named by this column.
    pub rows: Option<String>,
    /// The documents are results of another project.
    pub project: Option<OtherProject>,
}

impl Source {
    /// Whether its documents are no files: rows, or results of another project.
    pub fn is_given(&self) -> bool {
        self.rows.is_some() || self.project.is_some()
    }
}

/// A target of another project whose results are documents of a source: `project:../ocr#text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherProject {
    /// Its folder, as written.
    pub written: String,
    /// The same. Absolute.
    pub root: PathBuf,
    /// Where its store lies. Absolute.
    pub store: PathBuf,
    /// The target.
    pub target: String,
}

/// One folder or file of a source.
#[derive(Clone, Debug)]
pub struct SourcePath {
    /// As written in the Pipelinefile.
    pub written: String,
    /// Absolute.
    pub path: PathBuf,
}

/// The one verb of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One action a document.
    Each,
    /// One action over all.
    All,
    /// One action a value.
    Group,
}

/// `[target.x]`: a module's place in the pipeline.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it does with its streams.
    pub verb: Verb,
    /// The streams that it takes: a union.
    pub streams: Vec<Node>,
    /// The module returns named children.
    pub split: bool,
    /// How many and how large they may be.
    pub split_limits: SplitLimits,
    /// A tree of merges.
    pub reduce: bool,
    /// What a group is made by.
    pub by: Option<String>,
    /// A group's members without a value: `fail` or `skip`.
    pub group_missing: Option<String>,
    /// Which module; several with a route.
    pub call: Call,
    /// Side inputs by name, sorted by it.
    pub with: Vec<With>,
    /// What is let in.
    pub test: Option<Test>,
    /// `params` of the module, then of the target, then `-D`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// What the module may read beside the bytes.
    pub sees: Vec<Field>,
    /// Whether and where results are shown as files.
    pub publish: Option<Publish>,
    /// The extension that results get, whatever the module says.
    pub ext: Option<String>,
    /// Paid or slow work is not redone unasked.
    pub hold: Option<Hold>,
    /// The least share of members that must have succeeded, 0 to 1; sets only.
    pub min_done: f64,
    /// For `all` by a filter: files of all members.
    pub inputs_as_files: bool,
    /// Built when no target is named.
    pub default: bool,
    /// The module's settings with the target's own on top.
    pub settings: Settings,
}

impl Target {
    /// Its shape in words: `each`, `split`, `all`, `reduce`, `group by meta.thread`.
    pub fn shape(&self) -> String {
        match self.verb {
            Verb::Each if self.split => "split".to_owned(),
            Verb::Each => "each".to_owned(),
            Verb::All if self.reduce => "reduce".to_owned(),
            Verb::All => "all".to_owned(),
            Verb::Group => format!("group by {}", self.by.as_deref().unwrap_or_default()),
        }
    }

    /// Every test that decides something in this target: `where`, and those of a route's branches.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        let branches = match &self.call {
            Call::Route(branches) => branches.as_slice(),
            Call::Module(_) => &[],
        };
        self.test.iter().chain(branches.iter().filter_map(|branch| branch.test.as_ref()))
    }

    /// Every field that these tests ask for.
    pub fn tested(&self) -> impl Iterator<Item = &Field> {
        self.tests().flat_map(Test::fields)
    }

    /// The branches of its route, if it has one.
    pub fn route(&self) -> Option<&[Branch]> {
        match &self.call {
            Call::Route(branches) => Some(branches),
            Call::Module(_) => None,
        }
    }
}

/// How many children one document may have, and how large they may be: beyond it, the document fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitLimits {
    /// `max`: children.
    pub count: u64,
    /// `max_size`: bytes of one child.
    pub size: u64,
    /// `max_total`: bytes of all.
    pub total: u64,
}

impl SplitLimits {
    /// Each limit as it is written, by which a failure names it.
    pub fn names(&self) -> [String; 3] {
        [
            format!("over max = {}", self.count),
            format!("over max_size = {}", self.size),
            format!("over max_total = {}", self.total),
        ]
    }
}

impl Default for SplitLimits {
    fn default() -> Self {
        SplitLimits { count: 100_000, size: 1 << 30, total: 10 << 30 }
    }
}

/// Which module does a target's work.
#[derive(Clone, Debug)]
pub enum Call {
    /// This one.
    Module(ModuleIx),
    /// The first branch whose test passes.
    Route(Vec<Branch>),
}

/// One branch of a route.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Absent in the last.
    pub test: Option<Test>,
    /// What is done.
    pub action: BranchAction,
}

/// What a branch of a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchAction {
    /// Calls a module.
    Module(ModuleIx),
    /// Leaves the document out.
    Skip,
    /// Fails it.
    Fail,
    /// Passes it on unchanged.
    Pass,
}

/// One side input.
#[derive(Clone, Debug)]
pub struct With {
    /// The name of the argument.
    pub name: String,
    /// Where it comes from.
    pub from: WithFrom,
    /// What happens where it is absent.
    pub missing: Missing,
    /// By value: the fields of (ours, theirs).
    pub on: Option<(Field, Field)>,
    /// Several matches come as a list.
    pub many: bool,
    /// Of some documents it is not the same one's: of what they were split from, or of their group.
    pub inherited: bool,
}

/// Where a side input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithFrom {
    /// The same document (or an ancestor's) of another stream.
    Document(Node),
    /// The one result of an `all` target, or of an `each` behind it: the same for every document.
    Shared(TargetIx),
    /// A file or folder of the project, the same for every document. As written, and absolute.
    File(String, PathBuf),
    /// The document of another stream with the same value.
    Value(Node),
}

/// What happens to a document whose side input is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It fails.
    Fail,
    /// It is skipped.
    Skip,
    /// The argument is absent.
    None,
}

/// When work that has a result is not redone unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// When only code, params or side inputs changed.
    Code,
    /// Also when its inputs changed.
    All,
}

/// `publish`: results as ordinary files.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Relative to the project's folder.
    pub path: Template,
    /// Remove the last file of a document that fails now.
    pub remove_stale: bool,
    /// A listing of what is published, relative to the project's folder.
    pub index: Option<String>,
    /// The listing holds the text itself.
    pub content: bool,
}

/// A program that a target uses.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name in messages: `words`, `search:index`; of an anonymous `cmd` or `shell` its target's.
    pub name: String,
    /// How it is run.
    pub program: Program,
    /// Joins the key.
    pub version: Option<String>,
    /// Globs that replace the code files found by itself.
    pub code: Option<Vec<String>>,
    /// A command whose output joins the key.
    pub probe: Option<String>,
    /// The file that lists the packages that it needs, relative to the project's folder.
    pub requirements: Option<String>,
    /// The `params` of `[module.x]`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The settings of `[module.x]`.
    pub settings: Settings,
    /// What is known of one that is installed, or has a `module.toml`.
    pub installed: Found,
}

impl Module {
    /// A function of a file in `modules/`, of which no Pipelinefile says anything.
    pub fn found(name: String, file: PathBuf, function: String) -> Module {
        // A version that the function states is a part of its file.
        let (version, code, probe, requirements) = (None, None, None, None);
        let (params, settings, installed) = (BTreeMap::new(), Settings::default(), Found::default());
        let program = Program::Python { file, function };
        Module { name, program, version, code, probe, requirements, params, settings, installed }
    }
}

/// What was found of a module beside the Pipelinefile. None of it is in a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The folder of packages that its function is imported from. Absolute.
    pub packages: Option<PathBuf>,
    /// One process works on several documents side by side, as its author says.
    pub is_async: bool,
}

/// How a module is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A function in a Python file: a worker. The file is relative to the project's folder.
    Python {
        /// `modules/words.py`
        file: PathBuf,
        /// `words`
        function: String,
    },
    /// A command without braces: stays alive, speaks JSON lines.
    Worker(Vec<String>),
    /// A command with braces, a word each: one process a document.
    Filter(Vec<String>),
    /// A shell script with braces: one process a document.
    Shell(String),
    /// A module on a server.
    Url(Service),
    /// A program in a container.
    Image(Box<Container>),
}

/// What runs in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The image as written: `NAME@sha256:…`, or `sha256:…`.
    pub image: String,
    /// The program inside: a worker, a filter or a script; a worker without words is the image's own command.
    pub program: Program,
    /// It may use the network.
    pub network: bool,
}

impl Container {
    /// `sha256:…`: the content of the image, wherever it came from.
    pub fn digest(&self) -> &str {
        self.image.rsplit('@').next().unwrap_or_default()
    }
}

/// Where a module runs that is not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its address.
    pub url: String,
    /// The variable that holds the token; absent: the usual one.
    pub token: Option<String>,
    /// How long a result stands of a service that does not say which code it has.
    pub ttl: Option<Duration>,
}

impl Program {
    /// Whether a process serves one document and ends.
    pub fn is_filter(&self) -> bool {
        matches!(self.inside(), Program::Filter(_) | Program::Shell(_))
    }

    /// Of a container the program in it; else the program itself.
    pub fn inside(&self) -> &Program {
        match self {
            Program::Image(container) => container.program.inside(),
            program => program,
        }
    }

    /// The container that it runs in, if there is one.
    pub fn container(&self) -> Option<&Container> {
        match self {
            Program::Image(container) => Some(container),
            _ => None,
        }
    }

    /// Whether it reads contents that follow their lines in a manifest: our own side of the protocol does.
    pub fn takes_lengths(&self) -> bool {
        matches!(self, Program::Python { .. })
    }
}

/// Plain keys of a module or a target; none but the values of `env` is in a key. Absent: not stated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The hard limit of one action.
    pub timeout: Option<Duration>,
    /// How often a passing fault is tried again.
    pub retries: Option<u32>,
    /// Bytes of memory that the process tree may use.
    pub memory: Option<u64>,
    /// Processes at once.
    pub workers: Option<usize>,
    /// Documents in one call.
    pub batch: Option<usize>,
    /// How many documents may be begun in which time.
    pub rate: Option<Rate>,
    /// So many graphics cards: a worker for each.
    pub gpu: Option<usize>,
    /// Names of variables that are handed over and never shown.
    pub secrets: Vec<String>,
    /// Variables set for the module; in the key.
    pub env: BTreeMap<String, String>,
    /// Money of one build.
    pub budget_usd: Option<f64>,
    /// `10` or `5%`.
    pub max_fail: Option<Allowance>,
}

/// `60/min`: so many documents in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// More than 0.
    pub documents: f64,
    /// In this time.
    pub per: Duration,
}

impl Settings {
    /// These settings, and where they state nothing, those `below`.
    #[must_use]
    pub fn over(&self, below: &Settings) -> Settings {
        let union = |ours: &[String], theirs: &[String]| {
            let new = theirs.iter().filter(|name| !ours.contains(name));
            ours.iter().chain(new).cloned().collect()
        };
        let mut env = below.env.clone();
        env.extend(self.env.clone());
        Settings {
            timeout: self.timeout.or(below.timeout),
            retries: self.retries.or(below.retries),
            memory: self.memory.or(below.memory),
            workers: self.workers.or(below.workers),
            batch: self.batch.or(below.batch),
            rate: self.rate.or(below.rate),
            gpu: self.gpu.or(below.gpu),
            secrets: union(&self.secrets, &below.secrets),
            env,
            budget_usd: self.budget_usd.or(below.budget_usd),
            max_fail: self.max_fail.or(below.max_fail),
        }
    }
}

impl Pipeline {
    /// The name of a stream.
    pub fn node_name(&self, node: Node) -> &str {
        match node {
            Node::Source(ix) => &self.source(ix).name,
            Node::Target(ix) => &self.target(ix).name,
        }
    }

    /// A source by its number.
    pub fn source(&self, ix: SourceIx) -> &Source {
        &self.sources[ix.0]
    }

    /// A target by its number.
    pub fn target(&self, ix: TargetIx) -> &Target {
        &self.targets[ix.0]
    }

    /// A module by its number.
    pub fn module(&self, ix: ModuleIx) -> &Module {
        &self.modules[ix.0]
    }

    /// The target of this name.
    pub fn find_target(&self, name: &str) -> Option<TargetIx> {
        self.targets.iter().position(|target| target.name == name).map(TargetIx)
    }

    /// The source of this name.
    pub fn find_source(&self, name: &str) -> Option<SourceIx> {
        self.sources.iter().position(|source| source.name == name).map(SourceIx)
    }

    /// The targets that use the module of this name.
    pub fn targets_of_module(&self, name: &str) -> Vec<TargetIx> {
        let uses = |ix: ModuleIx| self.module(ix).name == name;
        let calls = |ix: &TargetIx| self.modules_of(*ix).into_iter().any(uses);
        (0..self.targets.len()).map(TargetIx).filter(calls).collect()
    }

    /// The modules of a target, each once: with a route those that it chooses from.
    pub fn modules_of(&self, ix: TargetIx) -> Vec<ModuleIx> {
        let branches = match &self.target(ix).call {
            Call::Module(ix) => return vec![*ix],
            Call::Route(branches) => branches,
        };
        let mut modules = Vec::new();
        for branch in branches {
            if let BranchAction::Module(ix) = branch.action
                && !modules.contains(&ix)
            {
                modules.push(ix);
            }
        }
        modules
    }
}
