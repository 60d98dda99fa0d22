//! What must hold between the entries of a fixture: each reference leads somewhere, nothing is
//! said twice, and nobody does what the rules would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::fixture::{
    AttachmentEntry, ConversationEntry, Fixture, GroupEntry, MessageEntry, Problem,
};
use super::reference::{AttachmentRef, GroupRef, UserRef};

/// Most files of one message.
const MAX_FILES: usize = 10;

/// Most characters of a `client_message_id`.
const MAX_CLIENT_MESSAGE_ID: usize = 64;

/// The entries that others refer to.
struct Known<'a> {
    users: BTreeSet<&'a UserRef>,
    attachments: BTreeMap<&'a AttachmentRef, &'a AttachmentEntry>,
    groups: BTreeMap<&'a GroupRef, &'a GroupEntry>,
}

impl Known<'_> {
    fn user(&self, user: &UserRef) -> Result<(), String> {
        if self.users.contains(user) { Ok(()) } else { Err(missing(user, "users.json")) }
    }

    /// A file that must be this user's own.
    fn own_file(&self, file: &AttachmentRef, user: &UserRef) -> Result<(), String> {
        match self.attachments.get(file) {
            None => Err(missing(file, "attachments.json")),
            Some(entry) if entry.uploader == *user => Ok(()),
            Some(entry) => Err(format!("{file} is a file of {}, not of {user}", entry.uploader)),
        }
    }
}

fn missing(reference: impl Display, file: &str) -> String {
    format!("there is no {reference} in {file}")
}

/// Checks a fixture.
pub(super) fn check(fixture: &Fixture) -> Result<(), Problem> {
    let known = Known {
        users: fixture.users.iter().map(|user| &user.id).collect(),
        attachments: fixture.attachments.iter().map(|file| (&file.id, file)).collect(),
        groups: fixture.groups.iter().map(|group| (&group.id, group)).collect(),
    };
    users(fixture, &known)?;
    attachments(fixture, &known)?;
    friendships(fixture, &known)?;
    groups(fixture, &known)?;
    conversations(fixture, &known)
}

/// Puts a file and an entry before a problem.
fn at(file: &str, entry: impl Display) -> impl Fn(String) -> Problem {
    let place = format!("{file}, {entry}");
    move |problem| (place.clone(), problem)
}

fn once<T: Ord + Display>(seen: &mut BTreeSet<T>, value: T) -> Result<(), String> {
    if seen.contains(&value) {
        return Err(format!("{value} is there twice"));
    }
    seen.insert(value);
    Ok(())
}

fn users(fixture: &Fixture, known: &Known<'_>) -> Result<(), Problem> {
    let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for user in &fixture.users {
        let at = at("users.json", &user.id);
        once(&mut ids, &user.id).map_err(&at)?;
        once(&mut keys, user.username.key()).map_err(&at)?;
        once(&mut keys, user.email.key()).map_err(&at)?;
        if let Some(picture) = &user.picture {
            known.own_file(picture, &user.id).map_err(&at)?;
        }
    }
    Ok(())
}

fn attachments(fixture: &Fixture, known: &Known<'_>) -> Result<(), Problem> {
    let mut ids = BTreeSet::new();
    for file in &fixture.attachments {
        let at = at("attachments.json", &file.id);
        once(&mut ids, &file.id).map_err(&at)?;
        known.user(&file.uploader).map_err(&at)?;
        if file.file.is_empty() || file.file.contains(['/', '\\']) {
            return Err(at(format!("file: {:?} is not the name of a file in files/", file.file)));
        }
    }
    Ok(())
}

fn friendships(fixture: &Fixture, known: &Known<'_>) -> Result<(), Problem> {
    let mut pairs = BTreeSet::new();
    for (n, entry) in fixture.friendships.iter().enumerate() {
        let (from, to) = (&entry.from, &entry.to);
        let at = at("friendships.json", format!("entry {} ({from}, {to})", n + 1));
        known.user(from).map_err(&at)?;
        known.user(to).map_err(&at)?;
        if from == to {
            return Err(at("nobody is their own friend".to_owned()));
        }
        if !pairs.insert((from.min(to), from.max(to))) {
            return Err(at("these two are there twice".to_owned()));
        }
    }
    Ok(())
}

fn groups(fixture: &Fixture, known: &Known<'_>) -> Result<(), Problem> {
    let mut ids = BTreeSet::new();
    for group in &fixture.groups {
        let at = at("groups.json", &group.id);
        once(&mut ids, &group.id).map_err(&at)?;
        let mut everyone = BTreeSet::new();
        for user in group.everyone() {
            known.user(user).map_err(&at)?;
            once(&mut everyone, user).map_err(&at)?;
        }
        if let Some(picture) = &group.picture {
            known.own_file(picture, &group.owner).map_err(&at)?;
        }
    }
    Ok(())
}

fn conversations(fixture: &Fixture, known: &Known<'_>) -> Result<(), Problem> {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for conversation in &fixture.conversations {
        let at = at("conversations.json", &conversation.id);
        once(&mut ids, &conversation.id).map_err(&at)?;
        let (place, everyone) = place(conversation, known).map_err(&at)?;
        once(&mut places, place).map_err(&at)?;
        let last = conversation.client_message_id(&fixture.name, conversation.messages.len());
        if last.len() > MAX_CLIENT_MESSAGE_ID {
            return Err(at(format!("{last} is longer than {MAX_CLIENT_MESSAGE_ID} characters")));
        }
        for (n, entry) in conversation.messages.iter().enumerate() {
            message(entry, n + 1, &everyone, known)
                .map_err(|problem| at(format!("message {}: {problem}", n + 1)))?;
        }
    }
    Ok(())
}

/// Which conversation it is, and who is in it.
fn place<'a>(
    conversation: &'a ConversationEntry,
    known: &Known<'a>,
) -> Result<(String, Vec<&'a UserRef>), String> {
    match (&conversation.between, &conversation.group) {
        (Some([one, other]), None) => {
            known.user(one)?;
            known.user(other)?;
            let pair = format!("between {} and {}", one.min(other), one.max(other));
            Ok((pair, vec![one, other]))
        }
        (None, Some(group)) => {
            let entry = known.groups.get(group).ok_or_else(|| missing(group, "groups.json"))?;
            Ok((group.to_string(), entry.everyone().collect()))
        }
        _ => Err("must have one of between and group".to_owned()),
    }
}

fn message(
    entry: &MessageEntry,
    n: usize,
    everyone: &[&UserRef],
    known: &Known<'_>,
) -> Result<(), String> {
    if !everyone.contains(&&entry.from) {
        return Err(format!("{} is not in this conversation", entry.from));
    }
    if entry.reply_to.is_some_and(|answered| !(1..n).contains(&answered)) {
        return Err("reply_to must be the number of an earlier message, from 1".to_owned());
    }
    if entry.attachments.len() > MAX_FILES {
        return Err(format!("at most {MAX_FILES} attachments"));
    }
    entry.attachments.iter().try_for_each(|file| known.own_file(file, &entry.from))
}
