//! The command `pipe`: arguments in, exit code out. Knows nothing else.

use std::process::ExitCode;

use pipelinefile::cli::{self, AfterPanic, exit::Exit};
use pipelinefile::module::host;
use pipelinefile::remote;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == host::ARGUMENT) {
        return host::serve();
    }
    if std::env::args_os().nth(1).is_some_and(|argument| argument == remote::ARGUMENT) {
        let words = std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned());
        return remote::serve_worker(words);
    }
    std::panic::set_hook(Box::new(|panic| match cli::report_panic(panic) {
        AfterPanic::GoOn => {}
        AfterPanic::End => end(Exit::BUG),
        AfterPanic::Abort => std::process::abort(),
    }));
    end(cli::run(std::env::args_os()))
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the one place where the process ends")]
fn end(exit: Exit) -> ! {
    std::process::exit(i32::from(exit.0))
}
