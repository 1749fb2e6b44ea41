//! Installer of versions: the part of a device that compiles, starts and replaces plugins.

use futures_util::future::BoxFuture;

use crate::config::PluginSection;

/// Installer of versions. The version in force serves calls until its successor has started.
pub(crate) trait Installer: Send + Sync {
    /// Compiles a version, so that its start does not wait for the compiler.
    fn compile<'a>(
        &'a self,
        plugin: &'a str,
        section: &'a PluginSection,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Starts a version and puts it into force; `None` for the plugin of `host.toml`, or none.
    /// Installations of a plugin take effect in the order of their calls.
    fn install<'a>(
        &'a self,
        plugin: &'a str,
        section: Option<PluginSection>,
    ) -> BoxFuture<'a, Result<(), String>>;
}
