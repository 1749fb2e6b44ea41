//! `behaviour-host check`.

use program::say;

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;

pub(super) fn check(common: &ConfigurationArguments) -> Result<(), CommandError> {
    let config = read(common)?;
    for (name, imports) in behaviour_host::check(&config)? {
        let section = &config.plugins[&name];
        let mut methods: Vec<_> = section.methods.iter().map(ToString::to_string).collect();
        methods.extend(section.any_method.then(|| "all others".to_owned()));
        say(format_args!("{name}: {}", section.file.display()));
        say(format_args!("  methods: {}", methods.join(", ")));
        let imports = if imports.is_empty() { "none".into() } else { imports.join(", ") };
        say(format_args!("  imports: {imports}"));
    }
    say(format_args!("{}: all right", common.config.display()));
    Ok(())
}
