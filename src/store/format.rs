//! `FORMAT`: the version of a store and what tells it from every other. Written once, before anything else.
//!
//! `{"pipe_store":1,"id":"<32 hex>","salt":"<16 hex>"}`. A store of another version is refused, never changed.

use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::disk::{self, Disk};
use crate::store::frame::Seal;

/// The version that is written and read.
pub const VERSION: u64 = 1;

/// What tells a store from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The store's own number, drawn when it was made.
    pub id: u128,
    /// What checksums are mixed with, so that bytes of another store are never taken for this one's.
    pub salt: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    pipe_store: u64,
    id: String,
    salt: String,
}

impl Format {
    /// Draws the numbers of a new store.
    pub fn draw() -> Result<Self> {
        let path = Path::new("/dev/urandom");
        let mut bytes = [0; 24];
        std::fs::File::open(path)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|e| Error::io("read", path, &e))?;
        let (id, salt) = bytes.split_at(16);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
        Ok(Format { id: number(id), salt: number(salt) as u64 })
    }

    /// The format of the store in `dir` (`.pipe`); nothing if there is no store yet.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("FORMAT");
        match disk::read_all(disk, &path).map_err(|e| Error::io("read", &path, &e))? {
            Some(bytes) => Self::parse(&bytes, &path).map(Some),
            None => Self::refuse_orphan(disk, dir).map(|()| None),
        }
    }

    /// The format of the store in `dir`; a new store is made if there is none.
    pub fn read_or_create(disk: &dyn Disk, dir: &Path) -> Result<Self> {
        if let Some(format) = Self::read(disk, dir)? {
            return Ok(format);
        }
        let format = Self::draw()?;
        format.create(disk, dir)?;
        Ok(format)
    }

    /// Writes `FORMAT` durably into a folder that has none.
    pub fn create(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let (path, temporary) = (dir.join("FORMAT"), dir.join("FORMAT.new"));
        let write = || {
            disk.create_dir(dir)?;
            // First the folders above: where there is a `FORMAT`, the way to it is durable.
            for above in dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                match disk.sync_dir(above) {
                    // One that we may not even read was not made by us.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
                    done => done?,
                }
            }
            disk::replace(disk, &path, &temporary, self.text().as_bytes())
        };
        write().map_err(|e| Error::io("write", &path, &e))
    }

    /// What checksums are mixed with.
    pub fn seal(&self) -> Seal {
        Seal::new(self.salt)
    }

    fn text(&self) -> String {
        let written = Written {
            pipe_store: VERSION,
            id: format!("{:032x}", self.id),
            salt: format!("{:016x}", self.salt),
        };
        serde_json::to_string(&written).expect("plain data can be written as JSON") + "\n"
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let other = "use the `pipe` that wrote it, or set `PIPE_DIR` to another folder";
        match value.get("pipe_store").and_then(serde_json::Value::as_u64) {
            Some(VERSION) => {}
            Some(version) if version > VERSION => {
                let message = format!(
                    "`{}` says format {version}, this `pipe` knows format {VERSION}: a newer one wrote the store",
                    path.display()
                );
                return Err(Error::unfinished(message).hint(other));
            }
            Some(version) => {
                let message = format!(
                    "`{}` says format {version}, this `pipe` knows format {VERSION} alone",
                    path.display()
                );
                return Err(Error::unfinished(message).hint(other));
            }
            None => return Err(Self::damaged(path)),
        }
        let format = serde_json::from_value::<Written>(value).ok().and_then(|written| {
            let id = u128::from_str_radix(&written.id, 16).ok()?;
            Some(Format { id, salt: u64::from_str_radix(&written.salt, 16).ok()? })
        });
        format.ok_or_else(|| Self::damaged(path))
    }

    fn damaged(path: &Path) -> Error {
        Error::unfinished(format!(
            "`{}` is damaged: the store beside it cannot be read without it",
            path.display()
        ))
        .hint("put the file back from a backup, or remove the whole folder to build everything again")
    }

    /// Segments without `FORMAT` cannot be told from another store's: nothing may be written beside them.
    fn refuse_orphan(disk: &dyn Disk, dir: &Path) -> Result<()> {
        let segments = dir.join("segments");
        let names = disk.list(&segments).map_err(|e| Error::io("read the folder", &segments, &e))?;
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::unfinished(format!(
            "`{}` is missing, but there are segments",
            dir.join("FORMAT").display()
        ))
        .hint("put the file back from a backup, or remove the whole folder to build everything again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    const FORMAT: Format =
        Format { id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677, salt: 0x1122_3344_5566_7788 };

    #[test]
    fn golden_text() {
        let text = r#"{"pipe_store":1,"id":"0123456789abcdef0011223344556677","salt":"1122334455667788"}"#;
        assert_eq!(FORMAT.text(), format!("{text}\n"));
        assert_eq!(Format::parse(text.as_bytes(), Path::new("FORMAT")).unwrap(), FORMAT);
    }

    #[test]
    fn a_store_is_made_once_and_keeps_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join(".pipe");
        assert_eq!(Format::read(&RealDisk, &dir).unwrap(), None);
        let made = Format::read_or_create(&RealDisk, &dir).unwrap();
        assert_eq!(Format::read_or_create(&RealDisk, &dir).unwrap(), made);
        assert_ne!(made, Format::draw().unwrap());
    }

    #[test]
    fn another_version_and_damage_are_refused_with_what_to_do() {
        let refuse = |text: &str| Format::parse(text.as_bytes(), Path::new("FORMAT")).unwrap_err();
        let newer = refuse(r#"{"pipe_store":2,"what":[]}"#);
        assert!(newer.to_string().contains("a newer one wrote the store"), "{newer}");
        assert!(!newer.hints.is_empty());
        for text in ["", "{}", r#"{"pipe_store":1}"#, r#"{"pipe_store":1,"id":"x","salt":"0"}"#] {
            assert!(refuse(text).to_string().contains("damaged"));
        }
    }

    #[test]
    fn segments_without_a_format_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        RealDisk.create_dir(&dir.path().join("segments")).unwrap();
        RealDisk.create(&dir.path().join("segments/000001.seg")).unwrap();
        let error = Format::read_or_create(&RealDisk, dir.path()).unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error}");
    }
}
