//! Letters with strokes, and scripts in which parts of words are found: the text decides.

use std::time::Duration;

use serde_json::Value;

use super::{finds, page, query, settled, texts};
use crate::support::{Actor, TestApp};

/// Alice sends these texts to Bob, one a millisecond, and they are indexed.
async fn said(app: &TestApp, said: &[&str]) -> [Actor; 2] {
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    for text in said {
        app.advance(Duration::from_millis(1));
        alice.send(&bob, text).await;
    }
    settled(app).await;
    [alice, bob]
}

#[tokio::test]
async fn letters_with_strokes_are_found_without_them_and_with_them() {
    let app = TestApp::spawn().await;
    let all = ["do Łodzi", "Đà Nẵng", "Smørrebrød", "Große Straße, ÆON"];
    let [alice, bob] = said(&app, &all).await;
    for (q, n) in [
        ("lodzi", 0),
        ("ŁODZI", 0),
        ("da nang", 1),
        ("đa NẴNG", 1),
        ("smorrebrod", 2),
        ("strasse GROSSE", 3),
        ("aeon", 3),
    ] {
        finds(&bob, q, &[all[n]]).await;
        finds(&alice, q, &[all[n]]).await;
    }
}

#[tokio::test]
async fn any_part_is_found_in_scripts_without_spaces_and_in_hangul() {
    let app = TestApp::spawn().await;
    let all = [
        "한국어를 배워요",
        "プロジェクトマネージャー",
        "京都在北方",
        "他在海上",
        "北京和上海",
        "一起玩吧",
        "我的iPhone手机坏了",
        "ฉันเรียนภาษาไทย",
    ];
    let [_, bob] = said(&app, &all).await;
    for (q, found) in [
        ("한국어", [0].as_slice()),
        ("국어", &[0]),
        ("워", &[0]),
        ("프", &[]),
        ("プロジェクト", &[1]),
        ("ﾏﾈｰｼﾞｬ", &[1]),
        ("北京", &[4]),
        ("上海", &[4]),
        ("海上", &[3]),
        ("京 北", &[4, 2]),
        ("玩", &[5]),
        ("iPhone手机", &[6]),
        ("phone", &[]),
        ("ภาษา", &[7]),
        ("ษ", &[7]),
    ] {
        let found: Vec<&str> = found.iter().map(|n| all[*n]).collect();
        finds(&bob, q, &found).await;
    }
}

/// All pages of a walk: its texts, and how many pages there were.
async fn walk(actor: &Actor, q: &str, limit: u8) -> (Vec<String>, usize) {
    let start = format!("{}&limit={limit}", query(q));
    let (mut found, mut path, mut pages) = (Vec::new(), start.clone(), 0);
    loop {
        let page = actor.get(&path).await.ok(200);
        let items: &Vec<Value> = page["items"].as_array().expect("a list");
        assert!(items.len() <= usize::from(limit));
        found.extend(texts(items).into_iter().map(str::to_owned));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { return (found, pages) };
        path = format!("{start}&cursor={cursor}");
    }
}

#[tokio::test]
async fn proposals_that_do_not_match_use_up_no_matches_and_a_request_reads_few() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    // 上海 and 海在 are in each, but only every hundredth has them adjacent in this order.
    let mut expected = Vec::new();
    for n in 0..700 {
        app.advance(Duration::from_millis(1));
        let matches = n % 100 == 50;
        let text = if matches { format!("上海在 {n}") } else { format!("上海和海在 {n}") };
        alice.send(&bob, &text).await;
        if matches {
            expected.push(text);
        }
    }
    expected.reverse();
    settled(&app).await;
    // 500 texts a request: the first ends before its page is full.
    let (found, pages) = walk(&bob, "上海在", 50).await;
    assert_eq!(found, expected);
    assert_eq!(pages, 2);
    for limit in [1, 2, 3, 7] {
        assert_eq!(walk(&bob, "上海在", limit).await.0, expected, "{limit}");
    }
    assert_eq!(page(&bob, &query("海上")).await, Vec::<Value>::new());
}
