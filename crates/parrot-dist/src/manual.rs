//! Manual pages, from the definitions of the command lines and the sections that the programs have beside them.

use anyhow::Result;
use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The widest line of a page. mandoc(1) advises against lines above 80 bytes.
const WIDTH: usize = 78;

/// A section: a title and terms with their texts. A text without a term has an empty one.
pub(crate) type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// What a program has for its page beside its options.
pub(crate) struct Manual {
    /// What the program is, in a few words.
    pub purpose: &'static str,
    /// The sections after the options.
    pub sections: &'static [Section],
}

/// The page of a program, in the language of man(7).
///
/// # Errors
///
/// None that is expected, because the page is written to memory.
pub(crate) fn page(command: &Command, manual: &Manual, date: &str) -> Result<String> {
    let name = command.get_name().to_owned();
    let arguments = if command.get_positionals().next().is_some() { " [ADDR]" } else { "" };
    // The generated synopsis lists every option, which a reader of a long list cannot use.
    let command = command.clone().override_usage(format!("{name} [OPTIONS]{arguments}")).mut_args(as_sentence);
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(date).manual("Parrot");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    render(&("NAME", &[])).text([roman(format!("{name} - {}", manual.purpose))]).to_writer(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let about = command.get_about().map(|about| format!("{about}."));
    let notes = command.get_after_help().map(ToString::to_string);
    let mut description = render(&("DESCRIPTION", &[]));
    for (index, paragraph) in about.iter().chain(&notes).flat_map(|text| text.split("\n\n")).enumerate() {
        if index > 0 {
            description.control("PP", []);
        }
        description.text([roman(paragraph)]);
    }
    description.to_writer(&mut page)?;
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    page.extend(with_subsections(&String::from_utf8(options)?, &command).into_bytes());
    for section in manual.sections {
        render(section).to_writer(&mut page)?;
    }
    Ok(folded(&String::from_utf8(page)?))
}

/// An option whose text is a sentence with its possible values. The list of them that clap_mangen writes is not clean
/// under mandoc(1).
fn as_sentence(option: Arg) -> Arg {
    let Some(help) = option.get_help().map(ToString::to_string) else { return option };
    let values = option.get_possible_values();
    let (true, false) = (takes_value(&option), values.is_empty()) else { return option.help(format!("{help}.")) };
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    let help = format!("{help} [possible values: {}].", names.join(", "));
    option.hide_possible_values(true).help(help)
}

fn takes_value(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set | ArgAction::Append)
}

/// A section as it is in the page.
fn render((title, terms): &Section) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [*title]);
    for (term, text) in *terms {
        if !term.is_empty() {
            roff.control("TP", []).text([bold(*term)]);
        }
        roff.text([roman(*text)]);
    }
    roff
}

/// The groups of options as parts of one section. clap_mangen makes a section of each, which readers of manual pages do
/// not look for.
fn with_subsections(options: &str, command: &Command) -> String {
    let mut text = ".SH OPTIONS\n".to_owned();
    for line in options.lines() {
        if let Some(title) = line.strip_prefix(".SH ") {
            let is_title = |heading: &&str| heading.to_uppercase() == title.trim_matches('"');
            if let Some(heading) = command.get_arguments().filter_map(Arg::get_help_heading).find(is_title) {
                text.push_str(&format!(".SS \"{heading}\"\n"));
            }
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The page with its text in lines of at most [`WIDTH`] bytes. A line break in it means the same as a space.
fn folded(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        if line.starts_with('.') {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        let mut width = 0;
        for word in line.split(' ') {
            // A dot or a quote at the start of a line would begin a request.
            let must_stay = word.is_empty() || word.starts_with(['.', '\'']);
            if width > 0 {
                let breaks = width + 1 + word.len() > WIDTH && !must_stay;
                text.push(if breaks { '\n' } else { ' ' });
                width = if breaks { 0 } else { width + 1 };
            }
            text.push_str(word);
            width += word.len();
        }
        text.push('\n');
    }
    text
}
