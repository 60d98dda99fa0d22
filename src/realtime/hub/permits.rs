//! Connections for each address, and connections that wait for a check of their session.

use std::net::IpAddr;
use std::sync::Arc;

use super::Hub;
use crate::domain::clients::subscriber;
use crate::realtime::socket::Close;
use crate::services::session_cache::Ended;

/// Counts a connection from an address until this is dropped.
#[derive(Debug)]
pub(in crate::realtime) struct ConnectionPermit {
    hub: Arc<Hub>,
    addr: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        let Some(count) = state.addresses.get_mut(&self.addr) else { return };
        *count -= 1;
        if *count == 0 {
            state.addresses.remove(&self.addr);
        }
    }
}

impl Hub {
    /// Counts a connection from an address (of IPv6 the /64).
    pub(in crate::realtime) fn arrive(
        self: &Arc<Self>,
        addr: IpAddr,
    ) -> Result<ConnectionPermit, Close> {
        let addr = subscriber(addr);
        let mut state = self.state();
        let count = state.addresses.entry(addr).or_default();
        if *count >= self.per_address {
            return Err(Close::TooMany);
        }
        *count += 1;
        Ok(ConnectionPermit { hub: self.clone(), addr })
    }

    /// Holds back frames for connections whose session may have ended, until the store was asked.
    pub(in crate::realtime) fn hold(&self, ended: Ended) {
        for socket in self.sockets() {
            match ended {
                Ended::Session(session) if socket.session == session => socket.hold(),
                Ended::Of(user) if socket.user == user => socket.hold(),
                Ended::Session(_) | Ended::Of(_) | Ended::Any => {}
            }
        }
    }
}
