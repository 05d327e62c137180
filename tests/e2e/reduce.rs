use crate::harness::Project;

/// Sums numbers; a merge has a line for each of its inputs in the file of runs.
const SUM: &str = r#"
    @module
    def total(docs):
        numbers = [int(doc.text()) for doc in docs]
        ran(f"{len(numbers)} inputs")
        if any(n < 0 for n in numbers):
            raise ValueError("negative")
        return str(sum(numbers))
"#;

fn project(more: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.total]
all     = "inbox"
reduce  = true
module  = "total"
publish = "out/total.txt"
"#;
    Project::counting().file("Pipelinefile", &(pipeline.to_owned() + more)).module("total", SUM)
}

#[test]
fn one_change_merges_few_again() {
    let project = project("");
    let count = 3000u32;
    for i in 0..count {
        project.write(&format!("inbox/{i:05}.txt"), "1");
    }
    project.pipe(&["build"]).ends(0);
    let first = project.take_runs().len();
    assert_eq!(project.read("out/total.txt"), count.to_string());
    assert!((30..120).contains(&first), "{first} merges");
    project.build_runs(&[]);
    // 2·log₆₄(3000) + 2
    let most = 5;
    for (name, text) in [("01500", "2"), ("00000", "5"), ("02999", "1")] {
        project.write(&format!("inbox/{name}.txt"), text);
        project.pipe(&["build"]).ends(0);
        let runs = project.take_runs().len();
        assert!(runs <= most, "{runs} merges for one edit");
    }
    assert_eq!(project.read("out/total.txt"), (count + 5).to_string());
    project.write("inbox/01234x.txt", "10");
    project.remove("inbox/00777.txt");
    project.pipe(&["build"]).ends(0);
    let runs = project.take_runs().len();
    assert!(runs <= 2 * most, "{runs} merges for one more and one less");
    assert_eq!(project.read("out/total.txt"), (count + 14).to_string());
    project.is_as_built_clean();
}

#[test]
fn one_member_is_passed_on_and_none_gives_nothing() {
    let project = project("").module(
        "pick",
        "
        @module
        def pick(doc):
            if doc.text() == 'skip':
                raise Skip('skip')
            return doc.text()
        ",
    );
    project.replace("Pipelinefile", "all     = \"inbox\"", "all     = \"pick\"");
    project.replace(
        "Pipelinefile",
        "[target.total]",
        "[target.pick]\neach = \"inbox\"\nmodule = \"pick\"\n\n[target.total]",
    );
    project.write("inbox/a.txt", "7");
    project.build_runs(&[]);
    assert_eq!(project.read("out/total.txt"), "7");
    project.write("inbox/b.txt", "8");
    project.build_runs(&["total 2 inputs"]);
    assert_eq!(project.read("out/total.txt"), "15");
    project.write("inbox/a.txt", "skip");
    project.write("inbox/b.txt", "skip");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), Vec::<String>::new());
    project.build_runs(&[]);
    project.write("inbox/b.txt", "8");
    project.build_runs(&[]);
    assert_eq!(project.read("out/total.txt"), "8");
    project.is_as_built_clean();
}

#[test]
fn a_merge_that_fails_blocks_the_result_until_it_is_put_right() {
    let project = project("");
    for i in 0..5 {
        project.write(&format!("inbox/{i}.txt"), "1");
    }
    project.build_runs(&["total 5 inputs"]);
    project.write("inbox/3.txt", "-1");
    project.build_with(&[], 1, &["total 5 inputs"]).says("1 of 1 merge failed");
    assert_eq!(project.read("out/total.txt"), "5");
    project.build_with(&[], 1, &[]);
    project.write("inbox/3.txt", "2");
    project.build_runs(&["total 5 inputs"]);
    assert_eq!(project.read("out/total.txt"), "6");
    project.write_module("total", &SUM.replace("sum(numbers)", "max(numbers)"));
    project.build_runs(&["total 5 inputs"]);
    project.is_as_built_clean();
}

#[test]
fn nothing_is_merged_where_too_many_members_failed() {
    let project = project(
        "
[target.read]
each  = \"inbox\"
shell = \"grep -v BAD {in} > {out}\"
",
    );
    project.replace("Pipelinefile", "all     = \"inbox\"", "all     = \"read\"");
    for i in 0..100 {
        project.write(&format!("inbox/{i:03}.txt"), "1");
    }
    for i in 0..20 {
        project.write(&format!("inbox/bad{i:03}.txt"), "BAD");
    }
    drop(project.pipe(&["build"]).ends(1).says("20 of 120 members failed"));
    assert_eq!(project.take_runs(), Vec::<String>::new());
    // The limit is another one: now it is worth it.
    project.replace("Pipelinefile", "reduce  = true", "reduce  = true\nmin_done = \"50%\"");
    drop(project.pipe(&["build"]).ends(1));
    assert_eq!(project.read("out/total.txt"), "100");
}

/// 300 documents, and the merges of the lowest level in which some of them are.
fn with_many() -> Project {
    let project = project("");
    for i in 0..300 {
        project.write(&format!("inbox/{i:03}.txt"), "1");
    }
    project.pipe(&["build"]).ends(0);
    project.take_runs();
    project
}

#[test]
fn why_tells_of_the_tree_and_of_the_merges_that_a_document_is_in() {
    let project = with_many();
    let why = project.pipe(&["why", "total"]).ends(0).says("merges over 300 members; the last is total/");
    assert!(!why.text().contains("would"), "{}", why.text());
    let document = project.pipe(&["why", "inbox/123.txt"]).ends(0).says("merges it in").text();
    let leaf = document.split_whitespace().find(|word| word.starts_with("total/0-")).unwrap().to_owned();
    // What changed is named before any build, and only its merges are.
    project.write("inbox/123.txt", "2");
    let _said = project
        .pipe(&["why", "total"])
        .ends(0)
        .says("1 document to look at first")
        .says(&format!("documents that changed are in {leaf} of "));
    project.pipe(&["build"]).ends(0);
    assert!(project.take_runs().len() <= 3);
    let _said =
        project.pipe(&["why", "total"]).ends(0).says("total     ran at").says("a member changed (run 2)");
    // Other code: every merge that has members for itself, and what is behind.
    project.replace("modules/total.py", "sum(numbers)", "sum(n for n in numbers)");
    let _said = project
        .pipe(&["why", "total"])
        .ends(0)
        .says("would merge again ")
        .says("behind: the module's code changed")
        .says("modules/total.py");
}

#[test]
fn why_names_the_merge_that_failed() {
    let project = project("");
    for i in 0..5 {
        project.write(&format!("inbox/{i}.txt"), "-1");
    }
    project.pipe(&["build"]).ends(1);
    let why = project.pipe(&["why", "total"]).ends(0).says("blocked").says("failed: ValueError: negative");
    let merge = why.text().lines().find_map(|line| line.trim().strip_prefix("pipe log ").map(str::to_owned));
    let merge = merge.unwrap_or_else(|| panic!("{}", why.text()));
    let _said = project.pipe(&["log", &merge]).ends(0).says("ValueError: negative");
    let _said = project.pipe(&["why", &merge]).ends(0).says("failed at").says("ValueError: negative");
}

#[test]
fn a_redo_of_documents_does_their_merges_again_and_no_others() {
    let project = with_many();
    let all = project.pipe(&["redo", "total", "-n"]).ends(0).text();
    let few = project.pipe(&["redo", "total", "--docs", "inbox/123.txt"]).ends(0).text();
    assert_ne!(all, few);
    let leaf = project.pipe(&["why", "inbox/123.txt"]).text();
    let depth = leaf.matches("total/").count();
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.take_runs().len(), depth, "{leaf}");
    project.build_runs(&[]);
}

#[test]
fn what_was_accepted_is_in_the_log_of_the_result() {
    let project = with_many();
    project.replace("modules/total.py", "sum(numbers)", "sum(n for n in numbers)");
    project.pipe(&["accept", "total"]).ends(0);
    project.build_runs(&[]);
    let _said =
        project.pipe(&["log", "total"]).ends(0).says("accepted its result of run 1").says("modules/total.py");
    let _said = project.pipe(&["why", "total"]).ends(0).says("its result of run 1 stands");
    project.build_runs(&[]);
}

#[test]
fn one_row_is_merged_alone() {
    let project = project("");
    project.replace("Pipelinefile", "path = \"inbox\"", "path = \"rows.csv\"\nrows = \"id\"");
    project.write_module("total", &SUM.replace("int(doc.text())", "int(doc.json()[\"n\"])"));
    project.write("rows.csv", "id,n\na,7\n");
    project.build_runs(&["total 1 inputs"]);
    assert_eq!(project.read("out/total.txt"), "7");
    project.build_runs(&[]);
}

#[test]
fn why_asks_for_no_look_at_what_only_other_targets_have_not_done() {
    let behind = "[target.later]\neach = \"inbox\"\nshell = \"cat {in}\"\ndefault = false\n";
    let project = project(behind);
    for i in 0..20 {
        project.write(&format!("inbox/{i}.txt"), "1");
    }
    project.pipe(&["build"]).ends(0);
    let why = project.pipe(&["why", "total"]).ends(0).says("total     ran at").text();
    assert!(!why.contains("to look at") && !why.contains("changed"), "{why}");
    project.write("inbox/3.txt", "2");
    project.pipe(&["why", "total"]).ends(0).says("1 document to look at first: pipe build");
}
