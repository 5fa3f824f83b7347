//! Every wrong config of `tests/cases` with its whole error text. It reads configs and nothing else.

use std::fs;
use std::path::Path;

use volinit::config;
use volinit::root::Root;

#[test]
fn each_wrong_config_is_told_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<_> = fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("volinit.yaml").exists());
    folders.sort();
    assert!(folders.len() >= 12, "the cases are not there");
    let mut differ = Vec::new();
    for folder in &folders {
        let problems = config::load(&Root::default(), &[folder.join("volinit.yaml")]).expect_err("it is wrong");
        let told = format!("{problems}\n").replace(&format!("{}/", folder.display()), "");
        let expected = fs::read_to_string(folder.join("expected")).unwrap_or_default();
        if told != expected {
            differ.push(format!("== {}: expected\n{expected}== told\n{told}", folder.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
