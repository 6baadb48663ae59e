//! Markdown to HTML, with what documentation needs: headings with anchors, links between pages, one example in
//! several languages as tabs. Knows neither pages nor requests.

use std::fmt::Write;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::highlight::highlight;

/// A text as HTML, and what it consists of.
pub struct Text {
    /// What goes below `<article>`, without the title.
    pub html: String,
    /// The text from one heading to the next, the title first.
    pub parts: Vec<Part>,
}

/// A heading and what stands below it.
pub struct Part {
    /// 1 is the page's title.
    pub level: u8,
    /// The anchor.
    pub id: String,
    /// The heading.
    pub title: String,
    /// The words below it, for the search.
    pub words: String,
}

/// Makes HTML of `source`. `link` says where a link of the text leads here; a text without a place here is no link.
pub fn render(source: &str, link: &dyn Fn(&str) -> Option<String>) -> Text {
    let top = Part { level: 1, id: String::new(), title: String::new(), words: String::new() };
    let mut writer = Writer {
        link,
        out: Vec::new(),
        parts: vec![top],
        code: None,
        blocks: Vec::new(),
        heading: 0,
        links: Vec::new(),
        picture: None,
        tabs: 0,
    };
    for event in Parser::new_ext(source, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    writer.flush();
    let mut text = String::new();
    html::push_html(&mut text, writer.out.into_iter());
    // A column without a name has no heading that a screen reader could say.
    Text { html: text.replace("<th></th>", "<td></td>"), parts: writer.parts }
}

/// The text with what HTML means something by written so that it does not.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A heading's anchor, as code hosts make it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// A block of code: what follows its fence, and its lines.
struct Block {
    info: String,
    code: String,
}

impl Block {
    fn language(&self) -> &str {
        self.info.split([' ', ',']).next().unwrap_or_default()
    }

    /// The name of its tab, if it is in a language that examples are given in.
    fn tab(&self) -> Option<&'static str> {
        match self.language() {
            _ if self.is_output() => None,
            "sh" => Some("curl"),
            "javascript" => Some("JavaScript"),
            "python" => Some("Python"),
            "rust" => Some("Rust"),
            _ => None,
        }
    }

    fn is_output(&self) -> bool {
        self.info.split(' ').any(|word| word == "output")
    }

    fn html(&self) -> String {
        let code = highlight(self.language(), self.code.trim_end());
        let class = if self.is_output() { "code output" } else { "code" };
        let name = if self.is_output() { "Answer" } else { "Code" };
        format!(
            "<div class=\"{class}\"><pre tabindex=\"0\" role=\"group\" aria-label=\"{name}\"><code>{code}</code></pre></div>\n"
        )
    }
}

struct Writer<'a> {
    link: &'a dyn Fn(&str) -> Option<String>,
    out: Vec<Event<'a>>,
    parts: Vec<Part>,
    code: Option<Block>,
    /// Blocks of code with nothing in between.
    blocks: Vec<Block>,
    /// Where the heading that is being read begins in `out`.
    heading: usize,
    /// Whether each open link is one here.
    links: Vec<bool>,
    /// Where the picture is whose words are being read, and these words.
    picture: Option<(String, String)>,
    tabs: usize,
}

impl<'a> Writer<'a> {
    fn take(&mut self, event: Event<'a>) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = if let CodeBlockKind::Fenced(info) = kind { info.to_string() } else { String::new() };
                self.code = Some(Block { info, code: String::new() });
                return;
            }
            Event::End(TagEnd::CodeBlock) => {
                self.blocks.extend(self.code.take());
                return;
            }
            Event::Text(ref text) if self.code.is_some() => {
                self.words(text);
                if let Some(block) = &mut self.code {
                    block.code.push_str(text);
                }
                return;
            }
            _ => self.flush(),
        }
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.heading = self.out.len();
                self.parts.push(Part {
                    level: number(level),
                    id: String::new(),
                    title: String::new(),
                    words: String::new(),
                });
            }
            Event::End(TagEnd::Heading(level)) => self.end_heading(number(level)),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let there = (self.link)(&dest_url);
                self.links.push(there.is_some());
                if let Some(there) = there {
                    self.out.push(Event::Start(Tag::Link { link_type, dest_url: there.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if self.links.pop() == Some(true) {
                    self.out.push(event);
                }
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                self.picture = (self.link)(&dest_url).map(|there| (there, String::new()));
            }
            Event::End(TagEnd::Image) => {
                if let Some((there, words)) = self.picture.take() {
                    self.raw(in_both_themes(&there, &words));
                }
            }
            Event::Text(ref text) if self.picture.is_some() => {
                self.words(text);
                if let Some((_, words)) = &mut self.picture {
                    words.push_str(text);
                }
            }
            Event::Start(Tag::Table(_)) => {
                self.raw("<div class=\"table\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">");
                // Alignment would be a style, which pages may not have inline.
                self.out.push(Event::Start(Tag::Table(Vec::new())));
            }
            Event::End(TagEnd::Table) => {
                self.out.push(event);
                self.raw("</div>\n");
            }
            // Nothing here is written in HTML: what looks like it is text.
            Event::Html(text) | Event::InlineHtml(text) => self.out.push(Event::Text(text)),
            event => {
                if let Event::Text(text) | Event::Code(text) = &event {
                    self.words(text);
                }
                self.out.push(event);
            }
        }
    }

    fn raw(&mut self, html: impl Into<String>) {
        self.out.push(Event::Html(html.into().into()));
    }

    fn words(&mut self, text: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.words.push_str(text);
            part.words.push(' ');
        }
    }

    fn end_heading(&mut self, level: u8) {
        let inner = self.out.split_off(self.heading);
        let title: String = inner
            .iter()
            .filter_map(|e| if let Event::Text(t) | Event::Code(t) = e { Some(&**t) } else { None })
            .collect();
        let base = anchor(&title);
        let taken = self
            .parts
            .iter()
            .filter(|part| part.id == base || part.id.strip_prefix(&base).is_some_and(is_count))
            .count();
        let id = if taken == 0 { base } else { format!("{base}-{taken}") };
        if level == 1 {
            // The page shows its title by itself.
            self.parts.remove(0);
        } else {
            self.raw(format!("<h{level} id=\"{id}\">"));
            self.out.extend(inner);
            let words = escape(&title);
            self.raw(format!("<a class=\"anchor\" href=\"#{id}\" aria-label=\"Link to {words}\">#</a></h{level}>\n"));
        }
        if let Some(part) = self.parts.last_mut() {
            part.words.clear();
            (part.title, part.id) = (title, id);
        }
    }

    /// Writes the blocks of code that have come, one after the other or, in several languages, as tabs.
    fn flush(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        for run in blocks.chunk_by(|a, b| a.tab().is_some() && b.tab().is_some() && a.tab() != b.tab()) {
            let html = if run.len() > 1 { self.in_tabs(run) } else { run.iter().map(Block::html).collect() };
            self.raw(html);
        }
    }

    fn in_tabs(&mut self, blocks: &[Block]) -> String {
        self.tabs += 1;
        let mut html = "<fieldset class=\"tabs\"><legend>Language</legend>".to_owned();
        for (at, block) in blocks.iter().enumerate() {
            let (name, set) = (block.tab().unwrap_or_default(), self.tabs);
            let checked = if at == 0 { " checked" } else { "" };
            let _ = write!(
                html,
                "<label><input type=\"radio\" name=\"tabs-{set}\" value=\"{name}\"{checked}>{name}</label>"
            );
        }
        html.extend(blocks.iter().map(Block::html));
        html + "</fieldset>\n"
    }
}

/// A picture for light pages, and for dark ones its sister: which is shown is for the style sheet, as readers choose a theme.
fn in_both_themes(there: &str, words: &str) -> String {
    let (dark, words) = (there.replace("-light.", "-dark."), escape(words));
    format!(
        "<img class=\"in-light\" src=\"{there}\" alt=\"{words}\" loading=\"lazy\"><img class=\"in-dark\" src=\"{dark}\" alt=\"{words}\" loading=\"lazy\">"
    )
}

fn is_count(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|count| !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()))
}

fn number(level: HeadingLevel) -> u8 {
    level as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(source: &str) -> String {
        render(source, &|to| to.starts_with("http").then(|| to.to_owned())).html
    }

    #[test]
    fn two_headings_of_one_name_have_two_anchors() {
        let text = render("# Page\n\n## A `b` c\n\nfirst\n\n## A b c\n\nsecond\n", &|_| None);
        let ids: Vec<&str> = text.parts.iter().map(|part| part.id.as_str()).collect();
        assert_eq!(ids, ["page", "a-b-c", "a-b-c-1"]);
        assert_eq!(text.parts[2].words.trim(), "second");
        assert!(!text.html.contains("<h1"), "{}", text.html);
    }

    #[test]
    fn markup_in_a_text_is_text_and_a_link_to_nowhere_is_none() {
        assert_eq!(
            html("<b>x</b> [a](b.md) [c](https://d.example/)").trim(),
            "<p>&lt;b&gt;x&lt;/b&gt; a <a href=\"https://d.example/\">c</a></p>"
        );
    }

    #[test]
    fn blocks_in_several_languages_are_tabs_and_an_answer_stands_apart() {
        let html = html("```sh\ncurl\n```\n```python\nprint()\n```\n```json output\n{}\n```\n");
        assert_eq!(html.matches("type=\"radio\"").count(), 2);
        assert!(html.find("</fieldset>").unwrap() < html.find("code output").unwrap());
    }
}
