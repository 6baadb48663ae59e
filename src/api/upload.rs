//! Forms with a file in them: `multipart/form-data` (RFC 7578).

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;

use super::body::{LIMIT, read};
use crate::error::{Error, Result};

/// The fields of a form, and its files by the names of their fields: no larger than any other body, unless it says so.
pub struct Upload<const MOST: usize = LIMIT>(BTreeMap<String, Bytes>);

impl<const MOST: usize> Upload<MOST> {
    /// The field of this name, which may be empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(name)?).ok()
    }

    /// What is in a file, if one was chosen.
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.0.get(name).filter(|file| !file.is_empty())
    }
}

impl<const MOST: usize, S: Sync> FromRequest<S> for Upload<MOST> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mark = kind.and_then(boundary).map(str::to_owned);
        let body = read(request, MOST).await?;
        let fields = mark.and_then(|mark| fields(&mark, &body));
        fields.map(Upload).ok_or_else(|| Error::bad_request("malformed_request", "The form cannot be read"))
    }
}

/// What separates the parts.
fn boundary(kind: &str) -> Option<&str> {
    let (_, mark) = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?;
    let mark = mark.split(';').next()?.trim().trim_matches('"');
    (!mark.is_empty()).then_some(mark)
}

/// The parts; none if the body is cut off, or two have one name.
fn fields(mark: &str, body: &Bytes) -> Option<BTreeMap<String, Bytes>> {
    let (first, next) = (format!("--{mark}"), format!("\r\n--{mark}"));
    let mut rest = body.strip_prefix(first.as_bytes())?;
    let mut fields = BTreeMap::new();
    while !rest.starts_with(b"--") {
        let (part, after) = split(rest.strip_prefix(b"\r\n")?, next.as_bytes())?;
        let (head, content) = split(part, b"\r\n\r\n")?;
        if fields.insert(name(std::str::from_utf8(head).ok()?)?, body.slice_ref(content)).is_some() {
            return None;
        }
        rest = after;
    }
    Some(fields)
}

fn split<'a>(text: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(by.len()).position(|some| some == by)?;
    Some((&text[..at], &text[at + by.len()..]))
}

fn name(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = line.split("; ").find_map(|part| part.strip_prefix("name=\"")?.strip_suffix('"'))?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--xYz\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nZo\xc3\xab\r\n--xYz\r\n\
        Content-Disposition: form-data; name=\"logo\"; filename=\"a; name=.png\"\r\nContent-Type: image/png\r\n\r\n\
        \x89PNG\r\n--x\r\n\r\n\r\n--xYz\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n--xYz--\r\n";

    fn read(body: &[u8]) -> Option<BTreeMap<String, Bytes>> {
        fields("xYz", &Bytes::copy_from_slice(body))
    }

    #[test]
    fn fields_and_files_come_as_they_were_sent() {
        let upload = Upload::<LIMIT>(read(BODY).unwrap());
        assert_eq!(upload.text("name"), Some("Zoë"));
        assert_eq!(upload.file("logo"), Some(&Bytes::from_static(b"\x89PNG\r\n--x\r\n\r\n")));
        assert_eq!((upload.text("logo"), upload.file("none"), upload.text("none")), (None, None, Some("")));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"; charset=utf-8"), Some("a b"));
        for wrong in ["multipart/form-data", "multipart/form-data; boundary=", "text/plain; boundary=a"] {
            assert!(boundary(wrong).is_none(), "{wrong}");
        }
        assert!((0..BODY.len() - 4).all(|end| read(&BODY[..end]).is_none()), "cut off");
        let twice =
            [&BODY[..BODY.len() - 4], b"\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n\r\n--xYz--"].concat();
        assert!(read(&twice).is_none() && fields("other", &Bytes::from_static(BODY)).is_none());
    }
}
