//! The command `pipe`: parse, run, print the error, exit code. Knows nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == pipelinefile::module::host::ARGUMENT) {
        return pipelinefile::module::host::serve();
    }
    ExitCode::SUCCESS
}
