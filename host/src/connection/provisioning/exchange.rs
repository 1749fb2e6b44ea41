//! One registration on one connection: CONNECT, SUBSCRIBE, the request, polls, DISCONNECT.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use protocol::id::RequestId;
use protocol::mqtt5::ConnectionProfile;
use protocol::provisioning::{
    ANSWERS, API_VERSION, API_VERSION_WITH_CSR, API_VERSION_WITH_PROFILE, ProvisioningAnswer,
    ProvisioningTopic, ProvisioningUserName, RegistrationRequest, TOKEN_POLICY, resource,
};
use protocol::sas::sign;
use rumqttc::{Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, QoS, Subscribe};
use tokio::time::{sleep, timeout};

use super::failure::{Applicant, ProvisioningFailure};
use super::operation::{Assigned, LONGEST_POLL, Step, next};
use super::{Provisioning, RegistrationCredential, with_jitter};
use crate::config::default_port;
use crate::connection::client::{CLIENT_TYPE, client_config, since_epoch};
use crate::connection::failure::ConnectionFailure;
use crate::connection::socket::Socket;
use crate::ids::IdSequence;
use crate::issued::SigningRequest;

/// The time limit of a whole registration. An assignment takes seconds; one that takes longer
/// than this is started anew.
pub(in crate::connection) const REGISTRATION_WAIT: Duration = Duration::from_secs(300);

/// The time limit from the lookup of the name to the SUBACK, and of each request. It is that of
/// the official SDKs.
const REQUEST_WAIT: Duration = Duration::from_secs(30);

/// The lifetime of a token, which is needed for one connection only.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// The number of the SUBSCRIBE packet. Requests follow it.
const SUBSCRIBE_ID: u16 = 1;

/// A connection to the service.
struct Registering {
    socket: Socket,
    ids: IdSequence,
    packet_id: u16,
}

impl Provisioning {
    /// Registers, and asks for a certificate if there is a request for one.
    pub(super) async fn exchange(
        &self,
        request: Option<&SigningRequest>,
    ) -> Result<Assigned, ProvisioningFailure> {
        match timeout(REGISTRATION_WAIT, self.ask(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProvisioningFailure::not_assigned(REGISTRATION_WAIT)),
        }
    }

    async fn ask(&self, request: Option<&SigningRequest>) -> Result<Assigned, ProvisioningFailure> {
        let mut exchange = in_time(self.open()).await?;
        let applicant = Applicant(&self.registration);
        let request = RegistrationRequest {
            registration_id: Some(self.registration.id.to_string()),
            csr: request.map(|request| STANDARD.encode(&request.csr)),
            ..RegistrationRequest::default()
        };
        let body = serde_json::to_vec(&request).expect("a registration is valid JSON");
        let rid = exchange.ids.rid();
        let topic = ProvisioningTopic::Register { rid: rid.clone() };
        let (mut answer, mut content) = in_time(exchange.request(&topic, body, &rid)).await?;
        loop {
            match next(applicant, &answer, &content)? {
                Step::Assigned(assigned) => {
                    exchange.socket.send(Packet::Disconnect).await.ok();
                    return Ok(assigned);
                }
                Step::Poll { operation, after } => {
                    exchange.wait(with_jitter(after)).await?;
                    let rid = exchange.ids.rid();
                    let topic = ProvisioningTopic::Status { rid: rid.clone(), operation };
                    // The official SDKs send a space, since an MQTT message can be empty, but
                    // its body is JSON.
                    (answer, content) =
                        in_time(exchange.request(&topic, b" ".to_vec(), &rid)).await?;
                }
            }
        }
    }

    /// Connects, signs in and subscribes.
    async fn open(&self) -> Result<Registering, ProvisioningFailure> {
        let certificate = match &self.certificate {
            Some(live) => Some(live.fresh().await),
            None => None,
        };
        let tls = client_config(&self.tls, certificate.as_deref()).await;
        let (name, port) = (self.section.endpoint.name(), self.section.port);
        let mut socket = Socket::open(name, port.unwrap_or(default_port()), tls).await?;
        let ack = socket.sign_in(self.connect()).await?;
        if ack.code != ConnectReturnCode::Success {
            let live = self.certificate.as_ref();
            let invalid = live.and_then(|live| live.check_time(Timestamp::now()).err());
            return Err(Applicant(&self.registration).not_accepted(ack.code, invalid.as_ref()));
        }
        let mut subscribe = Subscribe::new(ANSWERS, QoS::AtLeastOnce);
        subscribe.pkid = SUBSCRIBE_ID;
        socket.send(Packet::Subscribe(subscribe)).await?;
        let mut exchange = Registering { socket, ids: IdSequence::new(), packet_id: SUBSCRIBE_ID };
        while !matches!(exchange.socket.packet().await?, Packet::SubAck(_)) {}
        Ok(exchange)
    }

    /// Returns the API version: that which names the profile of the hub, unless the operator has
    /// set `classic`, which needs no preview.
    fn api_version(&self) -> &'static str {
        match (self.hub.profile, &self.issued) {
            (Some(ConnectionProfile::Classic), None) => API_VERSION,
            (Some(ConnectionProfile::Classic), Some(_)) => API_VERSION_WITH_CSR,
            _ => API_VERSION_WITH_PROFILE,
        }
    }

    fn connect(&self) -> Connect {
        let (id, scope) = (&self.registration.id, &self.section.id_scope);
        let mut connect = Connect::new(id.to_string());
        connect.clean_session = true;
        // Longer than any wait between two packets, so that no pings are needed.
        connect.keep_alive = u16::try_from(2 * LONGEST_POLL.as_secs()).unwrap_or(u16::MAX);
        let user_name = ProvisioningUserName {
            scope: scope.clone(),
            registration: id.clone(),
            api_version: self.api_version().to_owned(),
            client_version: Some(CLIENT_TYPE.to_owned()),
        };
        // An empty password is not sent.
        let password = match &self.registration.credential {
            RegistrationCredential::Key(key) | RegistrationCredential::DerivedKey(key) => {
                let expiry = (since_epoch() + TOKEN_LIFETIME).as_secs();
                sign(&resource(scope, id), Some(TOKEN_POLICY), key, expiry).to_string()
            }
            RegistrationCredential::Certificate => String::new(),
        };
        connect.login = Some(Login::new(user_name.to_string(), password));
        connect
    }
}

impl Registering {
    /// Sends a request and waits for its answer.
    async fn request(
        &mut self,
        topic: &ProvisioningTopic,
        body: Vec<u8>,
        rid: &RequestId,
    ) -> Result<(ProvisioningAnswer, Bytes), ProvisioningFailure> {
        self.packet_id = self.packet_id.wrapping_add(1).max(SUBSCRIBE_ID + 1);
        let mut publish = Publish::new(topic.to_string(), QoS::AtLeastOnce, body);
        publish.pkid = self.packet_id;
        self.socket.send(Packet::Publish(publish)).await?;
        loop {
            let Packet::Publish(publish) = self.socket.packet().await? else { continue };
            if publish.qos == QoS::AtLeastOnce {
                self.socket.send(Packet::PubAck(PubAck::new(publish.pkid))).await?;
            }
            let answer: ProvisioningAnswer = publish
                .topic
                .parse()
                .map_err(|_| ProvisioningFailure::malformed("a message with an unknown topic"))?;
            if answer.rid == *rid {
                return Ok((answer, publish.payload));
            }
        }
    }

    /// Waits, and notices meanwhile if the service closes the connection.
    async fn wait(&mut self, wait: Duration) -> Result<(), ProvisioningFailure> {
        let mut wait = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                () = &mut wait => return Ok(()),
                // Nothing but late acknowledgements arrives between two requests.
                packet = self.socket.packet() => drop(packet?),
            }
        }
    }
}

/// Awaits a step of the registration within the limit of a request.
async fn in_time<T>(
    step: impl Future<Output = Result<T, ProvisioningFailure>>,
) -> Result<T, ProvisioningFailure> {
    match timeout(REQUEST_WAIT, step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectionFailure::no_answer().into()),
    }
}
