//! Keys of pages: `family 0 directory 0 0 lowest name`, the directory's `/` as 0.
//!
//! `memcmp` then gives directories in walk order, each with its pages in one piece. The lowest name is empty for the
//! first page of a directory. Ids hold no control characters, so 0 and 1 do not occur in them; names that break this
//! (a group's value may be any text) are escaped with 1, so that every family and directory has a key of its own:
//! `1 2` is 0, `1 3` is 1, `1 4` is a `/` within a family, and a 1 alone is an empty part of a path.
//! Knows nothing of what pages hold.

/// The key of a family's root; all keys of the family begin with it and a 0.
pub(super) fn root(family: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    push_part(&mut key, family);
    key
}

/// The key of a part below a directory's key.
pub(super) fn below(path: &[u8], part: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len() + part.len() + 3);
    key.extend_from_slice(path);
    key.push(0);
    push_part(&mut key, part);
    key
}

/// The key of a directory, without what separates it from names.
pub(super) fn directory(family: &str, dir: &str) -> Vec<u8> {
    let mut key = root(family);
    if !dir.is_empty() {
        for part in dir.split('/') {
            key.push(0);
            push_part(&mut key, part);
        }
    }
    key
}

/// What the keys of a directory's pages begin with: the key of its first page.
pub(super) fn first_page(mut directory: Vec<u8>) -> Vec<u8> {
    directory.extend_from_slice(&[0, 0]);
    directory
}

/// The key of the page that begins with `name`.
pub(super) fn page(first: &[u8], name: &str) -> Vec<u8> {
    [first, name.as_bytes()].concat()
}

/// The key of a directory within a page's key.
pub(super) fn directory_of(page: &[u8]) -> &[u8] {
    page.windows(2).position(|two| two == [0, 0]).map_or(page, |end| &page[..end])
}

/// The directory's text: what [`directory`] was given.
pub(super) fn directory_text(directory: &[u8]) -> String {
    let parts: Vec<String> = directory.split(|byte| *byte == 0).skip(1).map(part_text).collect();
    parts.join("/")
}

/// The part that follows `path` in a key below it.
pub(super) fn part_below(path: &[u8], key: &[u8]) -> Option<String> {
    let rest = key.strip_prefix(path)?.strip_prefix(&[0])?;
    let part = rest.split(|byte| *byte == 0).next().filter(|part| !part.is_empty())?;
    Some(part_text(part))
}

/// The least key above all that begin with `key` and a 0.
pub(super) fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(1);
    key
}

fn push_part(key: &mut Vec<u8>, part: &str) {
    if part.is_empty() {
        key.push(1);
    }
    for byte in part.bytes() {
        match byte {
            0 => key.extend([1, 2]),
            1 => key.extend([1, 3]),
            b'/' => key.extend([1, 4]),
            _ => key.push(byte),
        }
    }
}

fn part_text(part: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.iter();
    while let Some(byte) = rest.next() {
        match byte {
            1 => {
                let code = rest.next().map_or(0, |code| usize::from(*code));
                bytes.extend([0, 1, b'/'].get(code.wrapping_sub(2)));
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directories_sort_as_they_are_walked() {
        let dirs = ["", "a", "a/b", "a/b/c", "a/c", "a b", "a-b", "a0"];
        let keys: Vec<Vec<u8>> = dirs.iter().map(|dir| first_page(directory("in", dir))).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys[2], b"in\0a\0b\0\0");
    }

    proptest! {
        #[test]
        fn every_directory_has_a_key_that_gives_it_back(dir in "[\u{0}\u{1}\u{2}/a-]{0,6}", name in "[\u{0}\u{1}a/]{0,3}") {
            let path = directory("in", &dir);
            let key = page(&first_page(path.clone()), &name);
            prop_assert_eq!(directory_of(&key), &path[..]);
            prop_assert_eq!(directory_text(&path), dir);
        }

        #[test]
        fn different_places_have_different_keys(
            a in "[\u{0}\u{1}/a]{0,3}", b in "[\u{0}\u{1}/a]{0,3}", c in "[\u{0}\u{1}/a]{0,3}", d in "[\u{0}\u{1}/a]{0,3}",
        ) {
            prop_assert_eq!((&a, &b) == (&c, &d), directory(&a, &b) == directory(&c, &d));
        }
    }
}
