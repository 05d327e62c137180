//! A folder with files, and `pipe` run in it.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::outcome::{Outcome, dedent};

/// What `now` is for every command: 2026-01-01 00:00 UTC.
const NOW: &str = "1767225600000";

/// A project in a folder of its own, which goes with it.
pub(crate) struct Project {
    folder: Option<tempfile::TempDir>,
    root: PathBuf,
    variables: Vec<(OsString, OsString)>,
    /// Whose commands these are, if not ours, and their group.
    user: Option<(u32, u32)>,
}

impl Project {
    /// An empty folder.
    pub(crate) fn new() -> Project {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        Project { folder: Some(folder), root, variables: Vec::new(), user: None }
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file, and the folders above it; the common indentation does not count.
    pub(crate) fn file(self, name: &str, text: &str) -> Project {
        self.write(name, dedent(text));
        self
    }

    /// The same without change, also later.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A file's text.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Sets a variable for all commands.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Project {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Commands are those of another user, whose folder this becomes. Only root can.
    #[allow(dead_code, reason = "for the tests of the command, which have this file too")]
    pub(crate) fn by_user(mut self, user: u32, group: u32) -> Project {
        std::os::unix::fs::chown(&self.root, Some(user), Some(group)).unwrap();
        self.user = Some((user, group));
        self
    }

    /// The command `pipe` in the project's folder, with nothing in its environment that a machine could decide.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.args(arguments).current_dir(&self.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in [
            ("HOME", self.root.to_str().unwrap()),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("COLUMNS", "100"),
            ("PIPE_NOW", NOW),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ] {
            command.env(name, value);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same by way of another program, which is given these words and then the command.
    pub(crate) fn command_through(&self, words: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let mut outer = Command::new(words[0]);
        outer.args(&words[1..]).arg(inner.get_program()).args(inner.get_args());
        outer.current_dir(&self.root).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        outer
    }

    /// Runs `pipe` to its end.
    #[must_use = "compare it with `shows`, or say how it `ends`"]
    pub(crate) fn pipe(&self, arguments: &[&str]) -> Outcome {
        self.outcome(self.command(arguments), arguments)
    }

    /// Runs `pipe` by way of another program to its end.
    #[allow(dead_code, reason = "for the tests of faults, which have this file too")]
    #[must_use = "compare it with `shows`, or say how it `ends`"]
    pub(crate) fn pipe_through(&self, words: &[&str], arguments: &[&str]) -> Outcome {
        self.outcome(self.command_through(words, arguments), arguments)
    }

    fn outcome(&self, mut command: Command, arguments: &[&str]) -> Outcome {
        let output = command.output().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        let status = output.status;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let command = format!("pipe {}", arguments.join(" "));
        Outcome::new(command, self.root.clone(), code, &output.stdout, &output.stderr)
    }

    /// Every file of the project and its size; without the store.
    pub(crate) fn tree(&self) -> Vec<String> {
        tree(&self.root)
    }

    /// Keeps the folder after the test, to look at; says where it is.
    #[expect(dead_code, reason = "for whoever looks for a fault")]
    pub(crate) fn eject(mut self) -> PathBuf {
        if let Some(folder) = self.folder.take() {
            eprintln!("kept: {}", folder.keep().display());
        }
        self.root.clone()
    }
}

/// Every file below a folder and its size, sorted; what the store holds is left out.
pub(super) fn tree(root: &Path) -> Vec<String> {
    let mut open = vec![root.to_owned()];
    let mut lines = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if name != ".pipe" {
                    open.push(path);
                }
            } else {
                lines.push(format!("{name} ({} bytes)", entry.metadata().map_or(0, |found| found.len())));
            }
        }
    }
    lines.sort();
    lines
}
