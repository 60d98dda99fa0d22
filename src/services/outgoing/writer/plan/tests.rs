use std::time::Duration;

use super::*;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Timestamp;
use crate::domain::ids::GroupId;
use crate::domain::messages::ExactlyOnce;
use crate::error::Kind as ErrorKind;

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000_000)
}

fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

fn draft(sender: UserId, target: Target) -> Draft {
    Draft {
        sender,
        target,
        text: "hi".to_owned(),
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        told: Vec::new(),
        once: None,
        at: now(),
        token: [0; 16],
    }
}

/// A draft of Ada's to Bob with a `client_message_id`, about one thing or another.
fn named(about: u8) -> Draft {
    let once = ExactlyOnce { client_message_id: "a".to_owned(), fingerprint: [about; 32] };
    Draft { once: Some(once), ..draft(user(1), Target::User(user(2))) }
}

/// The state of a group with a message, of which these users are members.
fn group(members: &[UserId]) -> (Target, Snapshot) {
    let target = Target::Group(GroupId::from_bytes([9; 16]));
    let mut summary = Summary::of_target(user(1), target);
    summary.last_seq = 1;
    let mut snapshot = Snapshot::default();
    snapshot.sent_counts.extend(members.iter().map(|user| ((summary.id, *user), 1)));
    snapshot.conversations.insert(summary.id, summary);
    (target, snapshot)
}

/// The number of a new message; `None` for any other answer.
fn number(answer: &Result<Sent>) -> Option<u64> {
    match answer {
        Ok(Sent::New(message)) => Some(message.id.seq),
        Ok(Sent::Before(_)) | Err(_) => None,
    }
}

#[test]
fn one_name_twice_in_a_batch_is_one_message() {
    let plan = Plan::of(&[named(1), named(1), named(2)], Snapshot::default());
    let [Ok(Sent::New(first)), Ok(Sent::Before(again)), Err(error)] = &plan.answers[..] else {
        panic!("{:?}", plan.answers);
    };
    assert_eq!((*again, error.code()), (first.id, "idempotency_key_reused"));
    assert_eq!((plan.messages.len(), plan.keys.len()), (1, 1));
}

#[test]
fn a_name_is_free_again_when_its_uses_have_expired() {
    let draft = named(1);
    let message = MessageId::new(draft.conversation(), 7);
    let key = draft.idempotency_key().unwrap();
    let one = |expires_at| KeyUse { message, fingerprint: [1; 32], expires_at };
    let later = now().plus(Duration::from_millis(1));
    for (uses, is_used) in [
        (vec![], false),
        (vec![one(now())], false),
        (vec![one(later)], true),
        (vec![one(now()), one(later)], true),
    ] {
        let keys = KnownKeys(HashMap::from([(key.clone(), uses)]));
        let plan = Plan::of(std::slice::from_ref(&draft), Snapshot { keys, ..Snapshot::default() });
        assert_eq!(matches!(plan.answers[0], Ok(Sent::Before(it)) if it == message), is_used);
        assert_eq!(plan.messages.is_empty(), is_used);
    }
}

#[test]
fn a_removed_member_sends_nothing_and_takes_no_number() {
    let (target, snapshot) = group(&[user(1), user(3)]);
    let drafts = [1, 2, 3].map(|n| draft(user(n), target));
    let plan = Plan::of(&drafts, snapshot);
    let numbers: Vec<_> = plan.answers.iter().map(number).collect();
    assert_eq!(numbers, [Some(2), None, Some(3)]);
    assert_eq!(plan.answers[1].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(plan.sent_counts.len(), 2);
}

#[test]
fn a_group_that_has_ended_takes_nothing() {
    let (target, mut snapshot) = group(&[user(1)]);
    snapshot.conversations.clear();
    let plan = Plan::of(&[draft(user(1), target)], snapshot);
    assert_eq!(plan.answers[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!((plan.last_seq(), plan.sent_counts.len()), (None, 0));
}

#[test]
fn a_collected_file_refuses_its_draft_alone() {
    let [kept, collected] = [1, 2].map(|n| Attachment {
        id: AttachmentId::from_bytes([n; 16]),
        filename: "a.txt".to_owned(),
        content_type: "text/plain".to_owned(),
        size: 1,
        sha256: String::new(),
        width: None,
        height: None,
        url: String::new(),
        thumbnail_url: None,
        created_at: now(),
    });
    let snapshot = Snapshot { files: BTreeSet::from([kept.id]), ..Snapshot::default() };
    let with = |attachments| Draft { attachments, ..draft(user(1), Target::User(user(2))) };
    let drafts = [with(vec![kept.clone(), collected]), with(vec![kept])];
    let plan = Plan::of(&drafts, snapshot);
    let refused = plan.answers[0].as_ref().unwrap_err();
    assert_eq!(refused.field_errors()[0].field, "attachments[1]");
    assert_eq!(number(&plan.answers[1]), Some(1));
}

#[test]
fn numbers_and_counts_follow_the_order_of_the_drafts() {
    let (ada, bob) = (user(1), user(2));
    let (to_ada, to_bob) = (Target::User(ada), Target::User(bob));
    let drafts = [draft(ada, to_bob), draft(bob, to_ada), draft(bob, to_ada), draft(ada, to_bob)];
    let plan = Plan::of(&drafts, Snapshot::default());
    let placed = plan.messages.iter().map(|it| (it.message.id.seq, it.message.sender, it.nth));
    assert_eq!(placed.collect::<Vec<_>>(), [(1, ada, 1), (2, bob, 1), (3, bob, 2), (4, ada, 2)]);
    let conversation = drafts[0].conversation();
    let summary = &plan.conversations[&conversation];
    assert_eq!((summary.kind, &summary.members), (Kind::Direct, &vec![ada, bob]));
    let seq = |last: Option<LastMessage>| last.map(|last| (last.seq, last.sender));
    assert_eq!((seq(summary.last), seq(summary.other)), (Some((4, ada)), Some((3, bob))));
    let update =
        |user, change| MemberUpdate { conversation, user, direct_since: Some(now()), change };
    let updates = plan.member_updates();
    assert_eq!(updates.len(), 4);
    for expected in [
        update(ada, MemberChange::SentCount(2)),
        update(bob, MemberChange::SentCount(2)),
        update(ada, MemberChange::Waiting(3, now())),
        update(bob, MemberChange::Waiting(4, now())),
    ] {
        assert!(updates.contains(&expected), "{expected:?}");
    }
}

#[test]
fn a_message_to_oneself_waits_for_nobody_and_in_a_group_none_does() {
    let (target, snapshot) = group(&[user(1)]);
    for (target, snapshot) in [(Target::User(user(1)), Snapshot::default()), (target, snapshot)] {
        let plan = Plan::of(&[draft(user(1), target)], snapshot);
        let changes: Vec<_> = plan.member_updates().iter().map(|update| update.change).collect();
        assert!(matches!(changes[..], [MemberChange::SentCount(_)]), "{changes:?}");
    }
}
