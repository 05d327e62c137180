//! The whole story: tries, what the work took, where a document comes from and what was made of it; runs by themselves.

use serde_json::Value;

use crate::harness::Project;

/// A split, a group by parent, a group by value, a set; sh alone.
fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.parts]
            each = \"inbox\"
            split = true
            shell = \"cd {out}/ && for n in 1 2; do head -n $n {in} | tail -n 1 > $n; done\"
            [target.upper]
            each = \"parts\"
            shell = \"tr a-z A-Z < {in} > {out}\"
            [target.whole]
            group = \"upper\"
            by = \"parent\"
            shell = \"wc -l < {in} > {out}\"
            [target.kinds]
            group = \"inbox\"
            by = \"id.stem\"
            shell = \"wc -l < {in} > {out}\"
            [target.book]
            all = \"upper\"
            shell = \"wc -l < {in} > {out}\"
            publish = \"out/book.txt\"
            ",
        )
        .file("inbox/a.txt", "one\ntwo\n")
        .file("inbox/b.txt", "three\nfour\n")
}

fn json(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let said = project.pipe(arguments).ends(0);
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of the lineage at the head of a log.
fn lineage(project: &Project, doc: &str) -> Vec<String> {
    let said = project.pipe(&["log", doc]).ends(0).stdout;
    let head = said.lines().skip(1).take_while(|line| !line.is_empty());
    head.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_published_file_leads_back_to_its_sources_and_a_source_to_all_that_was_made() {
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(
        lineage(&project, "out/book.txt"),
        ["from  4 documents of upper: inbox/a.txt#1, inbox/a.txt#2, inbox/b.txt#1, inbox/b.txt#2"]
    );
    assert_eq!(
        lineage(&project, "inbox/a.txt"),
        [
            "from  the file inbox/a.txt",
            "made  2 documents by parts: inbox/a.txt#1, inbox/a.txt#2",
            "made  kinds/a, with others",
            "made  book, with others, published as out/book.txt",
        ]
    );
    assert_eq!(
        lineage(&project, "inbox/a.txt#2"),
        ["from  inbox/a.txt, which was split", "made  book, with others, published as out/book.txt"]
    );
    assert_eq!(lineage(&project, "kinds/a"), ["from  1 document of inbox: inbox/a.txt"]);
}

#[test]
fn a_document_of_one_run_or_one_try_can_be_asked_for() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.flaky]
            each = \"inbox\"
            shell = \"echo try $(cat tries); echo x >> tries; test $(wc -l < tries) -gt 2 || kill -9 $$; cp {in} {out}\"
            ",
        )
        .file("inbox/a.txt", "one\n")
        .file("tries", "x\n");
    drop(project.pipe(&["build"]).ends(0));
    let log = project.pipe(&["log", "a.txt"]).ends(0);
    let log = log.says("  flaky     tried (crash), ran at ").says(", attempt 1, cpu ");
    drop(log.says(", attempt 2, cpu ").says("SIGKILL"));
    let first = &json(&project, &["log", "a.txt", "--attempt", "1", "--json"])[0]["runs"][0]["steps"][0];
    assert_eq!((&first["state"], &first["decision"]["attempt"]), (&"failed".into(), &1.into()));
    assert_eq!(first["outcome"]["failure"]["kind"], "crash");
    assert!(first["decision"]["used"]["peak"].as_u64().unwrap() > 0, "{first}");
    let whole = json(&project, &["log", "--run", "1", "--json"]);
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert_eq!((&whole[0]["type"], &whole[0]["number"]), (&"run".into(), &1.into()));
    assert!(!whole[0]["host"].as_str().unwrap().is_empty());
    let ends: Vec<_> = whole[1..].iter().map(|one| (&one["doc"], &one["target"], &one["attempt"])).collect();
    let (doc, target) = (Value::from("inbox/a.txt"), Value::from("flaky"));
    assert_eq!(ends, [(&doc, &target, &1.into()), (&doc, &target, &2.into())]);
    drop(project.pipe(&["log", "a.txt", "--run", "last"]).ends(0).says("inbox/a.txt  1 run\n"));
    project.pipe(&["log", "a.txt", "--run", "9"]).shows(
        "
        status: 4
        --- stderr
        error: nothing happened to inbox/a.txt in run 9
        hint: its runs are 1
    ",
    );
    project.pipe(&["log", "a.txt", "--attempt", "7"]).shows(
        "
        status: 4
        --- stderr
        error: no action on inbox/a.txt had an attempt 7
        hint: pipe log inbox/a.txt
    ",
    );
    project.pipe(&["log", "--run", "9"]).shows(
        "
        status: 4
        --- stderr
        error: there is no run 9: it wrote nothing, or was collected
        hint: pipe report      lists all runs
    ",
    );
}

#[test]
fn runs_are_listed_counted_and_compared() {
    let project = project().file("inbox/copy.txt", "one\ntwo\n");
    drop(project.pipe(&["build", "--jobs", "1"]).ends(0));
    let list = project
        .pipe(&["report"])
        .ends(0)
        .says("1  2026-01-01 00:00:00")
        .says("pipe build --jobs 1  [TIME]: 12 built, 4 reused\n");
    assert!(!list.stdout.contains("another Pipelinefile"), "{}", list.stdout);
    let first = &json(&project, &["report", "1", "--json"])[0];
    assert_eq!((&first["v"], &first["type"]), (&1.into(), &"report".into()));
    let of = |report: &Value, name: &str, field: &str| {
        let targets = report["targets"].as_array().unwrap();
        let target = targets.iter().find(|target| target["target"] == name).unwrap();
        target[field].as_u64().unwrap()
    };
    // The copy's two children are the same as those of the first.
    assert_eq!((of(first, "parts", "done"), of(first, "parts", "hits")), (2, 1), "{first}");
    assert_eq!((of(first, "upper", "done"), of(first, "upper", "hits")), (4, 2), "{first}");
    assert_eq!((of(first, "book", "done"), of(first, "kinds", "done")), (1, 3), "{first}");
    project.write("inbox/a.txt", "one\nnew\n");
    drop(project.pipe(&["build"]).ends(0));
    let second = &json(&project, &["report", "last", "--json"])[0];
    assert_eq!((of(second, "upper", "done"), of(second, "book", "done")), (1, 1), "{second}");
    let compared = project.pipe(&["report", "2", "--compare", "1"]).ends(0).says("run 1 → run 2\n");
    drop(compared.says("4 → 1").says("  before: ").says("  after: "));
    assert_eq!(json(&project, &["report", "2", "--compare", "1", "--json"]).len(), 2);
    let page = project.pipe(&["report", "1", "--format", "html"]).ends(0);
    drop(page.says("<svg").says("<h2>Pipelinefile</h2>").says("group = &quot;upper&quot;"));
    drop(project.pipe(&["report", "1", "--format", "md", "-o", "out/run.md"]).ends(0));
    assert!(project.read("out/run.md").starts_with("## pipe: run 1\n"));
    let trace = project.pipe(&["report", "1", "--format", "perfetto"]).ends(0).stdout;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(trace["traceEvents"].as_array().unwrap().len() as u64, 1 + 2 + 4 + 2 + 3 + 1);
    project.pipe(&["report", "7"]).shows(
        "
        status: 4
        --- stderr
        error: there is no run 7: it wrote nothing, or was collected
        hint: pipe report      lists all runs
    ",
    );
}

#[test]
fn a_failed_document_is_a_case_of_its_targets_suite() {
    let project = project();
    project.write("Pipelinefile", project.read("Pipelinefile").replace("tr a-z A-Z <", "grep -v two"));
    drop(project.pipe(&["build"]).ends(1));
    let junit = project.pipe(&["report", "last", "--format", "junit"]).ends(0);
    let junit = junit.says("<testsuite name=\"upper\" tests=\"2\" failures=\"1\"");
    drop(junit.says("<testcase name=\"inbox/a.txt#2\" classname=\"upper\"").says("type=\"module error\""));
    drop(project.pipe(&["report", "last"]).ends(0).says("failed\n  1x upper  exit 1"));
}

#[test]
fn a_run_keeps_the_pipelinefile_that_it_ran() {
    let project = project();
    let first = project.read("Pipelinefile");
    drop(project.pipe(&["build"]).ends(0));
    project.write("Pipelinefile", first.replace("tr a-z A-Z", "tr a-y A-Y"));
    drop(project.pipe(&["build"]).ends(0));
    drop(
        project
            .pipe(&["report"])
            .ends(0)
            .says("pipe build  [TIME]: 4 built, 5 reused  (another Pipelinefile)\n"),
    );
    assert_eq!(project.pipe(&["report", "1", "--pipelinefile"]).ends(0).stdout, first);
    project.pipe(&["report", "2", "--compare", "1", "--pipelinefile"]).shows(
        "
        status: 0
        --- stdout
          [target.upper]
          each = \"parts\"
        - shell = \"tr a-z A-Z < {in} > {out}\"
        + shell = \"tr a-y A-Y < {in} > {out}\"
          [target.whole]
          group = \"upper\"
    ",
    );
    let second = project.read("Pipelinefile");
    project.pipe(&["report", "1", "--restore"]).shows(
        "
        status: 0
        --- stderr
        the Pipelinefile is that of run 1 again; what was there is `.Pipelinefile.before`
    ",
    );
    assert_eq!((project.read("Pipelinefile"), project.read(".Pipelinefile.before")), (first, second));
    // What it made then is still there.
    let ended = project.build();
    assert_eq!(ended.ends(0).all("done").len(), 0);
}

/// A build that could not do what was due is found the next morning, by people and by CI.
#[test]
fn a_build_that_did_not_finish_is_told_afterwards() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.read]\neach = \"inbox\"\nmodule = \"read\"\n",
        )
        .module("read", "import nosuch\n@module\ndef read(doc):\n    return doc.text()\n")
        .file("inbox/a.txt", "a");
    let page = project.root().join("summary.md").to_str().unwrap().to_owned();
    let project = project.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    let ended = project.pipe(&["build"]).ends(3);
    assert!(
        ended.text().contains("::error title=pipe build did not finish::the module of read cannot start"),
        "{}",
        ended.text()
    );
    assert!(project.read("summary.md").contains("It did not finish: the module of read cannot start"));
    let why =
        "did not finish: the module of read cannot start: ModuleNotFoundError: No module named 'nosuch'";
    drop(project.pipe(&["failed"]).ends(0).says("nothing failed").says(why));
    drop(project.pipe(&["failed", "--exit-code"]).ends(1));
    drop(project.pipe(&["status"]).ends(0).says(why));
    drop(project.pipe(&["report"]).ends(0).says(why));
    drop(project.pipe(&["report", "last"]).ends(0).says(why));
    let junit = project.pipe(&["report", "last", "--format", "junit"]).ends(0).text();
    assert!(
        junit.contains("tests=\"1\" failures=\"0\" errors=\"1\"")
            && junit.contains("<error message=\"the module of read cannot start"),
        "{junit}"
    );
    // Mended, all that is gone.
    project.replace("modules/read.py", "import nosuch\n", "");
    drop(project.pipe(&["build"]).ends(0));
    let said = project.pipe(&["status"]).ends(0).text();
    assert!(!said.contains("did not finish"), "{said}");
    drop(project.pipe(&["failed", "--exit-code"]).ends(0));
    let list = project.pipe(&["report"]).ends(0).text();
    assert!(list.lines().any(|line| line.contains(": 1 built")), "{list}");
}

/// What failed before still stands: no later run is green because of it.
#[test]
fn junit_of_a_later_run_counts_earlier_failures() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.read]\neach = \"inbox\"\nshell = \"grep -v bad {in} > {out}\"\n",
        )
        .file("inbox/bad.txt", "bad");
    drop(project.pipe(&["build"]).ends(1));
    project.write("inbox/good.txt", "good");
    drop(project.pipe(&["build"]).ends(1));
    let junit = project.pipe(&["report", "last", "--format", "junit"]).ends(0).text();
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains("1 document failed in earlier builds: pipe failed"), "{junit}");
    // The run's own are not counted twice.
    project.write("inbox/bad.txt", "bad again: bad");
    drop(project.pipe(&["build"]).ends(1));
    let junit = project.pipe(&["report", "last", "--format", "junit"]).ends(0).text();
    assert!(junit.contains("failures=\"1\"") && !junit.contains("earlier"), "{junit}");
}
