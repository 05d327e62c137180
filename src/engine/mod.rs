//! The engine: brings a pipeline up to date, document by document. Prints nothing: it emits `model::event`s.
//!
//! In this order, imports point to the left: `by`, `values`, `target`, `tally`, `loads`, `document`, `scheduler`, `crew` ·
//! `lookup` · `route`, `decide` · `requests`, `modules`, `unseen` · `sets`, `publish`, `merges` · `others` · `documents` · `kin`, `matching` ·
//! `outline`, `supply` · `standing`, `sharing` · `build` with `opening`, `taking`, `asked`, `answers`, `split`, `children`, `closing` · `stale`, `listing` ·
//! `sources`, `mirror`, `unshown` · `ground`, `session`, `repair`; `trial` beside it. See `docs/design/engine.md`.

pub mod accept;
mod answers;
mod asked;
pub mod board;
mod bounds;
mod build;
pub mod by;
mod cards;
mod children;
pub mod clean;
mod closing;
mod collected;
mod crew;
pub mod decide;
pub mod document;
pub mod documents;
pub mod environments;
pub mod failures;
mod faults;
mod feeds;
pub mod ground;
pub mod grouping;
pub mod groups;
mod handover;
pub mod hold;
pub mod kin;
mod lanes;
mod leaves;
mod limits;
pub mod listing;
pub mod loads;
pub mod lookup;
pub(crate) mod manifest;
pub mod marks;
pub mod matching;
pub mod members;
pub mod merges;
mod mirror;
pub mod modules;
mod opening;
pub mod others;
pub mod outline;
pub mod past;
pub mod policy;
pub mod provision;
pub mod publish;
mod question;
mod rates;
pub mod redo;
mod reduce;
pub mod repair;
mod replaced;
pub mod requests;
pub mod route;
pub mod sampling;
pub mod scheduler;
pub mod services;
mod session;
mod set_work;
pub mod sets;
mod sharing;
pub mod sites;
mod sources;
mod split;
pub mod stale;
mod standing;
mod strays;
mod supply;
mod survey;
mod taking;
pub mod tally;
pub mod target;
pub mod trial;
mod tries;
pub mod unrecorded;
mod unseen;
mod unshown;
mod unsplit;
pub mod values;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crate::engine::provision::{InUse, Provision};
use crate::engine::sites::Sites;
use crate::engine::target::TargetPlan;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::allowance::Allowance;
use crate::model::document::DocId;
use crate::model::pipeline::{Module, ModuleIx, Pipeline, TargetIx, Verb, WithFrom};
use crate::model::selection::Glob;
use crate::module::{Host, Launch, Python, SETUP_TIMEOUT};
use crate::scan::Roots;
use crate::store::Store;

pub use closing::published_path;
pub use session::{build, build_again, is_set_current};
pub use sources::scan_sources;
pub use standing::{Changes, Standing};

/// Requests to stop, counted by whoever listens to signals.
#[derive(Debug, Default)]
pub struct Interrupts {
    /// The last signal.
    pub signal: AtomicI32,
    /// How many came.
    pub count: AtomicUsize,
    /// How often somebody asked what is in hand, since that was said.
    pub questions: AtomicUsize,
    /// One came: ends a scan early.
    pub cancel: AtomicBool,
    /// Who waits for something else, and is woken.
    pub sleeper: OnceLock<Thread>,
    /// Where other processes are told what is in hand.
    pub board: Arc<board::Board>,
}

impl Interrupts {
    /// A signal came.
    pub fn add(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.cancel.store(true, Ordering::Relaxed);
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }

    /// Somebody asks what is in hand.
    pub fn ask(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether anybody asked since this was asked last.
    pub fn take_question(&self) -> bool {
        self.questions.swap(0, Ordering::Relaxed) > 0
    }

    /// The last signal and how many came; nothing if none did.
    pub fn seen(&self) -> Option<(i32, usize)> {
        let count = self.count.load(Ordering::Relaxed);
        (count > 0).then(|| (self.signal.load(Ordering::Relaxed), count))
    }
}

/// What a build is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The targets, with all that they need.
    pub wanted: BTreeSet<TargetIx>,
    /// Busy module processes at once.
    pub jobs: usize,
    /// Only documents of sources that this names.
    pub docs: Option<Glob>,
    /// By source: documents that differ and that `docs` does not name; found by the scan.
    pub not_named: HashMap<String, u64>,
    /// Only so many documents of each source.
    pub sample_size: Option<u64>,
    /// Those, once they are known.
    pub sample: Option<Arc<HashSet<String>>>,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// Stop when more documents fail in this build.
    pub max_fail: Option<Allowance>,
    /// So many failures are no reason to exit with 1.
    pub allow_failures: Option<Allowance>,
    /// Documents and folders that are gone are meant to be.
    pub gone: bool,
    /// Only scan and plan.
    pub dry_run: bool,
    /// Every source file is read, also where its digest is known: the pipeline asks for `mime` or `size`.
    pub reads_all: bool,
    /// Targets whose held results are brought up to date.
    pub update: BTreeSet<TargetIx>,
    /// All that changed since the build before in this process, if that is known.
    pub changes: Option<Changes>,
    /// The command line, kept with the run.
    pub command: Vec<String>,
}

/// Lets in the documents of a sample.
pub type SampleFilter = Box<dyn Fn(&DocId) -> bool + Sync>;

impl Options {
    /// Lets in the documents of the sample, and every set; nothing if there is no sample.
    pub fn sample_filter(&self) -> Option<SampleFilter> {
        let sample = Arc::clone(self.sample.as_ref()?);
        Some(Box::new(move |id: &DocId| !id.root().contains('/') || sample.contains(id.root())))
    }

    /// Whether only a part of the documents is brought up to date: then nothing is retired.
    pub fn is_partial(&self) -> bool {
        self.docs.is_some() || self.sample_size.is_some()
    }
}

/// The parts that a build works with.
pub struct Parts<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Of the Pipelinefile.
    pub pipelinefile: Digest,
    /// The store, which is ours.
    pub store: &'a Arc<Store>,
    /// What starts module processes.
    pub host: Arc<Host>,
    /// The interpreter, if the pipeline has Python modules.
    pub python: Option<Python>,
    /// Its major.minor.
    pub interpreter: String,
    /// By source: where it lies.
    pub roots: Vec<Arc<Roots>>,
    /// The folder in which results are shared with others.
    pub cache: Option<PathBuf>,
    /// Where modules find packages.
    pub sites: Arc<Sites>,
}

/// What a program in a container may read: the project, its sources, the files beside them, the store.
fn readable(pipeline: &Pipeline, store: &Store) -> Vec<PathBuf> {
    let sources = pipeline.sources.iter().flat_map(|source| &source.paths).map(|path| path.path.clone());
    let others = pipeline.sources.iter().filter_map(|source| source.project.as_ref());
    let files = pipeline.targets.iter().flat_map(|target| &target.with).filter_map(|with| match &with.from {
        WithFrom::File(_, path) => Some(path.clone()),
        _ => None,
    });
    let stores = others.map(|other| other.store.clone());
    let own = [pipeline.root.clone(), store.dir().to_owned()];
    own.into_iter().chain(sources).chain(stores).chain(files).collect()
}

/// The hard limit of one document where none is stated.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl<'a> Parts<'a> {
    /// Finds the interpreter and opens the sources. Starts at most the interpreter, to ask who it is.
    pub fn new(
        pipeline: &'a Pipeline,
        pipelinefile: Digest,
        store: &'a Arc<Store>,
        host: Arc<Host>,
    ) -> Result<Self> {
        let (python, interpreter) = match modules::python(pipeline, store)? {
            Some((python, version)) => (Some(python), version),
            None => (None, String::new()),
        };
        let roots = others::roots(pipeline);
        let cache = crate::env::cache_dir().map(|folder| pipeline.root.join(folder));
        let sites = Arc::new(Sites::new(pipeline, store));
        Ok(Parts { pipeline, pipelinefile, store, host, python, interpreter, roots, cache, sites })
    }

    /// The same for what starts no module: nothing is looked for.
    pub fn without_modules(pipeline: &'a Pipeline, pipelinefile: Digest, store: &'a Arc<Store>) -> Self {
        let host = Arc::new(Host::of_this_program());
        let roots = others::roots(pipeline);
        let (python, interpreter, cache) = (None, String::new(), None);
        let sites = Arc::new(Sites::new(pipeline, store));
        Parts { pipeline, pipelinefile, store, host, python, interpreter, roots, cache, sites }
    }

    /// The interpreter that runs a module, if there is one.
    fn python_of(&self, module: &Module) -> Result<Option<Python>> {
        let of_module = |base| environments::python_of(&self.pipeline.root, module, base);
        self.python.as_ref().map(of_module).transpose()
    }

    /// Brings the environments of these modules up to date, and keeps them so as long as the answer lives; `say` is told
    /// of what takes time. An error if `stop` says that it is not wanted any more.
    pub fn prepare(
        &self,
        modules: impl IntoIterator<Item = ModuleIx>,
        dry_run: bool,
        say: &mut dyn FnMut(String),
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<InUse>> {
        let Some(base) = &self.python else { return Ok(Vec::new()) };
        let (root, host) = (self.pipeline.root.as_path(), &*self.host);
        let mut provision = Provision { root, base, host, say, stop, dry_run };
        let prepared = modules.into_iter().map(|ix| provision.prepare(self.pipeline.module(ix)));
        prepared.filter_map(Result::transpose).collect()
    }

    /// How the workers of a target are started.
    pub fn launch(&self, plan: &TargetPlan, worker: u32) -> Result<Launch> {
        let target = self.pipeline.target(plan.ix);
        let Some(module) = plan.module else {
            return Err(Error::unfinished(format!("`{}` only passes its input on", target.name)));
        };
        let settings = target::settings_of(self.pipeline, target, module);
        let module = self.pipeline.module(module);
        let by_document =
            target.with.iter().filter(|with| !matches!(with.from, WithFrom::Shared(_) | WithFrom::File(..)));
        let default = (target.verb == Verb::Each).then_some(TIMEOUT);
        Ok(Launch {
            program: module.program.clone(),
            root: self.pipeline.root.clone(),
            python: self.python_of(module)?,
            env: settings.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            withheld: modules::withheld(self.pipeline, &settings.secrets),
            secrets: settings.secrets,
            params: plan.params.clone(),
            with: requests::shared(plan),
            with_each: by_document.map(|with| with.name.clone()).collect(),
            sees: plan.sees.iter().map(ToString::to_string).collect(),
            log: self.store.worker_log(self.store.run(), worker),
            tmp: self.store.tmp(),
            timeout: settings.timeout.or(default),
            memory: settings.memory,
            batch: settings.batch,
            at_once: None,
            setup_timeout: SETUP_TIMEOUT,
            ext: target.ext.clone(),
            split: target.split.then_some(target.split_limits),
            readable: readable(self.pipeline, self.store),
            code: plan.recipe.files.iter().map(|(file, _)| file.clone()).collect(),
            fingerprint: plan.served.clone(),
        })
    }
}
