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
        Found, used by no target
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

#[test]
fn of_one_module_all_that_counts_is_shown_also_what_was_seen_loaded() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [module.clean]
            env = { LEVEL = "3" }
            [target.tidy]
            each   = "inbox"
            module = "clean"
            with   = { rules = "file:rules.json" }
            [target.count]
            each  = "inbox"
            cmd   = "sh count.sh {in} {out}"
            "#,
        )
        .file("inbox/a.txt", "a")
        .file("rules.json", "{}")
        .file("count.sh", "wc -c < $1 > $2\n")
        .file("modules/late.py", "X = 1\n")
        .file(
            "modules/clean.py",
            "
            from pipelinefile import Doc, module
            @module
            def clean(doc, *, rules: Doc):
                late = __import__('la' + 'te')
                return doc.text() * late.X
            ",
        )
        .env("PIPE_PYTHON", crate::harness::python());
    let said = project.pipe(&["modules", "clean"]).ends(0);
    let kinds = |said: &str| -> Vec<String> {
        said.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    assert_eq!(
        kinds(&said.stdout),
        ["command", "interpreter", "kind", "protocol", "env.LEVEL", "file", "data"]
    );
    said.says("file         modules/clean.py").says("data         rules.json").says("`rules` of target tidy");
    project.pipe(&["build", "-q"]).ends(0);
    project
        .pipe(&["modules", "tidy"])
        .ends(0)
        .says("loaded       modules/late.py")
        .says("was seen to load it");
    project.pipe(&["modules", "count"]).shows(
        "
        status: 0
        --- stdout
          command  sh count.sh {in} {out}
          kind     filter
          file     count.sh                4087d88f
        ",
    );
    let json = project.pipe(&["modules", "count", "--json"]).ends(0).stdout;
    let file: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&file["kind"], file["digest"].as_str().unwrap().len()), (&"file".into(), 64));
    project.pipe(&["modules", "claen"]).ends(2).says("did you mean `clean`?");
}
