use crate::harness::Project;

/// `lang` states meta and passes the text on unchanged; `words` comes behind it.
fn project(rest: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.lang]
each   = "inbox"
module = "lang"

[target.words]
each   = "lang"
module = "words"
"#;
    Project::counting()
        .file("Pipelinefile", &(pipeline.to_owned() + rest))
        .module(
            "lang",
            "
            @module
            def lang(doc):
                ran(doc)
                head = doc.text().split(' ')[0]
                return Result(meta={'lang': head, 'length': len(doc.text()), 'deep': {'x': 1}})
            ",
        )
        .module(
            "words",
            "
            @module
            def words(doc):
                ran(doc)
                return str(len(doc.text().split()))
            ",
        )
        .file("inbox/a.txt", "en one")
        .file("inbox/b.txt", "de eins")
}

const GERMAN: &str = r#"
[target.german]
each    = "words"
where   = { meta.lang = "de" }
shell   = 'echo german >> $RUNS; cp {in} {out}'
publish = true
"#;

#[test]
fn a_result_without_a_value_passes_the_input_on_unchanged() {
    let project = project(
        "[target.text]\neach = \"lang\"\nshell = 'echo text >> $RUNS; cp {in} {out}'\npublish = true\n",
    );
    project.write("inbox/a.md", "en one");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.take_runs().len(), 3 + 3 + 3, "one content in two extensions is two inputs");
    assert_eq!(project.read("out/text/inbox/a.md.md"), "en one");
    assert_eq!(project.read("out/text/inbox/a.txt.txt"), "en one");
    project.build_runs(&[]);
    // Nothing is copied: a large input is in no blob.
    project.write("inbox/large.txt", "en ".repeat(200_000));
    project.pipe(&["build", "lang"]).ends(0);
    let blobs = std::fs::read_dir(project.root().join(".pipe/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}

#[test]
fn a_gigabyte_that_is_passed_on_is_not_copied() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.lang]\neach = \"inbox\"\nmodule = \"lang\"\n\
             [target.size]\neach = \"lang\"\nmodule = \"lang:size\"\n",
        )
        .file("inbox/a.txt", "a")
        .file(
            "modules/lang.py",
            "from pipelinefile import Result, module\n@module\ndef lang(doc):\n    return Result(meta={'lang': 'de'})\n\
             @module\ndef size(doc):\n    return doc.path.stat().st_size\n",
        );
    let file = std::fs::File::create(project.root().join("inbox/giga.bin")).unwrap();
    file.set_len(1 << 30).unwrap();
    let written = || {
        let (mut open, mut blocks) = (vec![project.root().join(".pipe")], 0);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let metadata = entry.path().symlink_metadata().unwrap();
                if metadata.is_dir() {
                    open.push(entry.path());
                } else {
                    blocks += std::os::unix::fs::MetadataExt::blocks(&metadata);
                }
            }
        }
        blocks * 512
    };
    project.pipe(&["build"]).ends(0);
    // The store has a reserve of 16 MiB.
    assert!(written() < 20 << 20, "{}", written());
    assert_eq!(project.pipe(&["cat", "size", "inbox/giga.bin"]).ends(0).stdout, "1073741824");
}

#[test]
fn a_route_is_decided_again_when_a_value_that_it_reads_changes_though_bytes_do_not() {
    let project = project(GERMAN);
    project.build_runs(&["lang en one", "lang de eins", "words en one", "words de eins", "german"]);
    assert_eq!(project.published_names(), ["german/inbox/b.txt.txt"]);
    // The module states another language; its output bytes are the same, so `words` does not run.
    project.replace("modules/lang.py", "'lang': head", "'lang': 'de'");
    project.build_runs(&["lang en one", "lang de eins"]);
    // `words` gives "2" for both: `german` has that result.
    assert_eq!(project.published_names(), ["german/inbox/a.txt.txt", "german/inbox/b.txt.txt"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
    project.replace("modules/lang.py", "'lang': 'de'", "'lang': head");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["german/inbox/b.txt.txt"]);
}

#[test]
fn another_where_is_decided_without_running_what_is_before() {
    let project = project(GERMAN);
    project.build_runs(&["lang en one", "lang de eins", "words en one", "words de eins", "german"]);
    project.replace("Pipelinefile", "meta.lang = \"de\"", "meta.lang = \"!de\"");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["german/inbox/a.txt.txt"]);
    project.replace("Pipelinefile", "meta.lang = \"!de\"", "meta.length = \">6\"");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["german/inbox/b.txt.txt"]);
    project.replace("Pipelinefile", "meta.length = \">6\"", "meta.deep.x = 1");
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 2);
    project.replace("Pipelinefile", "meta.deep.x = 1", "meta.deep.x = \"1\"");
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 0);
}

#[test]
fn every_field_can_be_tested() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.t]
            each    = "inbox"
            where   = { TEST }
            shell   = 'cp {in} {out}'
            publish = "out/{id.rel}"
            "#,
        )
        .file("inbox/a.txt", "plain")
        .file("inbox/sub/b.MD", "# title")
        .file("inbox/sub/c.html", "<!DOCTYPE html><html><body>text</body></html>");
    let pipeline = project.read("Pipelinefile");
    for (test, expected) in [
        ("ext = \"md\"", &["sub/b.MD"][..]),
        ("ext = [\"txt\", \"html\"]", &["a.txt", "sub/c.html"]),
        ("id = \"inbox/sub/**\"", &["sub/b.MD", "sub/c.html"]),
        ("\"id.dir\" = \"sub\", ext = \"!md\"", &["sub/c.html"]),
        ("size = \">20\"", &["sub/c.html"]),
        ("mime = \"text/html\"", &["sub/c.html"]),
        ("source = \"inbox\"", &["a.txt", "sub/b.MD", "sub/c.html"]),
        ("source = \"other\"", &[]),
    ] {
        project.write("Pipelinefile", pipeline.replace("TEST", test));
        project.pipe(&["build"]).ends(0);
        assert_eq!(project.published_names(), expected, "{test}");
    }
}

#[test]
fn meta_comes_from_the_nearest_that_states_it() {
    let project = project(
        r#"
[target.over]
each   = "words"
module = "over"

[target.low]
each    = "over"
shell   = 'cp {in} {out}'
publish = "out/{meta.lang}/{id.rel}"
"#,
    )
    .module(
        "over",
        "
        @module
        def over(doc):
            if doc.text() == '2':
                return Result(doc.text(), meta={'lang': 'two'})
            return doc.text()
        ",
    );
    project.write("inbox/b.txt", "de eins zwei");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["de/b.txt", "two/a.txt"]);
    // Where it is shown follows the value, and nothing runs but the module that states it.
    project.take_runs();
    project.replace("modules/lang.py", "'lang': head", "'lang': head + '!'");
    project.build_runs(&["lang en one", "lang de eins zwei"]);
    assert_eq!(project.published_names(), ["de!/b.txt", "two/a.txt"]);
    project.is_as_built_clean();
}

#[test]
fn what_is_seen_of_meta_is_in_the_key_and_no_more() {
    let project = project(
        r#"
[target.seen]
each    = "words"
module  = "seen"
sees    = ["meta.lang"]
publish = true
"#,
    )
    .module(
        "seen",
        "
        @module
        def seen(doc):
            ran(doc.meta['lang'])
            return doc.meta['lang']
        ",
    );
    project.build_runs(&[
        "lang en one",
        "lang de eins",
        "words en one",
        "words de eins",
        "seen en",
        "seen de",
    ]);
    // Another value of a field that is not seen.
    project.replace("modules/lang.py", "'x': 1", "'x': 2");
    project.build_runs(&["lang en one", "lang de eins"]);
    project.replace("modules/lang.py", "'lang': head", "'lang': head + '!'");
    project.build_runs(&["lang en one", "lang de eins", "seen en!", "seen de!"]);
    assert_eq!(project.read("out/seen/inbox/a.txt.txt"), "en!");
    project.is_as_built_clean();
}

#[test]
fn a_set_sees_the_meta_of_its_members() {
    let project = project(
        r#"
[target.all]
all     = "words"
module  = "together"
sees    = ["id", "meta.lang", "meta.deep.x"]
publish = "out/all.txt"
"#,
    )
    .module(
        "together",
        "
        @module
        def together(docs):
            ran('set')
            return ' '.join(f\"{doc.id}:{doc.meta['lang']}:{doc.meta['deep']['x']}\" for doc in docs)
        ",
    );
    project.build_runs(&["lang en one", "lang de eins", "words en one", "words de eins", "together set"]);
    assert_eq!(project.read("out/all.txt"), "inbox/a.txt:en:1 inbox/b.txt:de:1");
    project.replace("modules/lang.py", "'lang': head", "'lang': 'x'");
    project.build_runs(&["lang en one", "lang de eins", "together set"]);
    assert_eq!(project.read("out/all.txt"), "inbox/a.txt:x:1 inbox/b.txt:x:1");
    project.is_as_built_clean();
}
