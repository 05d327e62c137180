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
