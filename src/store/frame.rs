//! Frames: what the log is made of. `length | crc32c | kind | body`, see `docs/design/store.md`.
//!
//! The length is a varint and counts kind and body. The crc covers them and is mixed with the length, the store's salt
//! and the frame's own position, so that bytes from elsewhere are never taken for a frame. Bodies of the many
//! (`Names`, `Act`, `Story`) are binary, those of the few are JSON. Knows nothing of groups and files.

mod act;
mod names;
mod story;
#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::model::action::{
    Act, Definition, Ended, Loads, Mark, Outcome, PayloadPlace, Place, Position, Recipe, Run, Story,
};
use crate::store::bytes::{self, Reader};
use crate::time::Millis;

pub use names::{NAMES_IN_A_FRAME, Names};

/// No frame is longer: a length above it is damage.
pub const LONGEST: usize = 64 << 20;

/// The bytes of a whole `Close` frame, always the same.
pub const CLOSE_BYTES: usize = 32;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// New documents of a directory.
    Names = 1,
    /// The record of an action.
    Act = 2,
    /// How a document stands after a run.
    Story = 3,
    /// What is the same for all actions of a target.
    Recipe = 4,
    /// What a worker had loaded.
    Loads = 5,
    /// What a definition id stands for.
    Definition = 6,
    /// The begin of a run.
    Run = 7,
    /// Work that is to be done again.
    Mark = 8,
    /// A result that was set aside.
    Bad = 9,
    /// The log was closed in order.
    Close = 10,
    /// The end of a run.
    Ended = 11,
}

impl Kind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Kind; 11] = [
        Kind::Names,
        Kind::Act,
        Kind::Story,
        Kind::Recipe,
        Kind::Loads,
        Kind::Definition,
        Kind::Run,
        Kind::Mark,
        Kind::Bad,
        Kind::Close,
        Kind::Ended,
    ];

    /// The kind of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// A frame, decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// New documents of a directory.
    Names(Names),
    /// The record of an action.
    Act(Act),
    /// How a document stands after a run.
    Story(Story),
    /// What is the same for all actions of a target.
    Recipe(Recipe),
    /// What a worker had loaded.
    Loads(Loads),
    /// What a definition id stands for.
    Definition(Definition),
    /// The begin of a run; the log writes it by itself.
    Run(Run),
    /// Work that is to be done again.
    Mark(Mark),
    /// A result that was set aside.
    Bad(Bad),
    /// The log was closed in order; the log writes it by itself.
    Close(Close),
    /// The end of a run.
    Ended(Ended),
}

/// A result whose bytes are gone or wrong: its record answers no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// The record.
    pub act: Position,
    /// What its bytes should have been.
    pub digest: Digest,
    /// When it was found.
    pub time: Millis,
}

/// The log was closed in order here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Where this very frame lies.
    pub position: Position,
    /// The newest run.
    pub run: u32,
    /// When.
    pub time: Millis,
}

/// What binds checksums to one store.
#[derive(Clone, Copy, Debug)]
pub struct Seal(u32);

impl Seal {
    /// The seal of the store with this salt.
    pub fn new(salt: u64) -> Self {
        Seal(crc32c::crc32c(&salt.to_le_bytes()))
    }

    /// The checksum of bytes that lie at `position`.
    pub fn checksum(self, position: Position, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed(position), bytes)
    }

    fn seed(self, position: Position) -> u32 {
        crc32c::crc32c_append(self.0, &position.0.to_le_bytes())
    }

    fn frame(self, position: Position, kind_and_body: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed(position) ^ kind_and_body.len() as u32, kind_and_body)
    }
}

/// A frame as it lies in the log: its checksum was right, its body is not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// Where it lies.
    pub position: Position,
    /// What it holds.
    pub kind: Kind,
    /// The encoded body.
    pub body: &'a [u8],
}

impl FrameRef<'_> {
    /// Of a record, what finding it needs: the first bytes of its key, and the newest mark that it knew.
    pub fn key_and_mark(&self) -> Option<(u64, u64)> {
        (self.kind == Kind::Act).then(|| act::key_and_mark(&mut Reader::new(self.body), self.position))?
    }

    /// The frame; nothing if the body is not what its kind says.
    pub fn decode(&self) -> Option<Frame> {
        let mut body = Reader::new(self.body);
        let own = self.position;
        let frame = match self.kind {
            Kind::Names => Frame::Names(names::decode(&mut body)?),
            Kind::Act => Frame::Act(act::decode(&mut body, own)?),
            Kind::Story => Frame::Story(story::decode(&mut body, own)?),
            Kind::Close => Frame::Close(decode_close(&mut body)?),
            Kind::Recipe => return json(self.body).map(Frame::Recipe),
            Kind::Loads => return json(self.body).map(Frame::Loads),
            Kind::Definition => return json(self.body).map(Frame::Definition),
            Kind::Run => return json(self.body).map(Frame::Run),
            Kind::Mark => return json(self.body).map(Frame::Mark),
            Kind::Bad => return json(self.body).map(Frame::Bad),
            Kind::Ended => return json(self.body).map(Frame::Ended),
        };
        body.end()?;
        Some(frame)
    }
}

impl Frame {
    /// What it holds.
    pub fn kind(&self) -> Kind {
        match self {
            Frame::Names(_) => Kind::Names,
            Frame::Act(_) => Kind::Act,
            Frame::Story(_) => Kind::Story,
            Frame::Recipe(_) => Kind::Recipe,
            Frame::Loads(_) => Kind::Loads,
            Frame::Definition(_) => Kind::Definition,
            Frame::Run(_) => Kind::Run,
            Frame::Mark(_) => Kind::Mark,
            Frame::Bad(_) => Kind::Bad,
            Frame::Close(_) => Kind::Close,
            Frame::Ended(_) => Kind::Ended,
        }
    }

    /// Where the output's bytes lie in the log, if this is the record of one with a payload.
    pub fn payload(&self) -> Option<(PayloadPlace, u64, Digest)> {
        match self {
            Frame::Act(Act { outcome: Outcome::Output(output), .. }) => match output.place {
                Place::Payload(place) => Some((place, output.length, output.digest)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Writes kind and body to `out`, as they are at the position `own`.
    /// With `payload` the bytes of the output lie there, whatever the record says.
    pub fn encode(&self, own: Position, payload: Option<PayloadPlace>, out: &mut Vec<u8>) {
        out.push(self.kind() as u8);
        match self {
            Frame::Names(names) => names::encode(names, out),
            Frame::Act(act) => act::encode(act, own, payload, out),
            Frame::Story(story) => story::encode(story, own, out),
            Frame::Recipe(recipe) => put_json(out, recipe),
            Frame::Loads(loads) => put_json(out, loads),
            Frame::Definition(definition) => put_json(out, definition),
            Frame::Run(run) => put_json(out, run),
            Frame::Mark(mark) => put_json(out, mark),
            Frame::Bad(bad) => put_json(out, bad),
            Frame::Ended(ended) => put_json(out, ended),
            Frame::Close(close) => encode_close(close, out),
        }
    }
}

/// Writes a whole frame around kind and body.
pub fn put_frame(out: &mut Vec<u8>, seal: Seal, position: Position, kind_and_body: &[u8]) {
    bytes::put_number(out, kind_and_body.len() as u64);
    out.extend_from_slice(&seal.frame(position, kind_and_body).to_le_bytes());
    out.extend_from_slice(kind_and_body);
}

/// The bytes that [`put_frame`] writes for so many of kind and body.
pub fn frame_length(kind_and_body: usize) -> usize {
    let bits = usize::BITS - (kind_and_body | 1).leading_zeros();
    bits.div_ceil(7) as usize + 4 + kind_and_body
}

/// What lies at a place where a frame should be.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A frame, and how many bytes it takes.
    Frame(FrameRef<'a>, usize),
    /// The bytes end within it: so many are needed.
    Short(usize),
    /// Damage; if the length is right, the next frame is so many bytes on.
    Bad(usize),
}

/// Reads the frame at the front of `bytes`, which lie at `position`.
pub fn read(bytes: &[u8], seal: Seal, position: Position) -> Found<'_> {
    let mut reader = Reader::new(bytes);
    let length = match reader.small::<usize>() {
        Some(length) if (1..=LONGEST).contains(&length) => length,
        None if bytes.len() < 5 => return Found::Short(5),
        _ => return Found::Bad(bytes.len()),
    };
    let whole = frame_length(length);
    // A length that takes more bytes than it needs was never written, and would lead astray by as many.
    if bytes.len() - reader.rest().len() + 4 + length != whole {
        return Found::Bad(bytes.len());
    }
    let (Some(crc), Some(content)) = (reader.fixed32(), reader.bytes(length)) else {
        return Found::Short(whole);
    };
    match Kind::from_code(content[0]) {
        Some(kind) if seal.frame(position, content) == crc => {
            Found::Frame(FrameRef { position, kind, body: &content[1..] }, whole)
        }
        _ => Found::Bad(whole),
    }
}

/// Of one length, so that the end of a closed log is found without reading the rest.
fn encode_close(close: &Close, out: &mut Vec<u8>) {
    out.extend_from_slice(&close.position.0.to_le_bytes());
    out.extend_from_slice(&close.run.to_le_bytes());
    out.extend_from_slice(&close.time.0.to_le_bytes());
    out.extend_from_slice(&[0; 6]);
}

fn decode_close(body: &mut Reader<'_>) -> Option<Close> {
    let close =
        Close { position: Position(body.fixed64()?), run: body.fixed32()?, time: Millis(body.fixed64()?) };
    body.bytes(6)?;
    Some(close)
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Plain data with text keys into memory.
    serde_json::to_writer(out, value).expect("plain data can be written as JSON");
}

fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
