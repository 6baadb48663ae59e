//! The records of a CSV file, one after the other: in memory is one, and of one that is too large no more than its beginning.
//! (A line of commas alone would take many times its length.) Knows no names of columns.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::rows::{LONGEST, MOST_COLUMNS, unreadable};
use crate::error::Result;

/// The records of a file.
pub(super) struct Records<R> {
    source: R,
    reader: Reader,
    /// The cells of the record, without anything between.
    text: Vec<u8>,
    /// Where in `text` each cell ends.
    ends: Vec<usize>,
}

/// Why a record is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is longer than a row may be.
    Length,
    /// It has more cells than a file may have columns.
    Cells,
}

/// The cells of a record, or why they are not read.
pub(super) type Record<'a> = std::result::Result<Vec<&'a [u8]>, Excess>;

impl<R: BufRead> Records<R> {
    /// Begins to read.
    pub(super) fn new(source: R, delimiter: u8) -> Records<R> {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Records { source, reader, text: vec![0; LONGEST], ends: vec![0; MOST_COLUMNS] }
    }

    /// The cells of the next record. Empty lines are none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>> {
        let (mut length, mut cells, mut excess) = (0, 0, None);
        loop {
            let bytes = self.source.fill_buf().map_err(unreadable)?;
            let (result, read, written, ended) =
                self.reader.read_record(bytes, &mut self.text[length..], &mut self.ends[cells..]);
            self.source.consume(read);
            (length, cells) = (length + written, cells + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                // What is too large is written over, until its end.
                ReadRecordResult::OutputFull => (length, excess) = (0, Some(Excess::Length)),
                ReadRecordResult::OutputEndsFull => (cells, excess) = (0, Some(Excess::Cells)),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        if let Some(excess) = excess {
            return Ok(Some(Err(excess)));
        }
        let starts = std::iter::once(&0).chain(&self.ends);
        let cells = starts.zip(&self.ends[..cells]).map(|(start, end)| &self.text[*start..*end]).collect();
        Ok(Some(Ok(cells)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The records of a file, read some bytes at a time.
    fn records(file: &str, bytes: usize) -> Vec<std::result::Result<Vec<String>, Excess>> {
        let mut records = Records::new(BufReader::with_capacity(bytes, file.as_bytes()), b',');
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let text = |cell: &&[u8]| String::from_utf8_lossy(cell).into_owned();
            all.push(record.map(|cells| cells.iter().map(text).collect()));
        }
        assert!(records.next().unwrap().is_none(), "the end stays the end");
        all
    }

    #[test]
    fn cells_are_read_as_the_library_reads_them_wherever_the_file_is_torn() {
        for file in [
            "",
            "\n\r\n",
            "a",
            "a,b\nc\n",
            "a,b\r\n\r\n,\r\n\"c, \"\"d\"\"\r\n\",e",
            "\"a",
            "a\"b,\"c\"d\n,,\n",
            "é,日本\n\n",
        ] {
            let mut library = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(file.as_bytes());
            let expected: Vec<_> = library
                .records()
                .map(|record| Ok(record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()))
                .collect();
            for bytes in [1, 2, 7, 1024] {
                assert_eq!(records(file, bytes), expected, "{file} by {bytes}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_read_over() {
        let wide = ",".repeat(MOST_COLUMNS);
        let long = "x".repeat(LONGEST + 1);
        let file = format!("{}\n{wide}\n{wide}{wide}{wide}\na\n{long}\n{long},\"{long}\n\"\nb", &wide[1..]);
        for bytes in [1024, 64 * 1024] {
            let read = records(&file, bytes);
            assert_eq!(read[0].as_ref().unwrap().len(), MOST_COLUMNS);
            assert_eq!((&read[1], &read[2]), (&Err(Excess::Cells), &Err(Excess::Cells)));
            assert_eq!((&read[4], &read[5]), (&Err(Excess::Length), &Err(Excess::Length)));
            let short = ["a", "b"].map(|cell| Ok(vec![cell.to_owned()]));
            assert_eq!((&read[3], &read[6], read.len()), (&short[0], &short[1], 7));
        }
    }
}
