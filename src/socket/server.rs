//! Answering at the socket of a store that is ours.

use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::query::Tell;
use crate::socket::wire::{Folder, NAME, Reply, Request, read_request, write_reply};
use crate::sys;

/// Answers a request, part by part. Called from several threads.
pub type Answerer = Arc<dyn Fn(&Request, &mut Tell<'_>) -> Result<()> + Send + Sync>;

/// An asker that does not read, or does not ask, is given up after this.
const STALLED: Duration = Duration::from_secs(10);

/// At the end, askers are waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// So many are answered at once; more are sent away and try again.
const MOST: usize = 32;

/// Answers until it is dropped; then the socket is gone.
pub struct Server {
    file: PathBuf,
    listener: Arc<UnixListener>,
    ended: Arc<AtomicBool>,
    busy: Arc<Busy>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Busy {
    count: Mutex<usize>,
    less: Condvar,
}

impl Server {
    /// Serves the store in `dir`, whose lock is ours: a socket that lies there is nobody's.
    pub fn start(dir: &Path, answer: Answerer) -> Result<Server> {
        let file = dir.join(NAME);
        let failed = |e: &std::io::Error| Error::io("serve at", &file, e);
        let folder = Folder::open(dir).map_err(|e| failed(&e))?;
        // Made under another name, so that nobody reaches it before it is only ours.
        let new = format!("{NAME}.new");
        crate::fs::remove_file(&dir.join(&new))?;
        let listener = UnixListener::bind(folder.path(&new)).map_err(|e| failed(&e))?;
        std::fs::set_permissions(dir.join(&new), std::fs::Permissions::from_mode(0o600))
            .map_err(|e| failed(&e))?;
        std::fs::rename(dir.join(&new), &file).map_err(|e| failed(&e))?;
        let (ended, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(Busy::default()));
        let listener = Arc::new(listener);
        let (asked, end, at_work) = (Arc::clone(&listener), Arc::clone(&ended), Arc::clone(&busy));
        let thread = std::thread::Builder::new()
            .name("socket".into())
            .spawn(move || listen(&asked, &answer, &end, &at_work))
            .map_err(|e| failed(&e))?;
        Ok(Server { file, listener, ended, busy, thread: Some(thread) })
    }
}

impl Server {
    /// Answers no more, after what is being answered now.
    pub fn end(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for askers, also where descriptors are used up or somebody removed the socket.
        if let Err(error) = sys::stop_listening(&self.listener) {
            tracing::debug!(%error, "the socket cannot be closed");
            self.thread = None;
        }
        if let Err(error) = crate::fs::remove_file(&self.file) {
            tracing::debug!(%error, "the socket stays; the next owner replaces it");
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let count = self.busy.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.busy.less.wait_timeout_while(count, LAST_WORDS, |count| *count > 0));
    }
}

fn listen(listener: &UnixListener, answer: &Answerer, ended: &AtomicBool, busy: &Arc<Busy>) {
    for stream in listener.incoming() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, for example: askers try again.
                tracing::debug!(%error, "an asker could not be let in");
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let Some(place) = Busy::enter(busy) else { continue };
        let answer = Arc::clone(answer);
        let begun = std::thread::Builder::new().name("answer".into()).spawn(move || {
            let _place = place;
            if let Err(error) = reply(&stream, &answer) {
                tracing::debug!(%error, "an asker went away");
            }
        });
        if let Err(error) = begun {
            tracing::debug!(%error, "an asker was sent away");
        }
    }
}

fn reply(stream: &UnixStream, answer: &Answerer) -> Result<()> {
    let failed = |e: &std::io::Error| Error::unfinished("the socket does not work").caused_by(e);
    stream.set_read_timeout(Some(STALLED)).map_err(|e| failed(&e))?;
    stream.set_write_timeout(Some(STALLED)).map_err(|e| failed(&e))?;
    let mut out = BufWriter::new(stream);
    let request = match read_request(BufReader::new(stream)) {
        Ok(request) => request,
        Err(error) => {
            write_reply(&mut out, Reply::Failed(error))?;
            return out.flush().map_err(|e| failed(&e));
        }
    };
    write_reply(&mut out, Reply::Hello)?;
    out.flush().map_err(|e| failed(&e))?;
    let answered = answer(&request, &mut |part| write_reply(&mut out, Reply::Part(Box::new(part))));
    let last = answered.map_or_else(Reply::Failed, |()| Reply::End);
    write_reply(&mut out, last)?;
    out.flush().map_err(|e| failed(&e))
}

/// Counts one asker for as long as it lives.
struct Taken(Arc<Busy>);

impl Busy {
    fn enter(busy: &Arc<Busy>) -> Option<Taken> {
        let mut count = busy.count.lock().unwrap_or_else(PoisonError::into_inner);
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Taken(Arc::clone(busy)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.less.notify_all();
    }
}
