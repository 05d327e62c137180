use crate::harness::Project;

const JOINED: &str = r#"
    @module
    def joined(docs):
        ran(" ".join(doc.id for doc in docs))
        return "".join(f"{doc.id}={doc.text()}\n" for doc in docs)
"#;

const PICK: &str = r"
    @module
    def pick(doc):
        ran(doc)
        text = doc.text()
        if text.startswith('fail'):
            raise ValueError(text)
        if text.startswith('skip'):
            raise Skip(text)
        return text.upper()
";

fn project(target: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.pick]
each   = "inbox"
module = "pick"

[target.joined]
all     = "pick"
module  = "joined"
publish = "out/joined.txt"
"#;
    Project::counting()
        .file("Pipelinefile", &(pipeline.to_owned() + target))
        .module("pick", PICK)
        .module("joined", JOINED)
}

#[test]
fn skipped_and_left_out_documents_are_no_members() {
    let project = project("where = { id = \"!inbox/z*\" }\n");
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "skip");
    project.write("inbox/z.txt", "z");
    project.build_runs(&["pick a", "pick skip", "pick z", "joined inbox/a.txt"]);
    assert_eq!(project.read("out/joined.txt"), "inbox/a.txt=A\n");
    project.build_runs(&[]);
}

#[test]
fn members_come_in_byte_order_of_their_ids() {
    let project = project("");
    for name in ["b.txt", "a/x.txt", "a-b.txt", "a0.txt", "B.txt", "a/a/x.txt", "é.txt"] {
        project.write(&format!("inbox/{name}"), name);
    }
    project.pipe(&["build"]).ends(0);
    let ids: Vec<String> = project
        .read("out/joined.txt")
        .lines()
        .map(|line| line.split('=').next().unwrap().to_owned())
        .collect();
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(ids, sorted);
    assert_eq!(ids.len(), 7);
}

#[test]
fn a_set_waits_until_enough_members_succeeded() {
    let project = project("min_done = 0.7\n");
    for (name, text) in [("a", "a"), ("b", "b"), ("c", "fail c"), ("d", "fail d")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project.build_with(&[], 1, &["pick a", "pick b", "pick fail c", "pick fail d"]).says("2 of 4");
    assert_eq!(project.published_names(), Vec::<String>::new());
    project.build_with(&[], 1, &[]).says("2 of 4");
    project.write("inbox/c.txt", "c");
    project
        .build_with(&[], 1, &["pick c", "joined inbox/a.txt inbox/b.txt inbox/c.txt"])
        .says("joined over 3 of 4");
    // Below again: the old result stays.
    project.write("inbox/b.txt", "fail b");
    project.build_with(&[], 1, &["pick fail b"]).says("2 of 4");
    assert_eq!(project.read("out/joined.txt"), "inbox/a.txt=A\ninbox/b.txt=B\ninbox/c.txt=C\n");
    project.build_with(&[], 1, &[]).says("2 of 4");
    project.write("inbox/b.txt", "b");
    project.build_with(&[], 1, &[]).says("3 of 4");
    project.write("inbox/d.txt", "d");
    project.build_runs(&["pick d", "joined inbox/a.txt inbox/b.txt inbox/c.txt inbox/d.txt"]);
}

#[test]
fn the_share_that_must_succeed_is_decided_anew_when_it_changes() {
    let project = project("min_done = 0.9\n");
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "fail");
    project.build_with(&[], 1, &["pick a", "pick fail"]).says("1 of 2");
    project.replace("Pipelinefile", "0.9", "0.5");
    project.build_with(&[], 1, &["joined inbox/a.txt"]).says("1 of 2");
    assert_eq!(project.read("out/joined.txt"), "inbox/a.txt=A\n");
}

#[test]
fn a_set_of_failures_alone_is_blocked_and_one_of_skips_is_empty() {
    let project = project("");
    project.write("inbox/a.txt", "fail");
    project.build_with(&[], 1, &["pick fail"]).says("joined: 1 of 1 member failed");
    project.write("inbox/a.txt", "skip");
    project.build_runs(&["pick skip", "joined "]);
    assert_eq!(project.read("out/joined.txt"), "");
}

#[test]
fn each_behind_a_set_and_what_is_shared_follow_its_result() {
    let project = project(
        r#"
[target.count]
each   = "joined"
shell  = 'echo count >> $RUNS; wc -l < {in} > {out}'

[target.marked]
each    = "pick"
with    = { count = "count" }
module  = "marked"
publish = true

[target.last]
all     = "marked"
with    = { joined = "joined" }
module  = "last"
publish = "out/last.txt"
"#,
    )
    .module(
        "marked",
        "
        @module
        def marked(doc, *, count: Doc):
            ran(f'{doc.text()} {count.text().strip()}')
            return f'{doc.text()}/{count.text().strip()}'
        ",
    )
    .module(
        "last",
        "
        @module
        def last(docs, *, joined: Doc):
            ran(' '.join(doc.text() for doc in docs))
            return joined.text() + ' '.join(doc.text() for doc in docs)
        ",
    );
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "b");
    project.build_runs(&[
        "pick a",
        "pick b",
        "joined inbox/a.txt inbox/b.txt",
        "count",
        "marked A 2",
        "marked B 2",
        "last A/2 B/2",
    ]);
    project.build_runs(&[]);
    // The set changes, the count does not: behind it only the edited document runs.
    project.write("inbox/a.txt", "c");
    project.build_runs(&["pick c", "joined inbox/a.txt inbox/b.txt", "count", "marked C 2", "last C/2 B/2"]);
    project.build_runs(&[]);
    // The count changes: everything behind it runs.
    project.write("inbox/d.txt", "d");
    project.build_runs(&[
        "pick d",
        "joined inbox/a.txt inbox/b.txt inbox/d.txt",
        "count",
        "marked B 3",
        "marked C 3",
        "marked D 3",
        "last C/3 B/3 D/3",
    ]);
    project.build_runs(&[]);
    project.remove("inbox/d.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/marked/inbox/a.txt.txt"), "C/2");
    project.is_as_built_clean();
}

#[test]
fn what_needs_a_blocked_set_is_blocked_and_keeps_its_files() {
    let project = project(
        r#"
[target.marked]
each    = "pick"
with    = { joined = "joined" }
shell   = 'echo marked >> $RUNS; cat {in} {with.joined} > {out}'
publish = true
"#,
    );
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "b");
    project.build_runs(&["pick a", "pick b", "joined inbox/a.txt inbox/b.txt", "marked", "marked"]);
    let before = project.published();
    project.write("inbox/b.txt", "fail");
    project.build_with(&[], 1, &["pick fail"]).says("1 of 2").says("Blocked");
    assert_eq!(project.published(), before, "the last files stay");
    project.write("inbox/b.txt", "b");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_set_over_sources_reads_the_files_themselves() {
    let project = Project::counting().module("joined", JOINED).file(
        "Pipelinefile",
        r#"
        [source.one]
        path = "one"

        [source.two]
        path = "two"

        [target.joined]
        all     = ["two", "one"]
        module  = "joined"
        publish = "out/joined.txt"
        "#,
    );
    project.write("one/a.txt", "1");
    project.write("two/a.txt", "2");
    project.build_runs(&["joined one/a.txt two/a.txt"]);
    assert_eq!(project.read("out/joined.txt"), "one/a.txt=1\ntwo/a.txt=2\n");
    project.write("one/a.txt", "3");
    project.build_runs(&["joined one/a.txt two/a.txt"]);
    project.write("one/a.txt", "1");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "one/a.txt=1\ntwo/a.txt=2\n");
}

#[test]
fn a_filter_over_a_set_reads_its_manifest_or_its_files() {
    let project = Project::counting().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [target.lines]
        all     = "inbox"
        shell   = 'echo lines >> $RUNS; grep -c "\"digest\"" {in} > {out}'
        publish = "out/lines.txt"

        [target.cat]
        all     = "inbox"
        inputs  = "files"
        shell   = 'echo cat >> $RUNS; python3 -c "import json; [print(open(json.loads(l)[\"path\"]).read()) for l in open(\"{in}\")]" > {out}'
        publish = "out/cat.txt"

        [target.up]
        each  = "inbox"
        shell = 'tr a-z A-Z < {in} > {out}'

        [target.ups]
        all     = "up"
        inputs  = "files"
        sees    = []
        shell   = 'echo ups >> $RUNS; cat {in} > {out}'
        publish = "out/ups.txt"
        "#,
    );
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "b");
    project.build_runs(&["lines", "cat", "ups"]);
    assert_eq!((project.read("out/lines.txt"), project.read("out/cat.txt")), ("2\n".into(), "a\nb\n".into()));
    let ups = project.read("out/ups.txt");
    assert!(ups.contains("/.pipe/") && !ups.contains("\"text\"") && !ups.contains("inbox"), "{ups}");
    project.build_runs(&[]);
    project.remove("inbox/a.txt");
    project.build_runs(&["lines", "cat", "ups"]);
    assert_eq!((project.read("out/lines.txt"), project.read("out/cat.txt")), ("1\n".into(), "b\n".into()));
    project.replace("Pipelinefile", "inputs  = \"files\"\nsees ", "sees ");
    project.build_runs(&["ups"]);
    assert!(project.read("out/ups.txt").contains("\"text\":\"B\""));
}

#[test]
fn a_set_that_fails_is_a_failure_of_its_own() {
    let project = project("").module(
        "joined",
        "
        @module
        def joined(docs):
            ran('set')
            raise ValueError('cannot join')
        ",
    );
    project.write("inbox/a.txt", "a");
    project.build_with(&[], 1, &["pick a", "joined set"]).says("cannot join");
    project.build_with(&[], 1, &[]).says("cannot join");
    project.write("inbox/a.txt", "b");
    project.build_with(&[], 1, &["pick b", "joined set"]);
}

#[test]
fn who_does_not_see_ids_is_not_told_them_by_paths() {
    let project = Project::counting().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [target.lines]
        all     = "inbox"
        sees    = ["ext"]
        shell   = 'echo lines >> $RUNS; cat {in} > {out}'
        publish = "out/lines.txt"
        "#,
    );
    project.write("inbox/a.txt", "a");
    project.build_runs(&["lines"]);
    let lines = project.read("out/lines.txt");
    assert!(lines.contains("/.pipe/") && !lines.contains("inbox"), "{lines}");
    project.rename("inbox/a.txt", "inbox/b.txt");
    project.build_runs(&[]);
}

#[test]
fn a_set_with_too_few_members_is_not_looked_at_again_until_something_changes() {
    let project = project("");
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "fail b");
    project.build_with(&[], 1, &["pick a", "pick fail b"]).says("1 of 2 members failed");
    let log = || std::fs::metadata(project.root().join(".pipe/segments/000001.seg")).unwrap().len();
    let before = log();
    let said = project.build_with(&[], 1, &[]).says("1 of 2 members failed").says("Up to date");
    assert!(!said.text().contains("Plan"), "{}", said.text());
    assert_eq!(log(), before);
    project.write("inbox/b.txt", "b");
    project.build_runs(&["pick b", "joined inbox/a.txt inbox/b.txt"]);
    project.build_runs(&[]);
}

/// Which of two results of one document is meant nobody can say: it fails in a set, as it does where each is taken.
#[test]
fn a_document_in_two_streams_of_a_union_is_missing_in_a_set() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.a]
            each  = "inbox"
            where = { id = "!inbox/x" }
            shell = "echo A > {out}"

            [target.b]
            each  = "inbox"
            where = { id = "!inbox/y" }
            shell = "echo B > {out}"

            [target.all]
            all      = ["a", "b"]
            min_done = "60%"
            shell    = "cat {in} > {out}"
            "#,
        )
        .file("inbox/x", "")
        .file("inbox/y", "")
        .file("inbox/z", "");
    drop(project.pipe(&["build"]).ends(0).says("over 2 of 3; 1 has a result in several of its streams"));
    let all = project.pipe(&["cat", "all"]).ends(0).text();
    assert!(all.contains("inbox/x") && all.contains("inbox/y") && !all.contains("inbox/z"), "{all}");
    project.replace("Pipelinefile", "60%", "90%");
    drop(
        project
            .pipe(&["build", "all"])
            .ends(1)
            .says("1 of 3 members failed; 1 has a result in several of its streams"),
    );
}
