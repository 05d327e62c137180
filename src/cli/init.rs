//! `pipe init`: a small pipeline that builds at once.

use std::path::Path;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::fs;
use crate::pipelinefile::{FILE_NAME, discover};

/// What is written, besides the Pipelinefile.
const FILES: [(&str, &str); 4] = [
    ("modules/words.py", include_str!("init/words.py")),
    ("inbox/lighthouse.txt", include_str!("init/lighthouse.txt")),
    ("inbox/river.txt", include_str!("init/river.txt")),
    ("inbox/notes/tea.md", include_str!("init/tea.md")),
];

/// Write a first Pipelinefile with a module and three documents; it builds at once
///
/// Writes into the present folder, or that of -C. Files that are there already are left as they are.
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run alike")]
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        if global.file.is_some() {
            return Err(Error::usage("`pipe init` writes no other file than the Pipelinefile")
                .hint("pipe -C DIR init     writes it into another folder"));
        }
        let folder = global.directory.as_deref().unwrap_or(Path::new("."));
        let file = folder.join(FILE_NAME);
        if file.symlink_metadata().is_ok() {
            return Err(Error::usage(format!("there is a {FILE_NAME} already: `{}`", file.display()))
                .hint("pipe check           reads it"));
        }
        if !folder.is_dir() {
            return Err(Error::usage(format!("there is no folder `{}`", folder.display())));
        }
        let above = discover(folder);
        let mut written = Vec::new();
        for (name, text) in FILES {
            let path = folder.join(name);
            if path.symlink_metadata().is_ok() {
                out.warning(format!("`{name}` is there already and is left as it is"));
                continue;
            }
            fs::write_new(&path, text.as_bytes())?;
            written.push(name);
        }
        // Last: as long as it is missing, `pipe init` can be called again.
        fs::write_new(&file, include_str!("init/Pipelinefile").as_bytes())?;
        written.insert(0, FILE_NAME);
        if let Some(above) = above {
            out.warning(format!(
                "there is another one above, which does not know of it: `{}`",
                above.display()
            ));
        }
        out.say(format!("Wrote {}", written.join(", ")));
        out.hint("pipe check     reads it");
        out.hint("pipe graph     shows it");
        Ok(Exit::FINE)
    }
}
