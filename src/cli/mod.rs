//! The command line: flags to calls, results to text. The owner of clap, anstream, signal-hook and the diagnostics.
//!
//! One command is one file: its struct's documentation is its help, `run` does it. A new command is that file and one
//! line each in [`Command`] and [`Command::run`]. Whatever a command finds out it asks of the ranks below; here it is only shown.

pub mod exit;
mod failed;

mod accept;
mod ask;
mod build;
mod cat;
mod check;
mod completions;
mod conform;
mod diff;
mod doctor;
mod events;
mod export;
mod gate;
mod gc;
mod global;
mod graph;
mod init;
mod interrupt;
mod log;
mod ls;
mod modules;
mod new_module;
mod output;
mod owner;
mod publish;
mod redo;
mod report;
mod repro;
mod retry;
mod select;
mod serve;
mod status;
mod test;
mod trial;
mod watch;
mod which;
mod why;

#[cfg(test)]
mod reference;

use std::ffi::OsString;
use std::panic::PanicHookInfo;

use clap::{CommandFactory, Parser};

use crate::error::Result;
use crate::{env, store};
use exit::Exit;
use global::Global;
use output::Output;

/// Commands of every day, in the order in which `pipe` alone shows them; those that there are.
const DAILY: &[&str] =
    &["build", "watch", "status", "log", "why", "ls", "failed", "retry", "redo", "try", "check", "init"];

/// Make for documents: brings a pipeline of modules over documents up to date, and redoes only what changed.
#[derive(Parser)]
#[command(name = "pipe", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_long_help = exit_codes())]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Every command, in the order of the help.
#[derive(clap::Subcommand)]
enum Command {
    Build(build::Args),
    Watch(watch::Args),
    Retry(retry::Args),
    Redo(redo::Args),
    Accept(accept::Args),
    #[command(name = "try")]
    Trial(trial::Args),
    Test(test::Args),
    Repro(repro::Args),
    Status(status::Args),
    Failed(failed::Args),
    Log(log::Args),
    Report(report::Args),
    Why(why::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Export(export::Args),
    Publish(publish::Args),
    Check(check::Args),
    Modules(modules::Args),
    NewModule(new_module::Args),
    Conform(conform::Args),
    Serve(serve::Args),
    Graph(graph::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Gc(gc::Args),
    Completions(completions::Args),
}

impl Command {
    fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        match self {
            Command::Build(args) => args.run(global, out),
            Command::Watch(args) => args.run(global, out),
            Command::Retry(args) => args.run(global, out),
            Command::Redo(args) => args.run(global, out),
            Command::Accept(args) => args.run(global, out),
            Command::Trial(args) => args.run(global, out),
            Command::Test(args) => args.run(global, out),
            Command::Repro(args) => args.run(global, out),
            Command::Status(args) => args.run(global, out),
            Command::Failed(args) => args.run(global, out),
            Command::Log(args) => args.run(global, out),
            Command::Report(args) => args.run(global, out),
            Command::Why(args) => args.run(global, out),
            Command::Ls(args) => args.run(global, out),
            Command::Cat(args) => args.run(global, out),
            Command::Export(args) => args.run(global, out),
            Command::Publish(args) => args.run(global, out),
            Command::Check(args) => args.run(global, out),
            Command::Modules(args) => args.run(global, out),
            Command::NewModule(args) => args.run(global, out),
            Command::Conform(args) => args.run(global, out),
            Command::Serve(args) => args.run(global, out),
            Command::Graph(args) => args.run(global, out),
            Command::Init(args) => args.run(global, out),
            Command::Doctor(args) => args.run(global, out),
            Command::Gc(args) => args.run(global, out),
            Command::Completions(args) => args.run(out),
        }
    }
}

/// Runs a command line; how the process is to end. May be called more than once in a process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let json = arguments.iter().any(|argument| argument == "--json");
            output::usage(&error, json);
            return Exit::USAGE;
        }
        Err(help) => {
            output::help(&help);
            return Exit::FINE;
        }
    };
    begin_diagnostics();
    interrupt::survive_file_limits();
    let mut out = Output::new(&cli.global);
    let ended = match &cli.command {
        Some(command) => command.run(&cli.global, &mut out),
        None => show_daily(&mut out),
    };
    // An error of the command tells more than one of the last write.
    match ended.and_then(|exit| out.flush().map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => {
            out.error(&error);
            drop(out.flush());
            Exit(error.kind.exit_code())
        }
    }
}

/// What becomes of the process after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPanic {
    /// It is caught and answered: go on.
    GoOn,
    /// End with [`Exit::BUG`].
    End,
    /// End at once, without a word to any other thread: what it was writing must not be taken for written.
    Abort,
}

/// Tells of a panic. For the panic hook.
pub fn report_panic(panic: &PanicHookInfo<'_>) -> AfterPanic {
    if store::index::panics_are_caught() {
        return AfterPanic::GoOn;
    }
    let payload = panic.payload();
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("a panic without words");
    let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
    output::bug(&format!("{said}{}", place.unwrap_or_default()));
    // The name that `store::log` gives to the thread that writes the log.
    let commits = std::thread::current().name() == Some("commit");
    if commits { AfterPanic::Abort } else { AfterPanic::End }
}

/// `PIPE_LOG`: what `pipe` says of its own inside, on stderr.
fn begin_diagnostics() {
    let Some(filter) = env::log_filter() else { return };
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It is set already where `run` is called twice.
    drop(subscriber.with_ansi(false).try_init());
}

fn show_daily(out: &mut Output) -> Result<Exit> {
    let cli = Cli::command();
    let commands = || DAILY.iter().filter_map(|name| cli.find_subcommand(name));
    let usage = |command: &clap::Command| command.get_name().to_owned();
    let width = commands().map(|command| usage(command).len()).max().unwrap_or_default();
    out.line("pipe is Make for documents. Every day:\n")?;
    for command in commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        out.line(format!("  pipe {:width$}  {about}", usage(command)))?;
    }
    out.line("\npipe --help: all commands and flags; pipe COMMAND --help: one of them")?;
    Ok(Exit::FINE)
}

fn exit_codes() -> String {
    let lines = Exit::ALL.iter().map(|(exit, what)| format!("  {:>3}  {what}", exit.0));
    let lines: Vec<String> = lines.collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_in_one_line() {
        for command in Cli::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(!about.is_empty() && about.len() <= 80 && !about.ends_with('.'), "{name}: {about}");
        }
    }

    #[test]
    fn flags_stay_few() {
        let flags = |command: &clap::Command| {
            command.get_opts().filter(|flag| !flag.is_global_set() && !flag.is_hide_set()).count()
        };
        let cli = Cli::command();
        assert!(cli.get_opts().count() <= 15);
        for command in cli.get_subcommands() {
            assert!(flags(command) <= 10, "{}", command.get_name());
        }
    }
}
