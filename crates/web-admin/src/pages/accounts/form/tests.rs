//! What is typed becomes the order that was meant, nothing typed is lost, and every mistake finds a field.

use super::*;

fn offers() -> Offers {
    let library = provider_template::Library::load(None);
    Offers::new(&[], &library, vec!["desk".into()])
}

fn order(pairs: &[(&str, &str)]) -> Order {
    let mut order = Order::default();
    pairs.iter().for_each(|(k, v)| order.set_text(k, *v));
    order
}

#[test]
fn only_the_chosen_branch_is_ordered_and_nothing_typed_is_lost() {
    let fields = Fields::of(&[
        ("name", " support "),
        ("user", "support@example.com"),
        ("auth", "token"),
        ("auth.token", "support"),
        ("auth.password", "left over"),
        ("template", "google"),
        ("protocol", "imap"),
        ("folders", "INBOX\r\n\r\n Sales \r\n"),
        ("deliver", "command"),
        ("deliver.command", "/bin/receive\r\n--queue\r\nA B"),
        ("deliver.preset", "rt"),
        ("deliver.maildir", "/left/over"),
        ("after", "move"),
        ("after.move", "Done"),
        ("after.create", "1"),
        ("failed", "keep"),
        ("poll", "1m"),
    ]);
    let mut form = Form::new(Kind::Mailbox, &offers());
    form.typed(&fields);
    let made = form.order(&fields, Order::default());
    let list = |items: &[&str]| Given::List(items.iter().map(|i| (*i).to_owned()).collect());
    let mut wanted = order(&[
        ("name", "support"),
        ("user", "support@example.com"),
        ("auth.token", "support"),
        ("protocol", "imap"),
        ("deliver.preset", "rt"),
        ("after.move", "Done"),
        ("after.create", "true"),
        ("failed", "keep"),
        ("poll", "1m"),
    ]);
    wanted.set("folders", list(&["INBOX", "Sales"]));
    wanted.set("deliver.command", list(&["/bin/receive", "--queue", "A B"]));
    assert!(made.says_the_same(&wanted), "{made:?}");
    let maildir = form
        .inputs_mut()
        .find(|i| i.name == "deliver.maildir")
        .unwrap();
    assert_eq!(maildir.value, "/left/over");
    let password = form
        .inputs_mut()
        .find(|i| i.name == "auth.password")
        .unwrap();
    assert_eq!(password.value, "", "a secret is never written back");
}

#[test]
fn a_present_account_fills_the_form_and_keys_that_the_form_does_not_know_stay() {
    let present = {
        let mut present = order(&[
            ("name", "r"),
            ("user", "u"),
            ("host", "smtp.example.com"),
            ("bounces_to.mailbox", "desk"),
            ("yet_unknown", "7"),
            ("rate", "30/min"),
        ]);
        present.set("auth.password", Given::Secret(Secret::new("planted")));
        present.set("senders", Given::List(vec!["*".into()]));
        present
    };
    let mut form = Form::of(Kind::Relay, &offers(), &present);
    assert!(!format!("{form:?}").contains("planted"));
    let fields = Fields::of(&[
        ("user", "u"),
        ("auth", "password"),
        ("auth.password", ""),
        ("host", "smtp.example.com"),
        ("senders", "*"),
        ("bounces_to", ""),
    ]);
    form.typed(&fields);
    let made = form.order(&fields, present);
    let mut wanted = order(&[
        ("name", "r"),
        ("user", "u"),
        ("host", "smtp.example.com"),
        ("yet_unknown", "7"),
    ]);
    wanted.set("auth.password", Given::Secret(Secret::default()));
    wanted.set("senders", Given::List(vec!["*".into()]));
    assert!(made.says_the_same(&wanted), "{made:?}");
}

#[test]
fn every_mistake_finds_its_field_or_the_one_around_it() {
    let mut form = Form::new(Kind::Mailbox, &offers());
    let mistake = |field: &str| Mistake {
        field: field.into(),
        why: "is missing".into(),
    };
    let keys = [
        "auth",
        "auth.token",
        "deliver.http",
        "max_size",
        "after.move",
        "nowhere",
    ];
    let lines = form.mark(keys.map(mistake).to_vec());
    let fields: Vec<&str> = lines.iter().map(|line| line.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "auth",
            "auth.token",
            "deliver",
            "max_size",
            "after.move",
            ""
        ]
    );
    assert_eq!(lines[5].words, "nowhere: is missing");
    assert!(
        form.groups.iter().all(|group| !group.folded),
        "the mistake is seen"
    );
}
