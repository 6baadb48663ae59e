//! What concerns the terminal: its width, its colours, and what shells and `man` know of the commands.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap_complete::Shell;
use serde_json::json;

use super::{Common, command, print};
use crate::config;
use crate::error::{Error, Result};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  usher completions bash > /etc/bash_completion.d/usher\n  \
                  usher completions zsh > \"${fpath[1]}/_usher\"\n  \
                  usher completions fish > ~/.config/fish/completions/usher.fish")]
pub struct Completions {
    /// Whose: bash, zsh or fish, among others
    shell: Shell,
}

impl Completions {
    pub fn run(self) {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "usher", &mut script);
        print(String::from_utf8_lossy(&script).trim_end());
    }
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  usher man --out /usr/local/share/man/man1")]
pub struct Man {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub fn run(self, common: &Common) -> Result<()> {
        let unwritable = |e: std::io::Error| Error::operator(format!("{} cannot be written: {e}", self.out.display()));
        std::fs::create_dir_all(&self.out).map_err(unwritable)?;
        clap_mangen::generate_to(command(), &self.out).map_err(unwritable)?;
        common.say(&json!({"out": self.out}), &format!("The pages are in {}.", self.out.display()));
        Ok(())
    }
}

/// How many characters a line of the terminal has; `None` if the output goes elsewhere.
fn width() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(out).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// The text in bold, where that is wanted.
pub fn bold(text: &str) -> String {
    marked("1", text, std::io::stdout().is_terminal())
}

/// The text in red on standard error, where that is wanted.
pub fn red(text: &str) -> String {
    marked("31", text, std::io::stderr().is_terminal())
}

fn marked(mark: &str, text: &str, is_terminal: bool) -> String {
    if is_terminal && config::wants_colour() { format!("\x1b[{mark}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A table as it is; where its lines are longer than the terminal's, each row by itself with a line for each column.
/// Nothing is folded or cut: what is folded cannot be copied.
pub fn fit(table: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let longest = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if width().is_some_and(|width| longest > width) { one_by_one(head, rows) } else { with_head(table) }
}

fn with_head(table: &str) -> String {
    match table.split_once('\n') {
        Some((head, rows)) => format!("{}\n{rows}", bold(head)),
        None => bold(table),
    }
}

fn one_by_one(head: &[&str], rows: &[Vec<String>]) -> String {
    let longest = head.iter().map(|name| name.len()).max().unwrap_or(0);
    let line = |(name, cell): (&&str, &String)| format!("{}  {cell}", bold(&format!("{name:longest$}")));
    let row = |row: &Vec<String>| head.iter().zip(row).map(line).collect::<Vec<_>>().join("\n");
    rows.iter().map(row).collect::<Vec<_>>().join("\n\n")
}
