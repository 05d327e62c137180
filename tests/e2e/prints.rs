//! What a module prints lands in the log of the document that it was working on, by whatever way it was printed.

use std::os::unix::fs::MetadataExt;

use crate::harness::Project;

#[test]
fn prints_land_with_their_document() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.say]
            each = "docs"
            module = "say"
            workers = 1
            [target.tell]
            each = "say"
            shell = 'echo filter of $(cat {in}); echo and its error >&2; cat {in} > {out}'
            [target.all]
            all = "say"
            module = "collect"
            "#,
        )
        .counted(
            "say",
            "
            import ctypes, subprocess

            libc = ctypes.CDLL(None)

            @module
            def say(doc):
                word = doc.text()
                print('python of', word)
                print('no line break of ' + word, end='')
                sys.stderr.write('\\nstderr of ' + word + '\\n')
                libc.puts(('c of ' + word).encode())
                subprocess.run(['echo', 'child of ' + word])
                os.write(1, ('raw of ' + word + '\\n').encode())
                # Looks like an answer, and is none.
                print('{\"id\":1,\"output\":{\"text\":\"forged\"}}')
                if word == 'd3':
                    raise ValueError('no')
                return word
            ",
        )
        .counted(
            "collect",
            "
            @module
            def collect(docs):
                for doc in docs:
                    print('collects', doc.text())
                return 'x'
            ",
        );
    for n in 0..8 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), ["say docs/d3.txt: module-error ValueError"]);
    for n in 0..8 {
        let standing = project.standing(&format!("docs/d{n}.txt"));
        let log = &standing["say"].log;
        for what in ["python of", "no line break of", "stderr of", "c of", "child of", "raw of"] {
            assert_eq!(log.matches(&format!("{what} d{n}")).count(), 1, "{what} d{n}:\n{log}");
        }
        assert_eq!(log.matches(" of d").count(), 6, "nothing of others:\n{log}");
        assert!(log.contains("forged"), "{log}");
        if n != 3 {
            let log = &standing["tell"].log;
            assert_eq!(*log, format!("filter of d{n}\nand its error\n"));
        }
    }
}

#[test]
fn a_set_has_a_log_too() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.all]
            all = "docs"
            module = "collect"
            "#,
        )
        .counted(
            "collect",
            "
            @module
            def collect(docs):
                for doc in docs:
                    print('collects', doc.text())
                return 'x'
            ",
        );
    project.write("docs/a.txt", "one");
    project.write("docs/b.txt", "two");
    drop(project.build().ends(0));
    assert_eq!(project.standing("all")["all"].log, "collects one\ncollects two\n");
}

#[test]
fn bytes_that_are_no_text_and_much_text_hurt_nobody() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.say]
            each = "docs"
            module = "say"
            workers = 1
            "#,
        )
        .counted(
            "say",
            "
            @module
            def say(doc):
                os.write(1, b'\\xff\\x00\\x1b[2J\\xfe no text\\n')
                os.write(2, b'x' * 3_000_000)
                os.write(2, b'the end of ' + doc.bytes())
                return doc.text()
            ",
        );
    project.write("docs/a.txt", "one");
    project.write("docs/b.txt", "two");
    let ended = project.build().ends(0);
    assert_eq!(ended.named("done"), ["say docs/a.txt", "say docs/b.txt"]);
    // Of much text the middle is not kept, neither shown nor on the disk.
    let said =
        project.pipe(&["log", "docs/b.txt", "--raw"]).ends(0).says("… 2.7 MiB left out: of what is printed");
    assert!(said.stdout.len() < 140_000 && said.stdout.contains("xthe end of two"), "{}", said.stdout.len());
    let logs = std::fs::read_dir(project.root().join(".pipe/logs")).unwrap();
    let held: u64 = logs.map(|log| log.unwrap().metadata().unwrap().blocks() * 512).sum();
    assert!(held < 2 * 150_000, "{held}");
    // Whoever collects does not count what is not there.
    drop(project.pipe(&["gc", "-n", "--json"]).ends(0));
}

#[test]
fn who_prints_without_end_fills_no_disk_while_it_does() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.say]
            each = "docs"
            module = "say"
            "#,
        )
        .counted(
            "say",
            "
            @module
            def say(doc):
                while not os.path.exists('go'):
                    os.write(2, b'endless line of text\\n' * 40_000)
                return doc.text()
            ",
        );
    project.write("docs/a.txt", "one");
    let build = project.start(&["build"]);
    let log = || {
        let logs = std::fs::read_dir(project.root().join(".pipe/logs")).into_iter().flatten();
        let found = logs.map(|log| log.unwrap().metadata().unwrap());
        found.fold((0, 0), |(length, held), found| (length + found.len(), held + found.blocks() * 512))
    };
    // It goes on until most of what it printed is gone again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !matches!(log(), (length, held) if length > 64 << 20 && held < length / 2) {
        assert!(std::time::Instant::now() < deadline, "{:?}", log());
        std::thread::yield_now();
    }
    project.write("go", "");
    assert_eq!(build.end().status, 0);
    let (length, held) = log();
    assert!(length > 64 << 20 && held < 200_000, "{held} of {length}");
    drop(
        project
            .pipe(&["log", "docs/a.txt"])
            .ends(0)
            .says("MiB left out: of what is printed for one document"),
    );
}
