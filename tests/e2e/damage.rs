//! Bytes that changed in the store behind our back: the next build heals it, and nothing wrong is ever served.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::harness::Project;

const DOCUMENTS: usize = 24;

/// Small results and results that are blobs, a set, one behind the set.
fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.clean]
            each = "docs"
            module = "clean"
            publish = true
            [target.count]
            each = "clean"
            module = "count"
            publish = true
            [target.sum]
            all = "count"
            module = "sums"
            publish = "out/sum.txt"
            [target.share]
            each = "count"
            module = "share"
            with = { sum = "sum" }
            publish = true
            "#,
        )
        .counted(
            "clean",
            "
            @module
            def clean(doc):
                ran('clean', doc.text())
                return doc.text().upper() * (30_000 if doc.text().startswith('big') else 1)
            ",
        )
        .counted(
            "count",
            "
            @module
            def count(doc):
                ran('count', doc.text()[:40])
                return doc.text().split()[0] + ' ' + str(len(doc.bytes()))
            ",
        )
        .counted(
            "sums",
            "
            @module
            def sums(docs):
                ran('sum')
                return str(sum(int(doc.text().split()[1]) for doc in docs))
            ",
        )
        .counted(
            "share",
            "
            @module
            def share(doc, *, sum: Doc):
                ran('share', doc.text())
                return doc.text() + ' of ' + sum.text()
            ",
        );
    for n in 0..DOCUMENTS {
        let kind = if n % 8 == 0 { "big" } else { "small" };
        project.write(&format!("docs/d{n:02}.txt"), format!("{kind}{n:02} text\n"));
    }
    project
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit.max(1) as u64) as usize
    }
}

/// Files of the store below a folder, in order of names.
fn store_files(project: &Project, folder: &str) -> Vec<PathBuf> {
    let folder = format!(".pipe/{folder}");
    project.names(&folder).iter().map(|name| project.root().join(&folder).join(name)).collect()
}

fn damage(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Everything that was made is used once more, so that whatever is damaged must be met: outputs go, and every module but
/// the first is another.
fn use_everything(project: &Project, n: usize) {
    project.clear("out");
    let text = project.read("modules/share.py");
    project.write("modules/share.py", format!("{text}\n'{n}'\n"));
    let text = project.read("modules/count.py");
    project.write("modules/count.py", format!("{text}\n'{n}'\n"));
}

/// Builds until nothing is left to do; then it must be as if nothing had happened.
#[track_caller]
fn heals(project: &Project, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    let first = project.build();
    assert!([0, 1, 3].contains(&first.status), "{what}: {}", first.text());
    for (name, bytes) in project.files("out") {
        assert!(expected.get(&name) == Some(&bytes), "{what}: `{name}` is wrong\n{}", first.text());
    }
    let mut builds = 0;
    loop {
        let next = project.build();
        builds += 1;
        if next.status == 0 && next.all("plan").is_empty() {
            break;
        }
        assert!(builds < 4, "{what}: does not come to an end\n{}\n{}", first.text(), next.text());
    }
    assert!(project.files("out") == *expected, "{what}: not as before\n{}", first.text());
}

#[test]
fn damaged_segments_heal() {
    let project = project();
    drop(project.build().ends(0));
    let expected = project.files("out");
    let mut random = Random(1);
    for round in 0..6 {
        let segments = store_files(&project, "segments");
        let path = &segments[random.below(segments.len())];
        damage(path, |bytes| {
            if bytes.is_empty() {
                return;
            }
            let at = random.below(bytes.len());
            match round % 3 {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => {
                    let end = (at + 700).min(bytes.len());
                    bytes[at..end].fill(0);
                }
                _ => bytes.truncate(at),
            }
        });
        if round % 2 == 0 {
            project.clear(".pipe/index");
        }
        use_everything(&project, round);
        heals(&project, &expected, &format!("round {round}, {}", path.display()));
    }
}

#[test]
fn a_damaged_blob_is_made_again_and_never_served() {
    for (n, change) in [
        (|bytes: &mut Vec<u8>| bytes[1000] ^= 1) as fn(&mut Vec<u8>),
        |bytes| bytes.truncate(1000),
        Vec::clear,
        |bytes| bytes.push(b'x'),
    ]
    .into_iter()
    .enumerate()
    {
        let project = project();
        drop(project.build().ends(0));
        let expected = project.files("out");
        let blobs = store_files(&project, "blobs");
        assert_eq!(blobs.len(), DOCUMENTS / 8);
        damage(&blobs[1], change);
        std::fs::remove_file(&blobs[2]).unwrap();
        use_everything(&project, n);
        project.take_counts("clean");
        heals(&project, &expected, &format!("change {n}"));
        let again = project.counts("clean");
        assert_eq!(again.len(), 2, "exactly what was lost is made again: {again:?}");
        assert_eq!(store_files(&project, "blobs").len(), DOCUMENTS / 8);
    }
}

#[test]
fn a_damaged_index_costs_no_run() {
    let project = project();
    drop(project.build().ends(0));
    let expected = project.files("out");
    let before = project.counts("clean").len();
    let mut random = Random(7);
    for round in 0..10 {
        let mut files = store_files(&project, "index");
        files.extend(store_files(&project, "tables"));
        let path = files[random.below(files.len())].clone();
        damage(&path, |bytes| match round % 5 {
            0 => bytes.clear(),
            1 => bytes.fill(0xff),
            _ if bytes.is_empty() => {}
            2 => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            3 => {
                let at = random.below(bytes.len());
                bytes.truncate(at);
            }
            _ => {
                for _ in 0..200 {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
            }
        });
        let ended = project.build();
        assert_eq!(ended.status, 0, "round {round}, {}: {}", path.display(), ended.text());
        assert_eq!(project.counts("clean").len(), before, "round {round}, {}", path.display());
        assert!(project.files("out") == expected, "round {round}, {}", path.display());
    }
}

#[test]
fn the_index_and_the_tables_may_go_at_any_time() {
    let project = project();
    drop(project.build().ends(0));
    let expected = project.files("out");
    for folder in ["index", "tables", "logs", "tmp", "quarantine", "python"] {
        std::fs::remove_dir_all(project.root().join(".pipe").join(folder)).unwrap();
        drop(project.build().ends(0));
        assert!(project.files("out") == expected, "{folder}");
    }
    assert_eq!(project.counts("clean").len(), DOCUMENTS);
    assert_eq!(project.counts("share").len(), DOCUMENTS);
    assert_eq!(project.counts("sum").len(), 1);
}

#[test]
fn an_index_from_before_costs_no_run_and_shows_nothing_old() {
    let project = project();
    drop(project.build().ends(0));
    let copy = project.root().join("kept-index");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(project.root().join(".pipe/index"))
        .arg(&copy)
        .status();
    assert!(status.unwrap().success());
    project.write("docs/d01.txt", "small01 edited text\n");
    project.clear("docs/d02.txt");
    drop(project.build().ends(0));
    let expected = project.files("out");
    let before = (project.counts("clean").len(), project.counts("share").len());
    project.clear(".pipe/index");
    std::fs::rename(&copy, project.root().join(".pipe/index")).unwrap();
    drop(project.build().ends(0));
    assert!(project.files("out") == expected);
    assert_eq!((project.counts("clean").len(), project.counts("share").len()), before);
}

#[test]
fn a_store_of_a_later_version_is_refused() {
    let project = project();
    drop(project.build().ends(0));
    let text = project.read(".pipe/FORMAT").replace("\"pipe_store\":1", "\"pipe_store\":99");
    project.write(".pipe/FORMAT", text);
    let told = project.pipe(&["build"]);
    assert!([2, 3].contains(&told.status) && told.stderr.contains("99"), "{}", told.text());
    project.write(".pipe/FORMAT", "nonsense");
    let told = project.pipe(&["build"]);
    assert!([2, 3].contains(&told.status) && told.stderr.contains("FORMAT"), "{}", told.text());
    project.clear(".pipe/FORMAT");
    let told = project.pipe(&["build"]);
    assert!([2, 3].contains(&told.status) && told.stderr.contains("FORMAT"), "{}", told.text());
}

/// Stale pages, exchanged blocks and flipped bits, in any file of the store; `pipe doctor` before every other build.
#[test]
fn whatever_changes_in_the_store_what_is_published_is_that_of_a_clean_build() {
    let project = project();
    drop(project.build().ends(0));
    let expected = project.files("out");
    let mut random = Random(11);
    for round in 0..8 {
        let files: Vec<PathBuf> = ["segments", "blobs", "tables", "index"]
            .iter()
            .flat_map(|folder| store_files(&project, folder))
            .collect();
        let other = std::fs::read(&files[random.below(files.len())]).unwrap();
        let path = files[random.below(files.len())].clone();
        damage(&path, |bytes| {
            let pages = bytes.len().div_ceil(4096);
            let (a, b) = (random.below(pages) * 4096, random.below(pages) * 4096);
            match round % 4 {
                // A page as it was elsewhere.
                0 => {
                    let end = (a + 4096).min(bytes.len()).min(other.len()).max(a);
                    if end > a {
                        bytes[a..end].copy_from_slice(&other[a..end]);
                    }
                }
                // Two pages exchanged.
                1 => {
                    let size = 4096.min(bytes.len() - a.max(b));
                    let (first, second) = (bytes[a..a + size].to_vec(), bytes[b..b + size].to_vec());
                    bytes[b..b + size].copy_from_slice(&first);
                    bytes[a..a + size].copy_from_slice(&second);
                }
                _ if bytes.is_empty() => {}
                _ => {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        });
        let what = format!("round {round}, {}", path.display());
        if round % 2 == 1 {
            let told = project.pipe(&["doctor"]);
            assert!([0, 3].contains(&told.status), "{what}: {}", told.text());
        }
        use_everything(&project, round);
        heals(&project, &expected, &what);
    }
}
