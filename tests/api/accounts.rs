//! Signing up, verifying, signing in.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn someone_signs_up_verifies_and_signs_in() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    assert_eq!(ada.name, "ada");
    let again = app.post("/token/refresh", json!({"refresh_token": ada.refresh_token})).await;
    assert_eq!(again.ok(200)["user"]["id"], ada.id.as_str());
}
