use crate::harness::Project;

/// `up` imports `shout`, which imports `marks`; `plain` imports nothing.
const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each    = "inbox"
    module  = "up"
    publish = true

    [target.after]
    each    = "up"
    module  = "after"
    publish = true

    [target.plain]
    each   = "inbox"
    module = "plain"
"#;

const PASS: &str = r"
    @module
    def NAME(doc):
        ran(doc)
        return doc.text()
";

fn project() -> Project {
    Project::counting()
        .file("Pipelinefile", PIPELINE)
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "b")
        .file("modules/marks.py", "MARK = '!'\n")
        .file("modules/shout.py", "import marks\ndef shout(text): return text.upper() + marks.MARK\n")
        .module(
            "up",
            r"
            import shout
            @module
            def up(doc):
                ran(doc)
                return shout.shout(doc.text())
            ",
        )
        .module("after", &PASS.replace("NAME", "after"))
        .module("plain", &PASS.replace("NAME", "plain"))
}

fn built() -> Project {
    let project = project();
    project.build_runs(&["up a", "up b", "after A!", "after B!", "plain a", "plain b"]);
    project.build_runs(&[]);
    project
}

#[test]
fn an_edited_module_runs_again_and_what_is_behind_only_where_outputs_changed() {
    let project = built();
    project.replace("modules/up.py", "shout.shout(doc.text())", "shout.shout(doc.text()).replace('A', 'Å')");
    project.build_runs(&["up a", "up b", "after Å!"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_reverted_module_finds_its_old_results() {
    let project = built();
    let before = project.read("modules/up.py");
    project.write("modules/up.py", before.replace("shout.shout(doc.text())", "doc.text()"));
    project.build_runs(&["up a", "up b", "after a", "after b"]);
    project.write("modules/up.py", &before);
    project.build_runs(&[]);
    assert_eq!(project.read("out/after/inbox/a.txt.txt"), "A!");
    project.write("modules/up.py", before.replace("shout.shout(doc.text())", "doc.text()"));
    project.build_runs(&[]);
    assert_eq!(project.read("out/after/inbox/a.txt.txt"), "a");
}

#[test]
fn comments_and_layout_run_nothing_and_an_edit_stops_where_it_changes_nothing() {
    let project = built();
    project.replace("modules/up.py", "import shout", "\n# What is loud.\nimport shout   # loud\n");
    project.build_runs(&[]);
    project.pipe(&["why", "up"]).ends(0).says("up to date");
    // A text counts, and what comes out is the same.
    project.replace("modules/up.py", "import shout", "'loud'\nimport shout");
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
}

#[test]
fn an_edited_helper_runs_the_modules_that_import_it_directly_or_not() {
    let project = built();
    project.replace("modules/shout.py", "text.upper()", "text.upper().strip()");
    project.build_runs(&["up a", "up b"]);
    project.replace("modules/marks.py", "'!'", "'?'");
    project.build_runs(&["up a", "up b", "after A?", "after B?"]);
    project.replace("modules/marks.py", "'?'", "'!'");
    project.build_runs(&[]);
    assert_eq!(project.read("out/after/inbox/b.txt.txt"), "B!");
}

#[test]
fn a_file_that_nothing_imports_runs_nothing() {
    let project = built();
    project.write("modules/other.py", "x = 1\n");
    project.write("modules/notes.md", "x\n");
    project.build_runs(&[]);
}

#[test]
fn an_edit_of_what_was_imported_late_runs_the_documents_that_it_served() {
    let project = project().module(
        "up",
        r"
        @module
        def up(doc):
            ran(doc)
            name = 'sho' + 'ut'
            return __import__(name).shout(doc.text())
        ",
    );
    project.build_runs(&["up a", "up b", "after A!", "after B!", "plain a", "plain b"]);
    project.build_runs(&[]);
    project.replace("modules/marks.py", "'!'", "'?'");
    project.build_runs(&["up a", "up b", "after A?", "after B?"]);
    project.build_runs(&[]);
    // The results of before still hold for the code of before.
    project.replace("modules/marks.py", "'?'", "'!'");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn an_import_inside_the_function_is_found() {
    let project = project().module(
        "up",
        r"
        @module
        def up(doc):
            ran(doc)
            import shout
            return shout.shout(doc.text())
        ",
    );
    project.build_runs(&["up a", "up b", "after A!", "after B!", "plain a", "plain b"]);
    project.replace("modules/shout.py", "text.upper()", "text.lower()");
    project.build_runs(&["up a", "up b", "after a!", "after b!"]);
}

#[test]
fn a_helper_that_comes_into_being_counts() {
    let project = project().module(
        "up",
        r"
        try:
            import extra
        except ImportError:
            extra = None
        @module
        def up(doc):
            ran(doc)
            return doc.text() + (extra.MORE if extra else '')
        ",
    );
    project.build_runs(&["up a", "up b", "after a", "after b", "plain a", "plain b"]);
    project.write("modules/extra.py", "MORE = '+'\n");
    project.build_runs(&["up a", "up b", "after a+", "after b+"]);
    project.remove("modules/extra.py");
    project.build_runs(&[]);
    assert_eq!(project.read("out/after/inbox/a.txt.txt"), "a");
}

#[test]
fn a_stated_version_counts_and_is_found_again() {
    let project = built();
    project.replace("Pipelinefile", "[source.inbox]", "[module.plain]\nversion = \"2\"\n\n[source.inbox]");
    project.build_runs(&["plain a", "plain b"]);
    project.replace("Pipelinefile", "version = \"2\"", "version = \"3\"");
    project.build_runs(&["plain a", "plain b"]);
    project.replace("Pipelinefile", "version = \"3\"", "version = \"2\"");
    project.build_runs(&[]);
}

#[test]
fn what_is_no_part_of_a_key_runs_nothing() {
    let project = built();
    let settings = "[module.plain]\nworkers = 1\ntimeout = \"5m\"\n\n[source.inbox]";
    project.replace("Pipelinefile", "[source.inbox]", settings);
    project.build_runs(&[]);
    project.build_with(&["-j", "1"], 0, &[]);
    project.write("Pipelinefile", format!("# a comment\n{}", project.read("Pipelinefile")));
    project.build_runs(&[]);
}

#[test]
fn a_project_that_moved_runs_nothing() {
    let project = built();
    let elsewhere = project.root().join("sub/elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    for name in ["Pipelinefile", "inbox", "modules", ".pipe", "out"] {
        std::fs::rename(project.root().join(name), elsewhere.join(name)).unwrap();
    }
    project.pipe(&["build", "-C", "sub/elsewhere"]).ends(0);
    assert_eq!(project.take_runs(), Vec::<String>::new());
}

#[test]
fn a_renamed_target_with_the_same_module_runs_nothing() {
    let project = built();
    project.replace("Pipelinefile", "[target.up]", "[target.loud]");
    project.replace("Pipelinefile", "each    = \"up\"", "each    = \"loud\"");
    project.build_runs(&[]);
    assert_eq!(
        project.published_names(),
        ["after/inbox/a.txt.txt", "after/inbox/b.txt.txt", "loud/inbox/a.txt.txt", "loud/inbox/b.txt.txt"]
    );
    project.is_as_built_clean();
}

#[test]
fn two_targets_of_one_module_compute_equal_work_once() {
    let project = built();
    let twin = "[target.twin]\neach = \"inbox\"\nmodule = \"plain\"\n\n[source.inbox]";
    project.replace("Pipelinefile", "[source.inbox]", twin);
    project.build_runs(&[]);
}

#[test]
fn of_a_target_that_is_gone_nothing_stays_published() {
    let project = built();
    let text = project.read("Pipelinefile");
    let without = text.split("[target.plain]").next().unwrap().split("[target.after]").next().unwrap();
    project.write("Pipelinefile", without);
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["up/inbox/a.txt.txt", "up/inbox/b.txt.txt"]);
    project.build_runs(&[]);
    project.write("Pipelinefile", &text);
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 4);
}

#[test]
fn a_target_that_is_new_runs_alone() {
    let project = built();
    let more = "[target.more]\neach = \"up\"\nmodule = \"more\"\n\n[source.inbox]";
    project.replace("Pipelinefile", "[source.inbox]", more);
    project.write_module("more", &PASS.replace("NAME", "more"));
    project.build_runs(&["more A!", "more B!"]);
    project.build_runs(&[]);
}

#[test]
fn another_module_under_the_same_target_runs() {
    let project = built();
    project.replace("Pipelinefile", "module  = \"after\"", "module  = \"plain\"");
    project.build_runs(&["plain A!", "plain B!"]);
    project.replace("Pipelinefile", "module  = \"plain\"", "module  = \"after\"");
    project.build_runs(&[]);
}

#[test]
fn a_broken_module_runs_when_it_is_mended_and_keeps_what_was() {
    let project = built();
    let before = project.read("modules/up.py");
    project.write("modules/up.py", before.replace("import shout", "import nowhere"));
    project.pipe(&["build"]).ends(3).says("nowhere");
    assert_eq!(project.take_runs(), Vec::<String>::new());
    assert_eq!(project.read("out/after/inbox/a.txt.txt"), "A!");
    project.write("modules/up.py", &before);
    project.build_runs(&[]);
}

#[test]
fn an_edit_that_is_taken_back_while_a_worker_starts_is_made_good_by_the_next_build() {
    let code = |word: &str, more: &str| {
        format!("{more}\nword = '{word}'\n@module\ndef read(doc):\n    return word\n")
    };
    let (old, new) = (code("old", ""), code("new", "hold('loaded')"));
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n",
        )
        .file("docs/a.txt", "a")
        .counted("read", &old)
        .with_held_interpreter();
    let running = project.edit_while_starting("read", &old, &new, || project.start(&["build"]));
    running.end().ends(0);
    // Its worker had read what was there for a moment: that is no result of the code that is there now.
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.pipe(&["cat", "read", "docs/a.txt"]).ends(0).stdout, "old");
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
}
