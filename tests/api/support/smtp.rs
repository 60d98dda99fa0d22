//! A mail server (RFC 5321) that takes what it is given, and can be down.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A mail as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
}

/// Where mails arrive.
#[derive(Debug, Clone, Default)]
pub struct Inbox(Arc<Mutex<Vec<Received>>>);

impl Inbox {
    pub fn mails(&self) -> Vec<Received> {
        self.0.lock().clone()
    }

    fn put(&self, mail: Received) {
        self.0.lock().push(mail);
    }
}

/// A port that nobody listens on, and nobody else is given.
pub fn reserve() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let addr = socket.local_addr().expect("an address");
    (socket, addr)
}

/// Starts the server; `refusals` times it says that it is busy when a mail is offered.
pub fn serve(socket: TcpSocket, inbox: &Inbox, mut refusals: usize) -> JoinHandle<()> {
    let listener: TcpListener = socket.listen(64).expect("a listener");
    let inbox = inbox.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let busy = refusals > 0;
            refusals = refusals.saturating_sub(1);
            let inbox = inbox.clone();
            tokio::spawn(async move {
                let _ = converse(stream, &inbox, busy).await;
            });
        }
    })
}

/// A server with TLS from the first byte, or after STARTTLS.
pub fn serve_tls(
    socket: TcpSocket,
    inbox: &Inbox,
    acceptor: TlsAcceptor,
    starts: bool,
) -> JoinHandle<()> {
    let listener: TcpListener = socket.listen(64).expect("a listener");
    let inbox = inbox.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (inbox, acceptor) = (inbox.clone(), acceptor.clone());
            tokio::spawn(async move {
                let _ = converse_tls(stream, &inbox, &acceptor, starts).await;
            });
        }
    })
}

async fn converse_tls(
    mut stream: TcpStream,
    inbox: &Inbox,
    acceptor: &TlsAcceptor,
    starts: bool,
) -> std::io::Result<()> {
    if !starts {
        return converse(acceptor.accept(stream).await?, inbox, false).await;
    }
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    read_line(&mut stream).await?;
    stream.write_all(b"250-sink\r\n250 STARTTLS\r\n").await?;
    read_line(&mut stream).await?;
    stream.write_all(b"220 go on\r\n").await?;
    let stream = acceptor.accept(stream).await?;
    talk(stream, inbox, false).await
}

async fn read_line(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read_u8().await? != b'\n' {}
    Ok(())
}

async fn converse<S>(stream: S, inbox: &Inbox, busy: bool) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let mut stream = std::pin::pin!(stream);
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    talk(stream, inbox, busy).await
}

async fn talk<S>(stream: S, inbox: &Inbox, busy: bool) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    let mut mail = Received { from: String::new(), to: Vec::new(), data: String::new() };
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => b"250-sink\r\n250 8BITMIME\r\n",
            "MAIL" if busy => b"451 try again later\r\n",
            "MAIL" => {
                mail = Received { from: line.clone(), to: Vec::new(), data: String::new() };
                b"250 ok\r\n"
            }
            "RCPT" => {
                mail.to.push(line.clone());
                b"250 ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail.data += &line;
                    mail.data.push('\n');
                }
                inbox.put(mail.clone());
                b"250 taken\r\n"
            }
            "QUIT" => {
                return write.write_all(b"221 bye\r\n").await;
            }
            "RSET" | "NOOP" => b"250 ok\r\n",
            _ => b"502 what?\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(())
}
