//! Base64 as in JSON messages: the standard alphabet with padding.

use std::fmt::Write as _;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the bytes as text.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let [a, b, c] = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            out.push(if i > group.len() { b'=' } else { ALPHABET[(bits >> shift & 63) as usize] });
        }
    }
}

/// The bytes of a text, or what is wrong with it.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    const BAD: u8 = 0xff;
    const VALUES: [u8; 256] = {
        let mut values = [BAD; 256];
        let mut i = 0;
        while i < 64 {
            values[ALPHABET[i] as usize] = i as u8;
            i += 1;
        }
        values
    };
    let stripped = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - stripped.len() > 2 {
        return Err(format!("base64 of {} characters", text.len()));
    }
    let mut out = Vec::with_capacity(stripped.len() / 4 * 3 + 2);
    for group in stripped.chunks(4) {
        let mut bits = 0u32;
        for (i, byte) in group.iter().enumerate() {
            let value = VALUES[*byte as usize];
            if value == BAD {
                let mut message = String::from("not base64: ");
                // Writing to a String cannot fail.
                let _ = write!(message, "byte 0x{byte:02x}");
                return Err(message);
            }
            bits |= u32::from(value) << (18 - 6 * i);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, text) in pairs {
            assert_eq!(encoded(plain.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Zg=", "Z", "Zg==Zg==", "Zm9*", "====", "Zm 9"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_go_there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encoded(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_refused_or_read(text in ".{0,20}") {
            drop(decode(&text));
        }
    }
}
