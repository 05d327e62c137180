//! Where an export lies: written beside its place and renamed into it when it is whole, or gone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that is not in its place yet; dropped before that, it is removed.
pub(super) struct Unplaced {
    /// Where it will lie; nothing for one that only serves.
    full: Option<PathBuf>,
    temporary: PathBuf,
}

impl Unplaced {
    /// For a place; the folders above it are made.
    pub(super) fn at(full: &Path) -> Result<Self> {
        let folder = match full.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        crate::fs::create_dir(folder)?;
        let digest = crate::hash::Digest::of(full.file_name().unwrap_or_default().as_encoded_bytes()).hex();
        let name = format!(".pipe-export-{}-{}", &digest[..16], std::process::id());
        Ok(Unplaced { full: Some(full.to_owned()), temporary: folder.join(name) })
    }

    /// For lines that are read once more: beside the place, or with what is temporary.
    pub(super) fn spool(beside: Option<&Path>) -> Result<Self> {
        match beside {
            Some(full) => {
                let spool = Unplaced::at(full)?;
                let temporary = PathBuf::from(format!("{}-lines", spool.temporary.display()));
                Ok(Unplaced { full: None, temporary })
            }
            None => {
                let name = format!("pipe-export-{}-lines", std::process::id());
                Ok(Unplaced { full: None, temporary: std::env::temp_dir().join(name) })
            }
        }
    }

    /// Where it is written.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// A new file there, which nobody else writes.
    pub(super) fn create(&self) -> Result<File> {
        crate::fs::remove_file(&self.temporary)?;
        let file = File::options().read(true).write(true).create_new(true).open(&self.temporary);
        file.map_err(|e| Error::io("create", &self.temporary, &e))
    }

    /// Puts it into its place.
    pub(super) fn place(self) -> Result<()> {
        let Some(full) = &self.full else { return Ok(()) };
        let synced = File::open(&self.temporary).and_then(|file| file.sync_all());
        synced.map_err(|e| Error::io("write", full, &e))?;
        std::fs::rename(&self.temporary, full).map_err(|e| Error::io("write", full, &e))
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        // What cannot be removed is no worse than a kill.
        drop(crate::fs::remove_file(&self.temporary));
    }
}
