//! A session with a token, in which a key can sign.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use program::FileStamp;
use rustls::SignatureScheme;
use trust::KeyKind;

use super::error::{TokenError, is, reason};
use super::{mechanism, module};
use crate::config::{Pkcs11Uri, TokenAttributes};
use crate::secret_file::{self, SecretFileError};

/// Object identifiers of P-256 and P-384 in DER (RFC 5480, section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A session that has found its key.
pub(super) struct TokenSession {
    session: Session,
    key: ObjectHandle,
}

impl TokenSession {
    /// Finds the token and the key, and signs in if the token needs it. Blocks.
    pub(super) fn open(uri: &Pkcs11Uri) -> Result<TokenSession, TokenError> {
        let pkcs11 = module::open(&uri.module)?;
        let opened = TokenSession::find(&pkcs11, uri);
        if matches!(opened, Err(TokenError::NoToken(_) | TokenError::Failed { .. })) {
            module::close(&uri.module);
        }
        opened
    }

    /// Creates a P-384 key with the label and the id of the URI. Blocks.
    pub(super) fn create_key(uri: &Pkcs11Uri) -> Result<(), TokenError> {
        let session = open(&module::open(&uri.module)?, uri, Access::Write)?;
        match find_key(&session, uri) {
            Err(TokenError::NoKey(_)) => {}
            Ok(_) | Err(TokenError::ManyKeys(_)) => {
                return Err(TokenError::Exists(uri.to_string()));
            }
            Err(other) => return Err(other),
        }
        let names = || {
            let label = uri.object.as_ref().map(|label| Attribute::Label(label.clone().into()));
            label.into_iter().chain(uri.id.as_ref().map(|id| Attribute::Id(id.clone())))
        };
        let mut public = vec![
            Attribute::EcParams(P384.to_vec()),
            Attribute::Token(true),
            Attribute::Verify(true),
        ];
        public.extend(names());
        // The curve is that of the public part; tokens refuse it here.
        let mut private = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        private.extend(names());
        let created = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private);
        created.map(drop).map_err(|error| failed(uri, &error))
    }

    /// Returns the curve and the point of the key's public part. Blocks.
    pub(super) fn public_point(&self, uri: &Pkcs11Uri) -> Result<(KeyKind, Vec<u8>), TokenError> {
        let failed = |error: Error| failed(uri, &error);
        let own = self.session.get_attributes(self.key, &[AttributeType::Id]).map_err(failed)?;
        // A key pair shares its id. Without one, it shares its label.
        let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true)];
        match own.into_iter().find(|it| matches!(it, Attribute::Id(id) if !id.is_empty())) {
            Some(id) => template.push(id),
            None => template
                .extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into()))),
        }
        let found = self.session.find_objects(&template).map_err(failed)?;
        let [public] = found.as_slice() else {
            return Err(TokenError::NoPublicKey(uri.to_string()));
        };
        let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
        let attributes = self.session.get_attributes(*public, &wanted).map_err(failed)?;
        let (mut kind, mut point) = (KeyKind::Other, None);
        for attribute in attributes {
            match attribute {
                Attribute::EcParams(curve) if curve == P256 => kind = KeyKind::P256,
                Attribute::EcParams(curve) if curve == P384 => kind = KeyKind::P384,
                Attribute::EcPoint(der) => point = octets(&der).map(<[u8]>::to_vec),
                _ => {}
            }
        }
        match (kind, point) {
            (KeyKind::P256 | KeyKind::P384, Some(point)) => Ok((kind, point)),
            _ => Err(TokenError::Curve(uri.to_string())),
        }
    }

    fn find(pkcs11: &Pkcs11, uri: &Pkcs11Uri) -> Result<TokenSession, TokenError> {
        let session = open(pkcs11, uri, Access::Read)?;
        let key = find_key(&session, uri)?;
        Ok(TokenSession { session, key })
    }

    /// Signs a message, which is not hashed, in the format of TLS. Blocks.
    pub(super) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        mechanism::sign(scheme, message, |mechanism, data| {
            self.session.sign(mechanism, self.key, data)
        })
    }
}

/// Access to the objects of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Finds the token and signs in if the token needs it.
fn open(pkcs11: &Pkcs11, uri: &Pkcs11Uri, access: Access) -> Result<Session, TokenError> {
    let failed = |error: Error| failed(uri, &error);
    let slots = pkcs11.get_slots_with_token().map_err(failed)?;
    // A token that is pulled meanwhile has no information.
    let tokens =
        slots.into_iter().filter_map(|slot| Some((slot, pkcs11.get_token_info(slot).ok()?)));
    let mut tokens = tokens.filter(|(slot, info)| matches(&uri.token, *slot, info));
    let (slot, info) = match (tokens.next(), tokens.next()) {
        (Some(token), None) => token,
        (None, _) => return Err(TokenError::NoToken(uri.to_string())),
        (Some(_), Some(_)) => return Err(TokenError::ManyTokens(uri.to_string())),
    };
    let session = match access {
        Access::Read => pkcs11.open_ro_session(slot),
        Access::Write => pkcs11.open_rw_session(slot),
    };
    let session = session.map_err(failed)?;
    if info.login_required() {
        log_in(&session, &info, uri)?;
    }
    Ok(session)
}

/// Returns the content of an OCTET STRING in DER that is shorter than 128 bytes, as the points of
/// P-256 and P-384 are.
fn octets(der: &[u8]) -> Option<&[u8]> {
    match der {
        [4, length, content @ ..] if usize::from(*length) == content.len() && *length < 0x80 => {
            Some(content)
        }
        _ => None,
    }
}

/// Returns `true` if a token has the attributes.
fn matches(attributes: &TokenAttributes, slot: Slot, info: &TokenInfo) -> bool {
    let is = |wanted: &Option<String>, found: &str| {
        // Some tokens fill their attributes with NUL characters.
        wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end_matches(['\0', ' ']))
    };
    let TokenAttributes { token, serial, manufacturer, model, slot: number } = attributes;
    info.token_initialized()
        && is(token, info.label())
        && is(serial, info.serial_number())
        && is(manufacturer, info.manufacturer_id())
        && is(model, info.model())
        && number.is_none_or(|number| number == slot.id())
}

/// Signs in, unless another session of this process has done so. A PIN that the token has
/// refused is not sent again until its file changes.
fn log_in(session: &Session, info: &TokenInfo, uri: &Pkcs11Uri) -> Result<(), TokenError> {
    let name = || uri.to_string();
    let path = uri.pin_file.as_ref().ok_or_else(|| TokenError::NoPin(name()))?;
    let token = format!("{} {}", info.label(), info.serial_number());
    let stamp = FileStamp::at(path);
    if module::has_refused(&token, stamp) {
        return Err(TokenError::WrongPin(name()));
    }
    let bytes = secret_file::read(path).map_err(|error| match error {
        SecretFileError::Read(source) => TokenError::ReadPin { path: path.clone(), source },
        SecretFileError::Mode(mode) => TokenError::PinMode { path: path.clone(), mode },
    })?;
    if info.user_pin_locked() {
        return Err(TokenError::Locked(name()));
    }
    if info.user_pin_final_try() {
        return Err(TokenError::LastAttempt(name()));
    }
    let pin = String::from_utf8_lossy(&bytes);
    let pin = pin.strip_suffix('\n').unwrap_or(&pin);
    match session.login(UserType::User, Some(&AuthPin::from(pin.to_owned()))) {
        Ok(()) => Ok(()),
        Err(error) if is(&error, RvError::UserAlreadyLoggedIn) => Ok(()),
        Err(error)
            if [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange]
                .into_iter()
                .any(|code| is(&error, code)) =>
        {
            module::refuse(&token, stamp);
            Err(TokenError::WrongPin(name()))
        }
        Err(error) if is(&error, RvError::PinLocked) => Err(TokenError::Locked(name())),
        Err(error) => Err(failed(uri, &error)),
    }
}

fn find_key(session: &Session, uri: &Pkcs11Uri) -> Result<ObjectHandle, TokenError> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.as_ref().map(|id| Attribute::Id(id.clone())));
    let keys = session.find_objects(&template).map_err(|error| failed(uri, &error))?;
    match keys.as_slice() {
        [key] => Ok(*key),
        [] => Err(TokenError::NoKey(uri.to_string())),
        _ => Err(TokenError::ManyKeys(uri.to_string())),
    }
}

fn failed(uri: &Pkcs11Uri, error: &Error) -> TokenError {
    TokenError::Failed { key: uri.to_string(), reason: reason(error) }
}
