//! `pipe test`: golden samples of modules.

use crate::harness::{Project, python};

fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.upper]
            each  = "inbox"
            shell = "echo noise >&2; tr a-z A-Z < {in} > {out}"

            [target.words]
            each   = "inbox"
            module = "words"
            params = { least = 9 }

            [target.parts]
            each   = "inbox"
            split  = true
            module = "words:parts"

            [target.all]
            all    = "words"
            module = "words:all_of"
            "#,
        )
        .file(
            "modules/words.py",
            r#"
            from pipelinefile import module, Child, Doc, Result, Skip

            @module
            def words(doc, *, least: int = 1, fix: Doc = None):
                text = doc.text() + (fix.text() if fix else "")
                if not text.strip():
                    raise Skip("empty")
                if "boom" in text:
                    raise ValueError("no boom here")
                return {"words": [w for w in text.split() if len(w) >= least], "ext": doc.ext}

            @module
            def parts(doc):
                for number, word in enumerate(doc.text().split()):
                    yield Child(f"part-{number}", word, meta={"n": number})

            @module
            def all_of(docs):
                return ",".join(f"{doc.id}={doc.text().strip()}" for doc in docs)

            @module
            def tagged(doc):
                return Result(meta={"lang": doc.meta["lang"]})
            "#,
        )
        .env("PIPE_PYTHON", python())
}

#[test]
fn samples_pass_or_show_what_differs() {
    let project = project()
        .file("tests/words/short.in.txt", "one two")
        .file("tests/words/short.out.json", "{\"ext\": \"txt\",\n\"words\": [\"one\", \"two\"]}\n")
        .file("tests/words/long.in.txt", "one three")
        .file("tests/words/long.toml", "params = { least = 4 }")
        .file("tests/words/long.out.json", "{\"ext\": \"txt\", \"words\": [\"one\"]}\n")
        .file("tests/words/none.in", "\n")
        .file("tests/words/none.skip", "empty\n")
        .file("tests/words/bad.in", "boom")
        .file("tests/words/bad.error", "no boom")
        .file("tests/words/fixed.in.md", "a ")
        .file("tests/words/fixed.with.fix.txt", "b")
        .file("tests/words/fixed.out", "{\"words\": [\"a\", \"b\"], \"ext\": \"md\"}");
    project.pipe(&["test", "words"]).shows(
        "
        status: 1
        --- stdout
          Tested   words: 4 of 5 samples passed
            long: failed
              it differs
                -     \"one\"
                +     \"three\"
        --- stderr
          Summary  4 of 5 samples passed in [TIME]
        hint: pipe test words --bless     takes what came out for right
        ",
    );
    let said = project.pipe(&["test", "--json"]).ends(1);
    let lines: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[2]["sample"], &lines[2]["state"]), (&"long".into(), &"failed".into()));
    assert_eq!(lines[5]["passed"], 4);
    // The store was not made, and nothing was recorded.
    assert!(!project.root().join(".pipe/segments").exists());
}

#[test]
fn bless_writes_down_what_comes_out_but_no_failure() {
    let project = project()
        .file("tests/words/short.in.txt", "one")
        .file("tests/words/bad.in.txt", "boom")
        .file("tests/words/none.in.txt", " ")
        .file("tests/words/none.out.txt", "was something")
        .file("tests/upper/a.in", "abc\n")
        .file("tests/words/parts/two.in.txt", "x y")
        .file("tests/words/all_of/set.in/b.txt", "B")
        .file("tests/words/all_of/set.in/a.txt", "A")
        .file("tests/words/tagged/t.in.txt", "as it is")
        .file("tests/words/tagged/t.toml", "meta = { lang = \"nl\" }")
        .file("tests/unrelated/test_it.py", "");
    project.pipe(&["test", "--bless"]).shows(
        "
        status: 1
        --- stdout
          Tested   upper: 0 of 1 sample passed
            a: written down
          Tested   words: 0 of 3 samples passed
            bad: failed
              ValueError: no boom here (modules/words.py:9)
            none: written down
              it is skipped: empty
            short: written down
          Tested   words:all_of: 0 of 1 sample passed
            set: written down
          Tested   words:parts: 0 of 1 sample passed
            two: written down
          Tested   words:tagged: 0 of 1 sample passed
            t: written down
        --- stderr
          Summary  0 of 7 samples passed, 6 written down in [TIME]
        ",
    );
    assert_eq!(
        project.read("tests/words/short.out.json"),
        "{\n  \"ext\": \"txt\",\n  \"words\": [\n    \"one\"\n  ]\n}\n"
    );
    assert_eq!(project.read("tests/words/none.skip"), "empty\n");
    assert!(!project.root().join("tests/words/none.out.txt").exists());
    assert_eq!(project.read("tests/upper/a.out"), "ABC\n");
    assert_eq!(project.read("tests/words/parts/two.out/part-1.txt"), "y");
    assert!(project.read("tests/words/parts/two.meta.json").contains("\"part-1.txt\": {\n    \"n\": 1"));
    assert_eq!(project.read("tests/words/all_of/set.out"), "a.txt=A,b.txt=B");
    assert_eq!(project.read("tests/words/tagged/t.out.txt"), "as it is");
    assert_eq!(project.read("tests/words/tagged/t.meta.json"), "{\n  \"lang\": \"nl\"\n}\n");
    std::fs::remove_file(project.root().join("tests/words/bad.in.txt")).unwrap();
    project.pipe(&["test"]).ends(0).says("6 of 6 samples passed");
    // Parts that come and go are named.
    project.write("tests/words/parts/two.in.txt", "x y z");
    std::fs::remove_file(project.root().join("tests/words/parts/two.out/part-0.txt")).unwrap();
    project.pipe(&["test", "parts"]).ends(1).says("`part-0.txt` is new").says("its meta differs");
}

#[test]
fn what_cannot_be_tested_is_said() {
    let project = project();
    project.pipe(&["test"]).ends(4).says("there are no samples in tests/");
    project.pipe(&["test", "wrods"]).ends(2).says("did you mean `words`?");
    project.pipe(&["test", "words"]).ends(4).says("module `words` has no samples");
    project.write("tests/gone/a.in", "x");
    project.write("tests/upper/a.in", "x");
    project.write("tests/upper/a.out", "X");
    project
        .pipe(&["test"])
        .ends(0)
        .says("warning: tests/gone has samples, but no target uses a module `gone`");
    project.write("tests/upper/a.toml", "param = {}");
    project.pipe(&["test"]).ends(2).says("unknown field `param`");
    project.write("tests/upper/a.toml", "");
    project.write("tests/upper/a.in.txt", "x");
    project.pipe(&["test"]).ends(2).says("sample `a` is there twice");
}

#[test]
fn a_module_that_cannot_start_fails_its_samples() {
    let project =
        project().file("tests/words/a.in", "x").file("tests/words/a.toml", "params = { leest = 1 }");
    project.pipe(&["test"]).ends(1).says("`words` has no param `leest`: did you mean `least`?");
}
