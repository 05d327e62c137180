//! A build on a terminal: lines that scroll as always, and below them a block that is drawn again in place.
//!
//! Never the alternate screen. The engine's thread only takes notes; a thread of its own draws ten times a second,
//! so a terminal that is held (Ctrl-S) or slow does not hold the build. Nothing is written in the first 250 ms: what is
//! over by then needs no display.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::model::event::{Event, Sink};
use crate::report::Out;
use crate::report::progress::State;
use crate::report::style::INDENT;
use crate::report::talk::Talk;

/// Nothing is written before.
const SILENT: Duration = Duration::from_millis(250);
/// Between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Where nobody says how wide the terminal is.
const WIDTH: usize = 80;

/// The sink.
pub(super) struct Bar {
    notes: Arc<Notes>,
    began: Instant,
    drawing: Option<JoinHandle<()>>,
    screen: Screen,
}

/// What the two threads share.
struct Notes {
    notes: Mutex<Note>,
    over: Condvar,
}

struct Note {
    talk: Talk,
    state: State,
    /// Lines that are not on the screen yet.
    lines: Vec<String>,
    over: bool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Note> {
        // Notes are whole after every step: a panic elsewhere does not spoil them.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bar {
    pub(super) fn start(talk: Talk, width: Option<usize>, out: Box<dyn Write + Send>) -> Self {
        Self::start_after(SILENT, talk, width, out)
    }

    /// Writes nothing for so long.
    fn start_after(silent: Duration, talk: Talk, width: Option<usize>, out: Box<dyn Write + Send>) -> Self {
        let width = width.filter(|width| *width > 0).unwrap_or(WIDTH);
        let screen = Screen::new(width, out);
        let note = Note { talk, state: State::of_block(), lines: Vec::new(), over: false };
        let notes = Arc::new(Notes { notes: Mutex::new(note), over: Condvar::new() });
        let began = Instant::now();
        let (shared, paper) = (Arc::clone(&notes), screen.clone());
        let thread = std::thread::Builder::new().name("display".to_owned());
        // Without a thread there is no block; lines are printed at the end all the same.
        let drawing = thread.spawn(move || draw(&shared, &paper, began, silent)).ok();
        Bar { notes, began, drawing, screen }
    }

    /// Ends the block and prints what is left.
    fn close(&mut self) {
        self.notes.lock().over = true;
        self.notes.over.notify_all();
        if let Some(drawing) = self.drawing.take() {
            // A drawing that panicked has printed its message; the lines below are printed in any case.
            drop(drawing.join());
        }
        let lines = std::mem::take(&mut self.notes.lock().lines);
        self.screen.print(&lines);
    }
}

/// Draws until it is over, then takes the block away.
fn draw(notes: &Notes, screen: &Screen, began: Instant, silent: Duration) {
    let block = Block::new(screen.clone());
    let mut guard = notes.lock();
    let mut wait = silent;
    while !guard.over {
        let (next, timeout) = notes.over.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner);
        guard = next;
        if !timeout.timed_out() {
            continue;
        }
        wait = REDRAW;
        let lines = std::mem::take(&mut guard.lines);
        let drawn = guard.state.block(began.elapsed(), screen.width, guard.talk.style);
        drop(guard);
        block.draw(&lines, &drawn);
        guard = notes.lock();
    }
    drop(guard);
    block.clear();
}

impl Sink for Bar {
    fn event(&mut self, event: &Event) {
        let mut note = self.notes.lock();
        note.state.hear(event, self.began.elapsed());
        let lines = note.talk.hear(event);
        note.lines.extend(lines);
        if matches!(event, Event::InHand { .. }) {
            let counts = note.state.plain_line(self.began.elapsed());
            note.lines.push(format!("{INDENT}{counts}"));
        }
        drop(note);
        if matches!(event, Event::Finished(_)) {
            self.close();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let mut note = self.notes.lock();
        let rest = note.talk.rest();
        note.lines.extend(rest);
        drop(note);
        self.close();
    }
}

/// The lines that are drawn in place.
struct Block(ProgressBar);

impl Block {
    fn new(screen: Screen) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(screen)));
        // A template of one field is always well formed; else the bar's own look would do.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Block(bar)
    }

    /// Prints lines above, and the block anew below them.
    fn draw(&self, above: &[String], block: &[String]) {
        if !above.is_empty() {
            self.0.println(above.join("\n"));
        }
        self.0.set_message(block.join("\n"));
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// A terminal to draw on, by escapes that every terminal knows; a drawing goes out in one piece.
///
/// Indicatif ends each line by blanks up to the margin. They would stay in the scrollback, be copied, and wrap when the
/// window is made narrower, so here a line ends at its last character.
#[derive(Clone)]
struct Screen {
    width: usize,
    paper: Arc<Mutex<Paper>>,
}

struct Paper {
    out: Out,
    buffer: String,
    /// A line was written, and the cursor still stands at its end.
    in_line: bool,
}

impl Screen {
    fn new(width: usize, out: Box<dyn Write + Send>) -> Self {
        let paper = Paper { out: Out::new(out), buffer: String::new(), in_line: false };
        Screen { width, paper: Arc::new(Mutex::new(paper)) }
    }

    fn paper(&self) -> MutexGuard<'_, Paper> {
        self.paper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints lines where the block was.
    fn print(&self, lines: &[String]) {
        let mut paper = self.paper();
        for line in lines {
            paper.buffer.push_str(line);
            paper.buffer.push('\n');
        }
        paper.flush();
    }
}

impl Paper {
    fn flush(&mut self) {
        self.out.write(self.buffer.as_bytes());
        self.buffer.clear();
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("width", &self.width).finish_non_exhaustive()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(self.width).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write_str(s)?;
        let mut paper = self.paper();
        paper.buffer.push_str("\r\n");
        paper.in_line = false;
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        let mut paper = self.paper();
        if s.bytes().all(|byte| byte == b' ') {
            return Ok(());
        }
        if paper.in_line {
            paper.buffer.push_str("\r\n");
        }
        paper.buffer.push_str(s);
        paper.in_line = true;
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut paper = self.paper();
        paper.buffer.push_str("\r\x1b[2K");
        paper.in_line = false;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.paper().flush();
        Ok(())
    }
}

impl Screen {
    fn step(&self, n: usize, direction: char) {
        let mut paper = self.paper();
        if n > 0 {
            paper.buffer.push_str("\x1b[");
            paper.buffer.push_str(&n.to_string());
            paper.buffer.push(direction);
            paper.in_line = false;
        }
    }
}

#[cfg(test)]
mod tests;
