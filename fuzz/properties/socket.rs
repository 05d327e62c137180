//! The lines on the socket, docs/design/socket.md: questions, read by the owner; answers, read by whoever asked.

use pipelinefile::probe;

pub(crate) fn check(data: &[u8]) {
    let limit = 16 << 10;
    if let Ok(request) = super::bounded(data, limit, 64, || probe::question(data)) {
        let line = probe::question_line(&request).expect("what was read can be said");
        assert_eq!(probe::question(line.as_slice()).expect("what is said can be read"), request);
    }
    if let Some(line) = super::bounded(data, limit, 200, || probe::answer_line(data)) {
        let again = probe::answer_line(&line).expect("what is said can be read");
        assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&line));
    }
}
