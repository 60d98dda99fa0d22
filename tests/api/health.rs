//! Is it alive, is it ready.

use crate::support::TestApp;

#[tokio::test]
async fn a_running_instance_is_alive_and_ready() {
    let app = TestApp::spawn().await;
    assert_eq!(app.get("/healthz").await.ok(200)["status"], "ok");
    let ready = app.get("/readyz").await.ok(200);
    assert_eq!(ready, serde_json::json!({"status": "ok", "mongodb": "ok", "redis": "ok"}));
    app.get("/nothing").await.problem(404, "not_found");
}

#[tokio::test]
async fn an_instance_that_leaves_is_not_ready() {
    let app = TestApp::with(|settings| {
        settings.server.drain_delay_seconds = std::time::Duration::from_mins(1);
    })
    .await;
    app.get("/readyz").await.ok(200);
    app.shutdown.begin();
    assert_eq!(app.get("/readyz").await.ok(503)["status"], "unavailable");
    assert_eq!(app.get("/healthz").await.ok(200)["status"], "ok");
}
