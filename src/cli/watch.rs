//! `pipe watch`: builds, waits until something changes, builds again.
//!
//! Decides when to build and what to say; what changed is told by `watch`, what it means by the engine. Owns the store
//! until it ends and answers questions of other commands. `docs/design/watching.md`.

mod shown;
mod view;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::cli::events;
use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::{interrupt, owner};
use crate::engine::ground::{Concern, Ground};
use crate::engine::{self, Changes, Interrupts, Parts, Standing};
use crate::error::{Error, Result};
use crate::model::event::{Changed, Event, Sink, Stopped, Summary, Watched, Watching};
use crate::module::Host;
use crate::socket::Server;
use crate::store::Store;
use crate::watch::{Batch, Next, Trouble, Watch};
use shown::{Hold, Show};
use view::View;

/// Build, then build again whenever something changes, until Ctrl-C
///
/// Documents, the Pipelinefile, code of modules, shared files, and published files that are removed are noticed; a
/// change is through its modules a moment after it rests. Module processes stay ready between builds. Other commands
/// may ask meanwhile: status, log, why, ls, cat.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them), with everything they need
    #[arg(value_name = "TARGET")]
    names: Vec<String>,

    #[command(flatten)]
    define: Define,

    /// It is meant that a source, or most of its documents, is gone: for the first build
    #[arg(long)]
    gone: bool,

    /// Look at everything every so many seconds, for folders whose system tells of no changes (network)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    poll: Option<u64>,
}

/// Where the system tells of nothing, everything is looked at so often…
const POLL: Duration = Duration::from_secs(2);
/// …or after so many times of what a look took, if that is longer…
const POLL_SHARE: u32 = 10;
/// …but not less often than this.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// So often the index is told how far it is, at most.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// So many changed paths are named.
const NAMED: usize = 3;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let interrupts = interrupt::watch()?;
        // Whoever waits for changes is woken by signals too.
        drop(interrupts.sleeper.set(std::thread::current()));
        let view = View::read(self, global, out, None)?;
        let store = owner::open(&view.project, out)?;
        store.describe_owner("pipe watch");
        let idle = Arc::new(AtomicBool::new(false));
        let mut watcher = Watcher {
            args: self,
            global,
            server: None,
            host: Arc::new(Host::of_this_program()),
            standing: Standing::new(),
            ground: None,
            watch: None,
            poll: self.poll.map(Duration::from_secs),
            last_error: None,
            checkpoint: Instant::now(),
            view,
            store: Arc::clone(&store),
            interrupts,
            idle,
            out,
            has_events: false,
        };
        let ended = watcher.run();
        watcher.standing.end();
        drop(watcher);
        let closed = store.close();
        let exit = ended?;
        closed?;
        Ok(exit)
    }
}

/// The ground that is watched now, for the thread that watches.
type Shared = Arc<RwLock<Arc<Ground>>>;

struct Watcher<'a> {
    args: &'a Args,
    global: &'a Global,
    out: &'a mut Output,
    view: View,
    store: Arc<Store>,
    interrupts: &'static Interrupts,
    /// Before `host`: workers end before their parent does.
    standing: Standing,
    host: Arc<Host>,
    server: Option<Server>,
    ground: Option<(Arc<Ground>, Shared)>,
    watch: Option<Watch>,
    /// Everything is looked at so often, since nobody tells of changes.
    poll: Option<Duration>,
    /// What was said last, not to be said again every few seconds.
    last_error: Option<String>,
    checkpoint: Instant,
    /// No build is under way.
    idle: Arc<AtomicBool>,
    /// A build of this process has begun the file of events.
    has_events: bool,
}

impl Watcher<'_> {
    fn run(&mut self) -> Result<Exit> {
        self.serve();
        self.watch_ground()?;
        if let Looked::Over(exit) = self.build(None, self.args.gone, Show::All)? {
            return Ok(exit);
        }
        let mut is_news = true;
        loop {
            // What a build made known may lie elsewhere: code that was loaded, a source that came.
            while self.watch_ground_or_say() {
                if let Looked::Over(exit) = self.look(Look::Quietly)? {
                    return Ok(exit);
                }
            }
            if is_news {
                self.say_watching();
            }
            let Some(look) = self.wait() else {
                let signal = self.interrupts.seen().map_or(0, |(signal, _)| signal);
                return Ok(Exit(128 + signal as u8));
            };
            match self.look(look)? {
                Looked::Over(exit) => return Ok(exit),
                // People see that it goes on; programs are told.
                Looked::Built => is_news = self.out.is_json(),
                Looked::Away => is_news = false,
            }
        }
    }

    /// Waits until something is to be looked at; nothing if a signal came.
    fn wait(&mut self) -> Option<Look> {
        let began = Instant::now();
        loop {
            if self.interrupts.seen().is_some() {
                return None;
            }
            let now = Instant::now();
            self.standing.rest(now);
            self.tell_index(now);
            let next = match (&self.watch, self.poll) {
                (Some(watch), _) => match watch.next(now) {
                    Next::Due(batch) => {
                        let trouble = watch.trouble();
                        if let Some(trouble) = trouble {
                            self.fall_back(&trouble);
                        }
                        return Some(Look::At(batch));
                    }
                    Next::At(at) => Some(at),
                    Next::Nothing => None,
                },
                (None, poll) => {
                    let at = began + poll.unwrap_or(POLL);
                    if at <= now {
                        return Some(Look::Quietly);
                    }
                    Some(at)
                }
            };
            let wake = [next, self.standing.next_rest(), self.next_checkpoint()].into_iter().flatten().min();
            match wake {
                Some(at) => std::thread::park_timeout(at.saturating_duration_since(now)),
                None => std::thread::park(),
            }
        }
    }

    /// Builds what is behind.
    fn look(&mut self, look: Look) -> Result<Looked> {
        let batch = match look {
            Look::Quietly => {
                self.read_again();
                return self.build(None, false, Show::Nothing);
            }
            Look::At(batch) => batch,
        };
        if batch.everything {
            self.event(&Event::Changed(Changed { everything: true, ..Changed::default() }));
            self.read_again();
            return self.build(None, false, Show::Changes);
        }
        let Some((ground, _)) = &self.ground else { return self.build(None, false, Show::Changes) };
        let (ground, mut of) = (Arc::clone(ground), Concern::default());
        let mut published = Vec::new();
        for path in &batch.paths {
            let concern = ground.concern(path, path.is_dir(), false);
            of.documents |= concern.documents;
            of.pipeline |= concern.pipeline;
            if concern.published {
                if ground.is_edited(path) {
                    self.say_edited(&ground, path);
                } else {
                    published.push(path.clone());
                }
            }
        }
        of.published = published.iter().any(|path| !path.exists());
        if !of.is_any() {
            return Ok(Looked::Away);
        }
        let show = if of.pipeline { Show::Result } else { Show::Changes };
        let changed = changed(&ground, &batch);
        if of.pipeline && !self.read_again() && !of.documents {
            return Ok(Looked::Built);
        }
        let changes = Changes { paths: batch.paths, published: of.published };
        self.build(Some((changes, changed)), false, show)
    }

    /// One build.
    fn build(&mut self, changes: Option<(Changes, Changed)>, gone: bool, show: Show) -> Result<Looked> {
        let began = Instant::now();
        self.idle.store(false, Ordering::Relaxed);
        let built = self.build_now(changes, gone, show);
        self.idle.store(true, Ordering::Relaxed);
        let mut looked = Looked::Built;
        match built {
            Ok(summary) => {
                self.last_error = None;
                if summary.is_up_to_date() && self.watch.is_none() && self.args.poll.is_none() {
                    self.poll = Some((began.elapsed() * POLL_SHARE).clamp(POLL, LONGEST_POLL));
                }
                if summary.is_up_to_date() && show == Show::Nothing {
                    looked = Looked::Away;
                }
                if let Some(Stopped::Signal { .. }) = summary.stopped {
                    return Ok(Looked::Over(Exit(summary.exit_code())));
                }
            }
            Err(error) => {
                self.standing.forget();
                // A store that cannot be written does not come back.
                if self.store.flush().is_err() {
                    return Err(error);
                }
                self.say_error(error);
            }
        }
        Ok(looked)
    }

    fn build_now(&mut self, changes: Option<(Changes, Changed)>, gone: bool, show: Show) -> Result<Summary> {
        let View { project, options, .. } = &self.view;
        let parts =
            Parts::new(project.pipeline(), project.loaded.digest, &self.store, Arc::clone(&self.host))?;
        self.store.keep_pipelinefile(&project.loaded.digest, project.loaded.text());
        let mut options = options.clone();
        options.gone = gone;
        let report = self.out.build_report_of(self.global, changes.is_some());
        let report = {
            let goes_on = std::mem::replace(&mut self.has_events, true);
            events::to_file(self.global, goes_on, report)?
        };
        let report = events::Telling::begin(project, report)?;
        let mut sink = Hold::new(report, show, self.out.is_json());
        if let Some((changes, changed)) = changes {
            options.changes = Some(changes);
            sink.event(&Event::Changed(changed));
        }
        let ended = engine::build_again(&parts, &options, &mut sink, self.interrupts, &mut self.standing);
        sink.into_inner().end(ended.as_ref().ok(), None, self.out);
        let summary = ended?;
        self.standing.tidy(&parts)?;
        Ok(summary)
    }

    /// Reads the Pipelinefile and looks at the code again; whether they can be built with. If not, that is said, and
    /// the pipeline stays as it was.
    fn read_again(&mut self) -> bool {
        match View::read(self.args, self.global, self.out, Some(self.view.project.loaded.digest)) {
            Ok(view) => {
                let is_other = view.project.loaded.digest != self.view.project.loaded.digest;
                self.view = view;
                self.last_error = None;
                if is_other {
                    self.serve();
                }
                true
            }
            Err(error) => {
                self.say_error(error);
                false
            }
        }
    }

    /// Answers other commands, about the pipeline as it is now.
    fn serve(&mut self) {
        // The old one takes the socket's name with it.
        self.server = None;
        match owner::serve(&self.view.project, &self.store, &self.idle, &self.interrupts.board) {
            Ok(server) => self.server = Some(server),
            Err(error) => {
                let message = format!("other commands cannot ask this one: {error}");
                self.event(&Event::Notice { message, hint: None });
            }
        }
    }

    /// The same; what keeps it from that is said, and what was watched stays.
    fn watch_ground_or_say(&mut self) -> bool {
        match self.watch_ground() {
            Ok(is_other) => is_other,
            Err(error) => {
                if self.last_error.as_ref() != Some(&format!("{error:?}")) {
                    self.say_error(error);
                }
                false
            }
        }
    }

    /// Watches what matters now; whether that is more than before, so that something may have been missed.
    fn watch_ground(&mut self) -> Result<bool> {
        if self.poll.is_some() {
            return Ok(false);
        }
        let View { project, options, files } = &self.view;
        let parts =
            Parts::new(project.pipeline(), project.loaded.digest, &self.store, Arc::clone(&self.host))?;
        let ground = Arc::new(Ground::new(&parts, options, files)?);
        if let Some((old, shared)) = &mut self.ground
            && self.watch.is_some()
            && (old.trees(), old.folders()) == (ground.trees(), ground.folders())
        {
            *shared.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&ground);
            *old = ground;
            return Ok(false);
        }
        let shared: Shared = Arc::new(RwLock::new(Arc::clone(&ground)));
        let now = |shared: &Shared| Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner));
        let (enters, concerns) = (Arc::clone(&shared), Arc::clone(&shared));
        let watched = crate::watch::Ground {
            trees: ground.trees(),
            folders: ground.folders(),
            enters: Box::new(move |folder| now(&enters).enters(folder)),
            concerns: Box::new(move |path, sign| {
                now(&concerns).concern(path, sign.is_folder, sign.moved_here).is_any()
            }),
        };
        let is_first = self.ground.is_none();
        match Watch::start(watched, std::thread::current()) {
            Ok(watch) => {
                self.watch = Some(watch);
                self.ground = Some((ground, shared));
            }
            Err(trouble) => self.fall_back(&trouble),
        }
        Ok(!is_first)
    }

    /// Nobody tells of changes any more: everything is looked at now and then.
    fn fall_back(&mut self, trouble: &Trouble) {
        (self.watch, self.ground) = (None, None);
        self.poll = Some(POLL);
        let (why, hint) = match trouble {
            Trouble::Limit { watched } => (
                format!("the system watches no more than {watched} folders here"),
                Some("sudo sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024"),
            ),
            Trouble::Failed(why) => (format!("the system does not tell what changes: {why}"), None),
        };
        let message = format!("{why}; everything is looked at every few seconds instead");
        self.event(&Event::Notice { message, hint: hint.map(str::to_owned) });
    }

    /// Between builds, the index is told how far it is: what is read again after a kill stays little.
    fn tell_index(&mut self, now: Instant) {
        if self.next_checkpoint().is_some_and(|at| at <= now) {
            self.checkpoint = now;
            if let Err(error) = self.store.checkpoint() {
                tracing::warn!(%error, "the index could not be told how far it is");
            }
        }
    }

    fn next_checkpoint(&self) -> Option<Instant> {
        self.store.is_ahead_of_index().then(|| self.checkpoint + CHECKPOINT)
    }

    fn say_watching(&mut self) {
        let pipeline = self.view.project.pipeline();
        let families = crate::plan::family::Families::new(pipeline, &self.view.options.wanted);
        let names = pipeline.sources.iter().map(|source| source.name.clone());
        let is_needed =
            |name: &String| families.list.iter().any(|family| family.name == *name && family.is_needed());
        let watched = |source: String| {
            let sums = self.store.sums(&source).unwrap_or_default();
            Watched { source, documents: sums.documents - sums.gone }
        };
        let sources = names.filter(is_needed).map(watched).collect();
        let every = self.poll.map(|every| every.as_millis() as u64);
        self.event(&Event::Watching(Watching { sources, every }));
    }

    fn say_edited(&mut self, ground: &Ground, path: &std::path::Path) {
        let name = ground.name(path).unwrap_or_else(|| path.display().to_string());
        let message = format!("`{name}` was edited since it was published; it is kept as it is");
        let hint = Some("remove it, and it is published again".to_owned());
        self.event(&Event::Notice { message, hint });
    }

    /// An error that ends a build but not the watching; once, if it stays the same where everything is looked at.
    fn say_error(&mut self, mut error: Error) {
        let text = format!("{error:?}");
        if self.poll.is_some() && self.last_error.as_ref() == Some(&text) {
            return;
        }
        // Another build would be refused while this one watches.
        let hint = |hint: &String| hint.replace("pipe build --gone", "Ctrl-C, then: pipe watch --gone");
        error.hints = error.hints.iter().map(hint).collect();
        self.out.error(&error);
        // Who reads stdout is told now; it is not over. A stdout that takes nothing is noticed at the end.
        drop(self.out.flush());
        self.last_error = Some(text);
        if !self.out.is_json() {
            self.out.say("  still watching; Ctrl-C ends it");
        }
    }

    fn event(&mut self, event: &Event) {
        self.out.build_report_of(self.global, false).event(event);
    }
}

/// What is said of a batch: what matters of it.
fn changed(ground: &Ground, batch: &Batch) -> Changed {
    let name = |path: &PathBuf| ground.name(path).unwrap_or_else(|| path.display().to_string());
    let matters = |path: &&PathBuf| {
        let concern = ground.concern(path, path.is_dir(), false);
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        ((concern.documents || concern.pipeline) && !is_hidden) || (concern.published && !path.exists())
    };
    let of_files =
        |path: &&PathBuf| !batch.paths.iter().any(|other| other != *path && other.starts_with(path));
    let paths = batch.paths.iter().filter(matters);
    let names: BTreeSet<String> = match batch.paths.len() {
        // A folder that came is told by what came with it.
        ..=64 => paths.filter(of_files).map(name).collect(),
        _ => paths.map(name).collect(),
    };
    let count = names.len() as u64;
    Changed { paths: names.into_iter().take(NAMED).collect(), count, everything: false }
}

/// What came of a look.
enum Looked {
    /// There was a build, or what kept it from being one was said.
    Built,
    /// It was nothing.
    Away,
    /// A signal ended it.
    Over(Exit),
}

/// What is to be looked at.
enum Look {
    /// Everything, saying nothing if there is nothing to do.
    Quietly,
    /// What changed.
    At(Batch),
}
