//! The pages that a browser sees.

/// A page that asks to allow the client; one button per user there is.
pub(crate) fn consent(
    action: &str,
    query: &[(String, String)],
    users: &[String],
    scope: &str,
) -> String {
    let mut buttons = String::new();
    for user in users {
        buttons.push_str(&form(
            action,
            query,
            "login_hint",
            user,
            &format!("Allow as {user}"),
        ));
    }
    buttons.push_str(&form(action, query, "deny", "1", "Refuse"));
    let scope = escape(scope);
    page(
        "Allow access to your mail?",
        &format!("<p>Postern asks for: <code>{scope}</code></p>{buttons}"),
    )
}

/// A page that asks for the code of another device.
pub(crate) fn enter_code() -> String {
    page(
        "Which code does your device show?",
        r#"<form action="/device"><input name="user_code" autocomplete="off"> <button>Continue</button></form>"#,
    )
}

/// A page for who has answered about another device.
pub(crate) fn answered() -> String {
    page(
        "Thank you",
        "<p>Your device goes on by itself. You can close this window.</p>",
    )
}

/// A page that says what is wrong with the request, where redirecting would be unsafe.
pub(crate) fn mistake(why: &str) -> String {
    page(
        "This sign-in cannot go on",
        &format!("<p>{}</p>", escape(why)),
    )
}

/// The request again, with one more answer.
fn form(action: &str, query: &[(String, String)], name: &str, value: &str, label: &str) -> String {
    let mut fields = String::new();
    let more = (name.to_owned(), value.to_owned());
    for (name, value) in query.iter().chain([&more]) {
        fields.push_str(&format!(
            r#"<input type="hidden" name="{}" value="{}">"#,
            escape(name),
            escape(value)
        ));
    }
    let label = escape(label);
    format!(r#"<form action="{action}">{fields}<button>{label}</button></form>"#)
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1.1em sans-serif;max-width:32em;margin:4em auto}}button{{font:inherit;margin:.3em 0}}</style>\
         <h1>{title}</h1><p>The pretend provider, on this machine only.</p>{body}</html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
