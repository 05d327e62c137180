//! The minder of a filter: one process a document, whose exit code is the answer.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::action::Used;
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::model::pipeline::{Program, SplitLimits};
use crate::module::children::{self, Sent};
use crate::module::command::{Command, cannot_start, no_input};
use crate::module::container;
use crate::module::enclosure;
use crate::module::launch::{Body, Input, Launch, Request, Side};
use crate::module::log::{Endless, Log, Times, last_line, range};
use crate::module::minder::{Manner, Minder, death};
use crate::module::output::{Place, extended, not_taken};
use crate::module::report::{Answer, Died, Done, Output, OutputBody, Report};
use crate::module::scratch::Scratch;
use crate::module::template::{Hole, Template};
use crate::module::worker::open_log;
use crate::sys::{self, Exit, Wish};
use crate::text;
use crate::time;

/// The exit codes that mean more than "no".
const TRY_AGAIN: i32 = 75;
const SKIP: i32 = 77;
/// Of podman and docker: they themselves failed.
const ENGINE: i32 = 125;
/// The last that they say: there is no such program in the image.
const NOT_FOUND: i32 = 127;
/// Above it a shell says the number of a signal.
const SHELL_SIGNAL: i32 = 128;

/// How often the folder of a split that runs is measured.
const WATCHED: Duration = Duration::from_millis(250);

/// The thread's whole life; what is in hand at its end.
pub(super) fn serve(minder: &mut Minder) -> Vec<u64> {
    let mut filter: Option<(Filter, Log)> = None;
    let mut scratch = Scratch::below(minder.scratch.clone());
    loop {
        minder.take_commands();
        minder.restart = false;
        if minder.killed {
            return Vec::new();
        }
        if minder.waiting.is_empty() {
            if minder.finishing {
                return Vec::new();
            }
            minder.sleep();
            continue;
        }
        let (ready, log) = match &filter {
            Some(ready) => ready,
            None => match begin(minder) {
                Ok(made) => {
                    minder.reports.push(Report::Ready {
                        files: Vec::new(),
                        packages: Vec::new(),
                        batch: None,
                        log: made.1.length(),
                    });
                    filter.insert(made)
                }
                Err(failure) => {
                    minder.fatal(failure);
                    minder.flush();
                    continue;
                }
            },
        };
        let Some(request) = minder.waiting.pop_front() else { continue };
        match ready.run(minder, &mut scratch, log, &request) {
            Ended::Killed => return vec![request.id],
            Ended::Answered => {}
            Ended::NoRoom => {
                minder.waiting.push_front(request);
                minder.fatal(no_room(&minder.launch.tmp));
            }
        }
        minder.flush();
    }
}

fn begin(minder: &Minder) -> Result<(Filter, Log), Failure> {
    let filter = Filter::new(Arc::clone(&minder.launch), &minder.scratch)?;
    Ok((filter, open_log(&minder.launch)?))
}

/// With less than this free, a write of a module may have failed: the run proves nothing.
const NO_ROOM: u64 = 1 << 20;

/// With less than this free, it may have failed while other modules held more.
const LITTLE_ROOM: u64 = 64 << 20;

/// Whether a document was answered for.
enum Ended {
    Answered,
    Killed,
    /// The disk is full: nothing is known of the document.
    NoRoom,
}

/// How a process ended.
enum End {
    Exit(Exit),
    TimedOut,
    Killed,
    Lost(Failure),
    Refused(Failure),
    TooMuch(Failure),
}

/// A filter of which everything is known but the document.
pub(super) struct Filter {
    launch: Arc<Launch>,
    words: Vec<Template>,
    shell: bool,
    /// Of the first word, or of the shell; none in a container.
    program: Option<Command>,
    /// The command names its input; else that is its standard input.
    pub(super) takes_file: bool,
    /// The command names its output; else that is its standard output.
    pub(super) makes_file: bool,
    /// `{out}` is a folder that is there already.
    makes_folder: bool,
    /// Shared side inputs as files.
    shared: Vec<(String, Vec<PathBuf>)>,
}

impl Filter {
    /// The filter of a target; shared side inputs that are no files yet are written into `scratch`.
    pub(super) fn new(launch: Arc<Launch>, scratch: &Path) -> Result<Self, Failure> {
        let (words, shell) = match launch.program.inside() {
            Program::Filter(words) => (words.iter().map(|word| Template::of_word(word)).collect(), false),
            Program::Shell(script) => (vec![Template::of_script(script)], true),
            _ => return Err(cannot_start("a command without braces is no filter")),
        };
        let first = match launch.program.inside() {
            Program::Filter(words) => words.first().cloned().unwrap_or_default(),
            _ => "sh".to_owned(),
        };
        // In a container it is looked for there.
        let contained = launch.program.container().map(|container| container::check(&launch, container));
        let contained = contained.transpose()?.is_some();
        let program = (!contained).then(|| Command::of_words(&launch, vec![first.into()])).transpose()?;
        let holes: Vec<&Hole> = words.iter().flat_map(Template::holes).collect();
        for hole in &holes {
            match hole {
                Hole::Param(name) if !launch.params.contains_key(name) => {
                    return Err(cannot_start(format!(
                        "the target gives no param `{name}` for `{{param.{name}}}`"
                    )));
                }
                _ => {}
            }
        }
        let takes_file = holes.contains(&&Hole::In);
        let makes_folder = launch.split.is_some() || holes.contains(&&Hole::OutFolder);
        let makes_file = holes.contains(&&Hole::Out) || holes.contains(&&Hole::OutFolder);
        let lost = |error: io::Error| {
            cannot_start(format!("cannot write scratch files: {}", crate::error::io_text(&error)))
        };
        std::fs::create_dir_all(scratch).map_err(lost)?;
        let shared = as_files(&launch.with, scratch).map_err(lost)?;
        Ok(Filter { launch, words, shell, program, takes_file, makes_file, makes_folder, shared })
    }

    /// One document.
    fn run(&self, minder: &mut Minder, scratch: &mut Scratch, log: &Log, request: &Request) -> Ended {
        let (begin, start) = (Instant::now(), time::now());
        let memory_kills = minder.memory_kills();
        minder.last_exit = None;
        let mark = log.length();
        let mut times = Times::from(mark, &minder.grown);
        let folder = scratch.folder(request.id);
        let (out, ext) = self.output(&request.input, &folder);
        let (end, input) = match self.begin(minder, log, request, &folder, &out) {
            Ok(input) => (self.attend(minder, begin, &out, log, &mut times), Some(input)),
            Err(failure) => (End::Refused(failure), None),
        };
        // On a full disk a command fails as if by a mistake of its own, or cuts its result short without a word.
        let free = sys::free_space(&minder.launch.tmp).unwrap_or(u64::MAX);
        if matches!(end, End::Exit(_) | End::Refused(_)) && free < NO_ROOM {
            drop(crate::fs::remove_dir(&folder));
            return Ended::NoRoom;
        }
        let mut done = match end {
            End::Killed => return Ended::Killed,
            End::Lost(failure) => {
                let died = Died {
                    failure,
                    suspects: Vec::new(),
                    others: vec![request.id],
                    times: Vec::new(),
                    log: range(mark, log.length()),
                    start,
                    duration_us: begin.elapsed().as_micros() as u64,
                    used: None,
                };
                minder.reports.push(Report::Died(Box::new(died)));
                return Ended::Answered;
            }
            End::Refused(failure) | End::TooMuch(failure) => Done::Failed(failure),
            End::TimedOut => {
                let limit = text::duration(self.launch.timeout.unwrap_or_default());
                let message = format!("not done within {limit}");
                Done::Failed(Failure::new(FailureKind::Timeout, "timeout", message))
            }
            End::Exit(end) => {
                let lines = if end.code == Some(0) { Vec::new() } else { log.tail(mark) };
                let verdict = self.verdict(end, Some(&lines), memory_kills);
                verdict.unwrap_or_else(|| match &self.launch.split {
                    Some(limits) => self.take_children(minder, request.id, &out, &folder, limits),
                    None => {
                        let ours = || folder.clone();
                        let keep = || minder.launch.tmp.join(format!("{}-{}.out", minder.number, request.id));
                        let (within, ext_asked) = (self.within(&folder), self.launch.ext.as_deref());
                        let place = Place { ours: &ours, within, keep: &keep, ext: ext_asked };
                        take_output(&place, &out, ext)
                    }
                })
            }
        };
        // The disk may have been full a moment ago: such a failure does not stand.
        if let Done::Failed(failure) = &mut done
            && free < LITTLE_ROOM
        {
            failure.retry |= failure.kind == FailureKind::ModuleError;
        }
        let exit = minder.last_exit.take();
        // What runs in a container is not seen. A folder of children is no file: it stays, and so its folder goes.
        let is_over = |exit: Exit| exit.code == Some(0) && exit.alone && self.program.is_some();
        scratch.clear(folder, input.as_deref().into_iter().chain([out.as_path()]), exit.is_some_and(is_over));
        let used = exit.map(|exit| Used { cpu: exit.cpu_us, peak: exit.peak_kib });
        let part = range(mark, log.length());
        log.let_go(part);
        minder.reports.push(Report::Answer(Box::new(Answer {
            id: request.id,
            done,
            times: times.take(log, part),
            log: part,
            start,
            duration_us: begin.elapsed().as_micros() as u64,
            files: None,
            packages: None,
            pause: None,
            used,
        })));
        Ended::Answered
    }

    /// The file that is to be made in a folder, and its extension: the target's, else the document's, else `txt`.
    pub(super) fn output(&self, input: &Input, folder: &Path) -> (PathBuf, String) {
        if self.makes_folder {
            return (folder.join("out"), String::new());
        }
        let of_input = || input.ext.as_ref().filter(|ext| !ext.is_empty() && *ext != folder::EXT);
        let set = matches!(input.body, Body::Manifest { .. });
        let ext = self.launch.ext.as_ref().or_else(|| of_input().filter(|_| !set));
        let ext = ext.cloned().unwrap_or_else(|| "txt".to_owned());
        let name = if ext.is_empty() { "out".to_owned() } else { format!("out.{ext}") };
        (folder.join(name), ext)
    }

    /// Writes the files that the process needs; its command, and where its input lies.
    pub(super) fn prepare(
        &self,
        request: &Request,
        folder: &Path,
        out: &Path,
    ) -> Result<(Command, PathBuf), Failure> {
        let made = if self.makes_folder { out } else { folder };
        std::fs::create_dir_all(made).map_err(lost)?;
        let input = as_file(&request.input, &folder.join("in")).map_err(lost)?;
        let own = as_files(&request.with, folder).map_err(lost)?;
        let files_of = |name: &str| {
            let mut known = own.iter().chain(&self.shared);
            known.find(|(known, _)| known == name).map(|(_, files)| files)
        };
        let value = |hole: &Hole| -> Vec<OsString> {
            match hole {
                Hole::In => vec![input.clone().into()],
                Hole::Out => vec![out.into()],
                // With its slash: what follows is a name in the folder.
                Hole::OutFolder => vec![out.join("").into()],
                Hole::Param(name) => vec![self.launch.params.get(name).map(shown).unwrap_or_default().into()],
                Hole::With(name) => files_of(name).into_iter().flatten().map(OsString::from).collect(),
            }
        };
        let mut holes = self.words.iter().flat_map(Template::holes);
        if let Some(Hole::With(name)) =
            holes.find(|hole| matches!(hole, Hole::With(name) if files_of(name).is_none()))
        {
            return Err(cannot_start(format!("the target gives no side input for `{{with.{name}}}`")));
        }
        let mut words: Vec<OsString> = Vec::new();
        if self.shell {
            words.extend(["sh".into(), "-c".into()]);
        }
        for word in &self.words {
            match word.sole_hole() {
                Some(hole) if !self.shell => {
                    let values = value(hole);
                    // An absent side input is an empty word: those behind it stay where they are.
                    words.extend(if values.is_empty() { vec![OsString::new()] } else { values });
                }
                _ => words.push(word.fill(value)),
            }
        }
        let command = match (self.launch.program.container(), &self.program) {
            (Some(container), _) => {
                let sealed = input.starts_with(folder).then_some(input.as_path());
                Command::of_container(&self.launch, container, folder, sealed, words)?
            }
            (None, Some(program)) => Command { words, ..program.clone() },
            (None, None) => return Err(cannot_start("the command is empty")),
        };
        Ok((command, input))
    }

    /// Prepares the files and starts the process.
    fn begin(
        &self,
        minder: &mut Minder,
        log: &Log,
        request: &Request,
        folder: &Path,
        out: &Path,
    ) -> Result<PathBuf, Failure> {
        let (command, input) = self.prepare(request, folder, out)?;
        let stdin = if self.takes_file { no_input() } else { File::open(&input) }.map_err(lost)?;
        let stdout = if self.makes_file { None } else { Some(File::create(out).map_err(lost)?) };
        let stdout = stdout.as_ref().map_or(log.as_fd(), AsFd::as_fd);
        let channel = minder.channel()?;
        command.start(&self.launch.root, channel, [stdin.as_fd(), stdout, log.as_fd()]).map_err(|error| {
            let mut failure = command.refused(&error);
            // What one document alone can be the reason of is its own fault.
            if matches!(error.kind(), io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput) {
                failure.kind = FailureKind::ModuleError;
            }
            minder.channel = None;
            minder.host.check();
            failure
        })?;
        Ok(input)
    }

    /// Waits for its end.
    fn attend(&self, minder: &mut Minder, begin: Instant, out: &Path, log: &Log, times: &mut Times) -> End {
        let deadline = self.launch.timeout.map(|limit| begin + limit);
        let mark = log.length();
        let mut endless = Endless::from(mark);
        let mut pause = WATCHED;
        loop {
            if let Some(limits) = self.launch.split
                && begin.elapsed() >= pause
            {
                let looked = Instant::now();
                // A link of a container is not followed; at its end it is a failure.
                let is_followed = self.program.is_some() || !out.is_symlink();
                if is_followed && let Err(failure) = children::watch(out, &limits) {
                    minder.end_process(Manner::AtOnce);
                    return End::TooMuch(failure);
                }
                pause = begin.elapsed() + WATCHED.max(looked.elapsed() * 20);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                minder.end_process(Manner::Politely);
                return if minder.killed { End::Killed } else { End::TimedOut };
            }
            let Some(channel) = &minder.channel else { return End::Lost(minder.host_lost()) };
            let wishes = [Some((channel.as_fd(), Wish::Read)), Some(minder.bell())];
            let watched = self.launch.split.map(|_| pause.saturating_sub(begin.elapsed()));
            times.look_again(log);
            endless.look_again(log, mark);
            let left = [left, watched, Some(times.wait())].into_iter().flatten().min();
            let Ok([heard, rung]) = sys::poll(wishes, left) else { continue };
            if heard {
                match minder.hear() {
                    Ok(Some(exit)) => return End::Exit(exit),
                    Ok(None) => {}
                    Err(()) => return End::Lost(minder.host_lost()),
                }
            }
            if rung {
                minder.take_commands();
                if minder.killed {
                    minder.end_process(Manner::AtOnce);
                    return End::Killed;
                }
            }
        }
    }

    /// The folder of a document, if its process runs in a container: that may write there, and results lie nowhere else.
    pub(super) fn within<'f>(&self, folder: &'f Path) -> Option<&'f Path> {
        self.launch.program.container().map(|_| folder)
    }

    /// The files in the folder `out` that an ended process was to fill.
    pub(super) fn list_children(
        &self,
        out: &Path,
        folder: &Path,
        limits: &SplitLimits,
    ) -> Result<Vec<(String, PathBuf)>, Failure> {
        if let Some(within) = self.within(folder) {
            enclosure::find(within, out).map_err(|error| not_taken(out, &error))?;
        }
        children::files_below(out, limits)
    }

    /// The files in the folder that a process made: each is a child.
    fn take_children(
        &self,
        minder: &mut Minder,
        id: u64,
        out: &Path,
        folder: &Path,
        limits: &SplitLimits,
    ) -> Done {
        let files = match self.list_children(out, folder, limits) {
            Ok(files) => files,
            Err(failure) => return Done::Failed(failure),
        };
        let mut sent = Sent::default();
        for (name, path) in files {
            let size = std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
            if let Err(failure) = sent.add(&name, size, limits) {
                return Done::Failed(failure);
            }
            let ours = || folder.to_owned();
            let keep = || minder.launch.tmp.join(format!("{}-{id}-{}.out", minder.number, sent.count));
            let place = Place { ours: &ours, within: self.within(folder), keep: &keep, ext: None };
            let body = match place.take_file(&path) {
                Ok(body) => body,
                Err(failure) => return Done::Failed(failure),
            };
            let own = path.extension().map(|ext| ext.to_string_lossy().to_lowercase());
            let ext = self.launch.ext.clone().or(own).unwrap_or_else(|| "bin".to_owned());
            let output = Output { body, ext, meta: String::new() };
            let weight = minder.unheard.weigh(size);
            minder.reports.push(Report::Child { id, name, output, weight });
            while minder.unheard.is_full() && !minder.killed {
                minder.flush();
                std::thread::sleep(Duration::from_millis(1));
                minder.take_commands();
            }
        }
        Done::Output(Output {
            body: OutputBody::Children(sent.count),
            ext: String::new(),
            meta: String::new(),
        })
    }

    /// What an exit means; `None`: it is done, and the output decides. `lines` is what it printed, if that is known.
    pub(super) fn verdict(
        &self,
        exit: Exit,
        lines: Option<&[String]>,
        memory_kills: Option<u64>,
    ) -> Option<Done> {
        let unheard = lines.is_none();
        let lines = lines.unwrap_or_default();
        let last = || last_line(lines).map(str::to_owned);
        let mut exit = exit;
        let contained = self.launch.program.container().is_some();
        // What engines say of themselves, and of a program that is not in the image; scripts say the last two, too.
        if let Some(code @ ENGINE..=NOT_FOUND) = exit.code
            && contained
            && (code == ENGINE || !self.shell)
        {
            let said = last().unwrap_or_else(|| format!("the container's engine ended with {code}"));
            return Some(Done::Failed(cannot_start(said)));
        }
        if let Some(code) = exit.code
            && (self.shell || contained)
            && (SHELL_SIGNAL + 1..=SHELL_SIGNAL + 64).contains(&code)
        {
            exit.signal = Some(code - SHELL_SIGNAL);
        }
        if exit.signal.is_some() || exit.over.is_some() {
            return Some(Done::Failed(death(exit, "the command", "it was done", lines, memory_kills)));
        }
        let code = exit.code.unwrap_or_default();
        match code {
            0 => None,
            SKIP => Some(Done::Skip(last().unwrap_or_else(|| format!("exit {SKIP}")))),
            _ => {
                let silent = if unheard { "" } else { "it printed nothing" };
                let message = last().unwrap_or_else(|| silent.to_owned());
                let mut failure = Failure::new(FailureKind::ModuleError, format!("exit {code}"), message);
                failure.retry = code == TRY_AGAIN;
                failure.traceback = (lines.len() > 1).then(|| lines.join("\n"));
                Some(Done::Failed(failure))
            }
        }
    }
}

/// The disk of the scratch files is full: everything is handed back, nobody's document has failed.
fn no_room(tmp: &Path) -> Failure {
    let message = format!("less than 1 MiB is free at `{}`; {}", tmp.display(), crate::error::ROOM_HINT);
    Failure::new(FailureKind::Lost, "no space left on device", message)
}

/// The result of a process that ended well.
pub(super) fn take_output(place: &Place<'_>, out: &Path, ext: String) -> Done {
    match place.take_file(out) {
        Ok(body @ OutputBody::Folder { .. }) => match place.ext {
            Some(ext) => Done::Failed(extended(ext)),
            None => Done::Output(Output { body, ext: folder::EXT.to_owned(), meta: String::new() }),
        },
        Ok(body) => Done::Output(Output { body, ext, meta: String::new() }),
        Err(mut failure) => {
            if failure.kind == FailureKind::OutputMissing && !out.exists() {
                "it ended well, but did not make its file `{out}`".clone_into(&mut failure.message);
            }
            Done::Failed(failure)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn lost(error: io::Error) -> Failure {
    let message = format!("cannot write scratch files: {}", crate::error::io_text(&error));
    Failure::new(FailureKind::Lost, "lost", message)
}

/// Side inputs as files; those that have none are written into `folder`.
fn as_files(with: &[(String, Side)], folder: &Path) -> io::Result<Vec<(String, Vec<PathBuf>)>> {
    let files = |name: &str, side: &Side| -> io::Result<Vec<PathBuf>> {
        let inputs: &[Input] = match side {
            Side::Absent => &[],
            Side::One(input) => std::slice::from_ref(input),
            Side::Many(inputs) => inputs,
        };
        inputs
            .iter()
            .enumerate()
            .map(|(i, input)| as_file(input, &folder.join(format!("with-{name}-{i}"))))
            .collect()
    };
    with.iter().map(|(name, side)| Ok((name.clone(), files(name, side)?))).collect()
}

/// A file with the content of an input: its own, or one that is written.
fn as_file(input: &Input, stem: &Path) -> io::Result<PathBuf> {
    match &input.body {
        Body::Path(path) | Body::Manifest { path, .. } => Ok(path.clone()),
        Body::Bytes(bytes) => {
            let mut name = stem.as_os_str().to_owned();
            if let Some(ext) = input.ext.as_ref().filter(|ext| !ext.is_empty()) {
                name.push(".");
                name.push(ext);
            }
            let path = PathBuf::from(name);
            io::Write::write_all(&mut File::create(&path)?, bytes)?;
            Ok(path)
        }
    }
}

/// A parameter in a command.
fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}
