use crate::harness::Project;

const JOINED: &str = r#"
    @module
    def joined(docs):
        ran(" ".join(doc.id for doc in docs))
        return "".join(f"{doc.id}={doc.text()}\n" for doc in docs)
"#;

/// `thread: text`; without a colon there is no thread. `bad` fails.
const MAIL: &str = r"
    @module
    def mail(doc):
        thread, colon, text = doc.text().partition(':')
        if text == 'bad':
            raise ValueError(text)
        return Result(text, meta={'thread': thread} if colon else {})
";

fn by_thread(more: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.mail]
each   = "inbox"
module = "mail"

[target.thread]
group   = "mail"
by      = "meta.thread"
module  = "joined"
publish = "out/{id.value}.txt"
"#;
    Project::counting()
        .file("Pipelinefile", &(pipeline.to_owned() + more))
        .module("mail", MAIL)
        .module("joined", JOINED)
}

#[test]
fn only_touched_groups_run() {
    let project = by_thread("");
    for (name, text) in [("a", "x:1"), ("b", "y:2"), ("c", "x:3"), ("d", "z:4")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project.build_runs(&["joined inbox/a.txt inbox/c.txt", "joined inbox/b.txt", "joined inbox/d.txt"]);
    assert_eq!(project.published()["x.txt"], "inbox/a.txt=1\ninbox/c.txt=3\n");
    project.build_runs(&[]);
    // One member changes its text; one goes to another group, and its old one is gone.
    project.write("inbox/a.txt", "x:one");
    project.write("inbox/d.txt", "y:4");
    project.build_runs(&["joined inbox/a.txt inbox/c.txt", "joined inbox/b.txt inbox/d.txt"]);
    assert_eq!(project.published_names(), ["x.txt", "y.txt"]);
    project.build_runs(&[]);
    project.remove("inbox/c.txt");
    project.build_runs(&["joined inbox/a.txt"]);
    project.is_as_built_clean();
}

#[test]
fn a_document_without_a_value_is_a_failure_or_left_out_and_never_vanishes() {
    let project = by_thread("");
    project.write("inbox/a.txt", "x:1");
    project.write("inbox/b.txt", "none");
    project.build_with(&[], 1, &["joined inbox/a.txt"]).says("1 document without `meta.thread`: inbox/b.txt");
    project.build_with(&[], 1, &[]).says("inbox/b.txt");
    project.replace("Pipelinefile", "publish =", "missing = \"skip\"\npublish =");
    project.build_runs(&[]);
    assert!(project.pipe(&["status"]).text().contains("1 document without `meta.thread` left out"));
    project.write("inbox/b.txt", "x:2");
    project.build_runs(&["joined inbox/a.txt inbox/b.txt"]);
}

#[test]
fn a_group_is_made_if_enough_of_its_members_succeeded() {
    let project = by_thread("min_done = 0.5\n").module(
        "mail",
        r"
        @module
        def mail(doc):
            thread, _, text = doc.text().partition(':')
            return Result(text, meta={'thread': thread})
        ",
    );
    project.replace("Pipelinefile", "group   = \"mail\"", "group   = \"text\"");
    project.replace(
        "Pipelinefile",
        "[target.thread]",
        "[target.text]\neach = \"mail\"\nmodule = \"text\"\n\n[target.thread]",
    );
    project.write_module(
        "text",
        "
        @module
        def text(doc):
            if doc.text() == 'bad':
                raise ValueError('bad')
            return doc.text()
        ",
    );
    for (name, text) in [("a", "x:1"), ("b", "x:bad"), ("c", "y:bad"), ("d", "z:1")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project.build_with(&[], 1, &["joined inbox/a.txt", "joined inbox/d.txt"]);
    assert_eq!(project.published_names(), ["x.txt", "z.txt"]);
    // What is over a part of its members is told beside the groups, as it is for `all`.
    let _said = project.pipe(&["status"]).ends(0).says("1 group over a part of its members");
    let log = project.pipe(&["log", "thread/y"]).text();
    assert!(log.contains("1 of 1 member failed"), "{log}");
    let said =
        project.build_with(&[], 1, &[]).says("Up to date").says("Partial   thread 1 group over a part");
    assert!(!said.text().contains("Plan"), "{}", said.text());
    project.write("inbox/c.txt", "y:1");
    project.build_with(&[], 1, &["joined inbox/c.txt"]);
}

#[test]
fn groups_by_parent_put_a_split_document_together_again() {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.parts]
each   = "inbox"
module = "parts"
split  = true

[target.upper]
each   = "parts"
module = "upper"

[target.whole]
group   = "upper"
by      = "parent"
module  = "joined"

[target.last]
each    = "whole"
shell   = "echo last >> $RUNS; tr A-Z a-z < {in} > {out}"
publish = true
"#;
    let project = Project::counting()
        .file("Pipelinefile", pipeline)
        .module(
            "parts",
            "
        @module
        def parts(doc):
            for line in doc.text().splitlines():
                yield Child(line.split()[0], line)
        ",
        )
        .module(
            "upper",
            "
        @module
        def upper(doc):
            ran(doc)
            return doc.text().upper()
        ",
        )
        .module("joined", JOINED);
    project.write("inbox/a.txt", "z one\nb two\n");
    project.write("inbox/b.txt", "only\n");
    project.build_runs(&[
        "upper z one",
        "upper b two",
        "upper only",
        "joined z b",
        "joined only",
        "last",
        "last",
    ]);
    assert_eq!(project.published()["last/inbox/a.txt.txt"], "z=z one\nb=b two\n");
    project.build_runs(&[]);
    project.write("inbox/a.txt", "b two\nz one\n");
    project.build_runs(&["joined b z", "last"]);
    project.write("inbox/a.txt", "b two\nz one\nc\n");
    project.build_runs(&["upper c", "joined b z c", "last"]);
    // A copy costs nothing: its children are known by their own names.
    project.write("inbox/copy.txt", "b two\nz one\nc\n");
    project.build_runs(&[]);
    project.write("inbox/b.txt", "");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["last/inbox/a.txt.txt", "last/inbox/copy.txt.txt"]);
    project.is_as_built_clean();
}

#[test]
fn groups_by_a_computed_map() {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.map]
all    = "inbox"
module = "map"

[target.cluster]
group   = "inbox"
by      = "target:map"
module  = "joined"
missing = "skip"
publish = "out/{id.value}.txt"
"#;
    let project = Project::counting().file("Pipelinefile", pipeline).module("joined", JOINED).module(
        "map",
        "
        @module
        def map(docs):
            return {doc.id: len(doc.text()) for doc in docs if doc.text() != 'none'}
        ",
    );
    for (name, text) in [("a", "xx"), ("b", "yy"), ("c", "z"), ("d", "none")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project.build_runs(&["joined inbox/a.txt inbox/b.txt", "joined inbox/c.txt"]);
    assert_eq!(project.published_names(), ["1.txt", "2.txt"]);
    project.write("inbox/b.txt", "y");
    project.build_runs(&["joined inbox/a.txt", "joined inbox/b.txt inbox/c.txt"]);
    project.build_runs(&[]);
    project.write_module(
        "map",
        "
        @module
        def map(docs):
            return [1]
    ",
    );
    project.build_with(&[], 1, &[]).says("cluster: `map`: it is no JSON object");
    let status = project.pipe(&["status"]).text();
    assert!(status.contains("`map`: it is no JSON object"), "{status}");
}

#[test]
fn groups_by_a_part_of_the_id() {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.folder]
group   = "inbox"
by      = "id.dir"
module  = "joined"

[target.upper]
each    = "folder"
shell   = "tr a-z A-Z < {in} > {out}"
publish = "out/{id.value}.txt"

[target.all]
all     = "upper"
module  = "joined"
publish = "out/all.txt"
"#;
    let project = Project::counting().file("Pipelinefile", pipeline).module("joined", JOINED);
    for name in ["a/1.txt", "a/2.txt", "b/c/3.txt"] {
        project.write(&format!("inbox/{name}"), name);
    }
    project.build_runs(&[
        "joined inbox/a/1.txt inbox/a/2.txt",
        "joined inbox/b/c/3.txt",
        "joined folder/a folder/b/c",
    ]);
    assert_eq!(project.published_names(), ["a.txt", "all.txt", "b%2Fc.txt"]);
    project.build_runs(&[]);
    project.remove("inbox/b/c/3.txt");
    project.build_runs(&["joined folder/a"]);
    assert_eq!(project.published_names(), ["a.txt", "all.txt"]);
    project.is_as_built_clean();
}

/// Documents grouped by what `map` says, which is made of groups by thread.
fn by_map(missing: &str) -> Project {
    let project = by_thread(
        r#"
[target.map]
all    = "thread"
module = "map"

[target.bundle]
group   = "mail"
by      = "target:map"
missing = "MISSING"
module  = "joined"
publish = true

[target.after]
each    = "bundle"
shell   = "cat {in} > {out}"
publish = true
"#,
    );
    project.replace("Pipelinefile", "MISSING", missing);
    project.write_module(
        "joined",
        "
        @module
        def joined(docs):
            if any('worse' in doc.text() for doc in docs):
                raise ValueError('worse')
            return ''.join(f'{doc.id}={doc.text()}\\n' for doc in docs)
        ",
    );
    project.write_module(
        "map",
        "
        @module
        def map(docs):
            return {line.split('=')[0]: 'both' for doc in docs for line in doc.text().splitlines()}
        ",
    );
    for (name, text) in [("a", "x:1"), ("b", "y:2"), ("c", "y:3")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project
}

#[test]
fn groups_without_the_map_that_makes_them_are_blocked_with_all_behind_them() {
    let project = by_map("skip");
    project.build_runs(&[]);
    let before = project.published();
    assert!(before.contains_key("bundle/bundle/both.txt"), "{before:?}");
    // A thread fails, so too much of the map is missing: there is no saying who is in which group.
    project.write("inbox/c.txt", "y:worse");
    project.build_with(&[], 1, &[]).says("bundle: map failed");
    let listed = project.pipe(&["ls", "bundle"]).text() + &project.pipe(&["ls", "after"]).text();
    assert_eq!(listed.matches("blocked").count(), 2, "{listed}");
    assert_eq!(listed.matches("done").count(), 0, "{listed}");
    let _said =
        project.pipe(&["status"]).says("out/after/bundle/both.txt  after").says("out/bundle/bundle/both.txt");
    let _said = project.pipe(&["why", "thread"]).says("1  failed: ValueError: worse").says("e.g. thread/y");
    let _said = project.pipe(&["why", "after"]).says("1  blocked, behind a failure");
    // The files of before stay, and nothing more is to be done.
    assert_eq!(project.published(), before);
    assert!(!project.build_with(&[], 1, &[]).text().contains("Plan"));
    // What was there before is there again.
    project.write("inbox/c.txt", "y:3");
    project.build_runs(&[]);
    let listed = project.pipe(&["ls", "bundle"]).text() + &project.pipe(&["ls", "after"]).text();
    assert_eq!(listed.matches("done").count(), 2, "{listed}");
    project.is_as_built_clean();
}

#[test]
fn documents_that_a_map_does_not_know_are_left_out_or_a_failure() {
    for (missing, status) in [("skip", 1), ("fail", 1)] {
        let project = by_map(missing);
        project.replace("Pipelinefile", "[target.map]", "[target.map]\nmin_done = 0.1");
        project.write("inbox/c.txt", "y:worse");
        // Thread y has failed: the map says nothing of b and c.
        let said = project.build_with(&[], status, &[]).text();
        assert!(said.contains("map over 1 of 2"), "{said}");
        assert_eq!(project.published()["bundle/bundle/both.txt"], "inbox/a.txt=1\n");
        let words = match missing {
            "skip" => "2 documents without `target:map` left out",
            _ => "2 documents without `target:map`: inbox/b.txt, inbox/c.txt; fine? missing = \"skip\"",
        };
        assert!(project.pipe(&["status"]).text().contains(words), "{}", project.pipe(&["status"]).text());
        project.write("inbox/c.txt", "y:3");
        project.build_runs(&[]);
        assert_eq!(project.published()["bundle/bundle/both.txt"].lines().count(), 3);
        project.is_as_built_clean();
    }
}
