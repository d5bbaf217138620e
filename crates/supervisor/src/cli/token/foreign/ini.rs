//! Configuration files as Python's configparser reads them: sections, keys without case, values that go on in indented lines.

use std::collections::BTreeMap;

/// The sections in their order; a section that appears twice is one.
#[derive(Debug, Default)]
pub(super) struct Ini {
    sections: Vec<(String, BTreeMap<String, String>)>,
    /// The section that is being read.
    current: Option<usize>,
}

impl Ini {
    pub(super) fn read(text: &str) -> Self {
        let mut ini = Self::default();
        let mut key: Option<String> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let indented = line.starts_with([' ', '\t']);
            if !indented && let Some(name) = header(trimmed) {
                ini.section(name);
                key = None;
                continue;
            }
            let Some((_, values)) = ini.current.and_then(|at| ini.sections.get_mut(at)) else {
                continue;
            };
            if indented && let Some(value) = key.as_ref().and_then(|key| values.get_mut(key)) {
                value.push('\n');
                value.push_str(trimmed);
                continue;
            }
            if let Some((name, value)) = trimmed.split_once(['=', ':']) {
                let name = name.trim().to_ascii_lowercase();
                values.insert(name.clone(), value.trim().to_owned());
                key = Some(name);
            }
        }
        ini
    }

    fn section(&mut self, name: &str) {
        let found = self.sections.iter().position(|(known, _)| known == name);
        self.current = Some(found.unwrap_or_else(|| {
            self.sections.push((name.to_owned(), BTreeMap::new()));
            self.sections.len() - 1
        }));
    }

    /// Every section's name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }

    /// A value that isn't empty.
    pub(super) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let (_, values) = self.sections.iter().find(|(name, _)| name == section)?;
        values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?
        .split_once(']')
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_values_that_go_on_are_read() {
        let ini = Ini::read(
            "lost = 1\n[One two]\nKey = a = b\nother: c\n\tgoes on\n\n  and on\n# comment\n; another\nempty =\n[b@c]\nkey=d\n[One two]\nlast = e\n",
        );
        assert_eq!(ini.names().collect::<Vec<_>>(), ["One two", "b@c"]);
        assert_eq!(ini.get("One two", "key"), Some("a = b"));
        assert_eq!(ini.get("One two", "other"), Some("c\ngoes on\nand on"));
        assert_eq!(ini.get("One two", "empty"), None);
        assert_eq!(ini.get("One two", "last"), Some("e"));
        assert_eq!(ini.get("b@c", "key"), Some("d"));
        assert_eq!(ini.get("nowhere", "key"), None);
    }
}
