//! What is kept of a set's members never says anything else than the members themselves: an index that is thrown away
//! leads to the same key.

use std::fs;

use crate::harness::Project;

const DOCUMENTS: usize = 1500;

fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.note]
            each = "docs"
            module = "note"
            [target.all]
            all = "note"
            module = "all"
            min_done = 0.5
            where = { meta.kind = "!odd" }
            publish = "out/all.txt"
            "#,
        )
        .counted(
            "note",
            "
            @module
            def note(doc):
                text = ran('note', doc.text())
                if 'bad' in text: raise ValueError(text)
                if 'skip' in text: raise Skip('not wanted')
                return Result(text.upper(), meta={'kind': 'odd' if text[-1:] in '13579' else 'even'})
            ",
        )
        .counted(
            "all",
            "
            @module
            def all(docs):
                ran('all', 'all')
                return ''.join(doc.id + ' ' + doc.text() + chr(10) for doc in docs)
            ",
        );
    for n in 0..DOCUMENTS {
        project.write(&format!("docs/{}/{n:04}.txt", n % 3), text(n, 0));
    }
    project
}

/// A tenth fails, a tenth is left out on purpose; the last digit decides whether `all` wants it.
fn text(n: usize, round: usize) -> String {
    match (n * 7 + round) % 10 {
        0 => format!("bad {n} {round}"),
        1 => format!("skip {n} {round}"),
        _ => format!("note {n} {round}"),
    }
}

#[test]
fn kept_leaves_say_what_the_members_say() {
    let project = project();
    project.build().ends(1);
    let mut runs = project.counts("all").len();
    for round in 1..5 {
        // One that becomes good, bad or left out, one added, one removed.
        let edited = format!("docs/{}/{:04}.txt", (round * 389) % DOCUMENTS % 3, (round * 389) % DOCUMENTS);
        let removed = format!("docs/{}/{:04}.txt", (round * 577) % DOCUMENTS % 3, (round * 577) % DOCUMENTS);
        let added = format!("docs/1/new-{round}.txt");
        let (was_edited, was_removed) = (project.read(&edited), project.read(&removed));
        let before = project.read("out/all.txt");
        project.write(&edited, text((round * 389) % DOCUMENTS, round));
        project.remove(&removed);
        project.write(&added, format!("note {}", round * 2));
        project.build().ends(1);
        let after = project.read("out/all.txt");
        assert_ne!(before, after);
        runs += 1;
        assert_eq!(project.counts("all").len(), runs);

        // There and back without what was kept: the keys are those of before, so nothing runs.
        fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
        project.write(&edited, was_edited);
        project.write(&removed, was_removed);
        project.remove(&added);
        project.build().ends(1);
        assert_eq!(project.read("out/all.txt"), before);
        project.write(&edited, text((round * 389) % DOCUMENTS, round));
        project.remove(&removed);
        project.write(&added, format!("note {}", round * 2));
        project.build().ends(1);
        assert_eq!(project.read("out/all.txt"), after);
        assert_eq!(project.counts("all").len(), runs, "the same members, another key");
    }
    let published = project.read("out/all.txt");
    let published: Vec<&str> = published.lines().collect();
    assert!(published.is_sorted(), "members come in byte order of ids");
    assert!(published.len() > 300 && published.iter().all(|line| line.contains("NOTE")));
}
