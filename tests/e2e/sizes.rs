//! Very small, very large, very many, very deep.

use crate::harness::Project;

#[test]
fn outputs_of_every_size_and_kind_come_out_as_they_went_in() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.python]
            each = "docs"
            module = "passes"
            publish = "out/python/{id.rel}"
            [target.filter]
            each = "python"
            cmd = "cp {in} {out}"
            publish = "out/filter/{id.rel}"
            [target.shell]
            each = "filter"
            shell = "cat {in} > {out}"
            publish = "out/shell/{id.rel}"
            [target.same]
            each = "shell"
            module = "same"
            publish = "out/same/{id.rel}"
            [target.lengths]
            all = "same"
            module = "lengths"
            publish = "out/lengths.json"
            "#,
        )
        .counted(
            "passes",
            "
            @module
            def passes(doc):
                return doc.bytes()
            ",
        )
        .counted(
            "same",
            "
            @module
            def same(doc):
                return Result(meta={'length': len(doc.bytes())})
            ",
        )
        .counted(
            "lengths",
            "
            @module
            def lengths(docs):
                return {doc.id: len(doc.bytes()) for doc in docs}
            ",
        );
    let kib = 1024;
    let lengths = [
        0,
        1,
        4095,
        32 * kib - 1,
        32 * kib,
        32 * kib + 1,
        64 * kib - 1,
        64 * kib,
        64 * kib + 1,
        256 * kib - 1,
        256 * kib,
        256 * kib + 1,
        5000 * kib,
    ];
    for length in lengths {
        let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
        project.write(&format!("docs/{length:07}.bin"), bytes);
        project.write(&format!("docs/{length:07}.txt"), "ä\n".repeat(length / 3));
    }
    let ended = project.build().ends(0);
    let expected = project.files("docs");
    for target in ["python", "filter", "shell", "same"] {
        let files = project.files(&format!("out/{target}"));
        assert_eq!(files.len(), expected.len(), "{target}");
        for (name, bytes) in &expected {
            assert!(files.get(name) == Some(bytes), "{target}: {name}");
        }
    }
    assert!(project.root().join("out/lengths.json").exists(), "{}", ended.text());
    let found: serde_json::Value = serde_json::from_str(&project.read("out/lengths.json")).unwrap();
    for (name, bytes) in &expected {
        assert_eq!(found[format!("docs/{name}")], bytes.len(), "{name}");
    }
    drop(ended);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn folders_three_hundred_deep() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.copy]
        each = "docs"
        cmd = "cp {in} {out}"
        publish = "out/{id.stem}.txt"
        "#,
    );
    let deep = "a/".repeat(300);
    project.write(&format!("docs/{deep}deep.txt"), "deep");
    let long = "a-name-of-some-length/".repeat(150);
    project.write(&format!("docs/{long}long.txt"), "long");
    project.write("docs/flat.txt", "flat");
    let ended = project.build().ends(0);
    assert_eq!(ended.named("done").len(), 3);
    assert_eq!(project.names("out"), ["deep.txt", "flat.txt", "long.txt"]);
    assert!(project.build().ends(0).all("plan").is_empty());
    project.clear("docs/a");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["flat.txt", "long.txt"]);
}

#[test]
fn ten_thousand_files_in_one_folder() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.pass]
            each = "docs"
            module = "passes"
            [target.sum]
            all = "pass"
            module = "sums"
            publish = "out/sum.txt"
            "#,
        )
        .counted(
            "passes",
            "
            @module
            def passes(doc):
                return doc.text()
            ",
        )
        .counted(
            "sums",
            "
            @module
            def sums(docs):
                return str(sum(int(doc.text()) for doc in docs))
            ",
        );
    for n in 0..10_000 {
        project.write(&format!("docs/{n}"), format!("{n}"));
    }
    let ended = project.build().ends(0);
    assert_eq!(ended.named("done").len(), 10_001);
    assert_eq!(project.read("out/sum.txt"), "49995000");
    project.write("docs/5000", "20000");
    let ended = project.build().ends(0);
    assert_eq!(ended.named("done"), ["pass docs/5000", "sum sum"]);
    assert_eq!(project.read("out/sum.txt"), "50010000");
}

#[test]
fn a_result_that_only_adds_meta_copies_nothing() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.tagged]
            each   = "docs"
            module = "tagged"
            [target.size]
            each    = "tagged"
            where   = { meta.large = true }
            shell   = 'wc -c < {in} > {out}'
            ext     = "txt"
            publish = true
            "#,
        )
        .module(
            "tagged",
            "
            @module
            def tagged(doc):
                return Result(meta={'large': doc.path.stat().st_size > 1000})
            ",
        );
    project.write("docs/large.bin", "");
    std::fs::File::options()
        .write(true)
        .open(project.root().join("docs/large.bin"))
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    // No file of half its size can be written meanwhile.
    let limited = ["sh", "-c", "ulimit -f 49152; exec \"$@\"", "sh"];
    project.pipe_through(&limited, &["build"]).ends(0);
    assert_eq!(project.read("out/size/docs/large.bin.txt"), "67108864\n");
    // In `tmp` lies a link to the source, by the name that the module saw.
    let own = |name: &str| name != "RESERVE" && !name.starts_with("tmp/");
    let files = project.files(".pipe");
    let stored: usize = files.iter().filter(|(name, _)| own(name)).map(|(_, bytes)| bytes.len()).sum();
    assert!(stored < 2 << 20, "{stored} bytes in the store");
    assert_eq!(project.names(".pipe/blobs").len(), 0);
}
