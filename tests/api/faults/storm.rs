//! Sockets are cut and instances are killed at random while people talk: every device is told
//! everything once and in order, or that it was not.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::devices::{Device, Habit, Past, Running, agree};
use super::net::{Circle, Done, Net, Service};
use super::{Rng, setting};
use crate::support::TestApp;
use crate::support::instance::Instance;

/// Where the random choices of `make test` begin; `make faults` has another each time.
const SEED: u64 = 20_261_123;

/// Alice and Bob with a device each, Carol with three.
pub async fn switch_on(
    net: &Arc<Net>,
    circle: &Circle,
    habits: [Habit; 5],
    rng: &mut Rng,
) -> Vec<Running> {
    let mut devices = Vec::new();
    for (owner, habit) in [0, 1, 2, 2, 2].into_iter().zip(habits) {
        let person = &circle.people[owner];
        devices.push(Device::on(net, person, habit, Rng(rng.next())).await);
    }
    devices
}

/// Ends all devices when everything has come to them; then they have to agree.
pub async fn end_all(devices: Vec<Running>, done: &Done) -> Vec<Past> {
    let mut pasts = Vec::new();
    for device in devices {
        pasts.push(device.end().await);
    }
    for (at, one) in pasts[2..].iter().enumerate() {
        for other in &pasts[2..][at + 1..] {
            agree(one, other);
        }
    }
    if pasts.iter().all(|past| past.lives.len() == 1) {
        for (kind, messages) in [
            ("message.created", &done.sent),
            ("message.updated", &done.edited),
            ("message.deleted", &done.deleted),
        ] {
            for message in messages {
                let told = pasts.iter().filter(|past| past.has(kind, message)).count();
                // Of two people at least; Carol has three.
                assert!([2, 4, 5].contains(&told), "{kind} {message} on {told} devices");
            }
        }
    }
    pasts
}

/// Prints what devices have lived through.
pub fn tell(pasts: &[Past]) {
    for past in pasts {
        let (told, lives, recovered) = (past.told(), past.lives.len(), past.recovered);
        println!("{}: {told} events, {recovered} recoveries, {lives} lives", past.name);
    }
}

/// Two instances on the stores of a test, and where they are.
struct Pair<'a> {
    app: &'a TestApp,
    instances: [Instance; 2],
    net: Arc<Net>,
}

impl<'a> Pair<'a> {
    async fn start(app: &'a TestApp) -> Self {
        let instances = [Instance::start(app, "").await, Instance::start(app, "").await];
        let net = Net::of(instances.iter().map(|instance| instance.url.clone()));
        Self { app, instances, net }
    }

    async fn start_again(&mut self, which: usize) {
        self.instances[which] = Instance::start(self.app, "").await;
        self.net.moved(which, &self.instances[which].url);
    }

    /// Kills one, now and then for longer, now and then the other one as well.
    async fn lose_one(&mut self, rng: &mut Rng) {
        let which = rng.below(2);
        self.instances[which].kill().await;
        if rng.below(4) == 0 {
            // Long enough for the other one to relay.
            sleep(rng.millis(0, 4000)).await;
            if rng.below(2) == 0 {
                self.instances[1 - which].kill().await;
                self.start_again(1 - which).await;
            }
        }
        self.start_again(which).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_and_killed_each_device_is_told_all_once_or_that_it_was_not() {
    let kills = setting("NATTER_FAULTS_KILLS", 0);
    let (seed, kills) = if kills == 0 { (SEED, 5) } else { (super::seed(), kills) };
    println!("{kills} kills with NATTER_FAULTS_SEED={seed}");
    let mut rng = Rng(seed);
    let app = TestApp::spawn().await;
    let circle = Circle::gather(&app).await;
    // Nobody relays but those who are killed.
    app.shutdown.abort();
    let mut pair = Pair::start(&app).await;
    let habits = [Habit::Cut(800), Habit::Cut(3000), Habit::Loyal, Habit::Cut(1500), Habit::Loyal];
    let devices = switch_on(&pair.net, &circle, habits, &mut rng).await;
    let talk = circle.talk(&pair.net, Service::Broken, 30, seed);
    let began = Instant::now();
    for kill in 1..=kills {
        talk.goes_on(1000_usize.div_ceil(usize::try_from(kills).expect("small")).max(20)).await;
        sleep(rng.millis(0, 700)).await;
        pair.lose_one(&mut rng).await;
        if kill % 20 == 0 {
            println!("{kill} kills in {:?}", began.elapsed());
        }
        assert!(!devices.iter().any(Running::has_failed), "a device found something wrong");
    }
    talk.goes_on(50).await;
    let done = talk.end().await;
    let pasts = end_all(devices, &done).await;
    tell(&pasts);
    let lost = pasts.iter().filter(|past| past.lives.len() > 1).count();
    assert_eq!(lost, 0, "Redis was there all the time");
}
