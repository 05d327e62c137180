use crate::harness::Project;

fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [target.clean]
            each   = "inbox"
            module = "clean"
            params = { min_len = 5 }
            [target.short]
            each  = "clean"
            shell = "head -n 2 {in} > {out}"
            [target.names]
            each   = "clean"
            module = "ner:people"
            "#,
        )
        .file("inbox/a.txt", "a")
        .file(
            "modules/clean.py",
            r"
            from pipelinefile import module
            import textlib
            @module(version='2')
            def clean(doc, *, min_len: int = 20):
                '''Leaves out short lines.'''
                return doc.text()
            ",
        )
        .file("modules/textlib.py", "X = 1\n")
        .file("modules/spare.py", "from pipelinefile import module\n@module\ndef total(docs): ...\n")
}

#[test]
fn modules_are_shown_as_used_found_or_missing_with_what_counts() {
    project().pipe(&["modules"]).shows(
        "
        status: 0
        --- stdout
        Used by the Pipelinefile
          clean  takes doc, min_len = 20, version 2
                 modules/clean.py    992e9539
                 modules/textlib.py  714c946f
          short  shell: head -n 2 {in} > {out}
        Found in modules/, used by no target
          spare:total  takes docs
                       modules/spare.py  1d302ca9
        Missing
          ner:people  no file modules/ner.py
                      for names
        ",
    );
}

#[test]
fn the_same_as_json_has_whole_digests() {
    let out = project().pipe(&["modules", "--json"]).ends(0).stdout;
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&str> = lines.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["used", "missing", "used", "found"]);
    assert_eq!((&lines[0]["v"], &lines[0]["type"]), (&1.into(), &"module".into()));
    assert_eq!(lines[0]["params"][0]["default"], "20");
    assert_eq!(lines[0]["files"][0]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(lines[0]["doc"], "Leaves out short lines.");
}
