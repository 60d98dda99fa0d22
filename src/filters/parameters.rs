//! Header values with parameters: `word; name=value; name="quoted text"` (RFC 9110 §5.6.6,
//! RFC 2183 §2).

/// A header value, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameterised<'a> {
    /// The text before the first semicolon.
    pub word: &'a str,
    /// Name in lower case, value without its quotes; in order.
    parameters: Vec<(String, String)>,
}

impl<'a> Parameterised<'a> {
    /// Reads any text: what is no parameter is passed over.
    pub fn parse(text: &'a str) -> Self {
        let (word, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut parameters = Vec::new();
        while !rest.is_empty() {
            let end = rest.find(['=', ';']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let Some(after) = after.strip_prefix('=') else {
                rest = after.strip_prefix(';').unwrap_or_default();
                continue;
            };
            let after = after.trim_start_matches(is_space);
            let (value, after) = if let Some(text) = after.strip_prefix('"') {
                quoted(text)
            } else {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim_matches(is_space).to_owned(), &after[end..])
            };
            parameters.push((name.trim_matches(is_space).to_ascii_lowercase(), value));
            rest = after.split_once(';').map_or("", |(_, rest)| rest);
        }
        Self { word: word.trim_matches(is_space), parameters }
    }

    /// The value of a parameter: of several, the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The text up to the closing quote, and what comes after it. A backslash escapes a quote and
/// itself only: browsers escape nothing, and some name whole Windows paths.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => {
                let escaped = characters.next_if(|(_, next)| matches!(next, '"' | '\\'));
                value.push(escaped.map_or('\\', |(_, next)| next));
            }
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(text: &str, name: &str) -> Option<String> {
        Parameterised::parse(text).get(name).map(str::to_owned)
    }

    #[test]
    fn names_are_taken_in_any_case_and_order_with_any_spacing() {
        for text in [
            "form-data; name=\"a\"; filename=\"b\"",
            "form-data; FileName=b; NAME=a",
            "form-data ;name = a;\tfilename\t=\t\"b\" ",
            "form-data;;;name=\"a\" junk;x;filename=b;",
        ] {
            assert_eq!(Parameterised::parse(text).word, "form-data", "{text}");
            let both = (get(text, "name"), get(text, "filename"));
            assert_eq!(both, (Some("a".to_owned()), Some("b".to_owned())), "{text}");
        }
        assert_eq!(get("x; a=1; a=2", "a").as_deref(), Some("1"));
        assert_eq!(get("x; xname=1", "name"), None);
    }

    #[test]
    fn quoted_text_is_opaque() {
        for (quoted, value) in [
            (r#""a; name=b""#, "a; name=b"),
            (r#""a = b""#, "a = b"),
            (r#""a \"b\".txt""#, r#"a "b".txt"#),
            (r#""a\\b""#, r"a\b"),
            (r#""C:\temp\a.txt""#, r"C:\temp\a.txt"),
            (r#""""#, ""),
            (r#"" a ""#, " a "),
            ("a b", "a b"),
            ("it's", "it's"),
        ] {
            let text = format!("form-data; filename={quoted}; name=\"file\"");
            assert_eq!(get(&text, "filename").as_deref(), Some(value), "{text}");
            assert_eq!(get(&text, "name").as_deref(), Some("file"), "{text}");
        }
        assert_eq!(get("x; name=\"open; a=b", "name").as_deref(), Some("open; a=b"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = Parameterised::parse(&text);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[ -~]*") {
            let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
            let text = format!("x; name=\"{escaped}\"; other=1");
            prop_assert_eq!(get(&text, "name"), Some(value));
            prop_assert_eq!(get(&text, "other"), Some("1".to_owned()));
        }
    }
}
