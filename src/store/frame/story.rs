//! The body of a `Story` frame.
//!
//! `flags 1 | document | run | names | definition | [previous] | stamp 8 | [content 32] | count |
//! (what 1 | [act] | [note])…`: positions as seen from the frame, acts after the first as seen from the act before.

use crate::model::action::{Position, State, Story, StoryEntry};
use crate::model::document::{DocNumber, Stamp};
use crate::store::bytes::{self, Reader};

const SETTLED: u8 = 1;
const RACY: u8 = 1 << 1;
const GONE: u8 = 1 << 2;
const PREVIOUS: u8 = 1 << 3;
const CONTENT: u8 = 1 << 4;
const STORY_FLAGS: u8 = SETTLED | RACY | GONE | PREVIOUS | CONTENT;

/// The low four bits of an entry are its state.
const STATE: u8 = 0xf;
const ACT: u8 = 1 << 4;
const PUBLISHED: u8 = 1 << 5;
const NOTE: u8 = 1 << 6;
const ENTRY_FLAGS: u8 = STATE | ACT | PUBLISHED | NOTE;

pub(super) fn encode(story: &Story, own: Position, out: &mut Vec<u8>) {
    let flags = [
        (story.settled, SETTLED),
        (story.racy, RACY),
        (story.gone, GONE),
        (story.previous.is_some(), PREVIOUS),
        (story.content.is_some(), CONTENT),
    ];
    out.push(join(flags));
    bytes::put_number(out, story.doc.0.into());
    bytes::put_number(out, story.run.into());
    bytes::put_position(out, story.names, own);
    bytes::put_position(out, story.definition, own);
    if let Some(previous) = story.previous {
        bytes::put_position(out, previous, own);
    }
    out.extend_from_slice(&story.stamp.0.to_le_bytes());
    if let Some(content) = story.content {
        out.extend_from_slice(&content.0);
    }
    bytes::put_number(out, story.entries.len() as u64);
    let mut before = None;
    for entry in &story.entries {
        let flags =
            [(entry.act.is_some(), ACT), (entry.published, PUBLISHED), (!entry.note.is_empty(), NOTE)];
        out.push(entry.state as u8 | join(flags));
        if let Some(act) = entry.act {
            match before.replace(act) {
                None => bytes::put_position(out, act, own),
                Some(before) => bytes::put_beside(out, act, before),
            }
        }
        if !entry.note.is_empty() {
            bytes::put_text(out, &entry.note);
        }
    }
}

pub(super) fn decode(body: &mut Reader<'_>, own: Position) -> Option<Story> {
    let flags = body.byte().filter(|flags| flags & !STORY_FLAGS == 0)?;
    let mut story = Story {
        doc: DocNumber(body.small()?),
        run: body.small()?,
        names: body.position(own)?,
        definition: body.position(own)?,
        previous: None,
        stamp: Stamp::default(),
        content: None,
        settled: flags & SETTLED != 0,
        racy: flags & RACY != 0,
        gone: flags & GONE != 0,
        entries: Vec::new(),
    };
    if flags & PREVIOUS != 0 {
        story.previous = Some(body.position(own)?);
    }
    story.stamp = Stamp(body.fixed64()?);
    if flags & CONTENT != 0 {
        story.content = Some(body.digest()?);
    }
    // An entry takes a byte at least: no more memory than the body is long times an entry.
    let count = body.small::<usize>().filter(|count| *count <= body.rest().len())?;
    story.entries.reserve(count);
    let mut before = None;
    for _ in 0..count {
        let what = body.byte().filter(|what| what & !ENTRY_FLAGS == 0)?;
        let state = State::from_code(what & STATE)?;
        if what & ACT != 0 {
            before = Some(match before {
                None => body.position(own)?,
                Some(before) => body.beside(before)?,
            });
        }
        let act = before.filter(|_| what & ACT != 0);
        let note = if what & NOTE == 0 { "" } else { body.text()? };
        story.entries.push(StoryEntry {
            state,
            act,
            published: what & PUBLISHED != 0,
            note: note.to_owned(),
        });
    }
    Some(story)
}

fn join<const N: usize>(flags: [(bool, u8); N]) -> u8 {
    flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag)
}
