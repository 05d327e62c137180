//! Two ends of one socket, with an answerer that knows nothing of stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::wire::{NAME, Reply, read_reply, read_request, request_line, write_reply};
use super::*;
use crate::query::log::Only;
use crate::query::{Answer, ls};

fn request(question: Question) -> Request {
    Request { here: PathBuf::from("/project/inbox"), question }
}

fn lines(count: usize) -> Answerer {
    Arc::new(move |request, tell| {
        let Question::Ls(ask) = &request.question else {
            return Err(Error::no_match("only lists").hint("pipe ls"));
        };
        (0..count).try_for_each(|n| tell(Answer::Manifest { line: format!("{} {n}", ask.stream) }))
    })
}

fn list() -> Request {
    request(Question::Ls(ls::Ask { stream: "text".into(), manifest: true, ..ls::Ask::default() }))
}

fn told(dir: &Path, request: &Request) -> (Result<bool>, Vec<String>) {
    let mut told = Vec::new();
    let answered = ask(dir, request, PATIENCE, &mut |answer| {
        told.push(match answer {
            Answer::Manifest { line } => line,
            other => format!("{other:?}"),
        });
        Ok(())
    });
    (answered, told)
}

#[test]
fn the_lines_are_what_the_design_page_says() {
    let golden = [
        (Question::Status, r#"{"v":1,"here":"/project/inbox","ask":"status"}"#),
        (
            Question::Why { what: "text".into() },
            r#"{"v":1,"here":"/project/inbox","ask":"why","what":"text"}"#,
        ),
        (
            Question::Log { doc: "inbox/a".into(), only: Only { run: Some(3), ..Only::default() } },
            r#"{"v":1,"here":"/project/inbox","ask":"log","doc":"inbox/a","run":3}"#,
        ),
        (
            Question::Cat { stream: "text".into(), doc: "inbox/a".into(), sample: false },
            r#"{"v":1,"here":"/project/inbox","ask":"cat","stream":"text","doc":"inbox/a"}"#,
        ),
        (
            Question::Ls(ls::Ask { stream: "text".into(), ..ls::Ask::default() }),
            r#"{"v":1,"here":"/project/inbox","ask":"ls","stream":"text","manifest":false}"#,
        ),
    ];
    for (question, text) in golden {
        let request = request(question);
        assert_eq!(String::from_utf8(request_line(&request).unwrap()).unwrap(), format!("{text}\n"));
        assert_eq!(read_request(format!("{text}\n").as_bytes()).unwrap(), request);
    }
    let mut out = Vec::new();
    write_reply(&mut out, Reply::Part(Box::new(Answer::Manifest { line: "{\"id\":\"a\"}".into() }))).unwrap();
    write_reply(&mut out, Reply::Failed(Error::no_match("none").hint("pipe ls"))).unwrap();
    write_reply(&mut out, Reply::End).unwrap();
    let expected = concat!(
        r#"{"v":1,"part":{"answer":"manifest","line":"{\"id\":\"a\"}"}}"#,
        "\n",
        r#"{"v":1,"error":{"exit":4,"message":"none","causes":[],"hints":["pipe ls"]}}"#,
        "\n",
        r#"{"v":1,"end":true}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_line_of_another_version_says_so() {
    let error = read_request(&b"{\"v\":2,\"question\":{}}\n"[..]).unwrap_err();
    assert!(error.message.contains("version 2"), "{error}");
    let reply = read_reply(&mut &b"{\"v\":9,\"odd\":1}\n"[..]).unwrap();
    assert!(matches!(reply, Some(Reply::Failed(error)) if error.message.contains("version 9")));
}

#[test]
fn a_torn_line_is_the_end_and_no_answer() {
    assert!(read_reply(&mut &b"{\"v\":1,\"end\":tr"[..]).unwrap().is_none());
}

#[test]
fn an_answer_of_many_parts_comes_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), lines(10_000)).unwrap();
    let (answered, told) = told(dir.path(), &list());
    assert!(answered.unwrap());
    assert_eq!(told.len(), 10_000);
    assert_eq!((told[0].as_str(), told[9_999].as_str()), ("text 0", "text 9999"));
    drop(server);
}

#[test]
fn an_error_comes_with_its_kind_and_hints() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path(), lines(0)).unwrap();
    let error = told(dir.path(), &request(Question::Status)).0.unwrap_err();
    assert_eq!((error.kind, error.hints), (crate::error::Kind::NoMatch, vec!["pipe ls".to_owned()]));
}

#[test]
fn the_socket_is_private_and_gone_with_its_server() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    assert!(!told(dir.path(), &list()).0.unwrap());
    let server = Server::start(dir.path(), lines(1)).unwrap();
    let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert!(!dir.path().join(NAME).exists());
    assert!(!told(dir.path(), &list()).0.unwrap());
}

#[test]
fn a_socket_that_a_killed_process_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(NAME)).unwrap());
    assert!(!told(dir.path(), &list()).0.unwrap());
    let _server = Server::start(dir.path(), lines(1)).unwrap();
    assert!(told(dir.path(), &list()).0.unwrap());
}

#[test]
fn a_project_may_lie_deeper_than_a_socket_path_holds() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("folder-of-thirty-two-characters/".repeat(6));
    crate::fs::create_dir(&deep).unwrap();
    let _server = Server::start(&deep, lines(3)).unwrap();
    assert_eq!(told(&deep, &list()).1.len(), 3);
}

#[test]
fn several_are_answered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(4));
    let answer: Answerer = Arc::new(move |_, _| {
        barrier.wait();
        Ok(())
    });
    let _server = Server::start(dir.path(), answer).unwrap();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| told(dir.path(), &list()).0.unwrap())).collect();
        assert!(asked.into_iter().all(|asked| asked.join().unwrap()));
    });
}
