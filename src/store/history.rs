//! What there is of one run: its frames, read from the log in the order in which they were written, and the Pipelinefile
//! that it ran.
//!
//! Knows which stretch of the log a run is; nothing of what its records mean.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::Position;
use crate::store::facade::Store;
use crate::store::frame::{Frame, Kind};
use crate::store::recover::Reading;

impl Store {
    /// Visits the records and stories of a run that are on disk, in order. What is damaged is left out: `pipe doctor`
    /// is who tells of it.
    pub fn visit_run(&self, number: u32, visit: &mut dyn FnMut(Position, Frame) -> Result<()>) -> Result<()> {
        let places = self.run_frames()?;
        let Some(at) = places.iter().position(|(_, run)| run.number == number) else { return Ok(()) };
        let end = self.synced();
        let first = places[at].0.segment();
        let last = places.get(at + 1).map_or(end, |(next, _)| *next).segment();
        let reading = Reading::new(self.log.segments(), end)?;
        let mut result = Ok(());
        for (segment, _) in reading.segments()? {
            if segment < first || segment > last {
                continue;
            }
            reading.walk(segment, &mut |place, frame| {
                let is_its = place.header.run == number && matches!(frame.kind, Kind::Act | Kind::Story);
                if is_its
                    && result.is_ok()
                    && let Some(decoded) = frame.decode()
                {
                    result = visit(frame.position, decoded);
                }
            })?;
        }
        result
    }
}

/// The folder of the Pipelinefiles that ran, a file each, named by its digest.
pub(super) const PIPELINEFILES: &str = "pipelinefiles";

fn place_of(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join(PIPELINEFILES).join(digest.hex())
}

impl Store {
    /// Keeps the text of a Pipelinefile that is about to run. It may be lost: no result depends on it.
    pub fn keep_pipelinefile(&self, digest: &Digest, text: &str) {
        let place = place_of(&self.dir, digest);
        if place.exists() {
            return;
        }
        let temporary = self.tmp().join(format!("pipelinefile-{}", digest.short()));
        let folder = self.dir.join(PIPELINEFILES);
        let kept = crate::fs::create_dir(&folder)
            .and_then(|()| crate::fs::replace(&place, &temporary, text.as_bytes()));
        if let Err(error) = kept {
            tracing::warn!(%error, "the Pipelinefile of this run could not be kept");
        }
    }
}

/// The text of a Pipelinefile that ran, from the store in `dir`; nothing if it was not kept, or is not what it was.
pub fn kept_pipelinefile(dir: &Path, digest: &Digest) -> Result<Option<String>> {
    let bytes = crate::fs::read_optional(&place_of(dir, digest))?;
    let bytes = bytes.filter(|bytes| Digest::of(bytes) == *digest);
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Opening;

    #[test]
    fn a_pipelinefile_is_kept_once_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let Opening::Opened(store, _) = Store::open(folder.path()).unwrap() else { panic!("it is held") };
        let digest = Digest::of(b"[source.a]");
        store.keep_pipelinefile(&digest, "[source.a]");
        store.keep_pipelinefile(&digest, "[source.a]");
        assert_eq!(kept_pipelinefile(folder.path(), &digest).unwrap().as_deref(), Some("[source.a]"));
        assert_eq!(kept_pipelinefile(folder.path(), &Digest::of(b"b")).unwrap(), None);
        crate::fs::write_scratch(&place_of(folder.path(), &digest), b"other").unwrap();
        assert_eq!(kept_pipelinefile(folder.path(), &digest).unwrap(), None);
    }
}
