//! Settings: the command line, then `USHER_*` variables, then a TOML file, then the built-in values.
//!
//! The file needs no code per option: its entries become the defaults of the options of the same name. The only
//! module that reads the environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{ArgMatches, Command};
use url::Url;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// The file that is read when none is named and it is there.
const FILE: &str = "usher.toml";

/// Reads the command line with everything it falls back on: as it was given, for a file can be called by bytes that are no text,
/// and as text, to look for options.
///
/// # Errors
/// The file cannot be read, or has an entry that no option is called like; the text suggests the nearest.
pub fn matches(
    command: Command,
    given: &[OsString],
    arguments: &[String],
) -> Result<std::result::Result<ArgMatches, clap::Error>> {
    let defaults = match file(arguments) {
        None => Vec::new(),
        Some(path) => entries(&path, &command)?,
    };
    let command = give(command, &without_overruled(defaults, arguments));
    Ok(command.try_get_matches_from(given))
}

/// A secret and its `-file` form exclude each other, so one of them on the command line or in a variable takes the
/// other out of the file.
fn without_overruled(mut entries: Vec<(String, String)>, arguments: &[String]) -> Vec<(String, String)> {
    let given = |option: &str| {
        let long = format!("--{option}");
        let variable = format!("USHER_{}", option.to_uppercase().replace('-', "_"));
        arguments.iter().any(|a| *a == long || a.strip_prefix(&long).is_some_and(|rest| rest.starts_with('=')))
            || !environment(variable).unwrap_or_default().is_empty()
    };
    entries.retain(|(name, _)| match name.strip_suffix("-file") {
        Some(plain) => !given(plain),
        None => !given(&format!("{name}-file")),
    });
    entries
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(variable: impl AsRef<OsStr>) -> Option<OsString> {
    std::env::var_os(variable)
}

/// Whether colours are wanted where they can be shown (<https://no-color.org>).
pub fn wants_colour() -> bool {
    let no_color = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && environment("TERM").is_none_or(|kind| kind != "dumb")
}

/// `--config FILE`, else `USHER_CONFIG`, else `usher.toml` if it is there.
fn file(arguments: &[String]) -> Option<PathBuf> {
    let named = arguments.iter().enumerate().find_map(|(i, argument)| match argument.strip_prefix("--config") {
        Some("") => arguments.get(i + 1).map(PathBuf::from),
        Some(rest) => rest.strip_prefix('=').map(PathBuf::from),
        None => None,
    });
    let from_environment = || environment("USHER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(from_environment).or_else(|| Path::new(FILE).exists().then(|| PathBuf::from(FILE)))
}

fn entries(path: &Path, command: &Command) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::operator(format!("the settings file {}: {e}", path.display())))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        // The whole message would quote the line, which may hold a password.
        Error::operator(format!("the settings file {} is not TOML: {}", path.display(), e.message()))
    })?;
    let known = options(command);
    let mut entries = Vec::new();
    for (name, value) in table {
        if !known.iter().any(|option| option == &name) {
            let nearest =
                known.iter().max_by(|a, b| strsim::jaro_winkler(a, &name).total_cmp(&strsim::jaro_winkler(b, &name)));
            let hint = nearest.map(|nearest| format!(" Did you mean `{nearest}`?")).unwrap_or_default();
            return Err(Error::operator(format!(
                "the settings file {} has an unknown entry `{name}`.{hint}",
                path.display()
            )));
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => {
                return Err(Error::operator(format!(
                    "the settings file {}: `{name}` must be a text or a number.",
                    path.display()
                )));
            }
        };
        entries.push((name, value));
    }
    Ok(entries)
}

/// The options that can also come from a variable: those, and no others, may stand in the file.
fn options(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|argument| argument.get_env().is_some());
    let own = own.filter_map(|argument| argument.get_long().map(str::to_owned));
    let mut all: Vec<String> = own.chain(command.get_subcommands().flat_map(options)).collect();
    all.retain(|name| name != "config");
    all
}

fn give(command: Command, defaults: &[(String, String)]) -> Command {
    let command = command.mut_args(|argument| {
        // Compose files and unit files give a variable that is not set as an empty one.
        let empty = argument.get_env().and_then(environment).is_some_and(|value| value.is_empty());
        let named = argument.get_env().is_some();
        let argument = if empty { argument.env(Resettable::Reset) } else { argument };
        let entry = argument.get_long().filter(|_| named);
        // Help shows default values, and a secret must not be shown because a file holds it.
        let secret = argument.is_hide_env_values_set();
        match entry.and_then(|long| defaults.iter().find(|(name, _)| name == long)) {
            Some((_, value)) => argument.default_value(value.clone()).hide_default_value(secret).required(false),
            None => argument,
        }
    });
    command.mut_subcommands(|subcommand| give(subcommand, defaults))
}

/// A secret given as it is, or as the name of a file that holds it.
///
/// # Errors
/// Both are given, or the file cannot be read.
pub fn secret(option: &str, value: Option<Secret>, file: Option<&Path>) -> Result<Option<Secret>> {
    match (value, file) {
        (value, None) => Ok(value),
        (Some(_), Some(_)) => Err(Error::operator(format!("--{option} and --{option}-file exclude each other."))),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::operator(format!("--{option}-file {}: {e}", path.display())))?;
            Ok(Some(Secret::new(text.trim())))
        }
    }
}

/// Where people reach a server: nothing stands behind the host and the port, for the pages live at the root.
///
/// # Errors
/// It is no such address.
pub fn origin(text: &str) -> std::result::Result<Url, String> {
    let is_origin = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && format!("{}/", url.origin().ascii_serialization()) == url.as_str()
    };
    let url = Url::parse(text).ok().filter(is_origin);
    url.ok_or_else(|| "must be an http:// or https:// address with nothing after the host and port".to_owned())
}

/// A span of time as people write it: `90d`, `24h`, `15m`, `30s`.
///
/// # Errors
/// It is not one.
pub fn span(text: &str) -> std::result::Result<std::time::Duration, String> {
    let bad = || "write a number and a unit, like 90d, 24h, 15m or 30s".to_owned();
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(bad()),
    };
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| bad())?;
    match number.checked_mul(seconds).filter(|total| (1..=100 * 365 * 86_400).contains(total)) {
        Some(total) => Ok(std::time::Duration::from_secs(total)),
        None => Err("must be between a second and 100 years".to_owned()),
    }
}
