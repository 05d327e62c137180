//! Records of a store: by place, by key, what they refer to, and the bytes of their outputs.

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Act, Definition, Loads, Outcome, Output, Place, Position, Recipe, Story};
use crate::model::folder::{self, Folder};
use crate::store::facade::Store;
use crate::store::frame::{Bad, Frame};
use crate::store::quarantine::Quarantine;
use crate::time;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

impl Store {
    /// The record at a place; nothing if it cannot be read.
    pub fn act(&self, at: Position) -> Result<Option<Arc<Act>>> {
        Ok(self.log.read_act(at)?.map(Arc::new))
    }

    /// The story at a place; nothing if it cannot be read.
    pub fn story(&self, at: Position) -> Result<Option<Arc<Story>>> {
        Ok(self.log.read_story(at)?.map(Arc::new))
    }

    /// Whether what lay at a place was collected: that it cannot be read is no damage.
    pub fn is_collected(&self, at: Position) -> bool {
        self.log.segments().is_collected(at)
    }

    /// The recipe at a place.
    pub fn recipe(&self, at: Position) -> Result<Option<Arc<Recipe>>> {
        self.recipes.get(at, || self.read_recipe(at))
    }

    /// The load set at a place.
    pub fn loads(&self, at: Position) -> Result<Option<Arc<Loads>>> {
        self.loads.get(at, || self.read_loads(at))
    }

    /// The definition at a place.
    pub fn definition(&self, at: Position) -> Result<Option<Arc<Definition>>> {
        self.definitions.get(at, || self.read_definition(at))
    }

    fn read_recipe(&self, at: Position) -> Result<Option<Recipe>> {
        Ok(self
            .log
            .read_frame(at)?
            .and_then(|frame| if let Frame::Recipe(value) = frame { Some(value) } else { None }))
    }

    fn read_loads(&self, at: Position) -> Result<Option<Loads>> {
        Ok(self
            .log
            .read_frame(at)?
            .and_then(|frame| if let Frame::Loads(value) = frame { Some(value) } else { None }))
    }

    fn read_definition(&self, at: Position) -> Result<Option<Definition>> {
        let frame = self.log.read_frame(at)?;
        Ok(frame.and_then(|frame| if let Frame::Definition(value) = frame { Some(value) } else { None }))
    }

    /// The place of a recipe, written if it is new.
    pub fn intern_recipe(&self, value: &Recipe) -> Result<Position> {
        let append = || self.log.append(&Frame::Recipe(value.clone()), None);
        self.recipes.intern(value, |at| self.read_recipe(at), append)
    }

    /// The place of a load set, written if it is new.
    pub fn intern_loads(&self, value: &Loads) -> Result<Position> {
        let append = || self.log.append(&Frame::Loads(value.clone()), None);
        self.loads.intern(value, |at| self.read_loads(at), append)
    }

    /// The place of a definition, written if it is new.
    pub fn intern_definition(&self, value: &Definition) -> Result<Position> {
        let append = || self.log.append(&Frame::Definition(value.clone()), None);
        self.definitions.intern(value, |at| self.read_definition(at), append)
    }

    /// Every load set.
    pub fn all_loads(&self) -> Result<Vec<Arc<Loads>>> {
        self.loads.places().into_iter().filter_map(|at| self.loads(at).transpose()).collect()
    }

    /// How many load sets there are.
    pub fn loads_count(&self) -> usize {
        self.loads.count()
    }

    /// The places of all definitions.
    pub fn definition_places(&self) -> Vec<Position> {
        self.definitions.places()
    }

    /// Writes the record of an action with the bytes of its output, and gives it back as it lies in the log.
    pub fn add_act(&self, mut act: Act, bytes: Option<&[u8]>) -> Result<(Position, Arc<Act>)> {
        let mut payload = bytes;
        if let (Outcome::Output(output), Some(bytes)) = (&mut act.outcome, bytes)
            && bytes.len() as u64 > self.largest_payload
        {
            self.blobs.check_length(&output.digest, bytes.len() as u64)?;
            self.blobs.put(&output.digest, bytes)?;
            output.place = Place::Blob;
            payload = None;
        }
        let (key, frame) = (act.key, Frame::Act(act));
        let (at, place) = {
            let _found = self.found.read().unwrap_or_else(PoisonError::into_inner);
            let (at, place) = self.log.append_placed(&frame, payload)?;
            self.finder.lock().unwrap_or_else(PoisonError::into_inner).insert(key, at);
            (at, place)
        };
        let Frame::Act(mut act) = frame else { return Err(Error::unfinished("a record is no record")) };
        if let (Outcome::Output(output), Some(place)) = (&mut act.outcome, place) {
            output.place = Place::Payload(place);
        }
        Ok((at, Arc::new(act)))
    }

    /// The places of the records whose keys begin so, newest first. Some may be of other keys.
    pub fn candidates(&self, key: u64) -> Vec<Position> {
        for _ in 0..4 {
            let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            let all = finder.candidates(key, &mut |at| {
                found.push(at);
                false
            });
            let Err(hole) = all else { return found };
            // A table is damaged: its stretch is read from the log again.
            let mut again = Vec::new();
            let replayed = self.log.replay(hole.from, &mut |_, frame| {
                if frame.position < hole.to
                    && let Some(Frame::Act(act)) = frame.decode()
                {
                    again.push((act.key, frame.position));
                }
            });
            if replayed.is_err() {
                return found;
            }
            for (key, at) in again {
                finder.insert(key, at);
            }
            finder.refilled(hole);
        }
        Vec::new()
    }

    /// Whether a record was set aside because its bytes are gone or wrong.
    pub fn is_bad(&self, at: Position) -> bool {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&at)
    }

    /// Sets a record aside: it answers no more, in this build or another.
    pub fn mark_bad(&self, at: Position) -> Result<()> {
        let digest = match self.log.read_act(at)?.map(|act| act.outcome) {
            Some(Outcome::Output(output)) => output.digest,
            _ => Digest::default(),
        };
        if self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(at) {
            self.owe();
            self.log.append(&Frame::Bad(Bad { act: at, digest, time: time::now() }), None)?;
        }
        Ok(())
    }

    /// The bytes of an output, proved against its digest; nothing if they are gone or wrong, and for an output that
    /// passes its input on.
    pub fn output_bytes(&self, output: &Output) -> Result<Option<Arc<[u8]>>> {
        let bytes = match output.place {
            Place::Payload(place) => self.log.read_payload(place, output.length, &output.digest)?,
            Place::Blob => {
                self.blobs.check_length(&output.digest, output.length)?;
                self.blobs.read(&output.digest)?
            }
            Place::Input => None,
        };
        Ok(bytes.map(Arc::from))
    }

    /// Whether a blob is there with its right length. Its bytes are proved when they are read.
    pub fn has_blob(&self, digest: &Digest, length: u64) -> bool {
        self.disk.size(&self.blobs.path(digest)).is_ok_and(|size| size == length)
    }

    /// Where a blob lies.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.path(digest)
    }

    /// Where a blob lies whose bytes are right, hashed once a process; nothing if they are gone or wrong. What is handed
    /// to a module is asked for here: a result of wrong bytes would stand under the key of the right ones.
    pub fn proved_blob(&self, output: &Output) -> Result<Option<PathBuf>> {
        self.proved_file(&output.digest, output.length)
    }

    /// The same of a file of a folder.
    pub fn proved_file(&self, digest: &Digest, length: u64) -> Result<Option<PathBuf>> {
        self.blobs.check_length(digest, length)?;
        self.blobs.proved_path(digest)
    }

    /// What a folder holds, with its bytes; nothing if they are gone or wrong, and for what is no folder.
    pub fn folder(&self, output: &Output) -> Result<Option<(Folder, Arc<[u8]>)>> {
        if output.ext != folder::EXT {
            return Ok(None);
        }
        let Some(bytes) = self.output_bytes(output)? else { return Ok(None) };
        Ok(folder::read(&bytes).map(|folder| (folder, bytes)))
    }

    /// Whether the bytes of an output are there as far as a look at their lengths says it: a payload is proved when it is
    /// read, a blob is a file of its own, which may be gone.
    pub fn is_there(&self, output: &Output) -> bool {
        let of_folder = || match self.folder(output) {
            Ok(Some((folder, _))) => {
                let mut large = folder.files.iter().filter(|file| file.is_blob());
                large.all(|file| self.has_blob(&file.digest, file.length))
            }
            _ => output.ext != folder::EXT || output.place == Place::Input,
        };
        (output.place != Place::Blob || self.has_blob(&output.digest, output.length)) && of_folder()
    }

    /// Whether the bytes of an output are there and right; not for one that passes its input on.
    pub fn is_whole(&self, output: &Output) -> Result<bool> {
        if output.ext == folder::EXT {
            let Some((folder, _)) = self.folder(output)? else { return Ok(false) };
            for file in folder.files.iter().filter(|file| file.is_blob()) {
                if self.proved_file(&file.digest, file.length)?.is_none() {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(match output.place {
            Place::Payload(_) => self.output_bytes(output)?.is_some(),
            Place::Blob => self.proved_blob(output)?.is_some(),
            Place::Input => false,
        })
    }

    /// Takes over a file of `tmp/` as the bytes of an output.
    pub fn adopt_blob(&self, digest: &Digest, path: &Path) -> Result<()> {
        let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
        self.blobs.check_length(digest, length)?;
        self.blobs.adopt(digest, path)
    }

    /// Keeps something damaged for whoever wants to look at it.
    pub fn quarantine(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        Quarantine::new(Arc::clone(&self.disk), &self.dir).put(name, bytes)
    }
}
