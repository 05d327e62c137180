use std::io::Read;
use std::process::Stdio;

use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each   = "inbox"
    module = "up"

    [target.after]
    each    = "up"
    module  = "after"
    publish = true

    [target.joined]
    all     = "after"
    module  = "joined"
    publish = "out/joined.txt"
"#;

const UP: &str = r#"
    # What it adds lies outside of what is keyed: a module that is not reproducible.
    def extra():
        try:
            return open(os.environ["RUNS"] + ".extra").read()
        except FileNotFoundError:
            return ""

    @module
    def up(doc):
        ran(doc)
        return doc.text().upper() + extra()
"#;

const AFTER: &str = r"
    @module
    def after(doc):
        ran(doc)
        return doc.text()
";

const JOINED: &str = r#"
    @module
    def joined(docs):
        ran(" ".join(doc.id for doc in docs))
        return "".join(doc.text() for doc in docs)
"#;

/// Three documents, two of them equal.
fn built() -> Project {
    let project = Project::counting()
        .file("Pipelinefile", PIPELINE)
        .module("up", UP)
        .module("after", AFTER)
        .module("joined", JOINED)
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "b")
        .file("inbox/copy.txt", "a");
    project.build_runs(&["up a", "up b", "after A", "after B", ALL]);
    project
}

/// Long after the clock of tests.
const LATER: &str = "4102444800000";

const ALL: &str = "joined inbox/a.txt inbox/b.txt inbox/copy.txt";

fn redo(project: &Project, arguments: &[&str]) {
    project.pipe(&[&["redo"], arguments].concat()).ends(0);
    assert_eq!(project.take_runs(), Vec::<String>::new(), "marking runs nothing");
}

#[test]
fn a_redo_runs_each_distinct_key_once_and_stops_where_outputs_are_the_same() {
    let project = built();
    redo(&project, &["up"]);
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn what_comes_out_different_goes_on_and_stands_for_every_document_with_that_key() {
    let project = built();
    project.write("runs.extra", "!");
    redo(&project, &["up"]);
    project.build_runs(&["up a", "up b", "after A!", "after B!", ALL]);
    assert_eq!(project.read("out/joined.txt"), "A!B!A!");
    project.build_runs(&[]);
    // The newest result is the present one, also for a document that comes later.
    project.write("inbox/d.txt", "a");
    project.build_runs(&[&format!("{ALL} inbox/d.txt")]);
    assert_eq!(project.read("out/after/inbox/d.txt.txt"), "A!");
}

#[test]
fn a_redo_of_a_set_runs_it_once() {
    let project = built();
    redo(&project, &["joined"]);
    project.build_runs(&[ALL]);
    project.build_runs(&[]);
}

#[test]
fn a_module_in_place_of_a_target_means_all_its_targets() {
    let project = built();
    let twin = "[target.twin]\neach = \"inbox\"\nmodule = \"up\"\n\n[source.inbox]";
    project.replace("Pipelinefile", "[source.inbox]", twin);
    project.replace("Pipelinefile", "[target.up]", "[target.loud]");
    project.replace("Pipelinefile", "each    = \"up\"", "each    = \"loud\"");
    project.build_runs(&[]);
    redo(&project, &["up"]);
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
}

#[test]
fn a_redo_of_one_document_leaves_the_others() {
    let project = built();
    redo(&project, &["up", "--docs", "inbox/b*"]);
    project.build_runs(&["up b"]);
    project.build_runs(&[]);
}

#[test]
fn a_redo_of_one_of_two_equal_documents_replaces_the_result_of_both() {
    let project = built();
    project.write("runs.extra", "!");
    redo(&project, &["up", "--docs", "inbox/copy.txt"]);
    project.build_with(&[], 0, &["up a", "after A!", ALL]).says("up is not reproducible");
    assert_eq!(project.read("out/after/inbox/copy.txt.txt"), "A!");
    assert_eq!(project.read("out/after/inbox/a.txt.txt"), "A!", "one key has one present result");
    assert_eq!(project.read("out/joined.txt"), "A!BA!");
    project.build_runs(&[]);
}

#[test]
fn a_redo_that_names_nothing_says_so() {
    let project = built();
    project.pipe(&["redo", "up", "--docs", "inbox/nothing*"]).ends(4);
    project.pipe(&["redo", "upp"]).ends(2).says("up");
    project.build_runs(&[]);
}

#[test]
fn a_redo_of_what_a_split_made_names_the_document_that_was_split() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.parts]\neach = \"inbox\"\nsplit = true\nmodule = \"parts\"\n\
             [target.up]\neach = \"parts\"\nmodule = \"up\"\n",
        )
        .module(
            "parts",
            "
            @module
            def parts(doc):
                ran(doc)
                for word in doc.text().split():
                    yield Child(word, word)
            ",
        )
        .module("up", "
            @module
            def up(doc):
                ran(doc)
                return doc.text().upper()
            ")
        .file("inbox/a.txt", "p q");
    project.build_runs(&["parts p q", "up p", "up q"]);
    for words in
        [&["redo", "parts", "--docs", "inbox/a.txt#p"][..], &["redo", "parts", "--docs", "inbox/*#*", "-n"]]
    {
        let said = project.pipe(words).ends(4);
        let told = "what a split made is done again with the document that was split";
        drop(said.says(told).says("pipe redo parts --docs 'inbox/a.txt'"));
    }
    project.build_runs(&[]);
    // Where a child is done by itself, it is.
    redo(&project, &["--docs", "inbox/a.txt#p"]);
    project.build_runs(&["up p"]);
    redo(&project, &["parts", "--docs", "inbox/a.txt"]);
    project
        .pipe(&["redo", "parts", "--docs", "inbox/a.txt#p", "--cancel"])
        .ends(0)
        .says("nothing there is marked");
    project.build_runs(&["parts p q"]);
}

#[test]
fn a_redo_on_trial_marks_nothing() {
    let project = built();
    project.pipe(&["redo", "up", "-n"]).ends(0).says("3 documents");
    project.build_runs(&[]);
}

#[test]
fn other_code_is_not_touched_by_a_redo() {
    let project = built();
    let before = project.read("modules/up.py");
    project.write("modules/up.py", before.replace("upper()", "upper() + '.'"));
    project.build_runs(&["up a", "up b", "after A.", "after B.", ALL]);
    redo(&project, &["up"]);
    // Back to the code whose results nobody asked to redo.
    project.write("modules/up.py", &before);
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "ABA");
    // And again to the code that was marked: now it is done again.
    project.write("modules/up.py", before.replace("upper()", "upper() + '.'"));
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
}

#[test]
fn what_was_redone_stays_redone_after_a_revert() {
    let project = built();
    redo(&project, &["up"]);
    project.build_runs(&["up a", "up b"]);
    project.write("inbox/b.txt", "c");
    project.build_runs(&["up c", "after C", ALL]);
    // Done after the mark: it counts.
    project.write("inbox/b.txt", "b");
    project.build_runs(&[]);
}

#[test]
fn a_result_from_before_the_mark_does_not_count_for_a_document_that_comes_later() {
    let project = built();
    project.write("inbox/b.txt", "c");
    project.build_runs(&["up c", "after C", ALL]);
    redo(&project, &["up"]);
    project.write("inbox/b.txt", "b");
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
}

#[test]
fn two_redos_before_a_build_are_one_run() {
    let project = built();
    redo(&project, &["up"]);
    redo(&project, &["up"]);
    project.build_runs(&["up a", "up b"]);
    redo(&project, &["up", "after"]);
    project.build_runs(&["up a", "up b", "after A", "after B"]);
    project.build_runs(&[]);
}

#[test]
fn a_module_error_fulfils_the_mark() {
    let project = built();
    project.write_module(
        "up",
        "
        @module
        def up(doc):
            ran(doc)
            raise ValueError('no')
    ",
    );
    project.build_with(&[], 1, &["up a", "up b"]);
    redo(&project, &["up"]);
    project.build_with(&[], 1, &["up a", "up b"]);
    project.build_with(&[], 1, &[]);
}

#[test]
fn a_redo_that_is_killed_half_way_is_finished_by_the_next_build() {
    let project = Project::counting().file("Pipelinefile", PIPELINE).module("after", AFTER);
    let project = project.module("joined", JOINED).module(
        "up",
        &UP.replace("ran(doc)", "ran(doc)\n        wait(doc)").replace(
            "@module",
            r#"
    # Each document after the third waits until it may go on.
    def wait(doc):
        import time
        runs = open(os.environ["RUNS"]).read().split("\n")
        while len(runs) > 4 and os.path.exists(os.environ["RUNS"] + ".hold"):
            time.sleep(0.01)

    @module"#,
        ),
    );
    let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
    for name in &names {
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project.pipe(&["build"]).ends(0);
    project.take_runs();
    redo(&project, &["up"]);
    project.write("runs.hold", "");
    let mut child = project.command(&["build", "-j", "1", "--json"]).stderr(Stdio::null()).spawn().unwrap();
    // Until something was said to be done, and then it is killed.
    let mut said = child.stdout.take().unwrap();
    let mut text = String::new();
    let mut buffer = [0; 256];
    while !text.contains("\"done\"") {
        let n = said.read(&mut buffer).unwrap();
        assert!(n > 0, "it ended by itself: {text}");
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    child.kill().unwrap();
    said.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    project.remove("runs.hold");
    let done: Vec<&String> = names
        .iter()
        .filter(|name| {
            let of = format!("inbox/{name}.txt");
            text.lines()
                .any(|line| line.contains("\"done\"") && line.contains(&of) && line.contains("\"up\""))
        })
        .collect();
    assert!(!done.is_empty() && done.len() < names.len(), "{text}");
    project.take_runs();
    project.pipe(&["build"]).ends(0);
    let runs = project.take_runs();
    for name in &names {
        let ran = runs.contains(&format!("up {name}"));
        if done.contains(&name) {
            assert!(!ran, "{name} was reported done, and ran again: {runs:?}");
        }
    }
    let redone = runs.iter().filter(|run| run.starts_with("up ")).count();
    assert!(redone >= names.len() - 4, "the rest is still to be done again: {runs:?}");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_withdrawn_redo_runs_nothing_and_what_was_redone_stays() {
    let project = built();
    redo(&project, &["up", "after"]);
    project.build_with(&["up"], 0, &["up a", "up b"]);
    project.pipe(&["redo", "--cancel", "-n"]).ends(0).says("after: would withdraw: 3 documents");
    project.pipe(&["redo", "--cancel"]).shows(
        "
        status: 0
        --- stdout
        after: no longer to be done again: 3 documents
        --- stderr
        hint: pipe build
    ",
    );
    project.pipe(&["redo", "--cancel"]).ends(0).says("nothing there is marked");
    project.build_runs(&[]);
    // A later mark counts again.
    redo(&project, &["after"]);
    project.build_runs(&["after A", "after B"]);
    project.is_as_built_clean();
}

#[test]
fn a_redo_is_withdrawn_for_the_documents_of_a_glob() {
    let project = built();
    redo(&project, &["up"]);
    redo(&project, &["up", "--cancel", "--docs", "inbox/b*"]);
    project.build_runs(&["up a"]);
    project.build_runs(&[]);
}

#[test]
fn a_redo_from_a_target_is_it_and_all_behind_it() {
    let project = built();
    redo(&project, &["--from", "after"]);
    project.build_runs(&["after A", "after B", ALL]);
    project.build_runs(&[]);
    project.pipe(&["redo", "--from", "up", "-n"]).ends(0).says("joined: would do again: 1 document");
}

#[test]
fn a_redo_of_what_is_older_leaves_what_is_younger() {
    let project = built();
    // The clock stands still in tests: nothing is older than now, and everything is older than nothing.
    project.pipe(&["redo", "up", "--older-than", "1d"]).ends(0).says("up: to be done again: 0 documents");
    project.build_runs(&[]);
    let project = project.env("PIPE_NOW", LATER);
    project.pipe(&["redo", "up", "--older-than", "30d"]).ends(0).says("up: to be done again: 3 documents");
    project.build_runs(&["up a", "up b"]);
    project.pipe(&["redo", "up", "--older-than", "30d", "-n"]).ends(0).says("0 documents");
    project.pipe(&["redo", "after", "--older-than", "30d", "-n"]).ends(0).says("3 documents");
    project.build_runs(&[]);
    project.pipe(&["redo", "up", "--older-than", "30"]).ends(2).says("no age");
}

#[test]
fn a_redo_by_a_glob_covers_sets_with_such_a_member() {
    let project = built();
    redo(&project, &["joined", "--docs", "inbox/b*"]);
    project.build_runs(&[ALL]);
    project.build_runs(&[]);
    redo(&project, &["--docs", "inbox/b*"]);
    project.build_runs(&["up b", "after B", ALL]);
    project.build_runs(&[]);
    project.pipe(&["redo", "joined", "--docs", "inbox/x*"]).ends(4);
}

#[test]
fn a_redo_by_a_glob_covers_the_groups_with_such_a_member() {
    let project = built();
    project.replace("Pipelinefile", "all     = \"after\"", "group = \"after\"\nby = \"id.stem\"");
    project.replace("Pipelinefile", "publish = \"out/joined.txt\"", "publish = true");
    project.build_runs(&["joined inbox/a.txt", "joined inbox/b.txt", "joined inbox/copy.txt"]);
    redo(&project, &["joined", "--docs", "inbox/b*"]);
    project.build_runs(&["joined inbox/b.txt"]);
    project.build_runs(&[]);
}

#[test]
fn a_redo_without_a_word_of_what_is_refused() {
    let project = built();
    project.pipe(&["redo"]).ends(2).says("pipe redo --from TARGET");
    project.build_runs(&[]);
}

#[test]
fn a_redo_is_withdrawn_for_one_module_of_a_route() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.text]
            each  = "inbox"
            route = [{ where = { id = "inbox/x*" }, module = "ocr" }, { module = "plain" }]
        "#,
        )
        .module("ocr", "@module\ndef ocr(doc):\n    ran(doc)\n    return doc.text().upper()\n")
        .module("plain", "@module\ndef plain(doc):\n    ran(doc)\n    return doc.text()\n")
        .file("inbox/x.txt", "x")
        .file("inbox/y.txt", "y");
    project.build_runs(&["ocr x", "plain y"]);
    redo(&project, &["text"]);
    project.pipe(&["redo", "--cancel", "ocr"]).ends(0).says("1 document");
    project.build_runs(&["plain y"]);
    redo(&project, &["text"]);
    project.pipe(&["redo", "--cancel", "text"]).ends(0).says("2 documents");
    project.build_runs(&[]);
}

/// The mark alone is on disk: killed right after it, or the index lost before the build.
#[test]
fn a_redo_of_some_survives_the_loss_of_the_index() {
    let lose = |project: &Project| std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    let project = built().env("PIPE_NOW", LATER);
    redo(&project, &["up", "--older-than", "30d"]);
    lose(&project);
    project.build_runs(&["up a", "up b"]);
    redo(&project, &["joined", "--docs", "inbox/b*"]);
    lose(&project);
    project.build_runs(&[ALL]);
    project.build_runs(&[]);

    let project = built();
    project.replace("Pipelinefile", "all     = \"after\"", "group = \"after\"\nby = \"id.stem\"");
    project.replace("Pipelinefile", "publish = \"out/joined.txt\"", "publish = true");
    project.build_runs(&["joined inbox/a.txt", "joined inbox/b.txt", "joined inbox/copy.txt"]);
    redo(&project, &["joined", "--docs", "inbox/b*"]);
    lose(&project);
    project.build_runs(&["joined inbox/b.txt"]);
    project.build_runs(&[]);
}
