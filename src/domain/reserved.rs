//! Names that would pass for the service itself, or for those who run it.
//!
//! Two lists. A name that people read as an authority is reserved in every form in which they
//! would still read it so: with something after it (`admin-1`, `system.bot`), pulled apart
//! (`a.d.m.i.n`), or in other characters (`adm1n`, `rnoderator`). A name that is only a word of the
//! protocol or of addresses (`all`, `null`, `user`) is reserved as it is; `user1` and `news-junkie`
//! are ordinary names.

/// Words that people read as the service or as those who run it.
const AUTHORITIES: &[&str] = &[
    "admin",
    "administrator",
    "administration",
    "helpdesk",
    "hostmaster",
    "mod",
    "moderation",
    "moderator",
    "natter",
    "noreply",
    "official",
    "operator",
    "postmaster",
    "root",
    "security",
    "staff",
    "superuser",
    "support",
    "sysadmin",
    "sysop",
    "system",
    "webmaster",
];

/// Words that may follow an authority without a separator: `adminteam` reads as `admin-team`.
const COMPANIONS: &[&str] =
    &["account", "bot", "center", "desk", "group", "help", "info", "service", "team", "user"];

/// Words that are reserved as they are.
const WORDS: &[&str] = &[
    "all",
    "anonymous",
    "api",
    "channel",
    "deleted",
    "everyone",
    "group",
    "help",
    "here",
    "info",
    "mail",
    "me",
    "news",
    "no-reply",
    "nobody",
    "null",
    "owner",
    "self",
    "server",
    "service",
    "status",
    "undefined",
    "unknown",
    "user",
    "users",
    "www",
];

/// Whether nobody may take this name, which is of ASCII letters, digits, `.`, `_` and `-`.
pub(super) fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if WORDS.contains(&name.as_str()) {
        return true;
    }
    let parts: Vec<&str> = name.split(['.', '_', '-']).collect();
    // Letters that are pulled apart are read together: `a.d.m.i.n-1` begins with `admin`.
    let mut together = String::new();
    let (last, rest) = parts.split_last().unwrap_or((&"", &[]));
    for part in rest {
        together.push_str(part);
        if is_authority(&together) {
            return true;
        }
    }
    together.push_str(last);
    is_authority(&together) || is_composed(&skeleton(bare(&together)))
}

/// Whether this reads as an authority, with digits around it or without. Digits alone are a number.
fn is_authority(text: &str) -> bool {
    [text, bare(text)].iter().any(|text| {
        text.contains(|c: char| c.is_ascii_alphabetic())
            && AUTHORITIES.iter().any(|word| skeleton(word) == skeleton(text))
    })
}

/// Without the digits before and after it.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_digit())
}

/// Whether a skeleton is that of an authority and then of others and their companions.
fn is_composed(text: &str) -> bool {
    fn follows(text: &str) -> bool {
        let next = AUTHORITIES.iter().chain(COMPANIONS);
        text.is_empty() || next.map(|word| skeleton(word)).any(|word| continues(text, &word))
    }
    fn continues(text: &str, word: &str) -> bool {
        text.strip_prefix(word).is_some_and(follows)
    }
    AUTHORITIES.iter().map(|word| skeleton(word)).any(|word| continues(text, &word))
}

/// The text with characters that look alike made one.
fn skeleton(text: &str) -> String {
    let letters: String = text.chars().map(letter).collect();
    // Pairs that are read as one letter.
    letters.replace("rn", "m").replace("vv", "w").replace("uu", "w").replace("cl", "d")
}

/// The letter that a character of a name in lower case is read as.
fn letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'i' => 'l',
        '2' => 'z',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '6' | '9' => 'g',
        '7' => 't',
        '8' => 'b',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::text::Username;

    /// Whether the name is reserved; it must be a name otherwise.
    fn reserved(name: &str) -> bool {
        match Username::parse(name) {
            Ok(_) => false,
            Err(broken) if broken.code == "reserved" => true,
            Err(broken) => panic!("{name} is no name: {}", broken.code),
        }
    }

    const LIKE_AUTHORITIES: &str = "
        admin Admin ADMIN system administrator sysadmin root moderator admin- admin_ admin.
        admin_1 admin-1 admin1 admin007 system.bot natter-support Natter_Security support-team
        staff.ada root-x mod_1 official-natter security. moderator-on-duty help-desk helpdesk
        no-reply noreply no.reply No_Reply_1 postmaster1 1admin 0-admin a.d.m.i.n a-d-m-i-n
        a_d.m-i_n ad.min a.d.m.i.n.1 s.y.s.t.e.m-bot sup-port n.a.t.t.e.r adm1n 4dmin 4dm1n
        admln adrnin ADRN1N aclmin ac1min adrn1n_2 syst3m 5ystem sy5t3rn sys7em supp0rt
        5upp0r7 r00t r0ot.x m0derator rnoderator moclerator natt3r n4tter na77er secur1ty
        officia1 0fficial vvebmaster uuebmaster webrnaster 5taff sysadm1n adm1n1strator
        supp0rt_t3am a.d.m.1.n adminteam supportbot systemadmin natteradmin NatterSupport
        adminbot2 supp0rtteam natterhelpdesk securityteam rootuser";

    #[test]
    fn what_reads_as_an_authority_is_reserved() {
        for name in LIKE_AUTHORITIES.split_whitespace() {
            assert!(reserved(name), "{name}");
        }
    }

    #[test]
    fn words_are_reserved_as_they_are() {
        for name in ["all", "Here", "everyone", "null", "user", "users", "www", "api", "deleted"] {
            assert!(reserved(name), "{name}");
        }
    }

    const ORDINARY: &str = "
        ada grace.hopper adminton badminton administer admiral admina systematic systems
        ecosystem rooted roots beetroot roo rot supporter supports supportive stafford staffan
        falstaff natterer chatter natterjack officially unofficial insecurity operators
        operatic model mode modern modesty modul8 commod moderate sysiphus webmasters
        john-admin ada.support the-moderator not_root user1 user42 users-x user_1 news-junkie
        news24 all4one allstars all-stars here-we-go me-too info.max mailman mail-man help-me
        helper null-island self-made api-fan channel5 group-hug server-room owner-x status-quo
        unknown-pleasures a11 u5er nu11 1337 007 100d 12345 0xy m0.3 moda rn0 steve clara dara
        vvv burnt arnie staf suport admi sistem natte a-dmx-in";

    #[test]
    fn ordinary_names_are_free() {
        for name in ORDINARY.split_whitespace() {
            assert!(!reserved(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn separators_and_digits_after_an_authority_change_nothing(
            word in proptest::sample::select(AUTHORITIES),
            separator in "[._-]",
            rest in "[A-Za-z0-9._-]{0,8}",
            digits in "[0-9]{0,6}",
        ) {
            let apart: Vec<String> = word.chars().map(String::from).collect();
            for name in [
                format!("{word}{separator}{rest}"),
                format!("{word}{digits}"),
                format!("{digits}{word}"),
                apart.join(&separator),
            ] {
                prop_assert!(is_reserved(&name), "{}", name);
            }
        }

        #[test]
        fn look_alikes_are_one(
            word in proptest::sample::select(AUTHORITIES),
            upper in proptest::collection::vec(proptest::bool::ANY, 16),
            alike in proptest::collection::vec(0..3_usize, 16),
        ) {
            let written: String = word.chars().enumerate().map(|(n, c)| {
                let forms: &[&str] = match c {
                    'o' => &["o", "0", "o"], 'i' => &["i", "1", "l"], 'l' => &["l", "1", "i"],
                    'e' => &["e", "3", "e"], 'a' => &["a", "4", "a"], 's' => &["s", "5", "s"],
                    't' => &["t", "7", "t"], 'm' => &["m", "rn", "m"], 'w' => &["w", "vv", "uu"],
                    'd' => &["d", "cl", "c1"],
                    _ => return c.to_string(),
                };
                let form = forms[alike[n]];
                if upper[n] && form.len() == 1 { form.to_ascii_uppercase() } else { form.into() }
            }).collect();
            prop_assert!(is_reserved(&written), "{}", written);
        }
    }
}
