//! People who use natter, and what it answers them.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::app::TestApp;
use super::contract;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request and reads its answer, which must be as documented; of a stream without an
    /// end, how it begins.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        // Boxed, to keep the futures of long tests small.
        Box::pin(Self::read(request)).await
    }

    async fn read(request: reqwest::RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a request");
        let (method, url) = (request.method().clone(), request.url().clone());
        let mut response = client.execute(request).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_endless = headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        let body = if is_endless {
            let beginning = response.chunk().await.expect("a body");
            beginning.map(|bytes| bytes.to_vec()).unwrap_or_default()
        } else {
            response.bytes().await.expect("a whole body").to_vec()
        };
        let answer = Self { status, headers, body };
        contract::check(&method, &url, &answer);
        answer
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    /// Expects this status and gives the JSON.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Expects a problem document of this status and code, and gives it.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert_eq!(problem["errors"].is_array(), code == "validation_failed", "{problem}");
        problem
    }

    /// Expects `validation_failed` for exactly these fields, in order of their names.
    #[track_caller]
    pub fn invalid(self, fields: &[&str]) -> Value {
        let problem = self.problem(422, "validation_failed");
        let errors = problem["errors"].as_array().expect("errors");
        let named: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
        assert_eq!(named, fields, "{problem}");
        problem
    }
}

/// Someone who is signed in.
#[derive(Debug, Clone)]
pub struct Actor {
    http: reqwest::Client,
    url: String,
    pub id: String,
    pub name: String,
    pub email: String,
    pub password: String,
    pub token: String,
    pub refresh_token: String,
}

impl Actor {
    /// Someone who signed in with these words and got this answer to POST /login.
    pub fn new(app: &TestApp, email: &str, password: &str, login: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        Self {
            http: app.http(),
            url: app.url.clone(),
            id: text(&login["user"]["id"]),
            name: text(&login["user"]["username"]),
            email: email.to_owned(),
            password: password.to_owned(),
            token: text(&login["access_token"]),
            refresh_token: text(&login["refresh_token"]),
        }
    }

    pub fn through(&self, http: reqwest::Client, url: String) -> Self {
        Self { http, url, ..self.clone() }
    }

    /// The same person, talking to the instance at this address.
    pub fn at(&self, url: &str) -> Self {
        self.through(self.http.clone(), url.to_owned())
    }

    /// The instance that they talk to.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A request with this person's token, to be changed and then sent.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request("POST", path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request("PUT", path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path)).await
    }
}

impl Actor {
    /// Sends a direct message.
    pub async fn send(&self, to: &Self, text: &str) -> Value {
        let body = serde_json::json!({"recipient_user_id": to.id, "message": text});
        self.post("/messages", body).await.ok(201)
    }

    /// Sends a message to a group.
    pub async fn tell(&self, group: &str, text: &str) -> Value {
        let body = serde_json::json!({"group_id": group, "message": text});
        self.post("/messages", body).await.ok(201)
    }

    /// Makes a group with these people and gives its id.
    pub async fn group(&self, name: &str, members: &[Self]) -> String {
        let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        let body = serde_json::json!({"group_name": name, "members": members});
        let group = self.post("/groups", body).await.ok(201);
        group["id"].as_str().expect("an id").to_owned()
    }

    /// Becomes friends with someone.
    pub async fn befriend(&self, other: &Self) {
        self.post("/friends/add", serde_json::json!({"friend_user_id": other.id})).await.ok(201);
        let accepted = serde_json::json!({"friend_user_id": self.id});
        other.post("/friends/accept", accepted).await.ok(200);
    }
}
