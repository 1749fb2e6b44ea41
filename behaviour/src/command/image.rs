//! Images in a registry or a directory: the options and connections of the commands that use
//! them.

use std::path::{Path, PathBuf};

use oci::credentials::Store;
use oci::layout::Layout;
use oci::registry::{Client, ClientSettings};
use oci::signature::PublicKey;
use oci::{Descriptor, Digest, OnProgress, Received, Reference, Source, SourceError};
use program::text;

use super::error::CommandError;

/// Maximum size of a component that is fetched or published, in bytes.
pub(super) const MAX_COMPONENT_BYTES: usize = 64 * 1024 * 1024;

/// The options of the connection to a registry.
#[derive(clap::Args)]
pub(super) struct RegistryOptions {
    /// Connect without TLS.
    #[arg(long, help_heading = "Registry")]
    plain_http: bool,
    /// A PEM file with the authority of the registry's certificate, in addition to the system's.
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    ca_file: Option<PathBuf>,
    /// A file with credentials in the form of Docker's config.json [default: that of Docker,
    /// then that of Podman, with their credential helpers].
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    credentials: Option<PathBuf>,
}

impl RegistryOptions {
    pub(super) fn client(&self, image: &Reference) -> Result<Client, CommandError> {
        let credentials = match &self.credentials {
            Some(file) => Store::of_file(file),
            None => Store::of_user(|name| std::env::var_os(name).map(PathBuf::from)),
        };
        let plain_http = self.plain_http.then(|| image.registry().to_owned()).into_iter().collect();
        Ok(Client::new(ClientSettings {
            plain_http,
            ca_file: self.ca_file.clone(),
            credentials: Some(credentials),
            max_blob_bytes: MAX_COMPONENT_BYTES as u64,
            ..ClientSettings::default()
        })?)
    }
}

/// The options of a place from which an image is read.
#[derive(clap::Args)]
pub(super) struct PlaceOptions {
    /// Read from a directory with an OCI image layout instead of the registry.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryOptions,
}

impl PlaceOptions {
    pub(super) async fn open(&self, image: &Reference) -> Result<Place, CommandError> {
        Ok(match &self.from {
            Some(dir) => Place::Layout(Layout::open(dir).await?),
            None => Place::Registry(self.registry.client(image)?),
        })
    }
}

/// A place from which an image is read.
pub(super) enum Place {
    /// A registry.
    Registry(Client),
    /// A directory.
    Layout(Layout),
}

impl Source for Place {
    async fn document(&self, image: &Reference) -> Result<Received, SourceError> {
        match self {
            Place::Registry(client) => client.document(image).await,
            Place::Layout(layout) => layout.document(image).await,
        }
    }

    async fn blob(
        &self,
        image: &Reference,
        blob: &Descriptor,
        max_bytes: usize,
    ) -> Result<Vec<u8>, SourceError> {
        match self {
            Place::Registry(client) => client.blob(image, blob, max_bytes).await,
            Place::Layout(layout) => layout.blob(image, blob, max_bytes).await,
        }
    }

    async fn blob_to_file(
        &self,
        image: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: OnProgress<'_>,
    ) -> Result<(), SourceError> {
        match self {
            Place::Registry(client) => client.blob_to_file(image, blob, file, progress).await,
            Place::Layout(layout) => layout.blob_to_file(image, blob, file, progress).await,
        }
    }

    async fn referrers(
        &self,
        image: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, SourceError> {
        match self {
            Place::Registry(client) => client.referrers(image, subject).await,
            Place::Layout(layout) => layout.referrers(image, subject).await,
        }
    }
}

/// Runs a future to its end.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(future)
}

/// Reads the public keys of PEM files.
pub(super) fn public_keys(files: &[PathBuf]) -> Result<Vec<PublicKey>, CommandError> {
    let mut keys = Vec::new();
    for file in files {
        let named = |error: CommandError| error.context(format!("key file {}", file.display()));
        let pem = text::read_bytes(file).map_err(|error| named(error.into()))?;
        keys.extend(PublicKey::all_from_pem(&pem).map_err(|error| named(error.into()))?);
    }
    Ok(keys)
}

/// Returns the current time in RFC 3339, or that of `SOURCE_DATE_EPOCH`, for reproducible
/// images.
pub(super) fn created() -> Result<String, CommandError> {
    let now = jiff::Timestamp::now().as_second();
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| {
            let message = format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds");
            CommandError::new(super::error::FailureKind::Usage, message)
        })?,
        Err(_) => now,
    };
    Ok(jiff::Timestamp::from_second(seconds).map_err(anyhow::Error::from)?.to_string())
}

/// Returns the name of a plugin for an image: the last part of its repository.
pub(super) fn plugin_name(image: &Reference) -> &str {
    let repository = image.repository();
    repository.rsplit('/').next().unwrap_or(repository)
}
