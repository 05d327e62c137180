//! The page `docs/reference/cli.md`, made from the commands themselves; a test fails where it is not up to date.

#![expect(clippy::disallowed_methods, reason = "a test reads its switch and writes its page")]

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

fn page() -> String {
    let mut cli = super::Cli::command();
    cli.build();
    let mut page = String::from(
        "# The command line\n\n\
         Made from the commands themselves: `UPDATE_REFERENCE=1 cargo test --lib cli::reference`. \
         What they end with: `exit-codes.md`; variables of the environment: `environment.md`.\n\n\
         `pipe` alone shows the commands of every day. Data goes to stdout, talk to stderr. With `--json` stdout has one \
         JSON object a line, each with its `type` and the version `v` of its form; an error is an object of type `error` \
         with `exit`, `message`, `causes` and `hints`.\n\n## Flags of every command\n\n",
    );
    flags(&mut page, &cli, |_| true);
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut page, command);
    }
    page
}

fn section(page: &mut String, command: &Command) {
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut usage = format!("pipe {} [OPTIONS]", command.get_name());
    for place in command.get_positionals() {
        let name = place.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let more = if place.get_num_args().is_some_and(|range| range.max_values() > 1) { "…" } else { "" };
        let shown = if place.is_required_set() { format!("{name}{more}") } else { format!("[{name}]{more}") };
        write!(usage, " {shown}").unwrap();
    }
    write!(page, "\n## `pipe {}`\n\n```\n{usage}\n```\n\n{}\n", command.get_name(), text.trim_end()).unwrap();
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg)).collect();
    if !own.is_empty() {
        page.push('\n');
        flags(page, command, is_own);
    }
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn flags(page: &mut String, command: &Command, shown: impl Fn(&Arg) -> bool) {
    page.push_str("| | |\n|---|---|\n");
    for arg in command.get_arguments().filter(|arg| shown(arg)) {
        let value = arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str);
        let value = value.filter(|_| arg.get_action().takes_values()).unwrap_or_default();
        let names =
            [arg.get_short().map(|c| format!("-{c}")), arg.get_long().map(|long| format!("--{long}"))];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let shown = if names.is_empty() { value.to_owned() } else { format!("{} {value}", names.join(", ")) };
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut help = help.replace('\n', " ");
        let words: Vec<String> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if !words.is_empty() && arg.get_action().takes_values() {
            write!(help, ": {}", words.join(", ")).unwrap();
        }
        if let Some(default) = arg.get_default_values().first().filter(|_| arg.get_action().takes_values()) {
            write!(help, "; default `{}`", default.to_string_lossy()).unwrap();
        }
        if let Some(variable) = arg.get_env() {
            write!(help, "; also `{}`", variable.to_string_lossy()).unwrap();
        }
        writeln!(page, "| `{}` | {} |", shown.trim(), help.replace('|', "\\|")).unwrap();
    }
}

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");
    let page = page();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap();
    assert!(
        stored == page,
        "docs/reference/cli.md is not what the commands say: UPDATE_REFERENCE=1 cargo test --lib cli::reference"
    );
}
