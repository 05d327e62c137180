//! `tools/faultbox.c`: runs `pipe` and lets a fault happen at one of its system calls.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Project, Running};

/// Which calls are counted, and what happens at which of them.
#[derive(Clone, Default)]
pub(crate) struct Fault {
    words: Vec<String>,
}

/// Every call that changes something below `.pipe` or what is published.
pub(crate) const CHANGES: &str = "open,openat,unlink,unlinkat,mkdir,mkdirat,rename,renameat,renameat2,write,pwrite64,\
                                  writev,pwritev,pwritev2,fsync,fdatasync,ftruncate,fallocate,symlink,copy_file_range";

impl Fault {
    /// Counts these calls, wherever they are about.
    pub(crate) fn at_calls(names: &str) -> Fault {
        Fault::default().with("--calls", names)
    }

    /// Counts every call that changes something in the store or in what is published.
    pub(crate) fn at_changes(project: &Project) -> Fault {
        Fault::at_calls(CHANGES).under(project, ".pipe").under(project, "out")
    }

    /// Counts only those that are about something below a folder of the project. May be said several times.
    pub(crate) fn under(self, project: &Project, folder: &str) -> Fault {
        let path = project.root().join(folder);
        self.with("--under", path.to_str().unwrap())
    }

    /// Counts those of the host of modules instead of those of `pipe` itself.
    pub(crate) fn of_the_host(self) -> Fault {
        self.with("--who", "host")
    }

    /// What happens at the n-th call, counted from 1 over all threads.
    pub(crate) fn at(self, n: usize, what: &str) -> Fault {
        self.with("--at", &n.to_string()).with("--do", what)
    }

    /// What happens from the n-th call on.
    pub(crate) fn from(self, n: usize, what: &str) -> Fault {
        self.with("--from", &n.to_string()).with("--do", what)
    }

    /// What happens at every n-th call.
    pub(crate) fn every(self, n: usize, what: &str) -> Fault {
        self.with("--every", &n.to_string()).with("--do", what)
    }

    /// Writes every counted call into a file of the project.
    pub(crate) fn logged(self, project: &Project, name: &str) -> Fault {
        let path = project.root().join(name);
        self.with("--log", path.to_str().unwrap())
    }

    fn with(mut self, name: &str, value: &str) -> Fault {
        self.words.extend([name.to_owned(), value.to_owned()]);
        self
    }

    fn command(&self, project: &Project, arguments: &[&str]) -> Command {
        let words: Vec<&str> =
            [program()].into_iter().chain(self.words.iter().map(String::as_str)).chain(["--"]).collect();
        project.command_through(&words, arguments)
    }

    /// Starts `pipe … --json` with it. Signals go to the process that the pause named, not to this one.
    pub(crate) fn start(&self, project: &Project, arguments: &[&str]) -> Running {
        project.start_command(self.command(project, &[arguments, &["--json"]].concat()))
    }

    /// How many such calls there are in a run, and which.
    pub(crate) fn calls(&self, project: &Project, arguments: &[&str]) -> Vec<String> {
        drop(self.clone().logged(project, "calls").start(project, arguments).end());
        let text = project.read("calls");
        project.clear("calls");
        let lines = text.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        lines.map(|line| line.replace(&*project.root().to_string_lossy(), "")).collect()
    }
}

/// An error by its number, as `at` and `from` take it.
pub(crate) fn error(errno: rustix::io::Errno) -> String {
    format!("error={}", errno.raw_os_error())
}

/// The compiled tool: made once for all test processes.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/tools/faultbox.c");
        let digest = blake3::hash(&std::fs::read(source).unwrap()).to_hex();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("faultbox-{}", &digest[..16]));
        if !path.exists() {
            let fresh = folder.join(format!("faultbox-{}", std::process::id()));
            let status = Command::new("cc").args(["-O1", "-o"]).arg(&fresh).arg(source).status();
            assert!(status.unwrap().success(), "cc cannot compile {source}");
            std::fs::rename(fresh, &path).unwrap();
        }
        path.to_str().unwrap().to_owned()
    })
}
