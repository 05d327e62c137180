//! A file for each document, named as `publish = true` names them, below a folder that nobody owns.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::export::Exported;
use crate::export::place::Unplaced;
use crate::export::row::{FileLine, Line, Reader};
use crate::hash::{Digest, StreamHasher};
use crate::model::document::DocId;
use crate::model::selection::{Field, Template};

/// How results are named below the folder, and how documents of a source, whose ids have their endings already.
const RESULTS: &str = "{id}.{ext}";
const SOURCES: &str = "{id}";

/// Files that are being written.
pub struct Files {
    folder: PathBuf,
    template: Template,
    /// How a result that is a folder is named.
    folders: Template,
    written: u64,
    /// Documents without a result: nothing is written of them.
    pub without: u64,
    /// Documents that could not be written, each with why.
    pub unwritten: Vec<(String, String)>,
}

impl Files {
    /// Files below a folder, which is made.
    pub fn begin(folder: &Path, is_source: bool) -> Result<Self> {
        crate::fs::create_dir(folder)?;
        let parse = |template: &str| {
            Template::parse(template)
                .map_err(|problem| Error::unfinished("a name cannot be made").caused_by(problem))
        };
        let template = parse(if is_source { SOURCES } else { RESULTS })?;
        let folders = parse(SOURCES)?;
        Ok(Files {
            folder: folder.to_owned(),
            template,
            folders,
            written: 0,
            without: 0,
            unwritten: Vec::new(),
        })
    }

    /// The next document, as a line of a manifest. One that cannot be written does not stop the others.
    pub fn add(&mut self, line: &str, reader: &mut Reader) -> Result<()> {
        let line = Reader::line(line)?;
        if !line.has_content() && !line.is_folder() {
            self.without += 1;
            return Ok(());
        }
        match self.write(&line, reader) {
            Err(error) if !error.is_about_room() => {
                self.unwritten.push((line.id, error.message));
                Ok(())
            }
            done => done,
        }
    }

    fn write(&mut self, line: &Line, reader: &mut Reader) -> Result<()> {
        let id = DocId::parse(line.id.as_str());
        let field = |field: &Field| field.of_id(&id);
        let template = if line.is_folder() { &self.folders } else { &self.template };
        let path = template
            .expand(&field, "", &line.ext)
            .map_err(|_| Error::unfinished(format!("`{}` cannot be the name of a file", line.id)))?;
        let full = self.folder.join(path);
        if let Some(files) = &line.files {
            self.written += u64::from(write_folder(&full, &line.id, files, reader)?);
            return Ok(());
        }
        let whole = Unplaced::at(&full)?;
        if write(line, &whole, reader)? {
            whole.place()?;
            self.written += 1;
        }
        Ok(())
    }

    /// All are written.
    pub fn end(self) -> Exported {
        Exported { documents: self.written, columns: 0 }
    }
}

/// Writes the content of a document. False if it is not what it was.
fn write(line: &Line, whole: &Unplaced, reader: &mut Reader) -> Result<bool> {
    if let Some(path) = &line.path {
        // The standard library's copy clones the file where the file system can.
        std::fs::copy(path, whole.path()).map_err(|e| Error::io("copy", path, &e))?;
        let present = hash(whole.path())?;
        return Ok(reader.is_right(line, Some(present)));
    }
    let Some(bytes) = reader.bytes(line)? else { return Ok(false) };
    let written = whole.create()?.write_all(&bytes);
    written.map(|()| true).map_err(|e| Error::io("write", whole.path(), &e))
}

/// Writes the files of a document that is a folder, each into its place when it is whole. False if one is not what it was.
fn write_folder(full: &Path, id: &str, files: &[FileLine], reader: &mut Reader) -> Result<bool> {
    crate::fs::create_dir(full)?;
    for one in files {
        let to = full.join(one.file.on_disk());
        let whole = Unplaced::at(&to)?;
        let is_right = match (&one.at, one.bytes()) {
            (Some(path), _) => {
                std::fs::copy(path, whole.path()).map_err(|e| Error::io("copy", path, &e))?;
                hash(whole.path())? == one.file.digest
            }
            (None, Some(bytes)) => {
                let written = whole.create()?.write_all(&bytes);
                written.map_err(|e| Error::io("write", &to, &e))?;
                true
            }
            (None, None) => false,
        };
        if !is_right {
            reader.damaged.push(id.to_owned());
            return Ok(false);
        }
        let mode = if one.file.exec { 0o755 } else { 0o644 };
        crate::fs::set_mode(whole.path(), mode).map_err(|e| Error::io("write", &to, &e))?;
        whole.place()?;
    }
    Ok(true)
}

fn hash(path: &Path) -> Result<Digest> {
    let failed = |e: &std::io::Error| Error::io("read", path, e);
    let mut file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    let mut hasher = StreamHasher::default();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match std::io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e)),
        }
    }
}
