//! Instances are killed at random points under load.

use tokio::time::{Instant, sleep};

use super::crowd::Crowd;
use super::{Rng, seed, setting};
use crate::support::TestApp;
use crate::support::instance::Instance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_nothing_is_lost_or_doubled() {
    let (seed, kills) = (seed(), setting("NATTER_FAULTS_KILLS", 20));
    println!("{kills} kills with NATTER_FAULTS_SEED={seed}");
    let mut rng = Rng(seed);
    let app = TestApp::spawn().await;
    let mut pair = [Instance::start(&app, "").await, Instance::start(&app, "").await];
    let urls = pair.iter().map(|instance| instance.url.clone()).collect();
    let crowd = Crowd::gather(&app, urls).await.begin(seed);
    let began = Instant::now();
    for kill in 1..=kills {
        crowd.goes_on(1).await;
        sleep(rng.millis(0, 700)).await;
        let which = rng.below(2);
        pair[which].kill().await;
        // Now and then the other one goes too: nobody is left to answer.
        if rng.below(8) == 0 {
            pair[1 - which].kill().await;
            pair[1 - which] = Instance::start(&app, "").await;
            crowd.moved(1 - which, &pair[1 - which].url);
        }
        pair[which] = Instance::start(&app, "").await;
        crowd.moved(which, &pair[which].url);
        if kill % 20 == 0 {
            println!("{kill} kills in {:?}, {} messages", began.elapsed(), crowd.taken());
        }
    }
    crowd.goes_on(20).await;
    crowd.end(&app).await;
}
