//! Where a Python worker stands: it writes that into its log when it gets SIGUSR1, and goes on.

use std::time::Instant;

use super::{STACK, Worker};
use crate::module::host::Order;
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

/// The calls of the main thread in what `faulthandler` writes, without those of our own package.
fn calls(text: &str, root: &str) -> Vec<String> {
    // `Current thread` is the one that took the signal: the main one, which runs the module.
    let main = text.find("Current thread 0x").map_or("", |at| &text[at..]);
    let frames = main.lines().skip(1).take_while(|line| line.starts_with("  File "));
    let call = |line: &str| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let file = file.strip_prefix(root).unwrap_or(file);
        let (number, name) = rest.split_once(" in ")?;
        let is_own = file.contains("/pipelinefile/__init__.py") || file.starts_with('<');
        (!is_own).then(|| format!("{file}:{number} in {name}"))
    };
    frames.filter_map(call).take(CALLS).collect()
}

#[cfg(test)]
mod tests {
    use super::calls;

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
