//! The body of an `Act` frame, of which there are more than of all others: about 100 bytes, 64 of them two digests.
//!
//! `key 8 | flags 1 | run | recipe | [loads] | document | [mark] | [count] inputs | outcome | start | duration |
//! worker | [attempt] | [log: from, length] | [extras]`. What has its usual value is left out and a flag says so.

use crate::model::action::{Act, KeyInput, LogRange, Outcome, Output, PayloadPlace, Place, Position};
use crate::model::document::DocNumber;
use crate::model::failure::{Failure, FailureKind};
use crate::store::bytes::{self, Reader};
use crate::time::Millis;

/// The low two bits of the flags.
const OUTCOME: u8 = 3;
const OUTPUT: u8 = 0;
const SKIP: u8 = 1;
const FAILED: u8 = 2;
const LOADS: u8 = 1 << 2;
const LOG: u8 = 1 << 3;
const EXTRAS: u8 = 1 << 4;
const MARK: u8 = 1 << 5;
const AGAIN: u8 = 1 << 6;
const NOT_ONE_INPUT: u8 = 1 << 7;

/// The low two bits of an output's flags.
const PLACE: u8 = 3;
const IN_PAYLOAD: u8 = 0;
const IN_BLOB: u8 = 1;
const IS_INPUT: u8 = 2;
const META: u8 = 1 << 2;

const FAILURE_PLACE: u8 = 1;
const TRACEBACK: u8 = 1 << 1;
const RETRY: u8 = 1 << 2;

/// The code of facts, and of an extension, is one byte; bit 7 of that of facts says that there is no digest.
const EMPTY: u8 = 0;
const TEXT: u8 = 1;
const EXT: u8 = 2;
const KNOWN: u8 = 16;
const NO_DIGEST: u8 = 1 << 7;

/// Extensions that take no more than their code. New ones go to the end: the place in the list is on disk.
const EXTENSIONS: [&str; 48] = [
    "txt", "md", "html", "json", "pdf", "csv", "xml", "png", "jpg", "jpeg", "tif", "tiff", "htm", "docx",
    "xlsx", "pptx", "eml", "msg", "rtf", "tsv", "jsonl", "parquet", "yaml", "toml", "svg", "gif", "webp",
    "mp3", "wav", "mp4", "zip", "gz", "epub", "odt", "doc", "xls", "ppt", "tex", "py", "js", "css", "log",
    "bin", "npy", "arrow", "ndjson", "rst", "sql",
];

pub(super) fn encode(act: &Act, own: Position, payload: Option<PayloadPlace>, out: &mut Vec<u8>) {
    let outcome = match act.outcome {
        Outcome::Output(_) => OUTPUT,
        Outcome::Skip(_) => SKIP,
        Outcome::Failed(_) => FAILED,
    };
    let flags = [
        (act.loads.is_some(), LOADS),
        (act.log.is_some(), LOG),
        (!act.extras.is_empty(), EXTRAS),
        (act.mark != 0, MARK),
        (act.attempt != 1, AGAIN),
        (act.inputs.len() != 1, NOT_ONE_INPUT),
    ];
    out.extend_from_slice(&act.key.to_le_bytes());
    out.push(flags.into_iter().filter(|(set, _)| *set).fold(outcome, |all, (_, flag)| all | flag));
    bytes::put_number(out, act.run.into());
    bytes::put_position(out, act.recipe, own);
    if let Some(loads) = act.loads {
        bytes::put_beside(out, loads, act.recipe);
    }
    bytes::put_number(out, act.doc.0.into());
    if act.mark != 0 {
        bytes::put_number(out, act.mark);
    }
    if act.inputs.len() != 1 {
        bytes::put_number(out, act.inputs.len() as u64);
    }
    act.inputs.iter().for_each(|input| encode_input(input, out));
    match &act.outcome {
        Outcome::Output(output) => encode_output(output, own, payload, out),
        Outcome::Skip(reason) => bytes::put_text(out, reason),
        Outcome::Failed(failure) => encode_failure(failure, out),
    }
    bytes::put_number(out, act.start.0);
    bytes::put_number(out, act.duration);
    bytes::put_number(out, act.worker.into());
    if act.attempt != 1 {
        bytes::put_number(out, act.attempt.into());
    }
    if let Some(log) = act.log {
        bytes::put_number(out, log.from);
        bytes::put_number(out, log.length);
    }
    if !act.extras.is_empty() {
        bytes::put_text(out, &act.extras);
    }
}

pub(super) fn decode(body: &mut Reader<'_>, own: Position) -> Option<Act> {
    let key = body.fixed64()?;
    let flags = body.byte()?;
    let run = body.small()?;
    let recipe = body.position(own)?;
    let loads = if flags & LOADS == 0 { None } else { Some(body.beside(recipe)?) };
    let doc = DocNumber(body.small()?);
    let mark = if flags & MARK == 0 { 0 } else { body.number()? };
    let count = if flags & NOT_ONE_INPUT == 0 { 1 } else { body.small::<usize>()? };
    // An input takes a byte at least: a count beyond that is none, and takes no memory.
    if count > body.rest().len() {
        return None;
    }
    let inputs = (0..count).map(|_| decode_input(body)).collect::<Option<_>>()?;
    let outcome = match flags & OUTCOME {
        OUTPUT => Outcome::Output(decode_output(body, own)?),
        SKIP => Outcome::Skip(body.text()?.to_owned()),
        FAILED => Outcome::Failed(decode_failure(body)?),
        _ => return None,
    };
    let start = Millis(body.number()?);
    let duration = body.number()?;
    let worker = body.small()?;
    let attempt = if flags & AGAIN == 0 { 1 } else { body.small()? };
    let log = match flags & LOG {
        0 => None,
        _ => Some(LogRange { from: body.number()?, length: body.number()? }),
    };
    let extras = if flags & EXTRAS == 0 { "" } else { body.text()? };
    let extras = extras.to_owned();
    Some(Act {
        key,
        run,
        recipe,
        loads,
        doc,
        mark,
        inputs,
        outcome,
        start,
        duration,
        worker,
        attempt,
        log,
        extras,
    })
}

/// The key, and the newest mark, without the rest.
pub(super) fn key_and_mark(body: &mut Reader<'_>, own: Position) -> Option<(u64, u64)> {
    let key = body.fixed64()?;
    let flags = body.byte()?;
    if flags & MARK == 0 {
        return Some((key, 0));
    }
    let _run = body.small::<u32>()?;
    let recipe = body.position(own)?;
    if flags & LOADS != 0 {
        body.beside(recipe)?;
    }
    let _doc = body.small::<u32>()?;
    Some((key, body.number()?))
}

fn encode_input(input: &KeyInput, out: &mut Vec<u8>) {
    let no_digest = if input.digest.is_none() { NO_DIGEST } else { 0 };
    match (input.facts.as_str(), plain_extension(&input.facts)) {
        ("{}", _) => out.push(EMPTY | no_digest),
        (_, Some(ext)) => {
            out.push(known(ext).unwrap_or(EXT) | no_digest);
            if known(ext).is_none() {
                bytes::put_text(out, ext);
            }
        }
        (facts, None) => {
            out.push(TEXT | no_digest);
            bytes::put_text(out, facts);
        }
    }
    if let Some(digest) = input.digest {
        out.extend_from_slice(&digest.0);
    }
}

fn decode_input(body: &mut Reader<'_>) -> Option<KeyInput> {
    let code = body.byte()?;
    let facts = match code & !NO_DIGEST {
        EMPTY => "{}".to_owned(),
        TEXT => body.text()?.to_owned(),
        EXT => format!("{{\"ext\":\"{}\"}}", body.text()?),
        code => format!("{{\"ext\":\"{}\"}}", extension(code)?),
    };
    let digest = if code & NO_DIGEST == 0 { Some(body.digest()?) } else { None };
    Some(KeyInput { digest, facts })
}

fn encode_output(output: &Output, own: Position, payload: Option<PayloadPlace>, out: &mut Vec<u8>) {
    let place = payload.map_or(output.place, Place::Payload);
    let flag = match place {
        Place::Payload(_) => IN_PAYLOAD,
        Place::Blob => IN_BLOB,
        Place::Input => IS_INPUT,
    };
    out.push(flag | if output.meta.is_empty() { 0 } else { META });
    out.extend_from_slice(&output.digest.0);
    bytes::put_number(out, output.length);
    match known(&output.ext) {
        _ if output.ext.is_empty() => out.push(EMPTY),
        Some(code) => out.push(code),
        None => {
            out.push(TEXT);
            bytes::put_text(out, &output.ext);
        }
    }
    if let Place::Payload(PayloadPlace { group, offset }) = place {
        bytes::put_position(out, group, own);
        bytes::put_number(out, offset.into());
    }
    if !output.meta.is_empty() {
        bytes::put_text(out, &output.meta);
    }
}

fn decode_output(body: &mut Reader<'_>, own: Position) -> Option<Output> {
    let flags = body.byte().filter(|flags| flags & !(PLACE | META) == 0)?;
    let digest = body.digest()?;
    let length = body.number()?;
    let ext = match body.byte()? {
        EMPTY => "",
        TEXT => body.text()?,
        code => extension(code)?,
    };
    let place = match flags & PLACE {
        IN_PAYLOAD => Place::Payload(PayloadPlace { group: body.position(own)?, offset: body.small()? }),
        IN_BLOB => Place::Blob,
        IS_INPUT => Place::Input,
        _ => return None,
    };
    let meta = if flags & META == 0 { "" } else { body.text()? };
    Some(Output { digest, length, ext: ext.to_owned(), place, meta: meta.to_owned() })
}

fn encode_failure(failure: &Failure, out: &mut Vec<u8>) {
    let flags = [
        (failure.place.is_some(), FAILURE_PLACE),
        (failure.traceback.is_some(), TRACEBACK),
        (failure.retry, RETRY),
    ];
    out.push(failure.kind as u8);
    out.push(flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag));
    bytes::put_text(out, &failure.error);
    bytes::put_text(out, &failure.message);
    failure.place.iter().chain(&failure.traceback).for_each(|text| bytes::put_text(out, text));
}

fn decode_failure(body: &mut Reader<'_>) -> Option<Failure> {
    let kind = FailureKind::from_code(body.byte()?)?;
    let flags = body.byte().filter(|flags| flags & !(FAILURE_PLACE | TRACEBACK | RETRY) == 0)?;
    let mut failure = Failure::new(kind, body.text()?, body.text()?);
    if flags & FAILURE_PLACE != 0 {
        failure.place = Some(body.text()?.to_owned());
    }
    if flags & TRACEBACK != 0 {
        failure.traceback = Some(body.text()?.to_owned());
    }
    failure.retry = flags & RETRY != 0;
    Some(failure)
}

/// `X` of `{"ext":"X"}`, if nothing in it is escaped.
fn plain_extension(facts: &str) -> Option<&str> {
    let ext = facts.strip_prefix("{\"ext\":\"")?.strip_suffix("\"}")?;
    ext.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(ext)
}

fn known(ext: &str) -> Option<u8> {
    EXTENSIONS.iter().position(|known| *known == ext).map(|i| KNOWN + i as u8)
}

fn extension(code: u8) -> Option<&'static str> {
    EXTENSIONS.get(usize::from(code.checked_sub(KNOWN)?)).copied()
}
