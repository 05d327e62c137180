use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::document::DocNumber;
use crate::model::pipeline::SourcePath;
use crate::scan::{GivenRequest, Kind, Known, Scan, scan_given};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        crate::fs::write_scratch(&self.0.path().join(name), text.as_bytes()).unwrap();
    }

    fn rows(&self, names: &[&str], column: &str) -> Rows {
        let path = |name: &&str| SourcePath { written: (*name).to_owned(), path: self.0.path().join(name) };
        let source = Source {
            name: "rows".into(),
            paths: names.iter().map(path).collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            rows: Some(column.into()),
            project: None,
        };
        Rows::of(&source, &|path| Some(path.file_name().unwrap().to_str().unwrap().to_owned())).unwrap()
    }
}

fn text(rows: &Rows, rel: &str) -> String {
    match rows.read(rel).unwrap() {
        Given::Document(row) => {
            let GivenBody::Bytes(bytes) = row.body else { panic!("a row is held") };
            String::from_utf8(bytes.to_vec()).unwrap()
        }
        Given::Broken { problem, .. } => problem,
        other => format!("{other:?}"),
    }
}

/// What a scan says, against documents with these stamps; then what is there now.
fn compare(rows: &Rows, known: &BTreeMap<String, Stamp>) -> (Vec<String>, BTreeMap<String, Stamp>) {
    let scan = scan(rows, known, None);
    let found = scan.found.iter().map(|found| {
        let word = match found.kind {
            Kind::New => "new",
            Kind::Changed(_) => "changed",
            Kind::Untrusted(_) => "look",
            Kind::Gone(_) => "gone",
        };
        format!("{word} {}", found.rel())
    });
    let found = found.collect();
    let index = rows.index().unwrap();
    let now = (0..index.slots.len()).map(|at| (index.name(at).to_owned(), index.slots[at].stamp)).collect();
    (found, now)
}

fn scan(rows: &Rows, known: &BTreeMap<String, Stamp>, state: Option<Digest>) -> Scan {
    let before = state.map(|state| Kept { state, note: String::new() });
    let visit_known = |visit: &mut dyn FnMut(&str, Known)| {
        for (rel, stamp) in known {
            let (dir, name) = rel.rsplit_once('/').unwrap_or(("", rel));
            let known = Known {
                name: name.into(),
                stamp: *stamp,
                number: DocNumber(0),
                trusted: true,
                extra: 0,
                tag: 0,
            };
            visit(dir, known);
        }
        Ok(())
    };
    let request =
        GivenRequest { source: "rows", giver: rows, known: &visit_known, before, is_current: &|_| true };
    scan_given(&request).unwrap()
}

#[test]
fn an_edited_row_is_one_change_wherever_it_stands() {
    let folder = Folder::new();
    folder.write("a.csv", "id,v\nb,1\na/x,2\nc,3\n");
    let rows = folder.rows(&["a.csv"], "id");
    let (found, known) = compare(&rows, &BTreeMap::new());
    assert_eq!(found, ["new a/x", "new b", "new c"]);
    folder.write("a.csv", "id,v\nnew,0\na/x,2\nb,9\n");
    let (found, known) = compare(&rows, &known);
    assert_eq!(found, ["changed b", "gone c", "new new"]);
    assert_eq!(text(&rows, "b"), r#"{"id":"b","v":"9"}"#);
    // Other columns in another order are the same rows.
    folder.write("a.csv", "v,id\n9,b\n2,a/x\n0,new\n");
    assert_eq!(compare(&rows, &known).0, [""; 0]);
}

#[test]
fn files_that_are_as_they_were_are_not_read() {
    let folder = Folder::new();
    folder.write("a.csv", "id\na\n");
    let rows = folder.rows(&["a.csv"], "id");
    let (_, known) = compare(&rows, &BTreeMap::new());
    let before = rows.files_stamp();
    let found = scan(&rows, &known, before);
    assert_eq!((found.counts.current, rows.index.lock().unwrap().is_none()), (1, true));
    // What is wrong with the file is not seen then, so that is no way to see it either.
    folder.write("a.csv", "other\na\n");
    assert!(rows.files_stamp() != before);
    assert!(rows.check().is_err());
}

#[test]
fn several_files_lead_their_rows() {
    let folder = Folder::new();
    folder.write("a.csv", "id\nx\n");
    folder.write("b.tsv", "id\nx\nx\n");
    let rows = folder.rows(&["a.csv", "b.tsv"], "id");
    assert_eq!(compare(&rows, &BTreeMap::new()).0, ["new a.csv/x", "new b.tsv/x"]);
    assert_eq!(text(&rows, "a.csv/x"), r#"{"id":"x"}"#);
    assert_eq!(text(&rows, "b.tsv/x"), "the same `id` in line 2 of b.tsv and line 3 of b.tsv");
    let rows = folder.rows(&["a.csv", "c.csv"], "id");
    assert_eq!(scan(&rows, &BTreeMap::new(), None).missing, ["c.csv"]);
}

#[test]
fn what_is_broken_is_a_document_too() {
    let folder = Folder::new();
    folder.write("a.csv", &format!("id,v\na,1\na,2\na,3\n,4\nb,5,6\n{},7\n", "x".repeat(2000)));
    let rows = folder.rows(&["a.csv"], "id");
    let (found, known) = compare(&rows, &BTreeMap::new());
    assert_eq!(found, ["new %line-5", "new %line-7", "new a", "new b"]);
    assert_eq!(text(&rows, "a"), "the same `id` in line 2 and line 3 and line 4");
    assert_eq!(text(&rows, "b"), "line 6: 3 fields where the first line has 2");
    assert_eq!(text(&rows, "%line-5"), "line 5: `id` is empty");
    assert_eq!(text(&rows, "%line-7"), "line 7: `id` is longer than 1,024 bytes");
    assert_eq!(text(&rows, "c"), "Absent");
    folder.write("a.csv", "id,v\na,1\nb,5\n");
    assert_eq!(compare(&rows, &known).0, ["gone %line-5", "gone %line-7", "changed a", "changed b"]);
}

#[test]
fn names_are_paths_without_empty_parts() {
    let names = ["a/b", "a//b", "/a", "a/", "//", "../x", "a/./b", "a#1", "50%", "%2F", "a\nb"];
    let escaped = names.map(row_name);
    assert_eq!(escaped[0], "a/b");
    assert_eq!(escaped[1], "a%2F%2Fb");
    assert_eq!(escaped[5], "%2E%2E/x");
    assert_eq!(escaped[7], "a%231");
}

proptest! {
    #[test]
    fn different_values_have_different_names(a in "[a/.%#]{0,6}", b in "[a/.%#]{0,6}") {
        prop_assert_eq!(row_name(&a) == row_name(&b), a == b);
        for part in row_name(&a).split('/').filter(|_| !a.is_empty()) {
            prop_assert!(!part.is_empty() && part != "." && part != "..", "{}", row_name(&a));
        }
    }

    #[test]
    fn differences_are_those_of_the_rows(old in rows_of_a_file(), new in rows_of_a_file()) {
        let folder = Folder::new();
        let write = |of: &BTreeMap<String, u8>| {
            let lines: Vec<String> = of.iter().rev().map(|(id, value)| format!("{id},{value}\n")).collect();
            folder.write("a.csv", &format!("id,v\n{}", lines.concat()));
        };
        write(&old);
        let rows = folder.rows(&["a.csv"], "id");
        let (_, known) = compare(&rows, &BTreeMap::new());
        write(&new);
        let (found, _) = compare(&rows, &known);
        let mut expected: Vec<(String, String)> = Vec::new();
        for id in old.keys().chain(new.keys()) {
            let word = match (old.get(id), new.get(id)) {
                (None, _) => "new",
                (_, None) => "gone",
                (old, new) if old != new => "changed",
                _ => continue,
            };
            expected.push((row_name(id), format!("{word} {}", row_name(id))));
        }
        expected.sort();
        expected.dedup();
        let expected: Vec<String> = expected.into_iter().map(|(_, line)| line).collect();
        prop_assert_eq!(found, expected);
    }
}

fn rows_of_a_file() -> impl Strategy<Value = BTreeMap<String, u8>> {
    proptest::collection::btree_map("[ab/.-]{1,4}", 0u8..3, 0..12)
}
