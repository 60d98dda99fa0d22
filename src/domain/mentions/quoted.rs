//! Where a text says something that is not said to anyone: code and links, in the places of it.
//! Code comes first: what looks like a link within it is none, and the other way round.

use std::ops::Range;

/// The places of code and links, in order.
pub(super) fn quoted(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    for block in blocks(text) {
        spans(text, at..block.start, &mut ranges);
        at = block.end;
        ranges.push(block);
    }
    spans(text, at..text.len(), &mut ranges);
    ranges
}

/// Fenced code blocks (`CommonMark` 0.31 §4.5): from a line of three backticks or tildes to one of at
/// least as many, or to the end.
fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, char, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let fence = fence(line);
        match (open, fence) {
            (None, Some((sign, length, rest))) if sign == '~' || !rest.contains('`') => {
                open = Some((at, sign, length));
            }
            (Some((start, sign, length)), Some((same, longer, rest)))
                if same == sign && longer >= length && rest.trim().is_empty() =>
            {
                blocks.push(start..end);
                open = None;
            }
            _ => {}
        }
        at = end;
    }
    blocks.extend(open.map(|(start, ..)| start..text.len()));
    blocks
}

/// The sign of a fence, how many there are, and what follows.
fn fence(line: &str) -> Option<(char, usize, &str)> {
    let begun = line.trim_start_matches(' ');
    let sign = begun.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = begun.trim_start_matches(sign);
    let length = begun.len() - rest.len();
    (length >= 3 && line.len() - begun.len() <= 3).then_some((sign, length, rest))
}

/// Code spans and links of a part of a text.
fn spans(text: &str, part: Range<usize>, ranges: &mut Vec<Range<usize>>) {
    let mut at = part.start;
    let mut links_from = at;
    while let Some(found) = text[at..part.end].find('`') {
        let begin = at + found;
        let length = run(&text[begin..part.end]);
        let is_escaped = text[part.start..begin].ends_with('\\');
        let after = begin + if is_escaped { 1 } else { length };
        at = after;
        if is_escaped {
            continue;
        }
        let Some(end) = closing(&text[after..part.end], length) else { continue };
        links(text, links_from..begin, ranges);
        at = after + end;
        links_from = at;
        ranges.push(begin..at);
    }
    links(text, links_from..part.end, ranges);
}

/// How many backticks a text begins with.
fn run(text: &str) -> usize {
    text.len() - text.trim_start_matches('`').len()
}

/// Where the first run of exactly so many backticks ends.
fn closing(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        let run = run(&text[at + found..]);
        at += found + run;
        if run == length {
            return Some(at);
        }
    }
    None
}

/// Links of a part of a text: addresses, with or without a scheme, and those of Markdown, text and
/// target.
fn links(text: &str, part: Range<usize>, ranges: &mut Vec<Range<usize>>) {
    let mut at = part.start;
    while at < part.end {
        let rest = &text[at..part.end];
        let before = text[..at].chars().next_back();
        let found = if rest.starts_with('[') {
            markdown(rest)
        } else if before.is_none_or(|c| !is_address(c)) {
            address(rest)
        } else {
            None
        };
        let length = found.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
        if found.is_some() {
            ranges.push(at..at + length);
        }
        at += length;
    }
}

/// The most bytes of a link of Markdown: what is longer is read as text, so that very many that
/// never end cost little.
const MAX_MARKDOWN: usize = 2048;

/// The length of `[text](target)` at the beginning of a text; neither has a line's end in it.
fn markdown(text: &str) -> Option<usize> {
    let line = text[..text.floor_char_boundary(MAX_MARKDOWN)].split('\n').next()?;
    let middle = line.find("](")?;
    // Of two that begin, the inner one is the link.
    if line[1..middle].contains('[') {
        return None;
    }
    let target = &line[middle + 2..];
    Some(middle + 2 + closing_bracket(target)? + 1)
}

/// Where the bracket closes that was opened before a text.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Characters of a possible address before its path.
fn is_address(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_' | '@' | '＠')
}

/// The length of an address at the beginning of a text: with a scheme, with `www.`, or a name with
/// a dot in it and a path.
fn address(text: &str) -> Option<usize> {
    let word = &text[..text.find(|c| !is_address(c)).unwrap_or(text.len())];
    let rest = &text[word.len()..];
    let has_scheme = rest.starts_with("://") && word.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_www = word.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("www."));
    let labels = || word.split('.').all(|label| !label.is_empty());
    let has_path = rest.starts_with(['/', ':', '?', '#']) && word.contains('.') && labels();
    let is_path = has_path && !word.contains(['@', '＠']) && goes_on(rest);
    (has_scheme || is_www || is_path).then(|| end_of_address(text))
}

/// Whether what comes after a name is more than the punctuation after it.
fn goes_on(rest: &str) -> bool {
    match rest.as_bytes() {
        [b'/', ..] => true,
        [b':', port, ..] => port.is_ascii_digit(),
        [_, next, ..] => !next.is_ascii_whitespace(),
        _ => false,
    }
}

/// Where an address ends: before white space, quotes, brackets that were not opened in it, and
/// punctuation of scripts that put no spaces between words.
fn end_of_address(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        let is_wide = matches!(c, '\u{3000}'..='\u{303F}' | '\u{FF01}'..='\u{FF0F}'
            | '\u{FF1A}'..='\u{FF1F}' | '\u{FF3B}'..='\u{FF40}' | '\u{FF5B}'..='\u{FF65}');
        let ends = depth < 0 || c.is_whitespace() || c.is_control() || is_wide;
        if ends || matches!(c, '<' | '>' | '"' | '“' | '”' | '«' | '»') {
            return at;
        }
    }
    text.len()
}
