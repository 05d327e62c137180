//! How a program is found and started: the words of its command, its environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use crate::error;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::{Container, Program, Service};
use crate::module::container;
use crate::module::host::{Channel, Start};
use crate::module::launch::Launch;
use crate::module::program;

/// With this Python keeps nothing compiled; images of containers set it.
const NO_BYTECODE: &str = "PYTHONDONTWRITEBYTECODE";
/// Then our own package, which lies in the store, is compiled once all the same and not in each worker (13 ms).
const COMPILE: &str = "import sys; from importlib.util import find_spec; sys.dont_write_bytecode = False; \
                       find_spec('pipelinefile').loader.get_code('pipelinefile'); sys.dont_write_bytecode = True; ";

/// A command that can be started: its program was found.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// The file, absolute.
    pub(super) program: PathBuf,
    /// All words; the first is the program's name as written.
    pub(super) words: Vec<OsString>,
    /// `NAME=VALUE`, or `NAME` for a variable that it does not get.
    pub(super) environment: Vec<OsString>,
    /// Bytes of memory that it may hold, with all that it starts.
    pub(super) memory: Option<u64>,
    /// The command that ends what a kill of the program leaves: its container. Empty: nothing.
    pub(super) farewell: Vec<OsString>,
}

impl Command {
    /// The command of a worker, or why it cannot be started; `scratch` is the folder that it may write to.
    pub(super) fn of_worker(launch: &Launch, scratch: &Path) -> Result<Self, Failure> {
        match &launch.program {
            Program::Worker(words) => Self::of_words(launch, words.iter().map(OsString::from).collect()),
            Program::Python { file, function } => {
                let call = "import pipelinefile; pipelinefile.worker()";
                let of_launch =
                    launch.env.iter().find(|(name, _)| name == NO_BYTECODE).map(|(_, value)| value.into());
                let set = of_launch.or_else(|| crate::env::declared(NO_BYTECODE));
                let is_set = set.is_some_and(|value| !value.is_empty());
                let call = if is_set { format!("{COMPILE}{call}") } else { call.to_owned() };
                Self::of_python(launch, &call, file, function)
            }
            Program::Url(service) => Self::of_service(launch, service),
            Program::Image(container) => match container.program.inside() {
                Program::Worker(words) => {
                    let words = words.iter().map(OsString::from).collect();
                    Self::of_container(launch, container, scratch, None, words)
                }
                _ => Err(cannot_start("a command with braces is a filter and speaks no protocol")),
            },
            Program::Filter(_) | Program::Shell(_) => {
                Err(cannot_start("a command with braces is a filter and speaks no protocol"))
            }
        }
    }

    /// This program once more: it speaks to the server, and to us as a worker does. See `crate::remote`.
    fn of_service(launch: &Launch, service: &Service) -> Result<Self, Failure> {
        let token = service.token.as_deref().unwrap_or(crate::env::TOKEN);
        let words = ["/proc/self/exe", "__remote", &service.url, token];
        Self::of_words(launch, words.iter().map(OsString::from).collect())
    }

    /// These words in a container; `scratch` is writable there, `sealed` in it is not.
    pub(super) fn of_container(
        launch: &Launch,
        container: &Container,
        scratch: &Path,
        sealed: Option<&Path>,
        words: Vec<OsString>,
    ) -> Result<Self, Failure> {
        let container::Enclosed { words, farewell } =
            container::enclose(launch, container, scratch, sealed, words)?;
        // Variables and the limit of memory are the container's, not the engine's.
        let environment = launch.withheld.iter().map(OsString::from).collect();
        Ok(Command { environment, memory: None, farewell, ..Self::of_words(launch, words)? })
    }

    /// The command by which the Python package gets hold of a function.
    pub(super) fn of_python(
        launch: &Launch,
        call: &str,
        file: &Path,
        function: &str,
    ) -> Result<Self, Failure> {
        let Some(python) = &launch.python else {
            return Err(cannot_start("no Python interpreter was found: install python3 or set PIPE_PYTHON"));
        };
        let executable = python.executable.clone().into_os_string();
        let words = [executable, "-c".into(), call.into(), file.into(), function.into()];
        let mut command = Self::of_words(launch, words.to_vec())?;
        let mut path = OsString::from("PYTHONPATH=");
        path.push(&python.sdk);
        let inherited = launch
            .env
            .iter()
            .find(|(name, _)| name == "PYTHONPATH")
            .map(|(_, value)| OsString::from(value))
            .or_else(|| crate::env::declared("PYTHONPATH"))
            .filter(|value| !value.is_empty());
        if let Some(inherited) = inherited {
            path.push(":");
            path.push(inherited);
        }
        command.environment.push(path);
        Ok(command)
    }

    /// The command of these words, or that there is no such program.
    pub(super) fn of_words(launch: &Launch, words: Vec<OsString>) -> Result<Self, Failure> {
        let Some(name) = words.first().filter(|name| !name.is_empty()) else {
            return Err(cannot_start("the command is empty"));
        };
        let program = find(name, launch)?;
        let mut environment: Vec<OsString> =
            launch.env.iter().map(|(name, value)| OsString::from(format!("{name}={value}"))).collect();
        if let Some(name) = launch.secrets.iter().find(|name| crate::env::declared(name).is_none()) {
            return Err(cannot_start(format!("it needs the secret `{name}`: set it with `export {name}=…`")));
        }
        environment.extend(launch.withheld.iter().map(OsString::from));
        let mut tmp = OsString::from("PIPE_TMP=");
        tmp.push(&launch.tmp);
        environment.push(tmp);
        Ok(Command { program, words, environment, memory: launch.memory, farewell: Vec::new() })
    }

    /// Starts it with these as 0, 1 and 2; its process number.
    pub(super) fn start(
        &self,
        root: &Path,
        channel: &mut Channel,
        fds: [BorrowedFd<'_>; 3],
    ) -> io::Result<u32> {
        let start = Start {
            program: &self.program,
            words: &self.words,
            folder: root,
            environment: &self.environment,
            memory: self.memory.unwrap_or(0),
            farewell: &self.farewell,
        };
        channel.start(&start, fds)
    }

    /// The same for a child of this very process, which has its terminal.
    pub(super) fn here(&self, root: &Path) -> process::Command {
        let mut command = process::Command::new(&self.program);
        command.current_dir(root).args(self.words.iter().skip(1));
        if let Some(name) = self.words.first() {
            command.arg0(name);
        }
        for variable in &self.environment {
            let Some(at) = variable.as_bytes().iter().position(|byte| *byte == b'=') else {
                command.env_remove(variable);
                continue;
            };
            let (name, value) = variable.as_bytes().split_at(at);
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
        }
        command
    }

    /// What to say where [`Command::start`] failed.
    pub(super) fn refused(&self, cause: &io::Error) -> Failure {
        let name = self.program.display();
        let message = match cause.kind() {
            io::ErrorKind::NotFound => {
                format!("cannot start `{name}`: the interpreter in its first line does not exist")
            }
            io::ErrorKind::PermissionDenied => {
                format!("cannot start `{name}`: permission denied: try chmod +x")
            }
            io::ErrorKind::ArgumentListTooLong => format!("cannot start `{name}`: the command is too long"),
            _ if cause.raw_os_error() == Some(8) => {
                format!("cannot start `{name}`: it is neither a program nor does it begin with #!")
            }
            _ => format!("cannot start `{name}`: {}", error::io_text(cause)),
        };
        cannot_start(message)
    }
}

/// Opens `/dev/null` for a program that gets no input.
pub(super) fn no_input() -> io::Result<std::fs::File> {
    std::fs::File::open("/dev/null")
}

/// A program that cannot be started: nothing is known of any document.
pub(super) fn cannot_start(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Lost, "cannot start", message)
}

/// The file of a program: a path is relative to the project, a name is looked up on PATH.
fn find(name: &OsStr, launch: &Launch) -> Result<PathBuf, Failure> {
    let shown = name.to_string_lossy();
    if name.as_bytes().contains(&b'/') {
        let path = launch.root.join(name);
        return match path.metadata() {
            Ok(meta) if meta.is_file() => Ok(path),
            _ => Err(not_found(&shown, "there is no such file in the project")),
        };
    }
    let path = launch
        .env
        .iter()
        .find(|(variable, _)| variable == "PATH")
        .map_or_else(crate::env::path, |(_, value)| OsString::from(value));
    program::search(name, &path, &launch.root)
        .ok_or_else(|| not_found(&shown, "install it, or write its path in `cmd`; PATH was searched"))
}

fn not_found(name: &str, hint: &str) -> Failure {
    Failure::new(FailureKind::Lost, "command not found", format!("{name}: {hint}"))
}
