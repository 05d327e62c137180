//! Where a Python worker stands: it writes that into its log when it gets SIGUSR1, and goes on; and when it dies of a
//! fault (SIGSEGV, SIGABRT, …).

use std::path::Path;
use std::time::Instant;

use super::{STACK, Worker};
use crate::model::failure::Failure;
use crate::model::pipeline::Program;
use crate::module::host::Order;
use crate::module::launch::Launch;
use crate::module::log::last_lines;
use crate::module::minder::Minder;
use crate::module::report::Report;

/// So many calls are told.
const CALLS: usize = 12;

impl Worker {
    /// Asks for the stack if somebody wants it, and tells it once it had the time to come.
    pub(super) fn tell_stack(&mut self, minder: &mut Minder) {
        if std::mem::take(&mut minder.tell_stack) {
            if let (Some(channel), true) = (&minder.channel, self.ready && !self.in_hand.is_empty()) {
                self.stack = Some((self.log.length(), Instant::now() + STACK));
                channel.signal(&Order::Dump);
            } else {
                minder.reports.push(Report::Stack { lines: Vec::new() });
            }
        }
        if let Some((mark, _)) = self.stack.take_if(|(_, at)| *at <= Instant::now()) {
            let root = format!("{}/", minder.launch.root.display());
            let lines = calls(&self.log.since(mark), &root);
            minder.reports.push(Report::Stack { lines });
        }
        // What follows is a wait that may be long.
        minder.flush();
    }
}

/// What a process printed last, without the stacks that it wrote when it was ended or died; and of those its main thread.
pub(super) struct Last {
    /// Its own lines, the last few.
    pub(super) own: Vec<String>,
    /// The lines of the stack, as `faulthandler` writes them.
    pub(super) stack: Vec<String>,
    /// The innermost line of the project that it was at: `modules/ocr.py:41`.
    pub(super) place: Option<String>,
}

impl Last {
    /// In the end of a log. `file`: the module's, which may lie elsewhere than in the project.
    pub(super) fn of(text: &str, launch: &Launch) -> Last {
        match &launch.program {
            Program::Python { file, .. } => Last::of_python(text, &launch.root, file),
            _ => Last { own: last_lines(text), stack: Vec::new(), place: None },
        }
    }

    fn of_python(text: &str, root: &Path, file: &Path) -> Last {
        let file = root.join(file).display().to_string();
        let root = format!("{}/", root.display());
        let is_stack = |line: &&str| {
            ["Fatal Python error: ", "Current thread 0x", "Thread 0x"]
                .iter()
                .any(|begin| line.starts_with(begin))
        };
        let length: usize = text.split_inclusive('\n').take_while(|line| !is_stack(line)).map(str::len).sum();
        let (own, stacks) = text.split_at(length);
        // The thread that took the signal, or met the fault.
        let main = stacks.rfind("Current thread 0x").map_or("", |at| &stacks[at..]);
        let frames: Vec<&str> = main.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
        let in_project = |file: &str| {
            let inside = file.strip_prefix(root.as_str())?;
            let is_theirs = |part: &str| part.starts_with('.') || part.ends_with("-packages");
            (!inside.split('/').any(is_theirs)).then(|| inside.to_owned())
        };
        let calls = || frames.iter().filter_map(|line| call(line));
        let innermost = calls().find_map(|(at, line, _)| Some(format!("{}:{line}", in_project(at)?)));
        let in_module = || {
            let (at, line, _) = calls().find(|(at, ..)| *at == file)?;
            Some(format!("{at}:{line}"))
        };
        let stack = main.lines().take(1).chain(frames.iter().copied()).map(str::to_owned).collect();
        Last { own: last_lines(own), stack, place: innermost.or_else(in_module) }
    }
}

impl Last {
    /// Adds to a failure where it was, and the stack.
    pub(super) fn add_to(&self, mut failure: Failure) -> Failure {
        failure.place = failure.place.or_else(|| self.place.clone());
        if !self.stack.is_empty() {
            let own = failure.traceback.map(|own| own.trim_end().to_owned() + "\n").unwrap_or_default();
            failure.traceback = Some(own + &self.stack.join("\n"));
        }
        failure
    }
}

/// File, line and function in a line of a stack.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, name) = rest.split_once(" in ")?;
    Some((file, number, name))
}

/// The calls of the main thread in what `faulthandler` writes, without those of our own package.
fn calls(text: &str, root: &str) -> Vec<String> {
    // `Current thread` is the one that took the signal: the main one, which runs the module.
    let main = text.find("Current thread 0x").map_or("", |at| &text[at..]);
    let frames = main.lines().skip(1).take_while(|line| line.starts_with("  File "));
    let call = |line: &str| {
        let (file, number, name) = call(line)?;
        let file = file.strip_prefix(root).unwrap_or(file);
        let is_own = file.contains("/pipelinefile/__init__.py") || file.starts_with('<');
        (!is_own).then(|| format!("{file}:{number} in {name}"))
    };
    frames.filter_map(call).take(CALLS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_crash_is_the_innermost_line_of_the_project() {
        let of = |text: &str, file: &str| Last::of_python(text, Path::new("/work/p"), Path::new(file));
        let text = "printed\nFatal Python error: Segmentation fault\n\n\
            Thread 0x00007f01 (most recent call first):\n  File \"/work/p/modules/other.py\", line 9 in wait\n\n\
            Current thread 0x00007f02 [python3] (most recent call first):\n\
            \x20 File \"/usr/lib/ctypes/__init__.py\", line 519 in string_at\n\
            \x20 File \"/work/p/.venv/lib/python3/site-packages/fitz.py\", line 3 in open\n\
            \x20 File \"/work/p/modules/ocr.py\", line 41 in page\n\
            \x20 File \"/work/p/modules/ocr.py\", line 50 in ocr\n\
            \x20 File \"/work/p/.pipe/python/1/pipelinefile/__init__.py\", line 7 in serve\n\
            \x20 File \"<string>\", line 1 in <module>\n\nExtension modules: numpy (total: 1)\n";
        let last = of(text, "modules/ocr.py");
        assert_eq!(last.place.as_deref(), Some("modules/ocr.py:41"));
        assert_eq!((last.own.join("|"), last.stack.len()), ("printed".to_owned(), 7));
        // Of an installed module its own file counts.
        let text = text.replace("/work/p/modules/ocr.py", "/work/p/.venv/lib/site-packages/m.py");
        let last = of(&text, ".venv/lib/site-packages/m.py");
        assert_eq!(last.place.as_deref(), Some("/work/p/.venv/lib/site-packages/m.py:41"));
        let last = of("printed\n", "modules/ocr.py");
        assert_eq!((last.place, last.own), (None, vec!["printed".to_owned()]));
    }

    #[test]
    fn the_main_thread_is_told_without_our_own_calls() {
        let text = "printed before\n\
            Thread 0x00007f01 (most recent call first):\n  File \"/usr/lib/threading.py\", line 1 in wait\n\n\
            Current thread 0x00007f02 (most recent call first):\n  File \"/work/p/modules/ocr.py\", line 41 in page\n\
            \x20 File \"/usr/lib/python3/x.py\", line 3 in <lambda>\n\
            \x20 File \"/work/p/.pipe/python/1/pipelinefile/__init__.py\", line 7 in serve\n\
            \x20 File \"<string>\", line 1 in <module>\nprinted after\n";
        assert_eq!(
            calls(text, "/work/p/"),
            ["modules/ocr.py:41 in page", "/usr/lib/python3/x.py:3 in <lambda>"]
        );
        assert!(calls("no stack", "/").is_empty() && calls("Current thread 0x1", "/").is_empty());
    }
}
