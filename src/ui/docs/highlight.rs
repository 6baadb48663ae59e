//! Colours for code: comments, texts, numbers and keywords, no more. A list of a language's words is a line here.

use super::markdown::escape;

/// What a language's comments begin with, and its keywords.
fn language(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match name {
        "sh" | "console" => ("#", &["if", "then", "else", "fi", "for", "do", "done", "while", "export"]),
        "javascript" => (
            "//",
            &[
                "const", "let", "await", "async", "import", "from", "export", "new", "if", "else", "throw", "return",
                "function", "for", "of", "true", "false", "null",
            ],
        ),
        "python" => (
            "#",
            &[
                "import", "from", "def", "return", "if", "else", "elif", "for", "in", "with", "as", "not", "raise",
                "class", "True", "False", "None",
            ],
        ),
        "rust" => (
            "//",
            &[
                "use", "fn", "let", "mut", "pub", "struct", "enum", "impl", "match", "if", "else", "for", "in",
                "return", "const", "true", "false", "move", "async", "await",
            ],
        ),
        "json" => ("//", &["true", "false", "null"]),
        "toml" => ("#", &["true", "false"]),
        "sql" => (
            "--",
            &[
                "CREATE", "ROLE", "LOGIN", "GRANT", "REVOKE", "SELECT", "INSERT", "UPDATE", "DELETE", "ON", "TO",
                "FROM", "ALL", "TABLES", "IN", "SCHEMA",
            ],
        ),
        _ => return None,
    })
}

/// The code as HTML.
pub fn highlight(name: &str, code: &str) -> String {
    let Some((comment, keywords)) = language(name) else { return escape(code) };
    let mut html = String::with_capacity(code.len() * 2);
    let mut rest = code;
    let mut before = '\n';
    while let Some(first) = rest.chars().next() {
        let (class, length) = token(rest, first, before, comment, keywords);
        let (word, after) = rest.split_at(length);
        match class {
            Some(class) => html.extend(["<span class=\"", class, "\">", &escape(word), "</span>"]),
            None => html.push_str(&escape(word)),
        }
        before = word.chars().last().unwrap_or('\n');
        rest = after;
    }
    html
}

/// The class and the length in bytes of the token at the beginning.
fn token(rest: &str, first: char, before: char, comment: &str, keywords: &[&str]) -> (Option<&'static str>, usize) {
    if rest.starts_with(comment) && before.is_whitespace() {
        return (Some("c"), rest.find('\n').unwrap_or(rest.len()));
    }
    if matches!(first, '"' | '\'' | '`') && !before.is_alphanumeric() {
        // An apostrophe without its like on the line is no text: a lifetime, or a word's.
        let line = if first == '\'' { rest.find('\n').unwrap_or(rest.len()) } else { rest.len() };
        return match end_of_text(&rest[..line], first) {
            Some(end) => (Some("s"), end),
            None => (None, 1),
        };
    }
    if first.is_alphanumeric() || first == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..length];
        let class = match () {
            () if keywords.contains(&word) => Some("k"),
            // Not within an address, a date or a name.
            () if word.bytes().all(|b| b.is_ascii_digit())
                && !matches!(before, '-' | '.' | '/')
                && !rest[length..].starts_with(['-', '.']) =>
            {
                Some("n")
            }
            () => None,
        };
        return (class, length);
    }
    (None, first.len_utf8())
}

fn end_of_text(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_letter() {
        let code = "const a = \"<b> \\\" 'x'\"; // it's 5 & more\nlet n = 42 'open\n";
        let html = highlight("javascript", code);
        let mut text = html.replace("</span>", "");
        for class in ["c", "s", "k", "n"] {
            text = text.replace(&format!("<span class=\"{class}\">"), "");
        }
        assert_eq!(text, escape(code));
        assert!(
            html.contains("<span class=\"k\">const</span>") && html.contains("<span class=\"n\">42</span>"),
            "{html}"
        );
        assert!(html.contains("<span class=\"c\">// it's 5 &amp; more</span>"), "{html}");
    }
}
