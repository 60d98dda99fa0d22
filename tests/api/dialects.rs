//! One request in the words of many clients: media types, encodings, forms, ids and forwarding
//! headers as people's libraries and proxies write them.

use natter::internals::filters::Body;
use reqwest::header::HeaderName;
use serde_json::{Value, json};

use crate::support::socket::{open, request};
use crate::support::{Actor, Answer, TestApp};

async fn send_as(from: &Actor, to: &Actor, content_type: &str) -> Answer {
    let body = json!({"recipient_user_id": to.id, "message": "hi"}).to_string();
    let request = from.request("POST", "/messages").header("content-type", content_type);
    Answer::of(request.body(body)).await
}

#[tokio::test]
async fn json_is_json_with_any_parameter() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    for content_type in [
        "application/json; charset=utf8",
        "application/json; version=1",
        "Application/Json;Charset=\"UTF-8\";",
        "application/json ; profile=\"a;b=c\" ; odd",
        "application/json;charset=iso-8859-1",
    ] {
        send_as(&ada, &bob, content_type).await.ok(201);
    }
    for other in ["application/json5", "text/json", "application/merge-patch+json", "json"] {
        send_as(&ada, &bob, other).await.problem(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_compressed_body_is_415_that_says_what_is_taken() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for row in natter::internals::table() {
        let content_types: &[&str] = match row.body {
            Body::None => continue,
            Body::Json { .. } => &["application/json"],
            Body::Multipart => &["multipart/form-data; boundary=x"],
            Body::JsonOrMultipart { .. } => {
                &["application/json", "multipart/form-data; boundary=x"]
            }
        };
        for content_type in content_types {
            for coding in ["gzip", "identity, br"] {
                let path = crate::table::filled(&row);
                let request = ada.request(row.verb.as_str(), &path);
                let request = request.header("content-type", *content_type);
                let answer =
                    Answer::of(request.header("content-encoding", coding).body("{}")).await;
                assert_eq!(answer.header("accept-encoding"), "identity", "{}", row.path);
                answer.problem(415, "unsupported_media_type");
            }
        }
    }
    let plain = ada.request("PUT", "/profile").header("content-encoding", "Identity");
    Answer::of(plain.json(&json!({}))).await.ok(200);
}

/// A form whose one file has this `Content-Disposition`.
async fn upload_as(from: &Actor, disposition: &[u8]) -> Answer {
    let mut body = b"--x\r\nContent-Disposition: ".to_vec();
    body.extend([disposition, b"\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--\r\n"].concat());
    let request = from.request("POST", "/attachments");
    let request =
        request.header("content-type", "Multipart/Form-Data; charset=utf-8; BOUNDARY=\"x\"");
    Answer::of(request.body(body)).await
}

#[tokio::test]
async fn file_names_are_read_however_they_are_written() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for (disposition, name) in [
        (r#"form-data; name="file"; filename="a.txt""#, "a.txt"),
        (r#"form-data; NAME="file"; FileName="a.txt""#, "a.txt"),
        (r#"form-data; filename="a; name=b.txt"; name="file""#, "a; name=b.txt"),
        (r#"form-data; name="file"; filename="say \"hi\".txt""#, r#"say "hi".txt"#),
        (r#"form-data; name="file"; filename="a=b;c.txt""#, "a=b;c.txt"),
        ("form-data; name=file; filename=\"a\u{1}\u{7f}\u{85}b\u{0}\tc.txt\"", "abc.txt"),
        ("form-data; name=\"file\"; filename=\"\u{1b}[31ma\r\n b.txt\"", "[31ma b.txt"),
        (r#"form-data; name="file"; filename*=UTF-8''%e2%82%ac%20a.txt"#, "\u{20ac} a.txt"),
    ] {
        let sent = upload_as(&ada, disposition.as_bytes()).await.ok(201);
        assert_eq!(sent["filename"], name, "{disposition:?}");
    }
    upload_as(&ada, b"form-data; name=\"file\"; filename=\"\xff\"")
        .await
        .problem(400, "malformed_multipart");
    upload_as(&ada, b"form-data; xname=\"file\"").await.invalid(&["file"]);
}

#[tokio::test]
async fn ids_are_taken_in_upper_case_and_answered_in_lower() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let upper = |id: &Value| id.as_str().expect("an id").to_uppercase();
    let up = bob.id.to_uppercase();
    let sent = ada.send(&bob, "aardvark").await;
    let again = ada.post("/messages", json!({"recipient_user_id": up, "message": "2"})).await;
    let again = again.ok(201);
    assert_eq!(again["conversation_id"], sent["conversation_id"]);
    assert_eq!((&again["recipient_user_id"], &again["seq"]), (&json!(bob.id), &json!(2)));
    assert_eq!(ada.get(&format!("/users/{up}")).await.ok(200)["id"], bob.id.as_str());
    let history = ada.get(&format!("/messages/{}?limit=1", bob.id)).await.ok(200);
    let same = ada.get(&format!("/messages/{up}?limit=1")).await.ok(200);
    assert_eq!(history, same);
    let conversation = upper(&sent["conversation_id"]);
    let one = format!("/conversations/{conversation}/messages/{}", again["id"].as_str().unwrap());
    assert_eq!(ada.get(&one).await.ok(200)["id"], again["id"]);
    let form = reqwest::multipart::Form::new().text("recipient_user_id", up.clone());
    let file = reqwest::multipart::Part::bytes(&b"x"[..]).file_name("x");
    let form = form.part("file", file);
    let form = Answer::of(ada.request("POST", "/messages").multipart(form)).await.ok(201);
    assert_eq!(form["seq"], 3);
    let attachment = upper(&form["attachments"][0]["id"]);
    assert_eq!(bob.get(&format!("/attachments/{attachment}")).await.status, 200);
    let group = json!({"group_name": "g", "members": [up, bob.id]});
    let group = ada.post("/groups", group).await.ok(201);
    assert_eq!(group["member_count"], 2);
    let told = json!({"group_id": upper(&group["id"]), "message": "hi"});
    assert_eq!(ada.post("/messages", told).await.ok(201)["group_id"], group["id"]);
    let search = format!("/search/messages?q=aardvark&conversation_id={conversation}");
    ada.get(&search).await.ok(200);
    let mut socket = bob.socket().await;
    let mut typist = ada.socket().await;
    typist.send(json!({"type": "typing", "conversation_id": conversation})).await;
    assert_eq!(socket.expect("typing").await["conversation_id"], sent["conversation_id"]);
    for bad in [bob.id.replace('-', ""), format!("urn:uuid:{}", bob.id), format!("{{{}}}", bob.id)]
    {
        ada.get(&format!("/users/{bad}")).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn proxies_name_the_client_in_their_ways() {
    let app = TestApp::with(|settings| {
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    let ada = app.user("ada").await;
    let seen = async |name: &'static str, value: &str| {
        let login = json!({"email": ada.email, "password": ada.password});
        let login = app.request("POST", "/login").header(name, value).json(&login);
        let token = Answer::of(login).await.ok(200)["access_token"].clone();
        let list = app.request("GET", "/sessions").bearer_auth(token.as_str().expect("a token"));
        let list = Answer::of(list).await.ok(200);
        let mut items = list["items"].as_array().expect("a list").iter();
        let current = items.find(|item| item["current"] == true).expect("one");
        current["ip"].as_str().expect("text").to_owned()
    };
    for (name, value, ip) in [
        ("x-forwarded-for", "203.0.113.7:51234", "203.0.113.7"),
        ("x-forwarded-for", "1.2.3.4, [2001:db8::7]:443", "2001:db8::7"),
        ("x-forwarded-for", "[2001:db8::7], 127.0.0.9", "2001:db8::7"),
        ("forwarded", "for=1.2.3.4, for=\"[2001:db8::7]:443\";proto=https", "2001:db8::7"),
        ("forwarded", "For=203.0.113.9", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9, for=_hidden", "127.0.0.1"),
    ] {
        assert_eq!(seen(name, value).await, ip, "{name}: {value}");
    }
}

/// A natter that pages of one origin may use.
async fn named_origin() -> TestApp {
    TestApp::with(|settings| {
        settings.server.cors_origins = vec!["https://app.example".parse().expect("an origin")];
    })
    .await
}

/// Asks whether a page may PUT there with these headers.
async fn preflight(app: &TestApp, path: &str, origin: &str, headers: &str) -> Answer {
    let preflight = app.request("OPTIONS", path).header("origin", origin);
    let preflight = preflight.header("access-control-request-method", "PUT");
    Answer::of(preflight.header("access-control-request-headers", headers)).await
}

#[tokio::test]
async fn a_request_that_is_refused_is_permitted_so_that_the_page_reads_the_refusal() {
    let app = named_origin().await;
    for (path, status, code) in [
        ("/users/not-a-uuid", 404, "not_found"),
        ("/no/such/path", 404, "not_found"),
        ("/login", 405, "method_not_allowed"),
    ] {
        let answer = preflight(&app, path, "https://app.example", "x-mine").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        assert_eq!(answer.header("access-control-allow-methods"), "PUT", "{path}");
        assert_eq!(answer.header("access-control-allow-headers"), "x-mine", "{path}");
        let refused = app.request("PUT", path).header("origin", "https://app.example");
        let refused = Answer::of(refused).await;
        assert_eq!(refused.header("access-control-allow-origin"), "https://app.example", "{path}");
        refused.problem(status, code);
    }
}

#[tokio::test]
async fn a_preflight_from_a_named_origin_gets_what_it_asks_for() {
    let app = named_origin().await;
    let wanted = "authorization,cache-control,traceparent,x-requested-with";
    let answer = preflight(&app, "/profile", "https://app.example", wanted).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-allow-headers"), wanted);
    assert_eq!(answer.header("access-control-allow-methods"), answer.header("allow"));
    assert!(answer.header("allow").contains("PUT"));
    let varies =
        answer.headers.get_all("vary").iter().any(|vary| {
            vary.to_str().is_ok_and(|vary| vary.to_ascii_lowercase().contains("origin"))
        });
    assert!(varies);
    for other in ["https://evil.example", "https://app.example:8443", "http://app.example", "null"]
    {
        for answer in [
            preflight(&app, "/profile", other, wanted).await,
            Answer::of(app.request("GET", "/healthz").header("origin", other)).await,
        ] {
            let names = answer.headers.keys().map(HeaderName::as_str);
            let permits: Vec<&str> =
                names.filter(|name| name.starts_with("access-control")).collect();
            assert!(permits.is_empty(), "{other}: {permits:?}");
            assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "origin"), "{other}");
        }
    }
}

#[tokio::test]
async fn a_subprotocol_is_chosen_if_it_is_ours() {
    let app = TestApp::spawn().await;
    for (offered, chosen) in [
        (vec!["natter.v1"], "natter.v1"),
        (vec!["chat, natter.v1 ,mqtt"], "natter.v1"),
        (vec!["chat", "natter.v1"], "natter.v1"),
        (vec!["chat, superchat"], ""),
        (vec!["natter.v2"], ""),
        (vec!["NATTER.V1"], ""),
        (vec![], ""),
    ] {
        let mut handshake = request(&app.url, "");
        for line in &offered {
            handshake = handshake.header("sec-websocket-protocol", *line);
        }
        let Ok(socket) = open(handshake).await else { panic!("no socket for {offered:?}") };
        let got = socket.headers.get("sec-websocket-protocol");
        assert_eq!(got.map_or("", |it| it.to_str().expect("ASCII")), chosen, "{offered:?}");
    }
}

#[tokio::test]
async fn every_bad_field_and_element_is_named() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for (query, fields) in [
        ("/users?q=x&limit=0", vec!["limit", "q"]),
        ("/users?limit=x&nothing=1", vec!["limit", "nothing", "q"]),
        ("/search/messages?q=&conversation_id=x&limit=101", vec!["conversation_id", "limit", "q"]),
        ("/friends?status=x&limit=-1", vec!["limit", "status"]),
        ("/notifications?unread=1&limit=0", vec!["limit", "unread"]),
    ] {
        ada.get(query).await.invalid(&fields);
    }
    let ids = json!({"ids": [1, "x", null, {}], "all": "yes"});
    let fields = ["all", "ids[0]", "ids[2]", "ids[3]"];
    ada.post("/notifications/read", ids).await.invalid(&fields);
    let signup = json!({"username": 7, "email": "x", "password": "short"});
    app.post("/signup", signup).await.invalid(&["email", "password", "username"]);
    let message =
        json!({"group_id": 1, "attachments": ["x", ada.id, 3], "reply_to": [], "message": ""});
    let fields = ["attachments[0]", "attachments[2]", "group_id", "message", "recipient_user_id"];
    let fields = [&fields[..], &["reply_to"]].concat();
    ada.post("/messages", message).await.invalid(&fields);
    let group = json!({"group_name": " ", "members": ["x", 5]});
    ada.post("/groups", group).await.invalid(&["group_name", "members[0]", "members[1]"]);
}
