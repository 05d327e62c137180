//! `docs/design/faults.md` names every case of the catalogue, and every test that it names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The cases of each group.
const GROUPS: [(char, std::ops::RangeInclusive<usize>); 6] =
    [('A', 1..=18), ('B', 1..=21), ('C', 1..=26), ('E', 1..=27), ('G', 1..=13), ('H', 16..=17)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of tests in all Rust files below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            // Attributes may stand between; the macro of property tests indents both.
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line == "#[test]" {
                    is_test = true;
                } else if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
                    names.insert(name.split('(').next().unwrap().to_owned());
                    is_test = false;
                }
            }
        }
    }
}

/// The rows of the table: case, and what stands in its last column.
fn rows() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("docs/design/faults.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some((group, number)) = cells[0].split_at_checked(1) else { continue };
        if GROUPS.iter().any(|(name, _)| group.starts_with(*name)) && number.parse::<usize>().is_ok() {
            assert!(cells.len() == 4, "{line}");
            assert!(
                cells[1].len() > 4 && cells[2].len() > 10,
                "a row says what happens and what follows: {line}"
            );
            assert!(rows.insert(cells[0].to_owned(), cells[3].to_owned()).is_none(), "twice: {line}");
        }
    }
    rows
}

#[test]
fn every_case_has_a_row_and_every_row_a_test_that_is_there() {
    let rows = rows();
    let mut tests = BTreeSet::new();
    tests_below(&root().join("tests"), &mut tests);
    tests_below(&root().join("src"), &mut tests);
    let mut named = BTreeSet::new();
    for (group, numbers) in GROUPS {
        for number in numbers {
            let case = format!("{group}{number}");
            let Some(cell) = rows.get(&case) else { panic!("{case} has no row in docs/design/faults.md") };
            if cell.starts_with("later: ") {
                assert!(
                    cell.len() > 30,
                    "{case} says with what it comes and why no test can be there yet: {cell}"
                );
                continue;
            }
            let own = format!("fault_{}{number:02}_", group.to_ascii_lowercase());
            let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert!(names.iter().any(|name| name.starts_with(&own)), "{case} has no test of its own: {cell}");
            for name in names {
                assert!(tests.contains(name), "{case}: there is no test `{name}`");
                named.insert(name.to_owned());
            }
        }
    }
    let cases: usize = GROUPS.iter().map(|(_, numbers)| numbers.clone().count()).sum();
    assert_eq!(rows.len(), cases, "a row for no case: {:?}", rows.keys());
    let unnamed: Vec<&String> =
        tests.iter().filter(|name| name.starts_with("fault_") && !named.contains(*name)).collect();
    assert_eq!(unnamed, Vec::<&String>::new(), "tests that the table does not name");
}
