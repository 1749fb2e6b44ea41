//! Writing images to a directory.

use std::io::{self, Write as _};
use std::path::Path;

use super::{Layout, Marker, REF_NAME, VERSION};
use crate::media_type::{INDEX, MANIFEST};
use crate::source::{Received, SourceError};
use crate::{Descriptor, Digest, Index, Reference};

impl Layout {
    /// Opens a directory, and makes it an empty layout if it is missing or empty.
    pub async fn create(dir: &Path) -> Result<Layout, SourceError> {
        let failed = |source| SourceError::File { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir.join("blobs/sha256")).map_err(failed)?;
        let layout = Layout { dir: dir.to_owned() };
        if !dir.join("oci-layout").exists() {
            if !dir.join("index.json").exists() {
                layout.write(&dir.join("index.json"), &Index::new(Vec::new()).to_json())?;
            }
            let marker = Marker { image_layout_version: VERSION.to_owned() };
            let marker = serde_json::to_vec(&marker).expect("every field is valid in JSON");
            // The last file, so that an interrupted call leaves no layout.
            layout.write(&dir.join("oci-layout"), &marker)?;
        }
        Layout::open(dir).await
    }

    /// Writes a blob, unless the directory has it.
    pub fn add_blob(&self, content: &[u8]) -> Result<Digest, SourceError> {
        let digest = Digest::of(content);
        let path = self.blob_path(&digest);
        let has_it = std::fs::read(&path).is_ok_and(|found| Digest::of(&found) == digest);
        if !has_it {
            self.write(&path, content)?;
        }
        Ok(digest)
    }

    /// Writes a manifest or index, and lists it under the name of the reference. The blobs must
    /// have been written.
    pub async fn add_document(
        &self,
        name: Option<&Reference>,
        received: &Received,
        artifact_type: Option<&str>,
    ) -> Result<(), SourceError> {
        self.add_blob(&received.bytes)?;
        let media_type = received.media_type.as_deref().unwrap_or(MANIFEST);
        let mut entry = Descriptor::of(media_type, &received.bytes);
        entry.artifact_type = artifact_type.map(str::to_owned);
        let name = name.and_then(|name| Some(format!("{}:{}", name.name(), name.tag()?)));
        if let Some(name) = &name {
            entry.annotations.insert(REF_NAME.to_owned(), name.clone());
        }
        let mut index = self.index().await?;
        // A name has one entry; an entry without a name is listed once.
        index.manifests.retain(|found| match &name {
            Some(name) => found.annotations.get(REF_NAME) != Some(name),
            None => found.digest != entry.digest || found.annotations.contains_key(REF_NAME),
        });
        index.manifests.push(entry);
        index.media_type = Some(INDEX.to_owned());
        self.write(&self.dir.join("index.json"), &index.to_json())
    }

    /// Replaces a file atomically.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), SourceError> {
        let temporary = path.with_extension("tmp");
        let written = (|| -> io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        })();
        written.map_err(|source| SourceError::File { path: path.to_owned(), source })
    }
}
