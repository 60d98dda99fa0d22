//! `POST /messages` as a form: the fields of the JSON object as text, and files.

use serde_json::{Map, Value};

use super::{SendMessage, TEXT_LIMIT};
use crate::domain::files::MAX_TOGETHER;
use crate::domain::ids::UserId;
use crate::error::{Error, FieldError, Kind, Result};
use crate::filters::json::from_object;
use crate::filters::multipart::{Form, Part};
use crate::services::attachments::Attachments;
use crate::services::upload::Upload;

/// Fields that are given once.
const FIELDS: [&str; 5] =
    ["recipient_user_id", "group_id", "message", "reply_to", "client_message_id"];

/// Files that may come with a message.
const MAX_FILES: usize = 10;

/// Reads the whole form, its parts in any order: the valid input, and the files in theirs. Files
/// go to the store as they come; whatever fails, nothing stays of them.
///
/// # Errors
/// `payload_too_large`, `malformed_multipart`, `validation_failed` with every bad field; or the
/// store is away.
pub(super) async fn receive(
    mut form: Form,
    attachments: &Attachments,
    uploader: UserId,
) -> Result<(SendMessage, Vec<Upload>)> {
    let mut reading = Reading {
        attachments,
        uploader,
        fields: Map::new(),
        ids: None,
        text: 0,
        uploads: Vec::new(),
        files: 0,
        size: 0,
        errors: Vec::new(),
    };
    let outcome = reading.read(&mut form).await;
    form.drain(outcome).await?;
    reading.finish()
}

/// What was read of a form so far.
struct Reading<'a> {
    attachments: &'a Attachments,
    uploader: UserId,
    fields: Map<String, Value>,
    /// What the parts `attachments` name.
    ids: Option<Vec<Value>>,
    /// Bytes of fields.
    text: u64,
    uploads: Vec<Upload>,
    /// Parts `file`.
    files: usize,
    /// Bytes of files.
    size: u64,
    errors: Vec<FieldError>,
}

impl Reading<'_> {
    async fn read(&mut self, form: &mut Form) -> Result<()> {
        while let Some(mut part) = form.next_part().await? {
            match part.name() {
                Some("file") => self.file(part).await?,
                Some("attachments") => {
                    let text = self.text_of(part).await?;
                    self.attach(text);
                }
                Some(name) if FIELDS.contains(&name) => {
                    let name = name.to_owned();
                    let text = self.text_of(part).await?;
                    if self.fields.insert(name, text.into()).is_some() {
                        let detail = "field given more than once";
                        return Err(Error::malformed("malformed_multipart", detail));
                    }
                }
                _ => while part.chunk().await?.is_some() {},
            }
        }
        Ok(())
    }

    async fn text_of(&mut self, part: Part) -> Result<String> {
        let text = part.text(TEXT_LIMIT - self.text).await.map_err(|error| match error.kind() {
            Kind::TooLarge => Error::too_large(TEXT_LIMIT),
            _ => error,
        })?;
        self.text += text.len() as u64;
        Ok(text)
    }

    /// Takes an id, or a JSON array of ids.
    fn attach(&mut self, text: String) {
        let ids = self.ids.get_or_insert_default();
        if !text.trim_start().starts_with('[') {
            ids.push(text.into());
        } else if let Ok(more) = serde_json::from_str::<Vec<Value>>(&text) {
            ids.extend(more);
        } else {
            self.refuse("attachments", "invalid_format", "must be an id or a JSON array of ids");
        }
    }

    async fn file(&mut self, mut part: Part) -> Result<()> {
        self.files += 1;
        let mut upload = None;
        if self.files <= MAX_FILES {
            let filename = part.filename().unwrap_or_default();
            upload = Some(self.attachments.begin(self.uploader, filename));
        } else {
            self.refuse("file", "too_many", "must have at most 10 files");
        }
        while let Some(bytes) = part.chunk().await? {
            self.size += bytes.len() as u64;
            if self.size > MAX_TOGETHER {
                return Err(Error::too_large(MAX_TOGETHER));
            }
            if let Some(upload) = &mut upload {
                upload.write(bytes).await?;
            }
        }
        let Some(mut upload) = upload else { return Ok(()) };
        if upload.size() == 0 {
            self.refuse("file", "too_short", "file is empty");
            return Ok(());
        }
        upload.close().await?;
        self.uploads.push(upload);
        Ok(())
    }

    /// Notes what is wrong with a field, once.
    fn refuse(&mut self, field: &'static str, code: &'static str, message: &'static str) {
        if !self.errors.iter().any(|error| error.field == field) {
            self.errors.push(FieldError::new(field, code, message));
        }
    }

    fn finish(mut self) -> Result<(SendMessage, Vec<Upload>)> {
        let is_refused = self.errors.iter().any(|error| error.field == "attachments");
        if let Some(ids) = self.ids.filter(|_| !is_refused) {
            self.fields.insert("attachments".to_owned(), ids.into());
        }
        let files = self.files;
        let input = from_object(self.fields, self.errors, |input: &mut SendMessage| {
            input.files = files;
            Vec::new()
        })?;
        Ok((input, self.uploads))
    }
}
