//! Where the source of an installed function stands: in a folder of packages, wherever its package takes it from. Read,
//! never run. What is not found so is not judged: the function says at its start what it is.

use std::path::{Path, PathBuf};

use crate::code::found::functions_of_file;
use crate::code::functions::Functions;
use crate::code::imports::{Import, imports};
use crate::error::Result;
use crate::model::pipeline::{Module, Program};

/// How often a function may be taken from yet another file.
const HOPS: usize = 4;

/// The file in which a module's function stands, with all functions there.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// Relative to the project's folder; of what is installed absolute.
    pub file: PathBuf,
    /// What is in it.
    pub functions: Functions,
}

/// The source of a Python module; nothing if it is no Python, or there is no such file.
pub fn source_of(root: &Path, module: &Module) -> Result<Option<ModuleSource>> {
    let Program::Python { file, function } = &module.program else { return Ok(None) };
    let Some(packages) = &module.installed.packages else {
        let functions = functions_of_file(root, file)?;
        return Ok(functions.map(|functions| ModuleSource { file: file.clone(), functions }));
    };
    Ok(installed_source(packages, &file.to_string_lossy(), function))
}

/// The source of `function` in `package`, a dotted name, that is imported from this folder.
pub fn installed_source(packages: &Path, package: &str, function: &str) -> Option<ModuleSource> {
    let folders: Vec<PathBuf> = std::iter::once(packages.to_owned()).chain(further(packages)).collect();
    let mut package = package.to_owned();
    for _ in 0..HOPS {
        let (file, is_package) = folders.iter().find_map(|folder| file_of(folder, &package))?;
        let text = crate::fs::read_optional(&file).ok().flatten()?;
        let functions = functions_of_file(Path::new("/"), &file).ok().flatten()?;
        if functions.find(function).is_some() {
            return Some(ModuleSource { file, functions });
        }
        let all = imports(&String::from_utf8_lossy(&text));
        let taken = all.iter().find(|import| import.names.iter().any(|name| name == function))?;
        package = absolute(taken, &package, is_package)?;
    }
    None
}

/// `a.b` in a folder: `a/b.py`, or `a/b/__init__.py`; with whether it is the latter.
fn file_of(folder: &Path, package: &str) -> Option<(PathBuf, bool)> {
    let parts = package.split('.').map(str::trim);
    if parts.clone().any(|part| part.is_empty() || part.contains(['/', '\0'])) {
        return None;
    }
    let path = parts.fold(folder.to_owned(), |path, part| path.join(part));
    let (init, plain) = (path.join("__init__.py"), path.with_extension("py"));
    if init.is_file() {
        return Some((init, true));
    }
    plain.is_file().then_some((plain, false))
}

/// The package that an import in another one means.
fn absolute(import: &Import, package: &str, is_package: bool) -> Option<String> {
    if import.level == 0 {
        return Some(import.module.clone());
    }
    let mut parts: Vec<&str> = package.split('.').collect();
    let up = import.level - usize::from(is_package);
    parts.truncate(parts.len().checked_sub(up)?);
    parts.extend(Some(import.module.as_str()).filter(|module| !module.is_empty()));
    (!parts.is_empty()).then(|| parts.join("."))
}

/// Folders that the `.pth` files of a folder of packages add to it: of what is installed to be edited in place.
fn further(packages: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(packages) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|ext| ext == "pth")).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| crate::fs::read_text(file).ok());
    let lines = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    let paths =
        lines.filter(|line| !line.is_empty() && !line.starts_with(['#']) && !line.starts_with("import"));
    paths.map(|line| packages.join(line)).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_wherever_its_package_takes_it_from() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            crate::fs::create_dir(path.parent().unwrap()).unwrap();
            crate::fs::write_scratch(&path, text.as_bytes()).unwrap();
        };
        write("packages/mail/__init__.py", "from .threads import thread, split\n");
        write(
            "packages/mail/threads.py",
            "from mail.deep.one import thread\n@module(batch=4)\ndef split(docs): pass\n",
        );
        write("packages/mail/deep/one.py", "from ...up import nothing\ndef thread(doc): pass\n");
        write("packages/edited.pth", &format!("# x\nimport os\n{}\n", dir.path().join("src").display()));
        write("src/edited/work.py", "async def run(doc): pass\n");
        write("packages/around.py", "from around import f\n");
        let packages = dir.path().join("packages");
        let file = |package: &str, function: &str| {
            let found = installed_source(&packages, package, function)?;
            let rel = found.file.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
            Some(rel)
        };
        assert_eq!(file("mail", "split").unwrap(), "packages/mail/threads.py");
        assert_eq!(file("mail", "thread").unwrap(), "packages/mail/deep/one.py");
        assert_eq!(file("edited.work", "run").unwrap(), "src/edited/work.py");
        for (package, function) in
            [("mail", "none"), ("mail.deep.one", "nothing"), ("around", "f"), ("..", "x"), ("", "x")]
        {
            assert_eq!(file(package, function), None, "{package}:{function}");
        }
    }
}
