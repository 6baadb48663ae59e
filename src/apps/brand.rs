//! How an app looks to people beside its name: its colour and its logo.

use std::fmt;

use crate::error::{Error, Result};
use crate::secret::sha256;

/// The colour of an app's buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(u32);

impl Color {
    /// Usher's own, which stands where an app has none.
    pub const OURS: Color = Color(0x000b_5cad);

    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Color> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        // `from_str_radix` would take a sign.
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok().map(Color))?
    }

    /// What somebody wants: a colour, or none if the text is empty.
    ///
    /// # Errors
    /// It is no colour.
    pub fn wanted(text: &str) -> Result<Option<Color>> {
        let wrong = || Error::operator("a colour is written #rrggbb, for example #0b5cad.");
        if text.is_empty() { Ok(None) } else { Color::parse(text).map(Some).ok_or_else(wrong) }
    }

    /// White or black, whichever can be read on it: 4.5 to 1 or better (WCAG 2, AA), for no colour is nearer than that to
    /// both. White where it reaches that, for that is how buttons look.
    pub fn text(self) -> &'static str {
        if 1.05 / (self.luminance() + 0.05) >= 4.5 { "#ffffff" } else { "#000000" }
    }

    fn luminance(self) -> f64 {
        let part = |shift: u32| {
            let part = f64::from(self.0 >> shift & 0xff) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:06x}", self.0)
    }
}

/// An app's logo: PNG or JPEG, which every mail program shows. No SVG, which may hold scripts and load what it likes.
#[derive(Clone, Debug)]
pub struct Logo {
    /// The file's name, made from what is in it, so that it may be kept for good.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Logo {
    /// The largest file.
    pub const LARGEST: usize = 48 * 1024;
    /// The longest side, in pixels.
    const LONGEST: u32 = 1024;

    /// Takes a file for a logo, whatever it calls itself.
    ///
    /// # Errors
    /// It is no such picture, or too large.
    pub fn new(bytes: Vec<u8>) -> Result<Logo> {
        let refuse = |why: &str| Err(Error::operator(format!("{why} A height of 96 pixels is plenty.")));
        if bytes.len() > Self::LARGEST {
            return refuse("a logo may have 48 KiB at the most.");
        }
        let Some((ending, [width, height])) =
            png(&bytes).map(|size| ("png", size)).or_else(|| jpeg(&bytes).map(|size| ("jpg", size)))
        else {
            return Err(Error::operator("a logo must be a PNG or JPEG file."));
        };
        if width == 0 || height == 0 || width > Self::LONGEST || height > Self::LONGEST {
            return refuse("a logo may have 1024 pixels to a side at the most.");
        }
        let hash = sha256(&bytes).iter().take(16).fold(0_u128, |hash, byte| hash << 8 | u128::from(*byte));
        Ok(Logo { name: format!("{hash:032x}.{ending}"), bytes })
    }

    /// What somebody wants: a logo, or none if the file is empty.
    ///
    /// # Errors
    /// As [`Logo::new`].
    pub fn wanted(bytes: Vec<u8>) -> Result<Option<Logo>> {
        if bytes.is_empty() { Ok(None) } else { Logo::new(bytes).map(Some) }
    }

    /// The media type of a logo with that file name.
    pub fn media_type(name: &str) -> &'static str {
        match name.rsplit_once('.') {
            Some((_, "png")) => "image/png",
            _ => "image/jpeg",
        }
    }
}

/// Width and height of a PNG file: the first chunk has them (PNG 3, 11.2.1).
fn png(file: &[u8]) -> Option<[u32; 2]> {
    let rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")?;
    let number = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    Some([number(0)?, number(4)?])
}

/// Width and height of a JPEG file: the frame's header has them (ITU-T T.81, B.2.2), after any number of other segments.
fn jpeg(file: &[u8]) -> Option<[u32; 2]> {
    let mut rest = file.strip_prefix(b"\xff\xd8")?;
    loop {
        let (&[0xff, marker, high, low], _) = rest.split_first_chunk()? else { return None };
        let body = rest.get(4..2 + usize::from(u16::from_be_bytes([high, low])))?;
        // Of the markers from C0 to CF, these three begin no frame.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let number = |at: usize| body.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes).map(u32::from);
            return Some([number(3)?, number(1)?]);
        }
        rest = &rest[4 + body.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_six_digits() {
        for (text, read) in [("#0b5cad", "#0b5cad"), ("#FFD400", "#ffd400"), ("#000000", "#000000")] {
            assert_eq!(Color::parse(text).unwrap().to_string(), read);
        }
        for wrong in ["", "0b5cad", "#0b5", "#0b5cad0", "#0b5cag", "red", "#+b5cad", "#é5cad", "#123456;}"] {
            assert!(Color::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_text_on_every_colour_can_be_read() {
        // Every sixteenth step of each part, and the ends.
        let steps = || (0..=0xff_u32).step_by(15);
        for color in steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| Color(r << 16 | g << 8 | b))))
        {
            let [dark, light] =
                if color.text() == "#ffffff" { [color.luminance(), 1.0] } else { [0.0, color.luminance()] };
            assert!((light + 0.05) / (dark + 0.05) >= 4.5, "{color}");
        }
    }

    fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
        let mut file = b"\xff\xd8\xff\xe0\0\x04JF\xff\xc4\0\x03x\xff\xc2\0\x0b\x08".to_vec();
        file.extend([height.to_be_bytes(), width.to_be_bytes()].concat());
        file.extend([1, 1, 0x11, 0]);
        file
    }

    fn png_of(width: u32, height: u32) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes(), b"\x08\x06\0\0\0"].concat()
    }

    #[test]
    fn a_logo_is_a_png_or_jpeg_of_a_bearable_size_by_what_is_in_it() {
        let made = |file: Vec<u8>| Logo::new(file).map(|logo| Logo::media_type(&logo.name));
        assert_eq!(made(png_of(320, 96)).unwrap(), "image/png");
        assert_eq!(made(jpeg_of(1024, 1)).unwrap(), "image/jpeg");
        assert_eq!((png(&png_of(320, 96)), jpeg(&jpeg_of(320, 96))), (Some([320, 96]), Some([320, 96])));
        for wrong in [png_of(0, 96), png_of(1025, 96), jpeg_of(1, 1025), vec![]] {
            assert!(made(wrong).is_err());
        }
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>";
        for wrong in
            [&svg[..], b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x01", b"\xff\xd8", b"RIFF....WEBP"]
        {
            assert!(made(wrong.to_vec()).unwrap_err().to_string().contains("PNG or JPEG"));
        }
        // Cut off anywhere, it is refused and nothing worse.
        for file in [png_of(320, 96), jpeg_of(320, 96)] {
            (0..file.len()).for_each(|end| drop(Logo::new(file[..end].to_vec())));
        }
        let mut large = png_of(320, 96);
        large.resize(Logo::LARGEST + 1, 0);
        assert!(made(large).unwrap_err().to_string().contains("48 KiB"));
        let names = [png_of(1, 2), png_of(1, 2), png_of(2, 1)].map(|file| Logo::new(file).unwrap().name);
        assert!(names[0] == names[1] && names[0] != names[2]);
    }
}
