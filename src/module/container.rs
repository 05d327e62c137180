//! Programs in containers: the command line of `podman run` or `docker run`, and the end of what is left.
//!
//! What a container may read lies in it at the paths that it has here, so that neither protocol needs to say paths in
//! another way. Only the scratch folder is writable. A container is no child of ours: it is ended by its name, which
//! tells whose it is, see [`enclose`] and [`end_leftovers`]. `docs/decisions/0016-containers.md` has the reasons.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::hash::FieldHasher;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::Container;
use crate::module::launch::Launch;
use crate::module::{log, program};
use crate::sys;

/// The variable by which a worker is told its graphics card; a container gets the card instead.
const CARDS: &str = "CUDA_VISIBLE_DEVICES";

/// How long the engine may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The label of our containers: which store they work for.
const LABEL: &str = "pipelinefile.store";

/// Numbers the containers of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Engines and images that were looked at: each once a process.
static SEEN: Mutex<Option<HashSet<(PathBuf, String)>>> = Mutex::new(None);

/// A program as it is started in a container.
pub(super) struct Enclosed {
    /// All words; the first is the engine's file.
    pub(super) words: Vec<OsString>,
    /// What removes the container, whatever it is doing.
    pub(super) farewell: Vec<OsString>,
}

/// What runs containers.
struct Engine {
    file: PathBuf,
    /// It understands the command line of docker, not of podman.
    is_docker: bool,
}

impl Engine {
    /// The one that is asked for, else the first on PATH.
    fn find(launch: &Launch) -> Result<Engine, Failure> {
        let path = crate::env::path();
        let on_path = |name: &OsString| program::search(name, &path, &launch.root);
        let file = match crate::env::container_engine() {
            Some(asked) if asked.as_bytes().contains(&b'/') => {
                let file = launch.root.join(&asked);
                file.is_file().then_some(file).ok_or(asked)
            }
            Some(asked) => on_path(&asked).ok_or(asked),
            None => {
                ["podman", "docker"].iter().find_map(|name| on_path(&name.into())).ok_or_else(OsString::new)
            }
        };
        let file = file.map_err(|asked| {
            let message = if asked.is_empty() {
                "a module with `image` needs podman or docker, and neither is on PATH: install podman, or set \
                 PIPE_CONTAINER_ENGINE to such a program"
                    .to_owned()
            } else {
                let asked = asked.to_string_lossy();
                format!("PIPE_CONTAINER_ENGINE is `{asked}`, but there is no such program: set it to podman or docker")
            };
            Failure::new(FailureKind::Lost, "no container engine", message)
        })?;
        let is_docker = file.file_name().is_some_and(|name| name.to_string_lossy().contains("docker"));
        Ok(Engine { file, is_docker })
    }

    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.file.file_name().unwrap_or_default().to_string_lossy()
    }

    /// Runs it to its end: what it printed, or the last line of what it complained of.
    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut command = process::Command::new(&self.file);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| crate::error::io_text(&e))?;
        let (number, (sender, inbox)) = (child.id(), channel());
        std::thread::spawn(move || drop(sender.send(child.wait_with_output())));
        let Ok(output) = inbox.recv_timeout(PATIENCE) else {
            sys::signal_process(number, sys::Send::Kill);
            return Err(format!("it says nothing for {}", crate::text::duration(PATIENCE)));
        };
        let output = output.map_err(|e| crate::error::io_text(&e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        Err(log::last_line(&lines).unwrap_or("it says nothing").to_owned())
    }

    /// The words that remove a container, whatever it is doing.
    fn removal<'a>(&self, name: &'a str) -> Vec<&'a str> {
        // Podman would wait ten seconds for its end; docker does not.
        if self.is_docker { vec!["rm", "--force", name] } else { vec!["rm", "--force", "--time=0", name] }
    }
}

/// Whether containers of this image can be started; asked once a process.
pub(super) fn check(launch: &Launch, container: &Container) -> Result<(), Failure> {
    ready(launch, container).map(|_| ())
}

fn ready(launch: &Launch, container: &Container) -> Result<Engine, Failure> {
    let engine = Engine::find(launch)?;
    look(&engine, launch, container)?;
    Ok(engine)
}

/// The store that a launch works for, as a label says it: by its path and by where that and the numbers of processes
/// mean something. Jobs of one engine may have equal paths, each in a container of its own.
fn store_of(launch: &Launch) -> String {
    let here = [sys::host_name(), sys::process_namespace()];
    label_of(&launch.tmp, &here.each_ref().map(String::as_str))
}

fn label_of(tmp: &Path, here: &[&str]) -> String {
    let mut hasher = FieldHasher::new("pipe containers");
    hasher.bytes(tmp.as_os_str().as_bytes());
    for place in here {
        hasher.text(place);
    }
    hasher.finish().short()
}

/// What runs these words in the container of a launch; `scratch` is writable in it, `sealed` is not.
/// Without words it is the image's own command.
pub(super) fn enclose(
    launch: &Launch,
    container: &Container,
    scratch: &Path,
    sealed: Option<&Path>,
    words: Vec<OsString>,
) -> Result<Enclosed, Failure> {
    let engine = ready(launch, container)?;
    crate::fs::create_dir(scratch).map_err(|error| cannot_start(error.to_string()))?;
    let own = sys::own_pid();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("pipe-{own}-{}-{number}", sys::process_start(own).unwrap_or_default());
    let mut all: Vec<OsString> =
        ["run", "--rm", "--interactive", "--pull=never"].map(OsString::from).to_vec();
    all.push(format!("--name={name}").into());
    all.push(format!("--label={LABEL}={}", store_of(launch)).into());
    if !container.network {
        all.push("--network=none".into());
    }
    // Files of the user are not relabelled for SELinux: they stay as they are.
    all.extend(["--security-opt=label=disable", "--security-opt=no-new-privileges"].map(OsString::from));
    let (user, group) = (sys::own_user(), sys::own_group());
    if !engine.is_docker && user != 0 {
        all.push("--userns=keep-id".into());
    }
    all.push(format!("--user={user}:{group}").into());
    for path in readable(launch) {
        all.push(mount(&path, true)?);
    }
    all.push(mount(scratch, false)?);
    if let Some(path) = sealed {
        all.push(mount(path, true)?);
    }
    let mut workdir = OsString::from("--workdir=");
    workdir.push(&launch.root);
    all.push(workdir);
    for (name, value) in &launch.env {
        if name == CARDS {
            all.extend(value.split(',').map(|card| format!("--device=nvidia.com/gpu={card}").into()));
        } else {
            all.push(format!("--env={name}={value}").into());
        }
    }
    // Without their values, which every user of this machine could read in the list of processes.
    all.extend(launch.secrets.iter().map(|name| format!("--env={name}").into()));
    let mut tmp = OsString::from("--env=PIPE_TMP=");
    tmp.push(scratch);
    all.push(tmp);
    all.extend(launch.memory.map(|bytes| format!("--memory={bytes}").into()));
    all.push(container.image.clone().into());
    all.extend(words);
    let program = engine.file.clone().into_os_string();
    let removal = engine.removal(&name).into_iter().map(OsString::from);
    let farewell = [program.clone()].into_iter().chain(removal).collect();
    Ok(Enclosed { words: [program].into_iter().chain(all).collect(), farewell })
}

/// The folders and files that it may read, none of them twice; also where links among them lead.
fn readable(launch: &Launch) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = launch.readable.iter().filter(|path| path.exists()).cloned().collect();
    all.extend(launch.readable.iter().filter_map(|path| path.canonicalize().ok()));
    all.sort();
    // What lies in the one before is there already.
    all.dedup_by(|later, before| later.starts_with(before));
    all
}

fn mount(path: &Path, is_sealed: bool) -> Result<OsString, Failure> {
    if path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b',' | b'"')) {
        let message = format!("`{}` cannot be seen in a container: a comma or a quote in it", path.display());
        return Err(cannot_start(message));
    }
    let mut word = OsString::from("--mount=type=bind,source=");
    word.push(path);
    word.push(",target=");
    word.push(path);
    if is_sealed {
        word.push(",readonly");
    }
    Ok(word)
}

fn cannot_start(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Lost, "cannot start", message)
}

/// Whether the image is here, asked once a process; what builds left that are no more is ended then.
fn look(engine: &Engine, launch: &Launch, container: &Container) -> Result<(), Failure> {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_with(HashSet::new);
    let store = store_of(launch);
    if seen.insert((engine.file.clone(), store.clone())) {
        end_leftovers(engine, &store);
    }
    let of_image = (engine.file.clone(), container.image.clone());
    if seen.contains(&of_image) {
        return Ok(());
    }
    let (name, image) = (engine.name(), &container.image);
    engine.ask(&["image", "inspect", "--format", "{{.Id}}", image]).map_err(|said| {
        let lower = said.to_lowercase();
        let is_missing =
            ["no such image", "image not known", "no such object"].iter().any(|no| lower.contains(no));
        if !is_missing {
            return Failure::new(
                FailureKind::Lost,
                "container engine",
                format!("`{name}` does not work: {said}"),
            );
        }
        let message = if image.contains('@') {
            format!("the image {image} is not here, and nothing is fetched unasked: {name} pull {image}")
        } else {
            format!("the image {image} is not here: {name} images --no-trunc lists those that are")
        };
        Failure::new(FailureKind::Lost, "no image", message)
    })?;
    seen.insert(of_image);
    Ok(())
}

/// Removes the containers of this store whose `pipe` is gone: it was killed together with what cleans up after it.
fn end_leftovers(engine: &Engine, store: &str) {
    let label = format!("label={LABEL}={store}");
    // An engine that does not answer is told of where the image is looked for.
    let Ok(names) = engine.ask(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]) else {
        return;
    };
    for name in names.lines().map(str::trim).filter(|name| is_orphan(name)) {
        drop(engine.ask(&engine.removal(name)));
    }
}

/// Whether the process that gave this name has ended.
fn is_orphan(name: &str) -> bool {
    let mut parts = name.strip_prefix("pipe-").into_iter().flat_map(|rest| rest.split('-'));
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok());
    let (Some(pid), Some(start)) = (number(parts.next()), number(parts.next())) else { return false };
    u32::try_from(pid).is_ok_and(|pid| sys::process_start(pid) != Some(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_an_orphan_once_the_process_of_its_name_is_gone() {
        let own = sys::own_pid();
        let start = sys::process_start(own).unwrap();
        assert!(!is_orphan(&format!("pipe-{own}-{start}-0")));
        assert!(is_orphan(&format!("pipe-{own}-{}-0", start + 1)));
        for other in ["pipe-x-1-0", "postgres", "pipe-"] {
            assert!(!is_orphan(other), "{other}");
        }
    }

    #[test]
    fn stores_of_one_path_in_other_containers_or_on_other_machines_are_others() {
        let of = |tmp: &str, host: &str, space: &str| label_of(Path::new(tmp), &[host, space]);
        let own = of("/builds/p/.pipe/tmp", "job-1", "pid:[4026531836]");
        assert_eq!(own, of("/builds/p/.pipe/tmp", "job-1", "pid:[4026531836]"));
        assert_ne!(own, of("/builds/p/.pipe/tmp", "job-1", "pid:[4026532201]"));
        assert_ne!(own, of("/builds/p/.pipe/tmp", "job-2", "pid:[4026531836]"));
        assert_ne!(own, of("/builds/q/.pipe/tmp", "job-1", "pid:[4026531836]"));
        assert!(sys::process_namespace().starts_with("pid:["), "{}", sys::process_namespace());
    }

    #[test]
    fn a_path_that_the_engine_would_take_apart_is_refused() {
        assert_eq!(
            mount(Path::new("/a b"), true).unwrap(),
            "--mount=type=bind,source=/a b,target=/a b,readonly"
        );
        assert!(mount(Path::new("/a,b"), true).unwrap_err().message.contains("a comma"));
    }
}
