//! Modules in folders of their own: `modules/NAME/module.toml` beside a program in any language. Read, never run.

use std::path::Path;

use super::command::{self, Brace};
use super::installed::Installed;
use super::says::{self, text_of};
use super::value;
use crate::model::pipeline::Program;

/// The file that makes a folder a module.
const FILE: &str = "module.toml";
/// What it may say beside what every author may.
const KEYS: &[&str] = &["cmd", "code"];

/// All modules in folders, by their names; of one that cannot be used, why.
pub fn module_folders(root: &Path) -> Vec<(String, Result<Installed, String>)> {
    let names = super::disk::names_in(&root.join("modules")).into_iter().filter(|name| value::is_name(name));
    names.filter_map(|name| Some((name.clone(), module_folder(root, &name)?))).collect()
}

/// The module in one folder; nothing if there is none.
pub(super) fn module_folder(root: &Path, name: &str) -> Option<Result<Installed, String>> {
    let folder = Path::new("modules").join(name);
    let text = crate::fs::read_optional(&root.join(&folder).join(FILE)).ok().flatten()?;
    let read = read(root, &folder, name, &String::from_utf8_lossy(&text));
    Some(read.map_err(|problem| format!("{}: {problem}", folder.join(FILE).display())))
}

fn read(root: &Path, folder: &Path, name: &str, text: &str) -> Result<Installed, String> {
    let (says, table) = says::read(text, KEYS)?;
    let cmd = text_of(&table, "cmd")?.ok_or("it has no `cmd`")?;
    let words = command::words(&cmd).ok_or("`cmd` is empty, or has a quote that is not closed")?;
    // A file of the folder is meant as seen from there; programs stand in the project's folder.
    let here = |word: String| match root.join(folder).join(&word) {
        file if !word.starts_with('/') && file.is_file() => folder.join(&word).to_string_lossy().into_owned(),
        _ => word,
    };
    let words: Vec<String> = words.into_iter().map(here).collect();
    let filter = Program::Filter(words.clone());
    let braces = command::braces_of(&filter);
    if braces.iter().any(|brace| matches!(brace, Brace::Unknown(_))) {
        return Err("in `cmd` there are {in}, {out}, {with.NAME} and {param.NAME}".to_owned());
    }
    let program = if braces.is_empty() { Program::Worker(words) } else { filter };
    if program.is_filter() {
        if says.batch.is_some_and(|batch| batch > 1) || says.is_async {
            return Err("a filter takes one document a process: it has no `batch`, and no `async`".to_owned());
        }
        let is_used = |name: &&String| braces.contains(&Brace::Param((*name).clone()));
        if let Some(name) = says.params.keys().find(|name| !is_used(name)) {
            return Err(format!("`cmd` does not use the parameter: say {{param.{name}}} in it"));
        }
    }
    let globs = match table.get("code") {
        None => vec!["**".to_owned()],
        Some(toml::Value::Array(list)) if list.iter().all(toml::Value::is_str) => {
            list.iter().filter_map(|glob| glob.as_str().map(str::to_owned)).collect()
        }
        Some(_) => return Err("`code` must be a list of globs".to_owned()),
    };
    Ok(Installed {
        name: name.to_owned(),
        program,
        code: globs.iter().map(|glob| folder.join(glob).to_string_lossy().into_owned()).collect(),
        says,
        packages: None,
        place: root.join(folder).join(FILE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Installed, String> {
        let dir = tempfile::tempdir().unwrap();
        crate::fs::create_dir(&dir.path().join("modules/ner")).unwrap();
        crate::fs::write_scratch(&dir.path().join("modules/ner/main.js"), b"").unwrap();
        read(dir.path(), Path::new("modules/ner"), "ner", text)
    }

    #[test]
    fn words_that_are_files_of_the_folder_are_meant_from_there() {
        let found = of("cmd = \"node main.js other.js\"\naccepts = \"*.txt\"").unwrap();
        assert_eq!(
            found.program,
            Program::Worker(["node", "modules/ner/main.js", "other.js"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            (found.code, found.says.accepts),
            (vec!["modules/ner/**".to_owned()], Some("*.txt".to_owned()))
        );
        let filter = of("cmd = \"node main.js {in}\"\ncode = [\"*.js\"]").unwrap();
        assert!(filter.program.is_filter() && filter.code == ["modules/ner/*.js"]);
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (text, told) in [
            ("comd = \"x\"", "did you mean `cmd`?"),
            ("version = \"1\"", "it has no `cmd`"),
            ("cmd = 1", "`cmd` must be a text"),
            ("cmd = \"x {input}\"", "there are {in}"),
            ("cmd = \"x\"\ncode = \"y\"", "list of globs"),
            ("cmd = \"x {in}\"\nbatch = 2", "one document a process"),
            ("cmd = \"x {in}\"\nparams = { n = 1 }", "say {param.n} in it"),
            ("cmd = ", ""),
        ] {
            assert!(of(text).unwrap_err().contains(told), "{text}");
        }
    }
}
