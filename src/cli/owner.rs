//! Owning the store for the time of a command, and answering others meanwhile.

use std::sync::Arc;

use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::store::{Opening, Store};

/// Opens the project's store, or says who has it.
pub(super) fn open(project: &Project, out: &mut Output) -> Result<Arc<Store>> {
    match Store::open(&project.store_dir)? {
        Opening::Opened(store, notices) => {
            for notice in notices {
                out.warning(notice);
            }
            Ok(store)
        }
        Opening::Held(holder) => {
            let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            Err(Error::unfinished(format!("another pipe works in this project{who}"))
                .hint("pipe status    asks it how far it is")
                .hint("wait for it, or stop it with Ctrl-C; what it has done is kept"))
        }
    }
}

/// Answers questions of other processes for as long as this lives.
pub(super) struct Serving;

/// Begins to answer.
pub(super) fn serve(_project: &Project, _store: &Arc<Store>) -> Result<Serving> {
    Ok(Serving)
}

impl Serving {
    /// Answers no more.
    pub(super) fn end(self) {}
}
