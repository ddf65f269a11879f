//! Checks the files of a data set and copies those that the image needs, with a manifest.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use crate::Error;
use crate::dataset::{ENTRY_FILE, MANIFEST_FILE, Manifest, Mismatch, TABLES, TableCheck, dump};

/// A file of test_db that its entry file `source`s beside the dumps.
const ELAPSED_FILE: &str = "show_elapsed.sql";

/// Counts the rows in the files of `source` against its manifest and copies them into `target`, which is replaced.
/// Contents are checked again, by checksums in the keys' order, when a server has loaded them.
///
/// # Errors
/// A file is missing, damaged, or has another number of rows than the manifest says; nothing has been replaced then.
pub fn pack(source: &Path, target: &Path) -> Result<Manifest, Error> {
    let manifest = Manifest::of_folder(source).map_err(|e| Error::Dataset { folder: source.to_owned(), source: e })?;
    for table in &TABLES {
        let mut rows = 0;
        for file in table.files {
            let path = source.join(file);
            let input = File::open(&path).map_err(|e| Error::io(&path, e))?;
            let damaged = |e: dump::Error| Error::Script { path: path.clone(), how: e.to_string() };
            rows += dump::to_tsv(BufReader::new(input), std::io::sink()).map_err(damaged)?.rows;
        }
        let expected = manifest.tables.iter().find(|check| check.name == table.name);
        match expected {
            Some(TableCheck { rows: expected, .. }) if *expected != rows => {
                let (table, expected) = (table.name.to_owned(), *expected);
                return Err(Error::Check(Mismatch::Rows { table, expected, found: rows }));
            }
            _ => {}
        }
    }
    let part = target.with_extension("part");
    for folder in [&part, target] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
    }
    fs::create_dir_all(&part).map_err(|e| Error::io(&part, e))?;
    let files = TABLES.iter().flat_map(|table| table.files).chain([&ENTRY_FILE, &ELAPSED_FILE]);
    for file in files {
        let from = source.join(file);
        if *file != ELAPSED_FILE || from.exists() {
            fs::copy(&from, part.join(file)).map_err(|e| Error::io(&from, e))?;
        }
    }
    manifest.write(&part).map_err(|e| Error::Dataset { folder: part.join(MANIFEST_FILE), source: e })?;
    fs::rename(&part, target).map_err(|e| Error::io(target, e))?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_whole_data_set_is_copied_and_a_damaged_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let (source, target) = (root.path().join("sample"), root.path().join("packed"));
        sample::write(&source, &sample::Options { employees: 200, seed: 1 }).unwrap();
        let manifest = pack(&source, &target).unwrap();
        assert_eq!(Manifest::of_folder(&target).unwrap(), manifest);

        let titles = source.join("load_titles.dump");
        let text = fs::read_to_string(&titles).unwrap();
        fs::write(&titles, text.replacen("),", ");\n-- ", 1)).unwrap();
        let line = pack(&source, &target).unwrap_err().to_string();
        assert!(line.contains("titles"), "{line}");
        assert_eq!(Manifest::of_folder(&target).unwrap(), manifest);
    }
}
