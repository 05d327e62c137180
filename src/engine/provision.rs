//! Makes the environments of modules with `uv`, and keeps them as they are while somebody runs in them.
//!
//! An environment is brought up to date in place when its list changes, so that a package of another version leaves no
//! metadata of the old one behind. Versions that were chosen once stay chosen as long as the list allows them. `uv` is a
//! child of the host, as modules are: it ends when `pipe` does. Does not know what a list is made of.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::environments::{MADE_FOR, Needs, Place, Unused, check_python, needs, place};
use crate::error::{Error, Result, io_text};
use crate::fs;
use crate::model::pipeline::Module;
use crate::module::{Host, Python};

/// The ending of the file beside an environment that whoever uses it has locked.
const USED: &str = "used";

/// How often is looked whether somebody is done with an environment.
const LOOKED_EVERY: Duration = Duration::from_millis(50);

/// An environment that nobody changes as long as this lives.
#[derive(Clone, Debug)]
pub struct InUse {
    _lock: Arc<File>,
}

/// Makes environments.
pub struct Provision<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// The interpreter at hand.
    pub base: &'a Python,
    /// What starts `uv`.
    pub host: &'a Host,
    /// Told before it takes time.
    pub say: &'a mut dyn FnMut(String),
    /// Whether it is not wanted any more.
    pub stop: &'a dyn Fn() -> bool,
    /// Nothing is made: it is said what would be.
    pub dry_run: bool,
}

impl Provision<'_> {
    /// Brings the environment of a module up to date, if it has one and its list has changed.
    pub fn prepare(&mut self, module: &Module) -> Result<Option<InUse>> {
        check_python(self.root, module, self.base)?;
        let Some(needs) = needs(self.root, module)? else { return Ok(None) };
        let Some(place) = place(self.root, &needs, self.base) else { return Ok(None) };
        let is_made = || {
            let made_for = fs::read_optional(&place.folder.join(MADE_FOR))?;
            Ok::<_, Error>(made_for.as_deref() == Some(needs.list.as_bytes()))
        };
        let file = needs.file.display();
        if self.dry_run {
            if !is_made()? {
                (self.say)(format!("uv would make the environment of module `{}` from {file}", module.name));
            }
            return Ok(None);
        }
        let lock = open(&place.folder)?;
        self.share(&lock, &place.folder)?;
        if is_made()? {
            return Ok(Some(InUse { _lock: Arc::new(lock) }));
        }
        let failed = |error: std::io::Error| Error::io("lock", &place.folder.with_extension(USED), &error);
        lock.unlock().map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{file} has changed, and another `pipe` runs in the environment that it is for (module `{}`)",
                    module.name
                );
                return Err(Error::unfinished(message).hint("try again when that one has ended"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Somebody else may have made it in between.
        if !is_made()? {
            (self.say)(format!("uv makes the environment of module `{}` from {file}", module.name));
            self.make(module, &needs, &place)?;
        }
        lock.unlock().map_err(failed)?;
        self.share(&lock, &place.folder)?;
        Ok(Some(InUse { _lock: Arc::new(lock) }))
    }

    /// Waits until nobody changes it.
    fn share(&self, lock: &File, folder: &Path) -> Result<()> {
        loop {
            match lock.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if (self.stop)() => return Err(stopped()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOKED_EVERY),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("lock", &folder.with_extension(USED), &error));
                }
            }
        }
    }

    fn make(&self, module: &Module, needs: &Needs, place: &Place) -> Result<()> {
        let marker = place.folder.join(MADE_FOR);
        // What is changed half-way is of no list.
        if marker.exists() {
            fs::remove_file(&marker)?;
        }
        let beside = |end: &str| place.folder.with_extension(end);
        let (wanted, lock) = (beside("in"), beside("lock"));
        let list = if needs.is_block {
            fs::write_scratch(&wanted, needs.list.as_bytes())?;
            wanted
        } else {
            self.root.join(&needs.file)
        };
        let own = place.folder.join("bin/python3");
        let (python, folder) = (self.base.executable.as_path(), place.folder.as_path());
        let uv = |words: &[&str], paths: &[(&str, &Path)]| self.uv(module, needs, place, words, paths);
        // The versions in an older lock are kept where they still fit.
        uv(&["pip", "compile"], &[("--python", python), ("--output-file", &lock), ("", &list)])?;
        if !own.exists() {
            uv(&["venv", "--allow-existing"], &[("--python", python), ("", folder)])?;
        }
        uv(&["pip", "sync", "--allow-empty-requirements"], &[("--python", &own), ("", &lock)])?;
        fs::replace(&marker, &folder.join("pipe-made-for.tmp"), needs.list.as_bytes())
    }

    fn uv(
        &self,
        module: &Module,
        needs: &Needs,
        place: &Place,
        words: &[&str],
        paths: &[(&str, &Path)],
    ) -> Result<()> {
        let file = needs.file.display();
        let mut command: Vec<OsString> = vec![place.uv.clone().into()];
        command.extend(words.iter().chain(&["--quiet"]).map(OsString::from));
        for (option, path) in paths {
            command.extend([OsString::from(option), path.into()].into_iter().filter(|word| !word.is_empty()));
        }
        let failed = |said: String| {
            let shown = if needs.is_block {
                format!("uv sync --dry-run --script {file}")
            } else {
                format!("uv pip install --dry-run -r {file}")
            };
            let name = &module.name;
            Error::unfinished(format!("uv cannot make the environment of module `{name}` from {file}"))
                .caused_by(said)
                .hint(shown)
        };
        let words_of = place.folder.with_extension("said");
        let said = File::create(&words_of).map_err(|error| Error::io("write", &words_of, &error))?;
        let environment = [OsString::from("VIRTUAL_ENV")];
        let ended = self.host.run(&command, self.root, &environment, &said, self.stop);
        let ended = ended.map_err(|error| failed(io_text(&error)))?;
        let text = fs::read_optional(&words_of)?.unwrap_or_default();
        drop(fs::remove_file(&words_of));
        match ended {
            None => Err(stopped()),
            Some(exit) if exit.code == Some(0) => Ok(()),
            Some(_) => {
                let said = String::from_utf8_lossy(&text);
                Err(failed(said.split_whitespace().collect::<Vec<_>>().join(" ")))
            }
        }
    }
}

fn stopped() -> Error {
    Error::unfinished("stopped while an environment was made")
}

fn open(folder: &Path) -> Result<File> {
    if let Some(parent) = folder.parent() {
        fs::create_dir(parent)?;
    }
    let path = folder.with_extension(USED);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.map_err(|error| Error::io("open", &path, &error))
}

/// An environment for whoever removes it; nothing: somebody uses it.
fn alone(folder: &Path) -> Result<Option<InUse>> {
    let lock = open(folder)?;
    Ok(lock.try_lock().is_ok().then_some(InUse { _lock: Arc::new(lock) }))
}

/// Removes an environment with what lies beside it, unless somebody uses it.
pub fn remove(unused: &Unused) -> Result<()> {
    let Some(_alone) = alone(&unused.folder)? else { return Ok(()) };
    for end in ["in", "lock", USED] {
        let beside = unused.folder.with_extension(end);
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
    }
    fs::remove_dir(&unused.folder)
}
