//! Events on their way to a place that answers, that does not, and that is too slow.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::model::event::{Finished, Ran};

struct Kept(Arc<Mutex<Vec<String>>>);

impl Outlet for Kept {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        self.0.lock().unwrap().extend(messages.iter().map(|told| format!("{:?}", told.event)));
        Sent::whole(messages.len(), Ok(()))
    }
}

struct Down;

impl Outlet for Down {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        Sent::whole(messages.len(), Err(io::Error::other("out of order")))
    }
}

/// A server of GELF that refuses every third message for good, and counts what it is given.
struct Fussy(Arc<Mutex<u64>>);

impl transport::Carrier for Fussy {
    fn limit(&self) -> usize {
        usize::MAX
    }

    fn carry(&mut self, _: &[u8]) -> io::Result<()> {
        let mut given = self.0.lock().unwrap();
        *given += 1;
        if given.is_multiple_of(3) {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it answers 413"))
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_refused_for_good_is_not_given_again_and_what_is_behind_it_arrives() {
    let given = Arc::new(Mutex::new(0));
    let about = Arc::new(About { project: "p".into(), host: "h".into(), modules: HashMap::new() });
    let queue = Queue::start(Box::new(gelf::Gelf::new(about, Fussy(Arc::clone(&given)))));
    (0..900).for_each(|n| queue.push(&told(n)));
    queue.close();
    let ended = queue.wait(Duration::from_secs(60));
    assert_eq!((ended.sent, ended.lost, *given.lock().unwrap()), (600, 300, 900));
    assert_eq!(ended.error.as_deref(), Some("it answers 413"));
}

fn told(n: u64) -> Arc<Told> {
    let ran = Some(Ran { duration: 41_000, worker: Some(2), attempt: 1 });
    let done = Finished { doc: format!("in/{n}"), target: "ocr".into(), length: 9, ran };
    Arc::new(Told { at: Millis(1_795_430_000_250), run: Some(7), event: Event::Done(done) })
}

#[test]
fn all_arrives_in_order_at_a_place_that_answers() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let queue = Queue::start(Box::new(Kept(Arc::clone(&kept))));
    (0..3000).for_each(|n| queue.push(&told(n)));
    queue.close();
    let ended = queue.wait(Duration::from_secs(60));
    assert_eq!((ended.sent, ended.lost, ended.error), (3000, 0, None));
    let kept = kept.lock().unwrap();
    assert!(kept.iter().enumerate().all(|(n, text)| text.contains(&format!("\"in/{n}\""))));
}

#[test]
fn what_does_not_arrive_is_counted_with_the_reason() {
    let queue = Queue::start(Box::new(Down));
    (0..25_000).for_each(|n| queue.push(&told(n)));
    queue.close();
    let ended = queue.wait(Duration::from_secs(60));
    assert_eq!((ended.sent, ended.lost), (0, 25_000));
    assert_eq!(ended.error.as_deref(), Some("out of order"));
}

#[test]
fn a_gelf_message_has_the_fields_that_the_page_lists() {
    let modules = HashMap::from([("ocr".to_owned(), ("scan:ocr".to_owned(), Some("5".to_owned())))]);
    let about = About { project: "papers".into(), host: "box".into(), modules };
    let message = gelf::bytes(&about, &told(1), 8192);
    let golden = "{\"_attempt\":1,\"_document\":\"in/1\",\"_duration_ms\":41.0,\"_event\":\"done\",\"_module\":\"scan:ocr\",\
        \"_project\":\"papers\",\"_run\":7,\"_target\":\"ocr\",\"_version\":\"5\",\"_worker\":2,\"host\":\"box\",\"level\":6,\
        \"short_message\":\"ocr done: in/1\",\"timestamp\":1795430000.25,\"version\":\"1.1\"}";
    assert_eq!(String::from_utf8(message).unwrap(), golden);
}

#[test]
fn a_message_that_is_too_long_loses_its_end() {
    let about = About { project: "p".into(), host: "h".into(), modules: HashMap::new() };
    let event = Event::Notice { message: "x".repeat(100_000), hint: None };
    let told = Told { at: Millis(0), run: None, event };
    let message = gelf::bytes(&about, &told, 4000);
    assert!(message.len() <= 4000 && message.len() > 400, "{}", message.len());
    assert!(serde_json::from_slice::<serde_json::Value>(&message).is_ok());
}
