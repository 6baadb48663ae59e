//! The pictures of the documentation, each for a light and a dark page. `just pictures` makes them.

/// A file's address below `/docs/`, and what is in it.
type Picture = (&'static str, &'static [u8]);

macro_rules! pictures {
    ($($name:literal)*) => { &[$(
        (concat!("pictures/", $name, "-light.webp"), include_bytes!(concat!("../../../docs/pictures/", $name, "-light.webp"))),
        (concat!("pictures/", $name, "-dark.webp"), include_bytes!(concat!("../../../docs/pictures/", $name, "-dark.webp"))),
    )*] };
}

/// Every file of `docs/pictures/`.
const PICTURES: &[Picture] = pictures!("home" "mail" "profile" "story");

/// The picture at that address.
pub fn find(path: &str) -> Option<&'static [u8]> {
    PICTURES.iter().find(|(address, _)| *address == path).map(|(_, bytes)| *bytes)
}
