//! The templates at hand: the built-in ones, and those of a folder.

use std::path::{Path, PathBuf};

use crate::check::template_mistakes;
use crate::entry::Entry;
use crate::flow::Flow;
use crate::format::{Problem, read_first};
use crate::placeholder::capture;

/// The built-in templates, in the order of lists.
const BUILT_IN: [&str; 18] = [
    include_str!("../../../config/templates/google.yaml"),
    include_str!("../../../config/templates/google-service-account.yaml"),
    include_str!("../../../config/templates/microsoft-common.yaml"),
    include_str!("../../../config/templates/microsoft-organizations.yaml"),
    include_str!("../../../config/templates/microsoft-consumers.yaml"),
    include_str!("../../../config/templates/microsoft-tenant.yaml"),
    include_str!("../../../config/templates/microsoft-app.yaml"),
    include_str!("../../../config/templates/microsoft-gcc-high.yaml"),
    include_str!("../../../config/templates/microsoft-dod.yaml"),
    include_str!("../../../config/templates/microsoft-china.yaml"),
    include_str!("../../../config/templates/yahoo.yaml"),
    include_str!("../../../config/templates/aol.yaml"),
    include_str!("../../../config/templates/fastmail.yaml"),
    include_str!("../../../config/templates/yandex.yaml"),
    include_str!("../../../config/templates/mailru.yaml"),
    include_str!("../../../config/templates/comcast.yaml"),
    include_str!("../../../config/templates/seznam.yaml"),
    include_str!("../../../config/templates/generic.yaml"),
];

/// The templates at hand: built-in ones, and those of a folder; a broken file is a problem beside them, never a stop.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// The templates, with unique names.
    pub templates: Vec<Entry>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Built-in templates that a file of the folder stands in for; that is a choice, not a problem.
    pub overrides: Vec<Override>,
}

/// A built-in template that a file of the folder stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The template's name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
}

impl Library {
    /// Built-in templates, then `templates_dir` (missing folder: none).
    pub fn load(templates_dir: Option<&Path>) -> Self {
        let mut library = Self {
            templates: BUILT_IN.iter().map(|text| built_in(text)).collect(),
            ..Self::default()
        };
        let mut sources = vec![None; library.templates.len()];
        for file in library.files(templates_dir) {
            match from_file(&file) {
                Ok(template) => library.add(template, file, &mut sources),
                Err(problem) => library.problems.push(problem),
            }
        }
        library
    }

    /// The template of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.templates.iter().find(|t| t.name == name)
    }

    /// The template whose token endpoint this is, for a flow, with the values of its variables: rather one without variables, and rather
    /// one whose own flow it is.
    pub fn by_token_url(&self, url: &str, flow: Flow) -> Option<(&Entry, Vec<(String, String)>)> {
        let fits = self.templates.iter().filter_map(|template| {
            let own = template.config.flow == flow;
            if !own && !template.possible_flows().contains(&flow) {
                return None;
            }
            let request = template.config.first_request()?;
            let values = capture(&request.url, url)?;
            Some((values.len(), !own, template, values))
        });
        let best = fits.min_by_key(|(variables, other, ..)| (*variables, *other));
        best.map(|(_, _, template, values)| (template, values))
    }

    /// The YAML files of the folder, by name, so that the result doesn't depend on the disk's order.
    fn files(&mut self, folder: Option<&Path>) -> Vec<PathBuf> {
        let Some(folder) = folder else {
            return Vec::new();
        };
        let listed = std::fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<std::fs::DirEntry>, _>>);
        let mut files: Vec<PathBuf> = match listed {
            Ok(listed) => listed.iter().map(std::fs::DirEntry::path).collect(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                let why = format!("the folder of templates cannot be read: {e}");
                self.problems.push(Problem::of_file(folder.to_owned(), why));
                Vec::new()
            }
        };
        files.retain(|file| is_yaml(file));
        files.sort();
        files
    }

    /// Adds a file's template: in place of a built-in one of its name, and never in place of another file's. `sources` says for each
    /// template which file it came from.
    fn add(&mut self, template: Entry, file: PathBuf, sources: &mut Vec<Option<PathBuf>>) {
        let Some(index) = self.templates.iter().position(|t| t.name == template.name) else {
            self.templates.push(template);
            sources.push(Some(file));
            return;
        };
        if let Some(first) = &sources[index] {
            let why = format!("its Name is taken already by {}", first.display());
            self.problems.push(Problem::of_file(file, why));
            return;
        }
        self.overrides.push(Override {
            name: template.name.clone(),
            file: file.clone(),
        });
        self.templates[index] = template;
        sources[index] = Some(file);
    }
}

fn is_yaml(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let yaml = file
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml && !hidden
}

fn built_in(text: &str) -> Entry {
    read_first(text, |_| None).expect("a test reads every built-in template")
}

fn from_file(file: &Path) -> Result<Entry, Problem> {
    let problem = |why: String| Problem::of_file(file.to_owned(), why);
    let bytes = std::fs::read(file).map_err(|e| problem(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        Problem {
            line: lines as u64 + 1,
            column: column as u64 + 1,
            ..problem("this is not UTF-8".to_owned())
        }
    })?;
    let check = |template: &Entry| template_mistakes(template).first().map(ToString::to_string);
    let mut template = read_first(&text, check).map_err(|e| e.in_file(file.to_owned()))?;
    // Templates that other systems exported declare no variables; forms ask for them all the same.
    template.config.postern.variables = template.variables();
    Ok(template)
}
