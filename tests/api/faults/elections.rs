//! The primary of a replica set fails while people are connected: they stay, and are told
//! everything once there is another.

use super::devices::{Habit, Running};
use super::net::{Circle, Net, Service};
use super::storm::{end_all, switch_on, tell};
use super::{Rng, seed, setting};
use crate::support::replica_set::ReplicaSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_connected_stays_through_elections() {
    let (seed, rounds) = (seed(), setting("NATTER_FAULTS_KILLS", 20).div_ceil(40));
    println!("{rounds} rounds with NATTER_FAULTS_SEED={seed}");
    let mut rng = Rng(seed);
    let (mut set, app) = ReplicaSet::with_app().await;
    let other = app.second_instance().await;
    let circle = Circle::gather(&app).await;
    let net = Net::of([app.url.clone(), other.url.clone()]);
    let devices = switch_on(&net, &circle, [Habit::Steady; 5], &mut rng).await;
    let talk = circle.talk(&net, Service::Broken, 40, seed);
    for _ in 0..rounds {
        for is_killed in [true, false] {
            talk.goes_on(30).await;
            let old = set.primary().await;
            if is_killed {
                set.members[old].kill();
            } else {
                set.members[old].stop().await;
            }
            set.primary_besides(old).await;
            talk.goes_on(30).await;
            set.members[old].start().await;
            set.whole().await;
            assert!(!devices.iter().any(Running::has_failed), "a device found something wrong");
        }
    }
    let done = talk.end().await;
    let pasts = end_all(devices, &done).await;
    tell(&pasts);
}
