//! The UDP sockets, one for each address that clients are offered: a socket on all addresses would not say to which one
//! a packet was sent.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    task::Poll,
    time::Duration,
};

use tokio::{io::ReadBuf, net::UdpSocket};

use crate::config::RtcConfig;

/// After an error, which may come again at once.
const PAUSE: Duration = Duration::from_millis(10);

/// Larger than any packet of a client.
const PACKET: usize = 2048;

#[derive(Debug)]
pub(super) struct Network {
    sockets: Vec<(SocketAddr, UdpSocket)>,
}

/// One packet; its bytes are in the buffer that was read into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub length: usize,
    pub source: SocketAddr,
    /// Which of our addresses it was sent to.
    pub destination: SocketAddr,
}

pub(super) type Buffer = Box<[u8; PACKET]>;

pub(super) fn buffer() -> Buffer {
    Box::new([0; PACKET])
}

/// Sockets that no runtime has yet.
#[derive(Debug)]
pub(super) struct Sockets(Vec<(SocketAddr, std::net::UdpSocket)>);

impl Sockets {
    pub(super) fn bind(config: &RtcConfig) -> io::Result<Self> {
        let bind = |address: &IpAddr| -> io::Result<_> {
            if !RtcConfig::can_offer(*address) {
                let problem = format!("clients cannot be offered {address} for media");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
            }
            let socket = std::net::UdpSocket::bind((*address, config.port))?;
            // tokio requires it of a socket that it takes over.
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        };
        config.addresses.iter().map(bind).collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).collect()
    }

    /// On the runtime of the caller.
    pub(super) fn open(self) -> io::Result<Network> {
        let open = |(address, socket)| -> io::Result<_> { Ok((address, UdpSocket::from_std(socket)?)) };
        let sockets = self.0.into_iter().map(open).collect::<io::Result<_>>()?;
        Ok(Network { sockets })
    }
}

impl Network {
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// The next packet of any socket.
    pub(super) async fn receive(&self, buffer: &mut Buffer) -> Arrived {
        loop {
            match self.received(buffer).await {
                Ok(arrived) => return arrived,
                // Of an earlier packet that we sent (ICMP), or of a socket that is broken for good.
                Err(error) => {
                    tracing::debug!(%error, "socket for media failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The packets of the other sockets come before an error.
    async fn received(&self, buffer: &mut Buffer) -> io::Result<Arrived> {
        std::future::poll_fn(|context| {
            let mut failed = Poll::Pending;
            for (destination, socket) in &self.sockets {
                let mut read = ReadBuf::new(buffer.as_mut_slice());
                if let Poll::Ready(received) = socket.poll_recv_from(context, &mut read) {
                    let length = read.filled().len();
                    match received {
                        Ok(source) => {
                            return Poll::Ready(Ok(Arrived { length, source, destination: *destination }));
                        }
                        Err(error) => failed = Poll::Ready(Err(error)),
                    }
                }
            }
            failed
        })
        .await
    }

    /// A packet that has arrived already.
    pub(super) fn try_receive(&self, buffer: &mut Buffer) -> Option<Arrived> {
        self.sockets.iter().find_map(|(destination, socket)| {
            let (length, source) = socket.try_recv_from(buffer.as_mut_slice()).ok()?;
            Some(Arrived { length, source, destination: *destination })
        })
    }

    /// A packet that cannot be sent at once is lost, as on any network.
    pub(super) fn send(&self, source: SocketAddr, destination: SocketAddr, packet: &[u8]) {
        if let Some((_, socket)) = self.sockets.iter().find(|(address, _)| *address == source) {
            let _ = socket.try_send_to(packet, destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io::Write, os::fd::OwnedFd};

    use super::*;

    #[test]
    fn address_that_clients_cannot_be_offered_is_an_error() {
        for address in ["0.0.0.0", "169.254.1.1", "255.255.255.255", "224.0.0.1", "::", "fe80::1"] {
            let addresses = vec![address.parse().unwrap()];
            let config = RtcConfig { addresses, ..RtcConfig::default() };
            let error = Sockets::bind(&config).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address}");
        }
    }

    /// Every read of it fails, and it is always ready to be read.
    fn broken() -> (SocketAddr, UdpSocket) {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let socket = std::net::UdpSocket::from(OwnedFd::from(reader));
        socket.set_nonblocking(true).unwrap();
        (SocketAddr::from(([127, 0, 0, 1], 1)), UdpSocket::from_std(socket).unwrap())
    }

    #[tokio::test]
    async fn broken_socket_does_not_spin_or_stop_the_others() {
        let mut sockets = Sockets::bind(&RtcConfig::default()).unwrap().open().unwrap().sockets;
        sockets.insert(0, broken());
        let (network, mut buffer) = (Network { sockets }, buffer());
        let polls = Cell::new(0);
        let mut receive = Box::pin(network.receive(&mut buffer));
        let counted = std::future::poll_fn(|context| {
            polls.set(polls.get() + 1);
            assert!(polls.get() < 100, "spins");
            receive.as_mut().poll(context)
        });
        let nothing = tokio::time::timeout(Duration::from_millis(200), counted).await;
        assert!(nothing.is_err());
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(b"packet", network.sockets[1].0).await.unwrap();
        assert_eq!(receive.await.length, 6);
    }
}
