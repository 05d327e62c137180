//! Disks of their own, below a project: small ones, and a real file system in an image. They need root; without it a test
//! says that it did nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Project;

/// Something mounted; unmounted with it.
pub(crate) struct Mount {
    place: PathBuf,
}

impl Mount {
    /// A small disk in memory.
    pub(crate) fn tmpfs(project: &Project, folder: &str, mebibytes: usize) -> Option<Mount> {
        Mount::new(project, folder, &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
    }

    /// `mount` with these words and the folder.
    pub(crate) fn new(project: &Project, folder: &str, words: &[&str]) -> Option<Mount> {
        let place = project.root().join(folder);
        std::fs::create_dir_all(&place).unwrap();
        let output = Command::new("mount").args(words).arg(&place).output();
        match output {
            Ok(output) if output.status.success() => Some(Mount { place }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                eprintln!("skipped: this machine does not mount {}: {why}", words.join(" "));
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no `mount`: {error}");
                None
            }
        }
    }

    /// Changes its options.
    pub(crate) fn again(&self, options: &str) {
        assert!(self.try_again(options), "cannot {options}");
    }

    /// The same, where it may be busy.
    pub(crate) fn try_again(&self, options: &str) -> bool {
        let output = Command::new("mount").args(["-o", options]).arg(&self.place).output();
        output.unwrap().status.success()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.place).output());
    }
}

/// An ext4 file system in a file.
pub(crate) struct Image {
    mount: Mount,
    file: PathBuf,
    // Its files lie beside the project, which must not find them.
    _folder: tempfile::TempDir,
}

impl Image {
    /// Makes one and mounts it.
    pub(crate) fn mount(project: &Project, folder: &str) -> Option<Image> {
        let beside = tempfile::tempdir().unwrap();
        let file = beside.path().join("disk");
        std::fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file).output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: there is no mkfs.ext4");
            return None;
        }
        let mount = Mount::new(project, folder, &["-o", "loop", file.to_str().unwrap()])?;
        Some(Image { mount, file, _folder: beside })
    }

    /// What the disk holds at this moment; what is in memory alone is not there.
    pub(crate) fn copied(&self) -> PathBuf {
        let copy = self.file.with_extension("copy");
        let status = Command::new("cp").arg("--sparse=always").arg(&self.file).arg(&copy).status();
        assert!(status.unwrap().success());
        copy
    }

    /// The power is back: the disk is what it was then.
    pub(crate) fn replace_with(&self, copy: &Path) {
        let status = Command::new("umount").arg("-l").arg(&self.mount.place).status();
        assert!(status.unwrap().success());
        let status = Command::new("mount").args(["-o", "loop"]).arg(copy).arg(&self.mount.place).status();
        assert!(status.unwrap().success(), "the file system did not survive");
    }
}
