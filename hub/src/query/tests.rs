//! Parsing and evaluation of whole queries.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{NextPage, Page};
use super::{QueryError, Source, parse};

impl QueryError {
    pub(super) fn position(&self) -> Option<usize> {
        match self {
            QueryError::TooLong(_) => None,
            QueryError::Syntax { position, .. } => Some(*position),
        }
    }
}

struct Document(Value);

impl AsRef<Value> for Document {
    fn as_ref(&self) -> &Value {
        &self.0
    }
}

fn run(text: &str, twins: &[Value]) -> Vec<Value> {
    page(text, twins, 0, 1000).rows
}

fn page(text: &str, twins: &[Value], returned: usize, size: usize) -> Page<usize> {
    let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    query.page(twins.iter().cloned().map(Document).enumerate(), returned, size)
}

fn twin() -> Value {
    json!({
        "deviceId": "d1", "status": "enabled", "connectionState": "Connected", "version": 7,
        "capabilities": {"iotEdge": false},
        "tags": {"plant": "A", "group": "g", "nothing": null, "floor": 3, "name": "it's", "deep": {"er": 1.5}},
        "properties": {
            "desired": {"on": true, "list": [1, 2], "$version": 4},
            "reported": {"battery": 80, "object": {}, "$version": 9, "$metadata": {"battery": {"$lastUpdated": "T"}}},
        },
    })
}

#[test]
fn a_twin_matches_only_if_the_condition_is_exactly_true() {
    for (condition, holds) in [
        ("tags.plant = 'A'", true),
        ("tags.plant = \"A\"", true),
        ("tags.plant = 'a'", false),
        ("tags.plant != 'B'", true),
        ("tags.plant <> 'B'", true),
        ("tags.Plant = 'A'", false),
        ("DEVICEID = 'd1'", true),
        ("devices.deviceId = 'd1'", true),
        ("devices.tags.plant = 'A'", true),
        ("tags.floor = 3.0", true),
        ("tags.floor = 0x3", true),
        ("tags.floor > 2 AND tags.floor <= 3", true),
        ("tags.floor + 1 * 2 = 5", true),
        ("(tags.floor + 1) * 2 = 8", true),
        ("tags.floor - 1 - 1 = 1", true),
        ("tags.floor % 2 = 1", true),
        ("tags.floor / 0 = 1", false),
        ("NOT (tags.floor / 0 = 1)", false),
        ("-tags.floor = -3", true),
        ("tags.deep.er < 2", true),
        ("tags.name = 'it\\'s'", true),
        ("tags.[[group]] = 'g'", true),
        ("capabilities.iotEdge = false", true),
        ("NOT capabilities.iotEdge", true),
        ("properties.desired.on", true),
        ("properties.desired.$version = 4", true),
        ("properties.reported.$metadata.battery.$lastUpdated = 'T'", true),
        ("properties.desired.list = [1, 2]", false),
        ("properties.desired.list != [1, 2]", false),
        ("tags.plant", false),
        ("tags.floor", false),
        ("NOT tags.plant", false),
        ("null", false),
        ("true", true),
        ("true = true", true),
        // Comparisons with a missing property are undefined.
        ("tags.absent = 'A'", false),
        ("tags.absent != 'A'", false),
        ("NOT tags.absent = 'A'", false),
        ("undefined = undefined", false),
        ("tags.absent = 1 OR true", true),
        ("tags.absent = 1 AND true", false),
        ("NOT (tags.absent = 1 AND false)", true),
        ("tags.nothing = null", true),
        ("tags.plant != null", true),
        ("tags.plant = 1", false),
        ("tags.plant != 1", true),
        ("tags.plant < 1", false),
        ("NOT tags.plant < 1", false),
        ("tags.plant < 'B'", true),
        ("properties.reported.object = null", false),
        ("IS_DEFINED(tags.plant)", true),
        ("is_defined(tags.nothing)", true),
        ("IS_DEFINED(tags.absent)", false),
        ("NOT is_defined(tags.absent)", true),
        ("STARTSWITH(deviceId, 'd')", true),
        ("startswith(devices.deviceId, 'D')", false),
        ("STARTSWITH(tags.plant, '')", true),
        ("ENDSWITH(tags.name, '\\'s')", true),
        ("ENDSWITH(tags.name, 'it')", false),
        ("CONTAINS(tags.name, 't\\'')", true),
        ("NOT CONTAINS(tags.name, 'x')", true),
        ("CONTAINS('a' , 'a') AND tags.floor = 3", true),
        ("STARTSWITH(tags.absent, 'x')", false),
        ("NOT STARTSWITH(tags.absent, 'x')", false),
        ("NOT STARTSWITH(tags.floor, '3')", false),
        ("tags.plant IN ['A', 'B']", true),
        ("tags.plant in ['B', 1, null]", false),
        ("tags.plant NIN ['B']", true),
        ("tags.absent IN ['A']", false),
        ("tags.absent NIN ['A']", false),
        ("tags.floor IN [-3, 3]", true),
        ("tags.nothing IN [null]", true),
        ("tags.plant IN []", false),
        ("tags.plant NIN []", true),
        ("properties.desired.list IN [[1, 2]]", false),
        ("false OR false OR tags.floor = 3", true),
        ("true AND false OR true", true),
        ("true OR true AND false", true),
        ("NOT true OR true", true),
        ("NOT NOT true", true),
    ] {
        let text = format!("SELECT * FROM devices WHERE {condition}");
        assert_eq!(run(&text, &[twin()]).len() == 1, holds, "{condition}");
    }
}

#[test]
fn columns_are_named_by_their_alias_or_last_segment() {
    for (columns, row) in [
        ("DeviceId, CONNECTIONSTATE", json!({"deviceId": "d1", "connectionState": "Connected"})),
        ("tags.plant", json!({"plant": "A"})),
        ("tags.plant AS site, tags.floor", json!({"site": "A", "floor": 3})),
        ("tags.absent, deviceId", json!({"deviceId": "d1"})),
        ("tags.nothing", json!({"nothing": null})),
        ("properties.reported.battery as Battery", json!({"Battery": 80})),
        ("tags", json!({"tags": twin()["tags"]})),
        ("top", json!({})),
        ("TOP 1 deviceId", json!({"deviceId": "d1"})),
    ] {
        assert_eq!(run(&format!("select {columns} from devices"), &[twin()]), [row], "{columns}");
    }
}

fn fleet() -> Vec<Value> {
    [("A", json!(10)), ("B", json!(20)), ("A", json!(30.5)), ("A", json!("much")), ("B", Value::Null)]
        .iter()
        .enumerate()
        .map(|(i, (plant, load))| json!({"deviceId": i.to_string(), "tags": {"plant": plant, "load": load}}))
        .chain([json!({"deviceId": "5"})])
        .collect()
}

#[test]
fn aggregates_cover_all_twins_or_each_group() {
    for (text, rows) in [
        ("SELECT COUNT() AS n FROM devices", json!([{"n": 6}])),
        ("SELECT count() FROM devices WHERE false", json!([{"count": 0}])),
        (
            "SELECT SUM(tags.load) AS s, AVG(tags.load) AS a, MIN(tags.load) AS low, MAX(tags.load) AS high FROM devices",
            json!([{"s": 60.5, "a": 60.5 / 3.0, "low": 10, "high": 30.5}]),
        ),
        ("SELECT AVG(tags.none) AS a, SUM(tags.none) AS s FROM devices", json!([{"s": 0}])),
        (
            "SELECT tags.plant AS plant, COUNT() AS n FROM devices GROUP BY tags.plant",
            json!([{"plant": "A", "n": 3}, {"plant": "B", "n": 2}, {"n": 1}]),
        ),
        ("SELECT COUNT() AS n FROM devices WHERE tags.plant = 'C' GROUP BY tags.plant", json!([])),
        (
            "SELECT tags.plant FROM devices WHERE IS_DEFINED(tags.plant) GROUP BY tags.plant, tags.none",
            json!([{"plant": "A"}, {"plant": "B"}]),
        ),
        (
            "SELECT TOP 1 tags.plant, MAX(tags.load) AS high FROM devices WHERE tags.plant > '' GROUP BY tags.plant",
            json!([{"plant": "A", "high": 30.5}]),
        ),
    ] {
        let mut found = run(text, &fleet());
        let mut expected = rows.as_array().cloned().unwrap();
        found.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_page_continues_after_the_previous_one() {
    let fleet = fleet();

    let first = page("SELECT deviceId FROM devices", &fleet, 0, 4);
    assert_eq!(first.rows.len(), 4);
    assert_eq!(first.next, Some(NextPage { after: Some(3), returned: 4 }));

    let last = page("SELECT deviceId FROM devices", &fleet[4..], 4, 2);
    assert_eq!((last.rows.len(), last.next), (2, None));

    let top = page("SELECT TOP 5 * FROM devices", &fleet[4..], 4, 4);
    assert_eq!((top.rows.len(), top.next), (1, None));

    let groups = "SELECT tags.plant, COUNT() AS n FROM devices GROUP BY tags.plant";
    let first = page(groups, &fleet, 0, 2);
    assert_eq!(first.next, Some(NextPage { after: None, returned: 2 }));
    let last = page(groups, &fleet, 2, 2);
    assert_eq!((last.rows.len(), last.next), (1, None));
}

#[test]
fn paths_of_a_module_query_can_contain_the_collection() {
    let query = parse(
        "SELECT devices.modules.moduleId FROM devices.modules WHERE devices.modules.tags.a = 1",
    )
    .unwrap();
    assert_eq!(query.source(), Source::Modules);

    let twin = json!({"moduleId": "m", "tags": {"a": 1}});
    assert_eq!(
        query.page([(0, Document(twin))].into_iter(), 0, 1).rows,
        [json!({"moduleId": "m"})]
    );
}

#[test]
fn a_syntax_error_has_its_position_and_the_expected_token() {
    for (text, error) in [
        ("", "character 1: expected SELECT, found the end of the query"),
        ("DELETE", "character 1: expected SELECT, found `DELETE`"),
        (
            "SELECT",
            "character 7: expected `*`, a property or an aggregate, found the end of the query",
        ),
        ("SELECT *", "character 9: expected FROM, found the end of the query"),
        (
            "SELECT * FROM twins",
            "character 15: expected `devices`, `devices.modules` or `devices.jobs`, found `twins`",
        ),
        ("SELECT jobId FROM devices.jobs", "character 8: `devices.jobs` supports `*` only"),
        (
            "SELECT * FROM devices WHERE",
            "character 28: expected a property, a value or `(`, found the end of the query",
        ),
        ("SELECT * FROM devices tags", "character 23: expected the end of the query, found `tags`"),
        (
            "SELECT * FROM devices WHERE a = 1 = 2",
            "character 35: expected the end of the query, found `=`",
        ),
        (
            "SELECT * FROM devices WHERE (a = 1",
            "character 35: expected `)`, found the end of the query",
        ),
        ("SELECT * FROM devices WHERE a IN ('x')", "character 34: expected `[`, found `(`"),
        ("SELECT * FROM devices WHERE a IN [b]", "character 35: expected a value, found `b`"),
        (
            "SELECT * FROM devices WHERE a IN [1 2]",
            "character 37: expected `,` or `]`, found the number 2",
        ),
        (
            "SELECT * FROM devices WHERE tags.group = 1",
            "character 34: expected a property name, found the keyword `group`; write `[[group]]` for a property",
        ),
        (
            "SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'd')",
            "character 29: expected IS_DEFINED, STARTSWITH, ENDSWITH or CONTAINS, found the function `STARTS_WITH`",
        ),
        (
            "SELECT * FROM devices WHERE STARTSWITH(deviceId)",
            "character 48: expected `,`, found `)`",
        ),
        (
            "SELECT * FROM devices WHERE CONTAINS(deviceId, 'd', true)",
            "character 51: expected `)`, found `,`",
        ),
        ("SELECT COUNT(deviceId) FROM devices", "character 14: expected `)`, found `deviceId`"),
        (
            "SELECT MEDIAN(a) FROM devices",
            "character 8: expected COUNT, AVG, SUM, MIN or MAX, found the function `MEDIAN`",
        ),
        (
            "SELECT TOP 0 * FROM devices",
            "character 12: expected a whole number from 1 after TOP, found the number 0",
        ),
        (
            "SELECT deviceId, COUNT() FROM devices",
            "character 8: `deviceId` is neither aggregated nor in GROUP BY",
        ),
        (
            "SELECT * FROM devices GROUP BY tags.a",
            "character 8: `*` is not allowed with GROUP BY; name the grouped properties",
        ),
        (
            "SELECT tags.a, tags.b.a FROM devices",
            "character 8: two columns are named `a`; rename one with AS",
        ),
        (
            "SELECT tags.a FROM devices.modules GROUP BY tags.a",
            "character 36: GROUP BY is supported on `devices` only",
        ),
        (
            "SELECT * FROM devices WHERE a = 'x",
            "character 33: expected a closing ' for the string that begins here",
        ),
        (
            "SELECT * FROM devices WHERE a == 1",
            "character 32: expected a property, a value or `(`, found `=`",
        ),
        (
            "SELECT * FROM devices;",
            "character 22: expected a name, a value or an operator, found `;`",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), format!("query, {error}"), "{text}");
    }
}

#[test]
fn length_and_depth_are_limited() {
    let long = format!("SELECT * FROM devices WHERE a = '{}'", "é".repeat(8192));
    assert_eq!(parse(&long).unwrap_err(), QueryError::TooLong(8226));

    for opening in ["(", "NOT ", "-", "[ ", "NOT (", "CONTAINS("] {
        let deep = format!("SELECT * FROM devices WHERE {}", opening.repeat(500));
        let error = parse(&deep).unwrap_err().to_string();
        assert!(error.ends_with("nested deeper than 64 levels"), "{opening}: {error}");
    }

    let wide = format!("SELECT * FROM devices WHERE {}1 > 0", "1+".repeat(4000));
    assert_eq!(run(&wide, &[twin()]).len(), 1);
}

proptest! {
    #[test]
    fn no_input_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_parser_or_the_evaluator_panic(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "SELECT", "*", "FROM", "devices", ".", "modules", "WHERE", "GROUP", "BY", "AS", "TOP", "AND", "OR",
                "NOT", "IN", "NIN", "(", ")", "[", "]", "[[", "]]", ",", "=", "!=", "<", ">=", "+", "-", "*", "/",
                "%", "1", "0x1F", "1e9", "'t'", "\"u\"", "null", "undefined", "true", "tags.plant", "deviceId",
                "IS_DEFINED(tags.a)", "STARTSWITH(", "CONTAINS(deviceId, 'd')", "COUNT()", "MAX(tags.floor)", "'\\u00e9'", "\\",
            ]),
            0..24,
        ),
        whole in any::<bool>(),
    ) {
        let tokens = tokens.join(" ");
        let text = if whole { tokens } else { format!("SELECT * FROM devices WHERE {tokens}") };
        if let Ok(query) = parse(&text) {
            query.page([(0, Document(twin()))].into_iter(), 0, 10);
        }
    }
}
