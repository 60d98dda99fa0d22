//! What a route says about itself; the rest follows from its row of the table.

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::schemas::{Parts, value_of};
use crate::domain::page::Page;
use crate::filters::endpoint::Endpoint;

/// A parameter, in a query or a header.
#[derive(Debug)]
pub(super) struct Parameter {
    pub place: &'static str,
    pub name: &'static str,
    pub required: bool,
    pub description: &'static str,
    pub schema: Value,
}

/// An answer that is no problem.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    /// Media type, schema and example; `None` without a body.
    pub content: Option<(&'static str, Value, Option<Value>)>,
    /// Names and meanings of headers of its own.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// One route, described. Methods may be chained.
#[derive(Debug)]
pub(in crate::routes) struct Route {
    pub(super) endpoint: Endpoint,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) input: Option<Value>,
    pub(super) answers: Vec<Answer>,
    pub(super) codes: Vec<&'static str>,
    pub(super) schemas: Parts,
}

impl Route {
    pub(super) fn new(
        endpoint: Endpoint,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            endpoint,
            id,
            tag,
            summary,
            description: "",
            parameters: Vec::new(),
            input: None,
            answers: Vec::new(),
            codes: Vec::new(),
            schemas: Parts::default(),
        }
    }

    /// More than the summary says, in `CommonMark`.
    pub(in crate::routes) fn says(&mut self, description: &'static str) -> &mut Self {
        self.description = description;
        self
    }

    /// Reads this JSON body. Its example is made from those of its fields.
    pub(in crate::routes) fn takes<T: ToSchema>(&mut self) -> &mut Self {
        self.input = Some(self.schemas.inline::<T>());
        self
    }

    /// Adds to the schema of the body what the fields alone cannot say.
    pub(in crate::routes) fn with(&mut self, rule: Value) -> &mut Self {
        if let (Some(Value::Object(input)), Value::Object(rule)) = (&mut self.input, rule) {
            input.extend(rule);
        }
        self
    }

    /// Reads a form with this schema (an object of its fields).
    pub(in crate::routes) fn takes_form(&mut self, schema: Value) -> &mut Self {
        self.input = Some(schema);
        self
    }

    /// Answers with this JSON body.
    pub(in crate::routes) fn gives<T: ToSchema>(
        &mut self,
        status: u16,
        description: &'static str,
    ) -> &mut Self {
        let schema = self.schemas.refer::<T>();
        self.answer(status, description, Some(("application/json", schema, None)))
    }

    /// Takes `limit` and `cursor`, and answers 200 with a page of these.
    pub(in crate::routes) fn gives_page<T: ToSchema>(
        &mut self,
        description: &'static str,
    ) -> &mut Self {
        self.schemas.refer::<T>();
        let schema = value_of(&Page::<T>::schema());
        self.limit().cursor().answer(200, description, Some(("application/json", schema, None)))
    }

    /// Answers without a body.
    pub(in crate::routes) fn gives_nothing(
        &mut self,
        status: u16,
        description: &'static str,
    ) -> &mut Self {
        self.answer(status, description, None)
    }

    /// Answers with what is no JSON of ours.
    pub(in crate::routes) fn gives_media(
        &mut self,
        status: u16,
        description: &'static str,
        media_type: &'static str,
        schema: Value,
        example: Value,
    ) -> &mut Self {
        self.answer(status, description, Some((media_type, schema, Some(example))))
    }

    fn answer(
        &mut self,
        status: u16,
        description: &'static str,
        content: Option<(&'static str, Value, Option<Value>)>,
    ) -> &mut Self {
        self.answers.push(Answer { status, description, content, headers: Vec::new() });
        self
    }

    /// A header of the answer described last, and what it says.
    pub(in crate::routes) fn header(
        &mut self,
        name: &'static str,
        says: &'static str,
    ) -> &mut Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, says));
        }
        self
    }

    /// Reads this parameter from the query, if it is there.
    pub(in crate::routes) fn query(
        &mut self,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> &mut Self {
        self.parameter("query", name, false, description, schema)
    }

    /// Reads this parameter from the query, and refuses to do without.
    pub(in crate::routes) fn needs_query(
        &mut self,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> &mut Self {
        self.parameter("query", name, true, description, schema)
    }

    /// Reads this header of the request, if it is there.
    pub(in crate::routes) fn reads_header(
        &mut self,
        name: &'static str,
        description: &'static str,
        example: &'static str,
    ) -> &mut Self {
        let schema = json!({"type": "string", "examples": [example]});
        self.parameter("header", name, false, description, schema)
    }

    /// `limit`: how many items.
    pub(in crate::routes) fn limit(&mut self) -> &mut Self {
        let schema = json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 50});
        self.query("limit", "How many items at most.", schema)
    }

    /// `cursor`: where to go on.
    pub(in crate::routes) fn cursor(&mut self) -> &mut Self {
        let schema = json!({"type": "string", "examples": ["4jXqV0yLr3eQ7cB1mNfTzA"]});
        let says = "`next_cursor` of the page before; absent at the start.";
        self.query("cursor", says, schema).fails(&["invalid_cursor"])
    }

    fn parameter(
        &mut self,
        place: &'static str,
        name: &'static str,
        required: bool,
        description: &'static str,
        schema: Value,
    ) -> &mut Self {
        self.parameters.push(Parameter { place, name, required, description, schema });
        self
    }

    /// Fails with these codes, besides those that follow from its row and its parameters.
    pub(in crate::routes) fn fails(&mut self, codes: &[&'static str]) -> &mut Self {
        self.codes.extend(codes);
        self
    }
}
