//! The store of another project, to read from: its log as it is on disk now, all that is derived from it in memory.
//!
//! Takes no lock and writes nothing, so its owner may build meanwhile: what is seen is what was finished by then.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher};
use crate::store::disk::{AsideDisk, Disk, RealDisk};
use crate::store::facade::Store;
use crate::store::format::Format;
use crate::store::index::Engine;
use crate::store::opening::{Derived, Setup};

impl Store {
    /// Opens the store of somebody else; nothing if there is none. Reads its log once.
    pub fn open_aside(dir: &Path) -> Result<Option<Arc<Store>>> {
        let disk: Arc<dyn Disk> = Arc::new(AsideDisk::default());
        if Format::read(&*disk, dir)?.is_none() {
            return Ok(None);
        }
        let setup = Setup {
            index: Some((Arc::clone(&disk), dir.join("index-aside"))),
            disk,
            engine: Engine::Plain,
            background: false,
            ..Setup::real()
        };
        Ok(Some(Self::open_locked(&setup, dir, None, Derived::Anew)?.0))
    }

    /// What changes whenever anything is recorded in the store of somebody else; nothing if there is none.
    pub fn state_aside(dir: &Path) -> Result<Option<Digest>> {
        let Some(format) = Format::read(&RealDisk, dir)? else { return Ok(None) };
        let segments = dir.join("segments");
        let failed = |e: &std::io::Error| Error::io("read the folder", &segments, e);
        let mut names = RealDisk.list(&segments).map_err(|e| failed(&e))?;
        names.sort();
        let mut hasher = FieldHasher::new("pipe state of a log");
        hasher.text(&format!("{:032x}", format.id)).number(names.len() as u64);
        for name in names {
            let size = RealDisk.size(&segments.join(&name)).map_err(|e| failed(&e))?;
            hasher.text(&name).number(size);
        }
        Ok(Some(hasher.finish()))
    }
}
