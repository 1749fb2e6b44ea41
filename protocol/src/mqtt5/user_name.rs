//! The user name of a CONNECT packet: `correlationId={nonce}&clientVersion={version}`.

use std::fmt;
use std::str::FromStr;

use super::correlation::{CorrelationId, CorrelationIdError};
use crate::percent;

/// The user name of a device. The device itself is in the client id and the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt5UserName {
    /// The nonce of the connection, which its birth repeats.
    pub nonce: CorrelationId,
    /// The client's name and version.
    pub client_version: Option<String>,
}

/// A malformed user name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mqtt5UserNameError {
    /// A user name without a nonce.
    #[error("user name has no `correlationId`")]
    NoNonce,
    /// A malformed nonce.
    #[error("user name with a malformed nonce")]
    Nonce(#[from] CorrelationIdError),
    /// A value that is not UTF-8.
    #[error("user name with a value that is not UTF-8")]
    NotUtf8,
}

impl FromStr for Mqtt5UserName {
    type Err = Mqtt5UserNameError;

    fn from_str(text: &str) -> Result<Mqtt5UserName, Mqtt5UserNameError> {
        let (mut nonce, mut client_version) = (None, None);
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "correlationId" => nonce = Some(value.parse()?),
                "clientVersion" => {
                    let value = percent::decode(value).ok_or(Mqtt5UserNameError::NotUtf8)?;
                    client_version = Some(value.into_owned());
                }
                _ => {}
            }
        }
        Ok(Mqtt5UserName { nonce: nonce.ok_or(Mqtt5UserNameError::NoNonce)?, client_version })
    }
}

impl fmt::Display for Mqtt5UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "correlationId={}", self.nonce)?;
        match &self.client_version {
            Some(version) => write!(f, "&clientVersion={}", percent::encode(version)),
            None => Ok(()),
        }
    }
}
