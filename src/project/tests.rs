use std::path::Path;

use super::*;

const GOOD: &str = "\
[source.inbox]
path = \"inbox\"
[target.words]
each = \"inbox\"
module = \"words\"
params = { n = 2 }
";

const CODE: &str = "\
from pipelinefile import module
@module
def words(doc, *, n: int = 1): ...
@module
def total(docs): ...
";

fn project(pipelinefile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Pipelinefile", pipelinefile);
    write(dir.path(), "modules/words.py", CODE);
    write(dir.path(), "inbox/a.txt", "a");
    dir
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    crate::fs::create_dir(path.parent().unwrap()).unwrap();
    crate::fs::write_scratch(&path, text.as_bytes()).unwrap();
}

fn at(dir: &tempfile::TempDir) -> Locate {
    Locate { directory: Some(dir.path().to_owned()), ..Locate::default() }
}

fn messages(pipelinefile: &str) -> Vec<String> {
    let dir = project(pipelinefile);
    let report = Project::check(&at(&dir)).unwrap();
    report.mistakes.list.iter().map(|mistake| mistake.message.clone()).collect()
}

#[test]
fn a_project_is_found_from_below_and_its_store_lies_beside_the_file() {
    let dir = project(GOOD);
    write(dir.path(), "inbox/deep/b.txt", "b");
    let locate = Locate { directory: Some(dir.path().join("inbox/deep")), ..Locate::default() };
    let project = Project::find(&locate).unwrap();
    assert_eq!(project.root, dir.path().canonicalize().unwrap());
    assert_eq!(project.place.elsewhere(), Some(PathBuf::from("../..")));
    assert_eq!(project.store_dir, project.root.join(".pipe"));
    assert_eq!(Project::find(&at(&dir)).unwrap().place.elsewhere(), None);
}

#[test]
fn a_named_file_is_taken_without_a_search() {
    let dir = project(GOOD);
    write(dir.path(), "other/small.toml", "[target.x]\neach = \"y\"\n");
    let locate = Locate { file: Some("other/small.toml".into()), ..at(&dir) };
    let place = Place::find(&locate).unwrap();
    assert_eq!((place.name().as_str(), place.root().ends_with("other")), ("small.toml", true));
    let error = Project::find(&Locate { file: Some("none".into()), ..at(&dir) }).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `none`: no such file or directory");
    let error = Project::find(&Locate { file: Some("inbox".into()), ..at(&dir) }).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `inbox`: it is no file");
}

#[test]
fn without_a_pipelinefile_the_way_to_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Project::find(&at(&dir)).unwrap_err();
    assert!(error.message.starts_with("there is no Pipelinefile in `"), "{error}");
    assert!(error.hints[0].starts_with("pipe init"));
    assert_eq!(error.kind.exit_code(), 2);
}

#[test]
fn a_missing_source_stops_no_build_but_missing_code_does() {
    let dir = project(GOOD);
    crate::fs::remove_dir(&dir.path().join("inbox")).unwrap();
    assert!(Project::for_build(&at(&dir)).is_ok());
    assert!(Project::for_reading(&at(&dir)).is_ok());
    assert_eq!(Project::find(&at(&dir)).unwrap_err().message, "Pipelinefile has 1 mistake");
    crate::fs::remove_dir(&dir.path().join("modules")).unwrap();
    assert_eq!(Project::for_build(&at(&dir)).unwrap_err().kind.exit_code(), 2);
    assert!(Project::for_reading(&at(&dir)).is_ok());
}

#[test]
fn wrong_text_stops_everything() {
    let dir = project("[target.words]\neach = \"none\"\nmodule = \"words\"\n");
    assert!(Project::for_build(&at(&dir)).is_err() && Project::for_reading(&at(&dir)).is_err());
}

#[test]
fn functions_are_compared_with_how_targets_call_them() {
    let target = |keys: &str| GOOD.replace("module = \"words\"\nparams = { n = 2 }\n", keys);
    assert_eq!(messages(GOOD), [""; 0]);
    assert_eq!(
        messages(&target("module = \"words:total\"\n")),
        [
            "`total` in modules/words.py: the function takes a set of documents (`docs`), the target hands over one"
        ]
    );
    assert_eq!(
        messages(&target("module = \"words:totl\"\n")),
        ["there is no function `totl` in modules/words.py"]
    );
    assert_eq!(
        messages(&target("module = \"words\"\nparams = { m = 2 }\nwith = { x = \"file:inbox\" }\n")),
        [
            "`words` in modules/words.py: the function has no parameter `m`",
            "`words` in modules/words.py: the function has no argument `x`"
        ]
    );
}

#[test]
fn mistakes_of_text_and_of_code_come_together() {
    let both = GOOD.replace("path = ", "paht = ").replace("n = 2", "m = 2");
    assert_eq!(messages(&both).len(), 3, "{:?}", messages(&both));
}

#[test]
fn a_parameter_of_the_command_line_is_checked_too() {
    let dir = project(GOOD);
    let with = |define: &str| Locate { overrides: vec![define.to_owned()], ..at(&dir) };
    let project = Project::find(&with("words.n=5")).unwrap();
    assert_eq!(project.pipeline().targets[0].params["n"], serde_json::json!(5));
    assert_eq!(Project::find(&with("words.k=5")).unwrap_err().message, "Pipelinefile has 1 mistake");
    assert_eq!(Project::find(&with("words")).unwrap_err().kind.exit_code(), 2);
}

#[test]
fn params_of_a_whole_file_need_not_fit_each_of_its_functions() {
    let text = format!(
        "{GOOD}[target.total]\nall = \"words\"\nmodule = \"words:total\"\n[module.words]\nparams = {{ n = 3 }}\n"
    );
    assert_eq!(messages(&text), [""; 0]);
}

#[test]
fn code_files_of_a_command_must_be_there() {
    let command = |keys: &str| GOOD.replace("module = \"words\"\nparams = { n = 2 }\n", keys);
    assert_eq!(
        messages(&command("cmd = \"node modules/ner.js {in} {out}\"\n")),
        ["there is no file `modules/ner.js`"]
    );
    assert_eq!(
        messages(&command("cmd = \"sed -f modules/{param.n}.sed {in}\"\nparams = { n = 1 }\n")),
        [""; 0]
    );
    assert_eq!(messages(&command("shell = \"cat {in} > {out}\"\ncode = [\"lib/**\"]\n")).len(), 1);
}

#[test]
fn a_glob_that_matches_nothing_is_a_warning_with_the_nearest_file() {
    let dir =
        project(&GOOD.replace("path = \"inbox\"", "path = \"inbox\"\ninclude = [\"**/*.txt\", \"**/*.tx\"]"));
    let report = Project::check(&at(&dir)).unwrap();
    assert!(report.mistakes.is_empty());
    let warnings: Vec<&str> = report.warnings.list.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["source `inbox`: no file matches the glob `**/*.tx`"]);
    assert!(report.rendered().contains("there is `a.txt`"), "{}", report.rendered());
}
