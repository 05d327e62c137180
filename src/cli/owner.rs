//! Owning the store for the time of a command, and answering others meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::cli::output::Output;
use crate::engine::board::Board;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::socket::{self, Server};
use crate::store::{Opening, Store};

/// Opens the project's store, or says who has it.
pub(super) fn open(project: &Project, out: &mut Output) -> Result<Arc<Store>> {
    let (store, notices) = take(project, || {
        Ok(match Store::open(&project.store_dir)? {
            Opening::Opened(store, notices) => Ok((store, notices)),
            Opening::Held(holder) => Err(holder),
        })
    })?;
    for notice in notices {
        out.warning(notice);
    }
    Ok(store)
}

/// Takes the store by `attempt`, which gives it or who has it. A question has it for milliseconds: that is waited for.
pub(super) fn take<T>(
    project: &Project,
    mut attempt: impl FnMut() -> Result<std::result::Result<T, Option<String>>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        let holder = match attempt()? {
            Ok(taken) => return Ok(taken),
            Err(holder) => holder,
        };
        // Who serves is at work; who does not may be done in a moment.
        if socket::is_served(&project.store_dir) || began.elapsed() >= socket::PATIENCE {
            if let Some(pid) = holder.as_deref().and_then(|holder| holder.strip_suffix(" pipe watch")) {
                return Err(Error::unfinished(format!("`pipe watch` (process {pid}) has this project"))
                    .hint("it builds whatever changes by itself: pipe status    asks it how things stand")
                    .hint("end it with Ctrl-C where it runs, and try again; what it has done is kept"));
            }
            let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            return Err(Error::unfinished(format!("another pipe works in this project{who}"))
                .hint("pipe status    asks it how far it is")
                .hint("wait for it, or stop it with Ctrl-C; what it has done is kept"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Answers questions of other processes for as long as the server lives. `idle`: nothing is built just now.
pub(super) fn serve(
    project: &Project,
    store: &Arc<Store>,
    idle: &Arc<AtomicBool>,
    board: &Arc<Board>,
) -> Result<Server> {
    socket::serve(store, &Arc::new(project.pipeline().clone()), project.loaded.digest, idle, board, false)
}

/// The same while the store is collected.
pub(super) fn serve_collecting(project: &Project, store: &Arc<Store>) -> Result<Server> {
    let idle = Arc::new(AtomicBool::new(false));
    let board = Arc::default();
    socket::serve(store, &Arc::new(project.pipeline().clone()), project.loaded.digest, &idle, &board, true)
}
