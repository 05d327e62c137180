use crate::harness::Project;

fn project() -> Project {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.up]
            each = \"inbox\"
            module = \"up\"
            [target.all]
            all = \"up\"
            shell = 'wc -l < {in} > {out}'
            ",
        )
        .module(
            "up",
            "
            @module
            def up(doc):
                text = doc.text()
                if text.startswith('bad'):
                    raise ValueError('bad')
                if text.startswith('skip'):
                    raise Skip('skipped')
                if text.startswith('['):
                    return [1, 2]
                if text.startswith('plain'):
                    return Result('a, b', meta={'lang': 'de'})
                return Result({'text': text, 'n': len(text), 'share': 0.5, 'state': 'x', 'deep': {'b': [1]}},
                              meta={'lang': 'en', 'deep': {'x': 1}})
            ",
        );
    project.write("inbox/a.txt", "one, \"two\"");
    project.write("inbox/d/b#1.txt", "xyz");
    project.write("inbox/list.txt", "[");
    project.write("inbox/plain.txt", "plain");
    project.write("inbox/skip.txt", "skip");
    drop(project.pipe(&["build"]).ends(0));
    project
}

#[test]
fn the_table_in_every_format() {
    let project = project();
    project.pipe(&["export", "up", "-o", "t/x.jsonl"]).shows(
        "
        status: 0
        --- stderr
        Exported  5 documents to t/x.jsonl, 10 columns
        ",
    );
    assert_eq!(
        project.read("t/x.jsonl"),
        r#"{"id":"inbox/a.txt","meta.deep":{"x":1},"meta.lang":"en","deep":{"b":[1]},"n":10,"share":0.5,"json.state":"x","text":"one, \"two\"","state":"done"}
{"id":"inbox/d/b%231.txt","meta.deep":{"x":1},"meta.lang":"en","deep":{"b":[1]},"n":3,"share":0.5,"json.state":"x","text":"xyz","state":"done"}
{"id":"inbox/list.txt","value":[1,2],"state":"done"}
{"id":"inbox/plain.txt","meta.lang":"de","state":"done"}
{"id":"inbox/skip.txt","state":"skipped"}
"#
    );
    project.pipe(&["export", "up", "-o", "-", "--format", "csv", "--state", "done"]).shows(
        r#"
        status: 0
        --- stdout
        id,meta.deep,meta.lang,deep,n,share,json.state,text,value,state
        inbox/a.txt,"{""x"":1}",en,"{""b"":[1]}",10,0.5,x,"one, ""two""",,done
        inbox/d/b%231.txt,"{""x"":1}",en,"{""b"":[1]}",3,0.5,x,xyz,,done
        inbox/list.txt,,,,,,,,"[1,2]",done
        inbox/plain.txt,,de,,,,,,,done
        "#,
    );
    drop(
        project
            .pipe(&["export", "up", "-o", "x.parquet", "--where", "meta.lang=en"])
            .ends(0)
            .says("2 documents"),
    );
    let bytes = std::fs::read(project.root().join("x.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    project.pipe(&["export", "all", "-o", "x.csv", "--json"]).shows(
        r#"
        status: 0
        --- stdout
        {"v":1,"type":"export","path":"x.csv","format":"csv","documents":1,"columns":2,"without":0,"no_json":0,"damaged":0,"unwritten":0}
        "#,
    );
}

#[test]
fn the_columns_are_those_of_the_frame() {
    let project = project();
    project.write(
        "pandas.py",
        "class DataFrame:\n    def __init__(self, rows, columns): self.rows, self.columns = rows, columns\n",
    );
    project.write(
        "frame.py",
        "
import json, sys
sys.path[:0] = ['.', sys.argv[1]]
from pipelinefile import load
for stream in ['up', 'inbox', 'all']:
    frame = load(stream).frame()
    print(json.dumps(frame.columns))
    for row in frame.rows: print(json.dumps({name: row[name] for name in frame.columns if name in row}))
",
    );
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let mut command = std::process::Command::new("python3");
    command
        .args(["frame.py", package])
        .current_dir(project.root())
        .env("PIPE_BIN", env!("CARGO_BIN_EXE_pipe"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut expected = Vec::new();
    for stream in ["up", "inbox", "all"] {
        let csv = project.pipe(&["export", stream, "-o", "-", "--format", "csv"]).ends(0).stdout;
        let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        expected.push(serde_json::to_value(names).unwrap());
        let lines = project.pipe(&["export", stream, "-o", "-", "--format", "jsonl"]).ends(0).stdout;
        expected.extend(lines.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    let frame = String::from_utf8(output.stdout).unwrap();
    let frame: Vec<serde_json::Value> =
        frame.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(frame, expected);
}

#[test]
fn files_are_named_as_published_ones_and_owned_by_nobody() {
    let project = project();
    drop(
        project
            .pipe(&["export", "up", "-o", "there"])
            .ends(0)
            .says("4 documents to there; 1 without a result"),
    );
    let names = project.names("there");
    assert_eq!(
        names,
        ["inbox/a.txt.json", "inbox/d/b%231.txt.json", "inbox/list.txt.json", "inbox/plain.txt.txt"]
    );
    project.write("there/inbox/plain.txt.txt", "mine");
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    assert_eq!(project.read("there/inbox/plain.txt.txt"), "mine");
    drop(project.pipe(&["export", "up", "-o", "there/"]).ends(0));
    assert_eq!(project.read("there/inbox/plain.txt.txt"), "a, b");
    drop(project.pipe(&["export", "inbox", "-o", "sources/", "--docs", "inbox/a*"]).ends(0));
    assert_eq!(project.names("sources"), ["inbox/a.txt"]);
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let project = project();
    project.write("x.csv", "old");
    for (arguments, status, says) in [
        (&["up", "-o", "x.csv", "--state", "failed"][..], 4, "no document of `up` is like that"),
        (&["nothing", "-o", "x.csv"], 4, "nothing"),
        (&["up", "-o", "x.xlsx"], 2, "says no format"),
        (&["up", "-o", "-"], 2, "needs a format"),
        (&["up", "-o", "-", "--format", "files"], 2, "files cannot go to stdout"),
        (&["up", "-o", ".pipe/x.csv"], 2, "lies in the store"),
        (&["up", "-o", ".pipe/there/"], 2, "lies in the store"),
        (&["up", "-o", "modules", "--format", "csv"], 2, "is a folder"),
        (&["up", "-o", "x.csv", "--format", "files"], 2, "is a file, not a folder"),
        (&["up", "-o", "x.csv/y.csv"], 3, "x.csv"),
    ] {
        drop(project.pipe(&[&["export"], arguments].concat()).ends(status).says(says));
    }
    assert_eq!(project.read("x.csv"), "old");
    let left = std::fs::read_dir(project.root()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".pipe-export")));
}

#[test]
fn a_source_that_is_no_json_has_a_row_without_fields() {
    let project = Project::new()
        .file("Pipelinefile", "[source.in]\npath = \"in\"\n[target.t]\neach = \"in\"\nshell = 'cat {in} > {out}'\next = \"json\"\n")
        .file("in/a.json", "{\"x\": 1}")
        .file("in/b.json", "no");
    drop(project.pipe(&["build"]).ends(0));
    project.pipe(&["export", "t", "-o", "-", "--format", "csv"]).shows(
        "
        status: 0
        --- stdout
        id,x,state
        in/a.json,1,done
        in/b.json,,done
        --- stderr
        warning: in/b.json is no JSON inside: without fields
        ",
    );
}

#[test]
fn an_export_never_goes_over_documents() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [source.rows]
            path = "rows.csv"
            rows = "k"

            [target.t]
            each  = "inbox"
            shell = "echo RESULT > {out}"
            ext   = "txt"
            "#,
        )
        .file("rows.csv", "k\na\n")
        .file("inbox/a", "a")
        .file("inbox/a.txt", "precious");
    drop(project.pipe(&["build"]).ends(0));
    for place in [".", "inbox", "inbox/sub", "inbox/../inbox/new"] {
        drop(
            project
                .pipe(&["export", "t", "-o", place, "--format", "files"])
                .ends(2)
                .says("an export could write over them"),
        );
    }
    for file in ["inbox/t.csv", "rows.csv"] {
        drop(project.pipe(&["export", "t", "-o", file]).ends(2).says("an export could write over them"));
    }
    drop(
        project
            .pipe(&["export", "t", "-o", "Pipelinefile", "--format", "csv"])
            .ends(2)
            .says("is the Pipelinefile"),
    );
    assert_eq!(project.read("inbox/a.txt"), "precious");
    drop(project.pipe(&["export", "t", "-o", "t.csv"]).ends(0));
    drop(project.pipe(&["export", "t", "-o", "copies"]).ends(0));
}

#[test]
fn one_document_that_cannot_be_written_stops_no_other() {
    let project = Project::new().file(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nshell = \"tr a-z A-Z < {in} > {out}\"\n",
    );
    for name in ["a.txt", "b.txt", "c.txt"] {
        project.write(&format!("docs/{name}"), name);
    }
    project.pipe(&["build"]).ends(0);
    project.write("made/docs/b.txt.txt/in-the-way", "");
    let told = project.pipe(&["export", "up", "-o", "made/"]).ends(1);
    told.says("Exported  2 documents to made/").says("warning: docs/b.txt was not written: cannot write");
    assert_eq!(project.read("made/docs/c.txt.txt"), "C.TXT");
    let json = project.pipe(&["export", "up", "-o", "made/", "--json"]).ends(1).stdout;
    assert!(json.contains("\"unwritten\":1"), "{json}");
}

#[test]
fn files_whose_names_are_no_text_are_exported_loaded_and_handed_to_sets() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new().file(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.sizes]\nall = \"docs\"\nmodule = \"sizes\"\n",
    );
    project.write("docs/b.txt", "b");
    project.write(
        "modules/sizes.py",
        "from pipelinefile import module\n@module\ndef sizes(docs):\n    return {doc.id: len(doc.path.read_bytes()) for doc in docs}\n",
    );
    let odd = project.root().join("docs").join(std::ffi::OsStr::from_bytes(b"a\xff.txt"));
    std::fs::write(&odd, vec![b'x'; 300_000]).unwrap();
    project.pipe(&["build"]).ends(0);
    let sizes = "{\"docs/a%FF.txt\":300000,\"docs/b.txt\":1}";
    assert_eq!(project.pipe(&["cat", "sizes"]).ends(0).stdout, sizes);
    project.pipe(&["export", "docs", "-o", "made/"]).ends(0);
    let sizes: Vec<u64> = std::fs::read_dir(project.root().join("made/docs"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), 300_001);
    let cell = "from pipelinefile import load\nprint([len(doc.bytes()) for doc in load('docs')])";
    let said = std::process::Command::new(crate::harness::python())
        .args(["-c", cell])
        .current_dir(project.root())
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python"))
        .env("PIPE_BIN", env!("CARGO_BIN_EXE_pipe"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "[300000, 1]\n", "{said:?}");
}
