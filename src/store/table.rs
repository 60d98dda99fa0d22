//! A collection as a row module reaches it: each command runs alone, under a deadline of its own,
//! or in a transaction.

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{
    CountOptions, FindOneAndUpdateOptions, FindOneOptions, FindOptions, Hint, ReturnDocument,
    UpdateModifications, UpdateOptions,
};
use mongodb::{ClientSession, Collection};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pool::Pool;
use super::transaction::{again_if_taken, retry_transaction};
use super::{AWAY_CODES, DUPLICATE_KEY, Store, Tx, all, all_in, duplicate, within, within_raw};
use crate::error::{Error, Result};
use crate::store::bson::int;

/// Where a command runs.
enum At<'a> {
    /// By itself, in a place of this pool.
    Alone(&'a Pool),
    /// In a transaction.
    In(&'a mut ClientSession),
}

/// A collection, for one command.
pub(in crate::store) struct Table<'a, T: Send + Sync> {
    rows: Collection<T>,
    at: At<'a>,
    order: Option<Document>,
    limit: Option<i64>,
    fields: Option<Document>,
    index: Option<&'static str>,
}

impl Store {
    pub(in crate::store) fn table<T: Send + Sync>(&self, name: &str) -> Table<'_, T> {
        Table::new(self.database.collection(name), At::Alone(&self.pool))
    }
}

impl Tx {
    pub(in crate::store) fn table<T: Send + Sync>(&mut self, name: &str) -> Table<'_, T> {
        let (database, session) = self.parts();
        Table::new(database.collection(name), At::In(session))
    }
}

/// Either of which comes after a place in an order of falling values: each is one range of the
/// index, which are then merged.
pub(in crate::store) fn older([time, key]: [&str; 2], [at, id]: [Bson; 2]) -> [Document; 2] {
    [doc! { time: { "$lt": at.clone() } }, doc! { time: at, key: { "$lt": id } }]
}

/// One of many updates.
#[derive(Debug, Clone)]
pub(in crate::store) struct RowUpdate {
    filter: Document,
    change: Bson,
    upsert: bool,
}

impl RowUpdate {
    /// A change, by operators or a pipeline, of the row that fits.
    pub fn of(filter: Document, change: impl Into<Bson>) -> Self {
        Self { filter, change: change.into(), upsert: false }
    }

    /// The same, which makes the row if there is none.
    pub fn or_insert(self) -> Self {
        Self { upsert: true, ..self }
    }

    fn statement(self) -> Document {
        doc! { "q": self.filter, "u": self.change, "upsert": self.upsert }
    }
}

/// The error in the reply to an update: of the first statement that failed, or of the write
/// concern.
fn refused(reply: &Document) -> Option<Error> {
    let first = reply.get_array("writeErrors").ok().and_then(|errors| errors.first());
    match (first, reply.get("writeConcernError")) {
        (None, None) => None,
        (None, Some(concern)) => Some(Error::unavailable().with_source(concern.to_string())),
        (Some(error), _) => {
            let code = error.as_document().and_then(|error| error.get_i32("code").ok());
            Some(match code {
                Some(DUPLICATE_KEY) => retry_transaction(),
                Some(code) if AWAY_CODES.contains(&code) => {
                    Error::unavailable().with_source(error.to_string())
                }
                _ => Error::internal(error.to_string()),
            })
        }
    }
}

/// Runs an action of the driver where its table says.
macro_rules! run {
    ($at:expr, $action:expr) => {
        match $at {
            At::Alone(pool) => within(pool, $action).await,
            At::In(session) => $action.session(session).await.map_err(Error::from),
        }
    };
}

impl<'a, T: Send + Sync> Table<'a, T> {
    fn new(rows: Collection<T>, at: At<'a>) -> Self {
        Self { rows, at, order: None, limit: None, fields: None, index: None }
    }

    /// The name of the collection.
    pub fn name(&self) -> &str {
        self.rows.name()
    }

    /// In this order.
    pub fn sorted(self, order: Document) -> Self {
        Self { order: Some(order), ..self }
    }

    /// At most so many.
    pub fn first(self, count: usize) -> Self {
        Self { limit: Some(int(count)), ..self }
    }

    /// By this index.
    pub fn by(self, index: &'static str) -> Self {
        Self { index: Some(index), ..self }
    }

    /// Its rows read as another type.
    pub fn of<U: Send + Sync>(self) -> Table<'a, U> {
        let Self { rows, at, order, limit, fields, index } = self;
        Table { rows: rows.clone_with_type(), at, order, limit, fields, index }
    }

    /// Only these fields of each row, read as another type.
    pub fn only<U: Send + Sync>(self, fields: Document) -> Table<'a, U> {
        Table { fields: Some(fields), ..self.of() }
    }

    /// Changes the first row that fits; whether there is one.
    pub async fn update(
        self,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<bool> {
        Ok(run!(self.at, self.rows.update_one(filter, change))?.matched_count == 1)
    }

    /// Changes all rows that fit; how many there are.
    pub async fn update_all(
        self,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<u64> {
        let hint = self.index.map(|index| Hint::Name(index.to_owned()));
        let options = UpdateOptions::builder().hint(hint).build();
        let update = self.rows.update_many(filter, change).with_options(options);
        Ok(run!(self.at, update)?.matched_count)
    }

    /// Makes updates in one command, each of the row that fits it: alone they are unordered, in a
    /// transaction the first that fails ends them. Where another write was first at a key, the
    /// transaction runs again.
    pub async fn update_each(self, updates: Vec<RowUpdate>) -> Result<()> {
        if updates.is_empty() {
            return Ok(());
        }
        let updates: Vec<Document> = updates.into_iter().map(RowUpdate::statement).collect();
        let database = self.rows.client().database(&self.rows.namespace().db);
        let command = doc! { "update": self.rows.name(), "updates": updates };
        let reply = match self.at {
            At::Alone(pool) => {
                let mut command = command;
                let majority = doc! { "w": "majority", "j": true };
                command.extend(doc! { "ordered": false, "writeConcern": majority });
                within(pool, database.run_command(command)).await?
            }
            At::In(session) => {
                let reply = database.run_command(command).session(session).await;
                reply.map_err(again_if_taken)?
            }
        };
        refused(&reply).map_or(Ok(()), Err)
    }

    /// Deletes the row that fits; whether there was one.
    pub async fn delete(self, filter: Document) -> Result<bool> {
        Ok(run!(self.at, self.rows.delete_one(filter))?.deleted_count == 1)
    }

    /// Deletes all rows that fit; how many there were.
    pub async fn delete_all(self, filter: Document) -> Result<u64> {
        Ok(run!(self.at, self.rows.delete_many(filter))?.deleted_count)
    }

    /// How many rows fit, counted up to the limit if there is one.
    pub async fn count(self, filter: Document) -> Result<u64> {
        let limit = self.limit.and_then(|limit| u64::try_from(limit).ok());
        let options = CountOptions::builder().limit(limit).build();
        run!(self.at, self.rows.count_documents(filter).with_options(options))
    }
}

impl<T: DeserializeOwned + Unpin + Send + Sync> Table<'_, T> {
    /// A row that fits: the first in order.
    pub async fn one(self, filter: Document) -> Result<Option<T>> {
        let options = FindOneOptions::builder().sort(self.order).projection(self.fields).build();
        run!(self.at, self.rows.find_one(filter).with_options(options))
    }

    /// The rows that fit.
    pub async fn all(self, filter: Document) -> Result<Vec<T>> {
        let options = FindOptions::builder().sort(self.order).limit(self.limit);
        let hint = self.index.map(|index| Hint::Name(index.to_owned()));
        let options = options.projection(self.fields).hint(hint).build();
        let find = self.rows.find(filter).with_options(options);
        match self.at {
            At::Alone(pool) => all(pool, find).await,
            At::In(session) => {
                let found = find.session(&mut *session).await?;
                Ok(all_in(session, found).await?)
            }
        }
    }

    /// The result of a pipeline over the rows.
    pub async fn aggregate(self, pipeline: Vec<Document>) -> Result<Vec<T>> {
        let found = self.rows.aggregate(pipeline).with_type::<T>();
        match self.at {
            At::Alone(pool) => all(pool, found).await,
            At::In(session) => {
                let found = found.session(&mut *session).await?;
                Ok(all_in(session, found).await?)
            }
        }
    }

    /// A page of the rows that fit, newest first: `order` names the field of the time and the one
    /// that decides between equal times, `before` is where the page before ended.
    pub async fn page(
        self,
        mut filter: Document,
        order: [&str; 2],
        before: Option<[Bson; 2]>,
        count: usize,
    ) -> Result<Vec<T>> {
        if let Some(before) = before {
            filter.insert("$or", older(order, before));
        }
        self.sorted(order.into_iter().map(|field| (field.to_owned(), Bson::Int32(-1))).collect())
            .first(count)
            .all(filter)
            .await
    }

    /// Changes the first row that fits; that row after it.
    pub async fn change(
        self,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<Option<T>> {
        let options = FindOneAndUpdateOptions::builder().sort(self.order);
        let options = options.projection(self.fields).return_document(ReturnDocument::After);
        let options = options.build();
        run!(self.at, self.rows.find_one_and_update(filter, change).with_options(options))
    }

    /// Changes the first row that fits; that row before it.
    pub async fn change_from(
        self,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<Option<T>> {
        run!(self.at, self.rows.find_one_and_update(filter, change))
    }

    /// Changes the row that fits, or makes one: that row after it. Where two make it at once, the
    /// second changes the row of the first.
    pub async fn change_or_insert(self, filter: Document, change: Vec<Document>) -> Result<T> {
        let changing = || {
            let change = self.rows.find_one_and_update(filter.clone(), change.clone());
            change.upsert(true).return_document(ReturnDocument::After)
        };
        let row = match self.at {
            At::Alone(pool) => loop {
                match within_raw(pool, changing()).await? {
                    Err(error) if duplicate(&error).is_some() => {}
                    outcome => break outcome?,
                }
            },
            At::In(session) => changing().session(session).await.map_err(again_if_taken)?,
        };
        row.ok_or_else(|| Error::internal("an upsert gives a row"))
    }

    /// Changes the row that fits, or makes one: the row before.
    pub async fn upsert(
        self,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<Option<T>> {
        run!(self.at, self.rows.find_one_and_update(filter, change).upsert(true))
    }

    /// Deletes the row that fits: what it was.
    pub async fn take(self, filter: Document) -> Result<Option<T>> {
        run!(self.at, self.rows.find_one_and_delete(filter))
    }
}

impl<T: Serialize + Send + Sync> Table<'_, T> {
    /// Puts a row there.
    pub async fn insert(self, row: T) -> Result<()> {
        run!(self.at, self.rows.insert_one(row)).map(|_| ())
    }

    /// Puts rows there; nothing happens if there are none.
    pub async fn insert_all(self, rows: Vec<T>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        run!(self.at, self.rows.insert_many(rows)).map(|_| ())
    }

    /// Puts a row in the place of the one that fits, or where there is none.
    pub async fn put(self, filter: Document, row: T) -> Result<()> {
        run!(self.at, self.rows.replace_one(filter, row).upsert(true)).map(|_| ())
    }
}
