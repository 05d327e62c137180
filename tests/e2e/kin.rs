//! Side inputs of what a document was split from, and of the group that it is a member of.

use crate::harness::Project;

/// `head` of the whole document, `lines` of it, `words` of these.
fn pages(with: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.title]
each  = "inbox"
shell = 'echo title >> $RUNS; head -1 {in} > {out}; ! grep -q bad {out}'

[target.line]
each  = "inbox"
split = true
shell = 'echo line >> $RUNS; n=0; while read l; do n=$((n+1)); echo "$l" > {out}/$n.txt; done < {in}'

[target.word]
default = false
each  = "line"
split = true
shell = 'echo word >> $RUNS; for w in $(cat {in}); do echo $w > {out}/$w.txt; done'

[target.shown]
each    = "STREAM"
with    = { title = WITH }
shell   = 'echo "shown $(cat {in})" >> $RUNS; echo "$(cat {in}) of $(cat {with.title})" > {out}'
publish = true
"#;
    let (stream, with) = with.split_once(' ').unwrap();
    Project::counting()
        .file("Pipelinefile", &pipeline.replace("STREAM", stream).replace("WITH", with))
        .file("inbox/a.txt", "one\ntwo\n")
        .file("inbox/b.txt", "uno\ndos\n")
}

#[test]
fn a_child_gets_what_came_of_its_parent() {
    let project = pages("line \"title\"");
    project.build_runs(&[
        "title",
        "title",
        "line",
        "line",
        "shown one",
        "shown two",
        "shown uno",
        "shown dos",
    ]);
    assert_eq!(project.published()["shown/inbox/a.txt~2.txt.txt"], "two of one\n");
    project.build_runs(&[]);
    // The second line alone: the title is the same.
    project.write("inbox/a.txt", "one\nzwei\n");
    project.build_runs(&["title", "line", "shown zwei"]);
    // The title: both lines of this document use it, and none of the other.
    project.write("inbox/b.txt", "eins\ndos\n");
    project.build_runs(&["title", "line", "shown eins", "shown dos"]);
    project.build_runs(&[]);
    // The title by another program, for one document.
    project.replace("Pipelinefile", "head -1 {in}", "head -1 {in} | sed s/eins/EINS/");
    project.build_runs(&["title", "title", "shown eins", "shown dos"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
    // Before a build: what is asked depends on the parent, which was edited.
    project.write("inbox/b.txt", "eins\ndos\ntres\n");
    let why = project.pipe(&["why", "inbox/b.txt#1.txt"]).ends(0).text();
    assert!(why.contains("depends on inbox/b.txt"), "{why}");
    project.build_runs(&["title", "line", "shown tres"]);
    let log = project.pipe(&["log", "inbox/b.txt#1.txt"]).text();
    assert!(log.contains("title"), "{log}");
    let why = project.pipe(&["why", "inbox/b.txt#1.txt"]).ends(0).text();
    assert!(why.contains("title"), "{why}");
}

#[test]
fn a_grandchild_gets_what_came_of_its_grandparent() {
    let project = pages("word \"title\"");
    project.write("inbox/a.txt", "one\nx y\n");
    project.remove("inbox/b.txt");
    project.build_runs(&["title", "line", "word", "word", "shown one", "shown x", "shown y"]);
    assert_eq!(project.published()["shown/inbox/a.txt~2.txt~y.txt.txt"], "y of one\n");
    project.build_runs(&[]);
    project.write("inbox/a.txt", "uno\nx y\n");
    project.build_runs(&["title", "line", "word", "shown uno", "shown x", "shown y"]);
    project.build_runs(&[]);
    project.write("inbox/a.txt", "uno\nx z\n");
    project.build_runs(&["title", "line", "word", "shown z"]);
    project.is_as_built_clean();
}

#[test]
fn the_parent_itself_can_be_a_side_input() {
    let project = pages("line \"inbox\"");
    project.build_runs(&[
        "title",
        "title",
        "line",
        "line",
        "shown one",
        "shown two",
        "shown uno",
        "shown dos",
    ]);
    assert_eq!(project.published()["shown/inbox/a.txt~2.txt.txt"], "two of one\ntwo\n");
    project.write("inbox/a.txt", "one\ntwo \n");
    project.build_runs(&["title", "line", "shown one", "shown two"]);
    project.build_runs(&[]);
}

#[test]
fn a_parent_that_failed_blocks_and_one_that_has_none_is_missing() {
    let project = pages("line \"title\"");
    project.write("inbox/a.txt", "bad\ntwo\n");
    let said = project.build_with(&[], 1, &["title", "title", "line", "line", "shown uno", "shown dos"]);
    let _said = said.says("Blocked   2 documents");
    let log = project.pipe(&["log", "inbox/a.txt#2.txt"]).text();
    assert!(log.contains("blocked, title failed on inbox/a.txt"), "{log}");
    project.build_with(&[], 1, &[]);
    project.write("inbox/a.txt", "good\ntwo\n");
    project.build_runs(&["title", "line", "shown good", "shown two"]);
    // Left out: there is none.
    project.replace("Pipelinefile", "[target.line]", "where = { id = \"inbox/b*\" }\n\n[target.line]");
    let said = project.build_with(&[], 1, &[]);
    let _said = said.says("there is no `title` for it");
    project.replace("Pipelinefile", "\"title\" }", "{ from = \"title\", missing = \"skip\" } }");
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 2);
    project.is_as_built_clean();
}

#[test]
fn a_child_gets_what_its_siblings_and_it_came_to() {
    let project = pages("line \"whole\"");
    project.write(
        "Pipelinefile",
        project.read("Pipelinefile")
            + r#"
[target.whole]
group = "line"
by    = "parent"
with  = { title = "title" }
shell = 'echo "whole $(cat {with.title})" >> $RUNS; grep -c . {in} > {out}'
"#,
    );
    project.build_runs(&[
        "title",
        "title",
        "line",
        "line",
        "whole one",
        "whole uno",
        "shown one",
        "shown two",
        "shown uno",
        "shown dos",
    ]);
    assert_eq!(project.published()["shown/inbox/a.txt~2.txt.txt"], "two of 2\n");
    project.build_runs(&[]);
    project.write("inbox/a.txt", "one\nzwei\n");
    project.build_runs(&["title", "line", "whole one", "shown zwei"]);
    project.write("inbox/a.txt", "one\nzwei\ndrei\n");
    project.build_runs(&["title", "line", "whole one", "shown one", "shown zwei", "shown drei"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
    let tried = project.pipe(&["try", "whole", "inbox/a.txt"]).text();
    assert!(tried.contains('3'), "{tried}");
}

const THREADS: &str = r#"
[source.inbox]
path = "inbox"

[target.mail]
each   = "inbox"
module = "mail"

[target.thread]
group = "mail"
by    = "BY"
shell = 'echo thread >> $RUNS; grep -c . {in} > {out}'

[target.reply]
each    = "mail"
with    = { thread = WITH }
shell   = 'echo "reply $(cat {in})" >> $RUNS; echo "$(cat {in}) in $(cat {with.thread})" > {out}'
publish = true
"#;

fn threads(by: &str, with: &str) -> Project {
    let project =
        Project::counting().file("Pipelinefile", &THREADS.replace("BY", by).replace("WITH", with)).module(
            "mail",
            "
            @module
            def mail(doc):
                thread, colon, text = doc.text().partition(':')
                if text == 'bad':
                    raise ValueError(text)
                return Result(text, meta={'thread': thread} if thread else {})
            ",
        );
    for (name, text) in [("x/a", "x:1"), ("y/b", "y:2"), ("x/c", "x:3")] {
        project.write(&format!("inbox/{name}.txt"), text);
    }
    project
}

#[test]
fn a_member_gets_what_came_of_its_group() {
    let project = threads("meta.thread", "\"thread\"");
    project.build_runs(&["thread", "thread", "reply 1", "reply 2", "reply 3"]);
    assert_eq!(project.published()["reply/inbox/x/a.txt.txt"], "1 in 2\n");
    project.build_runs(&[]);
    // The group has as many members as before: its result is the same.
    project.write("inbox/x/a.txt", "x:one");
    project.build_runs(&["thread", "reply one"]);
    project.write("inbox/d.txt", "y:4");
    project.build_runs(&["thread", "reply 2", "reply 4"]);
    project.build_runs(&[]);
    let why = project.pipe(&["why", "inbox/y/b.txt"]).ends(0).text();
    assert!(why.contains("thread"), "{why}");
    project.is_as_built_clean();
    let tried = project.pipe(&["try", "reply", "inbox/y/b.txt"]).text();
    assert!(tried.contains("2 in 2"), "{tried}");
}

#[test]
fn a_member_of_a_group_by_id_and_a_child_of_one_get_it() {
    let project = threads("id.dir", "\"thread\"");
    project.replace("Pipelinefile", "each    = \"mail\"", "each    = \"char\"");
    project.write(
        "Pipelinefile",
        project.read("Pipelinefile")
            + "[target.char]\neach = \"inbox\"\nsplit = true\nshell = 'cut -d: -f2 {in} > {out}/only.txt'\n",
    );
    project.build_runs(&["thread", "thread", "reply 1", "reply 2", "reply 3"]);
    assert_eq!(project.published()["reply/inbox/x/a.txt~only.txt.txt"], "1 in 2\n");
    project.build_runs(&[]);
    project.write("inbox/x/d.txt", "x:4");
    project.build_runs(&["thread", "reply 1", "reply 3", "reply 4"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_group_that_failed_blocks_and_who_is_in_none_is_missing() {
    let project = threads("meta.thread", "\"thread\"");
    project.replace("Pipelinefile", "by    =", "missing = \"skip\"\nby    =");
    project.replace(
        "Pipelinefile",
        "> {out}'\n\n[target.reply]",
        "> {out}; ! grep -qx 1 {out}'\n\n[target.reply]",
    );
    project.write("inbox/e.txt", ":5");
    let said = project.build_with(&[], 1, &["thread", "thread", "reply 1", "reply 3"]);
    let _said = said.says("there is no `thread` for it").says("Blocked   1 document");
    let log = project.pipe(&["log", "inbox/y/b.txt"]).text();
    assert!(log.contains("blocked, thread failed on thread/y"), "{log}");
    project.build_with(&[], 1, &[]);
    project.replace("Pipelinefile", "\"thread\" }", "{ from = \"thread\", missing = \"none\" } }");
    project.build_with(&[], 1, &["reply 5"]);
    project.write("inbox/f.txt", "y:6");
    project.build_runs(&["thread", "reply 2", "reply 6"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn children_that_wait_for_what_cannot_start_stay_open_and_the_build_ends() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.title]
            each   = "inbox"
            module = "title"

            [target.line]
            each  = "inbox"
            split = true
            shell = 'echo line >> $RUNS; cp {in} {out}/1.txt'

            [target.shown]
            each  = "line"
            with  = { title = "title" }
            shell = 'echo shown >> $RUNS; cat {in} {with.title} > {out}'
            "#,
        )
        .module(
            "title",
            "
            import os
            if not os.path.exists('ready'):
                raise ImportError('not yet')
            @module
            def title(doc):
                ran(doc)
                return doc.text()
            ",
        )
        .file("inbox/a.txt", "one")
        .file("inbox/b.txt", "two");
    project.build_with(&[], 3, &["line", "line"]);
    project.write("ready", "");
    project.build_runs(&["title one", "title two", "shown", "shown"]);
    project.build_runs(&[]);
}
