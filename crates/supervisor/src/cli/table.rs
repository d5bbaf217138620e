//! Lists on the terminal: columns as wide as they must be, or JSON.

use std::io::Write;

use serde::Serialize;

use super::exit::Failure;

/// Prints rows under a headline; the last column is not padded.
pub(crate) fn print<const N: usize>(
    headline: [&str; N],
    rows: &[[String; N]],
) -> Result<(), Failure> {
    let text = render(headline, rows);
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Prints a value as JSON, a line for each part.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

fn render<const N: usize>(headline: [&str; N], rows: &[[String; N]]) -> String {
    let clean: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.clone().map(|cell| one_line(&cell)))
        .collect();
    let mut widths = headline.map(|title| title.chars().count());
    for row in &clean {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headline = headline.map(str::to_owned);
    let mut text = String::new();
    for row in std::iter::once(&headline).chain(&clean) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `1 fault`, `2 faults`.
pub(crate) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Subjects and servers' words come from strangers: nothing of them may steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_strangers_cannot_steer_the_terminal() {
        let rows = [
            ["a".to_owned(), "Grüße\u{1b}[2J".to_owned()],
            ["longer".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            render(["ID", "SUBJECT"], &rows),
            "ID      SUBJECT\na       Grüße [2J\nlonger  x\n"
        );
    }
}
