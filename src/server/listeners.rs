//! Sockets that are bound before anything else starts.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

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
    pub async fn bind(addresses: &Addresses) -> Result<Self, BindError> {
        Ok(Self {
            https: bind("server.addr", addresses.https).await?,
            redirect: bind_if("server.redirect_addr", addresses.redirect).await?,
            admin: bind_if("admin.addr", addresses.admin).await?,
        })
    }
}

async fn bind(setting: &'static str, addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| BindError { setting, addr, source })
}

async fn bind_if(
    setting: &'static str,
    addr: Option<SocketAddr>,
) -> Result<Option<TcpListener>, BindError> {
    match addr {
        Some(addr) => bind(setting, addr).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn taken_port_is_one_line_that_names_the_setting() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken = TcpListener::bind(any).await.unwrap();
        let addresses =
            Addresses { https: any, redirect: None, admin: Some(taken.local_addr().unwrap()) };
        let error = Listeners::bind(&addresses).await.unwrap_err().to_string();
        assert!(error.starts_with("admin.addr: cannot listen on 127.0.0.1:"));
        assert!(!error.contains('\n'));
    }
}
