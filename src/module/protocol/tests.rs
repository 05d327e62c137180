use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::pipeline::Program;
use crate::module::launch::SETUP_TIMEOUT;

fn launch() -> Launch {
    Launch {
        program: Program::Worker(vec!["x".into()]),
        root: PathBuf::from("/p"),
        python: None,
        env: Vec::new(),
        params: BTreeMap::from([("n".to_owned(), 5.into())]),
        with: vec![("model".to_owned(), Side::One(Input::new(Body::Path("/m".into()), "bin")))],
        with_each: vec!["fix".to_owned()],
        sees: vec!["ext".to_owned()],
        log: PathBuf::from("/l"),
        tmp: PathBuf::from("/t"),
        timeout: None,
        memory: None,
        setup_timeout: SETUP_TIMEOUT,
        secrets: Vec::new(),
        withheld: Vec::new(),
        batch: None,
        at_once: None,
        ext: None,
        readable: Vec::new(),
        code: Vec::new(),
        fingerprint: None,
        split: None,
    }
}

fn bytes(text: &[u8]) -> Body {
    Body::Bytes(Arc::from(text))
}

fn written(launch: &Launch, request: &Request) -> String {
    let mut out = Vec::new();
    write_request(&mut out, launch, Path::new("/t/3/7"), request, Form::default());
    String::from_utf8(out).unwrap()
}

#[test]
fn golden_requests() {
    let mut out = Vec::new();
    write_setup(&mut out, &launch(), None, false);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"setup\":{\"params\":{\"n\":5},\"with\":{\"model\":{\"path\":\"/m\",\"ext\":\"bin\"}},\
         \"with_each\":[\"fix\"],\"sees\":[\"ext\"]}}\n"
    );
    let fix = Side::Many(vec![Input::new(bytes(b"a"), ""), Input::new(bytes(b"\xff"), "bin")]);
    let request = Request {
        id: 7,
        input: Input::new(bytes("ö\"\n".as_bytes()), "txt"),
        with: vec![("fix".to_owned(), fix), ("none".to_owned(), Side::Absent)],
    };
    assert_eq!(
        written(&launch(), &request),
        "{\"id\":7,\"text\":\"ö\\\"\\n\",\"ext\":\"txt\",\"tmp\":\"/t/3/7\",\
         \"with\":{\"fix\":[{\"text\":\"a\",\"ext\":\"\"},{\"base64\":\"/w==\",\"ext\":\"bin\"}],\"none\":null}}\n"
    );
}

#[test]
fn a_long_content_follows_its_line_where_that_is_known() {
    let text = "\"a\n\0".repeat(IN_LINE / 4 + 1);
    let input = Input { ext: None, ..Input::new(Body::Bytes(text.as_bytes().into()), "") };
    let request = Request { id: 7, input, with: Vec::new() };
    let mut out = Vec::new();
    let form = Form { lengths: true, ..Form::default() };
    write_request(&mut out, &launch(), Path::new("/t/3/7"), &request, form);
    let line = format!("{{\"id\":7,\"length\":{},\"tmp\":\"/t/3/7\"}}\n{text}", text.len());
    assert_eq!(String::from_utf8(out).unwrap(), line);
    assert!(written(&launch(), &request).contains("\\u0000"));
    let Line::Frame(frame) = read_line(b"{\"id\":7,\"output\":{\"length\":12,\"ext\":\"txt\"}}") else {
        panic!("no frame")
    };
    assert_eq!((frame.length(), frame.output.unwrap().size()), (12, 12));
}

#[test]
fn what_is_seen_is_sent_and_nothing_else() {
    let mut input = Input::new(Body::Manifest { path: "/s".into(), members: 2 }, "");
    input.ext = None;
    input.id = Some("g/a".to_owned());
    input.meta = Some("{\"lang\":\"en\"}".to_owned());
    let mut launch = launch();
    launch.sees = vec!["ext".to_owned(), "id".to_owned()];
    let request = Request { id: 1, input, with: Vec::new() };
    assert_eq!(
        written(&launch, &request),
        "{\"id\":1,\"manifest\":\"/s\",\"members\":2,\"meta\":{\"lang\":\"en\"},\"doc_id\":\"g/a\",\"tmp\":\"/t/3/7\"}\n"
    );
}

#[test]
fn an_answer_keeps_the_workers_own_bytes() {
    let line = b"{\"id\":7,\"output\":{\"json\":{\"b\":1.10,\"a\":[ ]},\"meta\":{\"z\":1,\"a\":2}},\"log\":[812,1044]}";
    let Line::Frame(frame) = read_line(line) else { panic!("no frame") };
    let output = frame.output.unwrap();
    assert_eq!(output.json.unwrap().get(), "{\"b\":1.10,\"a\":[ ]}");
    assert_eq!(serde_json::to_string(&output.meta).unwrap(), "{\"a\":2,\"z\":1}");
    assert_eq!((frame.id, frame.log), (Some(7), Some([812, 1044])));
    let Line::Frame(frame) = read_line(b"{\"id\":1,\"output\":{\"json\":null}}") else { panic!("no frame") };
    assert_eq!(frame.output.unwrap().json.unwrap().get(), "null");
}

#[test]
fn prints_are_told_from_broken_frames() {
    for stray in
        [&b"hello"[..], b"", b"{'a': 1}", b"{\"a\":1}", b"{}", b"[1]", b"{\"progress\": 3", b"\xff\xfe"]
    {
        assert!(matches!(read_line(stray), Line::Stray), "{}", String::from_utf8_lossy(stray));
    }
    for broken in [
        &b"{\"id\":7,\"output\":"[..],
        b"{\"id\":7,\"output\":{\"json\":NaN}}",
        b"{\"id\":-1,\"skip\":\"x\"}",
        b"{ \"id\" : 7, \"skip\": \"\xff\"}",
        b"{\"ready\":",
        b"{\"id\":7,\"output\":\"text\"}",
    ] {
        assert!(matches!(read_line(broken), Line::Broken(_)), "{}", String::from_utf8_lossy(broken));
    }
}

#[test]
fn an_error_becomes_a_failure_with_its_place() {
    let line = b"{\"id\":1,\"error\":{\"type\":\"ValueError\",\"message\":\"no\",\"where\":{\"file\":\"modules/a.py\",\"line\":4},\"retry\":true,\"after\":30}}";
    let Line::Frame(frame) = read_line(line) else { panic!("no frame") };
    let fault = frame.error.unwrap();
    assert_eq!(fault.after, Some(30.0));
    let failure = fault.into_failure();
    assert_eq!(failure.place.as_deref(), Some("modules/a.py:4"));
    assert_eq!((failure.summary(), failure.retry), ("ValueError: no".to_owned(), true));
}

#[test]
fn packages_come_in_two_forms() {
    let frames: Vec<PackageFrame> =
        serde_json::from_str("[\"b==1\",{\"name\":\"a\",\"version\":\"2\",\"path\":\"/x\"}]").unwrap();
    let package = |name: &str, version: &str, path: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        path: path.to_owned(),
    };
    assert_eq!(packages(frames), [package("a", "2", "/x"), package("b", "1", "")]);
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        drop(read_line(&line));
        let mut frame = b"{\"id\":1,".to_vec();
        frame.extend_from_slice(&line);
        drop(read_line(&frame));
    }

    #[test]
    fn a_request_is_one_line_of_json_whatever_it_carries(content in proptest::collection::vec(any::<u8>(), 0..60), ext in "\\PC{0,4}") {
        let request = Request { id: 1, input: Input::new(bytes(&content), ext), with: Vec::new() };
        let line = written(&launch(), &request);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let sent = match (value["text"].as_str(), value["base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(text)) => base64::decode(text).unwrap(),
            _ => Vec::new(),
        };
        prop_assert_eq!(sent, content);
    }
}
