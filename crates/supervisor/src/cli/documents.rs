//! Man pages and completions, made from the command line's own definition, so that they cannot say anything else.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::exit::{Code, Failure};
use super::{Cli, table};

/// Every key of the configuration with its default and its reason.
const CONFIGURATION: &str = include_str!("../../../../config/postern.yaml");

/// Writes a shell's completion script to standard output.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "postern", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}

/// Writes postern.1, a page for each command, and postern.yaml.5 into an existing folder.
pub(crate) fn man(folder: &Path) -> Result<(), Failure> {
    let mut pages = Vec::new();
    let mut command = Cli::command();
    command.build();
    pages_of(&command, "postern", &mut pages)?;
    pages.push(("postern.yaml.5".to_owned(), configuration()?));
    for (name, text) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| {
            let words = format!("{} cannot be written: {error}", path.display());
            Failure::new(Code::CannotCreate, words)
        })?;
    }
    table::line(&format!(
        "{} in {}",
        table::count(pages.len(), "page"),
        folder.display()
    ))
}

/// The page of a command, and those of the commands beneath it.
fn pages_of(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    pages.push((format!("{name}.1"), text));
    let beneath = command.get_subcommands();
    for next in beneath.filter(|next| !next.is_hide_set() && next.get_name() != "help") {
        pages_of(next, &format!("{name}-{}", next.get_name()), pages)?;
    }
    Ok(())
}

/// postern.yaml(5): the commented file itself.
fn configuration() -> std::io::Result<Vec<u8>> {
    let mut page = Roff::new();
    let version = format!("postern {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["postern.yaml", "5", "", version.as_str()]);
    page.control("SH", ["NAME"]);
    page.text([clap_mangen::roff::roman(
        "postern.yaml - configuration of the mail gateway postern",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([clap_mangen::roff::roman(
        "The file below holds every key, its default and its reason; postern(1) check reads a file and names every mistake in it.",
    )]);
    page.control("nf", []);
    for line in CONFIGURATION.lines() {
        page.text([clap_mangen::roff::roman(line)]);
    }
    page.control("fi", []);
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    Ok(text)
}
