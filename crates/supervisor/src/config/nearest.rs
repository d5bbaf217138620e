//! "Did you mean": the known word nearest to a misspelt one; pure.

/// Longer words are compared by their beginning.
const COMPARED: usize = 60;

/// The known word nearest to a misspelt one, if it is near at all: at most a third of its letters differ.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let most = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop, change or swap with a neighbour (optimal string alignment), in any case of letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(COMPARED).collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour_and_a_strange_one_does_not() {
        let known = ["mailboxes", "relays", "state_dir", "log"];
        assert_eq!(nearest("mailboxs", &known), Some("mailboxes"));
        assert_eq!(nearest("realys", &known), Some("relays"));
        assert_eq!(nearest("STATE-DIR", &known), Some("state_dir"));
        assert_eq!(nearest("lgo", &known), Some("log"));
        assert_eq!(nearest("notices", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
