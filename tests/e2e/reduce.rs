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
