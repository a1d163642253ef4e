//! `page`, `size` and `sort` of a list.

use super::fault::Fault;
use crate::coordinator::verbs::SecretRow;
use crate::report;

/// Rows of one page unless said otherwise, and at most.
const SIZE: (usize, usize) = (20, 1000);

/// Which rows are wanted, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// `None` for all: the answer is a bare array, from which nobody who did not ask for pages could tell that there are more.
    page: Option<(usize, usize)>,
    key: Key,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    Status,
    Modified,
    Id,
}

impl Paging {
    /// Reads the query.
    pub fn read(query: &[(String, String)]) -> Result<Self, Fault> {
        let (mut number, mut size) = (None, None);
        let mut sort = (Key::Name, false);
        for (name, value) in query {
            match name.as_str() {
                "page" => number = Some(count(name, value)?),
                "size" => size = Some(count(name, value)?),
                "sort" if !value.is_empty() => sort = order(value)?,
                // Other clients send more than we know, such as the container that the original's specification names.
                _ => {}
            }
        }
        if size.is_some_and(|size| !(1..=SIZE.1).contains(&size)) {
            return Err(Fault::field(format!("`size` is from 1 to {}", SIZE.1)));
        }
        let page = (number.is_some() || size.is_some()).then(|| (number.unwrap_or(0), size.unwrap_or(SIZE.0)));
        Ok(Self { page, key: sort.0, descending: sort.1 })
    }

    /// The rows wanted of all.
    pub fn apply(self, mut rows: Vec<SecretRow>) -> Vec<SecretRow> {
        rows.sort_by(|a, b| match self.key {
            Key::Name => a.name.cmp(&b.name),
            Key::Status => a.status.as_str().cmp(b.status.as_str()).then_with(|| a.name.cmp(&b.name)),
            Key::Modified => a.modified_ms.cmp(&b.modified_ms).then_with(|| a.name.cmp(&b.name)),
            Key::Id => a.id.cmp(&b.id),
        });
        if self.descending {
            rows.reverse();
        }
        match self.page {
            None => rows,
            Some((number, size)) => rows.into_iter().skip(number.saturating_mul(size)).take(size).collect(),
        }
    }
}

fn count(name: &str, value: &str) -> Result<usize, Fault> {
    value
        .parse::<u32>()
        .map(|number| number as usize)
        .map_err(|_| Fault::field(format!("`{name}` is a whole number from 0, not `{}`", report::brief(value, 40))))
}

/// `name`, `name,desc`.
fn order(value: &str) -> Result<(Key, bool), Fault> {
    let wrong = || {
        let value = report::brief(value, 40);
        Fault::field(format!("`sort` is name, status, modificationTime or id, then `,asc` or `,desc`, not `{value}`"))
    };
    let (key, direction) = value.split_once(',').unwrap_or((value, "asc"));
    let key = match key {
        "name" => Key::Name,
        "status" => Key::Status,
        "modificationTime" => Key::Modified,
        "id" => Key::Id,
        _ => return Err(wrong()),
    };
    match direction.to_ascii_lowercase().as_str() {
        "asc" => Ok((key, false)),
        "desc" => Ok((key, true)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::verbs::SecretStatus;
    use crate::id::ClusterId;

    fn row(name: &str, modified_ms: i64) -> SecretRow {
        SecretRow {
            id: format!("id-{name}"),
            name: name.to_owned(),
            cluster: ClusterId::random(),
            cluster_name: "default".to_owned(),
            status: SecretStatus::Active,
            created_ms: 0,
            modified_ms,
        }
    }

    fn names(query: &[(&str, &str)]) -> Vec<String> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let rows = vec![row("b", 1), row("a", 3), row("c", 2)];
        Paging::read(&query).expect("a good query").apply(rows).into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn pages_do_not_overlap_and_the_last_is_empty() {
        assert_eq!(names(&[]), ["a", "b", "c"]);
        assert_eq!(names(&[("page", "0"), ("size", "2"), ("sort", "")]), ["a", "b"]);
        assert_eq!(names(&[("page", "1"), ("size", "2")]), ["c"]);
        assert!(names(&[("page", "4294967295"), ("size", "1000")]).is_empty());
        assert_eq!(names(&[("sort", "modificationTime,desc"), ("page", "0")]), ["a", "c", "b"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for query in
            [("page", "-1"), ("page", "x"), ("size", "0"), ("size", "1001"), ("sort", "secret"), ("sort", "name,up")]
        {
            assert!(Paging::read(&[(query.0.to_owned(), query.1.to_owned())]).is_err(), "{query:?}");
        }
    }
}
