//! Rights that a request to a registry needs.

/// The rights that a request needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rights {
    pub(super) repository: String,
    pub(super) is_push: bool,
}

impl Rights {
    pub(super) fn pull(repository: &str) -> Rights {
        Rights { repository: repository.to_owned(), is_push: false }
    }

    pub(super) fn push(repository: &str) -> Rights {
        Rights { repository: repository.to_owned(), is_push: true }
    }

    /// Returns the scope of a token with these rights.
    pub(super) fn scope(&self) -> String {
        let actions = if self.is_push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository)
    }
}
