//! Modules on servers: `pipe serve`, `url`, `--proxy`, `pipe modules --from`; servers that go, change, lie.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::Project;

/// A `pipe serve`; ended with the test.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
}

impl Served {
    fn start(project: &Project, arguments: &[&str]) -> Served {
        let mut all = vec!["serve", "--json"];
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(arguments);
        Served::of(project.command(&all))
    }

    /// A `pipe serve --json` that is ready to be started.
    pub(crate) fn of(mut command: Command) -> Served {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Served { child, url: said["url"].as_str().unwrap().to_owned() }
    }

    fn address(&self) -> &str {
        self.url.split_once("//").unwrap().1
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server's project: `up` is a shell command that notes its runs, `read` a Python function that holds for the document `hold`.
pub(crate) fn server() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            "
            [source.none]
            path = \"none\"
            [target.up]
            each = \"none\"
            shell = \"sh up.sh {in}\"
            [target.read]
            each = \"none\"
            module = \"read\"
            ",
        )
        .file("up.sh", "echo up >> runs-up; cat $1 >&2; tr a-z A-Z < $1\n")
        .file("none/a.txt", "a")
        .counted("read", READ)
}

pub(crate) const READ: &str = "
@module
def read(doc, *, mark: str = '!'):
    word = ran('read', doc.text())
    if word == 'hold':
        hold('it')
    if word == 'bad':
        raise ValueError('this is bad')
    if word == 'die':
        os.kill(os.getpid(), 9)
    return word + ' old' + mark
";

/// A project that has nothing but documents and addresses.
pub(crate) fn laptop(url: &str, module: &str, documents: &[&str]) -> Project {
    let project = Project::new().file(
        "Pipelinefile",
        &format!(
            "[source.docs]\npath = \"docs\"\n[target.made]\neach = \"docs\"\nmodule = \"{module}\"\npublish = true\n\
             [module.{module}]\nurl = \"{url}\"\n"
        ),
    );
    for (n, text) in documents.iter().enumerate() {
        project.write(&format!("docs/d{n}.txt"), text);
    }
    project
}

pub(crate) fn published(project: &Project) -> Vec<String> {
    let texts = project.files("out").into_values();
    texts.map(|text| String::from_utf8(text).unwrap().trim().to_owned()).collect()
}

#[test]
fn what_a_server_makes_is_what_is_made_at_home_and_answers_for_it() {
    let server = server();
    let served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/up", served.url), "up", &["one", "two"]);
    laptop.build().ends(0);
    assert_eq!(published(&laptop), ["ONE", "TWO"]);
    laptop.pipe(&["log", "docs/d0.txt"]).ends(0).says(" one\n");
    assert_eq!(server.read("runs-up"), "up\nup\n");
    // With nothing to do, the server is only asked what code it has.
    laptop.build().ends(0);
    assert_eq!(server.read("runs-up"), "up\nup\n");
    // The same code at home has the same keys: nothing runs.
    laptop.write("up.sh", server.read("up.sh"));
    laptop.write(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.made]\neach = \"docs\"\nshell = \"sh up.sh {in}\"\npublish = true\n",
    );
    laptop.build().ends(0);
    assert!(!laptop.root().join("runs-up").exists());
}

#[test]
fn params_errors_skips_and_children_go_there_and_back() {
    let server = server().counted(
        "parts",
        "
        from pipelinefile import Child
        @module
        def parts(doc, *, table: Doc):
            if not doc.text().strip():
                raise Skip('nothing in it')
            doc.warn('look', n=1)
            for word in doc.text().split():
                yield Child(word, word.encode() + b'\\xff' + table.text().encode(), meta={'n': len(word)})
        ",
    );
    server.edit_module(
        "joined",
        "@module\ndef joined(docs):\n    return ' '.join(f'{d.id}={d.bytes()!r}' for d in docs)\n",
    );
    let served = Served::start(&server, &[]);
    let url = &served.url;
    let laptop = Project::new().file(
        "Pipelinefile",
        &format!(
            "
            [source.docs]
            path = \"docs\"
            [target.read]
            each = \"docs\"
            module = \"read\"
            params = {{ mark = \"?\" }}
            [target.parts]
            each = \"docs\"
            split = true
            module = \"parts\"
            with = {{ table = \"file:table.csv\" }}
            [target.back]
            all = \"parts\"
            module = \"joined\"
            [module.read]
            url = \"{url}/modules/read\"
            [module.parts]
            url = \"{url}/modules/parts\"
            [module.joined]
            url = \"{url}/modules/joined\"
            "
        ),
    );
    laptop.write("table.csv", "T");
    laptop.write("docs/a.txt", "one two");
    laptop.write("docs/b.txt", "bad");
    laptop.write("docs/c.txt", "");
    let ended = laptop.build().ends(1);
    assert_eq!(ended.failures(), ["read docs/b.txt: module-error ValueError"], "{}", ended.text());
    assert_eq!(ended.all("warned").len(), 2, "{}", ended.text());
    laptop.pipe(&["cat", "read", "docs/a.txt"]).ends(0).says("one old?");
    let joined = "docs/a.txt#one=b'one\\xffT' docs/a.txt#two=b'two\\xffT' docs/b.txt#bad=b'bad\\xffT'";
    laptop.pipe(&["cat", "back"]).ends(0).says(joined);
    laptop.pipe(&["log", "docs/b.txt"]).ends(0).says("modules/read.py:");
    laptop.no_process_is_left();
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_nothing() {
    let server = server();
    let served = Served::start(&server, &[]);
    let address = served.address().to_owned();
    let laptop = laptop(&format!("{}/modules/read", served.url), "read", &["a", "hold", "b"]);
    let running = laptop.start(&["build"]);
    server.wait_for_file("here-it");
    served.kill();
    server.write("go-it", "");
    let _again = Served::start(&server, &["--listen", &address]);
    let ended = running.end().ends(0);
    assert_eq!(published(&laptop), ["a old!", "hold old!", "b old!"], "{}", ended.text());
    assert!(!ended.all("retrying").is_empty());
    assert_eq!(server.counts("read").iter().filter(|word| *word == "hold").count(), 2);
    laptop.no_process_is_left();
}

#[test]
fn a_server_that_ends_finishes_what_it_has_in_hand() {
    let server = server();
    let mut served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/read", served.url), "read", &["hold"]);
    let running = laptop.start(&["build"]);
    server.wait_for_file("here-it");
    served.signal(Signal::TERM);
    // Nothing new comes in any more.
    while std::net::TcpStream::connect(served.address()).is_ok() {
        std::thread::yield_now();
    }
    server.write("go-it", "");
    running.end().ends(0);
    assert_eq!(published(&laptop), ["hold old!"]);
    assert!(served.child.wait().unwrap().success());
    server.no_process_is_left();
}

#[test]
fn fault_h17_a_module_that_changes_on_its_server_during_the_build() {
    let server = server();
    let served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/read", served.url), "read", &["a", "hold", "b"]);
    let running = laptop.start(&["build"]);
    server.wait_for_file("here-it");
    server.edit_module("read", &READ.replace(" old", " new"));
    server.write("go-it", "");
    let ended = running.end().ends(0);
    let notices = ended.all("notice");
    let changed = notices
        .iter()
        .any(|notice| notice["message"].as_str().unwrap().contains("has changed on its server"));
    assert!(changed, "{}", ended.text());
    assert_eq!(published(&laptop), ["a new!", "hold new!", "b new!"]);
    // Under the old code there is nothing that the new code made.
    server.edit_module("read", READ);
    laptop.build().ends(0);
    assert_eq!(published(&laptop), ["a old!", "hold old!", "b old!"]);
    laptop.pipe(&["why", "docs/d0.txt"]).ends(0);
}

#[test]
fn a_document_that_ends_its_worker_fails_alone() {
    let server = server();
    let served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/read", served.url), "read", &["a", "die", "b", "c"]);
    let ended = laptop.build().ends(1);
    assert_eq!(ended.failures(), ["made docs/d1.txt: crash SIGKILL"], "{}", ended.text());
    assert_eq!(published(&laptop), ["a old!", "b old!", "c old!"]);
}

#[test]
fn a_proxy_runs_a_module_elsewhere_for_once() {
    let server = server();
    let served = Served::start(&server, &[]);
    let laptop = Project::new().file(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.made]\neach = \"docs\"\nmodule = \"read\"\npublish = true\n",
    );
    laptop.write("docs/a.txt", "a");
    let proxy = format!("read={}", served.url);
    laptop.pipe(&["build", "--proxy", &proxy]).ends(0);
    assert_eq!(published(&laptop), ["a old!"]);
    laptop
        .pipe(&["build", "--proxy", "raed=http://127.0.0.1:1"])
        .ends(2)
        .says("no target calls a module `raed`");
    // All that it offers; one that is named itself goes before.
    laptop.pipe(&["build", "--proxy", &served.url]).ends(0).says("Up to date");
    laptop.write("docs/b.txt", "b");
    laptop.pipe(&["build", "--proxy", &served.url]).ends(0);
    assert_eq!(published(&laptop), ["a old!", "b old!"]);
    laptop
        .pipe(&["build", "--proxy", &served.url, "--proxy", "read=http://127.0.0.1:1"])
        .ends(3)
        .says("http://127.0.0.1:1/modules/read: nobody answers there");
    laptop.replace("Pipelinefile", "module = \"read\"", "shell = \"cat {in}\"");
    laptop
        .pipe(&["check", "--proxy", &served.url])
        .ends(2)
        .says("`--proxy`: no target calls a module that the server offers")
        .says("help: it offers read, up");
    laptop.replace("Pipelinefile", "shell = \"cat {in}\"", "module = \"read\"");
    laptop
        .pipe(&["build", "--proxy", "http://127.0.0.1:1"])
        .ends(3)
        .says("pipe modules --from http://127.0.0.1:1");
    laptop.pipe(&["build", "--proxy", "read"]).ends(2).says("names no module");
    laptop.replace("Pipelinefile", "each = \"docs\"", "all = \"docs\"\ninputs = \"files\"");
    laptop.pipe(&["build", "--proxy", &proxy]).ends(2).says("which gets no files");
}

#[test]
fn a_server_lists_its_modules_to_who_has_the_token() {
    let server = server().file("tokens", "0123456789abcdef\n");
    let served = Served::start(&server, &["--token-file", "tokens"]);
    let empty = Project::new();
    empty.pipe(&["modules", "--from", &served.url]).ends(3).says("it wants another token");
    let knows = Project::new().env("PIPE_TOKEN", "0123456789abcdef");
    let shown = knows.pipe(&["modules", "--from", &served.url]).text();
    let expected = format!(
        "status: 0\n--- stdout\nOffered by {}\n  read  takes doc, mark = \"!\"\n  up    shell\n",
        served.url
    );
    assert_eq!(shown.trim(), expected.trim());
    // A token is not sent where others can read it.
    knows.pipe(&["modules", "--from", "http://192.0.2.1:7070"]).ends(3).says("a token is sent only by https");
}

#[test]
fn who_can_be_reached_from_outside_must_have_token_and_tls() {
    let server = server().file("tokens", "0123456789abcdef\n");
    for arguments in [
        &["serve", "--listen", "0.0.0.0:0"][..],
        &["serve", "--listen", "0.0.0.0:0", "--token-file", "tokens"],
    ] {
        server.pipe(arguments).ends(2).says("takes a token and TLS");
    }
    server.pipe(&["serve", "--token-file", "up.sh"]).ends(2).says("is too short");
}

#[test]
fn by_tls_a_server_is_used_if_its_certificate_is_trusted() {
    let server = server();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    server.write("cert.pem", pair.cert.pem());
    server.write("key.pem", pair.signing_key.serialize_pem());
    server.write("tokens", "0123456789abcdef\n");
    let served =
        Served::start(&server, &["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--token-file", "tokens"]);
    let url = format!("{}/modules/up", served.url.replace("127.0.0.1", "localhost"));
    let strange = laptop(&url, "up", &["a"]).env("PIPE_TOKEN", "0123456789abcdef");
    strange.pipe(&["build"]).ends(3).says("certificate");
    let trusted = strange.env("SSL_CERT_FILE", server.root().join("cert.pem").to_str().unwrap());
    trusted.pipe(&["build"]).ends(0);
    assert_eq!(published(&trusted), ["A"]);
}

#[test]
fn a_document_that_is_too_large_fails_and_says_so() {
    let server = server();
    let served = Served::start(&server, &["--max-size", "64KiB"]);
    let laptop = laptop(&format!("{}/modules/up", served.url), "up", &["a", &"x".repeat(100_000), "b"]);
    let ended = laptop.build().ends(1);
    assert_eq!(ended.failures(), ["made docs/d1.txt: lost too large"], "{}", ended.text());
    assert_eq!(published(&laptop), ["A", "B"]);
}

#[test]
fn more_than_the_server_takes_waits_its_turn() {
    let server = server();
    let served = Served::start(&server, &["--max-documents", "1"]);
    let laptop = laptop(&format!("{}/modules/up", served.url), "up", &["a", "b", "c", "d"]);
    laptop.pipe(&["build", "-j", "2"]).ends(0);
    assert_eq!(published(&laptop), ["A", "B", "C", "D"]);
}

/// Answers every request with what the function makes of its first line and its body: whole replies, written as they are.
fn fake(answer: impl Fn(&str, &str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            drop(reader.read_line(&mut first));
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            drop(reader.read_exact(&mut body));
            drop(stream.write_all(answer(&first, &String::from_utf8_lossy(&body)).as_bytes()));
        }
    });
    url
}

fn http(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Describes a module with the fingerprint `f`, and answers runs with these lines.
fn lying(lines: impl Fn(u64) -> String + Send + 'static) -> String {
    fake(move |first, body| {
        if first.starts_with("GET") {
            return http(
                "200 OK",
                "application/json",
                "{\"protocol\":1,\"name\":\"m\",\"fingerprint\":\"f\"}",
            );
        }
        let document: Value = serde_json::from_str(body.lines().nth(1).unwrap()).unwrap();
        http("200 OK", "application/x-ndjson", &lines(document["id"].as_u64().unwrap()))
    })
}

#[test]
fn fault_h16_who_is_no_module_server_is_told_apart_before_anything_runs() {
    let page = |status: &'static str, more: &'static str| {
        fake(move |_, _| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/html\r\n{more}content-length: 4\r\nconnection: close\r\n\r\n<p>\n"
            )
        })
    };
    let described = |text: &'static str| fake(move |_, _| http("200 OK", "application/json", text));
    let cases = [
        (page("200 OK", ""), "what answers there is no module server"),
        (
            page("302 Found", "location: http://169.254.169.254/\r\n"),
            "it sends elsewhere (to http://169.254.169.254/)",
        ),
        (page("404 Not Found", ""), "there is no such module"),
        (page("401 Unauthorized", "set-cookie: a=b\r\n"), "it wants another token"),
        (page("403 Forbidden", ""), "it answers with 403"),
        (fake(|_, _| "SSH-2.0-OpenSSH_9.2\r\n".to_owned()), "no module server"),
        (described("{\"name\":\"m\"}"), "no module server"),
        (described("{\"protocol\":2,\"name\":\"m\"}"), "version 2 of the protocol"),
        (
            described(
                "{\"protocol\":1,\"name\":\"m\",\"program\":[[\"command\",\"x\"]],\"fingerprint\":\"y\"}",
            ),
            "its fingerprint is not that of the code that it states",
        ),
    ];
    for (url, expected) in cases {
        let laptop = laptop(&format!("{url}/m"), "m", &["a"]);
        laptop.pipe(&["build"]).ends(3).says(expected);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    laptop(&format!("http://{nobody}/m"), "m", &["a"]).pipe(&["build"]).ends(3).says("connection refused");
}

#[test]
fn fault_h16_what_a_lying_server_answers_is_never_a_result() {
    type Lie = fn(u64) -> String;
    let lies: [(Lie, &str); 7] = [
        (|_| String::new(), "lost lost"),
        (|_| "<html>\n".to_owned(), "lost lost"),
        (
            |id| format!("{{\"id\":{},\"output\":{{\"text\":\"x\"}},\"fingerprint\":\"f\"}}\n", id + 1),
            "lost lost",
        ),
        (|id| format!("{{\"id\":{id},\"output\":{{\"text\":\"x\"}},\"fingerprint\":\"f\"}}"), "lost lost"),
        (|id| format!("{{\"id\":{id},\"output\":{{}},\"fingerprint\":\"f\"}}\n"), "bad-reply bad reply"),
        (
            |id| format!("{{\"id\":{id},\"output\":{{\"path\":\"/etc/passwd\"}},\"fingerprint\":\"f\"}}\n"),
            "bad-reply bad reply",
        ),
        (
            |id| {
                format!(
                    "{{\"id\":{id},\"error\":{{\"type\":\"E\",\"kind\":\"crash\"}},\"fingerprint\":\"f\"}}\n"
                )
            },
            "crash E",
        ),
    ];
    for (lie, expected) in lies {
        let laptop = laptop(&format!("{}/m", lying(lie)), "m", &["a"]);
        laptop.replace("Pipelinefile", "publish = true", "publish = true\nretries = 0");
        let ended = laptop.build().ends(1);
        assert_eq!(ended.failures(), [format!("made docs/d0.txt: {expected}")], "{}", ended.text());
        assert!(!laptop.root().join("out").exists());
    }
}

#[test]
fn fault_h17_an_answer_of_other_code_is_thrown_away() {
    // It describes one thing and runs another, and never says otherwise.
    let url = lying(|id| format!("{{\"id\":{id},\"output\":{{\"text\":\"x\"}},\"fingerprint\":\"g\"}}\n"));
    let laptop = laptop(&format!("{url}/m"), "m", &["a"]);
    laptop.pipe(&["build"]).ends(3).says("the module has changed on its server");
    assert!(!laptop.root().join("out").exists());
    laptop.pipe(&["cat", "made", "docs/d0.txt"]).ends(4);
}

#[test]
fn a_service_that_does_not_say_which_code_it_has_is_asked_again_or_after_its_ttl() {
    let runs = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&runs);
    let url = fake(move |first, body| {
        if first.starts_with("GET") {
            return http("200 OK", "application/json", "{\"protocol\":1,\"name\":\"m\"}");
        }
        let document: Value = serde_json::from_str(body.lines().nth(1).unwrap()).unwrap();
        *counted.lock().unwrap() += 1;
        http(
            "200 OK",
            "application/x-ndjson",
            &format!("{{\"id\":{},\"output\":{{\"text\":\"x\"}}}}\n", document["id"]),
        )
    });
    let ran = || std::mem::take(&mut *runs.lock().unwrap());
    let at = |project: Project, hour: u64| {
        project.env("PIPE_NOW", &(1_700_000_000_000 + hour * 3_600_000).to_string())
    };
    let mut laptop = laptop(&format!("{url}/m"), "m", &["a"]);
    for hour in 0..3 {
        laptop = at(laptop, hour);
        laptop.build().ends(0);
        assert_eq!(ran(), 1, "hour {hour}");
    }
    laptop.replace("Pipelinefile", "[module.m]", "[module.m]\nttl = \"10h\"");
    for (hour, expected) in [(3, 0), (11, 0), (13, 1), (14, 0)] {
        laptop = at(laptop, hour);
        laptop.build().ends(0);
        assert_eq!(ran(), expected, "hour {hour}");
    }
    // Whoever states its version is trusted to change it.
    laptop.replace("Pipelinefile", "ttl = \"10h\"", "version = \"5\"");
    for (hour, expected) in [(15, 1), (99, 0)] {
        laptop = at(laptop, hour);
        laptop.build().ends(0);
        assert_eq!(ran(), expected, "hour {hour}");
    }
}

#[test]
fn while_the_server_is_away_what_it_said_last_holds() {
    let server = server();
    let served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/up", served.url), "up", &["a"]);
    laptop.build().ends(0);
    served.kill();
    laptop.pipe(&["build"]).ends(0).says("what it said last of its code holds");
    laptop.write("docs/new.txt", "b");
    laptop.replace("Pipelinefile", "publish = true", "publish = true\nretries = 0");
    let ended = laptop.build().ends(1);
    assert_eq!(ended.failures(), ["made docs/new.txt: lost lost"], "{}", ended.text());
}

/// `PIPE_TEST_SCHEMATHESIS=PROGRAM`: the schema fuzzer `schemathesis`.
#[test]
fn a_schema_fuzzer_finds_nothing_that_the_description_of_the_server_does_not_say() {
    let Some(program) = std::env::var_os("PIPE_TEST_SCHEMATHESIS") else {
        eprintln!("skipped: PIPE_TEST_SCHEMATHESIS names no program (pip install schemathesis)");
        return;
    };
    let server = server().file("tokens", "0123456789abcdef\n");
    let served = Served::start(&server, &["--token-file", "tokens"]);
    let header = "Authorization: Bearer 0123456789abcdef";
    let description = format!("{}/openapi.json", served.url);
    let fakes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes");
    let ran = std::process::Command::new(program)
        .args(["run", &description, "--url", &served.url, "-H", header, "--max-examples", "50"])
        // That a request is good is more than a schema of its lines can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .envs([
            ("SCHEMATHESIS_HOOKS", format!("{fakes}/ndjson.py")),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ])
        .current_dir(server.root())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn folders_go_there_and_back_as_inputs_and_as_results() {
    let server = Project::new().counted(
        "made",
        "
        @module
        def made(doc):
            folder = doc.tmp / 'made'
            (folder / 'sub').mkdir(parents=True)
            (folder / 'sub' / 'a.txt').write_text(doc.text().upper())
            (folder / 'large.bin').write_bytes(b'\\xff' * 40_000)
            return folder
        ",
    );
    server.edit_module(
        "seen",
        "
        @module
        def seen(doc, *, files: Doc):
            inside = sorted(str(file.relative_to(doc.path)) for file in doc.path.rglob('*') if file.is_file())
            side = sorted(file.name for file in files.path.iterdir())
            return ' '.join(inside) + ' ' + (doc.path / 'sub' / 'a.txt').read_text() + ' ' + ' '.join(side)
        ",
    );
    server.edit_module(
        "all",
        "
        @module
        def all(docs):
            return ' '.join((doc.path / 'sub' / 'a.txt').read_text() for doc in docs)
        ",
    );
    server.write("Pipelinefile", "[source.none]\npath = \"none\"\n");
    server.write("none/x", "");
    let served = Served::start(&server, &[]);
    let url = &served.url;
    let target = |name: &str, more: &str| {
        format!(
            "[target.{name}]\n{more}\nmodule = \"{name}\"\n[module.{name}]\nurl = \"{url}/modules/{name}\"\n"
        )
    };
    let pipelinefile = format!(
        "[source.docs]\npath = \"docs\"\n{}{}{}",
        target("made", "each = \"docs\"\npublish = true"),
        target("seen", "each = \"made\"\nwith = { files = \"file:side\" }"),
        target("all", "all = \"made\"")
    );
    let laptop = Project::new().file("docs/a.txt", "one").file("docs/b.txt", "two");
    laptop.write("Pipelinefile", &pipelinefile);
    laptop.write("side/x.txt", "");
    laptop.write("side/.words", "");
    laptop.write("side/.DS_Store", "");
    laptop.pipe(&["build"]).ends(0);
    assert_eq!(laptop.read("out/made/docs/a.txt/sub/a.txt"), "ONE");
    assert_eq!(std::fs::read(laptop.root().join("out/made/docs/a.txt/large.bin")).unwrap().len(), 40_000);
    laptop.pipe(&["cat", "seen", "docs/b.txt"]).ends(0).says("large.bin sub/a.txt TWO .words x.txt");
    laptop.pipe(&["cat", "all"]).ends(0).says("ONE TWO");
    // What was sent does not stay there.
    let left = std::fs::read_dir(server.root().join(".pipe/serve/tmp")).unwrap();
    let left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        left.iter().filter(|name| name.starts_with("sent-")).count() <= 1,
        "one for the side input: {left:?}"
    );
    // The same at home is the same folder.
    let home = pipelinefile.lines().filter(|line| !line.starts_with("url") && !line.starts_with("[module"));
    for name in ["made", "seen", "all", "ran"] {
        laptop.write(&format!("modules/{name}.py"), server.read(&format!("modules/{name}.py")));
    }
    laptop.write("Pipelinefile", home.collect::<Vec<_>>().join("\n"));
    let outcome = laptop.pipe(&["build"]).ends(0);
    assert!(!laptop.root().join("runs").exists(), "{}", outcome.stderr);
}

#[test]
fn a_server_that_sends_a_folder_which_leads_out_of_itself_is_not_believed() {
    for files in ["{\"../../x\":{\"text\":\"\"}}", "{\"a\":{\"text\":\"\"},\"a/b\":{\"text\":\"\"}}", "[]"] {
        let files = files.to_owned();
        let url = lying(move |id| {
            format!("{{\"id\":{id},\"output\":{{\"folder\":{files}}},\"fingerprint\":\"f\"}}\n")
        });
        let laptop = laptop(&format!("{url}/m"), "m", &["a"]);
        laptop.replace("Pipelinefile", "publish = true", "publish = true\nretries = 0");
        let ended = laptop.build().ends(1);
        assert_eq!(ended.failures(), ["made docs/d0.txt: lost lost"], "{}", ended.text());
        assert!(!laptop.root().join("out").exists());
    }
}

#[test]
fn an_edit_that_is_taken_back_while_a_worker_starts_is_seen() {
    let server = Project::new().file("Pipelinefile", "[source.none]\npath = \"none\"\n").file("none/x", "");
    let server = server.counted("read", OLD).with_held_interpreter();
    let served = Served::start(&server, &[]);
    let laptop = laptop(&format!("{}/modules/read", served.url), "read", &["a"]);
    // What the module says of itself is known from here on: the next process is one that gets documents.
    laptop.pipe(&["build"]).ends(0);
    assert_eq!(published(&laptop), ["a old"]);
    laptop.write("docs/d0.txt", "b");
    laptop.replace("Pipelinefile", "publish = true", "publish = true\next = \"md\"");
    let running = server.edit_while_starting("read", OLD, NEW, || laptop.start(&["build"]));
    running.end().ends(0);
    assert_eq!(published(&laptop), ["b old"]);
}

const OLD: &str = "
    word = 'old'
    @module
    def read(doc):
        return doc.text() + ' ' + word
    ";
const NEW: &str = "
    word = 'new'
    hold('loaded')
    @module
    def read(doc):
        return doc.text() + ' ' + word
    ";

#[test]
fn the_module_of_the_guide_uses_a_service_that_is_there_already() {
    let page = include_str!("../../docs/guide/on-premise.md");
    let module = page.split("```python\n").last().unwrap().split("```").next().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let url = fake(move |first, body| {
        assert!(first.starts_with("POST"), "{first}");
        let body: Value = serde_json::from_str(body).unwrap();
        heard.lock().unwrap().push(body.clone());
        let text = format!("{} in {}", body["text"].as_str().unwrap(), body["to"].as_str().unwrap());
        http("200 OK", "application/json", &serde_json::json!({ "text": text }).to_string())
    });
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.en]\neach = \"docs\"\nmodule = \"translate\"\nrate = \"600/min\"\n",
        )
        .file("docs/a.txt", "hallo")
        .env("PIPE_PYTHON", crate::harness::python())
        .env("MT_URL", &url);
    project.write("modules/translate.py", module);
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.pipe(&["cat", "en", "docs/a.txt"]).ends(0).stdout, "hallo in en");
    project.pipe(&["build"]).ends(0).says("Up to date");
    assert_eq!(asked.lock().unwrap().len(), 1);
    // While it is down, a document fails for now: the next build asks again by itself.
    project.write("docs/b.txt", "welt");
    project.replace("Pipelinefile", "rate = ", "retries = 0\nrate = ");
    let down = project.pipe_through(&["env", "MT_URL=http://127.0.0.1:1"], &["build"]).ends(1);
    drop(down.says("URLError"));
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.pipe(&["cat", "en", "docs/b.txt"]).ends(0).stdout, "welt in en");
}
