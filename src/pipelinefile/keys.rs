//! Every key of the language, by the table that it stands in. The example and the reference page name them all.

/// Tables of the whole file.
pub(super) const FILE: &[&str] = &["source", "target", "module", "log", "notify"];
/// `[source.x]`.
pub(super) const SOURCE: &[&str] = &["path", "include", "exclude", "rows"];
/// `[target.x]`, besides [`SETTINGS`].
pub(super) const TARGET: &[&str] = &[
    "each", "all", "group", "split", "reduce", "by", "missing", "with", "where", "route", "module", "cmd",
    "shell", "inputs", "params", "sees", "publish", "ext", "hold", "min_done", "default", "version", "code",
    "probe",
];
/// `[module.x]`, besides [`SETTINGS`].
pub(super) const MODULE: &[&str] = &[
    "cmd",
    "shell",
    "url",
    "token",
    "ttl",
    "image",
    "network",
    "requirements",
    "version",
    "code",
    "probe",
    "inputs",
    "params",
];
/// Plain keys of modules and targets.
pub(super) const SETTINGS: &[&str] = &[
    "timeout", "retries", "memory", "workers", "batch", "rate", "gpu", "secrets", "env", "budget", "max_fail",
];
/// `publish = {…}`.
pub(super) const PUBLISH: &[&str] = &["path", "index", "content", "stale"];
/// `with = { name = {…} }`.
pub(super) const WITH: &[&str] = &["from", "on", "missing", "many"];
/// A branch of `route`.
pub(super) const BRANCH: &[&str] = &["where", "module", "do"];
/// `budget = {…}`.
pub(super) const BUDGET: &[&str] = &["usd"];

/// `[log]`.
pub(super) const LOG: &[&str] = &["to"];
/// `[notify]`.
pub(super) const NOTIFY: &[&str] = &["on", "cmd", "url"];

/// What newcomers write, and what it is called here.
pub(super) const OTHER_NAMES: [(&str, &str); 14] = [
    ("needs", "each"),
    ("input", "each"),
    ("inputs", "each"),
    ("foreach", "each"),
    ("command", "cmd"),
    ("run", "shell"),
    ("script", "shell"),
    ("function", "module"),
    ("output", "publish"),
    ("filter", "where"),
    ("args", "params"),
    ("dir", "path"),
    ("folder", "path"),
    ("ignore", "exclude"),
];

/// All keys with the table that each stands in, for tests of the example and the reference page.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tables = [
        ("source", SOURCE),
        ("target", TARGET),
        ("target", SETTINGS),
        ("module", MODULE),
        ("module", SETTINGS),
        ("publish", PUBLISH),
        ("with", WITH),
        ("route", BRANCH),
        ("budget", BUDGET),
        ("log", LOG),
        ("notify", NOTIFY),
    ];
    tables.into_iter().flat_map(|(table, keys)| keys.iter().map(move |key| (table, *key)))
}
