//! Shell completions, from the definitions of the command lines.

use clap::Command;
use clap_complete::{Shell, generate};

/// The shells, and where each looks for the completions of a program below `share`.
///
/// The places are those of bash-completion's and fish's documentation, and of zsh's default `fpath`.
pub(crate) const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// The file for `shell` below `share`, as distributions have it.
pub(crate) fn path(shell: Shell, program: &str) -> String {
    match shell {
        Shell::Fish => format!("fish/vendor_completions.d/{program}.fish"),
        Shell::Zsh => format!("zsh/site-functions/_{program}"),
        _ => format!("bash-completion/completions/{program}"),
    }
}

/// The script for `shell`.
pub(crate) fn script(shell: Shell, command: &Command) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command.clone(), command.get_name(), &mut script);
    script
}
