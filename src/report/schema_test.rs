//! The schema of `--json`, as it is in docs/: it must be what the types are now. `make generated` writes it anew.

use std::fs;
use std::path::Path;

use super::json::Document;

#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/volinit-json.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Document)).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &schema).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == schema, "{} is not what the types say now: run `make generated`", file.display());
}
