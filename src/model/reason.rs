//! Why an action ran, would run, or did not: a value, the same in the log, `pipe why`, `--json` and later faces.

use serde::{Deserialize, Serialize};

use crate::hash::Digest;

/// Why an action is not answered by an earlier record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// No record of this target for this document, nor one that fits of any other.
    NeverRun,
    /// An input has other bytes. `name` is empty for the document itself.
    Input {
        /// The role: empty, or the name of a side input.
        name: String,
        /// Before.
        old: Option<Digest>,
        /// Now.
        new: Option<Digest>,
    },
    /// Something that the module sees has another value.
    Fact {
        /// `ext`, `id`, `meta.lang`.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// Code files differ.
    Code {
        /// Each file with its digest before and now; absent: not there.
        files: Vec<FileChange>,
    },
    /// The command, the interpreter, the declared version or environment differ.
    Program {
        /// `command`, `version`, `interpreter`, `protocol`, `env.NAME`.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// A parameter has another value.
    Param {
        /// Its name.
        name: String,
        /// Before, as JSON.
        old: Option<String>,
        /// Now, as JSON.
        new: Option<String>,
    },
    /// Another module of its route takes the document.
    Route {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// `each`, `all` and their like: the target has another verb.
    Shape {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// It was marked to be done again.
    Redo {
        /// The sequence number of the mark.
        mark: u64,
    },
    /// It failed, and what failed was opened again.
    Reopened {
        /// The sequence number of the mark.
        mark: u64,
    },
    /// It was over a limit that is another one now.
    Limits,
    /// It was made by a service that does not say which code it has, and is older than its `ttl`.
    Expired,
    /// The last time ended in a passing fault.
    PassingFault {
        /// The fault's summary.
        failure: String,
    },
    /// Bytes of the earlier result are gone or damaged.
    OutputLost,
    /// Members of a set came, went or changed.
    Members {
        /// Members before.
        old: u64,
        /// Members now.
        new: u64,
    },
}

/// A code file before and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Relative to the project's folder.
    pub file: String,
    /// Before; absent: it did not count.
    pub old: Option<Digest>,
    /// Now; absent: it does not count.
    pub new: Option<Digest>,
}

impl Reason {
    /// One clause for people: "the code changed: modules/ocr.py".
    pub fn words(&self) -> String {
        let change = |old: &Option<String>, new: &Option<String>| {
            let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            format!("{} → {}", show(old), show(new))
        };
        match self {
            Reason::NeverRun => "new".to_owned(),
            Reason::Input { name, .. } if name.is_empty() => "its input changed".to_owned(),
            Reason::Input { name, .. } => format!("side input `{name}` changed"),
            Reason::Fact { name, old, new } => format!("{name} changed: {}", change(old, new)),
            Reason::Code { files } => {
                let names: Vec<&str> = files.iter().map(|change| change.file.as_str()).collect();
                format!("the module's code changed: {}", names.join(", "))
            }
            Reason::Program { name, old, new } => {
                format!("the module's {name} changed: {}", change(old, new))
            }
            Reason::Param { name, old, new } => format!("parameter `{name}` changed: {}", change(old, new)),
            Reason::Shape { old, new } => format!("the target became `{new}`, was `{old}`"),
            Reason::Route { old, new } => format!("its route leads elsewhere: {old} → {new}"),
            Reason::Redo { .. } => "marked by `pipe redo`".to_owned(),
            Reason::Reopened { .. } => {
                "its failure was opened again, by `pipe retry` or since its module was stopped".to_owned()
            }
            Reason::Limits => "it was over a limit of `split` that is another one now".to_owned(),
            Reason::Expired => "its service does not say which code it has: the result is too old".to_owned(),
            Reason::PassingFault { failure } => format!("tried again after a passing fault: {failure}"),
            Reason::OutputLost => "its earlier result was damaged".to_owned(),
            Reason::Members { old, new } if old == new => "a member changed".to_owned(),
            Reason::Members { old, new } => format!("members changed: {old} → {new}"),
        }
    }
}
