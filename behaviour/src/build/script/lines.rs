//! The lines of a bundle that come from the author's files. A script contains this table, so
//! that stacks name the author's files and lines.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The place in the bundle that the table replaces, without quotation marks.
const PLACEHOLDER: &str = "PLUGIN_LINES";

#[derive(Deserialize)]
struct SourceMap {
    sources: Vec<String>,
    mappings: String,
}

/// The names of the author's files, and runs of lines: the first line in the bundle, the number
/// of lines, the index of the file, and the first line in that file.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Table(Vec<String>, Vec<[usize; 4]>);

/// Embeds the table in a bundle. `name` returns the name of one of the map's sources, or `None`
/// if it does not come from the author.
pub(super) fn embed(bundle: &str, map: &[u8], name: impl Fn(&Path) -> Option<String>) -> String {
    let table = serde_json::from_slice(map).map(|map| table(bundle, &map, name));
    let table = table.unwrap_or_default();
    let table = serde_json::to_string(&table).expect("the table is valid JSON");
    bundle.replacen(&format!("\"{PLACEHOLDER}\""), &table, 1)
}

fn table(bundle: &str, map: &SourceMap, name: impl Fn(&Path) -> Option<String>) -> Table {
    let names: Vec<_> = map.sources.iter().map(|source| name(Path::new(source))).collect();
    let (mut files, mut runs) = (BTreeMap::new(), Vec::<[usize; 4]>::new());
    for (line, (source, original)) in mapped_lines(bundle, &map.mappings) {
        let Some(Some(_)) = names.get(source) else { continue };
        let count = files.len();
        let file = *files.entry(source).or_insert(count);
        match runs.last_mut() {
            Some([first, length, last, start])
                if *last == file && line == *first + *length && original == *start + *length =>
            {
                *length += 1;
            }
            _ => runs.push([line, 1, file, original]),
        }
    }
    let mut ordered = vec![String::new(); files.len()];
    for (source, file) in files {
        ordered[file] = names[source].clone().unwrap_or_default();
    }
    Table(ordered, runs)
}

/// Returns the source and its line for each line of a bundle that has one. Lines count from 1.
/// See the specification of source maps, revision 3.
///
/// The segment of the first character after the indentation counts. esbuild starts an indented
/// line with a copy of the segment before it, which belongs to another line.
fn mapped_lines(bundle: &str, mappings: &str) -> Vec<(usize, (usize, usize))> {
    let mut lines = Vec::new();
    let (mut source, mut original) = (0, 0);
    let texts = bundle.lines().chain(std::iter::repeat(""));
    for (at, (line, text)) in mappings.split(';').zip(texts).enumerate() {
        let indentation = text.bytes().take_while(u8::is_ascii_whitespace).count();
        let (mut column, mut first) = (0, None);
        for segment in line.split(',') {
            // The fields are the column, the source, its line, its column, and a name.
            if let [column_change, source_change, line_change, ..] = numbers(segment)[..] {
                column += column_change;
                source += source_change;
                original += line_change;
                let place = usize::try_from(source).ok().zip(usize::try_from(original).ok());
                let is_indented = usize::try_from(column).is_ok_and(|it| it <= indentation);
                first = if is_indented { place } else { first.or(place) };
            }
        }
        lines.extend(first.map(|(source, line)| (at + 1, (source, line + 1))));
    }
    lines
}

/// Decodes Base64 VLQ: five bits a digit, the lowest first, and the sign in the lowest bit.
fn numbers(segment: &str) -> Vec<i64> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut numbers, mut value, mut shift) = (Vec::new(), 0_i64, 0);
    for letter in segment.bytes() {
        let Some(digit) = DIGITS.iter().position(|digit| *digit == letter) else { break };
        value |= ((digit & 31) as i64) << shift;
        shift += 5;
        if digit & 32 == 0 {
            numbers.push(if value & 1 == 0 { value >> 1 } else { -(value >> 1) });
            (value, shift) = (0, 0);
        } else if shift > 40 {
            break;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decoded_with_their_signs() {
        assert_eq!(numbers("AAgBC"), [0, 0, 16, 1]);
        assert_eq!(numbers("D"), [-1]);
        assert!(numbers("!").is_empty());
    }

    #[test]
    fn a_table_contains_only_the_lines_of_the_authors_files() {
        // Line 1 is from the glue, lines 2 and 3 from lines 5 and 6 of the plugin, line 4 from
        // nothing, line 5 from line 9.
        let map =
            br#"{"sources": ["glue.js", "../plugin.ts"], "mappings": "AAAA;ACIA,GAAA;AACA;;AAGA"}"#;
        let name =
            |path: &Path| path.strip_prefix("..").ok().map(|path| path.display().to_string());
        let bundle = embed("const [files, runs] = \"PLUGIN_LINES\";", map, name);
        assert_eq!(bundle, "const [files, runs] = [[\"plugin.ts\"],[[2,2,0,5],[5,1,0,9]]];");
    }

    #[test]
    fn an_indented_line_has_the_place_of_its_first_character() {
        // The second line begins with a copy of the place of the first one.
        let lines = mapped_lines("a(\n  b", "AAAA;AAAA,EACA");
        assert_eq!(lines, [(1, (0, 1)), (2, (0, 2))]);
    }

    #[test]
    fn an_invalid_map_yields_an_empty_table() {
        assert_eq!(embed("\"PLUGIN_LINES\"", b"{}", |_| None), "[[],[]]");
    }
}
