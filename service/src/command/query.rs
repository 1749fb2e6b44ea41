//! The command `behaviour-service query`.

use behaviour_service::{Client, ServiceError};
use program::note;

use super::show;
use crate::command_error::CommandError;

/// Prints the items of a query, one per line. An empty or failed query gets a hint if a name in
/// it has a hyphen, which IoT Hub reads as a subtraction.
pub(super) async fn run(
    query: &str,
    page_size: Option<u32>,
    client: &Client,
) -> Result<(), CommandError> {
    let mut pages = client.query(query, page_size);
    let mut items = 0;
    loop {
        let page = pages.next_page().await.map_err(|error| explain(error, query))?;
        let Some(page) = page else { break };
        items += page.len();
        page.iter().for_each(show::json);
    }
    if items == 0 {
        note("0 items");
        if let Some(hint) = hyphen_hint(query) {
            note(format_args!("hint: {hint}"));
        }
    }
    Ok(())
}

/// Adds the hint to an error in the query.
fn explain(error: ServiceError, query: &str) -> CommandError {
    let is_refused =
        matches!(&error, ServiceError::Hub { response, .. } if response.http_status == 400);
    match hyphen_hint(query).filter(|_| is_refused) {
        Some(hint) => CommandError::from(error).with_hint(hint),
        None => error.into(),
    }
}

/// Returns a hint if the query has a path with a hyphen outside its strings.
fn hyphen_hint(query: &str) -> Option<String> {
    let path = paths(query).find(|path| path.contains('-'))?;
    let quoted: Vec<String> = path
        .split('.')
        .map(|name| if name.contains('-') { format!("[[{name}]]") } else { name.to_owned() })
        .collect();
    Some(format!(
        "`{path}` is a subtraction; a name with a hyphen is written in double brackets: {}",
        quoted.join(".")
    ))
}

/// Returns the words with a dot of a query, without its strings. A name in double brackets ends
/// a word.
fn paths(query: &str) -> impl Iterator<Item = &str> {
    // Every second part is inside quotation marks.
    let outside = query.split(['\'', '"']).step_by(2);
    let is_separator = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-'));
    let words = outside.flat_map(move |text| text.split(is_separator));
    words.filter(|word| {
        let names: Vec<&str> = word.split('.').collect();
        let is_name = |name: &&str| name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        names.len() > 1 && names.iter().all(is_name) && !word.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_hyphen_is_shown_in_double_brackets() {
        let hint = hyphen_hint("SELECT * FROM devices WHERE tags.my-site = 'a'").unwrap();
        assert!(hint.starts_with("`tags.my-site` is a subtraction; "), "{hint}");
        assert!(hint.ends_with(": tags.[[my-site]]"), "{hint}");
        let hint = hyphen_hint("SELECT properties.reported.plugins.ping-home.version FROM devices");
        let path = "properties.reported.plugins.[[ping-home]].version";
        assert!(hint.unwrap().ends_with(path));
    }

    #[test]
    fn other_hyphens_have_no_hint() {
        for query in [
            "SELECT * FROM devices WHERE deviceId = 'a.b-c'",
            "SELECT * FROM devices WHERE tags.[[my-site]] = 'a-b.c'",
            "SELECT * FROM devices WHERE tags.a > -5",
            "SELECT * FROM devices WHERE tags.a - 1 = 2",
            "SELECT * FROM devices WHERE tags.a = 2026-01-01",
            "SELECT * FROM devices",
        ] {
            assert_eq!(hyphen_hint(query), None, "{query}");
        }
    }
}
