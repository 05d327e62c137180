//! Asking the owner of a store.

use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::query::Tell;
use crate::socket::wire::{Folder, NAME, Reply, Request, read_reply, request_line};

/// Asks whoever serves the store in `dir`. False if nobody says within `patience` that it is there; then nothing was
/// told.
pub fn ask(dir: &Path, request: &Request, patience: Duration, tell: &mut Tell<'_>) -> Result<bool> {
    let failed = |e: &std::io::Error| Error::io("ask at", &dir.join(NAME), e);
    let folder = match Folder::open(dir) {
        Ok(folder) => folder,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed(&e)),
    };
    let stream = match UnixStream::connect(folder.path(NAME)) {
        Ok(stream) => stream,
        Err(e) if is_nobody(&e) => return Ok(false),
        Err(e) => return Err(failed(&e)),
    };
    // An owner that is stopped takes the connection but says nothing.
    let timeout = Some(patience.max(Duration::from_millis(1)));
    stream
        .set_read_timeout(timeout)
        .and_then(|()| stream.set_write_timeout(timeout))
        .map_err(|e| failed(&e))?;
    match (&stream).write_all(&request_line(request)?) {
        Ok(()) => {}
        Err(e) if is_nobody(&e) => return Ok(false),
        Err(e) => return Err(failed(&e)),
    }
    let mut lines = BufReader::new(&stream);
    match read_reply(&mut lines) {
        Ok(Some(Reply::Hello)) => {}
        Ok(Some(Reply::Failed(error))) => return Err(error),
        Ok(_) => return Ok(false),
        Err(e) if is_nobody(&e) => return Ok(false),
        Err(e) => return Err(failed(&e)),
    }
    // It is at it: an answer over a million documents takes its time.
    stream.set_read_timeout(None).map_err(|e| failed(&e))?;
    loop {
        match read_reply(&mut lines).map_err(|e| failed(&e))? {
            Some(Reply::Hello) => {}
            Some(Reply::Part(part)) => tell(*part)?,
            Some(Reply::Failed(error)) => return Err(error),
            Some(Reply::End) => return Ok(true),
            None => {
                return Err(
                    Error::unfinished("the build ended before the answer was whole").hint("ask again")
                );
            }
        }
    }
}

/// Whether anybody serves the store in `dir`.
pub fn is_served(dir: &Path) -> bool {
    Folder::open(dir).and_then(|folder| UnixStream::connect(folder.path(NAME))).is_ok()
}

fn is_nobody(e: &std::io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::WouldBlock
            | ErrorKind::TimedOut
    )
}
