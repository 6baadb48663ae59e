//! The search over the pages: every word must be there; where it stands decides the order.

use super::book::{Book, Page};

/// The most that one search shows.
const MOST: usize = 30;

/// A place that was found.
pub struct Hit<'a> {
    /// The page.
    pub page: &'a Page,
    /// The heading below which it stands.
    pub title: &'a str,
    /// Its address.
    pub address: String,
    /// A few words from there.
    pub words: String,
}

/// Where all the words of `query` stand, the best first.
pub fn search<'a>(book: &'a Book, query: &str) -> Vec<Hit<'a>> {
    let wanted: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (order, page) in book.pages.iter().enumerate() {
        for part in &page.parts {
            let title = part.title.to_lowercase();
            let (above, words) = (page.title.to_lowercase(), part.words.to_lowercase());
            let weights: Option<Vec<u32>> = wanted.iter().map(|word| weight(word, &title, &above, &words)).collect();
            let Some(weights) = weights else { continue };
            let whole = u32::from(title == wanted.join(" ")) * 100;
            // Of two dates of one operation, the newer stands first in the book.
            found.push((std::cmp::Reverse(weights.iter().sum::<u32>() + whole), order, page, part));
        }
    }
    found.sort_by_key(|(weight, order, ..)| (*weight, *order));
    let hit = |(_, _, page, part): (_, _, &'a Page, &'a super::markdown::Part)| {
        let address = if part.level == 1 { page.address() } else { format!("{}#{}", page.address(), part.id) };
        Hit { page, title: &part.title, address, words: excerpt(&part.words, &wanted[0]) }
    };
    found.into_iter().take(MOST).map(hit).collect()
}

/// How much it says that `word` stands there; `None` if it does not.
fn weight(word: &str, title: &str, above: &str, words: &str) -> Option<u32> {
    let begins = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word));
    match () {
        () if begins(title) => Some(20),
        () if title.contains(word) => Some(12),
        () if begins(above) => Some(8),
        () if begins(words) => Some(3),
        () if words.contains(word) => Some(1),
        () => None,
    }
}

/// Some words around the first place of `word`.
fn excerpt(words: &str, word: &str) -> String {
    let all: Vec<&str> = words.split_whitespace().collect();
    let at = all.iter().position(|w| w.to_lowercase().contains(word)).unwrap_or(0).saturating_sub(8);
    let some = all[at..].iter().take(28).copied().collect::<Vec<_>>().join(" ");
    let (before, after) = (if at > 0 { "… " } else { "" }, if all.len() > at + 28 { " …" } else { "" });
    format!("{before}{some}{after}")
}
