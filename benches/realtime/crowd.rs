//! Devices, each with a socket, which all do the same at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::board::{Arrival, Board};
use super::common::Result;
use super::common::client::Connector;
use super::common::people::People;
use super::socket::{Came, Socket};
use super::talk::Planned;

/// How long opening a socket may take, all the others opening theirs.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What the devices do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are connected and read what comes.
    Read,
    /// They are connected and read nothing.
    Stall,
    /// Their connections are cut.
    Away,
}

/// All of them.
pub struct Crowd {
    /// Whose each device is, by the person's number.
    pub owners: Vec<usize>,
    pub board: Arc<Board>,
    mode: watch::Sender<Mode>,
}

struct Device {
    number: usize,
    owner: usize,
    people: People,
    connector: Arc<Connector>,
    /// Bytes of its receive buffer; `None`: as the system has it.
    buffer: Option<u32>,
    board: Arc<Board>,
    mode: watch::Receiver<Mode>,
    /// The last event that it has seen.
    last: Option<String>,
}

impl Crowd {
    /// Devices of these people, not connected yet. They end with this value.
    pub fn new(
        connector: &Arc<Connector>,
        people: &People,
        owners: Vec<usize>,
        buffer: Option<u32>,
    ) -> Self {
        let (board, mode) = (Arc::new(Board::default()), watch::Sender::new(Mode::Away));
        for (number, &owner) in owners.iter().enumerate() {
            let device = Device {
                number,
                owner,
                people: people.clone(),
                connector: connector.clone(),
                buffer,
                board: board.clone(),
                mode: mode.subscribe(),
                last: None,
            };
            tokio::spawn(device.live());
        }
        Self { owners, board, mode }
    }

    /// Tells all of them at once; returns when that was.
    pub fn all(&self, mode: Mode) -> Instant {
        let now = Instant::now();
        self.mode.send_replace(mode);
        now
    }

    /// Connects all of them at once, and waits until they are. Returns how long that took
    /// altogether, and each.
    pub async fn open(&self) -> Result<(Duration, Vec<Duration>)> {
        let began = self.all(Mode::Read);
        let count = self.owners.len();
        let done = |openings: usize, errors: usize| openings + errors >= count;
        self.board.wait(PATIENCE, |notes| done(notes.openings.len(), notes.errors.len())).await;
        let mut notes = self.board.notes();
        if notes.openings.len() < count {
            let error = notes.errors.first().map_or("in time", String::as_str);
            return Err(format!("not all sockets opened: {error}").into());
        }
        let last = notes.openings.iter().map(|(_, at)| *at).max().unwrap_or(began);
        let each = notes.openings.drain(..).map(|(took, _)| took).collect();
        Ok((last - began, each))
    }

    /// On how many of them a message is to come.
    pub fn count(&self, planned: &Planned) -> usize {
        self.owners.iter().filter(|owner| planned.concerns(**owner)).count()
    }
}

impl Device {
    /// Connects as often as it is told to, until a connection ends otherwise.
    async fn live(mut self) {
        while self.mode.wait_for(|mode| *mode != Mode::Away).await.is_ok() {
            let lived = match self.open().await {
                Ok(socket) => self.read(socket).await,
                Err(error) => Err(error),
            };
            match lived {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.board.notes().errors.push(error.to_string()),
            }
        }
    }

    async fn open(&mut self) -> Result<Socket> {
        let began = Instant::now();
        let since = self.last.as_deref();
        let token = &self.people.get(self.owner).token;
        let opening = Socket::open(&self.connector, token, since, self.buffer);
        let (socket, ready) =
            timeout(PATIENCE, opening).await.map_err(|_| "no ready in time")??;
        if ready.recovered != since.map(|_| true) {
            return Err(format!("recovered is {:?}", ready.recovered).into());
        }
        if ready.recovered.is_none() {
            self.last = ready.last;
        }
        let at = Instant::now();
        self.board.notes().openings.push((at - began, at));
        Ok(socket)
    }

    /// Reads until it is told to be away (true), or there is nothing more to do (false).
    async fn read(&mut self, mut socket: Socket) -> Result<bool> {
        loop {
            tokio::select! {
                changed = self.mode.changed() => {
                    // Stalled until told otherwise; the end of all is an error here.
                    let going_on = changed.is_ok();
                    let mode = self.mode.wait_for(|mode| *mode != Mode::Stall).await;
                    match mode.map(|mode| *mode) {
                        Ok(Mode::Away) => return Ok(true),
                        Ok(_) if going_on => {}
                        _ => return Ok(false),
                    }
                }
                came = socket.next() => match came? {
                    Came::Event { id, number } => self.note(id, number)?,
                    Came::Nothing => {}
                    Came::End(code) => {
                        self.board.notes().ends.push(code);
                        return Ok(false);
                    }
                },
            }
        }
    }

    fn note(&mut self, id: String, number: Option<u32>) -> Result<()> {
        let at = Instant::now();
        // natter's own ids sort as the events do.
        if self.last.as_ref().is_some_and(|last| *last >= id) {
            return Err("an event twice, or out of order".into());
        }
        self.last = Some(id);
        if let Some(number) = number {
            self.board.notes().arrivals.push(Arrival { device: self.number, number, at });
        }
        Ok(())
    }
}
