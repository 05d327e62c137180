//! The owner's socket: who finds the store taken asks the process that has it.
//!
//! `.pipe/socket`, one question a connection, JSON lines. A build serves it; short commands take the lock for their
//! milliseconds and serve nobody. `docs/design/socket.md` has the lines. Knows what a question is, not how it is
//! answered or shown.
//!
//! In this order, imports point to the left: `wire` · `client`, `server`.

mod client;
mod server;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::engine::board::Board;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::pipeline::Pipeline;
use crate::query::{self, Asked, Question, Tell};
use crate::store::{Opening, Store};

pub use client::{ask, is_served};
pub use server::{Answerer, Server};
pub use wire::{Request, VERSION};

/// How long the owner may take to say that it is there.
pub const PATIENCE: Duration = Duration::from_secs(2);

const AGAIN: Duration = Duration::from_millis(20);

/// Where a question is asked.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The pipeline as the asker read it.
    pub pipeline: &'a Pipeline,
    /// The digest of the Pipelinefile.
    pub pipelinefile: Digest,
    /// The store's folder.
    pub store_dir: &'a Path,
    /// Where the asker stands.
    pub here: &'a Path,
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// This process, which had the store for that long; with what should be said of the store.
    Here(Vec<String>),
    /// The process that has it: a build runs.
    ByOwner,
}

/// Answers for a process that builds or collects, until the server is dropped; while `idle` it waits for something to build.
pub fn serve(
    store: &Arc<Store>,
    pipeline: &Arc<Pipeline>,
    pipelinefile: Digest,
    idle: &Arc<AtomicBool>,
    board: &Arc<Board>,
    collecting: bool,
) -> Result<Server> {
    let (of, pipeline, idle) = (Arc::clone(store), Arc::clone(pipeline), Arc::clone(idle));
    let board = Arc::clone(board);
    let answer: Answerer = Arc::new(move |request, tell| {
        let (pipeline, store, here) = (&*pipeline, &of, request.here.as_path());
        let idle = idle.load(Ordering::Relaxed);
        let board = Some(&*board);
        let asked = Asked { pipeline, pipelinefile, store, here, building: true, idle, collecting, board };
        query::answer(&asked, &request.question, tell)
    });
    Server::start(store.dir(), answer)
}

/// Opens the store and answers; while another process has it, asks that one.
pub fn ask_or_open(place: &Place<'_>, question: &Question, tell: &mut Tell<'_>) -> Result<Answered> {
    if !place.store_dir.join("FORMAT").exists() {
        return Err(Error::no_match("nothing was built here yet").hint("pipe build"));
    }
    let began = Instant::now();
    loop {
        let holder = match Store::open(place.store_dir)? {
            Opening::Opened(store, notices) => {
                let Place { pipeline, pipelinefile, here, .. } = *place;
                let asked = Asked {
                    pipeline,
                    pipelinefile,
                    store: &store,
                    here,
                    building: false,
                    idle: false,
                    collecting: false,
                    board: None,
                };
                let answered = query::answer(&asked, question, tell);
                let closed = store.close();
                return answered.and(closed).map(|()| Answered::Here(notices));
            }
            Opening::Held(holder) => holder,
        };
        let request = Request { here: place.here.to_owned(), question: question.clone() };
        let left = PATIENCE.saturating_sub(began.elapsed());
        if !left.is_zero() && ask(place.store_dir, &request, left, tell)? {
            return Ok(Answered::ByOwner);
        }
        if began.elapsed() >= PATIENCE {
            return Err(taken(holder.as_deref()));
        }
        std::thread::sleep(AGAIN);
    }
}

/// The store belongs to another process, which does not answer.
pub fn taken(holder: Option<&str>) -> Error {
    let by = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let error = Error::unfinished(format!("the store is in use by {by}, which does not answer"));
    match holder {
        Some(pid) => error.hint(format!("ps -p {pid}      says what it is; the store is free when it ends")),
        None => error.hint("try again when it has ended"),
    }
}
