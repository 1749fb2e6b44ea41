//! Evaluation of a query, one page at a time.
//!
//! Twins are ordered by id, so each page continues after the last twin of the previous one
//! and no state is kept between them. Groups are ordered by key and recomputed for each
//! page.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use super::evaluate;
use super::syntax::{Aggregate, Column, ColumnValue, Columns, Query};

/// A page of results.
#[derive(Debug, PartialEq)]
pub(crate) struct Page<K> {
    /// Twins, or objects of the selected columns.
    pub(crate) rows: Vec<Value>,
    /// Start of the next page, if there is one.
    pub(crate) next: Option<NextPage<K>>,
}

/// Start of the next page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NextPage<K> {
    /// Last twin of this page; `None` if the rows are groups.
    pub(crate) after: Option<K>,
    /// Number of rows up to and including this page.
    pub(crate) returned: usize,
}

impl Query {
    /// Returns a page of at most `size` rows. `twins` are the twins after the previous page,
    /// in order. `returned` is the number of rows on all previous pages.
    pub(crate) fn page<K, V: AsRef<Value>>(
        &self,
        twins: impl Iterator<Item = (K, V)>,
        returned: usize,
        size: usize,
    ) -> Page<K> {
        let mut matching = twins.filter(|(_, twin)| match &self.condition {
            Some(condition) => evaluate::holds(condition, twin.as_ref()),
            None => true,
        });
        let columns = match &self.columns {
            Columns::Listed(columns) if self.is_grouped() => {
                return self.grouped(columns, matching, returned, size);
            }
            Columns::Listed(columns) => Some(columns),
            Columns::Whole => None,
        };
        let limit = self.top.map_or(size, |top| size.min(top.saturating_sub(returned)));
        let mut rows = Vec::new();
        let mut last = None;
        for (key, twin) in matching.by_ref().take(limit) {
            rows.push(match columns {
                None => twin.as_ref().clone(),
                Some(columns) => project(columns, twin.as_ref()),
            });
            last = Some(key);
        }
        let returned = returned + rows.len();
        let more = self.top.is_none_or(|top| returned < top)
            && rows.len() == size
            && matching.next().is_some();
        Page { rows, next: more.then_some(NextPage { after: last, returned }) }
    }

    /// Returns the number of all rows.
    pub(crate) fn count<V: AsRef<Value>>(&self, twins: impl Iterator<Item = V>) -> usize {
        if self.is_grouped() {
            return self.page(twins.map(|twin| ((), twin)), 0, usize::MAX).rows.len();
        }
        let matching = twins.filter(|twin| {
            let condition = self.condition.as_ref();
            condition.is_none_or(|condition| evaluate::holds(condition, twin.as_ref()))
        });
        matching.take(self.top.unwrap_or(usize::MAX)).count()
    }

    fn grouped<K, V: AsRef<Value>>(
        &self,
        columns: &[Column],
        matching: impl Iterator<Item = (K, V)>,
        returned: usize,
        size: usize,
    ) -> Page<K> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (_, twin) in matching {
            let twin = twin.as_ref();
            let key: Vec<Option<&Value>> =
                self.group_by.iter().map(|path| path.look_up(twin)).collect();
            // `-` is not JSON, so a missing property differs from every value.
            let text = key
                .iter()
                .map(|value| value.map_or_else(|| "-".to_owned(), Value::to_string))
                .collect::<Vec<_>>()
                .join("\u{1f}");
            let group = match groups.entry(text) {
                Entry::Occupied(group) => group.into_mut(),
                Entry::Vacant(entry) => entry.insert(Group::new(columns, twin)),
            };
            group.add(columns, twin);
        }
        if self.group_by.is_empty() && groups.is_empty() {
            groups.insert(String::new(), Group::new(columns, &Value::Null));
        }
        let total = self.top.map_or(groups.len(), |top| top.min(groups.len()));
        let rows: Vec<Value> = groups
            .into_values()
            .take(total)
            .skip(returned)
            .take(size)
            .map(|group| group.row(columns))
            .collect();
        let returned = returned + rows.len();
        let more = returned < total && !rows.is_empty();
        Page { rows, next: more.then_some(NextPage { after: None, returned }) }
    }
}

fn project(columns: &[Column], twin: &Value) -> Value {
    let mut row = Map::new();
    for column in columns {
        if let ColumnValue::Property(path) = &column.value
            && let Some(value) = path.look_up(twin)
        {
            row.insert(column.name.clone(), value.clone());
        }
    }
    Value::Object(row)
}

/// A group of twins with the same values of the grouped properties.
struct Group {
    keys: Map<String, Value>,
    count: usize,
    sums: Vec<ColumnNumbers>,
}

/// Running aggregates of a column. Values that are not numbers are ignored.
#[derive(Clone, Copy)]
struct ColumnNumbers {
    count: usize,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Group {
    fn new(columns: &[Column], first: &Value) -> Group {
        let keys = match project(columns, first) {
            Value::Object(keys) => keys,
            _ => Map::new(),
        };
        let none = ColumnNumbers {
            count: 0,
            sum: 0.0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
        };
        Group { keys, count: 0, sums: vec![none; columns.len()] }
    }

    fn add(&mut self, columns: &[Column], twin: &Value) {
        self.count += 1;
        for (column, numbers) in columns.iter().zip(&mut self.sums) {
            let path = match &column.value {
                ColumnValue::Aggregate(
                    Aggregate::Average(path)
                    | Aggregate::Sum(path)
                    | Aggregate::Minimum(path)
                    | Aggregate::Maximum(path),
                ) => path,
                ColumnValue::Aggregate(Aggregate::Count) | ColumnValue::Property(_) => continue,
            };
            if let Some(number) = path.look_up(twin).and_then(Value::as_f64) {
                numbers.count += 1;
                numbers.sum += number;
                numbers.minimum = numbers.minimum.min(number);
                numbers.maximum = numbers.maximum.max(number);
            }
        }
    }

    fn row(self, columns: &[Column]) -> Value {
        let mut row = self.keys;
        for (column, numbers) in columns.iter().zip(&self.sums) {
            let ColumnValue::Aggregate(aggregate) = &column.value else { continue };
            let some = |value: f64| (numbers.count > 0).then(|| super::number(value));
            let value = match aggregate {
                Aggregate::Count => Some(Value::from(self.count)),
                Aggregate::Sum(_) => Some(super::number(numbers.sum)),
                Aggregate::Average(_) => some(numbers.sum / numbers.count as f64),
                Aggregate::Minimum(_) => some(numbers.minimum),
                Aggregate::Maximum(_) => some(numbers.maximum),
            };
            if let Some(value) = value {
                row.insert(column.name.clone(), value);
            }
        }
        Value::Object(row)
    }
}
