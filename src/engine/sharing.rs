//! Gives what a build made to the shared cache, once it is on disk, in a thread of its own; never a failure.
//!
//! Also what is remembered of the cache within a build. What is taken from it is `taking`'s. Without a cache nothing of
//! this runs. See `docs/design/cache.md`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::cache::{Bytes, Cache, Entry};
use crate::error::{Error, Result, io_text};
use crate::model::action::{Extras, Origin, Outcome, Output, Place, Position};
use crate::model::event::Event;
use crate::model::folder;
use crate::plan::key::{action_key, recipe_digest};
use crate::store::Store;

/// Shares what this build makes.
pub(super) struct Sharing {
    pub(super) cache: Arc<Cache>,
    jobs: Sender<(Position, String)>,
    thread: JoinHandle<Failures>,
    /// Results that were taken.
    pub(super) taken: u64,
    pub(super) serial: u64,
    stop: Arc<AtomicBool>,
}

/// What is said where the cache cannot be used: it helps, and a build goes on without it.
pub(super) fn without(error: &Error) -> Event {
    let message = format!("results are not shared: {error}");
    Event::Notice { message, hint: Some("PIPE_CACHE must be a folder that you may write into".to_owned()) }
}

/// What could not be shared: how many, and why the first.
#[derive(Default)]
struct Failures {
    count: u64,
    first: String,
}

impl Sharing {
    /// Starts the thread that gives.
    pub(super) fn start(folder: &Path, store: &Arc<Store>, root: &Path) -> Result<Self> {
        let cache = Arc::new(Cache::open(folder)?);
        let (jobs, inbox) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let giver = Giver {
            stop: Arc::clone(&stop),
            cache: Arc::clone(&cache),
            store: Arc::clone(store),
            user: crate::cache::user_name(),
            host: crate::cache::host_name(),
            project: root.display().to_string(),
        };
        let started = std::thread::Builder::new().name("share".into()).spawn(move || giver.run(&inbox));
        let thread = started.map_err(|e| {
            Error::unfinished("cannot start the thread that shares results").caused_by(io_text(&e))
        })?;
        Ok(Sharing { cache, jobs, thread, stop, taken: 0, serial: 0 })
    }

    /// Gives a record that is on disk.
    pub(super) fn give(&self, at: Position, doc: String) {
        // The thread ends only after this sender is dropped.
        drop(self.jobs.send((at, doc)));
    }

    /// Waits until all is given, or only for what is in hand if the build was `stopped` by somebody; how many results were
    /// taken, and what should be read.
    pub(super) fn finish(self, stopped: bool) -> (u64, Vec<Event>) {
        self.stop.store(stopped, Ordering::Relaxed);
        drop(self.jobs);
        let failures =
            self.thread.join().unwrap_or_else(|_| Failures { count: 1, first: "it ended early".into() });
        let mut notices = Vec::new();
        if failures.count > 0 {
            let (count, first) = (failures.count, failures.first);
            let message = format!(
                "{} could not be put into the shared cache: {first}",
                crate::text::count(count, "result")
            );
            let hint = Some(
                "all is kept in this project; PIPE_CACHE must be a folder that you may write into".to_owned(),
            );
            notices.push(Event::Notice { message, hint });
        }
        for (path, user) in self.cache.damaged() {
            let message = format!("{} in the shared cache is damaged and was not used", path.display());
            let hint = Some(format!("it belongs to user {user}, who can remove it"));
            notices.push(Event::Notice { message, hint });
        }
        (self.taken, notices)
    }
}

/// The thread that puts results into the cache.
struct Giver {
    /// The build was stopped: nobody waits for more.
    stop: Arc<AtomicBool>,
    cache: Arc<Cache>,
    store: Arc<Store>,
    user: String,
    host: String,
    project: String,
}

impl Giver {
    /// Gives the large files of a result that is a folder; false if one is gone or wrong.
    fn give_files(&self, output: &Output) -> std::result::Result<bool, String> {
        let words = |error: Error| error.to_string();
        if output.ext != folder::EXT || output.place == Place::Input {
            return Ok(true);
        }
        let Some((folder, _)) = self.store.folder(output).map_err(words)? else { return Ok(false) };
        for file in folder.files.iter().filter(|file| file.is_blob()) {
            let path = self.store.proved_file(&file.digest, file.length).map_err(words)?;
            let Some(path) = path else { return Ok(false) };
            self.cache.put_file(&file.digest, file.length, &path).map_err(|e| io_text(&e))?;
        }
        Ok(true)
    }

    fn run(&self, inbox: &Receiver<(Position, String)>) -> Failures {
        let mut failures = Failures::default();
        while let Ok((at, doc)) = inbox.recv() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(why) = self.give(at, doc) {
                if failures.count == 0 {
                    failures.first = why;
                }
                failures.count += 1;
            }
        }
        failures
    }

    fn give(&self, at: Position, doc: String) -> std::result::Result<(), String> {
        let words = |error: Error| error.to_string();
        let Some(act) = self.store.act(at).map_err(words)? else { return Ok(()) };
        let Some(recipe) = self.store.recipe(act.recipe).map_err(words)? else { return Ok(()) };
        let loads = match act.loads {
            Some(at) => match self.store.loads(at).map_err(words)? {
                Some(loads) => Some((*loads).clone()),
                None => return Ok(()),
            },
            None => None,
        };
        let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
        let origin = Origin {
            user: self.user.clone(),
            host: self.host.clone(),
            project: self.project.clone(),
            doc,
            run: act.run,
        };
        let key = action_key(&recipe_digest(&recipe), &act.inputs);
        let (start, duration, outcome) = (act.start, act.duration, act.outcome.clone());
        let entry = Entry { key, origin, loads, outcome, start, duration, warnings: extras.warnings };
        let put = |bytes: &Bytes<'_>| self.cache.put(&entry, bytes).map_err(|e| io_text(&e));
        match &entry.outcome {
            Outcome::Failed(_) => Ok(()),
            Outcome::Skip(_) => put(&Bytes::None),
            Outcome::Output(output) if !self.give_files(output)? => Ok(()),
            Outcome::Output(output) => match output.place {
                Place::Input => put(&Bytes::None),
                Place::Payload(_) => match self.store.output_bytes(output).map_err(words)? {
                    Some(bytes) => put(&Bytes::Held(&bytes)),
                    None => Ok(()),
                },
                Place::Blob => match self.store.proved_blob(output).map_err(words)? {
                    Some(path) => put(&Bytes::File(&path)),
                    None => Ok(()),
                },
            },
        }
    }
}
