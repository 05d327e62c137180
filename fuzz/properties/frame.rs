//! The frame reader: `length | crc32c | kind | body`, docs/design/store.md.

use pipelinefile::model::action::Position;
use pipelinefile::store::bytes::Reader;
use pipelinefile::store::frame::{Found, Frame, Kind, LONGEST, Seal, frame_length, put_frame, read};

/// What the seeds are sealed with, as the golden frames are.
const SALT: u64 = 0x1122_3344_5566_7788;
const OWN: Position = Position((3 << 28) + 70_000);

pub(crate) fn check(data: &[u8]) {
    let seal = Seal::new(SALT);
    match read(data, seal, OWN) {
        Found::Frame(frame, length) => {
            assert!(length <= data.len());
            assert_eq!(frame.position, OWN);
        }
        Found::Short(needed) => assert!(needed > data.len() && needed <= frame_length(LONGEST)),
        Found::Bad(length) => assert!(length > 0),
    }
    // The same with a checksum that is right: the body is what the mutation is about.
    let mut reader = Reader::new(data);
    let length = reader.small::<usize>().unwrap_or_default();
    let (_, Some(content)) = (reader.fixed32(), reader.bytes(length).filter(|content| !content.is_empty()))
    else {
        return;
    };
    let mut sealed = Vec::new();
    put_frame(&mut sealed, seal, OWN, content);
    match read(&sealed, seal, OWN) {
        Found::Frame(frame, whole) => {
            assert_eq!(whole, sealed.len());
            let decoded = super::bounded(data, 16 << 10, 200, || frame.decode());
            decoded.iter().for_each(comes_back);
        }
        Found::Bad(whole) => {
            assert_eq!(whole, sealed.len());
            assert_eq!(Kind::from_code(content[0]), None);
        }
        Found::Short(needed) => panic!("{needed} are wanted of {}", sealed.len()),
    }
}

fn comes_back(frame: &Frame) {
    let mut content = Vec::new();
    frame.encode(OWN, None, &mut content);
    let mut sealed = Vec::new();
    put_frame(&mut sealed, Seal::new(SALT), OWN, &content);
    let Found::Frame(again, _) = read(&sealed, Seal::new(SALT), OWN) else { panic!("{frame:?} is lost") };
    assert_eq!(again.decode().as_ref(), Some(frame));
}
