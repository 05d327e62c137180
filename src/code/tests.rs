use std::collections::HashMap;

use super::*;

type Kept = HashMap<String, Vec<u8>>;

struct Project {
    dir: tempfile::TempDir,
    kept: Kept,
}

/// Later than every stamp of this test, so that entries are kept at once.
fn later() -> i128 {
    crate::time::now_ns() + 10_000_000_000
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Project { dir: tempfile::tempdir().unwrap(), kept: Kept::new() };
        for (file, content) in files {
            project.write(file, content);
        }
        project
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.dir.path().join(file);
        crate::fs::create_dir(path.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&path, content.as_bytes()).unwrap();
    }

    fn path(&self) -> String {
        self.dir.path().to_str().unwrap().to_owned()
    }

    /// The code files, and what finding them cost.
    fn look(&mut self, spec: &Spec) -> (CodeFiles, Work) {
        let mut tree = Tree::at(self.dir.path(), &mut self.kept, later());
        let files = tree.code_files(spec).unwrap();
        (files, tree.work())
    }

    fn names(&mut self, spec: &Spec) -> Vec<String> {
        self.look(spec).0.files.into_iter().map(|(name, _)| name).collect()
    }

    fn python(&mut self, file: &str) -> Vec<String> {
        self.names(&python(file))
    }

    fn command(&mut self, line: &str) -> Vec<String> {
        self.names(&Spec::Command(line.split(' ').map(str::to_owned).collect()))
    }

    fn globs(&mut self, globs: &[&str]) -> Result<Vec<String>> {
        let spec = Spec::Globs(globs.iter().map(|glob| (*glob).to_owned()).collect());
        let files = code_files(self.dir.path(), &spec, &mut self.kept)?;
        Ok(files.files.into_iter().map(|(name, _)| name).collect())
    }
}

fn python(file: &str) -> Spec {
    Spec::Python(PathBuf::from(file))
}

#[test]
fn a_program_is_its_file_and_what_it_imports() {
    let mut project = Project::new(&[
        ("modules/words.py", "import textlib, json\nfrom lib import a\ndef f():\n    import late\n"),
        ("modules/textlib.py", "import os, deep.er\n"),
        ("modules/late.py", ""),
        ("modules/unused.py", ""),
        ("deep/er.py", "from . import sibling\n"),
        ("deep/sibling.py", ""),
        ("lib/__init__.py", ""),
        ("lib/a.py", "from .b import thing\nfrom .. import outside\n"),
        ("lib/b.py", "import a_name_that_is_installed\n"),
        ("lib/c.py", ""),
        ("outside.py", ""),
    ]);
    let expected = [
        "deep/er.py",
        "deep/sibling.py",
        "lib/__init__.py",
        "lib/a.py",
        "lib/b.py",
        "modules/late.py",
        "modules/textlib.py",
        "modules/words.py",
        "outside.py",
    ];
    assert_eq!(project.python("modules/words.py"), expected);
    assert_eq!(
        python_files(project.dir.path(), Path::new("modules/words.py")).unwrap(),
        expected.map(PathBuf::from)
    );
}

#[test]
fn an_import_never_leads_out_of_the_project() {
    let mut project = Project::new(&[("project/modules/a.py", ""), ("secret.py", ""), ("project/b.py", "")]);
    let escape = "import_module('x/../../../secret'); from ....... import secret\nfrom .... import secret\n";
    project.write("project/modules/a.py", escape);
    let root = project.dir.path().join("project");
    let files = code_files(&root, &python("modules/a.py"), &mut project.kept).unwrap();
    assert_eq!(files.files.len(), 1);
}

#[test]
fn imports_may_go_in_circles() {
    let mut project = Project::new(&[
        ("modules/a.py", "import b\n"),
        ("modules/b.py", "import a, modules.a\nfrom modules import b\n"),
    ]);
    assert_eq!(project.python("modules/a.py"), ["modules/a.py", "modules/b.py"]);
}

#[test]
fn packages_above_an_imported_module_count() {
    let mut project = Project::new(&[
        ("modules/a.py", "import lib.text.clean\nimport lib.absent\nfrom lib.text import other, attribute\n"),
        ("lib/__init__.py", "from lib.helper import x\n"),
        ("lib/helper.py", ""),
        ("lib/text/__init__.py", ""),
        ("lib/text/clean.py", ""),
        (
            "lib/text/other/__init__.py",
            "from ..clean import x\nfrom ...too.far import y\nfrom ......x import z\n",
        ),
        ("lib/unused/__init__.py", ""),
    ]);
    assert_eq!(
        project.python("modules/a.py"),
        [
            "lib/__init__.py",
            "lib/helper.py",
            "lib/text/__init__.py",
            "lib/text/clean.py",
            "lib/text/other/__init__.py",
            "modules/a.py"
        ]
    );
}

#[test]
fn names_are_found_in_pythons_order() {
    let mut project = Project::new(&[
        ("modules/a.py", "import both, near, spread.one, spread.two, plain.x\n"),
        ("modules/both.py", ""),
        ("modules/both/__init__.py", ""),
        ("modules/near.py", ""),
        ("near.py", ""),
        ("modules/spread/one.py", ""),
        ("spread/two.py", ""),
        ("modules/plain/x.py", ""),
        ("plain/__init__.py", ""),
    ]);
    assert_eq!(
        project.python("modules/a.py"),
        [
            "modules/a.py",
            "modules/both/__init__.py",
            "modules/near.py",
            "modules/spread/one.py",
            "plain/__init__.py",
            "spread/two.py"
        ]
    );
}

#[test]
fn a_program_in_the_projects_own_folder() {
    let mut project = Project::new(&[("a.py", "import b\nfrom .c import d\n"), ("b.py", ""), ("c.py", "")]);
    assert_eq!(project.python("./a.py"), ["a.py", "b.py", "c.py"]);
}

#[test]
fn what_is_installed_in_the_project_is_not_its_code() {
    let mut project = Project::new(&[
        ("modules/a.py", "import venv.x, node_modules.y\n"),
        ("venv/x.py", ""),
        ("node_modules/y.py", ""),
    ]);
    assert_eq!(project.python("modules/a.py"), ["modules/a.py"]);
    assert!(is_foreign("lib/python3/site-packages/numpy/core.py"));
    assert!(!is_foreign("modules/a.py"));
}

#[test]
fn a_file_that_is_not_there_or_not_in_the_project_is_an_error() {
    let project = Project::new(&[("modules/a.py", "")]);
    let fail = |file: &str| python_files(project.dir.path(), Path::new(file)).unwrap_err();
    assert_eq!(fail("modules/b.py").to_string(), "there is no file `modules/b.py`");
    assert_eq!(fail("../b.py").to_string(), "`../b.py` does not lie in the project");
    assert_eq!(fail("/etc/passwd").to_string(), "`/etc/passwd` does not lie in the project");
}

#[test]
fn bytes_that_are_no_text_are_still_code() {
    let mut project = Project::new(&[("modules/b.py", "")]);
    let path = project.dir.path().join("modules/a.py");
    crate::fs::write_scratch(&path, b"# caf\xe9\nimport b\n").unwrap();
    assert_eq!(project.python("modules/a.py"), ["modules/a.py", "modules/b.py"]);
}

#[test]
fn nothing_is_read_again_while_nothing_changes() {
    let mut project = Project::new(&[("modules/a.py", "import b\n"), ("modules/b.py", "import json\n")]);
    let (first, work) = project.look(&python("modules/a.py"));
    assert_eq!(work.hashed, 2);
    let (second, work) = project.look(&python("modules/a.py"));
    assert_eq!((second, work.hashed), (first, 0));
    // Each name: package and module, beside the program and in the project.
    assert!(work.looked_at <= 2 * 4 + 2, "{work:?}");
}

#[test]
fn several_modules_share_one_look() {
    let mut project = Project::new(&[
        ("modules/a.py", "import lib\n"),
        ("modules/b.py", "import lib\n"),
        ("modules/lib.py", "import re\n"),
    ]);
    let mut tree = Tree::at(project.dir.path(), &mut project.kept, later());
    let a = tree.code_files(&python("modules/a.py")).unwrap();
    let before = tree.work();
    let b = tree.code_files(&python("modules/b.py")).unwrap();
    assert_eq!(a.files[1], b.files[1]);
    assert_eq!(tree.work(), Work { looked_at: before.looked_at + 1, hashed: before.hashed + 1 });
}

#[test]
fn an_edit_changes_one_digest() {
    let mut project = Project::new(&[("modules/a.py", "import b\n"), ("modules/b.py", "x = 1\n")]);
    let (old, _) = project.look(&python("modules/a.py"));
    project.write("modules/b.py", "x = 22\n");
    let (new, work) = project.look(&python("modules/a.py"));
    assert_eq!(work.hashed, 1);
    assert_eq!(new.files[0], old.files[0]);
    assert_eq!(new.files[1], ("modules/b.py".to_owned(), tokens::digest(b"x = 22\n").unwrap()));
    project.write("modules/b.py", "x = 1\n");
    assert_eq!(project.look(&python("modules/a.py")).0, old);
}

#[test]
fn a_file_that_comes_before_another_is_seen_though_none_changed() {
    let mut project = Project::new(&[("modules/a.py", "import lib\n"), ("lib.py", "")]);
    assert_eq!(project.python("modules/a.py"), ["lib.py", "modules/a.py"]);
    project.write("modules/lib.py", "");
    assert_eq!(project.python("modules/a.py"), ["modules/a.py", "modules/lib.py"]);
    project.write("modules/lib/__init__.py", "");
    assert_eq!(project.python("modules/a.py"), ["modules/a.py", "modules/lib/__init__.py"]);
}

#[test]
fn a_file_changed_a_moment_ago_is_read_again() {
    let mut project = Project::new(&[("modules/a.py", "")]);
    for _ in 0..2 {
        let mut tree = Tree::at(project.dir.path(), &mut project.kept, later() - 10_000_000_000);
        tree.code_files(&python("modules/a.py")).unwrap();
        assert_eq!(tree.work().hashed, 1);
    }
    assert!(project.kept.is_empty());
}

#[test]
fn damaged_entries_cost_a_look_and_no_more() {
    let mut project = Project::new(&[("modules/a.py", "")]);
    let (files, _) = project.look(&python("modules/a.py"));
    project.kept.insert("modules/a.py".to_owned(), b"{\"version\":9".to_vec());
    let (again, work) = project.look(&python("modules/a.py"));
    assert_eq!((again, work.hashed), (files, 1));
}

#[test]
fn files_that_a_command_names() {
    let mut project = Project::new(&[
        ("modules/ner.js", ""),
        ("modules/run.py", "import lib\n"),
        ("modules/lib.py", ""),
        ("rules/en.json", ""),
        ("tool", "#!/usr/bin/env python3\nimport toollib\n"),
        ("toollib.py", ""),
        ("pkg/__main__.py", "import pkg.part\n"),
        ("pkg/part.py", ""),
        ("my script.sh", ""),
    ]);
    assert_eq!(project.command("node modules/ner.js"), ["modules/ner.js"]);
    assert_eq!(
        project.command("python3 -u ./modules/run.py --rules=rules/en.json {in} {out}"),
        ["modules/lib.py", "modules/run.py", "rules/en.json"]
    );
    let absolute = format!("sh {}/modules/ner.js", project.path());
    assert_eq!(project.command(&absolute), ["modules/ner.js"]);
    assert_eq!(project.command("./tool {in}"), ["tool", "toollib.py"]);
    assert_eq!(project.command("python -m pkg"), ["pkg/__main__.py", "pkg/part.py"]);
    assert_eq!(project.command("tesseract {in} {out} ../x modules /bin/sh rules/{param.lang}.json"), [""; 0]);
    let spaced = Spec::Command(vec!["sh".to_owned(), "my script.sh".to_owned()]);
    assert_eq!(project.names(&spaced), ["my script.sh"]);
    let script =
        Spec::Command(vec!["sh".to_owned(), "-c".to_owned(), "cat {in}|node modules/ner.js".to_owned()]);
    assert_eq!(project.names(&script), ["modules/ner.js"]);
}

#[test]
fn files_that_a_shell_script_names() {
    let mut project =
        Project::new(&[("modules/a.awk", ""), ("modules/env.sh", ""), ("b.py", "import c"), ("c.py", "")]);
    let script = ". modules/env.sh; awk -f 'modules/a.awk' {in} | (python b.py) > {out}";
    assert_eq!(
        project.names(&Spec::Shell(script.to_owned())),
        ["b.py", "c.py", "modules/a.awk", "modules/env.sh"]
    );
    assert_eq!(project.names(&Spec::Shell("sort {in} > {out}".to_owned())), [""; 0]);
}

#[test]
fn globs_replace_the_guess() {
    let mut project = Project::new(&[
        ("modules/ner.js", ""),
        ("modules/run.py", "import lib\n"),
        ("modules/lib/a.js", ""),
        ("modules/lib/deep/b.js", ""),
        (".pipe/segments/x.js", ""),
        (".hidden/c.js", ""),
    ]);
    assert_eq!(
        project.globs(&["modules/ner.js", "modules/lib/**"]).unwrap(),
        ["modules/lib/a.js", "modules/lib/deep/b.js", "modules/ner.js"]
    );
    assert_eq!(
        project.globs(&["modules/*.js", "./modules/*.py"]).unwrap(),
        ["modules/ner.js", "modules/run.py"]
    );
    assert_eq!(
        project.globs(&["**/*.js"]).unwrap(),
        ["modules/lib/a.js", "modules/lib/deep/b.js", "modules/ner.js"]
    );
    assert_eq!(project.globs(&["*/lib/?.js"]).unwrap(), ["modules/lib/a.js"]);
    assert_eq!(project.globs(&["modules/{lib/a,ner}.js"]).unwrap(), ["modules/lib/a.js", "modules/ner.js"]);
    assert_eq!(project.globs(&[".hidden/*.js"]).unwrap(), [".hidden/c.js"]);
}

#[test]
fn a_glob_that_names_nothing_is_an_error() {
    let mut project = Project::new(&[("modules/a.js", "")]);
    let mut fail = |glob: &str| project.globs(&[glob]).unwrap_err().to_string();
    assert_eq!(fail("modules/*.ts"), "`code`: no file of the project matches `modules/*.ts`");
    assert_eq!(fail("no/such/**"), "`code`: no file of the project matches `no/such/**`");
    assert_eq!(fail("../*.js"), "`code`: `../*.js` leads out of the project");
    assert!(fail("modules/[a.js").starts_with("`code`: `modules/[a.js` is no glob: "));
}

#[test]
fn a_loaded_file_has_its_present_digest() {
    let mut project = Project::new(&[("lib/a.py", "x"), ("venv/b.py", "y")]);
    let root = project.dir.path();
    let mut digest = |file: &str| load_set_digest(root, file, &mut project.kept);
    assert_eq!(digest("lib/a.py"), tokens::digest(b"x"));
    assert_eq!(digest("venv/b.py"), tokens::digest(b"y"));
    assert_eq!(digest(&format!("{}/lib/a.py", root.display())), tokens::digest(b"x"));
    assert_eq!((digest("lib/gone.py"), digest("lib"), digest("../a.py")), (None, None, None));
}

#[test]
fn links_are_followed() {
    let mut project = Project::new(&[("modules/a.py", "import b\n"), ("elsewhere/real.py", "import c\n")]);
    project.write("modules/c.py", "");
    let link = project.dir.path().join("modules/b.py");
    std::os::unix::fs::symlink("../elsewhere/real.py", link).unwrap();
    assert_eq!(project.python("modules/a.py"), ["modules/a.py", "modules/b.py", "modules/c.py"]);
}

#[test]
fn modules_of_a_project_are_found() {
    let project = Project::new(&[
        ("modules/words.py", "@module\ndef words(doc): pass\ndef helper(x): pass\n"),
        ("modules/mail.py", "@module\ndef thread(docs): pass\n@module\ndef header(doc): pass\n"),
        ("modules/broken.py", "@module\ndef broken(doc): pass\nx = = 1\n"),
        ("modules/notes.txt", "@module\ndef no(doc): pass\n"),
        ("modules/sub/inner.py", "@module\ndef inner(doc): pass\n"),
        ("other.py", "@module\ndef other(doc): pass\n"),
    ]);
    let path = project.dir.path().join("modules/latin.py");
    crate::fs::write_scratch(&path, b"@module\ndef latin(doc):\n  '\xe9'\n").unwrap();
    let path = project.dir.path().join("modules/stated.py");
    crate::fs::write_scratch(&path, b"# -*- coding: latin-1 -*-\nx = '\xe9'\n").unwrap();
    let found = modules_found(project.dir.path()).unwrap();
    let names: Vec<&str> = found.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["broken", "latin", "mail:header", "mail:thread", "words"]);
    assert_eq!(found.modules[4].file, "modules/words.py");
    let problems: Vec<(&str, usize)> =
        found.problems.iter().map(|(file, p)| (file.as_str(), p.line)).collect();
    assert_eq!(problems, [("modules/broken.py", 3), ("modules/latin.py", 3)]);
    assert_eq!(found.problems[1].1.text, "bytes that are not UTF-8");
}

#[test]
fn a_project_without_modules_has_none() {
    let project = Project::new(&[]);
    assert!(modules_found(project.dir.path()).unwrap().modules.is_empty());
    assert_eq!(functions_of_file(project.dir.path(), Path::new("modules/a.py")).unwrap(), None);
}
