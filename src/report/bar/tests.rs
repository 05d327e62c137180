//! The block on a small terminal that understands the escapes that are used, and no others.

use super::*;
use crate::model::event::{Scanned, Summary};
use crate::report::style::Style;

/// Rows of a terminal, and where its cursor is.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    lines: Vec<String>,
    row: usize,
    column: usize,
    written: String,
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().read(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Rows {
    fn read(&mut self, text: &str) {
        self.written.push_str(text);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            while self.lines.len() <= self.row {
                self.lines.push(String::new());
            }
            match c {
                '\r' => self.column = 0,
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\x1b' => {
                    let mut number = String::new();
                    let letter = chars.by_ref().skip(1).find(|c| {
                        number.extend(c.is_ascii_digit().then_some(*c));
                        c.is_ascii_alphabetic()
                    });
                    match letter {
                        Some('K') => self.lines[self.row].clear(),
                        Some('A') => self.row -= number.parse::<usize>().unwrap(),
                        Some('B') => self.row += number.parse::<usize>().unwrap(),
                        other => panic!("an escape that is not expected: {other:?}"),
                    }
                }
                c => {
                    let row = &mut self.lines[self.row];
                    assert_eq!(row.chars().count(), self.column, "writes only at the end of a row");
                    row.push(c);
                    self.column += 1;
                }
            }
        }
    }
}

impl Terminal {
    fn rows(&self) -> Vec<String> {
        let mut rows = self.0.lock().unwrap().lines.clone();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn written(&self) -> String {
        self.0.lock().unwrap().written.clone()
    }
}

fn texts(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn bar(terminal: &Terminal) -> Bar {
    let talk = Talk::new(Style { colour: false }, Some(80), false, 0);
    Bar::start_after(Duration::from_secs(3600), talk, Some(80), Box::new(terminal.clone()))
}

#[test]
fn the_block_is_drawn_in_place_below_the_lines() {
    let terminal = Terminal::default();
    let screen = Screen::new(20, Box::new(terminal.clone()));
    let block = Block::new(screen.clone());
    block.draw(&[], &texts(&["ocr 1/9", "1 s"]));
    assert_eq!(terminal.rows(), ["ocr 1/9", "1 s"]);
    block.draw(&texts(&["Failed a", "Failed b"]), &texts(&["ocr 3/9", "clean 2/9", "2 s"]));
    assert_eq!(terminal.rows(), ["Failed a", "Failed b", "ocr 3/9", "clean 2/9", "2 s"]);
    block.draw(&[], &texts(&["ocr 4/9", "3 s"]));
    assert_eq!(terminal.rows(), ["Failed a", "Failed b", "ocr 4/9", "3 s"]);
    block.clear();
    screen.print(&texts(&["Summary"]));
    assert_eq!(terminal.rows(), ["Failed a", "Failed b", "Summary"]);
}

#[test]
fn no_blanks_are_left_at_the_end_of_a_line() {
    let terminal = Terminal::default();
    let block = Block::new(Screen::new(40, Box::new(terminal.clone())));
    block.draw(&[], &texts(&["1 s"]));
    block.draw(&texts(&["Failed"]), &texts(&["2 s"]));
    assert!(!terminal.written().contains("  "), "{:?}", terminal.written());
}

#[test]
fn a_drawing_never_uses_the_alternate_screen_or_hides_the_cursor() {
    let terminal = Terminal::default();
    let block = Block::new(Screen::new(40, Box::new(terminal.clone())));
    block.draw(&texts(&["a"]), &texts(&["b"]));
    block.clear();
    assert!(!terminal.written().contains("\x1b[?"));
}

#[test]
fn a_quick_build_is_lines_without_a_single_escape() {
    let terminal = Terminal::default();
    let mut bar = bar(&terminal);
    bar.event(&Event::Scanned(Scanned { source: "docs".into(), documents: 3, ..Scanned::default() }));
    assert_eq!(terminal.written(), "");
    bar.event(&Event::Finished(Summary {
        documents: 3,
        up_to_date: 3,
        milliseconds: 31,
        ..Summary::default()
    }));
    drop(bar);
    assert_eq!(terminal.written(), "Up to date  3 documents (31 ms)\n");
}

#[test]
fn what_was_heard_is_printed_though_the_stream_ends_early() {
    let terminal = Terminal::default();
    let mut bar = bar(&terminal);
    bar.event(&Event::Scanned(Scanned { source: "docs".into(), documents: 3, new: 3, ..Scanned::default() }));
    bar.event(&Event::Plan { targets: Vec::new(), up_to_date: 0 });
    drop(bar);
    assert_eq!(
        terminal.written(),
        "  Scanned   docs  3 documents in 0 ms   3 new\n     Plan   nothing to run\n"
    );
}

#[test]
fn a_terminal_that_is_gone_does_not_stop_the_build() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let screen = Screen::new(20, Box::new(Gone));
    let block = Block::new(screen.clone());
    block.draw(&texts(&["a"]), &texts(&["b"]));
    block.clear();
    screen.print(&texts(&["c"]));
}
