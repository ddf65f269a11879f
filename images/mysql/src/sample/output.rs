//! One table of the sample on its way to the dump files, with its checksum.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use super::Error;
use crate::dataset::{
    Chain, Table,
    dump::{Value, Writer},
};

pub(super) struct Output {
    table: &'static Table,
    folder: PathBuf,
    /// The file of the table that is written.
    file: usize,
    writer: Writer<BufWriter<File>>,
    pub(super) chain: Chain,
}

impl Output {
    pub(super) fn create(folder: &Path, table: &'static Table) -> Result<Self, Error> {
        let writer = open(folder, table, 0)?;
        Ok(Self { table, folder: folder.into(), file: 0, writer, chain: Chain::default() })
    }

    /// Goes on with another of the table's files.
    pub(super) fn move_to(&mut self, file: usize) -> Result<(), Error> {
        if file != self.file {
            let next = open(&self.folder, self.table, file)?;
            let path = self.path();
            std::mem::replace(&mut self.writer, next).finish().map_err(|source| Error::Write { path, source })?;
            self.file = file;
        }
        Ok(())
    }

    /// Writes a row, whose values are in the order of the table's columns.
    pub(super) fn row(&mut self, values: &[Value<'_>]) -> Result<(), Error> {
        self.writer.row(values.iter().copied()).map_err(|source| Error::Write { path: self.path(), source })
    }

    /// Writes a row of a table whose chain has the columns and the rows in the same order.
    pub(super) fn checked_row(&mut self, values: &[Value<'_>]) -> Result<(), Error> {
        self.chain.link(values.iter().map(|value| value.bytes()));
        self.row(values)
    }

    pub(super) fn finish(self) -> Result<(&'static Table, Chain), Error> {
        let path = self.path();
        self.writer.finish().map_err(|source| Error::Write { path, source })?;
        Ok((self.table, self.chain))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.table.files[self.file])
    }
}

fn open(folder: &Path, table: &'static Table, file: usize) -> Result<Writer<BufWriter<File>>, Error> {
    let path = folder.join(table.files[file]);
    match File::create(&path) {
        Ok(file) => Ok(Writer::new(BufWriter::with_capacity(256 << 10, file), table.name)),
        Err(source) => Err(Error::Write { path, source }),
    }
}

/// A number's digits.
pub(super) struct Digits {
    bytes: [u8; 10],
    start: usize,
}

impl Digits {
    pub(super) fn of(mut number: u32) -> Self {
        let mut digits = Self { bytes: [0; 10], start: 10 };
        loop {
            digits.start -= 1;
            digits.bytes[digits.start] = b"0123456789"[(number % 10) as usize];
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    fn a_number_is_written_in_digits(#[values(0, 7, 10, 10_001, u32::MAX)] number: u32) {
        assert_eq!(Digits::of(number).bytes(), number.to_string().as_bytes());
    }
}
