//! Light, dark, or as the reader's system has it: a choice that a browser remembers.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::cookies;
use super::links::from_our_page;
use crate::api::body::Form;
use crate::codes::Parameters;
use crate::db::words;
use crate::error::{Error, Result};

/// The cookie that remembers.
const COOKIE: &str = "usher_theme";

words! {
    /// How pages look.
    #[derive(Default)]
    pub enum Theme {
        /// As the system has it.
        #[default]
        System = "system",
        /// Light.
        Light = "light",
        /// Dark.
        Dark = "dark",
    }
}

impl Theme {
    /// What the browser remembers.
    pub fn of(headers: &HeaderMap) -> Theme {
        cookies::open(headers, COOKIE).and_then(Theme::named).unwrap_or_default()
    }
}

/// `POST /theme`: `theme`, and `back` to the page that asks.
pub async fn choose(headers: HeaderMap, form: Form) -> Result<Response> {
    from_our_page(&headers)?;
    let theme = form.get("theme").and_then(Theme::named);
    let theme = theme.ok_or_else(|| Error::bad_request("theme", "theme must be one of: system, light, dark"))?;
    let back = form.get("back").filter(|back| is_ours(back)).unwrap_or("/");
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000", theme.as_str());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(back)).into_response())
}

/// Whether an address is a path of this server: `//host` and `/\host` are not.
fn is_ours(address: &str) -> bool {
    let mut rest = address.chars();
    rest.next() == Some('/')
        && !matches!(rest.next(), Some('/' | '\\'))
        && address.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_a_path_here_and_nothing_else() {
        assert!(["/", "/admin", "/admin/x/live/users?q=a%20b"].into_iter().all(is_ours));
        assert!(
            ["", "admin", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/é"]
                .into_iter()
                .all(|address| !is_ours(address))
        );
    }
}
