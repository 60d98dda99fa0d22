use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::*;

fn is_empty(words: &Words) -> bool {
    words.whole.is_empty() && words.runs.is_empty()
}

fn finds(query: &str, text: &str) -> bool {
    let words = Words::parse(query).expect("a query");
    let found = words.are_in(text);
    let indexed = hashes_of(text);
    assert!(!found || words.hashes().iter().all(|hash| indexed.contains(hash)));
    found && !is_empty(&words)
}

#[test]
fn case_diacritics_and_spelling_do_not_matter() {
    for (query, text) in [
        ("HELLO", "well, hello!"),
        ("cafe", "the Café"),
        ("cafe\u{301}", "CAFÉ"),
        ("strasse", "Hauptstraße? Straße!"),
        ("ΟΔΥΣΣΕΥΣ", "ὁ Ὀδυσσεύς"),
        ("елка", "Ёлка"),
        ("ＡＢＣ", "abc"),
        ("ﬁnance", "FINANCE"),
        ("שלום", "שָׁלוֹם"),
        ("سلام", "سَلَام"),
        ("istanbul", "İSTANBUL"),
        ("ガス", "ｶﾞｽ"),
        ("x2 foo", "x² Foo™"),
        ("don't", "I don’t"),
        ("two one", "One. Two."),
    ] {
        assert!(finds(query, text), "{query} in {text}");
    }
    for (query, text) in
        [("かく", "がく"), ("กา", "กำ"), ("कि", "कु"), ("hell", "hello"), ("one three", "one two")]
    {
        assert!(!finds(query, text), "{query} in {text}");
    }
}

#[test]
fn strokes_hooks_and_ligatures_do_not_matter() {
    for (query, text) in [
        ("lodzi", "do Łodzi"),
        ("da nang", "Đà Nẵng"),
        ("smorrebrod", "SMØRREBRØD"),
        ("Øre", "ore"),
        ("hal", "ħal"),
        ("STRASSE", "STRAẞE"),
        ("aegis oeuvre", "Ægis, œuvre"),
        ("ǿ oe", "o Œ"),
        ("isik", "Işık"),
        ("lssa", "Lſſa"),
        ("thor ed", "Þór eð"),
        ("tapa", "ŧⱥꝑⱥ"),
        ("казак", "қазақ"),
    ] {
        assert!(finds(query, text), "{query} in {text}");
    }
    assert!(!finds("lodz", "lodka"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of queries and texts")]
fn any_part_of_a_run_is_found_its_characters_adjacent_and_in_order() {
    for (query, text) in [
        ("한국어", "한국어를 배워요"),
        ("국어", "한국어를"),
        ("북경", "어제 북경에서"),
        ("プロジェクト", "新プロジェクトマネージャー"),
        ("ジェクトマ", "ﾌﾟﾛｼﾞｪｸﾄﾏﾈｰｼﾞｬｰ"),
        ("北京", "我在北京"),
        ("玩", "一起玩吧"),
        ("の", "わたしの"),
        ("ｶ", "カ"),
        ("ㅠㅠ", "ㅋㅋㅠㅠ"),
        ("ㅋㅋ", "ﾻﾻﾻ아"),
        ("𠮷", "𠮷野家"),
        ("野家 𠮷野", "𠮷野家"),
        ("手机 iPhone", "我的iPhone手机坏了"),
        ("3月5日", "5日、3月"),
        ("A형", "형은 a"),
        ("ภาษา", "ฉันเรียนภาษาไทย"),
        ("ที", "ที่นี่"),
        ("ภาษาไทย", "ภาษา\u{200B}ไทย"),
        ("བོད་ཡིག་", "བོད་ཡིག།"),
        ("ខ្មែរ", "ភាសាខ្មែរ"),
        ("ລາວ", "ພາສາລາວ"),
        ("မြန်မာ", "မြန်မာစာ"),
    ] {
        assert!(finds(query, text), "{query} in {text}");
        let apart: String = query.nfd().collect();
        assert!(finds(&apart, text), "{apart} in {text}");
        let apart: String = text.nfd().collect();
        assert!(finds(query, &apart), "{query} in {apart}");
    }
    for (query, text) in [
        ("北京", "京都在北方"),
        ("上海", "他在海上"),
        ("北京", "北。京"),
        ("하", "한국"),
        ("か", "がく"),
        ("玩具", "玩 具"),
        ("phone", "我的iPhone手机"),
        ("한국 일본", "한국"),
    ] {
        assert!(!finds(query, text), "{query} in {text}");
    }
}

#[test]
fn each_character_of_a_run_costs_two_terms_at_most() {
    assert_eq!(hashes_of("我在北京").len(), 4 + 3);
    assert_eq!(hashes_of("to be or not to be").len(), 4);
    assert_eq!(hashes_of("ありがとう").len(), 5 + 4);
    let longest: String = ('\u{4E00}'..).take(8000).collect();
    assert_eq!(hashes_of(&longest).len(), 2 * 8000 - 1);
}

#[test]
fn emoji_are_words_and_punctuation_is_none() {
    for (query, text) in [
        ("👍🏽", "ok👍"),
        ("❤\u{FE0F}", "I ❤ NY"),
        ("👩‍👩‍👧‍👦", "us: 👩‍👩‍👧‍👦!"),
        ("🇩🇪", "🇫🇷🇩🇪"),
        ("€5", "5 €"),
        ("👍👍", "👍"),
    ] {
        assert!(finds(query, text), "{query} in {text}");
    }
    assert!(!finds("👨\u{200D}👩", "👨 👩"));
    for nothing in ["..", "$^", "\"-\"", "\0\0", "  ", "—…", "\u{FE0F}\u{FE0F}", "(*)", "__"] {
        assert!(is_empty(&Words::parse(nothing).expect("long enough")), "{nothing:?}");
    }
}

#[test]
fn operators_are_words_like_any_other() {
    for (query, text) in [
        ("$ne", "ne"),
        ("-hello", "hello"),
        ("\"hello world\"", "world, hello"),
        ("{\"$gt\":\"\"}", "gt"),
        ("a.*b", "b a"),
        ("hello\0world", "hello world"),
    ] {
        assert!(finds(query, text), "{query} in {text}");
    }
    assert!(!finds(".*o", "hello"));
}

#[test]
fn joined_words_are_found_whole_and_by_their_parts() {
    for query in ["example.com", "example", "com", "snake_case", "snake", "don", "3.14", "14"] {
        assert!(finds(query, "don't: www.example.com example.com snake_case 3.14"), "{query}");
    }
    assert!(!finds("example.com", "example com"));
}

#[test]
fn queries_have_2_to_200_characters() {
    for (query, code) in [
        ("", "too_short"),
        ("ö", "too_short"),
        ("ł", "too_short"),
        ("5", "too_short"),
        ("。", "too_short"),
        ("👍", "too_short"),
        (&"ö".repeat(201), "too_long"),
        (&"玩".repeat(201), "too_long"),
    ] {
        assert_eq!(Words::parse(query).map_err(|broken| broken.code), Err(code), "{query}");
    }
    for fine in ["玩", "の", "ー", "ก", "한", "ㅋ", "𠮷", &"ö".repeat(200), &"玩".repeat(200)]
    {
        assert!(!is_empty(&Words::parse(fine).expect("a query")), "{fine}");
    }
}

#[test]
fn of_a_long_word_the_beginning_counts() {
    let long = "ä".repeat(150);
    assert!(finds(&long, &format!("{long}x")));
    assert!(!finds(&"ä".repeat(31), &long));
    assert!(!finds(&"語".repeat(99), &"語".repeat(98)));
}

proptest! {
    #[test]
    fn every_text_is_found_by_itself(text in "\\PC{2,200}") {
        prop_assert!(Words::parse(&text).expect("a query").are_in(&text));
    }

    #[test]
    fn how_a_text_is_composed_does_not_matter(text in "\\PC{2,60}") {
        let (nfc, nfd): (String, String) = (text.nfc().collect(), text.nfd().collect());
        prop_assert_eq!(hashes_of(&nfc), hashes_of(&nfd));
        if let (Ok(composed), Ok(apart)) = (Words::parse(&nfc), Words::parse(&nfd)) {
            prop_assert_eq!(composed, apart);
        }
    }

    #[test]
    fn order_does_not_matter(mut words in proptest::collection::vec("[a-zà-ÿα-ωа-я]{1,9}", 1..9)) {
        let text = words.join(" ");
        words.reverse();
        let found = finds(&format!("  {}", words.join(", ")), &text);
        prop_assert!(found);
    }

    #[test]
    fn no_word_is_longer_than_what_counts(text in "\\PC{0,300}") {
        let (_, rest) = scripts::split(&normalised(&text));
        prop_assert!(found_whole(&rest).iter().all(|word| (1..=MAX_BYTES).contains(&word.len())));
    }

    #[test]
    fn a_part_of_a_run_is_found_wherever_it_begins_and_ends(
        text in "[一-龥𠀀-𠁀ぁ-んァ-ヴー가-힣ㅏ-ㅣㄱ-ㅎก-ฮะ-ูเ-๎ກ-ຂកខ-ង]{1,40}",
        [begin, length] in [0_usize..40, 1..40_usize],
        around in "[a-z 。,\n]{0,9}",
    ) {
        let text: Vec<char> = text.nfc().collect();
        let part: String = text.iter().skip(begin % text.len()).take(length).collect();
        let text: String = text.into_iter().collect();
        prop_assert!(finds(&part, &format!("{around}{text}{around}")), "{} in {}", part, text);
    }

    #[test]
    fn runs_are_found_as_a_plain_matcher_finds_them(
        text in "[北京上海他在 ab。]{0,12}",
        query in "[北京上海他在]{1,3}",
    ) {
        prop_assert_eq!(finds(&query, &text), text.contains(&query));
    }

    #[test]
    fn words_are_found_as_a_plain_matcher_finds_them(
        text in proptest::collection::vec("[lłøodđ]{1,2}", 0..6),
        query in proptest::collection::vec("[lod]{1,2}", 1..3),
    ) {
        let plain = |word: &String| word.replace('ł', "l").replace('ø', "o").replace('đ', "d");
        let expected = query.iter().all(|word| text.iter().map(plain).any(|it| it == *word));
        // One word of one letter is no query.
        prop_assume!(query.concat().len() > 1);
        prop_assert_eq!(finds(&query.join(" "), &text.join(", ")), expected);
    }
}

/// Pieces of texts that are read in ways of their own.
const FUZZED: [&str; 29] = [
    "\n\n",
    "'",
    ".",
    "\u{301}",
    "\u{3099}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{1f3fd}",
    "ł",
    "ß",
    "ﬁ",
    "İ",
    "ς",
    "가",
    "ㅋ",
    "ｶ",
    "ﾞ",
    "が",
    "東",
    "ไทย",
    "กำ",
    "་",
    "™",
    "👍",
    "🇩",
    "$ne",
    "-",
    "\0",
];

/// Seeds are a query, an empty line, and a text. A text is found by its own words, and whatever is
/// found the index proposes.
#[test]
fn fuzz_search() {
    crate::fuzzing::fuzz("search", &FUZZED, |input| {
        let input = String::from_utf8_lossy(input);
        let (query, text) = input.split_once("\n\n").unwrap_or((&input, &input));
        let indexed = hashes_of(text);
        let Ok(words) = Words::parse(query) else { return };
        let proposed = words.hashes().iter().all(|hash| indexed.contains(hash));
        assert!(proposed || !words.are_in(text));
        assert!(words.are_in(query), "a text that is the query");
        assert!(words.canonical().len() <= 4 * input.len());
    });
}
