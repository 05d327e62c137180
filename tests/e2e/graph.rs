use crate::harness::Project;

fn project() -> Project {
    let project = Project::new();
    project.pipe(&["-q", "init"]).shows("status: 0\n");
    project
}

#[test]
fn the_pipeline_is_shown_as_a_tree() {
    project().pipe(&["graph"]).shows(
        "
        status: 0
        --- stdout
        inbox          source                inbox
        └─ words       each words
           ├─ top      each its own command  → out/{target}/{id}.{ext}
           └─ summary  all words:summary     → out/summary.json
        ",
    );
}

#[test]
fn other_programs_can_draw_it() {
    project().pipe(&["graph", "--format", "mermaid"]).shows(
        "
        status: 0
        --- stdout
        flowchart LR
          n0[(\"inbox\")]
          n1[\"words<br>each words\"]
          n2[\"top<br>each its own command\"]
          n3[\"summary<br>all words:summary\"]
          n0 --> n1
          n1 --> n2
          n1 --> n3
        ",
    );
    project().pipe(&["graph", "--format", "dot"]).ends(0).says("digraph pipeline {");
    let json = project().pipe(&["graph", "--format", "json"]).ends(0).stdout;
    assert_eq!(json, project().pipe(&["graph", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["edges"][1], serde_json::json!({ "from": "words", "to": "top" }));
}

#[test]
fn documents_need_not_be_there() {
    let project = project();
    std::fs::remove_dir_all(project.root().join("inbox")).unwrap();
    project.pipe(&["graph"]).ends(0);
}

#[test]
fn once_something_was_built_nothing_gets_lost_on_the_way() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [source.people]
        path = "people.csv"
        rows = "id"

        [target.text]
        each  = "inbox"
        where = { size = "<1MB", ext = "!log" }
        route = [
          { where = { ext = "md" }, module = "md" },
          { where = { ext = "png" }, do = "skip" },
          { where = { ext = "txt" }, do = "pass" },
          { do = "fail" },
        ]

        [module.md]
        shell = "cat {in} > {out}"

        [target.line]
        each  = "text"
        split = true
        shell = "mkdir -p {out} && split -l 1 {in} {out}/line-"

        [target.size]
        each  = "text"
        with  = { who = { from = "people", on = ["id.stem", "meta.id"], missing = "none" } }
        shell = "cat {in} {with.who} | wc -c > {out}"

        [target.most]
        all      = "text"
        where    = { id = "!**/b.*" }
        min_done = 0.5
        shell    = "wc -l < {in} > {out}"
        publish  = "out/most.txt"
        "#,
    );
    for (name, text) in [
        ("a.md", "1\n2\n"),
        ("b.txt", "1\n"),
        ("c.png", "x"),
        ("d.exe", "x"),
        ("e.log", "x"),
        ("f.md", "1\n"),
    ] {
        project.write(&format!("inbox/{name}"), text);
    }
    project.write("people.csv", "id\na\nnobody\n");
    drop(project.pipe(&["build"]).ends(1));
    project.pipe(&["graph"]).shows(
        "
        status: 0
        --- stdout
        inbox       source                        6 documents                                                               inbox
        └─ text     each md | skip | pass | fail  3 of 6; 1 skipped, 1 left out, 1 failed; by fail 1, md 2, pass 1, skip 1
           ├─ line  split its own command         3 of 4; 1 blocked; 4 children
           ├─ size  each its own command          3 of 4; 1 blocked; 2 without `who`                                        with who = people
           └─ most  all its own command           one of 4 members; 1 left out; over 2 of 3; 1 published                    → out/most.txt
        people      source                        2 documents                                                               people.csv
        ",
    );
    drop(project.pipe(&["graph", "--format", "mermaid"]).ends(0).says("n0[(\"inbox<br>6 documents\")]"));
    let json = project.pipe(&["graph", "--json"]).ends(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text = json["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "text").unwrap();
    assert_eq!(text["counts"]["in"], 6);
    assert_eq!(text["counts"]["shape"], "each");
    assert_eq!(text["counts"]["routed"], serde_json::json!({ "fail": 1, "md": 2, "pass": 1, "skip": 1 }));
    let status = project.pipe(&["status"]).ends(0);
    drop(status.says(
        "text    each    6     3        1         1       1        -          -  by fail 1, md 2, pass 1, skip 1\n",
    ));
}
