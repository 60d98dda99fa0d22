//! Sockets that are bound before anything else starts.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// How many connections the system may have ready to be accepted; it makes that as many as
/// `net.core.somaxconn` allows. With the usual 128, a thousand clients that come at once, as after
/// a restart, are turned away unheard, and ask again a second later.
const BACKLOG: u32 = 4096;

/// Where to listen; port 0 takes any free one.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// `server.addr`: HTTPS.
    pub https: SocketAddr,
    /// `server.redirect_addr`: plain HTTP that redirects to HTTPS.
    pub redirect: Option<SocketAddr>,
    /// `admin.addr`: plain HTTP for operators.
    pub admin: Option<SocketAddr>,
}

/// The bound sockets of the server.
#[derive(Debug)]
pub struct Listeners {
    /// HTTPS.
    pub https: TcpListener,
    /// Plain HTTP that redirects to HTTPS.
    pub redirect: Option<TcpListener>,
    /// Plain HTTP for operators.
    pub admin: Option<TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {addr}: {source}")]
pub struct BindError {
    /// The setting that holds the address.
    pub setting: &'static str,
    /// The address.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// The first address that cannot be bound, with its setting.
    pub fn bind(addresses: &Addresses) -> Result<Self, BindError> {
        Ok(Self {
            https: bind("server.addr", addresses.https)?,
            redirect: bind_if("server.redirect_addr", addresses.redirect)?,
            admin: bind_if("admin.addr", addresses.admin)?,
        })
    }
}

fn bind(setting: &'static str, addr: SocketAddr) -> Result<TcpListener, BindError> {
    listen(addr).map_err(|source| BindError { setting, addr, source })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn bind_if(
    setting: &'static str,
    addr: Option<SocketAddr>,
) -> Result<Option<TcpListener>, BindError> {
    match addr {
        Some(addr) => bind(setting, addr).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use futures_util::future::try_join_all;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn taken_port_is_one_line_that_names_the_setting() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken = TcpListener::bind(any).await.unwrap();
        let addresses =
            Addresses { https: any, redirect: None, admin: Some(taken.local_addr().unwrap()) };
        let error = Listeners::bind(&addresses).unwrap_err().to_string();
        assert!(error.starts_with("admin.addr: cannot listen on 127.0.0.1:"));
        assert!(!error.contains('\n'));
    }

    /// Nobody accepts: the system keeps all that came, and drops none unheard.
    #[tokio::test]
    async fn those_who_come_at_once_are_kept_until_they_are_accepted() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: usize = most.trim().parse().unwrap();
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let come = (0..most.min(500)).map(|_| TcpStream::connect(addr));
        let come = timeout(Duration::from_secs(10), try_join_all(come)).await;
        assert_eq!(come.unwrap().unwrap().len(), most.min(500));
    }
}
