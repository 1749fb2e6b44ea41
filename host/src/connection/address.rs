//! TCP connection to a host name with several addresses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::failure::ConnectionFailure;

/// The delay before the next attempt starts while earlier ones are pending (RFC 8305,
/// section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The time limit of one attempt. It is shorter than that of the whole sign-in, so that the
/// failure names the address that does not answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Resolves `name` and returns the first connection that succeeds. Starts the next attempt
/// after a failure or after [`ATTEMPT_DELAY`], without cancelling the pending ones.
pub(super) async fn connect(name: &str, port: u16) -> Result<TcpStream, ConnectionFailure> {
    let addresses =
        lookup_host((name, port)).await.map_err(|error| ConnectionFailure::io(&error))?;
    first_of(addresses.collect(), attempt).await
}

/// Starts attempts until one succeeds. If none does, returns the last failure.
async fn first_of<A>(
    addresses: Vec<SocketAddr>,
    attempt: fn(SocketAddr) -> A,
) -> Result<TcpStream, ConnectionFailure>
where
    A: Future<Output = Result<TcpStream, ConnectionFailure>> + Send + 'static,
{
    if addresses.is_empty() {
        return Err(ConnectionFailure::new("the hub's name has no address"));
    }
    let mut attempts = JoinSet::new();
    // Overwritten by the first attempt that returns a failure.
    let mut failure = ConnectionFailure::new("every attempt to connect panicked");
    for address in addresses {
        attempts.spawn(attempt(address));
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(failed)) => failure = failed,
                // Attempts are never aborted, so this is a panic. The panic hook has logged it.
                Err(_) => {}
            },
            () = sleep(ATTEMPT_DELAY) => {}
        }
    }
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(failed)) => failure = failed,
            Err(_) => {}
        }
    }
    Err(failure)
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, ConnectionFailure> {
    match timeout(ATTEMPT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(ConnectionFailure::io(&error).at(address)),
        Err(_) => Err(ConnectionFailure::no_answer().at(address)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Returns a listener that never accepts and whose backlog is full, so that its address
    /// does not answer. The returned sockets keep the backlog full.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut backlog = Vec::new();
        while let Ok(queued) = timeout(ATTEMPT_DELAY, TcpStream::connect(address)).await {
            backlog.push(queued.unwrap());
            assert!(backlog.len() < 100, "the backlog of the listener does not fill up");
        }
        (listener, backlog)
    }

    #[tokio::test]
    async fn the_next_address_is_tried_while_the_first_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reachable = listener.local_addr().unwrap();
        let (silent, _backlog) = black_hole().await;
        let connected = first_of(vec![silent.local_addr().unwrap(), reachable], attempt);
        let socket = timeout(Duration::from_secs(10), connected).await.unwrap().unwrap();
        assert_eq!(socket.peer_addr().unwrap(), reachable);
    }

    #[tokio::test]
    async fn a_failure_names_the_address() {
        // The listener is dropped at once, so nothing listens on this port.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failure = first_of(vec![free], attempt).await.unwrap_err();
        assert_eq!(failure.message, format!("connection refused ({free})"));
    }

    async fn panics(address: SocketAddr) -> Result<TcpStream, ConnectionFailure> {
        panic!("{address}")
    }

    #[tokio::test]
    async fn a_name_without_addresses_and_panicking_attempts_have_different_messages() {
        let failure = first_of(Vec::new(), attempt).await.unwrap_err();
        assert_eq!(failure.message, "the hub's name has no address");

        let failure = first_of(vec![SocketAddr::from(([127, 0, 0, 1], 1))], panics).await;
        assert_eq!(failure.unwrap_err().message, "every attempt to connect panicked");
    }
}
