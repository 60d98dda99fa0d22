//! The primary of a replica set fails under load, in each of the ways that it can.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::crowd::Crowd;
use super::{Rng, seed, setting};
use crate::support::replica_set::ReplicaSet;

/// What happens to a primary.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// As by `kill -9`; it comes back with what its journal has.
    Kill,
    /// It hangs (SIGSTOP), and goes on later believing that it is still the primary.
    Freeze,
    /// It is told to stop, hands over, and comes back.
    Restart,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_primary_nothing_is_lost_or_doubled() {
    let (seed, rounds) = (seed(), setting("NATTER_FAULTS_KILLS", 20).div_ceil(40));
    println!("{rounds} rounds with NATTER_FAULTS_SEED={seed}");
    let mut rng = Rng(seed);
    let (mut set, app) = ReplicaSet::with_app().await;
    let other = app.second_instance().await;
    let crowd = Crowd::gather(&app, vec![app.url.clone(), other.url.clone()]).await.begin(seed);
    for round in 1..=rounds {
        for fault in [Fault::Kill, Fault::Freeze, Fault::Restart] {
            crowd.goes_on(20).await;
            sleep(rng.millis(0, 500)).await;
            let began = Instant::now();
            let old = set.primary().await;
            match fault {
                Fault::Kill => set.members[old].kill(),
                Fault::Freeze => set.members[old].freeze(),
                Fault::Restart => set.members[old].stop().await,
            }
            set.primary_besides(old).await;
            let elected = began.elapsed();
            crowd.goes_on(20).await;
            println!("round {round}, {fault:?}: elected {elected:?}, on {:?}", began.elapsed());
            match fault {
                Fault::Freeze => set.members[old].thaw(),
                Fault::Kill | Fault::Restart => set.members[old].start().await,
            }
            set.whole().await;
        }
    }
    sleep(Duration::from_millis(500)).await;
    crowd.end(&app).await;
}
