//! How an app looks to people: the form of its name, colour, logo and language. For owners only.

use axum::extract::State;
use axum::response::Response;

use super::access::{Owner, Within};
use crate::api::Api;
use crate::api::upload::Upload;
use crate::apps::{self, Color, Logo, Settings};
use crate::error::Result;
use crate::words::Language;

/// `POST /admin/{appId}/{environment}/settings/look`. What belongs to the app is so in both environments.
pub async fn change(State(api): State<Api>, here: Within<Owner>, form: Upload) -> Result<Response> {
    let logo = match form.text("no_logo") {
        Some(_) => Some(None),
        None => form.file("logo").map(|file| Logo::new(file.to_vec()).map(Some)).transpose()?,
    };
    let language = form.text("language").map(Language::wanted).transpose()?.flatten();
    let settings = Settings {
        name: form.text("name").map(|name| name.trim().to_owned()),
        color: form.text("color").map(str::trim).map(Color::wanted).transpose()?,
        // The form shows English where nothing was chosen.
        language: (language != Some(here.environment.language.unwrap_or_default())).then_some(language),
        logo,
        ..Settings::default()
    };
    let (origin, app) = (here.caller.origin(), here.environment.app);
    api.store.write(move |tx| apps::update(tx, origin, app, None, &settings)).await?;
    Ok(here.frame.back("settings?said=looks"))
}
