//! The documented error codes. Each has a number and a name; the first three digits of
//! the number are the HTTP status.

macro_rules! codes {
    ($($number:literal $name:ident,)*) => {
        /// An error code from the documentation of IoT Hub.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the documentation's own")]
        pub enum ErrorCode {
            $($name,)*
        }

        impl ErrorCode {
            /// All codes, ordered by number.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Returns the number: six digits that begin with the HTTP status.
            #[must_use]
            pub fn number(self) -> u32 {
                match self {
                    $(ErrorCode::$name => $number,)*
                }
            }

            /// Returns the name, which is the value of the header `iothub-errorcode`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    400000 GenericBadRequest,
    400001 InvalidProtocolVersion,
    400003 InvalidOperation,
    400004 ArgumentInvalid,
    400005 ArgumentNull,
    400006 IotHubFormatError,
    400011 DeviceDefinedMultipleTimes,
    400013 BulkRegistryOperationFailure,
    400023 EtagDoesNotMatch,
    400027 ConnectionForcefullyClosedOnNewConnection,
    401001 IotHubNotFound,
    401002 IotHubUnauthorizedAccess,
    401003 IotHubUnauthorized,
    403001 IotHubSuspended,
    403002 IotHubQuotaExceeded,
    403003 JobQuotaExceeded,
    403004 DeviceMaximumQueueDepthExceeded,
    403010 OperationNotAvailableInCurrentTier,
    403011 KeyEncryptionKeyRevoked,
    403012 DeviceDisabled,
    403800 DeviceMaximumInflightMethodExceeded,
    404001 DeviceNotFound,
    404002 JobNotFound,
    404010 ModuleNotFound,
    404103 DeviceNotOnline,
    404104 DeviceConnectionClosedRemotely,
    409001 DeviceAlreadyExists,
    409002 LinkCreationConflict,
    409103 DeviceJobAlreadyExists,
    409104 JobAlreadyExists,
    409301 ModuleAlreadyExistsOnDevice,
    412001 PreconditionFailed,
    412002 DeviceMessageLockLost,
    413001 MessageTooLarge,
    413002 TooManyDevices,
    413003 TooManyModulesOnDevice,
    429001 ThrottlingException,
    429002 ThrottleBacklogLimitExceeded,
    429003 ThrottlingBacklogTimeout,
    429004 ThrottlingMaxActiveJobCountExceeded,
    429005 DeviceThrottlingLimitExceeded,
    500001 ServerError,
    500008 GenericTimeout,
    503005 ServerBusy,
    503102 DeviceUnavailable,
    504101 GatewayTimeout,
}

impl ErrorCode {
    /// Returns the HTTP status of responses with this code.
    #[must_use]
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).expect("six digits divided by a thousand are three")
    }

    /// Returns the code with this number; `None` if it is not documented.
    #[must_use]
    pub fn from_number(number: u32) -> Option<ErrorCode> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// Returns the code with this name; `None` if it is not documented.
    #[must_use]
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Returns the most general code for an HTTP status.
    #[must_use]
    pub fn from_http_status(status: u16) -> ErrorCode {
        match status {
            401 => ErrorCode::IotHubUnauthorized,
            403 => ErrorCode::IotHubQuotaExceeded,
            404 => ErrorCode::DeviceNotFound,
            409 => ErrorCode::DeviceAlreadyExists,
            412 => ErrorCode::PreconditionFailed,
            413 => ErrorCode::MessageTooLarge,
            429 => ErrorCode::ThrottlingException,
            503 => ErrorCode::ServerBusy,
            504 => ErrorCode::GatewayTimeout,
            500.. => ErrorCode::ServerError,
            _ => ErrorCode::GenericBadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_number_and_by_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
    }
}
