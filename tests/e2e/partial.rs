use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each    = "inbox"
    module  = "up"
    publish = true

    [target.joined]
    all     = "up"
    module  = "joined"
    publish = "out/joined.txt"

    [target.behind]
    each    = "up"
    with    = { joined = "joined" }
    shell   = 'echo behind >> $RUNS; cat {in} {with.joined} > {out}'
    publish = true

    [target.side]
    each    = "inbox"
    shell   = 'echo side >> $RUNS; cp {in} {out}'
    publish = true
    default = false
"#;

fn project() -> Project {
    Project::counting()
        .file("Pipelinefile", PIPELINE)
        .module(
            "up",
            "
            @module
            def up(doc):
                ran(doc)
                return doc.text().upper()
            ",
        )
        .module(
            "joined",
            "
            @module
            def joined(docs):
                ran(' '.join(doc.text() for doc in docs))
                return ' '.join(doc.text() for doc in docs)
            ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "b")
        .file("inbox/c.txt", "c")
}

fn built() -> Project {
    let project = project();
    project.build_runs(&["up a", "up b", "up c", "joined A B C", "behind", "behind", "behind"]);
    project
}

#[test]
fn a_target_outside_of_the_default_is_built_when_it_is_named() {
    let project = built();
    project.build_with(&["side"], 0, &["side", "side", "side"]);
    assert_eq!(project.published_names().len(), 10);
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 10, "what was not named is not retired");
    project.build_with(&["side"], 0, &[]);
}

#[test]
fn named_targets_and_what_they_need_are_built_and_no_others() {
    let project = project();
    project.build_with(&["joined"], 0, &["up a", "up b", "up c", "joined A B C"]);
    assert_eq!(project.published_names().len(), 4);
    project.build_with(&["joined"], 0, &[]);
    project.build_runs(&["behind", "behind", "behind"]);
    // A module's name stands for its targets.
    project.write("inbox/a.txt", "d");
    project.build_with(&["up"], 0, &["up d"]);
    assert_eq!(project.read("out/joined.txt"), "A B C");
    project.build_runs(&["joined D B C", "behind", "behind", "behind"]);
    project.is_as_built_clean();
}

#[test]
fn documents_that_are_named_alone_are_brought_up_to_date() {
    let project = built();
    project.write("inbox/a.txt", "x");
    project.write("inbox/b.txt", "y");
    project.remove("inbox/c.txt");
    // The set's members are not all up to date: what is behind it has the last result, and nothing is retired.
    project.build_with(&["--docs", "inbox/a*"], 0, &["up x", "behind"]);
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "X");
    assert_eq!(project.read("out/up/inbox/b.txt.txt"), "B");
    assert_eq!(project.read("out/up/inbox/c.txt.txt"), "C");
    assert_eq!(project.read("out/joined.txt"), "A B C");
    assert_eq!(project.read("out/behind/inbox/a.txt.txt"), "XA B C");
    project.build_runs(&["up y", "joined X Y", "behind", "behind"]);
    project.is_as_built_clean();
}

#[test]
fn a_set_is_rebuilt_where_all_members_are_up_to_date_anyway() {
    let project = built();
    project.write("inbox/a.txt", "x");
    project.build_with(&["--docs", "inbox/a*"], 0, &["up x", "joined X B C", "behind"]);
    // What is behind the set of the other documents is still to be done.
    project.build_runs(&["behind", "behind"]);
    project.is_as_built_clean();
}

#[test]
fn a_glob_that_names_no_document_says_so() {
    let project = built();
    project.build_with(&["--docs", "inbox/nothing*"], 4, &[]);
}

#[test]
fn a_sample_is_a_smaller_pipeline_that_publishes_no_sets() {
    let project = project();
    let first = project.pipe(&["build", "--sample", "2"]).ends(0);
    drop(first);
    let runs = project.take_runs();
    let ups: Vec<&String> = runs.iter().filter(|run| run.starts_with("up ")).collect();
    assert_eq!(ups.len(), 2, "{runs:?}");
    assert!(runs.iter().any(|run| run.starts_with("joined ") && run.split(' ').count() == 3), "{runs:?}");
    assert!(!project.root().join("out/joined.txt").exists());
    assert!(!project.root().join("out/behind").exists());
    // It is there to look at, and is no present result.
    let shown = project.pipe(&["cat", "joined", "--sample"]).ends(0).stdout;
    assert_eq!(shown.split_whitespace().count(), 2, "{shown}");
    project.pipe(&["cat", "joined"]).ends(4);
    project.pipe(&["cat", "up", "--sample"]).ends(4).says("was not made over a sample yet");
    // The same ones each time.
    project.pipe(&["build", "--sample", "2"]).ends(0);
    assert!(!project.take_runs().iter().any(|run| run.starts_with("up ")));
    // Results count by key.
    project.pipe(&["build"]).ends(0);
    let runs = project.take_runs();
    assert_eq!(runs.iter().filter(|run| run.starts_with("up ")).count(), 1, "{runs:?}");
    assert!(runs.contains(&"joined A B C".to_owned()));
    assert_eq!(project.published_names().len(), 7);
    project.is_as_built_clean();
}

#[test]
fn a_sample_retires_nothing() {
    let project = built();
    project.remove("inbox/a.txt");
    project.remove("inbox/b.txt");
    project.pipe(&["build", "--sample", "1", "--gone"]).ends(0);
    assert_eq!(project.published_names().len(), 7);
    assert_eq!(project.read("out/joined.txt"), "A B C");
    // What the sample made of its set counts by key.
    assert!(project.take_runs().contains(&"joined C".to_owned()));
    project.build_with(&["--gone"], 0, &[]);
    project.is_as_built_clean();
}

#[test]
fn a_build_on_trial_runs_and_writes_nothing() {
    let project = project();
    project.build_with(&["-n"], 0, &[]).says("up 3");
    assert_eq!(project.published_names().len(), 0);
    project.build_runs(&["up a", "up b", "up c", "joined A B C", "behind", "behind", "behind"]);
    project.write("inbox/a.txt", "x");
    project.build_with(&["-n"], 0, &[]).says("1 changed");
    project.build_runs(&["up x", "joined X B C", "behind", "behind", "behind"]);
}

#[test]
fn groups_of_a_sample_and_what_is_behind_a_set_can_be_looked_at() {
    let project = Project::new().file(
        "Pipelinefile",
        "
        [source.inbox]
        path = \"inbox\"
        [target.joined]
        group = \"inbox\"
        by    = \"id.dir\"
        shell = \"wc -l < {in} | tr -d ' ' > {out}\"
        [target.doubled]
        each  = \"joined\"
        shell = \"cat {in} {in} > {out}\"
        ",
    );
    for name in ["one/a.txt", "one/b.txt", "two/c.txt"] {
        project.write(&format!("inbox/{name}"), name);
    }
    project.pipe(&["build", "--sample", "9"]).ends(0);
    assert_eq!(project.pipe(&["cat", "joined", "joined/one", "--sample"]).ends(0).stdout, "2\n");
    assert_eq!(project.pipe(&["cat", "joined", "two", "--sample"]).ends(0).stdout, "1\n");
    assert_eq!(project.pipe(&["cat", "doubled", "joined/one", "--sample"]).ends(0).stdout, "2\n2\n");
    project.pipe(&["cat", "joined", "joined/one"]).ends(4);
    project
        .pipe(&["cat", "joined", "--sample"])
        .ends(2)
        .says("`joined` has a result for each of several: say which")
        .says("hint: pipe cat joined joined/one --sample")
        .says("hint: pipe cat joined joined/two --sample");
    project
        .pipe(&["cat", "joined", "three", "--sample"])
        .ends(4)
        .says("no result for `three` of the last sample");
}
