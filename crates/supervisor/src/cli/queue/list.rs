//! `postern queue list`.

use spool::QueueRow;
use token_store::accounts::show_size;

use crate::cli::exit::Failure;
use crate::cli::table;

/// Prints messages as a table, or as JSON.
pub(crate) fn list(rows: &[QueueRow], json: bool) -> Result<(), Failure> {
    if json {
        return table::json(&rows);
    }
    if rows.is_empty() {
        return table::line("nothing is in flight");
    }
    let rows: Vec<[String; 10]> = rows.iter().map(cells).collect();
    table::print(
        [
            "ID",
            "WAY",
            "ACCOUNT",
            "STATE",
            "SIZE",
            "AGE",
            "TRIES",
            "NEXT",
            "FROM / SUBJECT",
            "WHY",
        ],
        &rows,
    )
}

fn cells(row: &QueueRow) -> [String; 10] {
    [
        row.id.to_string(),
        row.direction.clone(),
        row.account.clone(),
        row.state.clone(),
        show_size(row.size),
        span(row.age_seconds),
        row.attempts.to_string(),
        row.next_seconds.map(span).unwrap_or_default(),
        format!("{} / {}", row.from, row.subject),
        row.why.clone(),
    ]
}

/// Seconds as people say them: the largest unit alone.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        i64::MIN..=0 => "now".to_owned(),
        1..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
