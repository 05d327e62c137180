//! What failed by cause: how each is named, tried again by itself or on request, and what it blocks.

use serde_json::Value;

use crate::harness::Project;

/// Fails in three ways; the shell fails on the same document again.
fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "
            [source.docs]
            path = \"docs\"
            [target.read]
            each = \"docs\"
            module = \"read\"
            retries = 0
            [target.check]
            each = \"docs\"
            shell = \"if grep -q one {in}; then exit 3; fi; cp {in} {out}\"
            ",
        )
        .counted(
            "read",
            "
            from pipelinefile import Retry
            @module
            def read(doc):
                word = ran('read', doc.text())
                if word.startswith('one'):
                    raise ValueError('the first way')
                if word.startswith('two'):
                    raise ValueError('the second way')
                if word == 'later':
                    raise Retry('not now')
                return word
            ",
        );
    for (name, text) in [("a", "one"), ("b", "two"), ("c", "two-more"), ("d", "later"), ("e", "good")] {
        project.write(&format!("docs/{name}.txt"), text);
    }
    project
}

fn causes(project: &Project, arguments: &[&str]) -> Value {
    let said = project.pipe(&[&["failed", "--json"], arguments].concat()).ends(0);
    serde_json::from_str(&said.stdout).unwrap()
}

/// The name of the cause that this document is the first sample of.
fn name_of(failed: &Value, sample: &str, target: &str) -> String {
    let causes = failed["causes"].as_array().unwrap();
    let cause = causes.iter().find(|cause| cause["samples"][0] == sample && cause["target"] == target);
    cause.unwrap()["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_cause_has_a_name_by_which_it_is_looked_at_and_tried_again() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    drop(project.take_counts("read"));
    let all = causes(&project, &[]);
    let (first, second) = (name_of(&all, "docs/a.txt", "read"), name_of(&all, "docs/b.txt", "read"));
    assert_ne!(first, second);
    let said = project.pipe(&["failed"]).ends(0);
    // Not the failures are counted, but the documents.
    let said = said.says("4 documents, 4 causes\n").says(&format!("  cause {second}\n"));
    let said = said.says(&format!("once mended:   pipe retry read --cause {second}\n"));
    let said = said.says("pipe try read docs/b.txt --debug\n").says("once mended:   pipe retry check\n");
    // There is no pdb for a shell.
    let said = said.says("pipe try check docs/a.txt\n");
    let said = said.says("kept: no build tries again until code, params or input change");
    drop(said.says("the next build tries again by itself"));
    // What a filter left out may stand beside what it shows.
    let said =
        project.pipe(&["failed", "check", "--kind", "module-error"]).ends(0).says("1 document, 1 cause\n");
    let check = name_of(&all, "docs/a.txt", "check");
    drop(said.says(&format!("pipe retry check --cause {check}\n")));
    let said = project.pipe(&["failed", "--cause", &second[..4], "--docs", "docs/[ab]*"]).ends(0);
    let said = said.says("1 document, 1 cause\n").says("  docs/b.txt\n");
    drop(said.says(&format!("pipe retry read --cause {second} --docs 'docs/[ab]*'\n")));
    let said = project.pipe(&["retry", "--cause", &second, "-n"]).ends(0);
    assert_eq!(said.stdout, "read: would try again: 2 failed documents\n");
    drop(project.pipe(&["retry", "--cause", "12345678"]).ends(0).says("nothing failed there"));
    drop(project.pipe(&["retry", "--cause", "the second"]).ends(2).says("a name such as 3f2a91c0"));
    drop(project.pipe(&["retry", "read", "--cause", &second]).ends(1));
    let mut again = project.take_counts("read");
    again.sort();
    // And what the next build tries by itself.
    assert_eq!(again, ["later", "two", "two-more"]);
}

#[test]
fn how_the_last_build_ended_is_not_hidden_by_what_came_after_it() {
    let project = project();
    drop(project.pipe(&["build", "--max-fail", "0"]).ends(1));
    let reason = "did not finish: ";
    drop(project.pipe(&["failed"]).ends(0));
    let before = project.pipe(&["status"]).ends(0).says(reason).stdout;
    let why = before.lines().find_map(|line| line.split_once(reason)).unwrap().1.to_owned();
    drop(project.pipe(&["redo", "check"]).ends(0));
    drop(project.pipe(&["doctor"]).ends(0));
    drop(project.pipe(&["status"]).ends(0).says(&why));
    assert_eq!(causes(&project, &[])["unfinished"], why);
}

#[test]
fn who_is_blocked_says_by_which_document_also_behind_children_groups_and_sets() {
    let project = Project::new().file(
        "Pipelinefile",
        "
        [source.in]
        path = \"in\"
        [target.parts]
        each = \"in\"
        split = true
        shell = \"cd {out}/ && if grep -q broken {in}; then exit 3; fi; split -l 1 {in} p\"
        [target.upper]
        each = \"parts\"
        shell = \"if grep -q bad {in}; then exit 4; fi; tr a-z A-Z < {in} > {out}\"
        [target.more]
        each = \"upper\"
        shell = \"cp {in} {out}\"
        [target.whole]
        group = \"upper\"
        by = \"parent\"
        shell = \"wc -l < {in} > {out}\"
        [target.kinds]
        group = \"upper\"
        by = \"id.stem\"
        shell = \"wc -l < {in} > {out}\"
        [target.book]
        all = \"upper\"
        shell = \"wc -l < {in} > {out}\"
        [target.last]
        each = \"in\"
        with = { book = \"book\" }
        shell = \"cat {with.book} {in} > {out}\"
        ",
    );
    project.write("in/a.txt", "one\ntwo\n");
    project.write("in/b.txt", "three\nbad\n");
    drop(project.pipe(&["build"]).ends(1));
    let says = |doc: &str, target: &str, what: &str| {
        drop(project.pipe(&["log", doc, "--target", target]).ends(0).says(&format!("blocked, {what}\n")));
    };
    says("in/b.txt#pab", "more", "upper failed on in/b.txt#pab");
    says("in/b.txt", "whole", "1 of 2 members failed: upper failed on in/b.txt#pab");
    says("kinds/b", "kinds", "1 of 2 members failed: in/b.txt#pab");
    says("book", "book", "1 of 4 members failed: upper failed on in/b.txt#pab");
    says("in/a.txt", "last", "book: 1 of 4 members failed: upper failed on in/b.txt#pab");
    // Of what a document was split into before it failed, it is the one.
    project.write("in/a.txt", "one\ntwo\nbroken\n");
    drop(project.pipe(&["build"]).ends(1).says("book: 3 of 4 members failed: parts failed on in/a.txt, …"));
    says("in/a.txt#paa", "upper", "parts failed on in/a.txt");
    says("in/a.txt#paa", "more", "parts failed on in/a.txt");
    says("in/a.txt", "whole", "parts failed on in/a.txt");
    let failed = causes(&project, &[]);
    let cause = failed["causes"].as_array().unwrap().iter().find(|cause| cause["target"] == "parts").unwrap();
    assert_eq!(cause["behind"], serde_json::json!({ "more": 2, "upper": 2, "whole": 1 }));
}

/// Whoever waits for a group that could not be made is told which member is to blame, and the cause says who waits.
#[test]
fn what_waits_for_a_group_names_the_member_that_failed() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[source.orders]\npath = \"orders\"\n\
             [target.bill]\neach = \"inbox\"\nshell = \"grep -v bad {in}\"\n\
             [target.dirs]\ngroup = \"bill\"\nby = \"id.dir\"\nshell = \"wc -l < {in}\"\n\
             [target.order]\neach = \"orders\"\nmodule = \"order\"\n\
             with = { dir = { from = \"dirs\", on = [\"id.stem\", \"id.value\"], missing = \"none\" } }\n",
        )
        .module("order", "@module\ndef order(doc, *, dir):\n    return doc.text()\n")
        .file("inbox/one/a.txt", "good")
        .file("inbox/two/a.txt", "bad")
        .file("inbox/two/b.txt", "good")
        .file("orders/one.txt", "1")
        .file("orders/two.txt", "2");
    drop(project.pipe(&["build"]).ends(1));
    drop(
        project
            .pipe(&["log", "orders/two.txt"])
            .ends(0)
            .says("order     blocked, dirs/two: 1 of 2 members failed: inbox/two/a.txt\n"),
    );
    drop(project.pipe(&["failed"]).ends(0).says("blocked behind:  dirs 1, order 1\n"));
    drop(project.pipe(&["log", "orders/one.txt"]).ends(0).says("order     done"));
}

#[test]
fn a_document_that_waits_for_its_parts_is_behind_the_part_that_failed() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.lines]\neach = \"inbox\"\nsplit = true\nmodule = \"lines\"\n\
             [target.good]\neach = \"lines\"\nshell = \"grep -v bad {in}\"\n\
             [target.whole]\ngroup = \"good\"\nby = \"parent\"\nshell = \"wc -l < {in}\"\n",
        )
        .module(
            "lines",
            "from pipelinefile import Child\n@module\ndef lines(doc):\n    for n, line in enumerate(doc.text().split()):\n        \
             yield Child(f'l{n}', line)\n",
        )
        .file("inbox/a.txt", "good bad");
    drop(project.pipe(&["build"]).ends(1));
    drop(project.pipe(&["failed"]).ends(0).says("blocked behind:  whole 1\n"));
}
