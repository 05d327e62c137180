//! `pipe completions`: scripts that let a shell complete commands and flags.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::error::Result;

/// Print a script that lets a shell complete `pipe` commands and flags
///
/// bash: pipe completions bash > ~/.local/share/bash-completion/completions/pipe
/// zsh:  pipe completions zsh > "${fpath[1]}/_pipe"
/// fish: pipe completions fish > ~/.config/fish/completions/pipe.fish
#[allow(rustdoc::broken_intra_doc_links, reason = "brackets of zsh, which the help shows as they are")]
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

impl Args {
    pub(super) fn run(&self, out: &mut Output) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "pipe", &mut script);
        out.bytes(&script)?;
        Ok(Exit::FINE)
    }
}
