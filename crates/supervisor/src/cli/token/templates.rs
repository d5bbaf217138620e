//! `postern token templates`: the provider templates, and what an administrator has to do for one.

use std::path::Path;
use std::sync::Arc;

use provider_template::{Entry, Flow, Host, Library, Tls, Variable};
use serde_json::json;

use crate::cli::exit::{Code, Failure};
use crate::cli::table;
use crate::config::{Config, Secrets};

pub(super) fn templates(file: &Path, name: Option<&str>, json: bool) -> Result<(), Failure> {
    // Templates are of use before there is a configuration; only their folder would come from it.
    let library = match Config::read(file, Secrets::LeftOut) {
        Ok(config) => config.library,
        Err(_) => Arc::new(Library::load(None)),
    };
    for problem in &library.problems {
        // Place first and nothing around it, so that editors can jump there.
        eprintln!("{problem}");
    }
    let chosen: Vec<&Entry> = match name {
        None => library.templates.iter().collect(),
        Some(name) => vec![library.get(name).ok_or_else(|| {
            let names: Vec<&str> = library.templates.iter().map(|t| t.name.as_str()).collect();
            let words = format!(
                "there is no provider template {name}; there are {}",
                names.join(", ")
            );
            Failure::new(Code::Data, words)
        })?],
    };
    if json {
        let list: Vec<_> = chosen.iter().map(|entry| as_json(entry)).collect();
        return table::json(&list);
    }
    if let (Some(_), [entry]) = (name, chosen.as_slice()) {
        return in_full(entry);
    }
    let rows: Vec<[String; 3]> = chosen
        .iter()
        .map(|entry| {
            let variables = entry.variables();
            let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
            let title = entry.config.postern.title.clone();
            [
                entry.name.clone(),
                names.join(", "),
                title.unwrap_or_default(),
            ]
        })
        .collect();
    table::print(["TEMPLATE", "VARIABLES", "FOR"], &rows)
}

fn flows(entry: &Entry) -> Vec<&'static str> {
    let own = entry.config.flow;
    let others = entry.possible_flows();
    let others = others.into_iter().filter(|flow| *flow != own);
    std::iter::once(own).chain(others).map(Flow::key).collect()
}

fn as_json(entry: &Entry) -> serde_json::Value {
    let postern = &entry.config.postern;
    let variables = entry.variables();
    let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
    json!({
        "name": entry.name, "title": postern.title, "notes": postern.notes, "variables": names,
        "flows": flows(entry), "scope": entry.config.scope,
    })
}

/// One template, with its notes.
fn in_full(entry: &Entry) -> Result<(), Failure> {
    let postern = &entry.config.postern;
    let host = |host: &Option<Host>| {
        let Host { host, port, tls } = host.as_ref()?;
        let tls = match tls {
            Tls::Implicit => "TLS",
            Tls::Starttls => "STARTTLS",
            Tls::None => "no TLS",
        };
        Some(format!("{host}:{port} ({tls})"))
    };
    let mut lines = vec![
        ("template", Some(entry.name.clone())),
        ("for", postern.title.clone()),
        ("flows", Some(flows(entry).join(", "))),
        ("scope", Some(entry.config.scope.clone())),
        ("imap", host(&postern.imap)),
        ("pop3", host(&postern.pop3)),
        ("smtp", host(&postern.smtp)),
    ];
    let variables = entry.variables();
    let asks = |Variable { name, asks }: &Variable| format!("{name}: {asks}");
    lines.extend(variables.iter().map(|v| ("variable", Some(asks(v)))));
    for (key, value) in lines {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        let key = format!("{key}:");
        table::line(&format!("{key:<11}{}", table::one_line(&value)))?;
    }
    if let Some(notes) = &postern.notes {
        table::line("")?;
        for line in notes.lines() {
            // A foreign template's notes could hold anything.
            let indented = line.len() - line.trim_start().len();
            let text = table::one_line(line.trim_start());
            table::line(&format!("{:indented$}{text}", ""))?;
        }
    }
    Ok(())
}
