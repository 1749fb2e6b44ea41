//! Conditions without a query around them: the targets of configurations and jobs.
//!
//! The condition of a job can use the whole language. The target condition of a configuration
//! has fewer fields and operators (documentation of IoT Hub, "Automatic device management").

use serde_json::Value;

use super::cursor::Cursor;
use super::evaluate;
use super::lexer::{TokenKind, tokens};
use super::syntax::{Expr, Literal, PropertyPath, Source};
use super::{QueryError, checked};

/// A selection of twins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TwinFilter {
    source: Source,
    /// The condition; `None` selects all twins of the collection.
    condition: Option<Expr>,
}

/// An invalid target condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(transparent)]
    Syntax(#[from] QueryError),
    /// A part of the query language that target conditions do not have.
    #[error("a target condition has no {0}")]
    Forbidden(String),
}

impl TwinFilter {
    /// Parses the condition of a job: `*`, a condition, or `FROM devices.modules WHERE` and a
    /// condition.
    pub(crate) fn of_job(text: &str) -> Result<TwinFilter, QueryError> {
        let text = checked(text)?;
        let mut cursor = Cursor::new(text)?;
        if cursor.accept_keyword("from") {
            let source = cursor.source()?;
            let condition = if cursor.accept_keyword("where") { Some(cursor.or()?) } else { None };
            cursor.expect_end()?;
            return Ok(TwinFilter { source, condition });
        }
        let condition = if cursor.accept_symbol("*") { None } else { Some(cursor.or()?) };
        cursor.expect_end()?;
        Ok(TwinFilter { source: Source::Devices, condition })
    }

    /// Parses a target condition. Returns `None` for an empty one, which selects nothing.
    pub(crate) fn of_target(text: &str) -> Result<Option<TwinFilter>, TargetError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let filter = TwinFilter::of_job(text)?;
        let of_modules = match filter.source {
            Source::Devices => false,
            Source::Modules => true,
            Source::Jobs => return Err(TargetError::Forbidden("devices.jobs".to_owned())),
        };
        if let Some(condition) = &filter.condition {
            let double_quoted = tokens(text)?.iter().any(|token| {
                matches!(token.kind, TokenKind::String(_))
                    && text.chars().nth(token.at - 1) == Some('"')
            });
            if double_quoted {
                return Err(TargetError::Forbidden("double quotes".to_owned()));
            }
            if let Some(found) = forbidden(condition, of_modules) {
                return Err(TargetError::Forbidden(found));
            }
        }
        Ok(Some(filter))
    }

    /// Returns the collection.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Returns `true` if the filter selects this twin of its collection.
    pub(crate) fn matches(&self, twin: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| evaluate::holds(condition, twin))
    }
}

/// Returns the first part of a condition that target conditions do not have.
fn forbidden(expr: &Expr, of_modules: bool) -> Option<String> {
    let inner = |expr: &Expr| forbidden(expr, of_modules);
    match expr {
        Expr::Literal(Literal::Value(Value::Array(_))) => Some("list".to_owned()),
        Expr::Literal(_) => None,
        Expr::Property(path) | Expr::IsDefined(path) => {
            (!is_target_field(path, of_modules)).then(|| format!("'{}'", path.0.join(".")))
        }
        Expr::Search(..) => Some("function other than IS_DEFINED".to_owned()),
        Expr::In(true, ..) => Some("IN".to_owned()),
        Expr::In(false, ..) => Some("NIN".to_owned()),
        Expr::Arithmetic(..) => Some("arithmetic".to_owned()),
        Expr::Not(operand) | Expr::Negate(operand) => inner(operand),
        Expr::And(all) | Expr::Or(all) => all.iter().find_map(inner),
        Expr::Compare(_, left, right) => inner(left).or_else(|| inner(right)),
    }
}

fn is_target_field(path: &PropertyPath, of_modules: bool) -> bool {
    let segments: Vec<&str> = path.0.iter().map(String::as_str).collect();
    match segments[..] {
        ["deviceId"] | ["tags", ..] | ["properties", "reported", ..] => true,
        ["moduleId"] => of_modules,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_condition_has_the_fields_and_operators_of_the_documentation() {
        let twin = json!({"deviceId": "d1", "tags": {"ring": 1},
            "properties": {"reported": {"a": {"b": -2}}}});
        for (text, matches) in [
            ("*", true),
            ("tags.ring = 1 AND NOT (deviceId <> 'd1')", true),
            ("is_defined(properties.reported.a.b) and properties.reported.a.b > -3", true),
            ("deviceId >= 'd0' AND deviceId <= 'd1'", true),
            ("tags.ring = 2 OR deviceId = 'x'", false),
        ] {
            let filter = TwinFilter::of_target(text).unwrap().unwrap();
            assert_eq!(filter.matches(&twin), matches, "{text}");
        }
        assert_eq!(TwinFilter::of_target(" "), Ok(None));
        let modules = TwinFilter::of_target("from devices.modules where moduleId = 'm'");
        assert_eq!(modules.unwrap().unwrap().source(), Source::Modules);
    }

    #[test]
    fn a_target_condition_with_more_than_that_is_refused() {
        for (text, found) in [
            ("deviceId IN ['d1']", "IN"),
            ("tags.a = \"b\"", "double quotes"),
            ("startswith(deviceId, 'd')", "function other than IS_DEFINED"),
            ("properties.desired.a = 1", "'properties.desired.a'"),
            ("status = 'enabled'", "'status'"),
            ("tags.a + 1 = 2", "arithmetic"),
            ("moduleId = 'm'", "'moduleId'"),
        ] {
            let error = TwinFilter::of_target(text).unwrap_err();
            assert_eq!(error, TargetError::Forbidden(found.to_owned()), "{text}");
        }
        for text in ["tags.a =", "tags.a = 1 tags", "* and tags.a = 1", "from devices."] {
            let error = TwinFilter::of_target(text).unwrap_err();
            assert!(matches!(error, TargetError::Syntax(_)), "{text}: {error}");
        }
    }

    #[test]
    fn a_job_can_select_devices_by_a_list_and_modules_by_a_query() {
        let filter = TwinFilter::of_job("deviceId IN ['d1', 'd2']").unwrap();
        assert!(filter.matches(&json!({"deviceId": "d2"})));
        let modules = TwinFilter::of_job("FROM devices.modules WHERE ModuleId = 'm'").unwrap();
        assert_eq!(modules.source(), Source::Modules);
        assert!(modules.matches(&json!({"deviceId": "d", "moduleId": "m"})));
    }
}
