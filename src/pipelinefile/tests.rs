//! What a Pipelinefile means once it is read; `tests/pipelinefiles` has the mistakes.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::{Loaded, Mistakes, Override, Severity, Style, discover, inspect, load};
use crate::fs;
use crate::model::pipeline::{Call, Missing, Node, Pipeline, Program, SourceIx, Target, WithFrom};

/// A project with a source and a few modules.
fn project(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["inbox", "modules"] {
        fs::create_dir(&dir.path().join(folder)).unwrap();
    }
    for file in ["modules/words.py", "modules/search.py", "table.csv", "model.bin"] {
        fs::write_scratch(&dir.path().join(file), b"").unwrap();
    }
    fs::write_scratch(&dir.path().join("Pipelinefile"), text.as_bytes()).unwrap();
    dir
}

fn loaded_with(text: &str, overrides: &[&str]) -> Result<Loaded, Mistakes> {
    let dir = project(text);
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::parse(text).unwrap()).collect();
    load(&dir.path().join("Pipelinefile"), &overrides)
}

fn loaded(text: &str) -> Loaded {
    loaded_with(text, &[]).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(Style::Plain)))
}

fn target<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Target {
    pipeline.target(pipeline.find_target(name).unwrap())
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.targets.iter().map(|target| target.name.as_str()).collect()
}

const INBOX: &str = "[source.inbox]\npath = \"inbox\"\n";

#[test]
fn targets_come_after_what_they_need_and_else_in_the_order_of_the_file() {
    let loaded = loaded(&format!(
        "{INBOX}[target.z]\neach = \"c\"\nmodule = \"words\"\n[target.b]\neach = \"inbox\"\nmodule = \"words\"\n\
         with = {{ set = \"d\" }}\n[target.c]\neach = \"inbox\"\nmodule = \"words\"\n\
         [target.d]\nall = \"c\"\nmodule = \"search:index\"\n"
    ));
    assert_eq!(names(&loaded.pipeline), ["c", "z", "d", "b"]);
    let (b, d) = (target(&loaded.pipeline, "b"), loaded.pipeline.find_target("d").unwrap());
    assert_eq!(b.with[0].from, WithFrom::Shared(d));
    assert_eq!(b.streams, [Node::Source(SourceIx(0))]);
    let z = target(&loaded.pipeline, "z");
    assert_eq!(z.streams, [Node::Target(loaded.pipeline.find_target("c").unwrap())]);
}

#[test]
fn a_module_is_a_function_in_a_file_or_what_its_table_says() {
    let loaded = loaded(&format!(
        "{INBOX}[target.a]\neach = \"inbox\"\nmodule = \"words\"\n[target.b]\neach = \"inbox\"\nmodule = \"search:index\"\n\
         [target.c]\neach = \"inbox\"\nmodule = \"ner\"\n[target.d]\neach = \"inbox\"\ncmd = \"wc '-l x' {{in}}\"\n\
         [target.e]\neach = \"inbox\"\nshell = \"wc {{in}} > {{out}}\"\nversion = \"2\"\n\
         [target.f]\neach = \"inbox\"\nmodule = \"words\"\n[module.ner]\ncmd = \"node modules/ner.js\"\n"
    ));
    let program = |name: &str| match target(&loaded.pipeline, name).call {
        Call::Module(ix) => loaded.pipeline.module(ix).clone(),
        Call::Route(_) => unreachable!("no target here has a route"),
    };
    let python =
        |file: &str, function: &str| Program::Python { file: file.into(), function: function.into() };
    assert_eq!(program("a").program, python("modules/words.py", "words"));
    assert_eq!(program("b").program, python("modules/search.py", "index"));
    assert_eq!(program("c").program, Program::Worker(vec!["node".into(), "modules/ner.js".into()]));
    assert_eq!(program("d").program, Program::Filter(vec!["wc".into(), "-l x".into(), "{in}".into()]));
    assert_eq!(program("e").program, Program::Shell("wc {in} > {out}".into()));
    assert_eq!((program("e").name.as_str(), program("e").version.as_deref()), ("e", Some("2")));
    assert_eq!(loaded.pipeline.modules.len(), 5, "one module for both targets that use `words`");
    assert_eq!(loaded.pipeline.targets_of_module("words").len(), 2);
}

#[test]
fn settings_and_params_stand_above_those_of_the_module() {
    let text = format!(
        "{INBOX}[target.a]\neach = \"inbox\"\nmodule = \"search:clean\"\ntimeout = 5\nparams = {{ n = 2, m = 2 }}\n\
         env = {{ B = \"2\" }}\n[target.b]\neach = \"inbox\"\nmodule = \"search:other\"\n\
         [module.search]\ntimeout = \"1m\"\nworkers = 3\nparams = {{ n = 1, l = 1 }}\nenv = {{ A = \"1\", B = \"1\" }}\n\
         [module.\"search:other\"]\nworkers = 7\n"
    );
    let loaded = loaded_with(&text, &["a.m=3", "a.k=[1, \"x\"]"]).unwrap();
    let a = target(&loaded.pipeline, "a");
    assert_eq!((a.settings.timeout.unwrap().as_secs(), a.settings.workers), (5, Some(3)));
    assert_eq!(a.settings.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1", "B=2"]);
    assert_eq!(json!(a.params), json!({ "k": [1, "x"], "l": 1, "m": 3, "n": 2 }));
    let b = target(&loaded.pipeline, "b");
    assert_eq!((b.settings.workers, b.settings.timeout, b.params.len()), (Some(7), None, 0));
}

#[test]
fn side_inputs_are_of_the_kind_that_the_graph_shows() {
    let loaded = loaded(&format!(
        "{INBOX}[source.rows]\npath = \"table.csv\"\n[target.text]\neach = \"inbox\"\nmodule = \"words\"\n\
         [target.page]\neach = \"text\"\nsplit = true\nmodule = \"words\"\n\
         [target.set]\nall = \"text\"\nmodule = \"words\"\n[target.behind]\neach = \"set\"\nmodule = \"words\"\n\
         [target.thread]\ngroup = \"page\"\nby = \"meta.thread\"\nmodule = \"words\"\n\
         [target.last]\neach = \"page\"\nmodule = \"words\"\n[target.last.with]\n\
         parent = \"inbox\"\nset = \"set\"\nbehind = \"behind\"\nfile = \"file:model.bin\"\ngroup = \"thread\"\n\
         row = {{ from = \"rows\", on = [\"id.stem\", \"meta.name\"], missing = \"none\", many = true }}\n"
    ));
    let ix = |name: &str| loaded.pipeline.find_target(name).unwrap();
    let last = target(&loaded.pipeline, "last");
    let of = |name: &str| last.with.iter().find(|with| with.name == name).unwrap();
    assert_eq!(of("parent").from, WithFrom::Document(Node::Source(SourceIx(0))));
    assert_eq!(of("set").from, WithFrom::Shared(ix("set")));
    assert_eq!(of("behind").from, WithFrom::Shared(ix("behind")));
    assert_eq!(of("group").from, WithFrom::Document(Node::Target(ix("thread"))));
    assert!(
        matches!(&of("file").from, WithFrom::File(written, path) if written == "model.bin" && path.is_absolute())
    );
    let row = of("row");
    assert_eq!(
        (&row.from, row.missing, row.many),
        (&WithFrom::Value(Node::Source(SourceIx(1))), Missing::None, true)
    );
    assert_eq!(of("parent").missing, Missing::Fail);
}

#[test]
fn what_a_module_sees_by_default_depends_on_the_verb() {
    let loaded = loaded(&format!(
        "{INBOX}[target.a]\neach = \"inbox\"\nmodule = \"words\"\n[target.b]\nall = \"a\"\nmodule = \"words\"\n\
         [target.c]\neach = \"inbox\"\nmodule = \"words\"\nsees = []\npublish = true\ndefault = false\n"
    ));
    let sees =
        |name: &str| target(&loaded.pipeline, name).sees.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (sees("a"), sees("b"), sees("c")),
        (vec!["ext".into()], vec!["id".into(), "ext".into()], vec![])
    );
    let c = target(&loaded.pipeline, "c");
    assert_eq!(c.publish.as_ref().unwrap().path.to_string(), "out/{target}/{id}.{ext}");
    assert!(!c.default && (c.min_done - 0.95).abs() < 1e-9);
}

#[test]
fn an_override_must_name_a_target() {
    let text = format!(
        "{INBOX}[target.words]\neach = \"inbox\"\nmodule = \"words\"\nwith = {{ m = \"file:model.bin\" }}\n"
    );
    for (given, said) in [
        ("wrds.n=1", "`-D wrds.n=1`: there is no target `wrds`"),
        ("words.m=1", "`m` is a side input of `words`, not a parameter"),
        ("words.a-b=1", "`a-b` is no name for a parameter"),
    ] {
        let mistakes = loaded_with(&text, &[given]).unwrap_err();
        let report = mistakes.render(Style::Plain);
        assert!(report.contains(said), "{report}");
        assert_eq!(mistakes.into_error(Style::Plain).kind.exit_code(), 2);
    }
}

#[test]
fn a_file_that_is_not_there_leaves_a_pipeline_to_look_at() {
    let text = format!("{INBOX}[target.a]\neach = \"inbox\"\nmodule = \"gone\"\n");
    let dir = project(&text);
    let (loaded, mistakes) = inspect(&dir.path().join("Pipelinefile"), &[]);
    assert_eq!(loaded.unwrap().pipeline.targets.len(), 1);
    assert_eq!(mistakes.list[0].severity, Severity::Disk);
    assert!(load(&dir.path().join("Pipelinefile"), &[]).is_err());
}

#[test]
fn later_mistakes_point_into_the_file() {
    let loaded = loaded(&format!(
        "{INBOX}include = [\"**/*.txt\", \"*.pfd\"]\n[target.a]\neach = \"inbox\"\nmodule = \"search:index\"\n\
         params = {{ n = 5 }}\n[target.b]\neach = \"a\"\nmodule = \"words\"\n[module.search]\nworkers = 2\n"
    ));
    let at = |mistake: &super::Mistake| mistake.span.clone().map(|span| loaded.text[span].to_owned());
    assert_eq!(at(&loaded.mistake_at_target("a", "module", "x")).as_deref(), Some("\"search:index\""));
    assert_eq!(at(&loaded.mistake_at_target("a", "params.n", "x")).as_deref(), Some("n"));
    assert_eq!(at(&loaded.mistake_at_target("a", "timeout", "x")).as_deref(), Some("a"));
    assert_eq!(at(&loaded.mistake_at_module("search:index", "workers", "x")).as_deref(), Some("2"));
    assert_eq!(at(&loaded.mistake_at_module("words", "workers", "x")).as_deref(), Some("\"words\""));
    assert_eq!(at(&loaded.mistake_at_source("inbox", "path", "x")).as_deref(), Some("\"inbox\""));
    assert_eq!(at(&loaded.mistake_at_target("nowhere", "module", "x")), None);
    let warning = loaded.glob_warning(SourceIx(0), "*.pfd", Some("a.pdf"));
    let drawn = loaded.render(&[warning], Style::Plain);
    assert!(drawn.contains("warning: source `inbox`: no file matches the glob `*.pfd`"), "{drawn}");
    assert!(drawn.contains("Pipelinefile:3:24") && drawn.contains("there is `a.pdf`"), "{drawn}");
    assert_eq!(loaded.line_of(loaded.pipeline.find_target("a").unwrap()), Some(4));
}

#[test]
fn an_image_is_named_by_its_digest() {
    let digest = "ab".repeat(32);
    let with = |module: &str| {
        format!("{INBOX}[target.a]\neach = \"inbox\"\nmodule = \"scan\"\n[module.scan]\n{module}\n")
    };
    let loaded = loaded(&with(&format!("image = \"lan/scan:3@sha256:{digest}\"\nshell = \"x {{in}}\"")));
    let program = &loaded.pipeline.modules[0].program;
    let container = program.container().unwrap();
    assert_eq!((container.digest(), container.network), (&*format!("sha256:{digest}"), false));
    assert!(program.is_filter() && container.program == Program::Shell("x {in}".into()));
    for (module, told) in [
        ("image = \"scan:3\"", "has no digest: the same name can be another image tomorrow"),
        ("image = \"scan@sha256:00\"", "is no NAME@sha256:… with 64 hexadecimal digits"),
        ("cmd = \"x {in}\"\nnetwork = true", "`network` belongs to a module with `image`"),
        ("image = \"sha256:0\"\nurl = \"http://x/\"", "is run in two ways"),
    ] {
        let drawn = loaded_with(&with(module), &[]).unwrap_err().render(Style::Plain);
        assert!(drawn.contains(told), "{module}: {drawn}");
    }
}

#[test]
fn the_file_is_found_upwards() {
    let dir = project(INBOX);
    let below = dir.path().join("inbox/a/b");
    fs::create_dir(&below).unwrap();
    assert_eq!(discover(&below).unwrap(), dir.path().join("Pipelinefile"));
    assert_eq!(discover(Path::new("/")), None);
}

#[test]
fn files_that_cannot_be_read_are_mistakes_without_a_place() {
    let dir = project("");
    let file = dir.path().join("Pipelinefile");
    let report = |file: &Path| inspect(file, &[]).1.render(Style::Plain);
    assert!(report(&dir.path().join("none")).contains("no such file or directory"));
    fs::write_scratch(&file, b"a = 1\n\xff").unwrap();
    assert!(report(&file).contains("Pipelinefile:2: this is not UTF-8 text"));
    fs::write_scratch(&file, b"\xef\xbb\xbf[source.inbox]\r\npath = \"inbox\"\r\n").unwrap();
    assert_eq!(report(&file), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Lines of the language in any order, with any names: a report or a pipeline, never a panic.
    #[test]
    fn any_file_is_a_pipeline_or_a_report(lines in proptest::collection::vec(0usize..LINES.len(), 0..14), junk in "\\PC{0,6}") {
        let text: String = lines.iter().map(|line| LINES[*line].replace("JUNK", &junk) + "\n").collect();
        let dir = project(&text);
        let (loaded, mistakes) = inspect(&dir.path().join("Pipelinefile"), &[]);
        prop_assert!(loaded.is_some() || !mistakes.is_empty());
        prop_assert_eq!(mistakes.is_empty(), mistakes.render(Style::Colour).is_empty());
    }
}

const LINES: [&str; 30] = [
    "[source.inbox]",
    "path = \"inbox\"",
    "[target.a]",
    "[target.b]",
    "[target.c]",
    "[target.\"JUNK\"]",
    "each = \"inbox\"",
    "each = [\"a\", \"b\"]",
    "each = \"JUNK\"",
    "all = \"a\"",
    "all = \"c\"",
    "group = \"b\"",
    "by = \"parent\"",
    "by = \"target:a\"",
    "module = \"words\"",
    "module = \"JUNK\"",
    "shell = \"{in} JUNK {out}\"",
    "cmd = '''{JUNK}'''",
    "split = true",
    "with = { x = \"a\", y = \"file:JUNK\" }",
    "with = { z = { from = \"b\", on = \"JUNK\", missing = \"none\" } }",
    "where = { meta.JUNK = \"JUNK\", id = \"!JUNK\" }",
    "publish = \"out/{JUNK}\"",
    "publish = true",
    "route = [{ where = { ext = \"JUNK\" }, do = \"skip\" }, { module = \"words\" }]",
    "params = { JUNK = 1 }",
    "timeout = \"JUNK\"",
    "[module.words]",
    "env = { \"JUNK\" = \"JUNK\" }",
    "JUNK",
];
