//! What is played.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Options;
use super::board::Notes;
use super::common::Result;
use super::crowd::{Crowd, Mode, PATIENCE};
use super::report;
use super::report::Row;
use super::stage::Stage;
use super::talk::{Group, Planned, To};
use super::verdict::judge;

/// Messages a second to the group of those who stall.
const NOISE: u32 = 20;

/// Characters of each of them, of four bytes each.
const NOISE_LENGTH: usize = 3000;

/// Bytes of the receive buffer of who stalls: what the system takes in is not natter's to wait for.
const STALLED_BUFFER: u32 = 4096;

/// How long natter may take to notice that connections were cut, before it is asked for more.
const CUT: Duration = Duration::from_secs(1);

/// How long it may take until a socket that stalled, and reads again, has ended.
const ENDING: Duration = Duration::from_secs(20);

/// Messages to everyone while they are away.
const MISSED: usize = 3;

/// Direct messages at a rate. Returns, like the others, how many things went wrong.
pub async fn direct(stage: &mut Stage, options: &Options) -> Result<usize> {
    let count = options.rate as usize * options.seconds as usize;
    let plan = stage.direct(count, options.rate);
    let measured = stage.phase(plan, |_| true).await?;
    report::title(&format!("direct messages: {} a second for {} s", options.rate, options.seconds));
    report::rows(vec![
        Row("arrival, from when it was due", measured.verdict.from_due.clone()),
        Row("arrival, from its acknowledgement", measured.verdict.from_answer.clone()),
        Row("acknowledgement, from when due", measured.verdict.answered.clone()),
    ]);
    Ok(report::phase(&measured))
}

/// Messages to a group that everyone is in, one a second.
pub async fn group(stage: &mut Stage, options: &Options) -> Result<usize> {
    let group = stage.group().await?;
    let plan = Stage::to_group(&group, options.group_messages as usize, 1, None);
    let measured = stage.phase(plan, |_| true).await?;
    let sockets = stage.crowd.owners.len();
    report::title(&format!(
        "a group of {} connected members on {sockets} sockets: {} messages, one a second",
        group.members, options.group_messages
    ));
    report::rows(vec![
        Row("arrival at one, from when it was due", measured.verdict.from_due.clone()),
        Row("arrival at all, from when it was due", measured.verdict.whole.clone()),
        Row("acknowledgement, from when due", measured.verdict.answered.clone()),
    ]);
    Ok(report::phase(&measured))
}

/// Some devices stop reading while much is sent to them, and others' messages go on. The same is
/// measured before, with all of them reading.
pub async fn stall(stage: &mut Stage, options: &Options) -> Result<usize> {
    let stalled = options.stalled as usize;
    let group = stage.talk.group(stalled + 1).await?;
    stage.settle(Stage::to_group(&group, 1, 1, None)).await?;
    let (connector, people) = (&stage.talk.connector, &stage.talk.people);
    let owners = (0..stalled).collect();
    let stallers = Crowd::new(connector, people, owners, Some(STALLED_BUFFER));
    stallers.open().await?;
    let mut wrong = 0;
    for (mode, what) in [(Mode::Read, "all of them reading"), (Mode::Stall, "none of them reading")]
    {
        stallers.all(mode);
        let plan = noisy(stage, options, &group);
        let measured = stage.phase(plan, is_direct).await?;
        let kib = NOISE_LENGTH * 4 / 1024;
        report::title(&format!(
            "{} direct messages a second for {} s, beside {NOISE} of {kib} KiB a second to a group \
             with {stalled} further devices, {what}",
            options.stall_rate, options.stall_seconds
        ));
        report::rows(vec![Row(
            "direct: arrival, from when due",
            measured.verdict.from_due.clone(),
        )]);
        wrong += report::phase(&measured);
    }
    stallers.all(Mode::Read);
    let ended = |notes: &Notes| notes.ends.len() + notes.errors.len() >= stalled;
    stallers.board.wait(ENDING, ended).await;
    let notes = stallers.board.take();
    Ok(wrong + report::ends(stalled, &notes))
}

fn is_direct(planned: &Planned) -> bool {
    matches!(planned.to, To::Person(_))
}

/// Direct messages, and long ones to a group.
fn noisy(stage: &Stage, options: &Options, group: &Group) -> Vec<Planned> {
    let seconds = options.stall_seconds as usize;
    let mut plan = stage.direct(options.stall_rate as usize * seconds, options.stall_rate);
    let text = "🚂".repeat(NOISE_LENGTH);
    plan.extend(Stage::to_group(group, NOISE as usize * seconds, NOISE, Some(&text)));
    plan.sort_by_key(|planned| planned.due);
    plan
}

/// All connections are cut, messages are sent, and all come back at once.
pub async fn storm(stage: &mut Stage, options: &Options) -> Result<usize> {
    let group = stage.group().await?;
    stage.crowd.all(Mode::Away);
    sleep(CUT).await;
    let mut plan = stage.direct(2 * stage.pairs(), options.rate);
    plan.extend(Stage::to_group(&group, MISSED, options.rate, None));
    plan.sort_by_key(|planned| planned.due);
    let outcome = stage.talk.send(plan).await?;
    let early = stage.crowd.board.take();
    let sockets = stage.crowd.owners.len();
    let back = stage.crowd.all(Mode::Read);
    let opened = |notes: &Notes| notes.openings.len() + notes.errors.len() >= sockets;
    stage.crowd.board.wait(PATIENCE, opened).await;
    let notes = stage.arrived(&outcome).await;
    let mut errors = outcome.errors;
    errors.extend(early.errors.iter().cloned());
    errors.extend(notes.complaints());
    let arrivals = [early.arrivals.as_slice(), &notes.arrivals].concat();
    let verdict = judge(&stage.crowd, &outcome.sent, &arrivals, |_| false);
    report::title(&format!(
        "{sockets} sockets cut at once and back at once, {} messages later: {} missed",
        outcome.sent.len(),
        notes.arrivals.len()
    ));
    report::rows(vec![
        Row("ready again", notes.openings.iter().map(|(_, at)| *at - back).collect()),
        Row("all that was missed is there", caught_up(&notes, back)),
    ]);
    let not_back = sockets - notes.openings.len().min(sockets);
    Ok(not_back + report::came(&verdict) + report::errors(&errors))
}

/// When each device had the last of what it had missed.
fn caught_up(notes: &Notes, back: Instant) -> Vec<Duration> {
    let mut last: HashMap<usize, Instant> = HashMap::new();
    for arrival in &notes.arrivals {
        let at = last.entry(arrival.device).or_insert(arrival.at);
        *at = arrival.at.max(*at);
    }
    last.into_values().map(|at| at - back).collect()
}
