//! What the people of a population say to each other, and how far they have read.

use super::dice::{Dice, Use};
use super::people::{id, moments};
use super::shape::{Pair, Shape};
use super::words::{TOPICS, text};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Role, Summary, Target};
use crate::domain::groups::NewGroup;
use crate::domain::ids::{GroupId, UserId};
use crate::domain::messages::Draft;
use crate::domain::notifications::Notification;
use crate::domain::text::GroupName;
use crate::error::{Error, Result};
use crate::services::outgoing::{Plan, Snapshot};
use crate::store::bulk::{Place, Talk};

/// From this size on a group has two admins.
const WITH_ADMINS: usize = 10;

/// A direct conversation.
pub(super) fn direct(shape: &Shape, number: usize) -> Result<Talk> {
    let Pair { one, other, messages } = shape.pairs[number];
    let mut dice = Dice::new(shape.of.random_seed, Use::Direct, number);
    let (mut from, mut to) = (id(shape.of, one), id(shape.of, other));
    let mut members = vec![from, to];
    members.dedup();
    let times = moments(&mut dice, messages);
    let mut drafts = Vec::with_capacity(messages);
    for at in &times {
        drafts.push(draft(&mut dice, from, Target::User(to), drafts.len(), *at));
        if dice.percent(55) {
            (from, to) = (to, from);
        }
    }
    let members = members.into_iter();
    let members = members.map(|user| place(&mut dice, user, Role::Member, (times[0], 0), messages));
    talk(None, members.collect(), &drafts, Vec::new())
}

/// A group: most of its members were there from the start, the last fifth came later.
pub(super) fn group(shape: &Shape, number: usize) -> Result<Talk> {
    let mut dice = Dice::new(shape.of.random_seed, Use::Group, number);
    let group = &shape.groups[number];
    let people: Vec<UserId> = group.members.iter().map(|member| id(shape.of, *member)).collect();
    let name = format!("{} {}", TOPICS[dice.below(TOPICS.len())], number + 1);
    let times = moments(&mut dice, group.messages + 1);
    let new = NewGroup {
        id: GroupId::named(&[
            "natter/population",
            "group",
            &format!("{}/{number}", shape.of.random_seed),
        ]),
        name: GroupName::parse(&name).map_err(|rule| Error::internal(rule.message))?,
        owner: people[0],
        others: people[1..].to_vec(),
        admins: if people.len() >= WITH_ADMINS { people[1..3].to_vec() } else { Vec::new() },
        at: times[0],
    };
    let joined = joined(&mut dice, people.len(), group.messages);
    let drafts = said(&mut dice, &new, &people, &joined, &times);
    let mut told = Vec::with_capacity(people.len());
    let mut members = Vec::with_capacity(people.len());
    for (user, seq) in people.into_iter().zip(joined) {
        let role = match user {
            user if user == new.owner => Role::Owner,
            user if new.admins.contains(&user) => Role::Admin,
            _ => Role::Member,
        };
        // The time of the group itself, else of the message after which they came.
        let at = times[seq];
        members.push(place(&mut dice, user, role, (at, seq), group.messages));
        if role != Role::Owner {
            let read = dice.percent(80);
            told.push(Notification {
                read,
                ..Notification::group_added(user, new.owner, new.id, at)
            });
        }
    }
    talk(Some(new), members, &drafts, told)
}

/// A conversation after these drafts, as the message writer would have written them.
fn talk(
    group: Option<NewGroup>,
    members: Vec<Place>,
    drafts: &[Draft],
    told: Vec<Notification>,
) -> Result<Talk> {
    let opened = group.as_ref().map(opened);
    let mut snapshot = Snapshot::default();
    if let Some(opened) = &opened {
        snapshot.conversations.insert(opened.id, opened.clone());
        snapshot.sent_counts.extend(members.iter().map(|place| ((opened.id, place.user), 0)));
    }
    let plan = Plan::of(drafts, snapshot);
    plan.answers.into_iter().collect::<Result<Vec<_>>>()?;
    let summary = plan.conversations.into_values().next().or(opened);
    let summary = summary.ok_or_else(|| Error::internal("a conversation of nothing"))?;
    Ok(Talk { group, summary, members, messages: plan.messages, told })
}

/// The conversation of a new group.
fn opened(group: &NewGroup) -> Summary {
    let (last_at, created_at) = (group.at, group.at);
    let summary = Summary::of_target(group.owner, Target::Group(group.id));
    Summary { last_at, created_at, ..summary }
}

/// The last message before each member joined, in the order of the members.
fn joined(dice: &mut Dice, members: usize, messages: usize) -> Vec<usize> {
    let late = if messages < 2 { 0 } else { members / 5 };
    let mut joined: Vec<usize> = (0..late).map(|_| 1 + dice.below(messages - 1)).collect();
    joined.resize(members, 0);
    joined.sort_unstable();
    joined
}

/// What is said in a group, each message by someone who was there; few say most of it.
fn said(
    dice: &mut Dice,
    group: &NewGroup,
    people: &[UserId],
    joined: &[usize],
    times: &[Timestamp],
) -> Vec<Draft> {
    let mut present = 0;
    let messages = times[1..].iter().enumerate().map(|(before, at)| {
        while joined.get(present).is_some_and(|seq| *seq <= before) {
            present += 1;
        }
        let sender = people[dice.low(present)];
        draft(dice, sender, Target::Group(group.id), before, *at)
    });
    messages.collect()
}

/// A message with so many before it.
fn draft(dice: &mut Dice, sender: UserId, target: Target, before: usize, at: Timestamp) -> Draft {
    let answered = before.saturating_sub(dice.low(10));
    let answers = before > 0 && dice.percent(5);
    Draft {
        sender,
        target,
        text: text(dice),
        attachments: Vec::new(),
        reply_to: answers.then_some(answered.max(1) as u64),
        mentions: Vec::new(),
        told: Vec::new(),
        once: None,
        at,
        token: dice.bytes(),
    }
}

/// How far a member is who joined after so many of all messages: mostly at the end, else a few
/// behind, now and then where they began.
fn place(
    dice: &mut Dice,
    user: UserId,
    role: Role,
    (joined_at, joined): (Timestamp, usize),
    messages: usize,
) -> Place {
    let there = messages - joined;
    let behind = match dice.below(20) {
        0..13 => 0,
        13..17 => dice.low(40).saturating_add(1).min(there),
        _ => there,
    };
    let read = messages - behind;
    let delivered = read + dice.below(behind + 1);
    Place {
        user,
        role,
        joined_at,
        joined_seq: joined as u64,
        read_seq: read as u64,
        delivered_seq: delivered as u64,
        noticed: dice.percent(20),
    }
}
