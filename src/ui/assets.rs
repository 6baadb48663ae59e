//! What pages load: style sheet, scripts, icon. Embedded, and named by their content, so that a browser keeps them for good
//! and never shows a new page with an old sheet.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Result};
use crate::secret::sha256;

/// Every asset: its name, and what it is made of.
const ASSETS: &[(&str, &str)] = &[
    (
        "usher.css",
        concat!(
            include_str!("assets/tokens.css"),
            include_str!("assets/pages.css"),
            include_str!("assets/dashboard.css"),
            include_str!("assets/charts.css")
        ),
    ),
    ("htmx.js", include_str!("assets/htmx.min.js")),
    ("idiomorph.js", include_str!("assets/idiomorph.min.js")),
    ("dashboard.js", include_str!("assets/dashboard.js")),
    ("docs.css", include_str!("assets/docs.css")),
    ("docs.js", include_str!("assets/docs.js")),
    ("icon.svg", include_str!("assets/icon.svg")),
    ("silent.js", include_str!("assets/silent.js")),
];

struct Asset {
    name: &'static str,
    address: String,
    body: &'static str,
}

static ALL: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let address = |name: &str, body: &str| {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let hash = sha256(body.as_bytes()).iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        format!("/assets/{stem}.{hash:016x}.{ending}")
    };
    ASSETS.iter().map(|(name, body)| Asset { name, address: address(name, body), body }).collect()
});

/// Where an asset is, for templates: `{{ crate::ui::assets::at("usher.css") }}`.
///
/// # Panics
/// There is no such asset, which a test of any page sees.
pub fn at(name: &str) -> &'static str {
    let found = ALL.iter().find(|asset| asset.name == name);
    &found.unwrap_or_else(|| panic!("there is no asset {name}")).address
}

/// `GET /assets/{file}`: by its full name for good, by its plain one until tomorrow's program has another.
pub async fn get(Path(file): Path<String>) -> Result<Response> {
    let named = |asset: &&Asset| asset.address.strip_prefix("/assets/") == Some(&file);
    let (asset, cache) = match ALL.iter().find(named) {
        Some(asset) => (asset, "public, max-age=31536000, immutable"),
        None => (ALL.iter().find(|asset| asset.name == file).ok_or(Error::NoRoute)?, "no-cache"),
    };
    let kind = match asset.name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], asset.body).into_response())
}

/// `GET /favicon.ico`: where a browser looks for the icon of what is no page, such as a text.
pub async fn icon() -> Result<Response> {
    get(Path("icon.svg".to_owned())).await
}
