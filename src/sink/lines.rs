//! Events as JSON lines at the end of a file, for whatever follows files: Promtail, Vector, Filebeat.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Outlet, Sent, Told};
use crate::report::event_line;

/// A file that grows.
pub(super) struct File {
    path: PathBuf,
    file: Option<std::fs::File>,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        File { path, file: None }
    }
}

impl Outlet for File {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        Sent::whole(messages.len(), self.write(messages))
    }
}

impl File {
    fn write(&mut self, messages: &[Arc<Told>]) -> io::Result<()> {
        let mut lines = Vec::new();
        for told in messages {
            event_line(told.at, told.run, &told.event, &mut lines);
        }
        if self.file.is_none() {
            self.file = Some(std::fs::File::options().create(true).append(true).open(&self.path)?);
        }
        match &mut self.file {
            Some(file) => file.write_all(&lines),
            None => Ok(()),
        }
    }
}
