//! What is said between `pipe` and its host: small messages, fields separated by NUL (none can hold one).
//! Both ends are always the same program, so there is no version.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys::{self, Exit};

/// The longest order; a socket takes no more in one piece on an ordinary Linux.
pub(super) const ORDER_SIZE: usize = 160 * 1024;
/// The longest answer.
pub(super) const ANSWER_SIZE: usize = 256;

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::module) struct Start<'a> {
    /// The file.
    pub(in crate::module) program: &'a Path,
    /// All words, the first is what the program takes for its name.
    pub(in crate::module) words: &'a [OsString],
    /// The folder it stands in.
    pub(in crate::module) folder: &'a Path,
    /// `NAME=VALUE`, on top of the environment of `pipe`; a bare `NAME` is taken out of it.
    pub(in crate::module) environment: &'a [OsString],
    /// Bytes of memory that it may hold, with all that it starts; 0: there is no limit.
    pub(in crate::module) memory: u64,
    /// The command that ends what a kill of the program leaves behind; empty: nothing does.
    pub(in crate::module) farewell: &'a [OsString],
}

/// What `pipe` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::module) enum Order<'a> {
    /// Start this.
    Start(Start<'a>),
    /// SIGUSR1 to the program.
    Dump,
    /// SIGTERM to its group.
    Terminate,
    /// SIGKILL to its group and all below it.
    Kill,
}

impl Order<'_> {
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let start = match self {
            Order::Start(start) => start,
            Order::Dump => return Ok(b"d".to_vec()),
            Order::Terminate => return Ok(b"t".to_vec()),
            Order::Kill => return Ok(b"k".to_vec()),
        };
        let count = start.words.len().to_string();
        let memory = start.memory.to_string();
        let last = start.farewell.len().to_string();
        let numbers = [&memory, &count, &last].map(OsStr::new);
        let fields = [start.program.as_os_str(), start.folder.as_os_str()].into_iter().chain(numbers);
        let lists = start.words.iter().chain(start.farewell).chain(start.environment);
        let mut message = b"s".to_vec();
        for field in fields.chain(lists.map(OsString::as_os_str)) {
            if field.as_bytes().contains(&0) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a word of the command holds a NUL byte",
                ));
            }
            message.extend_from_slice(field.as_bytes());
            message.push(0);
        }
        if message.len() > ORDER_SIZE {
            return Err(io::Error::new(io::ErrorKind::ArgumentListTooLong, "the command is too long"));
        }
        Ok(message)
    }
}

/// An order as the host reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Start {
        program: OsString,
        folder: OsString,
        memory: u64,
        words: Vec<OsString>,
        farewell: Vec<OsString>,
        environment: Vec<OsString>,
    },
    Dump,
    Terminate,
    Kill,
}

impl Heard {
    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        match kind {
            b's' => {}
            b'd' => return Some(Heard::Dump),
            b't' => return Some(Heard::Terminate),
            b'k' => return Some(Heard::Kill),
            _ => return None,
        }
        let mut fields =
            rest.strip_suffix(b"\0")?.split(|byte| *byte == 0).map(|f| OsStr::from_bytes(f).to_owned());
        let program = fields.next()?;
        let folder = fields.next()?;
        let memory = fields.next()?.to_str()?.parse().ok()?;
        let count: usize = fields.next()?.to_str()?.parse().ok()?;
        let last: usize = fields.next()?.to_str()?.parse().ok()?;
        let words: Vec<OsString> = fields.by_ref().take(count).collect();
        let farewell: Vec<OsString> = fields.by_ref().take(last).collect();
        (words.len() == count && farewell.len() == last).then(|| Heard::Start {
            program,
            folder,
            memory,
            words,
            farewell,
            environment: fields.collect(),
        })
    }
}

/// What the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::module) enum Told {
    /// The program runs, as this process.
    Started(u32),
    /// It could not be started: the error's number.
    Refused(i32),
    /// It has ended, and its group with it.
    Ended(Exit),
}

impl Told {
    pub(super) fn encode(self) -> Vec<u8> {
        let or_none = |number: Option<i32>| number.unwrap_or(-1);
        match self {
            Told::Started(pid) => format!("s {pid}"),
            Told::Refused(code) => format!("r {code}"),
            Told::Ended(exit) => {
                let over = exit.over.unwrap_or(0);
                let (code, signal) = (or_none(exit.code), or_none(exit.signal));
                let alone = u8::from(exit.alone);
                format!("e {code} {signal} {} {} {over} {alone}", exit.cpu_us, exit.peak_kib)
            }
        }
        .into_bytes()
    }

    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(message).ok()?.split(' ');
        let kind = fields.next()?;
        let mut number = || fields.next()?.parse::<i64>().ok();
        match kind {
            "s" => Some(Told::Started(u32::try_from(number()?).ok()?)),
            "r" => Some(Told::Refused(i32::try_from(number()?).ok()?)),
            "e" => {
                let mut small = || number().map(|n| i32::try_from(n).ok().filter(|n| *n >= 0));
                let (code, signal) = (small()?, small()?);
                let mut large = || number().and_then(|n| u64::try_from(n).ok());
                let (cpu_us, peak_kib, over, alone) = (large()?, large()?, large()?, large()?);
                let over = Some(over).filter(|over| *over > 0);
                Some(Told::Ended(sys::Exit { code, signal, cpu_us, peak_kib, over, alone: alone == 1 }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_order_arrives_as_it_was_said() {
        let words = ["sort", "", "a b\n"].map(OsString::from);
        let environment = [OsString::from("A=ö=1")];
        let start = Start {
            program: Path::new("/usr/bin/sort"),
            words: &words,
            folder: Path::new("/tmp"),
            environment: &environment,
            memory: 7,
            farewell: &words[..1],
        };
        let message = Order::Start(start).encode().unwrap();
        let heard = Heard::Start {
            program: "/usr/bin/sort".into(),
            folder: "/tmp".into(),
            memory: 7,
            words: words.to_vec(),
            farewell: words[..1].to_vec(),
            environment: environment.to_vec(),
        };
        assert_eq!(Heard::decode(&message), Some(heard));
    }

    #[test]
    fn a_nul_byte_and_an_endless_word_are_refused() {
        let start = |words: &[OsString]| {
            let start = Start {
                program: Path::new("/x"),
                words,
                folder: Path::new("/"),
                environment: &[],
                memory: 0,
                farewell: &[],
            };
            Order::Start(start).encode().map(|_| ())
        };
        assert_eq!(start(&["a\0b".into()]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            start(&["x".repeat(200_000).into()]).unwrap_err().kind(),
            io::ErrorKind::ArgumentListTooLong
        );
    }

    #[test]
    fn every_answer_arrives_as_it_was_said() {
        let exit =
            Exit { code: None, signal: Some(11), cpu_us: 1_234, peak_kib: 99, over: None, alone: false };
        let over = Exit { over: Some(5), alone: true, ..exit };
        for told in [Told::Started(7), Told::Refused(2), Told::Ended(exit), Told::Ended(over)] {
            assert_eq!(Told::decode(&told.encode()), Some(told));
        }
        assert_eq!(Told::decode(b""), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_either_end_panic(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(Heard::decode(&message));
            let _ = Told::decode(&message);
        }
    }
}
