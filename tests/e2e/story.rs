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

/// What modules counted is in every report, also what was counted for tries that left no record; a copy costs nothing.
#[test]
fn what_a_build_counted_is_in_every_report() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.ask]\neach = \"inbox\"\nmodule = \"ask\"\nretries = 1\n",
        )
        .module(
            "ask",
            "import os\n@module\ndef ask(doc):\n    doc.count(usd=0.25, tokens=100)\n    if 'boom' in doc.text():\n        \
             os.abort()\n    return doc.text()\n",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "a")
        .file("inbox/boom.txt", "boom");
    drop(project.pipe(&["build"]).ends(1));
    // One good one, its copy, and three tries of the bad one: with others in hand or not, then alone.
    let spent = |command: &[&str]| {
        let said = project.pipe(command).ends(0).text();
        let at = said.find('$').unwrap_or_else(|| panic!("{command:?}: {said}"));
        said[at..].chars().take_while(|c| !",\n <|\\;".contains(*c)).collect::<String>()
    };
    let all = spent(&["report", "last"]);
    assert!(["$0.75", "$1.00"].contains(&all.as_str()), "{all}");
    for format in ["text", "md", "html"] {
        assert_eq!(spent(&["report", "last", "--format", format]), all, "{format}");
    }
    assert_eq!(spent(&["report"]), all);
    assert_eq!(spent(&["status"]), "$0.50");
    let json: serde_json::Value =
        serde_json::from_str(&project.pipe(&["report", "last", "--json"]).ends(0).stdout).unwrap();
    assert_eq!(format!("${:.2}", json["targets"][0]["counts"]["usd"].as_f64().unwrap()), all);
    project.write("inbox/c.txt", "c");
    drop(project.pipe(&["build"]).ends(1));
    assert!(
        project.pipe(&["report", "2", "--compare", "1"]).ends(0).text().contains(&format!("{all} → $0.25"))
    );
    let page = project.pipe(&["report", "2", "--compare", "1", "--format", "html"]).ends(0).stdout;
    assert!(page.contains(&format!("{all} → $0.25")) && page.contains("Both ran the same."), "{page}");
    let trace = project.pipe(&["report", "2", "--compare", "1", "--format", "perfetto"]).ends(0).stdout;
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    let pids: std::collections::BTreeSet<u64> =
        trace["traceEvents"].as_array().unwrap().iter().filter_map(|event| event["pid"].as_u64()).collect();
    assert_eq!(pids.into_iter().collect::<Vec<_>>(), [1, 2]);
    // What stood failed before is nothing that the second run broke.
    let junit = project.pipe(&["report", "2", "--compare", "1", "--format", "junit"]).ends(0).stdout;
    assert!(
        junit.contains("failures=\"0\" errors=\"0\"")
            && junit.contains("<skipped message=\"1 document failed")
    );
}

/// An earlier Pipelinefile is wanted most where the present one is spoiled.
#[test]
fn a_spoiled_pipelinefile_is_no_reason_not_to_take_one_back() {
    let project = project();
    let first = project.read("Pipelinefile");
    drop(project.pipe(&["build"]).ends(0));
    project.write("Pipelinefile", "[target.upper\n");
    drop(project.pipe(&["report", "1"]).ends(2));
    drop(project.pipe(&["report"]).ends(0).says("pipe build"));
    assert_eq!(project.pipe(&["report", "1", "--pipelinefile"]).ends(0).stdout, first);
    let kept: serde_json::Value =
        serde_json::from_str(&project.pipe(&["report", "1", "--pipelinefile", "--json"]).ends(0).stdout)
            .unwrap();
    assert_eq!(
        (&kept["type"], &kept["run"], &kept["text"]),
        (&"pipelinefile".into(), &1.into(), &first.clone().into())
    );
    drop(project.pipe(&["report", "1", "--restore"]).ends(0));
    assert_eq!(
        (project.read("Pipelinefile"), project.read(".Pipelinefile.before")),
        (first, "[target.upper\n".to_owned())
    );
}

/// What a module said, and when: its progress, its warnings, its lines; also where documents are done side by side and
/// their lines are written when they are done.
#[test]
fn what_a_module_says_has_its_time() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.slow]\neach = \"inbox\"\nmodule = \"say:slow\"\n\
             [target.later]\neach = \"inbox\"\nmodule = \"say:later\"\n",
        )
        .module(
            "say",
            "import asyncio, time\n@module\ndef slow(doc):\n    print('first')\n    doc.progress(1, 3)\n    time.sleep(1.1)\n    \
             doc.progress(2, 3)\n    doc.warn('late')\n    print('second')\n    return 'x'\n\
             @module\nasync def later(doc):\n    print('first')\n    await asyncio.sleep(0.6)\n    print('second')\n    return 'x'\n",
        )
        .file("inbox/a.txt", "a")
        // By the real clock.
        .env("PIPE_NOW", "");
    drop(project.pipe(&["build"]).ends(0));
    let story: serde_json::Value =
        serde_json::from_str(&project.pipe(&["log", "a.txt", "--json"]).ends(0).stdout).unwrap();
    let step = |name: &str| {
        let steps = story["runs"][0]["steps"].as_array().unwrap();
        steps.iter().find(|step| step["target"] == name).unwrap().clone()
    };
    let slow = step("slow");
    let start = slow["decision"]["start"].as_u64().unwrap();
    let reached: Vec<(u64, f64)> = slow["reached"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reached| (reached[0].as_u64().unwrap() - start, reached[1].as_f64().unwrap()))
        .collect();
    assert!(matches!(reached[..], [(early, 1.0), (late, 2.0)] if early < 900 && late >= 1000), "{reached:?}");
    assert!(slow["warned"][0].as_u64().unwrap() - start >= 1000, "{slow}");
    let later = step("later");
    let times: Vec<(u64, u64)> = serde_json::from_value(later["log"]["times"].clone()).unwrap();
    assert!(matches!(times[..], [(6, first), (13, second)] if second - first >= 400), "{times:?}");
    let said = project.pipe(&["log", "a.txt", "--target", "slow"]).ends(0);
    let said = said.text();
    let run = project.pipe(&["log", "--run", "1", "--target", "slow"]).ends(0).text();
    for what in ["progress 1 of 3 at ", ", 2 of 3 at ", "warning at "] {
        assert!(said.contains(what) && run.contains(what), "{said}{run}");
    }
}
