//! The people of the tables about groups, and a fresh group of theirs for each cell.

use std::io::Cursor;

use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::Names;
use crate::support::{Actor, Answer, TestApp};

/// Everyone in the tables about groups. `other` has blocked `blocked`.
pub(super) struct People {
    pub owner: Actor,
    pub admin: Actor,
    pub member: Actor,
    pub blocked: Actor,
    pub removed: Actor,
    pub outsider: Actor,
    /// An admin to whom things are done.
    rival: Actor,
    /// A member to whom things are done, and who wrote the message.
    pub other: Actor,
    newcomer: Actor,
}

impl People {
    pub(super) async fn of(app: &TestApp) -> Self {
        let names = [
            "owner", "admin", "member", "blocked", "removed", "outsider", "rival", "other",
            "newcomer",
        ];
        let people = names.map(|name| async move { app.user(&format!("the-{name}")).await });
        let people = join_all(people).await;
        let [owner, admin, member, blocked, removed, outsider, rival, other, newcomer] =
            people.try_into().expect("nine");
        other.post("/blocks", json!({"user_id": blocked.id})).await.ok(201);
        Self { owner, admin, member, blocked, removed, outsider, rival, other, newcomer }
    }

    /// A fresh group with a message of `other` and a picture attached to it, as `actor` will name
    /// it.
    pub(super) async fn gather(&self, actor: &Actor) -> Names {
        let Self { owner, admin, member, blocked, removed, rival, other, .. } = self;
        let everyone = [admin, member, blocked, removed, rival, other].map(Clone::clone);
        let group = owner.group("matrix", &everyone).await;
        for one in [admin, rival] {
            let path = format!("/groups/{group}/members/{}", one.id);
            owner.put(&path, json!({"role": "admin"})).await.ok(200);
        }
        let file = upload(other).await;
        let text = json!({"group_id": group, "message": "hello", "attachments": [file]});
        let message = other.post("/messages", text).await.ok(201)["id"].clone();
        let user = json!({"user_id": removed.id});
        owner.post(&format!("/groups/{group}/remove"), user).await.ok(200);
        let message = message.as_str().expect("an id").to_owned();
        Names::from([
            ("marker", group.clone()),
            ("group", group),
            ("message", message),
            ("file", file),
            ("self", actor.id.clone()),
            ("owner", owner.id.clone()),
            ("rival", rival.id.clone()),
            ("other", other.id.clone()),
            ("newcomer", self.newcomer.id.clone()),
        ])
    }
}

/// Uploads a small picture; its id.
async fn upload(actor: &Actor) -> String {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([7; 3]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    let form = Form::new().part("file", Part::bytes(bytes.into_inner()).file_name("dot.png"));
    let made = Answer::of(actor.request("POST", "/attachments").multipart(form)).await.ok(201);
    made["id"].as_str().expect("an id").to_owned()
}
