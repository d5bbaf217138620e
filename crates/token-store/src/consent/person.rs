//! Whether the person who signed in is the one that the token is for. Pure.

/// Who signed in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// The one that was expected, or nobody in particular was.
    Right,
    /// The provider doesn't tell, or not in a way that can be compared.
    Untold,
    /// Somebody else, by this name.
    Other(String),
}

/// Compares the names that the provider told with whom the token is for. `before` signed in for this token once already and was
/// accepted, so it is right again.
pub(super) fn compare(expected: Option<&str>, before: Option<&str>, names: &[String]) -> Person {
    let Some(expected) = expected else {
        return Person::Right;
    };
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let known = |name: &String| is(name, expected) || before.is_some_and(|b| is(name, b));
    if names.iter().any(known) {
        return Person::Right;
    }
    // A bare sign-in name can't be compared with an address, but may well be its first part.
    let addresses = |text: &str| text.contains('@');
    let comparable = names
        .iter()
        .find(|name| addresses(name) == addresses(expected));
    match comparable {
        Some(name) => Person::Other(name.clone()),
        None => Person::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_person_may_go_by_any_of_the_names_and_in_any_case() {
        let told = |names: &[&str], expected: Option<&str>, before: Option<&str>| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            compare(expected, before, &names)
        };
        let (anna, help) = ("anna@example.com", "help@example.com");
        let other = Person::Other(anna.into());
        for (names, expected, before, person) in [
            (&[anna][..], Some(anna), None, Person::Right),
            (&[anna], Some("Anna@Example.com"), None, Person::Right),
            (
                &["anna@corp.example", anna],
                Some(anna),
                None,
                Person::Right,
            ),
            (&[anna], None, None, Person::Right),
            (&[], None, None, Person::Right),
            (&[anna], Some(help), None, other),
            (&[anna], Some(help), Some(anna), Person::Right),
            (&[help], Some(help), Some(anna), Person::Right),
            (&[], Some(help), None, Person::Untold),
            (&["anna"], Some(help), None, Person::Untold),
            (&["anna"], Some("help"), None, Person::Other("anna".into())),
            (&["Help"], Some("help"), None, Person::Right),
        ] {
            assert_eq!(
                told(names, expected, before),
                person,
                "{names:?} {expected:?}"
            );
        }
    }
}
