//! Flags that every command has, and those that several share.

use std::path::{Path, PathBuf};

use clap::{ArgAction, ValueEnum};

use crate::project::Locate;

/// Flags of every command.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Work as if started in DIR
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(super) directory: Option<PathBuf>,

    /// Use this Pipelinefile; without it, the nearest at or above the present folder
    #[arg(short = 'f', long, value_name = "FILE", global = true)]
    pub(super) file: Option<PathBuf>,

    /// Say less: only failures, errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Say more; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// When to use colour
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "PIPE_COLOR",
        hide_env = true,
        global = true
    )]
    pub(super) color: Color,

    /// How to show progress
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        env = "PIPE_PROGRESS",
        hide_env = true,
        global = true
    )]
    pub(super) progress: Progress,

    /// How many module processes may be busy at once: a number, or a share of the cores (50%)
    #[arg(
        short,
        long,
        value_name = "N",
        env = "PIPE_JOBS",
        hide_env = true,
        value_parser = jobs,
        global = true
    )]
    pub(super) jobs: Option<usize>,

    /// This time, use a module of a server instead of the one here; without a name, all that it offers
    #[arg(long, value_name = "[MODULE=]URL", global = true)]
    pub(super) proxy: Vec<String>,

    /// Also write the event stream of builds to a file
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) events: Option<PathBuf>,

    /// Print JSON for programs: one object a line on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
}

fn jobs(text: &str) -> std::result::Result<usize, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let number = match text.strip_suffix('%') {
        Some(share) => share.parse::<usize>().map(|share| (cores * share).div_ceil(100)),
        None => text.parse(),
    };
    match number {
        Ok(0) | Err(_) => Err("a number from 1 on, or a share of the cores such as 50%".to_owned()),
        Ok(jobs) => Ok(jobs),
    }
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    /// A live block on a terminal, lines elsewhere
    #[default]
    Auto,
    /// A live block
    Bar,
    /// A line now and then
    Plain,
    /// None
    None,
}

/// `-D`, of commands that read params.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Define {
    /// Set a parameter, instead of what the Pipelinefile says
    #[arg(short = 'D', long = "define", value_name = "TARGET.NAME=VALUE")]
    pub(super) define: Vec<String>,
}

impl Global {
    /// How many module processes may be busy at once.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// A path that the command line names, as seen from where this process stands.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.directory.as_ref().map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// Where the project is, for commands that take no parameters.
    pub(super) fn locate(&self, colour: bool) -> Locate {
        self.locate_with(&Define::default(), colour)
    }

    /// Where the project is, and what `-D` says.
    pub(super) fn locate_with(&self, define: &Define, colour: bool) -> Locate {
        Locate {
            directory: self.directory.clone(),
            file: self.file.clone(),
            overrides: define.define.clone(),
            proxies: self.proxy.clone(),
            colour,
        }
    }
}
