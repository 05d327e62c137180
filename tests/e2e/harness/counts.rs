//! Modules that count their runs by document and can be held, for tests of what goes wrong; and what lies on the disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::Project;

/// What counting modules import. One line a run, in one write.
const RAN: &str = r#"
import os

def ran(target, what=""):
    """Notes a run; the first word of what was worked on names it."""
    if isinstance(what, bytes):
        what = what.decode("utf-8", "replace")
    word = (what.split() or ["-"])[0]
    os.makedirs("runs", exist_ok=True)
    fd = os.open("runs/" + target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, (word + "\n").encode())
    os.close(fd)
    return word

def hold(name):
    """Says that it is here, and waits until it may go on."""
    import time
    open("here-" + name, "w").close()
    while not os.path.exists("go-" + name):
        time.sleep(0.002)
"#;

impl Project {
    /// A Python module in `modules/`; its code begins with all it may need, `ran` and `hold` among it.
    pub(crate) fn counted(self, name: &str, code: &str) -> Project {
        self.edit_module(name, code);
        self.env("PIPE_PYTHON", super::runs::python())
    }

    /// The same, later.
    pub(crate) fn edit_module(&self, name: &str, code: &str) {
        let code = super::outcome::dedent(code);
        self.write("modules/ran.py", RAN);
        self.write(
            &format!("modules/{name}.py"),
            format!("import os, sys, time\nfrom pipelinefile import Doc, Result, Skip, module\nfrom ran import hold, ran\n\n{code}"),
        );
    }

    /// Its interpreter waits before it begins, once there is a file `slow`.
    #[allow(dead_code, reason = "for the tests of the command, which have this file too")]
    pub(crate) fn with_held_interpreter(self) -> Project {
        let python = super::runs::python();
        let file = self.root().join("held-python");
        let own = file.to_str().unwrap().to_owned();
        self.write(
            "held-python",
            format!(
                "#!/bin/sh\nif [ \"$1\" = -I ]; then {python} \"$@\" | head -n 1; echo {own}; exit; fi\n\
                 if [ -e slow ]; then touch here-start; while [ ! -e go-start ]; do sleep 0.01; done; fi\n\
                 exec {python} \"$@\"\n"
            ),
        );
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        self.env("PIPE_PYTHON", &own)
    }

    /// A worker starts and reads the code `new`, which says `hold('loaded')`; before it is ready, the code is `old` again.
    #[allow(dead_code, reason = "for the tests of the command, which have this file too")]
    pub(crate) fn edit_while_starting<T>(
        &self,
        module: &str,
        old: &str,
        new: &str,
        start: impl FnOnce() -> T,
    ) -> T {
        self.write("slow", "");
        let running = start();
        self.wait_for_file("here-start");
        self.edit_module(module, new);
        self.write("go-start", "");
        self.wait_for_file("here-loaded");
        self.edit_module(module, old);
        self.write("go-loaded", "");
        running
    }

    /// The runs that a module noted under a name, sorted.
    pub(crate) fn counts(&self, name: &str) -> Vec<String> {
        let path = self.root().join("runs").join(name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut runs: Vec<String> = text.lines().map(str::to_owned).collect();
        runs.sort();
        runs
    }

    /// The same, forgotten afterwards.
    pub(crate) fn take_counts(&self, name: &str) -> Vec<String> {
        let runs = self.counts(name);
        drop(std::fs::remove_file(self.root().join("runs").join(name)));
        runs
    }

    /// The one thing in a folder.
    pub(crate) fn only_name(&self, folder: &str) -> String {
        let entries = std::fs::read_dir(self.root().join(folder)).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = names.next().unwrap();
        assert_eq!(names.next(), None);
        name
    }

    /// Every file below a folder with its bytes.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.root().join(folder), &self.root().join(folder), &mut files);
        files
    }

    /// The names of every file below a folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        self.files(folder).into_keys().collect()
    }

    /// Removes a file or a folder.
    #[track_caller]
    pub(crate) fn clear(&self, name: &str) {
        let path = self.root().join(name);
        let removed = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        removed.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).unwrap_or_default());
        }
    }
}
