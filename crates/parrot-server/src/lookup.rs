//! What this process and its environment say to the placeholders of a template.

use std::env;

use parrot_conn::Lookup;

/// The value of a placeholder that is known at the start: the name of the machine, the number of the process, or an
/// environment variable. A value that is not UTF-8 is shown as far as it is.
///
/// ```
/// use parrot_server::{Template, lookup};
///
/// let greeting = Template::line("process {pid} on {host}", lookup)?;
/// # let _ = greeting;
/// # Ok::<(), parrot_server::TemplateError>(())
/// ```
pub fn lookup(value: Lookup<'_>) -> Option<String> {
    match value {
        Lookup::Host => Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        Lookup::Pid => Some(std::process::id().to_string()),
        // A name with `=` in it is never set, and std knows.
        Lookup::Variable(name) => env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
    }
}
