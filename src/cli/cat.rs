//! `pipe cat`: the bytes of one result.

use std::io::Read;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::engine::modules::hash_file;
use crate::error::{Error, Result};
use crate::query::cat::Content;
use crate::query::{Answer, Question};
use crate::text;

/// Print a result, byte for byte; of a folder, what is in it
#[derive(clap::Args)]
pub(super) struct Args {
    /// A target or a source
    #[arg(value_name = "TARGET")]
    stream: String,

    /// The document; of an `all` target it can be left out
    #[arg(value_name = "DOC")]
    doc: Option<String>,

    /// What a target over many documents, or behind one, came to in the last `pipe build --sample`
    #[arg(long)]
    sample: bool,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = ask::project(global, out)?;
        let doc = self.doc.clone().unwrap_or_else(|| self.stream.clone());
        let question = Question::Cat { stream: self.stream.clone(), doc, sample: self.sample };
        let (answer, _) = ask::ask_one(&project, &question, out)?;
        match answer {
            Some(Answer::Content(Content::Text { text })) => out.bytes(text.as_bytes())?,
            Some(Answer::Content(Content::Bytes { base64 })) => {
                let bytes = crate::module::base64::decode(&base64).map_err(|e| {
                    Error::unfinished("the bytes came in another form than they should").caused_by(e)
                })?;
                out.bytes(&bytes)?;
            }
            // A folder has no bytes of its own: its files are named.
            Some(Answer::Content(Content::Folder { files })) => {
                for file in files {
                    let (size, exec) = (text::size(file.length), if file.exec { "*" } else { "" });
                    out.bytes(format!("{size:>10}  {}{exec}\n", text::printable(&file.shown())).as_bytes())?;
                }
            }
            Some(Answer::Content(Content::File { path, digest })) => {
                // Proved before the first byte is shown: what is damaged is never served.
                if digest.is_some_and(|digest| hash_file(&path).ok() != Some(digest)) {
                    let message = format!("`{}` is not what the result was made of any more", path.display());
                    return Err(Error::unfinished(message).hint("pipe build"));
                }
                let failed = |e: &std::io::Error| Error::io("read", &path, e);
                let mut file = std::fs::File::open(&path).map_err(|e| failed(&e))?;
                let mut buffer = vec![0; 128 * 1024];
                while !out.is_closed() {
                    match file.read(&mut buffer).map_err(|e| failed(&e))? {
                        0 => break,
                        n => out.bytes(&buffer[..n])?,
                    }
                }
            }
            _ => {}
        }
        Ok(Exit::FINE)
    }
}
