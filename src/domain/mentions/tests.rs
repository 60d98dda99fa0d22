use proptest::prelude::*;

use super::*;
use crate::domain::files::Filename;
use crate::domain::graphemes;
use crate::domain::text::Email;

fn longest(text: &str) -> Vec<String> {
    candidates(text).into_iter().map(|mut forms| forms.remove(0)).collect()
}

/// Whether a text mentions this name, in any form.
fn mentions(text: &str, name: &str) -> bool {
    candidates(text).iter().flatten().any(|form| form == name)
}

#[test]
fn names_stand_after_an_at_that_begins_a_word() {
    assert_eq!(longest("hi @Ada, (@bob) and @ada"), ["ada", "bob"]);
    assert_eq!(longest("write to me@example.com, @@xyz, @"), Vec::<String>::new());
    assert_eq!(candidates("see @a.b.."), [["a.b..", "a.b.", "a.b"]]);
    assert_eq!(longest("你好@ada @öda"), ["ada"]);
    assert_eq!(longest("@ab @_ada @-ada @.ada"), Vec::<String>::new());
    let many: Vec<String> = (0..200).map(|n| format!("@user{n}")).collect();
    assert_eq!(candidates(&many.join(" ")).len(), MAX_NAMES);
    let dotted = (0..200).map(|n| format!("@{n}.a.b.c.d.e.f.g.h.i.j.k")).collect::<Vec<_>>();
    assert!(candidates(&dotted.join(" ")).iter().flatten().count() <= MAX_FORMS);
}

const MENTIONED: &[&str] = &[
    "@ada",
    "＠ada",
    "@ADA",
    "_@ada_",
    "__@ada__",
    "*@ada*",
    "**@ada**",
    "***@ada***",
    "~@ada~",
    "~~@ada~~",
    "||@ada||",
    "(@ada)",
    "[@ada]",
    "{@ada}",
    "<@ada>",
    "\"@ada\"",
    "'@ada'",
    "“@ada”",
    "«@ada»",
    "„@ada“",
    "@ada.",
    "@ada,",
    "@ada:",
    "@ada;",
    "@ada!",
    "@ada?",
    "@ada…",
    "@ada's",
    "@ada’s",
    "@ada.Thanks",
    "@ada...really",
    "@ada-",
    "@ada--what",
    "Thanks.@ada",
    "...@ada",
    "-@ada",
    "@bob,@ada",
    "@bob/@ada",
    "@bob @ada",
    "cc:@ada",
    "/@ada",
    "and/@ada",
    "#@ada",
    "👍@ada",
    "🇩🇪@ada👍",
    "你好@ada",
    "你好，@ada。谢谢",
    "「@ada」",
    "こんにちは@adaさん",
    "안녕@ada님",
    "สวัสดี@ada",
    "วันนี้@ada",
    "＠ada：你好",
    "\u{200B}@ada\u{200B}",
    "\u{2067}@ada\u{2069}",
    "hi\n@ada\nho",
    "\\@ada",
    "=@ada",
    ">@ada",
    "`code` @ada `code`",
    "a ` @ada",
    "[@ada] (not a link)",
    "https://x.example @ada",
    "(https://x.example/a),@ada",
    "见https://x.example/a。@ada",
    "x.example, @ada",
    "what?! @ada",
    "[a](https://x.example) @ada",
    "mail ada@x.example or @ada",
    "```\n@bob\n```\n@ada",
    "1/2 @ada",
];

#[test]
fn punctuation_and_markup_around_a_name_do_not_matter() {
    for text in MENTIONED {
        assert!(mentions(text, "ada"), "{text}");
    }
    assert_eq!(candidates("@ada.Thanks")[0], ["ada.thanks", "ada.", "ada"]);
    assert_eq!(candidates("_@ada_")[0], ["ada_", "ada"]);
    assert!(!mentions("@adalovelace", "ada") && !mentions("@ada1", "ada"));
}

const QUOTED: &[&str] = &[
    "https://x.example/@ada",
    "(https://x.example/@ada)",
    "<https://x.example/@ada>",
    "HTTPS://x.example/@ada",
    "https://x.example/a?b=@ada&c",
    "https://x.example/#@ada",
    "www.x.example/@ada",
    "WWW.x.example/@ada",
    "x.example/@ada",
    "(x.example/a/@ada)",
    "x.example:8443/@ada",
    "https://@ada.example/",
    "https://x.example/(@ada)",
    "https://ü.example/ä/@ada",
    "matrix+https://x.example/@ada",
    "irc://x/@ada",
    "[Ada](https://x.example/@ada)",
    "[Ada](/@ada)",
    "[@ada](https://x.example)",
    "![x](y \"@ada\")",
    "ada@x.example",
    "x+@ada.example",
    "a.b_@ada.example",
    "bob@ada",
    "first.last@ada.example",
    "jörg@ada.example",
    "jo\u{308}@ada.example",
    "привет@ada",
    "<bob@ada.example>",
    "mailto:bob@ada.example",
    "@ada@x.example",
    "＠ada＠x.example",
    "@@ada",
    "bob＠ada.example",
    "`@ada`",
    "``@ada``",
    "`` ` @ada ``",
    "`a` `@ada`",
    "```\n@ada\n```",
    "```rust\n@ada\n```\n",
    "~~~\n@ada\n~~~",
    "  ```\n@ada\n```",
    "```\n@ada",
    "````\n```\n@ada\n````",
    "a `b\n@ada` c",
];

#[test]
fn nobody_is_mentioned_in_links_addresses_and_code() {
    for text in QUOTED {
        assert!(!mentions(text, "ada"), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_is_in_a_link_stays_in_it(
        scheme in "(https?://|ftp://|www\\.)",
        host in "[a-z]{1,9}\\.[a-z]{2,5}",
        before in "[A-Za-z0-9/?&=#%~+;,_.!*-]{0,20}",
        after in "[A-Za-z0-9/?&=#%~+;,_.!*-]{0,20}",
    ) {
        let link = format!("{scheme}{host}/{before}@ada{after}");
        for text in [link.clone(), format!("see ({link})"), format!("[a]({link})"), format!("<{link}>")] {
            prop_assert_eq!(candidates(&text), Vec::<Vec<String>>::new(), "{}", text);
        }
    }

    #[test]
    fn an_address_mentions_nobody(local in "[a-z0-9]{1,9}([._%+-][a-z0-9]{1,5}){0,3}", host in "[a-z]{1,9}\\.[a-z]{2,5}") {
        for text in [format!("{local}@{host}"), format!("({local}@{host}).")] {
            prop_assert_eq!(candidates(&text), Vec::<Vec<String>>::new(), "{}", text);
        }
    }

    #[test]
    fn code_mentions_nobody(fence in "`{1,5}", code in "[^`\\n]{0,20}@ada[^`\\n]{0,20}") {
        let text = format!("{fence}{code}{fence}");
        let spans = if fence.len() < 3 { text } else { format!("{fence}\n{code}\n{fence}") };
        prop_assert_eq!(candidates(&spans), Vec::<Vec<String>>::new(), "{}", spans);
    }

    #[test]
    fn between_punctuation_a_name_is_mentioned(before in "[ *~_|\"'(!,;:。、「（…“ー你]{0,6}", after in "[ *~_|\"')!,;:。、」）…”.-]{0,6}") {
        // Not at the beginning of a line, where it might be the fence of a block.
        let text = format!("hi {before}@ada{after}");
        prop_assert!(mentions(&text, "ada"), "{}", text);
    }

    #[test]
    fn any_text_is_read(text in "([@＠`\\[\\]()~/.:\\n_-]|www|https|[a-c]|ä|你|\\PC){0,80}") {
        let found = candidates(&text);
        prop_assert!(found.len() <= MAX_NAMES);
        for forms in found {
            prop_assert!(forms.is_sorted_by(|one, next| one.len() > next.len()));
            prop_assert!(forms.iter().all(|form| (MIN_NAME..=MAX_NAME).contains(&form.len())));
        }
    }
}

/// Pieces of texts that are read in ways of their own.
const FUZZED: [&str; 25] = [
    "@",
    "＠",
    "@ada",
    "`",
    "```\n",
    "~~~",
    "](",
    "<",
    ">",
    "https://",
    "www.",
    "\\",
    "/",
    ".",
    "_",
    "-",
    "\n",
    "\u{301}",
    "\u{200d}",
    "\u{202e}",
    "\u{1f469}",
    "xn--",
    "bücher",
    "@[::1]",
    "\0",
];

/// Any text is read as mentions, and as whatever else a client names with text.
#[test]
fn fuzz_text() {
    crate::fuzzing::fuzz("text", &FUZZED, |input| {
        let text = String::from_utf8_lossy(input);
        let found = candidates(&text);
        assert!(found.len() <= MAX_NAMES);
        assert!(found.iter().map(Vec::len).sum::<usize>() <= MAX_FORMS);
        let name = Filename::clean(&text).into_string();
        assert!((1..=255).contains(&name.len()) && !name.contains(['/', '\\', '\n', '\u{202e}']));
        assert_eq!(Filename::clean(&name).into_string(), name);
        assert!(graphemes::chars(&text, 50).chars().count() <= 50);
        if let Ok(email) = Email::parse(&text) {
            assert!(
                email.mailbox().len() <= 254
                    && email.mailbox().rsplit('@').next().is_some_and(str::is_ascii)
            );
            assert_eq!(Email::parse(&email.mailbox()).expect("an address").key(), email.key());
        }
    });
}
