use crate::harness::Project;

fn project(missing: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.note]
each   = "inbox"
module = "note"

[target.both]
each    = "inbox"
with    = { note = WITH }
module  = "both"
publish = true
"#;
    Project::counting()
        .file("Pipelinefile", &pipeline.replace("WITH", missing))
        .module(
            "note",
            "
            @module
            def note(doc):
                ran(doc)
                text = doc.text()
                if text == 'bad':
                    raise ValueError('bad')
                if text == 'skip':
                    raise Skip('nothing to note')
                return str(len(text))
            ",
        )
        .module(
            "both",
            "
            @module
            def both(doc, *, note: Doc = None):
                text = doc.text() + '/' + (note.text() if note else '-')
                ran(text)
                return text
            ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "bb")
}

#[test]
fn a_document_gets_what_came_of_itself() {
    let project = project("\"note\"");
    project.build_runs(&["note a", "note bb", "both a/1", "both bb/2"]);
    project.build_runs(&[]);
    // Another note alone.
    project.replace("modules/note.py", "str(len(text))", "str(len(text) * (3 if text == 'a' else 1))");
    project.build_runs(&["note a", "note bb", "both a/3"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn what_failed_blocks_and_what_is_missing_fails() {
    let project = project("\"note\"");
    project.write("inbox/c.txt", "bad");
    project.write("inbox/d.txt", "skip");
    let said =
        project.build_with(&[], 1, &["note a", "note bb", "note bad", "note skip", "both a/1", "both bb/2"]);
    let _said = said.says("there is no `note` for it").says("Blocked   1 document");
    assert_eq!(project.published_names(), ["both/inbox/a.txt.txt", "both/inbox/b.txt.txt"]);
    project.build_with(&[], 1, &[]);
    project.write("inbox/c.txt", "ccc");
    project.write("inbox/d.txt", "dddd");
    project.build_runs(&["note ccc", "note dddd", "both ccc/3", "both dddd/4"]);
    project.is_as_built_clean();
}

#[test]
fn what_is_missing_may_be_none_or_leave_out() {
    let project = project("{ from = \"note\", missing = \"none\" }");
    project.write("inbox/a.txt", "skip");
    project.build_runs(&["note skip", "note bb", "both skip/-", "both bb/2"]);
    project.replace("Pipelinefile", "\"none\"", "\"skip\"");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["both/inbox/b.txt.txt"]);
    project.replace("Pipelinefile", "\"skip\"", "\"none\"");
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 2);
    project.is_as_built_clean();
}

#[test]
fn what_a_where_leaves_out_is_missing_too() {
    let project = project("{ from = \"note\", missing = \"none\" }");
    project.replace("Pipelinefile", "module = \"note\"", "module = \"note\"\nwhere = { id = \"inbox/b*\" }");
    project.build_runs(&["note bb", "both a/-", "both bb/2"]);
    project.replace("Pipelinefile", "inbox/b*", "inbox/a*");
    project.build_runs(&["note a", "both a/1", "both bb/-"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn the_document_itself_can_be_a_side_input() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.up]
            each  = "inbox"
            shell = 'echo up >> $RUNS; tr a-z A-Z < {in} | cut -c1 > {out}'

            [target.pair]
            each    = "up"
            with    = { text = "inbox" }
            shell   = 'echo pair >> $RUNS; cat {in} {with.text} > {out}'
            publish = true
            "#,
        )
        .file("inbox/a.txt", "ab");
    project.build_runs(&["up", "pair"]);
    assert_eq!(project.read("out/pair/inbox/a.txt.txt"), "A\nab");
    // The first letter stays: `up` is the same, the text is not.
    project.write("inbox/a.txt", "ac");
    project.build_runs(&["up", "pair"]);
    assert_eq!(project.read("out/pair/inbox/a.txt.txt"), "A\nac");
    project.build_runs(&[]);
}

#[test]
fn a_shared_result_that_stays_the_same_runs_nobody() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.longest]
            all   = "inbox"
            shell = 'echo longest >> $RUNS; wc -l < {in} > {out}'

            [target.use]
            each   = "inbox"
            with   = { longest = "longest" }
            module = "use"
            publish = true
            "#,
        )
        .module(
            "use",
            "
            def load(longest):
                ran('setup')
                return longest.text().strip()

            @module(setup=load)
            def use(doc, longest):
                ran(doc)
                return doc.text() + longest
            ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "b");
    project.build_with(&["-j", "1"], 0, &["longest", "use setup", "use a", "use b"]);
    // The set has another member list with as many members: its result is the same.
    project.write("inbox/b.txt", "c");
    project.build_with(&["-j", "1"], 0, &["longest", "use setup", "use c"]);
    project.write("inbox/d.txt", "d");
    project.build_with(&["-j", "1"], 0, &["longest", "use setup", "use a", "use c", "use d"]);
    project.remove("inbox/d.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/use/inbox/a.txt.txt"), "a2");
    project.is_as_built_clean();
}

#[test]
fn a_module_that_is_not_asked_to_run_is_not_started() {
    let project = project("\"note\"").module(
        "note",
        "
        ran('imported')
        @module
        def note(doc):
            return doc.text()
        ",
    );
    project.pipe(&["build"]).ends(0);
    assert!(project.take_runs().contains(&"note imported".to_owned()));
    project.write("inbox/c.txt", "a");
    project.build_runs(&[]);
}

#[test]
fn all_that_a_module_can_read_in_a_folder_counts_but_what_tools_leave_does_not() {
    let project = project("\"file:tools\"");
    project.write_module(
        "both",
        "
        @module
        def both(doc, *, note: Doc):
            ran(doc)
            return doc.text()
        ",
    );
    project.write("tools/one.txt", "1");
    project.build_runs(&["note a", "note bb", "both a", "both bb"]);
    for left in
        [".git/HEAD", ".DS_Store", ".cache/y", "__pycache__/z.pyc", ".ipynb_checkpoints/n", "sub/.#one.txt"]
    {
        project.write(&format!("tools/{left}"), "x");
    }
    project.build_runs(&[]);
    for counts in ["tools/.lexicon", "tools/.rules/a"] {
        project.write(counts, "1");
        project.build_runs(&["both a", "both bb"]);
        project.write(counts, "2");
        project.build_runs(&["both a", "both bb"]);
    }
    project.write("tools/sub/two.txt", "2");
    project.build_runs(&["both a", "both bb"]);
}

#[test]
fn a_folder_of_links_counts_as_what_they_lead_to() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.seen]\neach = \"inbox\"\nwith = { model = \"file:model\" }\nmodule = \"seen\"\n",
        )
        .module(
            "seen",
            "
            @module
            def seen(doc, *, model: Doc):
                import os
                walk = sorted(os.walk(model.path, followlinks=True))
                files = [os.path.join(folder, name) for folder, _, names in walk for name in sorted(names)]
                text = ' '.join(open(file).read() for file in files if os.path.exists(file))
                ran(text)
                return text
            ",
        )
        .file("inbox/a.txt", "a")
        .file("cache/blobs/one", "first")
        .file("cache/more/two", "second")
        .file("model/plain", "third");
    // As caches of models are: a folder of links to what lies elsewhere; one leads nowhere.
    for (to, link) in [("../cache/blobs/one", "config"), ("../cache/more", "more"), ("nothing", "gone")] {
        std::os::unix::fs::symlink(to, project.root().join("model").join(link)).unwrap();
    }
    project.build_runs(&["seen first third second"]);
    project.build_runs(&[]);
    project.write("cache/blobs/one", "other");
    project.build_runs(&["seen other third second"]);
    project.write("cache/more/two", "again");
    project.build_runs(&["seen other third again"]);
    std::fs::remove_file(project.root().join("model/gone")).unwrap();
    project.build_runs(&["seen other third again"]);
    project.build_runs(&[]);
}
