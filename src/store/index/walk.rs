//! Going through a family in the byte order of ids: a merge down the tree of directories, one cursor a level.
//!
//! Keys of pages are in walk order, where `a/…` comes before `a-b`; in the byte order of ids a directory counts as its
//! name with `/`, so `a-b` comes first. Memory is one page a level, whatever the family holds.

use super::database::{Bytes, Database, Space};
use super::page::{Entry, Page};
use super::{Unusable, key};

/// Shows all entries of a family with their directories, in byte order of ids, until `visit` says stop.
pub(super) fn in_id_order(
    database: &dyn Database,
    family: &str,
    visit: &mut dyn FnMut(&str, &Entry) -> bool,
) -> Result<(), Unusable> {
    let mut levels = vec![Level::begin(database, key::root(family), String::new())?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let child_first = match (level.pages.entry(), &level.child) {
            (Some(entry), Some(child)) => child.bytes().chain([b'/']).lt(entry.name.bytes()),
            (None, None) => {
                levels.pop();
                continue;
            }
            (entry, _) => entry.is_none(),
        };
        if child_first {
            let Some(child) = level.child.take() else { continue };
            level.child = level.children.next(database, &level.path)?;
            let path = key::below(&level.path, &child);
            let dir = if depth == 1 { child } else { format!("{}/{child}", level.dir) };
            levels.push(Level::begin(database, path, dir)?);
        } else if let Some(entry) = level.pages.entry() {
            if visit(&level.dir, entry) {
                return Ok(());
            }
            level.pages.advance(database)?;
        }
    }
}

/// Shows the entries of one directory in order of name, until `visit` says stop.
pub(super) fn directory(
    database: &dyn Database,
    first: Vec<u8>,
    visit: &mut dyn FnMut(&Entry) -> bool,
) -> Result<(), Unusable> {
    let mut pages = Pages::begin(database, first)?;
    while let Some(entry) = pages.entry() {
        if visit(entry) {
            break;
        }
        pages.advance(database)?;
    }
    Ok(())
}

/// A directory that is being gone through.
struct Level {
    path: Vec<u8>,
    dir: String,
    pages: Pages,
    children: Children,
    /// The next directory below.
    child: Option<String>,
}

impl Level {
    fn begin(database: &dyn Database, path: Vec<u8>, dir: String) -> Result<Self, Unusable> {
        let pages = Pages::begin(database, key::first_page(path.clone()))?;
        let mut children = Children {
            held_back: Vec::new(),
            ahead: None,
            from: Some(key::behind([&path[..], &[0]].concat())),
        };
        let child = children.next(database, &path)?;
        Ok(Level { path, dir, pages, children, child })
    }
}

/// The pages of one directory, an entry at a time.
struct Pages {
    first: Vec<u8>,
    /// The page that is being read, moved to an entry.
    page: Option<(Bytes, Page<Bytes>)>,
}

impl Pages {
    fn begin(database: &dyn Database, first: Vec<u8>) -> Result<Self, Unusable> {
        let mut pages = Pages { page: None, first };
        let found = database.at_or_after(Space::Pages, &pages.first)?;
        pages.enter(database, found)?;
        Ok(pages)
    }

    fn entry(&self) -> Option<&Entry> {
        self.page.as_ref().map(|(_, page)| page.entry())
    }

    fn advance(&mut self, database: &dyn Database) -> Result<(), Unusable> {
        if let Some((key, page)) = &mut self.page
            && !page.advance()?
        {
            let next = database.after(Space::Pages, key)?;
            self.enter(database, next)?;
        }
        Ok(())
    }

    /// Moves to the first entry of a page, or of the next that has one.
    fn enter(&mut self, database: &dyn Database, mut found: Option<(Bytes, Bytes)>) -> Result<(), Unusable> {
        self.page = None;
        while let Some((key, bytes)) = found.filter(|(key, _)| key.starts_with(&self.first)) {
            let mut page = Page::open(&key, bytes)?;
            if page.advance()? {
                self.page = Some((key, page));
                break;
            }
            found = database.after(Space::Pages, &key)?;
        }
        Ok(())
    }
}

/// The directories right below one, in the order of their names with `/`.
///
/// Keys give them in the order of their names: only a name that others continue with a byte below `/` comes too early.
/// It is held back until those are through; what is held back is a chain, each a beginning of the next.
struct Children {
    held_back: Vec<String>,
    /// The next in order of keys.
    ahead: Option<String>,
    /// Where to look on; nothing: there are no more.
    from: Option<Vec<u8>>,
}

impl Children {
    fn next(&mut self, database: &dyn Database, path: &[u8]) -> Result<Option<String>, Unusable> {
        loop {
            if self.ahead.is_none()
                && let Some(from) = self.from.take()
                && let Some((found, _)) = database.at_or_after(Space::Pages, &from)?
                && let Some(part) = key::part_below(path, &found)
            {
                self.from = Some(key::behind(key::below(path, &part)));
                self.ahead = Some(part);
            }
            match (self.held_back.last(), self.ahead.take()) {
                (Some(last), Some(ahead)) if !comes_before(&ahead, last) => {
                    self.ahead = Some(ahead);
                    return Ok(self.held_back.pop());
                }
                (_, Some(ahead)) => self.held_back.push(ahead),
                (_, None) => return Ok(self.held_back.pop()),
            }
        }
    }
}

/// Whether `later`, which has the greater key, is the lesser of the two with a `/` at the end.
fn comes_before(later: &str, name: &str) -> bool {
    later.strip_prefix(name).and_then(|rest| rest.bytes().next()).is_some_and(|byte| byte < b'/')
}
