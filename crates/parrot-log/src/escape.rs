//! Untrusted bytes as text that is safe in a log: printable ASCII on one line.

use std::fmt;

/// Bytes escaped as they come, up to a limit.
///
/// Invariant: `text` holds printable ASCII only, and every `"` or `\` in it is part of an escape.
#[derive(Debug)]
pub(crate) struct Escaped {
    text: Vec<u8>,
    first_plain: u8,
    room: usize,
    seen: u64,
}

impl Escaped {
    /// For text between quotes, where spaces stand as they are.
    pub(crate) const fn quoted() -> Escaped {
        Escaped { text: Vec::new(), first_plain: b' ', room: 0, seen: 0 }
    }

    /// For a word between spaces, where spaces are escaped.
    pub(crate) const fn word() -> Escaped {
        Escaped { text: Vec::new(), first_plain: b'!', room: 0, seen: 0 }
    }

    /// Starts over. Of the bytes pushed from now on, at most `limit` are shown.
    pub(crate) fn restart(&mut self, limit: usize) {
        self.text.clear();
        self.room = limit;
        self.seen = 0;
    }

    /// Adds bytes. Those beyond the limit are only counted.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let (mut rest, _) = bytes.split_at(bytes.len().min(self.room));
        self.room -= rest.len();
        loop {
            let plain = rest.iter().position(|&byte| !self.is_plain(byte)).unwrap_or(rest.len());
            let (run, tail) = rest.split_at(plain);
            self.text.extend_from_slice(run);
            let Some((&byte, tail)) = tail.split_first() else { return };
            self.push_escape(byte);
            rest = tail;
        }
    }

    /// The escaped text, all ASCII.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The number of bytes pushed, shown or not.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The number of bytes shown. `limit` is that of the last [`restart`](Self::restart).
    pub(crate) fn shown(&self, limit: usize) -> u64 {
        (limit - self.room) as u64
    }

    fn is_plain(&self, byte: u8) -> bool {
        (self.first_plain..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
    }

    #[expect(clippy::indexing_slicing, reason = "four bits are an index into sixteen digits")]
    fn push_escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        match byte {
            b'"' => self.text.extend_from_slice(br#"\""#),
            b'\\' => self.text.extend_from_slice(br"\\"),
            b'\n' => self.text.extend_from_slice(br"\n"),
            b'\r' => self.text.extend_from_slice(br"\r"),
            b'\t' => self.text.extend_from_slice(br"\t"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                self.text.extend_from_slice(br"\x");
                self.text.extend_from_slice(&digits);
            }
        }
    }
}

impl fmt::Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut escaped = Escaped::quoted();
        escaped.restart(bytes.len());
        escaped.push(bytes);
        String::from_utf8(escaped.text().to_vec()).unwrap()
    }

    /// Decodes as the documentation of the lines says.
    fn decoded(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            bytes.push(match character {
                '\\' => match rest.next().unwrap() {
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'x' => {
                        let digits: String = rest.by_ref().take(2).collect();
                        u8::from_str_radix(&digits, 16).unwrap()
                    }
                    quoted @ ('"' | '\\') => quoted as u8,
                    other => panic!("no such escape: \\{other}"),
                },
                '"' => panic!("a bare quote ends the payload"),
                plain => u8::try_from(plain).unwrap(),
            });
        }
        bytes
    }

    #[test]
    fn each_kind_of_byte_is_escaped_as_documented() {
        for (bytes, text) in [
            (&b"Hello Parrot\n"[..], r"Hello Parrot\n"),
            (b"", ""),
            (b" ~", " ~"),
            (b"\r\n\t", r"\r\n\t"),
            (b"say \"hi\"", r#"say \"hi\""#),
            (b"C:\\n", r"C:\\n"),
            (b"\0\x1b[31m\x7f", r"\x00\x1b[31m\x7f"),
            (b"\x80\x9b\xff", r"\x80\x9b\xff"),
            ("\u{fc}".as_bytes(), r"\xc3\xbc"),
            ("\u{2028}".as_bytes(), r"\xe2\x80\xa8"),
        ] {
            assert_eq!(escaped(bytes), text);
        }
    }

    #[test]
    fn a_word_has_no_spaces() {
        let mut word = Escaped::word();
        word.restart(100);
        word.push(b"a b\n[::1]:80");
        assert_eq!(word.text(), br"a\x20b\n[::1]:80");
    }

    #[test]
    fn pieces_beyond_the_limit_are_only_counted() {
        let mut escaped = Escaped::quoted();
        escaped.restart(4);
        for piece in [&b"ab"[..], b"\nde", b"fg"] {
            escaped.push(piece);
        }
        assert_eq!((escaped.text(), escaped.seen(), escaped.shown(4)), (&br"ab\nd"[..], 7, 4));
    }

    proptest! {
        #[test]
        fn escaped_text_decodes_to_the_same_bytes(bytes: Vec<u8>) {
            prop_assert_eq!(decoded(&escaped(&bytes)), bytes);
        }

        #[test]
        fn escaped_text_is_printable_ascii(bytes: Vec<u8>) {
            prop_assert!(escaped(&bytes).bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }

        #[test]
        fn pieces_make_no_difference(pieces: Vec<Vec<u8>>, limit in 0_usize..64) {
            let whole = pieces.concat();
            let mut escaped_pieces = Escaped::quoted();
            escaped_pieces.restart(limit);
            for piece in &pieces {
                escaped_pieces.push(piece);
            }
            let shown = &whole[..whole.len().min(limit)];
            prop_assert_eq!(decoded(std::str::from_utf8(escaped_pieces.text()).unwrap()), shown);
            prop_assert_eq!(escaped_pieces.shown(limit), shown.len() as u64);
            prop_assert_eq!(escaped_pieces.seen(), whole.len() as u64);
        }
    }
}
