//! The round trips of a registration, which a proxy between the device and the service counts.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::site::Site;

/// The round trips that the protocol needs after that of TCP: the handshake of TLS 1.3, CONNECT,
/// SUBSCRIBE, the registration, and one poll, since the service never assigns a hub at once.
const NEEDED: usize = 5;

/// The tickets of TLS, which the service can send before it has read the CONNECT. The device does
/// not wait for them.
const TICKETS: usize = 1;

/// The changes of direction on a connection.
#[derive(Default)]
struct Turns {
    /// `true` if the last bytes came from the service.
    from_service: AtomicBool,
    /// The number of times that the service answered.
    answers: AtomicUsize,
}

impl Turns {
    /// Forwards bytes until either side closes the connection.
    async fn forward(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        from_service: bool,
    ) -> io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            let before = self.from_service.swap(from_service, Ordering::SeqCst);
            if from_service && !before {
                self.answers.fetch_add(1, Ordering::SeqCst);
            }
            to.write_all(&bytes[..length]).await?;
        }
    }
}

#[tokio::test]
async fn a_first_registration_makes_no_round_trip_more_than_the_protocol_needs() {
    let site = Site::new().await;
    site.create_group();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut settings = site.settings("");
    let service = site.hub().mqtt_port();
    let section = settings.provisioning.as_mut().unwrap();
    section.port = Some(listener.local_addr().unwrap().port());
    let turns = Arc::new(Turns::default());
    let counted = Arc::clone(&turns);
    let proxy = tokio::spawn(async move {
        let (mut device, _) = listener.accept().await.unwrap();
        let mut service = TcpStream::connect((Ipv4Addr::LOCALHOST, service)).await.unwrap();
        let (from_device, to_device) = device.split();
        let (from_service, to_service) = service.split();
        tokio::join!(
            counted.forward(from_device, to_service, false),
            counted.forward(from_service, to_device, true),
        )
    });

    host::provision(&settings, &site.with_group_key("pump-7")).await.unwrap();

    proxy.abort();
    let answers = turns.answers.load(Ordering::SeqCst);
    assert!((NEEDED..=NEEDED + TICKETS).contains(&answers), "{answers} answers");
}
