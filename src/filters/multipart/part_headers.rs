//! The headers of parts as the parser takes them: it refuses control characters, which clients
//! send in file names and the rules of file names drop, and lines that are folded (RFC 5322
//! §2.2.3), which old clients send.

use bytes::Bytes;

/// Changes the headers of parts as the bytes of a form go by; contents stay as they are.
#[derive(Debug)]
pub(super) struct PartHeaders {
    /// A line's end, two hyphens and the boundary.
    delimiter: Vec<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a content, or around the parts: so many bytes of the delimiter are there.
    Content { matched: usize },
    /// After a delimiter, in the rest of its line.
    Delimiter,
    /// In a part's headers.
    Header(Line),
}

/// Where in a line of headers.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// After a line's end.
    Start { is_first: bool },
    /// In a line.
    Within,
    /// After a carriage return; whether the line is empty.
    Return { is_empty: bool },
}

impl PartHeaders {
    /// Of a form with this boundary.
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very beginning.
        Self { delimiter, place: Place::Content { matched: 2 } }
    }

    /// The next bytes, cleaned.
    pub fn clean(&mut self, piece: Bytes) -> Bytes {
        let mut cleaned = Vec::new();
        let mut rest = &piece[..];
        while !rest.is_empty() {
            if let Place::Content { matched } = self.place {
                let length = self.pass_content(matched, rest);
                if length == piece.len() {
                    return piece;
                }
                cleaned.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            } else {
                self.pass_header(rest[0], &mut cleaned);
                rest = &rest[1..];
            }
        }
        cleaned.into()
    }

    /// How many bytes there are up to the end of a delimiter, or in all.
    fn pass_content(&mut self, mut matched: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if matched == 0 {
                let Some(next) = bytes[at..].iter().position(|byte| *byte == b'\r') else { break };
                (at, matched) = (at + next + 1, 1);
                continue;
            }
            if bytes[at] == self.delimiter[matched] {
                (at, matched) = (at + 1, matched + 1);
                if matched == self.delimiter.len() {
                    self.place = Place::Delimiter;
                    return at;
                }
            } else {
                // A carriage return is nowhere but at its beginning.
                matched = 0;
            }
        }
        self.place = Place::Content { matched };
        bytes.len()
    }

    fn pass_header(&mut self, byte: u8, cleaned: &mut Vec<u8>) {
        const CONTENT: Place = Place::Content { matched: 0 };
        self.place = match (self.place, byte) {
            (Place::Delimiter, b'\n') => {
                cleaned.push(byte);
                Place::Header(Line::Start { is_first: true })
            }
            (Place::Delimiter, b' ' | b'\t' | b'\r') => {
                cleaned.push(byte);
                self.place
            }
            // The last delimiter, or none at all.
            (Place::Delimiter | Place::Content { .. }, _) => {
                cleaned.push(byte);
                CONTENT
            }
            (Place::Header(Line::Return { is_empty: true }), b'\n') => {
                cleaned.extend_from_slice(b"\r\n");
                CONTENT
            }
            (Place::Header(Line::Return { is_empty: false }), b'\n') => {
                Place::Header(Line::Start { is_first: false })
            }
            (Place::Header(line), _) => Place::Header(pass_line(line, byte, cleaned)),
        };
    }
}

/// A byte of a header that ends no line.
fn pass_line(line: Line, byte: u8, cleaned: &mut Vec<u8>) -> Line {
    match (line, byte) {
        (Line::Start { is_first }, b'\r') => {
            if !is_first {
                cleaned.extend_from_slice(b"\r\n");
            }
            Line::Return { is_empty: true }
        }
        (_, b'\r') => Line::Return { is_empty: false },
        (Line::Start { is_first: false }, b' ' | b'\t') => {
            cleaned.push(b' ');
            Line::Within
        }
        (_, byte) => {
            if matches!(line, Line::Start { is_first: false }) {
                cleaned.extend_from_slice(b"\r\n");
            }
            if byte == b'\t' || !byte.is_ascii_control() {
                cleaned.push(byte);
            }
            Line::Within
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output for a `form` that comes in pieces of this size.
    fn cleaned(form: &[u8], size: usize) -> Vec<u8> {
        let mut headers = PartHeaders::new("x");
        form.chunks(size).flat_map(|piece| headers.clean(Bytes::copy_from_slice(piece))).collect()
    }

    #[track_caller]
    fn becomes(form: &[u8], expected: &[u8]) {
        for size in 1..=form.len() {
            assert_eq!(
                cleaned(form, size).escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn control_characters_go_from_headers_and_nowhere_else() {
        becomes(
            b"--x\r\nA: \x01b\x7f\t\x00\x1b[c\r\rd\ne\xc2\x85\r\n\r\n\x01\x00\r\n-\r\r\n--x--\x01\r\nA: \x01",
            b"--x\r\nA: b\t[cde\xc2\x85\r\n\r\n\x01\x00\r\n-\r\r\n--x--\x01\r\nA: \x01",
        );
        becomes(
            b"\x01\r\n--x \t\r\n\r\n\x01\r\n--x\r\nA:\x01\r\nB:\x02\r\n\r\n\r\n--x--",
            b"\x01\r\n--x \t\r\n\r\n\x01\r\n--x\r\nA:\r\nB:\r\n\r\n\r\n--x--",
        );
        becomes(b"--xy\x01\r\n\x01", b"--xy\x01\r\n\x01");
    }

    #[test]
    fn folded_lines_become_one() {
        becomes(
            b"--x\r\nA: b;\r\n\tc;\r\n  d\r\nE: f\r\n\r\n g\r\n h\r\n--x--",
            b"--x\r\nA: b; c;  d\r\nE: f\r\n\r\n g\r\n h\r\n--x--",
        );
    }

    proptest! {
        #[test]
        fn any_bytes_come_out_alike_in_any_pieces(
            form in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), Just(b' '), any::<u8>()],
                0..200,
            ),
            size in 1_usize..20,
        ) {
            prop_assert_eq!(cleaned(&form, size), cleaned(&form, 1000));
        }
    }
}
