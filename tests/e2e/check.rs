use crate::harness::Project;

/// Ten different mistakes: of the text, of the disk, and of the code that it names.
const TEN: &str = r#"
    [source.inbox]
    path    = "inbx"
    includ  = ["**/*.txt"]

    [target.words]
    each    = "inboxx"
    module  = "words"
    params  = { min_lem = 3 }

    [target.total]
    each    = "words"
    module  = "words:total"

    [target.index]
    all     = "words"
    module  = "serch:index"
    publish = "out/same.json"
    sees    = ["ext", "mimee"]

    [target.other]
    all     = "words"
    module  = "words:total"
    publish = "out/same.json"

    [target.none]
    module  = "words:totl"
"#;

const WORDS: &str = r"
    from pipelinefile import module
    @module
    def words(doc, *, min_len: int = 3): ...
    @module
    def total(docs): ...
";

#[test]
fn ten_mistakes_get_ten_reports_in_one_run() {
    let project = Project::new().file("Pipelinefile", TEN).file("modules/words.py", WORDS);
    project.write("inbox/a.txt", "a");
    let project = project.file("modules/search.py", "");
    let outcome = project.pipe(&["check"]).ends(2);
    let reports: Vec<&str> = outcome.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    let begins = [
        "there is no folder or file `inbx`",
        "[source.inbox] has no key `includ`",
        "`inboxx` is neither a source nor a target",
        "`words` in modules/words.py: the function has no parameter `min_lem`",
        "targets `index` and `other` publish the same files",
        "`total` in modules/words.py: the function takes a set of documents",
        "there is no module `serch:index`",
        "there is no field `mimee`",
        "target `none` does not say what it takes",
        "there is no function `totl` in modules/words.py",
    ];
    for begin in begins {
        assert!(reports.iter().any(|report| report.starts_with(begin)), "{begin}\n{reports:#?}");
    }
    assert_eq!(reports.len(), 10, "{reports:#?}");
    assert_eq!(outcome.stdout, format!("Pipelinefile: {} mistakes\n", reports.len()));
}

#[test]
fn a_mistake_is_shown_with_line_caret_and_hint() {
    let text = "
        [source.inbox]
        path = \"inbox\"
        [target.words]
        each   = \"inbox\"
        module = \"words\"
        params = { min_lem = 3 }
    ";
    let project =
        Project::new().file("Pipelinefile", text).file("modules/words.py", WORDS).file("inbox/a.txt", "a");
    project.pipe(&["check"]).shows(
        "
        status: 2
        --- stdout
        Pipelinefile: 1 mistake
        --- stderr
        error: `words` in modules/words.py: the function has no parameter `min_lem`
         --> Pipelinefile:6:12
          |
        6 | params = { min_lem = 3 }
          |            ^^^^^^^ not known
          |
          = help: did you mean `min_len`?

        ",
    );
}

#[test]
fn warnings_do_not_change_the_exit_code() {
    let text = "
        [source.inbox]
        path    = \"inbox\"
        include = [\"**/*.tx\"]
        [target.words]
        each   = \"inbox\"
        module = \"words\"
    ";
    let project =
        Project::new().file("Pipelinefile", text).file("modules/words.py", WORDS).file("inbox/a.txt", "a");
    project.pipe(&["check"]).shows(
        "
        status: 0
        --- stdout
        Pipelinefile: 1 source, 1 target, 1 module: no mistakes, 1 warning
        --- stderr
        warning: source `inbox`: no file matches the glob `**/*.tx`
         --> Pipelinefile:3:12
          |
        3 | include = [\"**/*.tx\"]
          |            ^^^^^^^^^
          |
          = help: there is `a.txt`

        ",
    );
}

#[test]
fn programs_get_lines_and_columns() {
    let project = Project::new().file("Pipelinefile", TEN).file("modules/words.py", WORDS);
    let outcome = project.pipe(&["check", "--json"]).ends(2);
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let first = &answer["mistakes"][0];
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &11.into()));
    assert_eq!((&answer["type"], outcome.stderr.as_str()), (&"check".into(), ""));
}
