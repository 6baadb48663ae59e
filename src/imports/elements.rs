//! The elements of a JSON list, cut out of a file one after the other: a list of any length takes no more memory than its
//! longest row. Knows where a value ends, and not what is in it.

use std::io::BufRead;

use super::rows::{LONGEST, TOO_LONG, refuse, unreadable};
use crate::error::{Error, Result};

/// A list in a file: the whole of it, or what an object has under `users`.
pub(super) struct Elements<R> {
    source: R,
    is_in_object: bool,
    is_begun: bool,
    is_over: bool,
    /// What was read last.
    value: Vec<u8>,
}

impl<R: BufRead> Elements<R> {
    /// Reads to where the list begins.
    ///
    /// # Errors
    /// There is none, or the file is no JSON or cannot be read.
    pub(super) fn find(source: R) -> Result<Elements<R>> {
        let no_list = || refuse("The file must be a JSON list of objects, or an object with one called users");
        let mut found = Elements { source, is_in_object: false, is_begun: false, is_over: false, value: Vec::new() };
        match found.take()? {
            Some(b'[') => return Ok(found),
            Some(b'{') => found.is_in_object = true,
            Some(_) => return Err(no_list()),
            None => return Err(invalid()),
        }
        if found.go_to_users(true)? && found.take()? == Some(b'[') { Ok(found) } else { Err(no_list()) }
    }

    /// The next element, as it stands there, or why it is no row.
    ///
    /// # Errors
    /// The file is no JSON, or cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<std::result::Result<&[u8], &'static str>>> {
        if self.is_over {
            return Ok(None);
        }
        if !self.has_more(!self.is_begun, b']')? {
            self.is_over = true;
            return self.end().map(|()| None);
        }
        self.is_begun = true;
        Ok(Some(if self.read_value()? { Ok(self.value.as_slice()) } else { Err(TOO_LONG) }))
    }

    /// Reads what stands behind the list.
    fn end(&mut self) -> Result<()> {
        // Of two lists called so, nobody could tell which one is meant.
        let has_another = self.is_in_object && self.go_to_users(false)?;
        if has_another || self.peek()?.is_some() { Err(invalid()) } else { Ok(()) }
    }

    /// Reads on in the object until the value of `users` is next; false at the object's end.
    fn go_to_users(&mut self, mut is_first: bool) -> Result<bool> {
        while self.has_more(is_first, b'}')? {
            is_first = false;
            let is_whole = self.read_value()?;
            let key: String = serde_json::from_slice(&self.value).map_err(|_| invalid())?;
            if !is_whole || self.take()? != Some(b':') {
                return Err(invalid());
            }
            if key == "users" {
                return Ok(true);
            }
            self.read_value()?;
        }
        Ok(false)
    }

    /// Reads what stands before the next value of a list or an object, or its end.
    fn has_more(&mut self, is_first: bool, end: u8) -> Result<bool> {
        match self.peek()? {
            Some(byte) if byte == end => self.take().map(|_| false),
            Some(b',') if !is_first => self.take().map(|_| true),
            Some(_) if is_first => Ok(true),
            _ => Err(invalid()),
        }
    }

    /// Reads a value of a list or an object to its end. Whether it was kept: what is longer than a row may be is not.
    fn read_value(&mut self) -> Result<bool> {
        self.value.clear();
        self.peek()?;
        let (mut value, mut is_kept) = (Extent::default(), true);
        loop {
            let bytes = self.source.fill_buf().map_err(unreadable)?;
            if bytes.is_empty() {
                return Err(invalid());
            }
            let (count, is_over) = value.measure(bytes);
            is_kept &= self.value.len() + count <= LONGEST;
            if is_kept {
                self.value.extend_from_slice(&bytes[..count]);
            }
            self.source.consume(count);
            if is_over {
                break;
            }
        }
        if self.value.is_empty() && is_kept { Err(invalid()) } else { Ok(is_kept) }
    }

    /// The next byte that is no white space, which stays.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let bytes = self.source.fill_buf().map_err(unreadable)?;
            let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
            let (found, is_end) = (bytes.get(spaces).copied(), bytes.is_empty());
            self.source.consume(spaces);
            if found.is_some() || is_end {
                return Ok(found);
            }
        }
    }

    /// The next byte that is no white space.
    fn take(&mut self) -> Result<Option<u8>> {
        let found = self.peek()?;
        self.source.consume(usize::from(found.is_some()));
        Ok(found)
    }
}

/// How far a value goes, as it is read.
#[derive(Default)]
struct Extent {
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Extent {
    /// How many of the next bytes are the value's, and whether it ends with them.
    fn measure(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            let is_outermost = self.depth == 0;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_text => self.is_escaped = true,
                b'"' if self.is_in_text && is_outermost => return (at + 1, true),
                b'"' => self.is_in_text = !self.is_in_text,
                _ if self.is_in_text => {}
                b',' | b':' | b']' | b'}' if is_outermost => return (at, true),
                byte if is_outermost && is_space(*byte) => return (at, true),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' if self.depth == 1 => return (at + 1, true),
                b']' | b'}' => self.depth -= 1,
                _ => {}
            }
        }
        (bytes.len(), false)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What the file is refused with as soon as it is seen that it is no JSON.
pub(super) fn invalid() -> Error {
    refuse("The file is not valid JSON")
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The elements of a file, read some bytes at a time.
    fn elements(file: &str, bytes: usize) -> Result<Vec<String>> {
        let mut list = Elements::find(BufReader::with_capacity(bytes, file.as_bytes()))?;
        let mut all = Vec::new();
        while let Some(element) = list.next()? {
            all.push(element.map_or_else(str::to_owned, |text| String::from_utf8_lossy(text).into_owned()));
        }
        assert!(list.next().unwrap().is_none(), "the end stays the end");
        Ok(all)
    }

    #[test]
    fn each_element_is_cut_out_as_it_stands_wherever_the_file_is_torn() {
        for (file, expected) in [
            ("[]", &[][..]),
            (" [ { } ]\n", &["{ }"]),
            (r#"[{"a":"]}\"\\"},{"b":[{"c":["{"]}]} , {}]"#, &[r#"{"a":"]}\"\\"}"#, r#"{"b":[{"c":["{"]}]}"#, "{}"]),
            (r#"[1,true ,null,"a,]",-1.5e3]"#, &["1", "true", "null", r#""a,]""#, "-1.5e3"]),
            (r#"{"users":[{"a":1}]}"#, &[r#"{"a":1}"#]),
            (r#"{"a":{"users":[7]},"b":"users","c":[{}],"\u0075sers":[{},2],"d":1.5,"e":"}"}"#, &["{}", "2"]),
        ] {
            for bytes in [1, 2, 7, 1024] {
                assert_eq!(elements(file, bytes).unwrap(), expected, "{file} by {bytes}");
            }
        }
    }

    #[test]
    fn what_is_no_json_or_no_list_is_refused() {
        for file in [
            "",
            " ",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[]]",
            "[] []",
            "[{]",
            r#"["a]"#,
            "{",
            "{]",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1"#,
            "{7:1}",
            r#"{"users":[]"#,
            r#"{"users":[],}"#,
            r#"{"users":[],"users":[]}"#,
        ] {
            for bytes in [1, 1024] {
                let why = elements(file, bytes).unwrap_err().to_string();
                assert_eq!(why, "The file is not valid JSON", "{file}");
            }
        }
        for file in ["7", "people", "{}", r#"{"users":7}"#, r#"{"users":{"a":[]}}"#, r#"{"people":[{}]}"#] {
            let why = elements(file, 1024).unwrap_err().to_string();
            assert!(why.starts_with("The file must be a JSON list"), "{file}: {why}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_row_is_read_over() {
        let long = "x".repeat(LONGEST);
        let file = format!(r#"{{"a":"{long}","users":[{{"a":"{long}"}},[{long}1],{{}}]}}"#);
        assert_eq!(elements(&file, 64 * 1024).unwrap(), [TOO_LONG, TOO_LONG, "{}"]);
    }
}
