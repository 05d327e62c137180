use crate::harness::Project;

/// Splits at blank lines; a part is named by its first word. `bad` fails, `skip` is skipped.
const PARTS: &str = r"
    @module
    def parts(doc):
        ran(doc)
        text = doc.text()
        if text.startswith('bad'):
            raise ValueError(text)
        if text.startswith('skip'):
            raise Skip(text)
        for part in filter(None, text.split('\n\n')):
            yield Child(part.split()[0], part, meta={'length': len(part)})
";

const UPPER: &str = r"
    @module
    def upper(doc):
        ran(doc)
        if doc.text().startswith('fail'):
            raise ValueError(doc.text())
        return doc.text().upper()
";

fn project(more: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.parts]
each   = "inbox"
module = "parts"
split  = true

[target.upper]
each    = "parts"
module  = "upper"
publish = "out/{id}.{ext}"
"#;
    Project::counting()
        .file("Pipelinefile", &(pipeline.to_owned() + more))
        .module("parts", PARTS)
        .module("upper", UPPER)
}

#[test]
fn children_are_documents_of_their_own() {
    let project = project("");
    project.write("inbox/a.txt", "one x\n\ntwo y");
    project.write("inbox/d/b.txt", "three");
    project.build_runs(&["parts one x", "parts three", "upper one x", "upper two y", "upper three"]);
    assert_eq!(
        project.published_names(),
        ["a.txt~one.txt", "a.txt~two.txt", "d/b.txt~three.txt"].map(|n| format!("inbox/{n}"))
    );
    project.build_runs(&[]);
    // One changes: the others are not done again.
    project.write("inbox/a.txt", "one x\n\ntwo z");
    project.build_runs(&["parts one x", "upper two z"]);
    assert_eq!(project.published()["inbox/a.txt~two.txt"], "TWO Z");
    // One goes, one comes.
    project.write("inbox/a.txt", "four\n\none x");
    project.build_runs(&["parts four", "upper four"]);
    assert_eq!(
        project.published_names(),
        ["a.txt~four.txt", "a.txt~one.txt", "d/b.txt~three.txt"].map(|n| format!("inbox/{n}"))
    );
    // None is a result like any other.
    project.write("inbox/a.txt", "\n\n");
    project.build_runs(&["parts "]);
    project.remove("inbox/d/b.txt");
    project.pipe(&["build", "--gone"]).ends(0);
    assert_eq!(project.published_names(), Vec::<String>::new());
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_document_that_cannot_be_split_keeps_its_childrens_files_and_blocks_them() {
    let project = project(
        r#"
[target.joined]
all      = "upper"
module   = "joined"
publish  = "out/joined.txt"
min_done = 0.5
"#,
    )
    .module(
        "joined",
        r#"
        @module
        def joined(docs):
            ran("over " + " ".join(doc.id for doc in docs))
            return "".join(f"{doc.id}={doc.text()}\n" for doc in docs)
        "#,
    );
    project.write("inbox/a.txt", "one\n\ntwo");
    project.write("inbox/b.txt", "three\n\nfour\n\nfive");
    project.build_runs(&[
        "parts one",
        "parts three",
        "upper one",
        "upper two",
        "upper three",
        "upper four",
        "upper five",
        "joined over inbox/a.txt#one inbox/a.txt#two inbox/b.txt#five inbox/b.txt#four inbox/b.txt#three",
    ]);
    project.write("inbox/a.txt", "bad");
    let five = "joined over inbox/b.txt#five inbox/b.txt#four inbox/b.txt#three";
    project.build_with(&[], 1, &["parts bad", five]).says("joined over 3 of 5");
    assert!(project.published_names().contains(&"inbox/a.txt~one.txt".to_owned()));
    project.build_with(&[], 1, &[]).says("joined over 3 of 5");
    // A new one that fails is missing, too, though nobody knows its children.
    project.write("inbox/c.txt", "bad c");
    project.build_with(&[], 1, &["parts bad c"]).says("joined over 3 of 6");
    project.write("inbox/c.txt", "skip c");
    project.write("inbox/a.txt", "skip a");
    project.build_runs(&["parts skip a", "parts skip c"]);
    assert!(!project.published_names().contains(&"inbox/a.txt~one.txt".to_owned()));
    // Back as it was: nothing is new.
    project.write("inbox/a.txt", "one\n\ntwo");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_child_that_fails_is_a_failure_of_its_own() {
    let project = project("");
    project.write("inbox/a.txt", "one\n\nfail two");
    project.build_with(&[], 1, &["parts one", "upper one", "upper fail two"]).says("inbox/a.txt#fail");
    project.build_with(&[], 1, &[]).says("1x upper  ValueError: fail two");
    project.write("inbox/a.txt", "one\n\nfine");
    project.build_runs(&["parts one", "upper fine"]);
}

#[test]
fn two_children_of_one_name_fail_their_document_alone() {
    let project = project("").file(
        "modules/twice.py",
        r#"
import json, sys
for line in sys.stdin:
    frame = json.loads(line)
    if "describe" in frame:
        print(json.dumps({"describe": {"name": "twice"}}), flush=True)
    elif "setup" in frame:
        print(json.dumps({"ready": 1, "files": []}), flush=True)
    else:
        names = frame["text"].split()
        for name in names:
            print(json.dumps({"id": frame["id"], "child": {"name": name, "text": name}}))
        print(json.dumps({"id": frame["id"], "output": {"children": len(names)}}), flush=True)
"#,
    );
    project.replace("Pipelinefile", "module = \"parts\"", "cmd = \"python3 modules/twice.py\"");
    project.write("inbox/a.txt", "x y x");
    project.write("inbox/b.txt", "x y");
    project.build_with(&[], 1, &["upper x", "upper y"]).says("two children are called `x`");
    assert_eq!(project.published_names(), ["inbox/b.txt~x.txt", "inbox/b.txt~y.txt"]);
    project.build_with(&[], 1, &[]);
}

#[test]
fn children_of_a_filter_are_the_files_in_its_folder() {
    let project = project("");
    project.replace("Pipelinefile", "module = \"parts\"", "shell = \"cd {out}/ && csplit -sz -f part- {in} /--/ '{*}' || cp {in} part-00; echo split >> $RUNS\"");
    project.write("inbox/a.txt", "one\n--two\n--three\n");
    project.write("inbox/b.txt", "four\n");
    project.build_runs(&["split", "split", "upper one", "upper --two", "upper --three", "upper four"]);
    let names = ["a.txt~part-00", "a.txt~part-01", "a.txt~part-02", "b.txt~part-00"];
    assert_eq!(project.published_names(), names.map(|name| format!("inbox/{name}.txt")));
    project.build_runs(&[]);
    project.replace("inbox/a.txt", "--three", "--third");
    project.build_runs(&["split", "upper --third"]);
    project.replace("Pipelinefile", "{out}/", "x/");
    assert!(project.pipe(&["check"]).ends(2).text().contains("makes no folder"));
}

#[test]
fn too_many_or_too_large_children_fail_their_document() {
    let project = project("");
    project.replace("Pipelinefile", "split  = true", "split  = { max = 3, max_size = \"1KB\" }");
    project.write("inbox/a.txt", "a\n\nb\n\nc\n\nd");
    project.write("inbox/b.txt", format!("one\n\nlong {}", "x".repeat(2000)));
    project.write("inbox/c.txt", "one\n\ntwo\n\nthree");
    let outcome = project.pipe(&["build"]).ends(1);
    assert!(outcome.text().contains("over max = 3: too many children"), "{}", outcome.text());
    assert!(outcome.text().contains("over max_size = 1000: child `long`"), "{}", outcome.text());
    assert_eq!(project.published_names().len(), 3);
    project.take_runs();
    // It is a result like any other failure of a module, until the limit changes.
    project.build_with(&[], 1, &[]);
    let long = format!("upper long {}", "x".repeat(2000));
    project.replace("Pipelinefile", "max = 3, max_size = \"1KB\"", "max = 4");
    project.build_runs(&["parts a", "parts one", "upper a", "upper b", "upper c", "upper d", &long]);
}

const TWO_SOURCES: &str = r#"
[source.inbox]
path = "inbox"

[source.other]
path = "other"

[target.line]
each  = "inbox"
split = true
shell = 'while read l; do echo "$l" > {out}/$l.txt; done < {in}'

[target.upper]
each    = "line"
shell   = 'tr a-z A-Z < {in} > {out}'
publish = true

[target.all]
all     = "upper"
shell   = 'grep -c . {in} > {out}'
publish = "out/all.txt"
"#;

#[test]
fn children_go_when_their_target_splits_another_stream() {
    let project = Project::counting().file("Pipelinefile", TWO_SOURCES);
    project.write("inbox/a.txt", "one\ntwo\n");
    project.write("other/b.txt", "uno\n");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.read("out/all.txt"), "2\n");
    project.replace("Pipelinefile", "each  = \"inbox\"", "each  = \"other\"");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["all.txt", "upper/other/b.txt~uno.txt.txt"]);
    assert_eq!(project.read("out/all.txt"), "1\n");
    project.pipe(&["build"]).ends(0).says("Up to date");
    project.is_as_built_clean();
    project.replace("Pipelinefile", "each  = \"other\"", "each  = [\"other\", \"inbox\"]");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.read("out/all.txt"), "3\n");
    project.is_as_built_clean();
}

#[test]
fn children_of_two_splits_with_one_id_fail_and_both_are_named() {
    let project = Project::counting().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [target.line]
        each  = "inbox"
        split = true
        shell = 'while read l; do echo "$l" > {out}/$l; done < {in}'

        [target.first]
        each  = "inbox"
        split = true
        shell = 'head -1 {in} | cut -c1 > {out}/$(head -1 {in} | cut -c1)'

        [target.upper]
        each    = ["line", "first"]
        shell   = 'echo "upper $(cat {in})" >> $RUNS; tr a-z A-Z < {in} > {out}'
        ext     = "txt"
        publish = true

        [target.count]
        all      = ["line", "first"]
        min_done = 0.1
        shell    = 'grep -c . {in} > {out}'
        publish  = "out/count.txt"
        "#,
    );
    project.write("inbox/a.txt", "one\ntwo\n");
    project.build_runs(&["upper o", "upper one", "upper two"]);
    assert_eq!(project.read("out/count.txt"), "3\n");
    project.write("inbox/a.txt", "one\no\n");
    let said = project.build_with(&[], 1, &[]);
    let _said = said.says("inbox/a.txt#o is made by first and by line");
    let log = project.pipe(&["log", "inbox/a.txt#o"]).text();
    assert!(log.contains("is made by"), "{log}");
    assert_eq!(project.read("out/count.txt"), "1\n");
    project.build_with(&[], 1, &[]).says("Up to date");
    project.write("inbox/a.txt", "two\no\n");
    project.build_runs(&["upper t"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_build_with_nothing_to_do_looks_at_no_document_that_was_split() {
    let project = project("");
    project.write("inbox/a.txt", "one x\n\ntwo y");
    project.build_runs(&["parts one x", "upper one x", "upper two y"]);
    drop(project.pipe(&["build", "-n"]).ends(0).says("nothing to run"));
    project.replace("Pipelinefile", "out/{id}.{ext}", "out/all/{id}.{ext}");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["all/inbox/a.txt~one.txt", "all/inbox/a.txt~two.txt"]);
}
