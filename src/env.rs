//! Every environment variable that `pipe` reads; nobody else reads the environment.
//! `docs/reference/environment.md` lists them; a test compares the two.
#![expect(clippy::disallowed_methods, reason = "the owner of the environment")]

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable and what it is for.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub what: &'static str,
}

/// All of them, in the order of the reference page. Those that flags read through clap are listed too.
pub const VARIABLES: &[Variable] = &[
    Variable { name: "PIPE_DIR", what: "Where the store lies, instead of `.pipe` beside the Pipelinefile." },
    Variable {
        name: "PIPE_CACHE",
        what: "A folder in which projects and users of this machine share results.",
    },
    Variable { name: "PIPE_JOBS", what: "How many module processes run at once, as `-j`." },
    Variable { name: "PIPE_COLOR", what: "`auto`, `always` or `never`, as `--color`." },
    Variable { name: "PIPE_PROGRESS", what: "`auto`, `bar`, `plain` or `none`, as `--progress`." },
    Variable {
        name: "PIPE_PYTHON",
        what: "The Python interpreter for Python modules, instead of that of the active environment, of `.venv` in the project, or `python3` on PATH.",
    },
    Variable {
        name: "PIPE_CONTAINER_ENGINE",
        what: "What runs modules with `image`: `podman`, `docker`, or the path of a program that understands one's command line; instead of the first of the two on PATH.",
    },
    Variable {
        name: "PIPE_LOG",
        what: "What `pipe` says of its own inside, e.g. `debug` or `pipelinefile::store=trace`.",
    },
    Variable {
        name: "PIPE_LOG_TO",
        what: "Where events go, as `to` of `[log]`, separated by commas; instead of what the Pipelinefile says.",
    },
    Variable {
        name: "PIPE_TOKEN",
        what: "The token for module servers, where the module names no other variable for it (`token`).",
    },
    Variable {
        name: "SSL_CERT_FILE",
        what: "A file with the certificates to trust for `https`, instead of those of the system.",
    },
    Variable { name: "SSL_CERT_DIR", what: "A folder of such files." },
    Variable { name: "PIPE_NOW", what: "A fixed time in milliseconds since 1970, for tests." },
    Variable { name: "NO_COLOR", what: "Set to anything: no colour." },
    Variable { name: "CLICOLOR_FORCE", what: "Set to anything but 0: colour also without a terminal." },
    Variable { name: "CI", what: "Set to anything: plain output, whatever the terminal." },
    Variable {
        name: "GITHUB_ACTIONS",
        what: "`true`: after a build an annotation for each cause of failures, on stdout; not with `--json`.",
    },
    Variable {
        name: "GITHUB_STEP_SUMMARY",
        what: "A file to which a build appends its summary as Markdown.",
    },
    Variable {
        name: "GITHUB_WORKSPACE",
        what: "The folder of the repository: annotations name files relative to it.",
    },
    Variable { name: "COLUMNS", what: "The width of the output where the terminal does not say." },
    Variable {
        name: "WAYLAND_DISPLAY",
        what: "With `DISPLAY`: whether there is a desktop that can show a page.",
    },
    Variable { name: "DISPLAY", what: "The same." },
    Variable { name: "PATH", what: "Where programs of modules are found." },
    Variable {
        name: "VIRTUAL_ENV",
        what: "The Python environment in use: its interpreter runs the modules.",
    },
    Variable {
        name: "PYENV_VERSION",
        what: "The version that a pyenv shim runs; a change asks the interpreter again.",
    },
];

/// The variable of the token for module servers where none is named.
pub const TOKEN: &str = "PIPE_TOKEN";

/// The token that a variable holds.
pub fn token(name: &str) -> Option<String> {
    let token = non_empty(name)?.into_string().ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Whether there is a desktop that can show a file.
pub fn has_desktop() -> bool {
    non_empty("WAYLAND_DISPLAY").or_else(|| non_empty("DISPLAY")).is_some()
}

/// The folder of a project's store, where none is set.
pub const STORE: &str = ".pipe";

/// The folder of the store, if it is set.
pub fn store_dir() -> Option<PathBuf> {
    non_empty("PIPE_DIR").map(PathBuf::from)
}

/// The folder of the shared cache, if there is one.
pub fn cache_dir() -> Option<PathBuf> {
    non_empty("PIPE_CACHE").map(PathBuf::from)
}

/// The Python interpreter that is asked for.
pub fn python() -> Option<OsString> {
    non_empty("PIPE_PYTHON")
}

/// What runs containers, if it is said.
pub fn container_engine() -> Option<OsString> {
    non_empty("PIPE_CONTAINER_ENGINE")
}

/// The filter of `pipe`'s own diagnostics.
pub fn log_filter() -> Option<String> {
    non_empty("PIPE_LOG").and_then(|value| value.into_string().ok())
}

/// Where events go, if it is set; also to nothing.
pub fn log_to() -> Option<String> {
    std::env::var_os("PIPE_LOG_TO").and_then(|value| value.into_string().ok())
}

/// The fixed time of tests, in milliseconds since 1970.
pub fn fixed_now() -> Option<u64> {
    non_empty("PIPE_NOW")?.to_str()?.parse().ok()
}

/// The words of the command line, as text.
pub fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Whether this runs in a CI job.
pub fn is_ci() -> bool {
    non_empty("CI").is_some()
}

/// Whether this is a step of a GitHub workflow, which shows annotations.
pub fn is_github() -> bool {
    non_empty("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// The file of a GitHub step's summary.
pub fn github_summary() -> Option<PathBuf> {
    non_empty("GITHUB_STEP_SUMMARY").map(PathBuf::from)
}

/// The folder of the repository in a GitHub workflow.
pub fn github_workspace() -> Option<PathBuf> {
    non_empty("GITHUB_WORKSPACE").map(PathBuf::from)
}

/// The width of the output, if it is stated.
pub fn columns() -> Option<usize> {
    non_empty("COLUMNS")?.to_str()?.parse().ok()
}

/// The search path for programs.
pub fn path() -> OsString {
    non_empty("PATH").unwrap_or_default()
}

/// What decides which interpreter a Python shim starts.
pub fn python_selection() -> [Option<OsString>; 2] {
    [non_empty("VIRTUAL_ENV"), non_empty("PYENV_VERSION")]
}

/// A variable that a Pipelinefile names in `env`.
pub fn declared(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn non_empty(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
